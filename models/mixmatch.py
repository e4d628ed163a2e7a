"""MixMatch (arXiv:1905.02249) for sigmoid targets: a clip carries any number of labels, each decided apart.

A step, from labelled clips and several augmentations of unlabelled ones:

1. `guess`: the network's chances, averaged over a clip's augmentations, without a gradient.
2. `MixMatch`: guesses are blended with the given labels (if any are trusted), sharpened, and handed to every
   augmentation; all rows are shuffled, and each is mixed with its partner.
3. `loss`: cross-entropy on the labelled rows, squared error on the others, whose weight ramps up.
"""

import keras
from keras import ops

from models import losses
from models.mixup import Mixup, complete, mix

UNLABELLED = "unlabelled_"  # begins the name of what comes from the draw of unlabelled clips


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


def loss(each, errors, labelled, guessed_weight, weight=None):
    """-> (): mean of the (rows,) losses of labelled rows + guessed_weight x mean of the others' squared errors.

    `errors` (rows,) of `squared_error`; `labelled` (rows,) is 1 or 0; `guessed_weight` () as the layer gives it.
    `weight` (rows,), None: 1, is of the labelled rows, as in `losses.weighted_mean`.
    """
    guessed = losses.weighted_mean(errors, 1 - labelled)
    return losses.weighted_mean(each, labelled, weight) + guessed_weight * guessed


@keras.saving.register_keras_serializable("fatk")
class MixMatch(Mixup):
    """Mixes labelled and unlabelled clips, with partners from the union of both.

    Called on {"image": (batch, ...), "target": (batch, classes), "unlabelled_image": (clips, augmentations,
    ...), "guess": (clips, classes) of `guess`}, and "unlabelled_target" (clips, classes), the given labels,
    where `prior` is not 0. Gives {"image", "target", "labelled", "guessed_weight"}: rows of the batch, then
    of the unlabelled clips augmentation by augmentation; `labelled` (rows,) is 1 or 0; `guessed_weight` ()
    rises linearly from 0 to `weight` over the first `ramp` training steps, which the layer counts. Outside of
    training the batch passes alone.

    What else the batch has, (batch, ...), is mixed alike with what the unlabelled clips have of it: "weight" with
    "unlabelled_weight" (clips,), and "domain" with "unlabelled_domain"; both are 1 where they are not given. A
    domain is a share of noisy labels, so that of an unlabelled clip counts by `prior`, their share in a guess.
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
        own = _own(inputs)
        if not training:
            return own
        draw = self._guessed(inputs)
        labelled = ops.concatenate([ops.ones_like(own["target"][:, 0]), ops.zeros_like(draw["target"][:, 0])])
        rows = {key: ops.concatenate([value, draw[key]]) for key, value in own.items()}
        if self.alpha > 0:
            count = ops.shape(labelled)[0]
            share = self.shares(count)
            partner = keras.random.shuffle(ops.arange(count), seed=self.draws)
            rows = {key: mix(value, value, partner, share) for key, value in rows.items()}
        weight = self.weight * ops.minimum(ops.cast(self.steps, "float32") / max(self.ramp, 1), 1.0)
        if self.ramp == 0:
            weight = ops.convert_to_tensor(float(self.weight))
        self.steps.assign_add(1)
        return {**rows, "labelled": labelled, "guessed_weight": weight}

    def _guessed(self, inputs):
        """-> what the unlabelled clips bring, with guesses for targets, (augmentations x clips, ...) each."""
        draw = {key[len(UNLABELLED) :]: value for key, value in inputs.items() if key.startswith(UNLABELLED)}
        views, chance = draw.pop("image"), inputs["guess"]
        if self.prior:
            chance = blend(chance, draw["target"], self.prior)
        draw["target"] = ops.stop_gradient(sharpen(chance, self.temperature))
        draw = complete(draw, domain=1.0)
        draw["domain"] = self.prior * draw["domain"]
        # Clips of one augmentation stand together, so that rows are (augmentation, clip) for all.
        rows = {key: ops.concatenate([value] * views.shape[1]) for key, value in draw.items()}
        return rows | {"image": ops.reshape(ops.swapaxes(views, 0, 1), (-1, *views.shape[2:]))}

    def compute_output_shape(self, input_shape):
        """Rows of both kinds."""
        own, views = _own(input_shape), input_shape["unlabelled_image"]
        batch = own["image"][0]
        rows = None if batch is None or views[0] is None else batch + views[0] * views[1]
        mixed = {key: (rows, *shape[1:]) for key, shape in own.items()}
        return {**mixed, "labelled": (rows,), "guessed_weight": ()}

    def get_config(self):
        """What `from_config` needs."""
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "prior": self.prior,
            "weight": self.weight,
            "ramp": self.ramp,
        }


def _own(given):
    """Of what the layer is given, or its shapes: what the batch brings."""
    return {key: one for key, one in given.items() if key != "guess" and not key.startswith(UNLABELLED)}
