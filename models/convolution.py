"""Convolution and max-pooling as Keras has them, by `models.kernels` and `models.pooling` where those are faster.

Names, weights and results are those of the layers that they stand for; only what computes them differs, with
the machine: a network saved from one is loaded on any other, on any of Keras' backends.
"""

import functools
import math

import keras
from keras import layers, ops


@functools.cache
def _kernels():
    """`models.kernels` where Keras computes with JAX on a CPU, None elsewhere."""
    if keras.backend.backend() != "jax":
        return None
    from models import kernels  # imports JAX

    return kernels if kernels.wanted() else None


@keras.saving.register_keras_serializable("fatk")
class Conv2D(layers.Conv2D):
    """(batch, rows, columns, channels) -> (batch, rows, columns, filters): Keras' Conv2D, faster on a CPU."""

    def call(self, inputs):
        """Convolve."""
        kernels = _kernels()
        if kernels is None or not self._plain or not self.use_bias:
            return super().call(inputs)
        outputs = self.convolution_op(inputs, self.kernel)
        outputs = kernels.add_bias(outputs, ops.cast(self.bias, outputs.dtype))
        return outputs if self.activation is None else self.activation(outputs)

    @property
    def _plain(self):
        """Whether the kernels can stand for Keras' convolution."""
        plain = self.groups == 1 and self.dilation_rate == (1, 1) and self.compute_dtype != "float64"
        return plain and self.data_format == "channels_last"

    def convolution_op(self, inputs, kernel):
        """Convolve, without bias."""
        kernels = _kernels()
        if kernels is None or not self._plain:
            return super().convolution_op(inputs, kernel)
        kernel = ops.convert_to_tensor(kernel)
        inputs = ops.cast(ops.convert_to_tensor(inputs), kernel.dtype)
        if self.padding == "same":
            inputs = ops.pad(inputs, ((0, 0), *self._edges(inputs.shape[1:3]), (0, 0)))
        return kernels.conv(inputs, kernel, self.strides)

    def _edges(self, shape):
        """Rows and columns of an image -> pixels added before and after, for the padding "same"."""
        sizes = zip(shape, self.kernel_size, self.strides, strict=True)
        missing = [max(0, (math.ceil(n / stride) - 1) * stride + kernel - n) for n, kernel, stride in sizes]
        return [(pixels // 2, pixels - pixels // 2) for pixels in missing]


@keras.saving.register_keras_serializable("fatk")
class MaxPooling2D(layers.MaxPooling2D):
    """(batch, rows, columns, channels) -> the largest in each window: Keras' MaxPooling2D, faster on a CPU."""

    def call(self, inputs):
        """Pool."""
        plain = self.padding == "valid" and math.prod(self.pool_size) < 256
        kernels = _kernels()
        if kernels is None or not plain or self.data_format != "channels_last":
            return super().call(inputs)
        from models import pooling  # imports JAX

        return pooling.max_pool(ops.convert_to_tensor(inputs), self.pool_size, self.strides)
