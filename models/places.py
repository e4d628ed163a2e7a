"""Places that a window sees in images, (batch, rows, columns, channels), for JAX: shared by this room's kernels."""

import jax.numpy as jnp
from jax import lax

Pair = tuple[int, int]


def windows(shape, size: Pair, strides: Pair) -> Pair:
    """Rows and columns that windows of a size give."""
    rows, columns = ((n - k) // s + 1 for n, k, s in zip(shape[1:3], size, strides, strict=True))
    return rows, columns


def window(image, start: Pair, shape: Pair, strides: Pair, axis: int = 1):
    """-> every stride-th row and column from `start`, `shape` of them; `axis` is that of the rows."""
    stop = [a + (n - 1) * s + 1 for a, n, s in zip(start, shape, strides, strict=True)]
    for number in range(2):
        image = lax.slice_in_dim(image, start[number], stop[number], strides[number], axis + number)
    return image


def interleaved(residues, shape):
    """Residues of the rows, and of the columns in each: images of every stride-th pixel -> of all, `shape`."""
    image = jnp.stack([jnp.stack(row, axis=3) for row in residues], axis=2)
    image = image.reshape(shape[0], image.shape[1] * image.shape[2], -1, shape[3])
    return image[:, : shape[1], : shape[2]]
