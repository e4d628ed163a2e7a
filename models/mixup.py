"""Mixup as a layer: images and targets mixed on the device, while training alone."""

from typing import Any

import keras
from keras import ops

NOISY = "noisy_"  # begins the name of what comes from the draw of the noisy set


@keras.saving.register_keras_serializable("fatk")
class Mixup(keras.layers.Layer):
    """Mixup per sample (arXiv:1710.09412) with partners from the same batch.

    Called on `(image, target)`, shapes (batch, ...) and (batch, classes), or on a dict of them and whatever
    else a clip has, (batch, ...); gives the same back, each sample as lambda x itself + (1 - lambda) x its
    partner, lambda ~ max(l, 1 - l), l ~ Beta(alpha, alpha), one draw a sample, the same for all entries.
    Partners are a random permutation of the batch. Outside of training, at `alpha=0` and while `active` is 0
    everything passes unchanged; `active` is a variable, so that switching it compiles nothing anew.
    """

    def __init__(self, alpha: float = 0.75, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        if not alpha >= 0:
            raise ValueError(f"`alpha` must be at least 0. Received: {alpha}.")
        self.alpha = alpha
        self.seed = seed
        self.draws = keras.random.SeedGenerator(seed, name="draws")
        self.active = self.add_weight(shape=(), initializer="ones", trainable=False, name="active")

    def call(self, inputs, training=False):
        """Mix while training."""
        if not isinstance(inputs, dict):
            image, target = inputs
            mixed = self.call({"image": image, "target": target}, training=training)
            return mixed["image"], mixed["target"]
        if not training or self.alpha == 0:
            return inputs
        batch = ops.shape(inputs["image"])[0]
        share = self.shares(batch)
        partner = keras.random.shuffle(ops.arange(batch), seed=self.draws)
        return {key: mix(value, value, partner, share) for key, value in inputs.items()}

    def shares(self, batch):
        """-> (batch,) lambda: what each sample keeps of itself, 0.5..1, all 1 while not `active`."""
        drawn = keras.random.beta((batch,), self.alpha, self.alpha, seed=self.draws)
        return 1 - self.active * (1 - ops.maximum(drawn, 1 - drawn))

    def compute_output_shape(self, input_shape):
        """The same as the input's."""
        return input_shape

    def get_config(self):
        """What `from_config` needs."""
        return {**super().get_config(), "alpha": self.alpha, "seed": self.seed}


@keras.saving.register_keras_serializable("fatk")
class NoisyMixup(Mixup):
    """Mixup with partners from the union of the batch and a draw of the noisy set ("super mixup").

    Called on {"image", "target", "noisy_image", "noisy_target"}; the draw may be of any size, the reference's
    is the batch's. Gives the batch back, mixed: {"image", "target", "weight", "domain"}. `weight` (batch,) is
    a clip's weight in the loss, 1 where "weight" or "noisy_weight" is not given. `domain` (batch,) is the
    share of noisy labels: 0 for the batch unless "domain" says otherwise, 1 for the draw. Partners are drawn
    without replacement; all else is as in `Mixup`.
    """

    def call(self, inputs, training=False):
        """Mix while training."""
        own = {key: value for key, value in inputs.items() if not key.startswith(NOISY)}
        own = complete(own, domain=0.0)
        if not training or self.alpha == 0:
            return own
        draw = {key[len(NOISY) :]: value for key, value in inputs.items() if key.startswith(NOISY)}
        draw = complete(draw, domain=1.0)
        batch, drawn = ops.shape(own["image"])[0], ops.shape(draw["image"])[0]
        share = self.shares(batch)
        partner = keras.random.shuffle(ops.arange(batch + drawn), seed=self.draws)[:batch]
        return {
            key: mix(value, ops.concatenate([value, draw[key]]), partner, share) for key, value in own.items()
        }

    def compute_output_shape(self, input_shape):
        """The batch's shapes, with weight and domain."""
        own = {key: shape for key, shape in input_shape.items() if not key.startswith(NOISY)}
        return {"weight": own["image"][:1], "domain": own["image"][:1], **own}


def complete(clips: dict[str, Any], domain: float) -> dict[str, Any]:
    """Clips with a weight of 1 and a domain, (batch,) each, where they bring none of their own."""
    one = ops.ones_like(clips["target"][:, 0])
    return {"weight": one, "domain": domain * one, **clips}


class Unmixed(keras.callbacks.Callback):
    """Switches a mixing layer off from an epoch on (counted from 0), and on before it.

    It sets the layer's `active` before each epoch, so a run that is resumed is in the right state too.
    """

    def __init__(self, mixing: Mixup, first: int):
        super().__init__()
        self.mixing = mixing
        self.first = first

    def on_epoch_begin(self, epoch, logs=None):
        """Mix or not in this epoch."""
        self.mixing.active.assign(float(epoch < self.first))


def mix(own, others, partner, share):
    """(batch, ...), (n, ...), (batch,) rows of the second, (batch,) shares -> (batch, ...) mixed."""
    share = ops.reshape(ops.cast(share, own.dtype), (-1,) + (1,) * (len(own.shape) - 1))
    return share * own + (1 - share) * ops.take(others, partner, axis=0)


def build(kind: str, alpha: float, seed: int, **matching: Any) -> keras.layers.Layer | None:
    """-> the mixing layer of a setting, None for "none"; `matching` are the parameters of MixMatch alone."""
    if kind == "mixmatch":
        from models.mixmatch import MixMatch  # which builds on this file

        return MixMatch(alpha=alpha, seed=seed, name="mixmatch", **matching)
    if kind == "none":
        return None
    kinds = {"mixup": Mixup, "noisy": NoisyMixup}
    if kind not in kinds:
        raise ValueError(
            f"`mixing.kind` must be one of none, {', '.join(kinds)}, mixmatch. Received: {kind!r}."
        )
    return kinds[kind](alpha, seed, name=kind)
