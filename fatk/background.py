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

# Added to the niceness of what makes batches. XLA cuts a step's operations into one equal part a core, so what the
# feed takes from one core the others wait for; in the gaps of a step it takes nothing.
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
