"""The words of `keras.ops` that features and formats are written in, spelled in TensorFlow.

`keras.ops` itself cannot stand in a `Dataset.map` while JAX is Keras' backend, so these functions carry its
names and signatures, and only those that are used. A test holds each against its namesake.
"""

import math
from collections import abc

import tensorflow as tf

abs = tf.math.abs
arctan2 = tf.math.atan2
cast = tf.cast
concatenate = tf.concat
cos = tf.math.cos
floor = tf.math.floor
matmul = tf.linalg.matmul
maximum = tf.math.maximum
minimum = tf.math.minimum
reshape = tf.reshape
sin = tf.math.sin
sort = tf.sort
stack = tf.stack
transpose = tf.transpose
where = tf.where
zeros_like = tf.zeros_like


def shape(x: tf.Tensor) -> tuple:
    """Sizes of the axes: numbers where they are known, scalar tensors where not."""
    known = x.shape.as_list()
    if None not in known:
        return tuple(known)
    dynamic = tf.shape(x)
    return tuple(dynamic[axis] if size is None else size for axis, size in enumerate(known))


def any(x: tf.Tensor, axis: int) -> tf.Tensor:
    """Whether there is a True over `axis`."""
    return tf.reduce_any(x, axis)


def arange(stop: tf.Tensor) -> tf.Tensor:
    """-> (stop,) int32."""
    return tf.range(stop, dtype=tf.int32)


def log10(x: tf.Tensor) -> tf.Tensor:
    """Decimal logarithm, element by element."""
    return tf.math.log(x) * (1 / math.log(10))


def max(x: tf.Tensor, axis: tuple[int, ...], keepdims: bool = False) -> tf.Tensor:
    """Largest value over `axis`."""
    return tf.reduce_max(x, axis, keepdims)


def min(x: tf.Tensor, axis: tuple[int, ...], keepdims: bool = False) -> tf.Tensor:
    """Smallest value over `axis`."""
    return tf.reduce_min(x, axis, keepdims)


def over_frames(
    function: abc.Callable[[tf.Tensor], tuple[tf.Tensor, ...]],
    audio: tf.Tensor,
    frames: tf.Tensor,
    block: int,
    window: tuple[int, int],
    widths: abc.Sequence[int],
) -> tuple[tf.Tensor, ...]:
    """(samples,) -> what a function of samples gives, (frames, width) each, some frames at a time.

    `window`: length and hop of a frame, in samples. Whole minutes of spectra would neither stay in the cache
    nor, from some minute on, in memory. Of this file's words the one that `keras.ops` has not: an accelerator
    has no such cache, and asks for whole batches.
    """
    length, hop = window
    blocks = (frames + block - 1) // block
    parts = [
        tf.TensorArray(tf.float32, blocks, infer_shape=False, element_shape=[None, width]) for width in widths
    ]

    def step(number: tf.Tensor, *parts: tf.TensorArray) -> tuple:
        first = number * block
        own = tf.minimum(block, frames - first)
        made = function(audio[first * hop : (first + own - 1) * hop + length])
        return number + 1, *(part.write(number, values) for part, values in zip(parts, made, strict=True))

    _, *parts = tf.while_loop(
        lambda number, *_: number < blocks, step, (tf.constant(0), *parts), parallel_iterations=1
    )
    return tuple(part.concat() for part in parts)


def pad(x: tf.Tensor, pad_width: list, mode: str = "constant") -> tf.Tensor:
    """Pad with zeros, or with `mode="reflect"` without repeating the edge."""
    return tf.pad(x, pad_width, mode.upper())


def rfft(x: tf.Tensor, fft_length: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Real transform of the first `fft_length` along the last axis -> (real part, imaginary part)."""
    spectrum = tf.signal.rfft(x, [fft_length])
    return tf.math.real(spectrum), tf.math.imag(spectrum)


def sum(x: tf.Tensor, axis: int | tuple[int, ...], keepdims: bool = False) -> tf.Tensor:
    """Sum over `axis`."""
    return tf.reduce_sum(x, axis, keepdims)


def take(x: tf.Tensor, indices: tf.Tensor, axis: int) -> tf.Tensor:
    """Entries of one axis by number."""
    return tf.gather(x, indices, axis=axis)
