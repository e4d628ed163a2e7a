"""Image backbones of keras-hub as trunks: by class, by preset, or from a preset's folder."""

import keras

# Arguments of the classes that are built by name, at their usual smallest size. Any other class, or size,
# comes from a preset's folder: keras-hub writes one with `save_to_preset`.
STANDARD: dict[str, dict[str, object]] = {
    "DenseNetBackbone": {"stackwise_num_repeats": [6, 12, 24, 16]},  # DenseNet121
    "ResNetBackbone": {  # ResNet18
        "input_conv_filters": [64],
        "input_conv_kernel_sizes": [7],
        "stackwise_num_filters": [64, 128, 256, 512],
        "stackwise_num_blocks": [2, 2, 2, 2],
        "stackwise_num_strides": [1, 2, 2, 2],
        "block_type": "basic_block",
    },
    "VGGBackbone": {  # VGG16
        "stackwise_num_repeats": [2, 2, 3, 3, 3],
        "stackwise_num_filters": [64, 128, 256, 512, 512],
    },
    "EfficientNetBackbone": {  # EfficientNet-B0
        "stackwise_width_coefficients": [1.0] * 7,
        "stackwise_depth_coefficients": [1.0] * 7,
        "stackwise_kernel_sizes": [3, 3, 5, 3, 5, 5, 3],
        "stackwise_num_repeats": [1, 2, 2, 3, 3, 4, 1],
        "stackwise_input_filters": [32, 16, 24, 40, 80, 112, 192],
        "stackwise_output_filters": [16, 24, 40, 80, 112, 192, 320],
        "stackwise_expansion_ratios": [1, 6, 6, 6, 6, 6, 6],
        "stackwise_squeeze_and_excite_ratios": [0.25] * 7,
        "stackwise_strides": [1, 2, 2, 2, 1, 2, 1],
        "stackwise_block_types": ["v1"] * 7,
    },
}


def trunk(image: keras.KerasTensor, backbone: str, pretrained: bool = True) -> keras.KerasTensor:
    """(batch, bands, columns, channels) in 0..1 -> (batch, rows, columns, features).

    `backbone` is a class of `STANDARD`, with random weights; or a preset's name or folder, whose weights are
    taken where `pretrained` (a preset's name is looked up on the network). A backbone that gives tokens,
    (batch, tokens, features), gives one row of them. Raises `ValueError` for what is none of these.
    """
    built = _standard(image, backbone) if backbone in STANDARD else _preset(image, backbone, pretrained)
    built.name = "trunk"
    features = built(image)
    shape = getattr(features, "shape", ())
    if len(shape) == 3:
        return keras.layers.Reshape((1, *shape[1:]), name="trunk_tokens")(features)
    if len(shape) != 4:
        raise ValueError(f"`network.backbone` must give one map of features. Received: {backbone!r}.")
    return features


def _standard(image: keras.KerasTensor, name: str) -> keras.Model:
    """A class at its usual size."""
    # Imported here: keras-hub takes seconds to import, and most runs do not use it.
    import keras_hub

    made = getattr(keras_hub.models, name)
    size = "input_shape" if name == "EfficientNetBackbone" else "image_shape"
    return made(**STANDARD[name], **{size: tuple(image.shape[1:])})


def _preset(image: keras.KerasTensor, preset: str, pretrained: bool) -> keras.Model:
    """A preset, at the size of our images where it lets us choose."""
    from keras_hub.models import Backbone

    try:
        plain = Backbone.from_preset(preset, load_weights=False)
        config = plain.get_config()
        size = "image_shape" if "image_shape" in config else "input_shape"
        channels = config[size][-1]
        if pretrained and channels != image.shape[-1]:
            raise ValueError(f"its weights are for images of {channels} channels, not {image.shape[-1]}")
        return Backbone.from_preset(preset, load_weights=pretrained, **{size: tuple(image.shape[1:])})
    except Exception as error:  # what is raised depends on where keras-hub looked for it
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"`network.backbone` must be one of {', '.join(STANDARD)}, or a preset of keras-hub. "
            f"Received: {preset!r} ({reason})."
        ) from error
