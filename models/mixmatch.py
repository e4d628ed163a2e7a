"""MixMatch (arXiv:1905.02249) for sigmoid targets: a clip carries any number of labels, each decided apart.

A step, from labelled clips and several augmentations of unlabelled ones:

1. `guess`: the network's chances, averaged over a clip's augmentations, without a gradient.
2. `MixMatch`: guesses are blended with the given labels (if any are trusted), sharpened, and handed to every
   augmentation; all rows are shuffled, and each is mixed with its partner.
3. `loss`: cross-entropy on the labelled rows, squared error on the others, whose weight ramps up.
"""

import keras
from keras import ops

from models.mixup import Mixup, mix


def guess(network, images):
    """(clips, augmentations, ...) images -> (clips, classes): mean chances, through which no gradient flows.

    The network runs as if served: its norms' statistics are neither used up nor moved, nothing is dropped.
    """
    clips, augmentations = ops.shape(images)[0], images.shape[1]
    logits = network(ops.reshape(images, (-1, *images.shape[2:])), training=False)
    if isinstance(logits, dict):
        logits = logits["logits"]
    chance = ops.sigmoid(ops.cast(logits, "float32"))
    chance = ops.reshape(chance, (clips, augmentations, chance.shape[-1]))
    return ops.stop_gradient(ops.mean(chance, axis=1))


def sharpen(chance, temperature: float):
    """(..., classes) in 0..1 -> the same, further from 0.5: p^(1/T) / (p^(1/T) + (1 - p)^(1/T)).

    The paper's sharpening of two classes, present and absent, for each label. T = 1 changes nothing; towards
    0 it becomes a decision.
    """
    # sigmoid(logit(p) / T): the same, but the powers of a small T do not vanish together.
    logit = ops.log(ops.maximum(chance, 1e-30)) - ops.log1p(-ops.minimum(chance, 1 - 1e-7))
    return ops.sigmoid(logit / temperature)


def blend(chance, given, prior: float):
    """(clips, classes) guesses and given labels -> (clips, classes): a share of `prior` of the given."""
    return (1 - prior) * chance + prior * given


def squared_error(target, logits):
    """(rows, classes) in 0..1 and logits -> (rows,): mean over classes of (target - sigmoid)^2."""
    return ops.mean(ops.square(target - ops.sigmoid(ops.cast(logits, "float32"))), axis=-1)


def loss(each, target, logits, labelled, weight):
    """-> (): mean of the (rows,) losses of labelled rows + weight x mean squared error of the others.

    `labelled` (rows,) is 1 or 0; `weight` () as the layer gives it.
    """
    others = 1 - labelled
    given = ops.sum(each * labelled) / ops.maximum(ops.sum(labelled), 1.0)
    guessed = ops.sum(squared_error(target, logits) * others) / ops.maximum(ops.sum(others), 1.0)
    return given + weight * guessed


@keras.saving.register_keras_serializable("fatk")
class MixMatch(Mixup):
    """Mixes labelled and unlabelled clips, with partners from the union of both.

    Called on {"image": (batch, ...), "target": (batch, classes), "unlabelled_image": (clips, augmentations,
    ...), "guess": (clips, classes) of `guess`}, and "unlabelled_target" (clips, classes), the given labels,
    where `prior` is not 0. Gives {"image", "target", "labelled", "unlabelled_weight"}: rows of the batch, then
    of the unlabelled clips augmentation by augmentation; `labelled` (rows,) is 1 or 0; `unlabelled_weight` ()
    rises linearly from 0 to `weight` over the first `ramp` training steps, which the layer counts. Outside of
    training the batch passes alone.
    """

    def __init__(
        self,
        alpha: float = 0.75,
        temperature: float = 0.5,
        prior: float = 0.0,
        weight: float = 10.0,
        ramp: int = 1000,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(alpha, seed, **kwargs)
        if not temperature > 0:
            raise ValueError(f"`temperature` must be above 0. Received: {temperature}.")
        if not 0 <= prior <= 1:
            raise ValueError(f"`prior` must be from 0 to 1. Received: {prior}.")
        if not weight >= 0:
            raise ValueError(f"`weight` must be at least 0. Received: {weight}.")
        if ramp < 0:
            raise ValueError(f"`ramp` must be at least 0. Received: {ramp}.")
        self.temperature = temperature
        self.prior = prior
        self.weight = weight
        self.ramp = ramp
        self.steps = self.add_weight(
            shape=(), initializer="zeros", dtype="int32", trainable=False, name="steps"
        )

    def call(self, inputs, training=False):
        """Guess, join, mix while training."""
        image, target = inputs["image"], inputs["target"]
        if not training:
            return {"image": image, "target": target}
        views = inputs["unlabelled_image"]
        clips, augmentations = ops.shape(views)[0], views.shape[1]
        chance = inputs["guess"]
        if self.prior:
            chance = blend(chance, inputs["unlabelled_target"], self.prior)
        guessed = ops.stop_gradient(sharpen(chance, self.temperature))
        # Clips of one augmentation stand together, so that rows are (augmentation, clip) for both.
        views = ops.reshape(ops.swapaxes(views, 0, 1), (-1, *views.shape[2:]))
        labelled = ops.concatenate(
            [ops.ones_like(target[:, 0]), ops.zeros((clips * augmentations,), target.dtype)]
        )
        image = ops.concatenate([image, views])
        target = ops.concatenate([target, ops.tile(guessed, (augmentations, 1))])
        if self.alpha > 0:
            rows = ops.shape(image)[0]
            share = self.shares(rows)
            partner = keras.random.shuffle(ops.arange(rows), seed=self.draws)
            image, target = mix(image, image, partner, share), mix(target, target, partner, share)
        weight = self.weight * ops.minimum(ops.cast(self.steps, "float32") / max(self.ramp, 1), 1.0)
        if self.ramp == 0:
            weight = ops.convert_to_tensor(float(self.weight))
        self.steps.assign_add(1)
        return {"image": image, "target": target, "labelled": labelled, "unlabelled_weight": weight}

    def compute_output_shape(self, input_shape):
        """Rows of both kinds."""
        image, views = input_shape["image"], input_shape["unlabelled_image"]
        rows = None if image[0] is None or views[0] is None else image[0] + views[0] * views[1]
        return {
            "image": (rows, *image[1:]),
            "target": (rows, *input_shape["target"][1:]),
            "labelled": (rows,),
            "unlabelled_weight": (),
        }

    def get_config(self):
        """What `from_config` needs."""
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "prior": self.prior,
            "weight": self.weight,
            "ramp": self.ramp,
        }
