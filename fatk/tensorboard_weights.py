"""A network's weights in TensorBoard: first-layer filters as pictures, histograms a layer."""

import math

import keras
import numpy as np
import tensorflow as tf

_SIDE = 48  # screen pixels a filter, about


def first_kernel(network: keras.Model) -> np.ndarray | None:
    """-> (height, width, channels, filters) of the first convolution, None where there is none."""
    for weight in network.weights:
        if len(weight.shape) == 4 and weight.path.endswith("kernel"):
            return keras.ops.convert_to_numpy(weight.value).astype(np.float32)
    return None


def grid(kernel: np.ndarray) -> np.ndarray:
    """(height, width, channels, filters) -> (rows, columns, 3) uint8: all filters side by side, enlarged.

    Gray is 0; one scale for all, so that weak filters look weak. The first three channels are red, green and
    blue, one or two are gray levels of their mean. The lowest band is at the bottom, as in images.
    """
    if kernel.shape[2] < 3:
        kernel = np.repeat(kernel.mean(2, keepdims=True), 3, 2)
    shades = 0.5 + 0.5 * kernel[:, :, :3] / max(float(np.abs(kernel[:, :, :3]).max()), 1e-12)
    tall, wide, _, count = shades.shape
    scale = max(1, _SIDE // max(tall, wide))
    across = min(count, math.ceil(math.sqrt(count * tall / wide)))  # so that the whole is about square
    down = math.ceil(count / across)
    step = (tall * scale + 2, wide * scale + 2)
    sheet = np.ones((down * step[0] + 2, across * step[1] + 2, 3))
    for number in range(count):
        top, left = (number // across) * step[0] + 2, (number % across) * step[1] + 2
        tile = np.flipud(shades[..., number]).repeat(scale, 0).repeat(scale, 1)
        sheet[top : top + tall * scale, left : left + wide * scale] = tile
    return np.rint(sheet * 255).astype(np.uint8)


def write_filters(network: keras.Model, epoch: int) -> None:
    """The first convolution's filters, into the default writer."""
    kernel = first_kernel(network)
    if kernel is not None:
        tf.summary.image(
            "first_layer_filters",
            grid(kernel)[None],
            epoch,
            description="Each square is a filter of the first convolution: red, green and blue are the "
            "image's channels, gray is 0, the lowest band is at the bottom.",
        )


def write_histograms(network: keras.Model, epoch: int) -> None:
    """The values of each layer's kernel, layers in their order."""
    kernels = [weight for weight in network.weights if len(weight.shape) >= 2]
    digits = len(str(len(kernels)))
    for number, weight in enumerate(kernels, 1):
        values = keras.ops.convert_to_numpy(weight.value)
        tf.summary.histogram(f"weights/{number:0{digits}d} {weight.path}", values, epoch)
