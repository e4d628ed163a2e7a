"""Tests that need tensorflow-io: `make test-tfio` makes their environment and runs them."""
