"""DenseNet121 by keras-hub."""

import keras


def trunk(image: keras.KerasTensor) -> keras.KerasTensor:
    """(batch, bands, columns, 3) in 0..1 -> (batch, rows, columns, 1024), random weights."""
    # Imported here: keras-hub takes seconds to import, and most runs do not use it.
    from keras_hub.models import DenseNetBackbone

    backbone = DenseNetBackbone(
        stackwise_num_repeats=[6, 12, 24, 16], image_shape=tuple(image.shape[1:]), name="densenet121_trunk"
    )
    return backbone(image)
