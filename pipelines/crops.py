"""Cutting what the network sees out of a clip's image: deterministic cores, and shells that draw."""

import tensorflow as tf

# Share of the image's size by which a training crop may start early, and shift along frequency, by level.
EARLY = (40, 20, 10, 10)
SHIFT = (40, 10, 3, 3)


def crop(image: tf.Tensor, start: tf.Tensor, columns: int, shift: tf.Tensor = 0) -> tf.Tensor:
    """(bands, frames, channels) -> (bands, columns, channels) from column `start`, rows moved up by `shift`.

    Whatever lies outside of the image is 0: a negative start, an image that ends early, and the `shift`
    lowest rows, whose content has moved to higher rows as in the reference.
    """
    bands, channels = image.shape[0], image.shape[2]
    before = tf.maximum(-start, 0)
    after = tf.maximum(start + columns - tf.shape(image)[1], 0)
    image = tf.pad(image, [[shift, 0], [before, after], [0, 0]])
    cut = image[:bands, start + before : start + before + columns]
    return tf.ensure_shape(cut, (bands, columns, channels))


def random_crop(image: tf.Tensor, columns: int, level: int, seed: tf.Tensor) -> tf.Tensor:
    """(bands, frames, channels), (2,) seed -> (bands, columns, channels): the reference's jittered crop."""
    time_seed, band_seed = tf.unstack(tf.random.split(seed, 2))
    latest = tf.maximum(tf.shape(image)[1] - columns, 0)
    start = tf.random.stateless_uniform([], time_seed, -(columns // EARLY[level]), latest + 1, tf.int32)
    shift = tf.random.stateless_uniform([], band_seed, 0, image.shape[0] // SHIFT[level] + 1, tf.int32)
    return crop(image, start, columns, shift)


def even_starts(frames: tf.Tensor, columns: int, crops: tf.Tensor) -> tf.Tensor:
    """-> (crops,) int32: evenly spaced from the first column to the last possible one; one: the middle."""
    latest = tf.maximum(frames - columns, 0)
    spread = tf.range(crops) * latest // tf.maximum(crops - 1, 1)
    return tf.where(crops == 1, latest // 2, spread)


def gather_crops(image: tf.Tensor, starts: tf.Tensor, columns: int) -> tf.Tensor:
    """(bands, frames, channels), (crops,) -> (crops, bands, columns, channels); zeros past the end."""
    missing = tf.maximum(columns - tf.shape(image)[1], 0)
    image = tf.pad(image, [[0, 0], [0, missing], [0, 0]])
    cut = tf.gather(image, starts[:, None] + tf.range(columns)[None], axis=1)
    return tf.transpose(cut, (1, 0, 2, 3))


def even_crops(image: tf.Tensor, columns: int, crops: tf.Tensor) -> tf.Tensor:
    """(bands, frames, channels) -> (crops, bands, columns, channels), evenly spaced over the clip."""
    return gather_crops(image, even_starts(tf.shape(image)[1], columns, crops), columns)
