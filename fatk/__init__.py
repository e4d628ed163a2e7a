"""Configuration and the commands that compose the rooms.

Importing `fatk` chooses Keras' backend, and is the only place that does: `KERAS_BACKEND`, JAX unless it says
otherwise. No framework is imported here.
"""

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from fatk.tagger import SavedTagger

BACKENDS = ("jax", "tensorflow", "torch")


def _choose_backend() -> None:
    """Set the backend before Keras reads it, and refuse a Keras that was imported with another."""
    wanted = os.environ.setdefault("KERAS_BACKEND", "jax")
    if wanted not in BACKENDS:
        raise ImportError(f"KERAS_BACKEND must be one of {', '.join(BACKENDS)}. Received: {wanted!r}.")
    if "keras" in sys.modules:
        running = sys.modules["keras"].backend.backend()
        if running != wanted:
            raise ImportError(
                f"Keras was imported before fatk, with the backend {running!r}; fatk wants {wanted!r}. "
                f"Import fatk first, or set KERAS_BACKEND={running}."
            )


_choose_backend()


def load(model: "str | Path", precision: str = "float32") -> "SavedTagger":
    """A run's folder, or the SavedModel in it -> a tagger: `fatk.load("runs/demo").predict("a.wav")`.

    Needs TensorFlow alone. `precision="bfloat16"` is faster on processors with AMX, for all of the process
    (`fatk.convolutions`). Raises `ValueError` for a folder that holds no tagger.
    """
    from fatk.tagger import SavedTagger

    return SavedTagger(model, precision)
