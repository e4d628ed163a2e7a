"""Shift, scale and rotation of an image with mirrored borders: a deterministic core, and a shell that draws."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines import ops

Ops = Any  # a module: pipelines.ops or keras.ops
Tensor = Any

CHANCE = 0.75
# The furthest by level: shift as a share of the image, scale as one of 1, degrees.
LIMITS = ((0.0, 0.0, 0.0), (0.1, 0.1, 1.0), (0.2, 0.1, 2.0), (0.2, 0.2, 2.0))


def _mirrored(ops: Ops, places: Tensor, size: int) -> Tensor:
    """Places on an axis, however far beyond its borders -> where the mirrored image is the image.

    Turned by two degrees the ends of a wide image go beyond by several times its height.
    """
    places, period = ops.abs(places), 2.0 * (size - 1)
    places = places - period * ops.floor(places / period)
    return ops.abs((size - 1) - ops.abs((size - 1) - places))  # rounding may leave a hair less than 0


def warp(ops: Ops, image: Tensor, bands: Tensor, columns: Tensor, scale: Tensor, degrees: Tensor) -> Tensor:
    """(rows, width, channels) uint8 -> the same: enlarged, turned about its centre, moved by bands and columns.

    Bilinear and rounded. Beyond a border the image is mirrored about its last pixel, which is not repeated
    (OpenCV's BORDER_REFLECT_101), again and again. Positive degrees turn the later columns towards the lower
    rows.
    """
    height, width = image.shape[0], image.shape[1]
    middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
    turn = degrees * (math.pi / 180)
    cosine, sine = ops.cos(turn) / scale, ops.sin(turn) / scale
    row = np.arange(height, dtype=np.float32)[:, None] - middle_row - bands
    column = np.arange(width, dtype=np.float32)[None] - middle_column - columns
    source_row = _mirrored(ops, sine * column + (cosine * row + middle_row), height)
    source_column = _mirrored(ops, cosine * column + (middle_column - sine * row), width)
    top, left = ops.floor(source_row), ops.floor(source_column)
    down, right = (source_row - top)[..., None], (source_column - left)[..., None]
    # One row and one column more, for neighbours of the last pixels, whose weight is 0.
    wide = ops.pad(ops.cast(image, "float32"), [(0, 1), (0, 1), (0, 0)])
    pixels = ops.reshape(wide, ((height + 1) * (width + 1), image.shape[2]))
    place = ops.cast(top * (width + 1) + left, "int32")
    above, beside, below, across = (
        ops.take(pixels, place + further, axis=0) for further in (0, 1, width + 1, width + 2)
    )
    above += right * (beside - above)
    below += right * (across - below)
    return ops.cast(above + down * (below - above) + 0.5, "uint8")


def still() -> tuple[tf.Tensor, ...]:
    """What `warp` takes where it is to change nothing, not by a bit."""
    return tf.constant(0.0), tf.constant(0.0), tf.constant(1.0), tf.constant(0.0)


def drawn(height: int, width: int, level: int, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Size of an image, (2,) seed -> bands, columns, scale and degrees of `warp` within what the level allows."""
    shift, scale, degrees = LIMITS[level]
    bands, columns, zoom, turn = tf.unstack(tf.random.stateless_uniform([4], seed, -1.0, 1.0))
    return bands * (shift * height), columns * (shift * width), 1 + zoom * scale, turn * degrees


def random_warp(image: tf.Tensor, level: int, seed: tf.Tensor) -> tf.Tensor:
    """(rows, width, channels) uint8, (2,) seed -> the same, warped by what the level allows."""
    return warp(ops, image, *drawn(image.shape[0], image.shape[1], level, seed))
