"""lwlrap as a streaming Keras metric; models/ranking.py has it in NumPy."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("fatk")
class Lwlrap(keras.metrics.Metric):
    """Streaming lwlrap: sums over all true labels seen since the last reset, so batches may be of any size.

    It is not the mean of the batches' values, which is another number. `sample_weight` is not taken: the
    measure weighs labels alike by definition. Clips without a label change nothing.
    """

    def __init__(self, classes: int, name: str = "lwlrap", **kwargs):
        super().__init__(name=name, **kwargs)
        self.classes = classes
        self.total = self.add_weight(shape=(classes,), initializer="zeros", name="total")
        self.count = self.add_weight(shape=(classes,), initializer="zeros", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add (batch, classes) of 0/1 and scores."""
        if sample_weight is not None:
            raise ValueError("`Lwlrap` takes no `sample_weight`.")
        truth = ops.cast(ops.greater(y_true, 0), "float32")
        at_or_above = ops.cast(y_pred[:, None, :] >= y_pred[:, :, None], "float32")
        hits = ops.sum(at_or_above * truth[:, None, :], axis=-1)
        terms = truth * hits / ops.sum(at_or_above, axis=-1)
        self.total.assign_add(ops.sum(terms, axis=0))
        self.count.assign_add(ops.sum(truth, axis=0))

    def result(self):
        """-> () the value so far, 0 before any label."""
        return ops.sum(self.total) / ops.maximum(ops.sum(self.count), 1.0)

    def get_config(self):
        """What `from_config` needs."""
        return {**super().get_config(), "classes": self.classes}
