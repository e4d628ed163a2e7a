"""DenseNet121: keras-hub's, on the stem of the original."""

import keras
from keras import layers

from models import convolution

_EPSILON = 1.001e-5  # of every norm, as Keras has it
# Keras' 0.99 would take hundreds of steps to forget the statistics that a norm starts with; see specgram.NORM.
_MOMENTUM = 0.9


def trunk(image: keras.KerasTensor) -> keras.KerasTensor:
    """(batch, bands, columns, channels) in 0..1 -> (batch, rows, columns, 1024), random weights.

    keras-hub pads the first convolution and the first pooling "same", which for an even size is a pixel less at
    the start: a half-step's shift that the original, PyTorch's and `keras.applications`, do not have. So the
    stem is laid here, and keras-hub's backbone goes on from there.
    """
    # Imported here: keras-hub takes seconds to import, and most runs do not use it.
    from keras_hub.models import DenseNetBackbone

    x = layers.ZeroPadding2D(3, name="conv1_pad")(image)
    x = convolution.Conv2D(64, 7, 2, use_bias=False, name="conv1_conv")(x)
    x = layers.BatchNormalization(epsilon=_EPSILON, momentum=_MOMENTUM, name="conv1_bn")(x)
    x = layers.Activation("relu", name="conv1_relu")(x)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = convolution.MaxPooling2D(3, 2, name="pool1")(x)
    backbone = DenseNetBackbone(stackwise_num_repeats=[6, 12, 24, 16], image_shape=tuple(image.shape[1:]))
    blocks = keras.Model(backbone.get_layer("pool1").output, backbone.output, name="densenet121_blocks")
    blocks = keras.models.clone_model(blocks, clone_function=_ours)
    for layer in blocks.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = _MOMENTUM
    return blocks(x)


def _ours(layer: layers.Layer) -> layers.Layer:
    """A layer of keras-hub's -> a new one of the same configuration; a convolution is ours, which is faster."""
    made = convolution.Conv2D if type(layer) is layers.Conv2D else type(layer)
    return made.from_config(layer.get_config())
