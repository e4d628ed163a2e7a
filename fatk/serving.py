"""The served tagger: waveform in, probabilities out, as one TensorFlow module to be saved.

It runs the same `pipelines` functions as training does, and the network's variables under TensorFlow. Its
signatures are the contract that docs/served_model.md spells out.
"""

from pathlib import Path
from typing import Any, TypeAlias

import tensorflow as tf

from pipelines import crops, ops
from pipelines.datasets import to_unit
from pipelines.domain import whole_image
from pipelines.domain_settings import UNCHANGED, DomainSettings
from pipelines.settings import EvaluateSettings, FeatureSettings

Tensor: TypeAlias = tf.Tensor


def _audio(*shape: int | None) -> tf.TensorSpec:
    return tf.TensorSpec(shape, tf.float32, name="audio")


class ServedTagger(tf.Module):
    """Features, windows, network and mean in one graph. A clip never sees its batch mates."""

    def __init__(
        self,
        network: Any,
        features: FeatureSettings,
        evaluate: EvaluateSettings,
        classes: tuple[str, ...],
        classes_file: Path,
        domain: DomainSettings = UNCHANGED,
    ):
        super().__init__(name="tagger")
        self._network = lambda images: network(images, training=False)
        self._features = features
        self._evaluate = evaluate
        self._domain = domain
        self._names = classes
        # The variables alone are tracked: tracking the Keras model too would store every weight twice.
        self.weights = [weight.value for weight in network.weights]
        self.vocabulary = tf.saved_model.Asset(str(classes_file))

    def _image(self, audio: Tensor) -> Tensor:
        """(samples,) -> (bands, frames, channels) uint8."""
        image = whole_image(ops, audio, self._features, self._domain).image
        return tf.ensure_shape(image, (self._features.bands, None, 3))

    def _score(self, images: Tensor) -> Tensor:
        """(n, bands, columns, channels) uint8 -> (n, classes) probabilities."""
        return tf.math.sigmoid(self._network(to_unit(images)))

    def _clip(self, audio: Tensor, count: Tensor) -> Tensor:
        """(samples,) -> (classes,): the mean over evenly spaced crops."""
        images = crops.even_crops(self._image(audio), self._features.columns, count)
        return tf.reduce_mean(self._score(images), axis=0)

    def _clips(self, audio: Tensor, lengths: Tensor, count: Tensor) -> Tensor:
        """(batch, samples), (batch,) -> (batch, classes)."""
        return tf.map_fn(
            lambda row: self._clip(row[0][: row[1]], count),
            (audio, lengths),
            fn_output_signature=tf.TensorSpec([len(self._names)], tf.float32),
        )

    @tf.function(input_signature=[_audio(None, None)])
    def serving_default(self, audio: Tensor) -> dict[str, Tensor]:
        """`audio` (batch, samples), every row one whole clip -> `probabilities` (batch, classes)."""
        whole = tf.fill([tf.shape(audio)[0]], tf.shape(audio)[1])
        return {"probabilities": self._clips(audio, whole, tf.constant(self._evaluate.crops))}

    @tf.function(input_signature=[_audio(None, None), tf.TensorSpec([None], tf.int32, name="lengths")])
    def ragged(self, audio: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """The same; a row is its first `lengths` samples."""
        return {"probabilities": self._clips(audio, lengths, tf.constant(self._evaluate.crops))}

    @tf.function(
        input_signature=[
            _audio(None, None),
            tf.TensorSpec([None], tf.int32, name="lengths"),
            tf.TensorSpec([], tf.int32, name="crops"),
        ]
    )
    def augmented(self, audio: Tensor, lengths: Tensor, crops: Tensor) -> dict[str, Tensor]:
        """As `ragged`, with a number of evenly spaced crops of one's own (test-time augmentation)."""
        return {"probabilities": self._clips(audio, lengths, crops)}

    @tf.function(input_signature=[_audio(None)])
    def windows(self, audio: Tensor) -> dict[str, Tensor]:
        """`audio` (samples,) -> `probabilities` (windows, classes), `start_seconds` (windows,).

        Windows of D seconds every D / 2, the last one ending with the clip; long audio in segments, each
        scaled as a clip of its own.
        """
        length = round(self._evaluate.segment_seconds * self._features.rate)
        samples = tf.shape(audio)[0]
        segments = tf.maximum((samples + length - 1) // length, 1)
        scores = tf.TensorArray(
            tf.float32, segments, infer_shape=False, element_shape=[None, len(self._names)]
        )
        starts = tf.TensorArray(tf.float32, segments, infer_shape=False, element_shape=[None])

        def segment(number: Tensor, scores: tf.TensorArray, starts: tf.TensorArray) -> tuple:
            cut = audio[number * length : (number + 1) * length]
            image = self._image(cut)
            seconds, columns = self._window_starts(tf.shape(cut)[0], tf.shape(image)[1])
            images = crops.gather_crops(image, columns, self._features.columns)
            offset = tf.cast(number, tf.float32) * (length / self._features.rate)
            return (
                number + 1,
                scores.write(number, self._score(images)),
                starts.write(number, seconds + offset),
            )

        # One segment at a time: memory stays that of a segment however long the recording is.
        _, scores, starts = tf.while_loop(
            lambda number, *_: number < segments,
            segment,
            (tf.constant(0), scores, starts),
            parallel_iterations=1,
        )
        return {"probabilities": scores.concat(), "start_seconds": starts.concat()}

    def _window_starts(self, samples: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Of a segment -> ((windows,) seconds, (windows,) columns)."""
        span = self._features.seconds
        beyond = tf.maximum(tf.cast(samples, tf.float32) / self._features.rate - span, 0.0)
        steps = tf.cast(tf.math.ceil(beyond / (span / 2) - 1e-4), tf.int32)
        seconds = tf.minimum(tf.range(steps + 1, dtype=tf.int32), steps)
        seconds = tf.minimum(tf.cast(seconds, tf.float32) * (span / 2), beyond)
        latest = tf.maximum(frames - self._features.columns, 0)
        # Spread over the columns that there are: the last window is then the last one possible to the column.
        share = seconds / tf.maximum(beyond, 1e-6)
        return seconds, tf.cast(tf.round(share * tf.cast(latest, tf.float32)), tf.int32)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="audio_bytes")])
    def wav(self, audio_bytes: Tensor) -> dict[str, Tensor]:
        """`audio_bytes` (batch,): 16-bit PCM WAV files at the model's rate -> `probabilities`."""

        def one(contents: Tensor) -> Tensor:
            audio, rate = tf.audio.decode_wav(contents)
            tf.debugging.assert_equal(
                rate, self._features.rate, f"The WAV must be at this model's rate, {self._features.rate} Hz"
            )
            return self._clip(tf.reduce_mean(audio, axis=1), tf.constant(self._evaluate.crops))

        return {
            "probabilities": tf.map_fn(
                one, audio_bytes, fn_output_signature=tf.TensorSpec([len(self._names)], tf.float32)
            )
        }

    @tf.function(input_signature=[_audio(None)])
    def image(self, audio: Tensor) -> dict[str, Tensor]:
        """`audio` (samples,) -> `image` (bands, frames, channels) uint8: what the crops are cut from."""
        return {"image": self._image(audio)}

    @tf.function(input_signature=[])
    def classes(self) -> dict[str, Tensor]:
        """-> `classes` (classes,) string, in the order of the probabilities."""
        return {"classes": tf.constant(self._names)}

    @tf.function(input_signature=[])
    def sampling_rate(self) -> dict[str, Tensor]:
        """-> `sampling_rate` () int32, Hz."""
        return {"sampling_rate": tf.constant(self._features.rate)}

    def save(self, folder: Path) -> None:
        """Write the SavedModel with its signatures."""
        names = (
            "serving_default",
            "ragged",
            "augmented",
            "windows",
            "wav",
            "image",
            "classes",
            "sampling_rate",
        )
        tf.saved_model.save(
            self, str(folder), {name: getattr(self, name).get_concrete_function() for name in names}
        )
