"""Augmentation of training images: deterministic cores, and shells that draw from a stateless seed."""

import tensorflow as tf

from pipelines.settings import AugmentSettings

HOLES = 8
HOLE = (40, 20, 20, 10)  # the image's size over the side of a hole, by level


def cutout(image: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, side: int) -> tf.Tensor:
    """(bands, columns, channels), (holes,) centres -> the same with square holes of zeros.

    A hole reaches side // 2 either way of its centre and is cut off at the border.
    """

    def inside(size: int, centres: tf.Tensor) -> tf.Tensor:
        offset = tf.range(size)[None] - centres[:, None] + side // 2
        return (offset >= 0) & (offset < side)

    hole = inside(image.shape[0], rows)[:, :, None] & inside(image.shape[1], columns)[:, None, :]
    return tf.where(tf.reduce_any(hole, 0)[:, :, None], tf.zeros_like(image), image)


def random_cutout(image: tf.Tensor, level: int, seed: tf.Tensor) -> tf.Tensor:
    """(bands, columns, channels), (2,) seed -> the same; eight holes in half of the images."""
    coin, rows, columns = tf.unstack(tf.random.split(seed, 3))
    bands, width = image.shape[0], image.shape[1]
    holed = cutout(
        image,
        tf.random.stateless_uniform([HOLES], rows, 0, bands, tf.int32),
        tf.random.stateless_uniform([HOLES], columns, 0, width, tf.int32),
        max(1, bands // HOLE[level]),
    )
    return tf.where(tf.random.stateless_uniform([], coin) < 0.5, holed, image)


def augment(image: tf.Tensor, settings: AugmentSettings, seed: tf.Tensor) -> tf.Tensor:
    """(bands, columns, channels) uint8, (2,) seed -> the same: everything that the settings ask for."""
    if settings.cutout:
        image = random_cutout(image, settings.level, seed)
    return image
