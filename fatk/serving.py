"""The served tagger: waveform in, probabilities out, as one TensorFlow module to be saved.

It runs the same `pipelines` functions as training does, and the networks' variables under TensorFlow. Its
signatures are the contract that docs/served_model.md spells out, of a run's export and an ensemble's.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import tensorflow as tf

from fatk.serving_ensemble import Ensemble
from fatk.serving_member import Member
from pipelines.domain_settings import UNCHANGED, DomainSettings
from pipelines.settings import EvaluateSettings, FeatureSettings

Tensor: TypeAlias = tf.Tensor
Signature = TypeVar("Signature", bound=Callable[..., Any])


def _audio(*shape: int | None) -> tf.TensorSpec:
    return tf.TensorSpec(shape, tf.float32, name="audio")


def _takes(*inputs: tf.TensorSpec) -> Callable[[Signature], Signature]:
    """Mark a method as a signature of these inputs."""

    def mark(method: Signature) -> Signature:
        method.inputs = inputs  # type: ignore[attr-defined]
        return method

    return mark


_LENGTHS = tf.TensorSpec([None], tf.int32, name="lengths")


class ServedEnsemble(tf.Module):
    """Features, windows, networks and mean in one graph. A clip never sees its batch mates.

    `assets`: files that travel with it, classes.txt first.
    """

    def __init__(self, ensemble: Ensemble, classes: tuple[str, ...], assets: Sequence[Path]):
        super().__init__(name="tagger")
        self._ensemble = ensemble
        self._names = classes
        self.weights = [weight for member in ensemble.members for weight in member.weights]
        self.assets = [tf.saved_model.Asset(str(path)) for path in assets]

    def _clips(
        self, audio: Tensor, lengths: Tensor, one: Callable[[Tensor], Tensor], size: int | None = None
    ) -> Tensor:
        """(batch, samples), (batch,) -> (batch, size): `one` of each row's own samples."""
        return tf.map_fn(
            lambda row: one(row[0][: row[1]]),
            (audio, lengths),
            fn_output_signature=tf.TensorSpec([size or len(self._names)], tf.float32),
        )

    @staticmethod
    def _whole(audio: Tensor) -> Tensor:
        """(batch, samples) -> (batch,): every row in full."""
        return tf.fill([tf.shape(audio)[0]], tf.shape(audio)[1])

    @_takes(_audio(None, None))
    def serving_default(self, audio: Tensor) -> dict[str, Tensor]:
        """`audio` (batch, samples), every row one whole clip -> `probabilities` (batch, classes)."""
        return {"probabilities": self._clips(audio, self._whole(audio), self._ensemble.chances)}

    @_takes(_audio(None, None), _LENGTHS)
    def ragged(self, audio: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """The same; a row is its first `lengths` samples."""
        return {"probabilities": self._clips(audio, lengths, self._ensemble.chances)}

    @_takes(_audio(None, None), _LENGTHS, tf.TensorSpec([], tf.int32, name="crops"))
    def augmented(self, audio: Tensor, lengths: Tensor, crops: Tensor) -> dict[str, Tensor]:
        """As `ragged`, with a number of crops of one's own (test-time augmentation)."""
        return {"probabilities": self._clips(audio, lengths, lambda row: self._ensemble.chances(row, crops))}

    @_takes(_audio(None))
    def windows(self, audio: Tensor) -> dict[str, Tensor]:
        """`audio` (samples,) -> `probabilities` (windows, classes), `start_seconds` (windows,).

        Windows of D seconds every D / 2, the last one ending with the clip; long audio in segments, each
        scaled as a clip of its own.
        """
        rate = self._ensemble.rate
        length = round(self._ensemble.segment_seconds * rate)
        samples = tf.shape(audio)[0]
        segments = tf.maximum((samples + length - 1) // length, 1)
        scores = tf.TensorArray(
            tf.float32, segments, infer_shape=False, element_shape=[None, len(self._names)]
        )
        starts = tf.TensorArray(tf.float32, segments, infer_shape=False, element_shape=[None])

        def segment(number: Tensor, scores: tf.TensorArray, starts: tf.TensorArray) -> tuple:
            chances, seconds = self._ensemble.segment(audio[number * length : (number + 1) * length])
            offset = tf.cast(number, tf.float32) * (length / rate)
            return number + 1, scores.write(number, chances), starts.write(number, seconds + offset)

        # One segment at a time: memory stays that of a segment however long the recording is.
        _, scores, starts = tf.while_loop(
            lambda number, *_: number < segments,
            segment,
            (tf.constant(0), scores, starts),
            parallel_iterations=1,
        )
        return {"probabilities": scores.concat(), "start_seconds": starts.concat()}

    @_takes(tf.TensorSpec([None], tf.string, name="audio_bytes"))
    def wav(self, audio_bytes: Tensor) -> dict[str, Tensor]:
        """`audio_bytes` (batch,): 16-bit PCM WAV files at the model's rate -> `probabilities`."""

        def one(contents: Tensor) -> Tensor:
            audio, rate = tf.audio.decode_wav(contents)
            tf.debugging.assert_equal(
                rate, self._ensemble.rate, f"The WAV must be at this model's rate, {self._ensemble.rate} Hz"
            )
            return self._ensemble.chances(tf.reduce_mean(audio, axis=1))

        return {
            "probabilities": tf.map_fn(
                one, audio_bytes, fn_output_signature=tf.TensorSpec([len(self._names)], tf.float32)
            )
        }

    @_takes(_audio(None, None))
    def embeddings(self, audio: Tensor) -> dict[str, Tensor]:
        """`audio` (batch, samples) -> `embeddings` (batch, dim): what the networks' last dense layers see."""
        size = self._ensemble.dimensions
        return {"embeddings": self._clips(audio, self._whole(audio), self._ensemble.vectors, size)}

    @_takes(_audio(None), tf.TensorSpec([], tf.int32, name="class_index"))
    def explain(self, audio: Tensor, class_index: Tensor) -> dict[str, Tensor]:
        """`audio` (samples,), `class_index` () -> `overlay` (bands, frames) 0..1: what speaks for the class."""
        known = tf.debugging.assert_less(
            tf.cast(class_index, tf.uint32), tf.constant(len(self._names), tf.uint32),
            f"`class_index` must be from 0 to {len(self._names) - 1}",
        )  # fmt: skip
        # Else a lookup by it may be faster, and fail with its own words.
        with tf.control_dependencies([known]):
            number = tf.identity(class_index)
        return {"overlay": self._ensemble.overlay(audio, number)}

    @_takes(_audio(None))
    def image(self, audio: Tensor) -> dict[str, Tensor]:
        """`audio` (samples,) -> `image` (bands, frames, channels) uint8: what the crops are cut from."""
        return {"image": self._ensemble.image(audio)}

    @_takes()
    def classes(self) -> dict[str, Tensor]:
        """-> `classes` (classes,) string, in the order of the probabilities."""
        return {"classes": tf.constant(self._names)}

    @_takes()
    def sampling_rate(self) -> dict[str, Tensor]:
        """-> `sampling_rate` () int32, Hz."""
        return {"sampling_rate": tf.constant(self._ensemble.rate)}

    @property
    def signatures(self) -> tuple[str, ...]:
        """What is saved, the default first."""
        names = ("serving_default", "ragged", "augmented", "windows", "wav", "image")
        explains = ("embeddings", "explain") if self._ensemble.explains else ()
        return (*names, *explains, "classes", "sampling_rate")

    def save(self, folder: Path) -> None:
        """Write the SavedModel with its signatures."""
        made = {}
        for name in self.signatures:
            method = getattr(self, name)
            # Traced here and not by a decorator: as attributes of the module, functions would be traced twice.
            function = tf.function(method, input_signature=method.inputs, autograph=False)
            made[name] = function.get_concrete_function()
        tf.saved_model.save(self, str(folder), made)


class ServedTagger(ServedEnsemble):
    """A run's network by itself."""

    def __init__(
        self,
        network: Any,
        features: FeatureSettings,
        evaluate: EvaluateSettings,
        classes: tuple[str, ...],
        classes_file: Path,
        domain: DomainSettings = UNCHANGED,
    ):
        super().__init__(Ensemble([Member(network, features, evaluate, domain)]), classes, [classes_file])
