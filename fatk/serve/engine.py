"""The SavedModel's signatures as calls on NumPy arrays. Blocking: the service runs them in its threads."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fatk.serve.axes import Axes, window_seconds
from fatk.serve.refusal import Refusal
from fatk.tagger import SavedTagger

_UNTOLD = (
    "where this model's columns and windows lie is not told (assets/config.toml is missing, or not of this "
    "version). Export the run again."
)


def _reason(message: str) -> str:
    """TensorFlow's report of a failed operation -> what it says about the input."""
    asserted = re.search(r"assertion failed: \[(.*?)\]", message)
    if asserted:
        return asserted[1].replace("\\'", "'")
    message = re.sub(r"\{\{.*?\}\}|\[Op:\w+\]", "", message)  # which node, and which kernel
    frame = ("Graph execution error", "Detected at", "<stack traces", "\t")
    lines = [line for line in message.splitlines() if line.strip() and not line.startswith(frame)]
    return lines[0].strip() if lines else "no reason given"


class Engine:
    """One tagger with its optional signatures."""

    def __init__(self, tagger: SavedTagger):
        self.tagger = tagger
        self.classes = tagger.classes
        self.rate = tagger.rate
        self.signatures: dict[str, Any] = dict(tagger._model.signatures.items())
        self._axes = Axes.of(tagger.folder)
        self.span = window_seconds(tagger.folder)  # seconds of one window; None where no settings tell

    def has(self, signature: str) -> bool:
        """Whether the SavedModel can do this; exports of other versions may not."""
        return signature in self.signatures

    @property
    def axes(self) -> Axes:
        """Where columns and bands lie. Raises `Refusal` where no settings are with the SavedModel."""
        if self._axes is None:
            raise Refusal(400, _UNTOLD)
        return self._axes

    def score(self, waveforms: Sequence[NDArray[np.float32]]) -> NDArray[Any]:
        """(samples,) each -> (clips, classes)."""
        return self.tagger.predict_batch(waveforms)

    def windows(self, waveform: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """(samples,) -> (windows,) first second, (windows,) last second, (windows, classes).

        Raises `Refusal` as `axes` does.
        """
        if self.span is None:
            raise Refusal(400, _UNTOLD)
        starts, scores = self.tagger.windows(waveform)
        return starts, np.minimum(starts + self.span, len(waveform) / self.rate), scores

    def image(self, waveform: NDArray[np.float32]) -> NDArray[np.uint8]:
        """(samples,) -> (bands, columns), the amplitude, lowest band first."""
        tf = self.tagger._tf
        image = self.signatures["image"](audio=tf.constant(waveform))["image"].numpy()
        return np.asarray(image[..., 0], np.uint8)

    def explain(self, waveform: NDArray[np.float32], index: int) -> NDArray[np.uint8]:
        """(samples,) and a class -> (bands, columns): 255 where the sound speaks most for the class."""
        tf = self.tagger._tf
        answer = self.signatures["explain"](
            audio=tf.constant(waveform), class_index=tf.constant(index, tf.int32)
        )
        return np.rint(np.clip(answer["overlay"].numpy(), 0, 1) * 255).astype(np.uint8)

    def check_wavs(self, files: NDArray[Any], clip_seconds: float) -> None:
        """(batch,) WAV files, read with what the model reads them with, lest the two judge differently.

        Raises `Refusal` naming the one that does not do.
        """
        tf = self.tagger._tf
        most = int(clip_seconds * self.rate)
        for row, file in enumerate(files):
            one = f"`audio_bytes[{row}]`"
            try:
                audio, rate = tf.audio.decode_wav(file)
            except (tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError) as error:
                said = _reason(error.message)
                raise Refusal(400, f"{one} is not a WAV file of 16-bit PCM ({said}).") from None
            if int(rate) != self.rate:
                raise Refusal(
                    400, f"{one} must be at this model's rate, {self.rate} Hz. Received: {int(rate)}."
                )
            if not len(audio):
                raise Refusal(400, f"{one} holds no samples.")
            if len(audio) > most:
                raise Refusal(
                    413, f"{one}: a clip may have {most} samples, {clip_seconds:g} s. Received: {len(audio)}."
                )

    def run(self, signature: str, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Any signature on checked arrays. Raises `Refusal` where the graph itself objects to them."""
        tf = self.tagger._tf
        specs = self.signatures[signature].structured_input_signature[1]
        given = {name: tf.constant(array, specs[name].dtype) for name, array in arrays.items()}
        try:
            answer = self.signatures[signature](**given)
        except (tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError) as error:
            raise Refusal(400, f"the model refuses this ({_reason(error.message)}).") from None
        return {name: tensor.numpy() for name, tensor in answer.items()}
