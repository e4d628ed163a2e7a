"""Brightness and contrast of an image: a deterministic core, and a shell that draws."""

import tensorflow as tf

CHANCE = 0.5
LIMIT = (0.02, 0.05, 0.1, 0.2)  # of the change in either, by level


def brightness_contrast(image: tf.Tensor, brightness: tf.Tensor, contrast: tf.Tensor) -> tf.Tensor:
    """(rows, width, channels) uint8 -> the same: (1 + contrast) x, plus `brightness` times the mean of that.

    Saturating, and truncated. The mean is the image's, not 255, and taken after the contrast: so was it in
    the library that the reference used, in the version of its day.
    """
    # Summed as whole numbers: threads that share a sum of floats round it as they happen to.
    pixels = image.shape[0] * image.shape[1] * image.shape[2]
    mean = tf.cast(tf.reduce_sum(tf.cast(image, tf.int32)), tf.float32) / pixels
    values = (1 + contrast) * tf.cast(image, tf.float32) + brightness * (1 + contrast) * mean
    return tf.cast(tf.clip_by_value(values, 0.0, 255.0), tf.uint8)


def random_brightness_contrast(image: tf.Tensor, level: int, seed: tf.Tensor) -> tf.Tensor:
    """(rows, width, channels) uint8, (2,) seed -> the same, changed by what the level allows."""
    limit = LIMIT[level]
    brightness, contrast = tf.unstack(tf.random.stateless_uniform([2], seed, -limit, limit))
    return brightness_contrast(image, brightness, contrast)
