"""Holes and stripes of zeros in an image: deterministic cores, and shells that draw from a stateless seed."""

import tensorflow as tf

CHANCE = 0.5  # of cutout
HOLES = 8
HOLE = (40, 20, 20, 10)  # the image's size over the side of a hole, by level


def _inside(size: int, first: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """(n,), (n,) or () -> (n, size) bool: True in `width` places from each first one on."""
    offset = tf.range(size)[None] - first[:, None]
    return (offset >= 0) & (offset < tf.reshape(width, (-1, 1)))


def cutout(image: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, side: int) -> tf.Tensor:
    """(bands, columns, channels) uint8, (holes,) centres -> the same with square holes of zeros.

    A hole reaches side // 2 either way of its centre and is cut off at the border.
    """
    high = tf.cast(_inside(image.shape[0], rows - side // 2, side), tf.float32)
    wide = tf.cast(_inside(image.shape[1], columns - side // 2, side), tf.float32)
    holes = tf.linalg.matmul(high, wide, transpose_a=True)  # (bands, columns): how many lie over each other
    return image * tf.cast(holes == 0, image.dtype)[:, :, None]


def random_cutout(image: tf.Tensor, level: int, seed: tf.Tensor) -> tf.Tensor:
    """(bands, columns, channels) uint8, (2,) seed -> the same with eight holes, which may overlap.

    Centres are anywhere in the image, so what is left of a hole at the border is smaller: "up to" the size.
    """
    bands, width = image.shape[0], image.shape[1]
    rows, columns = tf.unstack(tf.random.split(seed, 2))
    return cutout(
        image,
        tf.random.stateless_uniform([HOLES], rows, 0, bands, tf.int32),
        tf.random.stateless_uniform([HOLES], columns, 0, width, tf.int32),
        max(1, bands // HOLE[level]),
    )


def stripes(image: tf.Tensor, first: tf.Tensor, width: tf.Tensor, axis: int) -> tf.Tensor:
    """(bands, columns, channels) uint8, (n,), (n,) -> the same, zeros in stripes of bands (axis 0) or columns (1).

    Zero is what digital silence looks like; the mean, which SpecAugment's authors put there, is no special
    level of an image that is scaled to its own range.
    """
    masked = tf.reduce_any(_inside(image.shape[axis], first, width), axis=0)
    keep = tf.cast(~masked, image.dtype)
    return image * (keep[:, None, None] if axis == 0 else keep[None, :, None])


def random_stripes(image: tf.Tensor, count: int, widest: float, axis: int, seed: tf.Tensor) -> tf.Tensor:
    """(bands, columns, channels) uint8, (2,) seed -> the same with `count` stripes, wholly inside, any may overlap.

    A stripe is from 0 to `widest`, a share of the axis, wide.
    """
    size = image.shape[axis]
    widths, places = tf.unstack(tf.random.split(seed, 2))
    width = tf.random.stateless_uniform([count], widths, 0, int(size * widest) + 1, tf.int32)
    share = tf.random.stateless_uniform([count], places)
    first = tf.cast(share * tf.cast(size - width + 1, tf.float32), tf.int32)
    return stripes(image, tf.minimum(first, size - width), width, axis)
