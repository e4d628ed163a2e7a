"""Convolution in float32 with half of the multiplications, for JAX on a CPU: used by `models.kernels` alone.

Four neighbours of a convolution with three taps are twelve multiplications; of sums and differences of the same six
numbers six are enough (Winograd 1980; as F(4, 3) in Lavin and Gray, arXiv:1509.09308). Here that is done along one
axis of an image; what the window sees along the other stands beside it, so that each of the six is a product of
matrices. Results differ from a plain convolution's by some millionths of the largest.

Images are (batch, rows, columns, channels), kernels (rows, columns, channels, filters), without padding.
"""

import functools
import operator
from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from models import places
from models.places import Pair

Weights = Sequence[Sequence[float]]

TAPS = 3
_TILE = 4  # results that are made together
_CHANNELS = 64  # of fewer, sums and differences cost more than multiplications
_FILTERS = 128  # the same, of what is convolved and of the gradient by the image
_BESIDE = 3 << 20  # bytes laid beside each other at a time, which stay in the cache

# The six: polynomials' values at 0, +-A, +-B and their highest coefficients. With these points results are twice as
# exact as with the usual 0, +-1, +-2; with one the other's inverse most factors are one.
_A, _B = 2 / 3, 3 / 2
_SUM = _A**2 + _B**2
_INNER, _OUTER = 2 * _A**2 * (_A**2 - _B**2), 2 * _B**2 * (_B**2 - _A**2)

# Of six neighbours in the image, of three taps, and of six products for four results: rows are what is made.
_IMAGE: Weights = (
    (1, 0, -_SUM, 0, 1, 0),
    (0, -_B, -(_B**2), _A, 1, 0),
    (0, _B, -(_B**2), -_A, 1, 0),
    (0, -_A, -(_A**2), _B, 1, 0),
    (0, _A, -(_A**2), -_B, 1, 0),
    (0, 1, 0, -_SUM, 0, 1),
)
_KERNEL: Weights = (
    (1, 0, 0),
    (1 / _INNER, _A / _INNER, _A**2 / _INNER),
    (1 / _INNER, -_A / _INNER, _A**2 / _INNER),
    (1 / _OUTER, _B / _OUTER, _B**2 / _OUTER),
    (1 / _OUTER, -_B / _OUTER, _B**2 / _OUTER),
    (0, 0, 1),
)
_RESULT: Weights = (
    (1, 1, 1, 1, 1, 0),
    (0, _A, -_A, _B, -_B, 0),
    (0, _A**2, _A**2, _B**2, _B**2, 0),
    (0, _A**3, -(_A**3), _B**3, -(_B**3), 1),
)


def axis(image, shape: Sequence[int], strides: Pair) -> int:
    """-> the axis along which a kernel of a shape is convolved faster so, 1 or 2; 0: none is."""
    if image.dtype != jnp.float32 or shape[2] < _CHANNELS or shape[3] < _FILTERS:
        return 0
    fit = [
        number
        for number in (1, 2)
        if shape[number - 1] == TAPS and strides[number - 1] == 1 and image.shape[number] >= _TILE + TAPS - 1
    ]
    return fit[0] if fit else 0


def convolve(image, kernel, strides: Pair, along: int):
    """-> (batch, rows, columns, filters), convolved; `along` is the axis of `axis`."""
    across = 3 - along
    filters = kernel.shape[3]
    rows, columns = places.windows(image.shape, kernel.shape[:2], strides)
    length, width = (rows, columns)[along - 1], (rows, columns)[across - 1]
    size, stride = kernel.shape[across - 1], strides[across - 1]
    matrices = _matrices(kernel, along)

    def convolved(part):
        products = []
        for plane, matrix in zip(_planes(part, along, length), matrices, strict=True):
            seen = _beside(plane, across, size, stride, width)
            products.append((seen.reshape(-1, seen.shape[3]) @ matrix).reshape(*seen.shape[:3], filters))
        made = jnp.stack(_mixed(_RESULT, products), along + 1)
        made = made.reshape(*made.shape[:along], -1, *made.shape[along + 2 :])
        return lax.slice_in_dim(made, 0, length, axis=along)

    parts = _parts(image, along, width * size)
    return lax.map(convolved, parts).reshape(image.shape[0], rows, columns, filters)


