"""Brightness and contrast of an image: a deterministic core, and a shell that draws."""

from typing import Any

import tensorflow as tf

from pipelines import ops

Ops = Any  # a module: pipelines.ops or keras.ops
Tensor = Any

CHANCE = 0.5
LIMIT = (0.02, 0.05, 0.1, 0.2)  # of the change in either, by level


def brightness_contrast(ops: Ops, image: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    """(rows, width, channels) uint8 -> the same: (1 + contrast) x, plus `brightness` times the mean of that.

    Saturating, and truncated. The mean is the image's, not 255, and taken after the contrast: so was it in
    the library that the reference used, in the version of its day.
    """
    # Summed as whole numbers: threads that share a sum of floats round it as they happen to.
    pixels = image.shape[0] * image.shape[1] * image.shape[2]
    mean = ops.cast(ops.sum(ops.cast(image, "int32"), axis=(0, 1, 2)), "float32") / pixels
    values = (1 + contrast) * ops.cast(image, "float32") + brightness * (1 + contrast) * mean
    return ops.cast(ops.maximum(ops.minimum(values, 255.0), 0.0), "uint8")


def still() -> tuple[tf.Tensor, ...]:
    """What `brightness_contrast` takes where it is to change nothing."""
    return tf.constant(0.0), tf.constant(0.0)


def drawn(level: int, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """(2,) seed -> brightness and contrast within what the level allows."""
    limit = LIMIT[level]
    return tuple(tf.unstack(tf.random.stateless_uniform([2], seed, -limit, limit)))


def random_brightness_contrast(image: tf.Tensor, level: int, seed: tf.Tensor) -> tf.Tensor:
    """(rows, width, channels) uint8, (2,) seed -> the same, changed by what the level allows."""
    return brightness_contrast(ops, image, *drawn(level, seed))
