"""Holes and stripes of zeros in an image: deterministic cores, and shells that draw from a stateless seed."""

from typing import Any

import tensorflow as tf

from pipelines import ops

Ops = Any  # a module: pipelines.ops or keras.ops
Tensor = Any

CHANCE = 0.5  # of cutout
HOLES = 8
HOLE = (40, 20, 20, 10)  # the image's size over the side of a hole, by level


def _inside(ops: Ops, size: int, first: Tensor, width: Tensor) -> Tensor:
    """(n,), (n,) or () -> (n, size) bool: True in `width` places from each first one on."""
    offset = ops.arange(size)[None] - first[:, None]
    return (offset >= 0) & (offset < ops.reshape(width, (-1, 1)))


def cutout(ops: Ops, image: Tensor, rows: Tensor, columns: Tensor, side: Tensor) -> Tensor:
    """(bands, columns, channels) uint8, (holes,) centres -> the same with square holes of zeros.

    A hole reaches side // 2 either way of its centre and is cut off at the border.
    """
    high = ops.cast(_inside(ops, image.shape[0], rows - side // 2, side), "float32")
    wide = ops.cast(_inside(ops, image.shape[1], columns - side // 2, side), "float32")
    holes = ops.matmul(ops.transpose(high, (1, 0)), wide)  # (bands, columns): how many lie over each other
    return image * ops.cast(holes == 0, "uint8")[:, :, None]


def no_holes() -> tuple[tf.Tensor, ...]:
    """What `cutout` takes where it is to change nothing: holes of no size."""
    nowhere = tf.zeros([HOLES], tf.int32)
    return nowhere, nowhere, tf.constant(0)


def drawn_holes(bands: int, width: int, level: int, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Size of an image, (2,) seed -> (holes,) rows, (holes,) columns and () side of eight holes.

    Centres are anywhere in the image, so what is left of a hole at the border is smaller: "up to" the size.
    """
    rows, columns = tf.unstack(tf.random.split(seed, 2))
    return (
        tf.random.stateless_uniform([HOLES], rows, 0, bands, tf.int32),
        tf.random.stateless_uniform([HOLES], columns, 0, width, tf.int32),
        tf.constant(max(1, bands // HOLE[level])),
    )


def random_cutout(image: tf.Tensor, level: int, seed: tf.Tensor) -> tf.Tensor:
    """(bands, columns, channels) uint8, (2,) seed -> the same with eight holes, which may overlap."""
    return cutout(ops, image, *drawn_holes(image.shape[0], image.shape[1], level, seed))


def stripes(ops: Ops, image: Tensor, first: Tensor, width: Tensor, axis: int) -> Tensor:
    """(bands, columns, channels) uint8, (n,), (n,) -> the same, zeros in stripes of bands (axis 0) or columns (1).

    Zero is what digital silence looks like; the mean, which SpecAugment's authors put there, is no special
    level of an image that is scaled to its own range.
    """
    masked = ops.any(_inside(ops, image.shape[axis], first, width), axis=0)
    keep = ops.cast(~masked, "uint8")
    return image * (keep[:, None, None] if axis == 0 else keep[None, :, None])


def drawn_stripes(size: int, count: int, widest: float, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Places on an axis, (2,) seed -> (count,) first places and (count,) widths of stripes, wholly inside.

    A stripe is from 0 to `widest`, a share of the axis, wide; any may overlap.
    """
    widths, places = tf.unstack(tf.random.split(seed, 2))
    width = tf.random.stateless_uniform([count], widths, 0, int(size * widest) + 1, tf.int32)
    share = tf.random.stateless_uniform([count], places)
    first = tf.cast(share * tf.cast(size - width + 1, tf.float32), tf.int32)
    return tf.minimum(first, size - width), width


def random_stripes(image: tf.Tensor, count: int, widest: float, axis: int, seed: tf.Tensor) -> tf.Tensor:
    """(bands, columns, channels) uint8, (2,) seed -> the same with stripes as in `drawn_stripes` on an axis."""
    return stripes(ops, image, *drawn_stripes(image.shape[axis], count, widest, seed), axis)
