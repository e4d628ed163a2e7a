"""Max-pooling for JAX on a CPU, where XLA's gradient, a scatter, is slow: same results, same gradients.

The place of each maximum is kept in a byte, and each pixel gathers from the windows that saw it.

Images are (batch, rows, columns, channels).
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from models import places
from models.places import Pair

_NOWHERE = 255  # a place in no window; so a window has fewer pixels


def max_pool(image, size: Pair, strides: Pair):
    """-> the largest in each window, without padding.

    The gradient goes to the first of equals in a window, row by row, as XLA sends it.
    """
    return _max_pool(image, size, strides, image.shape[1:3])


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max_pool(image, size: Pair, strides: Pair, shape: Pair):
    """`shape`: rows and columns of the image, which its gradient cannot tell."""
    return _pool_forward(image, size, strides, shape)[0]


def _pool_forward(image, size: Pair, strides: Pair, shape: Pair):
    rows, columns = places.windows(image.shape, size, strides)
    # Maxima of bfloat16 are exact in float32, which is faster.
    best, place = _along(
        image.astype(jnp.promote_types(image.dtype, jnp.float32)), None, 2, size[1], strides[1], columns
    )
    best, place = _along(best, place, 1, size[0], strides[0], rows, size[1])
    return best.astype(image.dtype), place


def _along(image, known, axis: int, size: int, stride: int, length: int, step: int = 1):
    """-> the largest along one axis, and its place: that in `known`, and `step` for each tap on the way."""

    def tap(array, k: int):
        return lax.slice_in_dim(array, k, k + (length - 1) * stride + 1, stride, axis)

    best = tap(image, 0)
    place = jnp.zeros(best.shape, jnp.uint8) if known is None else tap(known, 0)
    for k in range(1, size):
        new, passed = tap(image, k), jnp.uint8(k * step)
        place = jnp.where(new > best, passed if known is None else tap(known, k) + passed, place)
        best = jnp.maximum(best, new)
    return best, place


def _pool_backward(size: Pair, strides: Pair, shape: Pair, place, slope):
    rows, columns = (-(-n // s) for n, s in zip(shape, strides, strict=True))
    full = rows, columns
    reach = [
        (k - 1) // s for k, s in zip(size, strides, strict=True)
    ]  # windows before its own that see a pixel
    padding = [(0, 0), *((r, n - m) for r, n, m in zip(reach, full, slope.shape[1:3], strict=True)), (0, 0)]
    place = jnp.pad(place, padding, constant_values=_NOWHERE)
    slope = jnp.pad(slope, padding)

    def residue(i, j):
        total = jnp.zeros((slope.shape[0], *full, slope.shape[3]), slope.dtype)
        for row in range(i, size[0], strides[0]):
            for column in range(j, size[1], strides[1]):
                start = reach[0] - row // strides[0], reach[1] - column // strides[1]
                here = places.window(place, start, full, (1, 1)) == row * size[1] + column
                total += jnp.where(here, places.window(slope, start, full, (1, 1)), 0)
        return total

    residues = [[residue(i, j) for j in range(strides[1])] for i in range(strides[0])]
    return (places.interleaved(residues, (slope.shape[0], *shape, slope.shape[3])),)


_max_pool.defvjp(_pool_forward, _pool_backward)
