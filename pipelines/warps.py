"""Shift, scale and rotation of an image with mirrored borders: a deterministic core, and a shell that draws."""

import math

import numpy as np
import tensorflow as tf

CHANCE = 0.75
# The furthest by level: shift as a share of the image, scale as one of 1, degrees.
LIMITS = ((0.0, 0.0, 0.0), (0.1, 0.1, 1.0), (0.2, 0.1, 2.0), (0.2, 0.2, 2.0))


def _mirrored(places: tf.Tensor, size: int) -> tf.Tensor:
    """Places on an axis, up to one image beyond either border -> where the mirrored image is the image."""
    return (size - 1) - tf.abs((size - 1) - tf.abs(places))


def warp(
    image: tf.Tensor, bands: tf.Tensor, columns: tf.Tensor, scale: tf.Tensor, degrees: tf.Tensor
) -> tf.Tensor:
    """(rows, width, channels) uint8 -> the same: enlarged, turned about its centre, moved by bands and columns.

    Bilinear and rounded. Beyond a border the image is mirrored about its last pixel, which is not repeated
    (OpenCV's BORDER_REFLECT_101); at most one image's worth of it is there. Positive degrees turn the later
    columns towards the lower rows.
    """
    height, width = image.shape[0], image.shape[1]
    middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
    turn = degrees * (math.pi / 180)
    cosine, sine = tf.cos(turn) / scale, tf.sin(turn) / scale
    row = np.arange(height, dtype=np.float32)[:, None] - middle_row - bands
    column = np.arange(width, dtype=np.float32)[None] - middle_column - columns
    source_row = _mirrored(sine * column + (cosine * row + middle_row), height)
    source_column = _mirrored(cosine * column + (middle_column - sine * row), width)
    top, left = tf.floor(source_row), tf.floor(source_column)
    down, right = (source_row - top)[..., None], (source_column - left)[..., None]
    # One row and one column more, for neighbours of the last pixels, whose weight is 0.
    wide = tf.pad(tf.cast(image, tf.float32), [[0, 1], [0, 1], [0, 0]])
    pixels = tf.reshape(wide, ((height + 1) * (width + 1), image.shape[2]))
    place = tf.cast(top * (width + 1) + left, tf.int32)
    above, beside = tf.gather(pixels, place), tf.gather(pixels, place + 1)
    below, across = tf.gather(pixels, place + (width + 1)), tf.gather(pixels, place + (width + 2))
    above += right * (beside - above)
    below += right * (across - below)
    return tf.cast(above + down * (below - above) + 0.5, tf.uint8)


def random_warp(image: tf.Tensor, level: int, seed: tf.Tensor) -> tf.Tensor:
    """(rows, width, channels) uint8, (2,) seed -> the same, warped by what the level allows."""
    shift, scale, degrees = LIMITS[level]
    bands, columns, zoom, turn = tf.unstack(tf.random.stateless_uniform([4], seed, -1.0, 1.0))
    return warp(
        image,
        bands * (shift * image.shape[0]),
        columns * (shift * image.shape[1]),
        1 + zoom * scale,
        turn * degrees,
    )
