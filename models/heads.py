"""Heads: from a trunk's features to logits, and what is put before a trunk."""

from collections.abc import Callable

import keras
from keras import layers, ops

from models import specgram

HEAD = "head_"  # every layer of a head is named so; all others are trunk
NOISY_HEAD = f"{HEAD}noisy_"  # those of the head for noisy labels


def reference_head(
    x: keras.KerasTensor, classes: int, dropout: float, prefix: str = HEAD
) -> keras.KerasTensor:
    """(batch, rows, columns, channels) -> (batch, classes) logits: the head as fast.ai 1 makes it."""
    mean = layers.GlobalAveragePooling2D(name=f"{prefix}mean")(x)
    peak = layers.GlobalMaxPooling2D(name=f"{prefix}peak")(x)
    x = layers.Concatenate(name=f"{prefix}pooled")([mean, peak])
    x = layers.BatchNormalization(name=f"{prefix}norm1", **specgram.NORM)(x)
    x = layers.Dropout(dropout / 2, name=f"{prefix}dropout1")(x)
    x = layers.Dense(512, "relu", kernel_initializer="he_normal", name=f"{prefix}dense")(x)
    x = layers.BatchNormalization(name=f"{prefix}norm2", **specgram.NORM)(x)
    x = layers.Dropout(dropout, name=f"{prefix}dropout2")(x)
    # Logits in float32 whatever the precision: eight bits of mantissa are not enough for a loss.
    return layers.Dense(classes, dtype="float32", name=f"{prefix}logits")(x)


def attention_head(
    x: keras.KerasTensor, classes: int, dropout: float, prefix: str = HEAD
) -> keras.KerasTensor:
    """(batch, rows, columns, channels) -> (batch, classes) logits: each class looks where it is heard.

    The decision-level attention of PANNs' Cnn14 (arXiv:1912.10211), over time and frequency: at each position
    a dense layer, then per class a chance and an attention; the answer is the attention's mean of chances.
    """
    x = layers.Reshape((-1, x.shape[-1]), name=f"{prefix}positions")(x)
    x = layers.Dropout(dropout / 2, name=f"{prefix}dropout1")(x)
    x = layers.Dense(512, "relu", kernel_initializer="he_normal", name=f"{prefix}dense")(x)
    x = layers.Dropout(dropout, name=f"{prefix}dropout2")(x)
    attention = layers.Dense(classes, "tanh", dtype="float32", name=f"{prefix}attention")(x)
    logits = layers.Dense(classes, dtype="float32", name=f"{prefix}position_logits")(x)
    return AttentionPooling(dtype="float32", name=f"{prefix}logits")([attention, logits])


HEADS: dict[str, Callable[..., keras.KerasTensor]] = {
    "reference": reference_head,
    "attention": attention_head,
}


@keras.saving.register_keras_serializable("fatk")
class AttentionPooling(layers.Layer):
    """Two of (batch, positions, classes), attention and logits -> (batch, classes): logit of the mean chance.

    The attention is a softmax over positions, for each class its own.
    """

    def call(self, inputs):
        """Pool."""
        attention, logits = inputs
        share = ops.log_softmax(attention, axis=1)
        # Shares sum to 1, so 1 - mean(p) is mean(1 - p): both logarithms are exact however sure the network.
        present = ops.logsumexp(share + ops.log_sigmoid(logits), axis=1)
        absent = ops.logsumexp(share + ops.log_sigmoid(-logits), axis=1)
        return present - absent

    def compute_output_shape(self, input_shape):
        """(batch, classes)."""
        batch, _, classes = input_shape[1]
        return batch, classes


@keras.saving.register_keras_serializable("fatk")
class FrequencyCoordinate(layers.Layer):
    """(batch, bands, columns, channels) -> the same with a channel more: -1 in the lowest band to 1.

    A convolution sees a pattern alike at any height; with it, it can tell how high the pattern stands.
    """

    def call(self, image):
        """Append the ramp."""
        ramp = ops.reshape(ops.linspace(-1.0, 1.0, image.shape[1]), (1, -1, 1, 1))
        ramp = ops.broadcast_to(ops.cast(ramp, image.dtype), (*ops.shape(image)[:-1], 1))
        return ops.concatenate([image, ramp], axis=-1)

    def compute_output_shape(self, input_shape):
        """One channel more."""
        return (*input_shape[:-1], input_shape[-1] + 1)
