"""Convolution for JAX on a CPU, where XLA's own is slow: same results, same gradients.

With `models.winograd`, `models.pooling` and `models.places` all here that imports JAX. What XLA does slowly,
and what is done instead:

- the kernel's gradient: what the window sees from all places of a few images, which stays in the cache, and a
  matrix product for each row of the window;
- a convolution in bfloat16, or strided and of many channels: the same;
- a convolution with few filters for its channels, as DenseNet's: the products of all taps, then sums of neighbours;
  and the kernel's gradient there by what results saw of the image, not the other way around;
- a convolution of few channels in bfloat16: in float32, which XLA does faster;
- all of it in float32, of many channels, with three taps along an axis: half of the multiplications, in
  `models.winograd`;
- its input's gradient, for which XLA convolves zeros: a plain convolution for each residue of the stride;
- a convolution of one pixel: a matrix product, and so are its gradients;
- the bias' gradient in bfloat16: summed over the batch first, for XLA sums all at once window by window.

Images are (batch, rows, columns, channels), kernels (rows, columns, channels, filters).
"""

import functools
import math
import operator

import jax
import jax.numpy as jnp
from jax import lax

from models import places, winograd
from models.places import Pair

_LAYOUT = ("NHWC", "HWIO", "NHWC")
_FEW_CHANNELS = 16  # of so many, a row of the window is too narrow for a matrix product
_BESIDE = 6 << 20  # bytes of neighbours laid beside each other at a time
_PRODUCTS = 16 << 20  # bytes of products of all taps at a time
_LARGE = 16  # rows and columns from which sums of neighbours are faster than XLA's convolution in float32


def wanted() -> bool:
    """Whether JAX runs on one CPU device; with more, portions of a batch would cross from one to another."""
    return jax.default_backend() == "cpu" and jax.device_count() == 1


def _movable(image):
    """-> the same bits: bfloat16, which XLA moves number by number, as whole numbers, which it moves together."""
    return lax.bitcast_convert_type(image, jnp.uint16) if image.dtype == jnp.bfloat16 else image


def _moved(image, kind):
    """-> the same bits, as they were before `_movable`."""
    return lax.bitcast_convert_type(image, kind) if image.dtype != kind else image


def _seen(image, size: Pair, strides: Pair):
    """-> what each row of the window sees from all places, (places, columns of the window x channels) each.

    Neighbours are laid beside each other once for all rows of the window: then what a row of it sees of a row of
    the image is one piece of memory. Of few channels, what all rows of the window see stands in one matrix.
    """
    if image.shape[3] <= _FEW_CHANNELS:
        return [lax.optimization_barrier(_lying(image, size, strides)).T]
    rows, columns = places.windows(image.shape, size, strides)
    bits = _movable(image)
    taps = [places.window(bits, (0, j), (image.shape[1], columns), (1, strides[1])) for j in range(size[1])]
    beside = jnp.concatenate(taps, axis=3)
    lines = [places.window(beside, (i, 0), (rows, columns), (strides[0], 1)) for i in range(size[0])]
    return [_moved(line.reshape(-1, line.shape[3]), image.dtype) for line in lines]


def _lying(image, size: Pair, strides: Pair):
    """-> (window x channels, places): what it sees of few channels. Rows of the image stay pieces of memory."""
    planes = lax.optimization_barrier(_movable(image)).transpose(3, 0, 1, 2)
    shape = places.windows(image.shape, size, strides)
    taps = [
        places.window(planes, (i, j), shape, strides, axis=2) for i in range(size[0]) for j in range(size[1])
    ]
    return _moved(jnp.concatenate(taps).reshape(len(taps) * image.shape[3], -1), image.dtype)


def _matrices(kernel):
    """-> (matrices, size of each, filters): what is multiplied with those of `_seen`."""
    count = 1 if kernel.shape[2] <= _FEW_CHANNELS else kernel.shape[0]
    return kernel.reshape(count, -1, kernel.shape[3])


