"""The model that is trained: mixing, network, loss and metrics around one bare network."""

import keras
from keras import ops

from models import losses
from models.metrics import Lwlrap

# Probabilities are held this far from 0 and 1 when they become logits again: float32's resolution near 1.
_EPSILON = 1e-7


def mean_logits(logits, crops: int):
    """(clips x crops, classes) logits -> (clips, classes): the logit of the mean probability over crops."""
    if crops == 1:
        return logits
    chance = ops.sigmoid(ops.cast(logits, "float32"))
    chance = ops.mean(ops.reshape(chance, (-1, crops, ops.shape(logits)[-1])), axis=1)
    chance = ops.clip(chance, _EPSILON, 1 - _EPSILON)
    return ops.log(chance) - ops.log1p(-chance)


@keras.saving.register_keras_serializable("fatk")
class Tagger(keras.Model):
    """Trains a network on `{"image", "target"}`; the network alone is what is saved and exported.

    Training images are (batch, bands, columns, channels) and pass the mixing layer with their targets, on the
    device. Validation images are (batch, crops, bands, columns, channels): a clip's score is the mean
    probability over its crops, and lwlrap counts every clip once. Clips with no label are padding: they weigh
    nothing in loss and metric.
    """

    def __init__(self, network: keras.Model, mixing: keras.layers.Layer | None = None, **kwargs):
        super().__init__(**kwargs)
        self.network = network
        self.mixing = mixing
        self.loss_mean = keras.metrics.Mean(name="loss")
        self.lwlrap = Lwlrap(network.output_shape[-1])

    def build(self, input_shape):
        """Nothing to make: the network and the metrics have their variables already."""
        self.built = True

    def call(self, inputs, training=False):
        """{"image", "target"} -> {"logits", "target"}: the target as mixed."""
        image, target = inputs["image"], inputs["target"]
        if training:
            if self.mixing is not None:
                image, target = self.mixing((image, target), training=True)
            return {"logits": self.network(image, training=True), "target": target}
        crops = 1
        if len(image.shape) == 5:
            crops = image.shape[1]
            image = ops.reshape(image, (-1, *image.shape[2:]))
        return {"logits": mean_logits(self.network(image, training=False), crops), "target": target}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Mean over the labelled clips of a batch."""
        each, labelled = self._terms(y_pred)
        return ops.sum(each * labelled) / ops.maximum(ops.sum(labelled), 1.0)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Loss over all labelled clips, and lwlrap of the given labels (of mixed images while training)."""
        each, labelled = self._terms(y_pred)
        self.loss_mean.update_state(each, sample_weight=labelled)
        self.lwlrap.update_state(x["target"], y_pred["logits"])
        return self.get_metrics_result()

    def _terms(self, y_pred):
        """-> ((batch,) loss of each clip, (batch,) 1 where it has a label)."""
        each = losses.binary_crossentropy(y_pred["target"], y_pred["logits"])
        return each, ops.cast(ops.any(y_pred["target"] > 0, axis=-1), "float32")

    @property
    def metrics(self):
        """Reset at the start of each epoch and evaluation.

        Keras' own loss tracker is left out: it weighs batches alike, a last one that is mostly filling too.
        """
        return [self.loss_mean, self.lwlrap]
