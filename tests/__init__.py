"""Tests, one file a room and subject: test_<room>_<file>.py."""
