"""DenseNet121 by keras-hub."""

import keras

from models import specgram


def trunk(image: keras.KerasTensor) -> keras.KerasTensor:
    """(batch, bands, columns, channels) in 0..1 -> (batch, rows, columns, 1024), random weights."""
    # Imported here: keras-hub takes seconds to import, and most runs do not use it.
    from keras_hub.models import DenseNetBackbone

    backbone = DenseNetBackbone(
        stackwise_num_repeats=[6, 12, 24, 16], image_shape=tuple(image.shape[1:]), name="densenet121_trunk"
    )
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # Keras' 0.99 would take hundreds of steps to forget the statistics that it starts with.
            layer.momentum = specgram.NORM["momentum"]
    return backbone(image)
