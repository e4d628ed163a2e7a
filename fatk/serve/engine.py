"""The SavedModel's signatures as calls on NumPy arrays. Blocking: the service runs them in its threads."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fatk.serve.refusal import Refusal
from fatk.tagger import SavedTagger

_TICKS = (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000)  # hertz
_PROBE = 30.0  # seconds of silence by which windows are measured


def _reason(message: str) -> str:
    """TensorFlow's report of a failed operation -> what it says about the input."""
    asserted = re.search(r"assertion failed: \[(.*?)\]", message)
    if asserted:
        return asserted[1].replace("\\'", "'")
    frame = ("Graph execution error", "Detected at", "<stack traces", "\t")
    lines = [line for line in message.splitlines() if line.strip() and not line.startswith(frame)]
    return lines[0].strip() if lines else "no reason given"


@dataclass(frozen=True)
class Axes:
    """What the columns and bands of a model's image stand for, measured from its signature `image`."""

    step: float  # seconds from one column to the next
    hertz: tuple[tuple[int, float], ...]  # (Hz, band at which it lies), rising

    def extent(self, columns: int, seconds: float) -> tuple[float, float]:
        """Seconds at the left and right edge; a short clip is padded evenly on both sides."""
        lead = max((columns - 1) * self.step - seconds, 0.0) / 2
        if lead < self.step:
            lead = 0.0  # the rest of a last column, and no padding
        return 0.0 - lead, columns * self.step - lead


class Engine:
    """One tagger with its optional signatures."""

    def __init__(self, tagger: SavedTagger):
        self.tagger = tagger
        self.classes = tagger.classes
        self.rate = tagger.rate
        self.signatures: dict[str, Any] = dict(tagger._model.signatures.items())
        self.axes = self._measure_axes() if "image" in self.signatures else None
        self.span = self._measure_span()

    def has(self, signature: str) -> bool:
        """Whether the SavedModel can do this; exports of other versions may not."""
        return signature in self.signatures

    def _measure_axes(self) -> Axes:
        """From the widths of two silences, and from where tones light up."""
        short, long = (self.image(np.zeros(s * self.rate, np.float32)).shape[1] for s in (10, 20))
        hertz: list[tuple[int, float]] = []
        time = np.arange(2 * self.rate) / self.rate
        for tick in _TICKS:
            if tick >= 0.48 * self.rate:
                break
            column = self.image((0.5 * np.sin(2 * np.pi * tick * time)).astype(np.float32))
            level = np.median(column, axis=1)
            loud = np.flatnonzero(level >= level.max() - 16)
            weight = level[loud] - level.max() + 17.0
            band = float((loud * weight).sum() / weight.sum())
            clear = level.max() - level.min() >= 64 and np.ptp(loud) <= max(4, len(level) // 12)
            if clear and (not hertz or band > hertz[-1][1] + 0.5):
                hertz.append((tick, round(band, 2)))
        return Axes(10.0 / max(long - short, 1), tuple(hertz))

    def _measure_span(self) -> float:
        """Seconds of one window: twice the way from the first to the second, where there is a third."""
        starts, _ = self.tagger.windows(np.zeros(round(_PROBE * self.rate), np.float32))
        return 2 * float(starts[1] - starts[0]) if len(starts) > 2 else _PROBE

    def score(self, waveforms: Sequence[NDArray[np.float32]]) -> NDArray[Any]:
        """(samples,) each -> (clips, classes)."""
        return self.tagger.predict_batch(waveforms)

    def windows(self, waveform: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """(samples,) -> (windows,) first second, (windows,) last second, (windows, classes)."""
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