def slopes(image, kernel, slope, strides: Pair, along: int):
    """-> the gradients by the image and by the kernel; `slope` is that by the results."""
    across = 3 - along
    filters = kernel.shape[3]
    length, width = slope.shape[along], slope.shape[across]
    size, stride = kernel.shape[across - 1], strides[across - 1]
    matrices = [matrix.T for matrix in _matrices(kernel, along)]
    short = [(0, 0)] * 4
    short[along] = (0, -length % _TILE)

    def add(totals, part):
        given = _every(jnp.pad(part[1], short), along)
        given = lax.optimization_barrier(_mixed(_turned(_RESULT), given))
        sums, planes = [], []
        for total, plane, one, matrix in zip(
            totals, _planes(part[0], along, length), given, matrices, strict=True
        ):
            flat = one.reshape(-1, filters)
            seen = _beside(plane, across, size, stride, width)
            sums.append(total + flat.T @ seen.reshape(-1, seen.shape[3]))
            taps = jnp.split((flat @ matrix).reshape(*one.shape[:3], -1), size, 3)
            planes.append(_set_out(taps, across, stride, image.shape[across]))
        mixed = _mixed(_turned(_IMAGE), lax.optimization_barrier(planes))
        return sums, _set_out(mixed, along, _TILE, image.shape[along])

    parts = _parts(image, along, width * size)
    start = [jnp.zeros(matrix.shape, jnp.float32) for matrix in matrices]
    totals, made = lax.scan(add, start, (parts, slope.reshape(*parts.shape[:2], *slope.shape[1:])))
    totals = [total.T.reshape(size, *kernel.shape[2:]) for total in totals]
    return made.reshape(image.shape), jnp.stack(_mixed(_turned(_KERNEL), totals), along - 1)


def _matrices(kernel, along: int):
    """-> for each of the six products (what the window sees across the axis x channels, filters)."""
    taps = [lax.index_in_dim(kernel, tap, along - 1, keepdims=False) for tap in range(TAPS)]
    return [matrix.reshape(-1, kernel.shape[3]) for matrix in _mixed(_KERNEL, taps)]


def _parts(image, along: int, seen: int):
    """-> (parts, images in each, rows, columns, channels), whose neighbours beside each other stay in the cache.

    `seen`: what a line across the axis sees, from all of its own.
    """
    lines = -(-(image.shape[along] - TAPS + 1) // _TILE)
    most = _BESIDE // (lines * seen * image.shape[3] * image.dtype.itemsize)
    most = min(most, image.shape[0] // 2)  # in a loop: what is in none XLA fuses, which makes it slower
    images = max((n for n in range(1, most + 1) if image.shape[0] % n == 0), default=1)
    return image.reshape(-1, images, *image.shape[1:])


def _every(image, along: int):
    """-> the images of every fourth line, from each of four: an axis of a multiple of four lines."""
    shape = (*image.shape[:along], -1, _TILE, *image.shape[along + 1 :])
    image = image.reshape(shape)
    return [lax.index_in_dim(image, number, along + 1, keepdims=False) for number in range(_TILE)]


def _planes(image, along: int, length: int):
    """-> what the six products see, each with a line for every four results of `length`."""
    tiles = -(-length // _TILE)
    short = [(0, 0)] * 4
    short[along] = (0, (tiles + 1) * _TILE - image.shape[along])
    every = _every(jnp.pad(image, short), along)
    neighbours = [
        lax.slice_in_dim(every[number % _TILE], number // _TILE, number // _TILE + tiles, axis=along)
        for number in range(len(_IMAGE))
    ]
    return lax.optimization_barrier(_mixed(_IMAGE, neighbours))


def _beside(image, across: int, size: int, stride: int, width: int):
    """-> what the window sees across the axis, in the channels."""
    taps = [
        lax.slice_in_dim(image, tap, tap + (width - 1) * stride + 1, stride, across) for tap in range(size)
    ]
    return jnp.concatenate(taps, 3)


def _set_out(arrays, axis: int, stride: int, length: int):
    """-> their sum, line m of array n on line n + stride * m, of `length` lines: back from what windows see."""
    lines = -(-length // stride)
    shape = list(arrays[0].shape)
    shape[axis] = lines
    residues = []
    for residue in range(stride):
        total = jnp.zeros(shape, arrays[0].dtype)
        for number, array in enumerate(arrays[residue::stride]):
            edges = [(0, 0, 0)] * 4
            edges[axis] = (number, lines - number - array.shape[axis], 0)
            total += lax.pad(array, jnp.zeros((), array.dtype), edges)
        residues.append(total)
    image = jnp.stack(residues, axis + 1)
    image = image.reshape(*image.shape[:axis], -1, *image.shape[axis + 2 :])
    return lax.slice_in_dim(image, 0, length, axis=axis)


def _turned(weights: Weights) -> Weights:
    """-> rows for columns."""
    return tuple(zip(*weights, strict=True))


def _mixed(weights: Weights, arrays):
    """-> for each row of weights the sum of the arrays, so weighed."""
    return [
        functools.reduce(operator.add, (w * a for w, a in zip(row, arrays, strict=True) if w))
        for row in weights
    ]
