"""Where the served graph cuts a clip's image: evenly, jittered, and along a recording."""

import math
from typing import TypeAlias

import tensorflow as tf

from pipelines import crops
from pipelines.settings import FeatureSettings

Tensor: TypeAlias = tf.Tensor

_JITTER = 10  # the reference's jitter: up to 2 / 20 of the image's size
_SEED = (2019, 4)  # the same draws in every call: a model answers in the same way twice


def cut(image: Tensor, columns: int, count: Tensor, jitter: bool, around: bool) -> Tensor:
    """(bands, frames, channels) -> (count, bands, columns, channels): evenly spaced, all but the first jittered.

    By up to a tenth of the size either way in time and, as a training crop, up to as many rows along frequency.
    What lies outside of the image is 0; with `around` its other end, in time.
    """
    if not jitter:
        return crops.even_crops(image, columns, count, around)
    bands, reach = image.shape[0], columns // _JITTER
    draws = tf.random.stateless_uniform([count, 2], _SEED, alg="philox")
    draws *= tf.cast(tf.range(count) > 0, tf.float32)[:, None]
    # Over whole numbers, each as likely: 2 reach + 1 of them in time, reach + 1 in frequency. The first stays.
    late = tf.cast(draws[:, 0] * (2 * reach + 1), tf.int32) - reach * tf.cast(tf.range(count) > 0, tf.int32)
    shift = tf.cast(draws[:, 1] * (reach + 1), tf.int32)
    starts = crops.even_starts(tf.shape(image)[1], columns, count, around) + late
    image = tf.pad(image, [[reach, 0], [0, 0], [0, 0]])
    if around:
        wide = crops.gather_crops(image, starts, columns, around)
    else:
        missing = tf.maximum(columns - tf.shape(image)[1], 0)
        image = tf.pad(image, [[0, 0], [reach, reach + missing], [0, 0]])
        wide = crops.gather_crops(image, starts + reach, columns)
    rows = reach - shift[:, None] + tf.range(bands)[None]
    return tf.gather(wide, rows, axis=1, batch_dims=1)


def starts(samples: Tensor, rate: int, span: float) -> Tensor:
    """() of a segment -> (windows,) seconds: windows of `span` every half of it, the last ends with the clip."""
    beyond = _beyond(samples, rate, span)
    steps = tf.cast(tf.math.ceil(beyond / (span / 2) - 1e-4), tf.int32)
    numbers = tf.minimum(tf.range(steps + 1, dtype=tf.int32), steps)
    return tf.minimum(tf.cast(numbers, tf.float32) * (span / 2), beyond)


def within(seconds: Tensor, samples: Tensor, rate: int, span: float, own: float) -> Tensor:
    """(windows,) seconds of windows of `span` -> (windows, n): where windows of `own` seconds lie within each.

    Evenly spaced, from its start to its end, half over half or closer. With `own` equal to `span`: one.
    """
    count = 1 + max(0, math.ceil((span - own) / (own / 2) - 1e-4))
    if count == 1:
        return seconds[:, None]
    room = _beyond(tf.minimum(samples, round(span * rate)), rate, own)
    return seconds[:, None] + room * tf.linspace(0.0, 1.0, count)[None]


def columns_at(seconds: Tensor, samples: Tensor, frames: Tensor, features: FeatureSettings) -> Tensor:
    """Seconds at which windows start -> int32 columns of the image, of the same shape."""
    beyond = _beyond(samples, features.rate, features.seconds)
    latest = tf.maximum(frames - features.columns, 0)
    # Spread over the columns that there are: the last window is then the last one possible to the column.
    share = seconds / tf.maximum(beyond, 1e-6)
    return tf.cast(tf.round(tf.minimum(share, 1.0) * tf.cast(latest, tf.float32)), tf.int32)


def _beyond(samples: Tensor, rate: int, span: float) -> Tensor:
    """Seconds of a clip that do not go into its first window."""
    return tf.maximum(tf.cast(samples, tf.float32) / rate - span, 0.0)
