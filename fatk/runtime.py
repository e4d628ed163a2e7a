"""Starting the frameworks: who sees the GPU, what they log, seeds, the compilation cache, memory that is kept."""

import ctypes
import gc
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fatk.config import Config


def quiet_tensorflow(alone: bool = False) -> Any:
    """Import TensorFlow with its start-up chatter off, and the GPU left to JAX -> the module.

    Must come before any other use of TensorFlow: visible devices are fixed by its first call. It imports Keras and
    JAX by itself where it finds them (2.21), and Keras (3.15) scikit-learn, Matplotlib and pandas for parts that no
    command uses, which takes its time: those three stay away meanwhile. `alone` keeps Keras
    and JAX away too, for two seconds and 150 MB that a process which only runs a SavedModel need not spend, and
    SciPy and h5py, of which TensorFlow uses nothing there. Convolutions then run by oneDNN, which is by default
    reserved for the newest processors.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if alone and "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    unused = ("keras", "jax", "scipy", "h5py") if alone else ("sklearn", "matplotlib", "pandas")
    with _hushed(), _unswept(), _absent(*unused):
        import tensorflow as tf

        if os.environ.get("KERAS_BACKEND") != "tensorflow":
            tf.config.set_visible_devices([], "GPU")
    return tf


@contextmanager
def _absent(*names: str) -> Iterator[None]:
    """Make modules that are not loaded yet fail to import, as if they were not installed."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: "not found" to import
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def _unswept() -> Iterator[None]:
    """Let the garbage collector rest: modules are not garbage, and looking for it takes time."""
    resting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if resting:
            gc.enable()


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


# glibc's malloc.h and mman.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _MADV_HUGEPAGE = -1, -2, -4, 14
_HEAP = 1 << 30  # bytes set aside at a time; what is not used is not taken
_memory = {"kept": False}


def keep_memory() -> bool:
    """Keep what is freed for what is asked for next, where JAX computes on a CPU -> whether glibc was told to.

    JAX asks for all memory of a training step anew, and glibc gives pieces of that size back to the system each
    time: a step of SpecgramNet then waits for a hundred thousand empty pages and more. Kept memory may be of huge
    pages, too. Only the main thread's heap grows to such sizes, so that thread computes what it asks JAX for
    (`set_up_jax`); small pieces the others have from heaps of their own, which a compilation has not left in
    fragments. TensorFlow trains slower with it; beside a GPU it was not tried.
    """
    on_cpu = os.environ.get("KERAS_BACKEND") == "jax" and importlib.util.find_spec("jax_plugins") is None
    if not on_cpu or sys.platform != "linux":
        return False
    glibc = ctypes.CDLL(None)
    if not hasattr(glibc, "mallopt"):  # another C library
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, _HEAP))
    _memory["kept"] = all([glibc.mallopt(*setting) for setting in settings])
    _take_huge_pages(glibc)
    return _memory["kept"]


def _take_huge_pages(glibc: ctypes.CDLL) -> None:
    """Let the heap have huge pages: as much of it as is set aside at first."""
    size = ctypes.c_size_t(_HEAP // 2)
    glibc.malloc.restype = ctypes.c_void_p
    glibc.free(ctypes.c_void_p(glibc.malloc(size)))  # more than there is: now it is set aside
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        if line.endswith("[heap]"):
            start, end = (int(place, 16) for place in line.split()[0].split("-"))
            glibc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_HUGEPAGE)


def start(config: Config) -> None:
    """Make ready for training: TensorFlow aside, seeds set, JAX's compilations kept between runs."""
    quiet_tensorflow()
    import keras

    keras.utils.set_random_seed(config.seed)
    if keras.backend.backend() == "jax":
        set_up_jax()


def set_up_jax() -> None:
    """Let JAX keep what it compiles, for processes that come after, and compute where memory is kept, if it is.

    Must come before JAX computes.
    """
    import jax

    if _memory["kept"]:
        jax.config.update("jax_cpu_enable_async_dispatch", False)
    # What 0.5.3 reads back from its cache answers NaN on the CPU; 0.10 is what kept runs were tried with.
    jax.config.update("jax_enable_compilation_cache", jax.__version_info__ >= (0, 10))
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR", str(Path.home() / ".cache" / "fatk" / "jax"))
    jax.config.update("jax_compilation_cache_dir", folder)
    # All of it: what compiles in under a second each takes several for a run together.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


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
