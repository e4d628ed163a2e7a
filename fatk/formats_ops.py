"""The words of `pipelines.ops` in operations that LiteRT and ONNX have too.

A real transform is what they lack: LiteRT's takes powers of two alone, and ONNX's has no converter. Here it is
two products with small matrices (Cooley and Tukey, 1965), as close to the exact one as TensorFlow's.
"""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines import ops


def __getattr__(word: str) -> Any:
    """What is not spelled anew here."""
    return getattr(ops, word)


def cast(x: tf.Tensor, dtype: str) -> tf.Tensor:
    """As `tf.cast`; 64 bits become 32, which LiteRT can divide. Enough for images of some 30,000 frames."""
    return tf.cast(x, "int32" if dtype == "int64" else dtype)


def pad(x: tf.Tensor, pad_width: list, mode: str = "constant") -> tf.Tensor:
    """As `ops.pad`; LiteRT has no padding of 8 bits."""
    if x.dtype != tf.uint8:
        return ops.pad(x, pad_width, mode)
    return tf.cast(ops.pad(tf.cast(x, tf.int32), pad_width, mode), tf.uint8)


def where(condition: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """As `tf.where`; LiteRT cannot choose between values of 8 bits."""
    if getattr(x, "dtype", None) != tf.uint8:
        return tf.where(condition, x, y)
    return tf.cast(tf.where(condition, tf.cast(x, tf.int32), tf.cast(y, tf.int32)), tf.uint8)


def _factors(length: int) -> tuple[int, int]:
    """-> (rows, columns), columns even, their product `length`, as near to each other as can be."""
    even = [number for number in range(2, length + 1, 2) if length % number == 0]
    columns = sorted(even, key=lambda number: abs(math.log(number * number / length)))[0]
    return length // columns, columns


def _waves(turns: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers of 1 / length turns -> (cosines, sines of the negative angle), float32."""
    angle = 2 * np.pi * (turns % length) / length
    return np.cos(angle).astype(np.float32), -np.sin(angle).astype(np.float32)


def rfft(x: tf.Tensor, fft_length: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Real transform of the first `fft_length` along the last axis -> (real part, imaginary part)."""
    rows, columns = _factors(fft_length)
    x = x[..., :fft_length]
    *lead, _ = ops.shape(x)
    half = columns // 2 + 1
    # Sample r C + c; first over the rows r, for each column c: frequencies k of 1 / rows.
    x = tf.reshape(x, (-1, rows, columns))
    x = tf.reshape(tf.transpose(x, (0, 2, 1)), (-1, rows))
    numbers = np.arange(rows)
    cosines, sines = _waves(np.outer(numbers, numbers), rows)
    real, imaginary = tf.matmul(x, cosines), tf.matmul(x, sines)
    # Turned by c k / length ...
    places = np.arange(columns)
    cosines, sines = _waves(np.outer(places, numbers), fft_length)

    def turned(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        made = tf.reshape(a, (-1, columns, rows)) * cosines + tf.reshape(b, (-1, columns, rows)) * sines
        return tf.reshape(tf.transpose(made, (0, 2, 1)), (-1, columns))

    real, imaginary = turned(real, -imaginary), turned(imaginary, real)
    # ... then over the columns: bin k + rows q, for the lower half of them.
    cosines, sines = _waves(np.outer(places, np.arange(half)), columns)

    def bins(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        made = tf.matmul(a, cosines) + tf.matmul(b, sines)
        made = tf.transpose(tf.reshape(made, (-1, rows, half)), (0, 2, 1))
        made = tf.reshape(made, (-1, half * rows))[:, : fft_length // 2 + 1]
        return tf.reshape(made, (*lead, fft_length // 2 + 1))

    return bins(real, -imaginary), bins(imaginary, real)
