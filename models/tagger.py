"""The model that is trained: mixing, network, loss and metrics around one bare network."""

import keras
from keras import ops

from models import losses, mixmatch, networks
from models.metrics import Lwlrap


def mean_logits(logits, crops: int):
    """(clips x crops, classes) logits -> (clips, classes): the logit of the mean probability over crops."""
    if crops == 1:
        return logits
    logits = ops.reshape(ops.cast(logits, "float32"), (-1, crops, ops.shape(logits)[-1]))
    # 1 - mean(p) is mean(1 - p): both logarithms are exact however sure the network, and nothing ties.
    return ops.logsumexp(ops.log_sigmoid(logits), axis=1) - ops.logsumexp(ops.log_sigmoid(-logits), axis=1)


@keras.saving.register_keras_serializable("fatk")
class Tagger(keras.Model):
    """Trains a network on `{"image", "target"}`; the network alone is what is saved and exported.

    Training images are (batch, bands, columns, channels) and pass the mixing layer with their targets, and
    with "weight" and "domain" (batch,) where given, on the device. "noisy_image", "noisy_target" are another
    draw that the layer mixes in; "unlabelled_image" (clips, views, bands, columns, channels) are guessed by
    the network, or by its running mean where there is one. Validation images are (batch, crops, bands,
    columns, channels): a clip's score is the mean probability over its crops, and lwlrap counts every clip
    once. Clips with no label are padding: they weigh nothing in loss and metric.

    `front` makes images on the device of the dicts that a training batch may bring in their place.
    `loss`: (target, logits) -> (batch,), `losses.binary_crossentropy` where None. `ema`: momentum of a running
    mean of the weights, which then validates and is kept; 0 for none.
    """

    def __init__(
        self,
        network: keras.Model,
        mixing: keras.layers.Layer | None = None,
        loss=None,
        ema: float = 0.0,
        front: keras.layers.Layer | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.front = front
        self.network = network
        self.mixing = mixing
        self.each_loss = loss or losses.binary_crossentropy
        self.average = networks.Average(network, ema, name="average") if ema else None
        self.loss_mean = keras.metrics.Mean(name="loss")
        self.lwlrap = Lwlrap(networks.served(network).output_shape[-1])

    @property
    def kept(self) -> keras.Model:
        """The network to save: the running mean where there is one, without a head for noisy labels."""
        return networks.served(self._judge)

    @property
    def _judge(self) -> keras.Model:
        return self.average.network if self.average is not None else self.network

    def __setattr__(self, name, value):
        """Keep what JAX's trainer lays down after each step as it is.

        Keras would look at every array of it anew each time: 1 ms a step with DenseNet121's 1,365.
        """
        if name == "_jax_state":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def build(self, input_shape):
        """Nothing to make: the network and the metrics have their variables already."""
        self.built = True

    def call(self, inputs, training=False):
        """{"image", "target", ...} -> {"logits", "target", ...}: the target as mixed."""
        if self.front is not None:
            inputs = {key: self.front(x) if isinstance(x, dict) else x for key, x in inputs.items()}
        if training:
            return self._train(dict(inputs))
        image, crops = inputs["image"], 1
        if len(image.shape) == 5:
            crops = image.shape[1]
            image = ops.reshape(image, (-1, *image.shape[2:]))
        logits = _named(self._judge(image, training=False))["logits"]
        return {"logits": mean_logits(logits, crops), "target": inputs["target"]}

    def _train(self, clips):
        """A training batch -> what the loss needs."""
        if self.average is not None:
            self.average.update(self.network)  # of the weights as the step before left them
        if "unlabelled_image" in clips:
            clips["guess"] = mixmatch.guess(self._judge, clips["unlabelled_image"])
        if self.mixing is not None:
            clips = self.mixing(clips, training=True)
        image = clips.pop("image")
        return {**clips, **_named(self.network(image, training=True))}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Mean over the labelled clips of a batch, each by its weight; MixMatch's two terms where it mixed."""
        each, counted = self._terms(y_pred)
        weight = y_pred.get("weight")
        if "guessed_weight" in y_pred:
            errors = _each(mixmatch.squared_error, y_pred)
            loss = mixmatch.loss(each, errors, y_pred["labelled"], y_pred["guessed_weight"], weight)
        else:
            loss = losses.weighted_mean(each, counted, weight)
        # A loss can be infinite where its gradients are not; the optimiser, which sees these, is to notice.
        return loss * ops.stop_gradient(ops.where(ops.isfinite(loss), 1.0, float("nan")))

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Loss over all labelled clips, and lwlrap of the given labels (of mixed images while training)."""
        each, counted = self._terms(y_pred)
        self.loss_mean.update_state(each, sample_weight=counted)
        if "guessed_weight" not in y_pred:  # whose rows are not those of the batch
            self.lwlrap.update_state(x["target"], y_pred["logits"])
        return self.get_metrics_result()

    def _terms(self, y_pred):
        """-> ((rows,) loss of each, (rows,) 1 where it has a label that was given)."""
        each = _each(self.each_loss, y_pred)
        labelled = ops.cast(ops.any(y_pred["target"] > 0, axis=-1), "float32")
        return each, labelled * y_pred["labelled"] if "labelled" in y_pred else labelled

    @property
    def metrics(self):
        """Reset at the start of each epoch and evaluation.

        Keras' own loss tracker is left out: it weighs batches alike, a last one that is mostly filling too.
        """
        return [self.loss_mean, self.lwlrap]


def _each(loss, y_pred):
    """(target, logits) -> (rows,) loss and what `call` gave -> (rows,) loss of one head or of both."""
    target, logits = y_pred["target"], y_pred["logits"]
    if "noisy_logits" in y_pred and "domain" in y_pred:
        return losses.two_headed(loss, target, logits, y_pred["noisy_logits"], y_pred["domain"])
    return loss(target, logits)


def _named(output):
    """A network's output, of one head or two -> {"logits"} or {"logits", "noisy_logits"}."""
    return output if isinstance(output, dict) else {"logits": output}
