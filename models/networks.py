"""From settings to a network: trunks by name, the head, and what stays fixed when a trunk is frozen."""

from collections.abc import Callable

import keras
from keras import layers

from models import densenet, specgram
from models.settings import NetworkSettings

TRUNKS: dict[str, Callable[[keras.KerasTensor], keras.KerasTensor]] = {
    "specgram": specgram.trunk,
    "densenet121": densenet.trunk,
}

HEAD = "head_"  # every layer of a head is named so; all others are trunk

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def reference_head(x: keras.KerasTensor, classes: int, dropout: float) -> keras.KerasTensor:
    """(batch, rows, columns, channels) -> (batch, classes) logits: the head as fast.ai 1 makes it."""
    mean = layers.GlobalAveragePooling2D(name=f"{HEAD}mean")(x)
    peak = layers.GlobalMaxPooling2D(name=f"{HEAD}peak")(x)
    x = layers.Concatenate(name=f"{HEAD}pooled")([mean, peak])
    x = layers.BatchNormalization(name=f"{HEAD}norm1", **specgram.NORM)(x)
    x = layers.Dropout(dropout / 2, name=f"{HEAD}dropout1")(x)
    x = layers.Dense(512, "relu", kernel_initializer="he_normal", name=f"{HEAD}dense")(x)
    x = layers.BatchNormalization(name=f"{HEAD}norm2", **specgram.NORM)(x)
    x = layers.Dropout(dropout, name=f"{HEAD}dropout2")(x)
    # Logits in float32 whatever the precision: eight bits of mantissa are not enough for a loss.
    return layers.Dense(classes, dtype="float32", name=f"{HEAD}logits")(x)


def build(
    settings: NetworkSettings, shape: tuple[int, int, int], classes: int, precision: str | None = None
) -> keras.Model:
    """-> a network: (batch, bands, columns, channels) float32 in 0..1 -> (batch, classes) logits, float32.

    `precision` overrides the setting; served and saved networks are always float32. Raises `ValueError` for
    an image too small for the trunk's strides.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(_POLICIES[precision or settings.precision])
    try:
        image = keras.Input(shape, name="image", dtype="float32")
        try:
            features = TRUNKS[settings.name](image)
        except ValueError as error:  # Keras' own message is a page on the layer that ran out of pixels
            raise ValueError(
                f"an image of {shape[0]} x {shape[1]} is too small for the strides of {settings.name!r}; "
                "`features.bands` must be larger."
            ) from error
        logits = reference_head(features, classes, settings.dropout)
        return keras.Model(image, logits, name=settings.name)
    finally:
        keras.config.set_dtype_policy(before)


def freeze_trunk(network: keras.Model, frozen: bool) -> None:
    """Let the head train alone, or all. A frozen batch norm keeps its statistics too (Keras' rule)."""
    for layer in network.layers:
        layer.trainable = layer.name.startswith(HEAD) or not frozen
