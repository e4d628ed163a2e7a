"""Starting the frameworks: who sees the GPU, what they log, seeds, the compilation cache."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fatk.config import Config


def quiet_tensorflow() -> Any:
    """Import TensorFlow with its start-up chatter off, and the GPU left to JAX -> the module.

    Must come before any other use of TensorFlow: visible devices are fixed by its first call.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _hushed():
        import tensorflow as tf

        if os.environ.get("KERAS_BACKEND") != "tensorflow":
            tf.config.set_visible_devices([], "GPU")
    return tf


@contextmanager
def _hushed() -> Iterator[None]:
    """Drop what C++ writes to standard error: TensorFlow 2.21 greets there whatever its log level is.

    Python's own errors are raised, not written, so none is lost.
    """
    if "tensorflow" in sys.modules or os.environ["TF_CPP_MIN_LOG_LEVEL"] != "3":
        yield
        return
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def start(config: Config) -> None:
    """Make ready for training: TensorFlow aside, seeds set, JAX's compilations kept between runs."""
    quiet_tensorflow()
    import keras

    keras.utils.set_random_seed(config.seed)
    if keras.backend.backend() == "jax":
        import jax

        folder = os.environ.get("JAX_COMPILATION_CACHE_DIR", str(Path.home() / ".cache" / "fatk" / "jax"))
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


def device() -> str:
    """What the backend computes on, in words."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        first = jax.devices()[0]
        return f"{first.platform}: {first.device_kind}"
    return ", ".join(keras.distribution.list_devices()) or "cpu"


def versions() -> dict[str, str]:
    """Versions of what decides a result."""
    from importlib.metadata import PackageNotFoundError, version
    from platform import python_version

    found = {"python": python_version()}
    for name in ("keras", "jax", "tensorflow", "numpy", "keras-hub", "soundfile", "soxr"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
