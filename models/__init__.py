"""Keras networks, layers, losses and metrics; backend-neutral."""
