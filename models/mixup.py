"""Mixup as a layer: images and targets mixed on the device, while training alone."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("fatk")
class Mixup(keras.layers.Layer):
    """Mixup per sample (arXiv:1710.09412) with partners from the same batch.

    Called on `(image, target)`, shapes (batch, ...) and (batch, classes); gives the same back, each sample as
    lambda x itself + (1 - lambda) x its partner, lambda ~ max(l, 1 - l), l ~ Beta(alpha, alpha), one draw a
    sample, the same for image and target. Partners are a random permutation of the batch. Outside of training
    and at `alpha=0` everything passes unchanged.
    """

    def __init__(self, alpha: float = 0.75, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        if not alpha >= 0:
            raise ValueError(f"`alpha` must be at least 0. Received: {alpha}.")
        self.alpha = alpha
        self.seed = seed
        self.draws = keras.random.SeedGenerator(seed, name="draws")

    def call(self, inputs, training=False):
        """Mix while training."""
        image, target = inputs
        if not training or self.alpha == 0:
            return image, target
        batch = ops.shape(image)[0]
        share = self.shares(batch)
        partner = keras.random.shuffle(ops.arange(batch), seed=self.draws)
        return mix(image, image, partner, share), mix(target, target, partner, share)

    def shares(self, batch):
        """-> (batch,) lambda: what each sample keeps of itself, 0.5..1."""
        drawn = keras.random.beta((batch,), self.alpha, self.alpha, seed=self.draws)
        return ops.maximum(drawn, 1 - drawn)

    def compute_output_shape(self, input_shape):
        """The same as the input's."""
        return input_shape

    def get_config(self):
        """What `from_config` needs."""
        return {**super().get_config(), "alpha": self.alpha, "seed": self.seed}


def mix(own, others, partner, share):
    """(batch, ...), (n, ...), (batch,) rows of the second, (batch,) shares -> (batch, ...) mixed."""
    share = ops.reshape(ops.cast(share, own.dtype), (-1,) + (1,) * (len(own.shape) - 1))
    return share * own + (1 - share) * ops.take(others, partner, axis=0)


def build(kind: str, alpha: float, seed: int) -> keras.layers.Layer | None:
    """-> the mixing layer of a setting, None for "none"."""
    return {"none": lambda: None, "mixup": lambda: Mixup(alpha, seed, name="mixup")}[kind]()
