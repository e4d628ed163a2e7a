"""A member of the served graph: one network, what it sees, and what it says of that."""

from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from fatk import serving_windows
from pipelines import crops, ops
from pipelines.datasets import to_unit
from pipelines.domain import whole_image
from pipelines.domain_settings import UNCHANGED, DomainSettings
from pipelines.settings import EvaluateSettings, FeatureSettings

Tensor: TypeAlias = tf.Tensor
Look: TypeAlias = tuple[FeatureSettings, DomainSettings]  # what decides how a clip's image is made

_GRID = 4  # rows and columns that a map of features must have to show where something sounds
_GROUP = 32  # windows whose gradients are in memory at once


class Member:
    """What one network says of images, its classes in the order of the answer.

    `order` (classes,): the place of each class of the answer among the network's own; None: the same.
    `network` is a Keras model of `models.networks` under TensorFlow. Of any other callable with `weights`
    the probabilities alone are served.
    """

    def __init__(
        self,
        network: Any,
        features: FeatureSettings,
        evaluate: EvaluateSettings,
        domain: DomainSettings = UNCHANGED,
        order: tuple[int, ...] | None = None,
    ):
        self.features = features
        self.evaluate = evaluate
        self.look: Look = (features, replace(domain, transfer="none"))  # a transfer is of training clips
        self.order = order
        # The variables alone are tracked: tracking the Keras model too would store every weight twice.
        self.weights = [weight.value for weight in network.weights]
        self.explains = hasattr(network, "layers")
        self._network = _tapped(network) if self.explains else network
        # All signatures call these two: each is stored and loaded once, where text would be written out in each.
        sound = tf.TensorSpec([None], tf.float32)
        self._image = tf.function(self._see, input_signature=[sound], autograph=False)
        windows = tf.TensorSpec([None, *features.shape], tf.uint8)
        self._answers = tf.function(self._answer, input_signature=[windows], autograph=False)

    def _see(self, audio: Tensor) -> Tensor:
        image = whole_image(ops, audio, *self.look).image
        return tf.ensure_shape(image, (self.features.bands, None, 3))

    def _answer(self, images: Tensor) -> dict[str, Tensor]:
        made = self._network(to_unit(images), training=False)
        return {key: made[key] for key in ("logits", "vectors")} if self.explains else {"logits": made}

    def image(self, audio: Tensor) -> Tensor:
        """(samples,) -> (bands, frames, channels) uint8."""
        return self._image(audio)

    def probabilities(self, images: Tensor) -> Tensor:
        """(n, bands, columns, channels) uint8 -> (n, classes)."""
        logits = self._answers(images)["logits"]
        if self.order is not None:
            logits = tf.gather(logits, self.order, axis=1)
        return tf.math.sigmoid(logits)

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return int(self._network.output["vectors"].shape[-1])

    def vectors(self, images: Tensor) -> Tensor:
        """(n, bands, columns, channels) uint8 -> (n, dim): what goes into the last dense layer.

        Where that layer sees every position of the image by itself, the mean over them.
        """
        vectors = self._answers(images)["vectors"]
        return tf.reduce_mean(vectors, axis=list(range(1, len(vectors.shape) - 1)))

    def overlay(self, image: Tensor, number: Tensor) -> Tensor:
        """(bands, frames, channels) uint8, () class of the answer -> (bands, frames) float32, 0..1.

        Grad-CAM (arXiv:1610.02391): the last map of features, weighted by how much the class's logit rises with
        each of its channels. Of windows half over half, brought to their size and averaged, their middles
        counting most; the clip's largest value is 1, or all is 0 where nothing speaks for the class.
        """
        own = number if self.order is None else tf.gather(tf.constant(self.order), number)
        columns = self.features.columns
        frames = tf.shape(image)[1]
        steps = -(-tf.maximum(frames - columns, 0) // (columns // 2))
        starts = crops.even_starts(frames, columns, steps + 1)
        maps = self._maps(image, starts, own)
        maps = tf.image.resize(maps[..., None], (self.features.bands, columns))[..., 0]
        tent = np.minimum(np.arange(columns), np.arange(columns)[::-1]).astype(np.float32) + 1.0
        # Every column of a window to its frame of the clip.
        places = tf.reshape(starts[:, None] + tf.range(columns)[None], [-1])
        values = tf.reshape(tf.transpose(maps * tent, (0, 2, 1)), [-1, self.features.bands])
        width = tf.maximum(frames, columns)
        total = tf.math.unsorted_segment_sum(values, places, width)
        share = tf.math.unsorted_segment_sum(tf.tile(tent, [steps + 1]), places, width)
        mean = tf.transpose(total / tf.maximum(share, 1.0)[:, None])[:, :frames]
        return mean / tf.maximum(tf.reduce_max(mean), 1e-12)

    def _maps(self, image: Tensor, starts: Tensor, number: Tensor) -> Tensor:
        """-> (windows, rows, columns): of the windows that begin at `starts`, some at a time."""
        count = tf.shape(starts)[0]

        def group(first: Tensor, done: tf.TensorArray) -> tuple:
            images = crops.gather_crops(image, starts[first : first + _GROUP], self.features.columns)
            return first + _GROUP, done.write(first // _GROUP, self._evidence(images, number))

        done = tf.TensorArray(
            tf.float32, 0, dynamic_size=True, infer_shape=False, element_shape=[None, *self._grid()]
        )
        _, done = tf.while_loop(
            lambda first, _: first < count, group, (tf.constant(0), done), parallel_iterations=1
        )
        return done.concat()

    def _grid(self) -> tuple[int, int]:
        """Rows and columns of the map."""
        _, rows, columns, _ = self._network.output["map"].shape
        return rows, columns

    def _evidence(self, images: Tensor, number: Tensor) -> Tensor:
        """(n, bands, columns, channels) uint8 -> (n, rows, columns), 0 or above: for a class of the network's."""
        images = to_unit(images)
        with tf.GradientTape() as tape:
            tape.watch(images)
            made = self._network(images, training=False)
            logit = tf.gather(made["logits"], number, axis=1)
        slopes = tape.gradient(logit, made["map"])
        shares = tf.reduce_mean(slopes, axis=(1, 2), keepdims=True)
        return tf.nn.relu(tf.reduce_sum(shares * made["map"], axis=-1))


def windowed(member: Member, image: Tensor, seconds: Tensor, samples: Tensor, span: float) -> Tensor:
    """(bands, frames, channels), (windows,) seconds -> (windows, classes), of windows of `span` seconds."""
    own = member.features
    places = serving_windows.within(seconds, samples, own.rate, span, own.seconds)
    columns = serving_windows.columns_at(places, samples, tf.shape(image)[1], own)
    images = crops.gather_crops(image, tf.reshape(columns, [-1]), own.columns)
    chances = member.probabilities(images)
    parts = places.shape[1]
    return tf.reduce_mean(tf.reshape(chances, [-1, parts, chances.shape[-1]]), axis=1)


def _tapped(network: Any) -> Any:
    """A network of `models.networks` -> the same with outputs logits, vectors and map."""
    import keras

    from models.heads import HEAD

    head = [layer for layer in network.layers if layer.name.startswith(HEAD)]
    last = [layer for layer in head if isinstance(layer, keras.layers.Dense)][-1]
    features = head[0].input
    for layer in reversed([layer for layer in network.layers if layer not in head]):
        if min(features.shape[1:3]) >= _GRID or isinstance(layer, keras.Model):
            break
        if len(getattr(layer.output, "shape", ())) == 4:
            features = layer.output
    outputs = {"logits": network.output, "vectors": last.input, "map": features}
    return keras.Model(network.input, outputs)