def _portions(image, size: Pair, strides: Pair) -> Pair:
    """-> portions of the batch, and images in each: so many that what is seen of them stays in the cache.

    Two portions or more where there are two images: what is in no loop XLA fuses, which makes it slower.
    """
    rows, columns = places.windows(image.shape, size, strides)
    copies = size[0] * rows if image.shape[3] <= _FEW_CHANNELS else image.shape[1]
    most = _BESIDE // (copies * columns * size[1] * image.shape[3] * image.dtype.itemsize)
    most = min(most, image.shape[0] // 2)
    images = max((n for n in range(1, most + 1) if image.shape[0] % n == 0), default=1)
    return image.shape[0] // images, images


def _product(first, second, portions: int):
    """-> the matrix product in float32, in a loop over portions.

    Of bfloat16, too, XLA has a fast product that sums in float32, but not of operands that lie turned; and it
    fails where it lays one so itself, late, as it does when a loop of one portion is dissolved.
    """
    if portions == 1:
        first, second = first.astype(jnp.float32), second.astype(jnp.float32)
    return jnp.matmul(first, second, preferred_element_type=jnp.float32)


def conv(image, kernel, strides: Pair):
    """(batch, rows, columns, channels) -> (batch, rows, columns, filters), without padding."""
    return _conv(image, kernel, strides)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(image, kernel, strides: Pair):
    return _convolve(image, kernel, strides, ((0, 0), (0, 0)))


def _convolve(image, kernel, strides: Pair, padding: tuple[Pair, Pair]):
    """-> convolved, by XLA or by matrix products, whichever is faster."""
    if kernel.shape[:2] == strides == (1, 1) and padding == ((0, 0), (0, 0)):
        return jnp.matmul(image, kernel[0, 0], preferred_element_type=jnp.float32).astype(image.dtype)
    along = winograd.axis(image, kernel.shape, strides)
    if along:
        return winograd.convolve(jnp.pad(image, ((0, 0), *padding, (0, 0))), kernel, strides, along)
    few = image.shape[3] <= _FEW_CHANNELS
    large = image.dtype == jnp.bfloat16 or min(image.shape[1:3]) >= _LARGE
    if large and _few_filters(kernel.shape, strides):
        return _summed(jnp.pad(image, ((0, 0), *padding, (0, 0))), kernel)
    if few or (strides == (1, 1) and image.dtype != jnp.bfloat16):
        # XLA is faster at few channels in float32, then rounded, than matrix products are in bfloat16.
        kind = image.dtype
        image, kernel = (array.astype(jnp.promote_types(kind, jnp.float32)) for array in (image, kernel))
        made = lax.conv_general_dilated(image, kernel, strides, padding, dimension_numbers=_LAYOUT)
        return made.astype(kind)
    image = jnp.pad(image, ((0, 0), *padding, (0, 0)))
    size, matrices = kernel.shape[:2], _matrices(kernel)
    portions, images = _portions(image, size, strides)

    def convolved(part):
        seen = _seen(part, size, strides)
        made = sum(_product(line, matrix, portions) for line, matrix in zip(seen, matrices, strict=True))
        return made.astype(image.dtype)

    made = lax.map(convolved, image.reshape(portions, images, *image.shape[1:]))
    return made.reshape(image.shape[0], *places.windows(image.shape, size, strides), kernel.shape[3])


def _few_filters(shape, strides: Pair):
    """Whether products of all taps of a kernel are fewer numbers than what a row of the window sees."""
    return shape[:2] != (1, 1) == strides and shape[0] * shape[3] <= shape[2]


def _summed(image, kernel):
    """-> convolved, without stride: the products of all taps with each pixel, then sums of neighbours."""
    rows, columns = places.windows(image.shape, kernel.shape[:2], (1, 1))
    height, width, channels, filters = kernel.shape
    matrix = kernel.transpose(2, 0, 1, 3).reshape(channels, -1)
    most = max(1, _PRODUCTS // (4 * math.prod(image.shape[1:3]) * matrix.shape[1]))
    images = max(n for n in range(1, most + 1) if image.shape[0] % n == 0)

    def convolved(part):
        products = jnp.matmul(part.reshape(-1, channels), matrix, preferred_element_type=jnp.float32)
        products = lax.optimization_barrier(products.reshape(*part.shape[:3], -1))
        starts = [(row, column) for row in range(height) for column in range(width)]
        taps = [
            products[:, row : row + rows, column : column + columns, tap * filters : (tap + 1) * filters]
            for tap, (row, column) in enumerate(starts)
        ]
        return functools.reduce(operator.add, taps).astype(image.dtype)

    if images == image.shape[0]:
        return convolved(image)
    made = lax.map(convolved, image.reshape(-1, images, *image.shape[1:]))
    return made.reshape(image.shape[0], rows, columns, filters)


def _conv_forward(image, kernel, strides: Pair):
    return _conv(image, kernel, strides), (image, kernel)


def _conv_backward(strides: Pair, kept, slope):
    image, kernel = kept
    along = winograd.axis(image, kernel.shape, strides)
    if along:
        return winograd.slopes(image, kernel, slope, strides, along)
    return _image_slope(image, kernel, slope, strides), _kernel_slope(image, kernel, slope, strides)


def _kernel_slope(image, kernel, slope, strides: Pair):
    """-> the gradient by the kernel."""
    if _few_filters(kernel.shape, strides) and min(slope.shape[1:3]) >= _LARGE:
        edges = [(length - 1, length - 1) for length in kernel.shape[:2]]
        seen_by = jnp.pad(slope, ((0, 0), *edges, (0, 0)))
        return _kernel_slope(seen_by, kernel.swapaxes(2, 3), image, strides)[::-1, ::-1].swapaxes(2, 3)
    size, filters = kernel.shape[:2], kernel.shape[3]
    portions, images = _portions(image, size, strides)
    given = slope.reshape(portions, -1, filters)
    # The product comes out as (size x channels, filters) or turned, whichever is made faster. Of float32 it takes
    # operands that lie turned; others are turned all at once, alone: as a part of what made them it takes longer.
    turned = image.shape[3] > _FEW_CHANNELS
    lies_turned = turned and slope.dtype != jnp.float32
    if lies_turned:
        given = lax.optimization_barrier(given).swapaxes(1, 2)

    def add(totals, part):
        if turned:
            given = part[1] if lies_turned else part[1].T
            pairs = [(given, line) for line in _seen(part[0], size, strides)]
        else:
            pairs = [(_lying(part[0], size, strides), part[1])]
        return [total + _product(*pair, portions) for total, pair in zip(totals, pairs, strict=True)], None

    shape = _matrices(kernel).shape
    start = [jnp.zeros(shape[:0:-1] if turned else shape[1:], jnp.float32)] * shape[0]
    parts = (image.reshape(portions, images, *image.shape[1:]), given)
    totals = lax.scan(add, start, parts)[0]
    found = jnp.stack([total.T if turned else total for total in totals])
    return found.reshape(kernel.shape).astype(kernel.dtype)


def _image_slope(image, kernel, slope, strides: Pair):
    """-> the gradient by the image: row i + stride * n depends on the taps i, i + stride, ... alone."""
    shape = [-(-n // s) for n, s in zip(image.shape[1:3], strides, strict=True)]

    def residue(i, j):
        taps = kernel[i :: strides[0], j :: strides[1]][::-1, ::-1].swapaxes(2, 3)
        if not taps.size:
            return jnp.zeros((image.shape[0], *shape, image.shape[3]), slope.dtype)
        top, left = ((k - 1, n - m) for k, n, m in zip(taps.shape[:2], shape, slope.shape[1:3], strict=True))
        return _convolve(slope, taps, (1, 1), (top, left))

    residues = [[residue(i, j) for j in range(strides[1])] for i in range(strides[0])]
    return places.interleaved(residues, image.shape)


_conv.defvjp(_conv_forward, _conv_backward)


@jax.custom_vjp
def add_bias(image, bias):
    """(batch, rows, columns, filters), (filters,) -> their sum."""
    return image + bias


def _bias_backward(kept, slope):
    return slope, slope.sum(0, dtype=jnp.float32).sum((0, 1)).astype(slope.dtype)


add_bias.defvjp(lambda image, bias: (image + bias, None), _bias_backward)
