"""A feed whose threads leave the processor to the training step where both want it."""

import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.settings import TrainSettings

Batch = dict[str, np.ndarray]

# Added to the niceness of what makes batches. A step on a CPU is as slow as the slowest of its equal parts, so
# half a core taken from it costs a whole one; but it has gaps, which are wide enough for the feed.
_BACK = 15


def wanted(settings: TrainSettings) -> bool:
    """Whether it is asked for, step and feed share the processor, and threads have priorities, as on Linux.

    A step on an accelerator waits for nothing but the feed, which must not wait for other programs then.
    """
    if not settings.background or keras.backend.backend() != "jax" or sys.platform != "linux":
        return False
    import jax

    return jax.default_backend() == "cpu"


def batches(dataset: tf.data.Dataset) -> Iterator[tuple[Batch]]:
    """Endless batches -> the same, each in a tuple, as Keras takes them from a generator.

    Threads inherit the niceness of the one that starts them, and tf.data's start with the first batch.
    """

    def begin() -> tuple[Batch, Any]:
        own = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, own, os.getpriority(os.PRIO_PROCESS, own) + _BACK)  # 19 at the most
        made = dataset.as_numpy_iterator()
        return next(made), made

    with ThreadPoolExecutor(1) as thread:
        first, further = thread.submit(begin).result()
    for batch in chain([first], further):
        yield (batch,)
