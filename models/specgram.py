"""SpecgramNet: the reference's small AlexNet-like network for spectrogram images."""

import keras
from keras import layers

from models import convolution

# (filters, kernel, stride, stride of the 3 x 3 max-pooling); kernel and stride are frequency x time.
BLOCKS = (
    (64, (7, 3), (2, 1), 2),
    (128, (5, 3), (1, 1), 1),
    (256, (3, 5), (1, 2), 1),
    (512, (3, 3), (2, 2), 2),
)

# PyTorch's batch normalisation, which the reference's numbers come from: there, a momentum of 0.1 is the
# share of the new batch, here 0.9 is the share of the old average.
NORM = {"epsilon": 1e-5, "momentum": 0.9}


def trunk(image: keras.KerasTensor) -> keras.KerasTensor:
    """(batch, bands, columns, channels) -> (batch, rows, columns, 512): conv, max-pool, norm, ReLU, four times.

    One pixel of padding around every convolution whatever its kernel, none around pooling, as the reference.
    """
    x = image
    for number, (filters, kernel, stride, pool) in enumerate(BLOCKS, 1):
        name = f"block{number}"
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
        x = convolution.Conv2D(filters, kernel, stride, kernel_initializer="he_uniform", name=f"{name}_conv")(
            x
        )
        x = convolution.MaxPooling2D(3, pool, name=f"{name}_pool")(x)
        x = layers.BatchNormalization(name=f"{name}_norm", **NORM)(x)
        x = layers.ReLU(name=f"{name}_relu")(x)
    return x
