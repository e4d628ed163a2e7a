"""A SavedModel from Python: waveforms or files in, probabilities out. TensorFlow alone is imported."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fatk.cli import UserError


def find_saved_model(model: str | Path) -> Path:
    """A run's folder, an ensemble's, or the SavedModel in it -> the SavedModel.

    Raises `UserError` where there is none.
    """
    folder = Path(model)
    for candidate in (folder / "saved_model", folder):
        if (candidate / "saved_model.pb").is_file():
            return candidate
    why = "no such folder" if not folder.is_dir() else "neither a SavedModel nor a run that has one"
    raise UserError(f"{folder}: {why} (saved_model.pb is missing).")


def read_settings(folder: Path) -> list[dict[str, Any]]:
    """A SavedModel's folder -> the settings that travel with it, a tree a member, or those of its run.

    Raises `OSError`, `ValueError` where there are none to read.
    """
    files = sorted((folder / "assets").glob("config*.toml")) or [folder.parent / "config.toml"]
    return [tomllib.loads(path.read_text(encoding="utf-8")) for path in files]


class SavedTagger:
    """A served tagger: its vocabulary, its rate, and its answers.

    `classes`: tuple of names, in the order of the probabilities. `rate`: Hz of the waveforms that it takes.
    `precision`: of its convolutions, one for a process (`fatk.convolutions`).
    """

    def __init__(self, model: str | Path, precision: str = "float32"):
        from fatk import convolutions, runtime

        self._tf = runtime.quiet_tensorflow(alone=True)
        self.folder = find_saved_model(model)
        convolutions.compute_in(precision, self._tf)
        try:
            self._model = self._tf.saved_model.load(str(self.folder))
            signatures = self._model.signatures
            self.classes = tuple(
                name.decode() for name in signatures["classes"]()["classes"].numpy().tolist()
            )
            self.rate = int(signatures["sampling_rate"]()["sampling_rate"])
        except (OSError, KeyError, ValueError, self._tf.errors.OpError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"{self.folder}: no SavedModel of fatk's ({reason}).") from None

    def read(self, path: str | Path) -> np.ndarray:
        """A sound file -> (samples,) float32 at the model's rate. Raises `UserError` naming the file."""
        from fatk import audio

        try:
            return audio.read(Path(path), self.rate)
        except audio.UnreadableError as error:
            raise UserError(f"{path}: {error}.") from None

    def _waveform(self, sound: np.ndarray | str | Path) -> np.ndarray:
        if isinstance(sound, str | Path):
            return self.read(sound)
        waveform = np.asarray(sound, np.float32)
        if waveform.ndim != 1:
            raise ValueError(f"a waveform must be (samples,), mono. Received the shape {waveform.shape}.")
        if not np.isfinite(waveform).all():
            raise ValueError("a waveform must be finite. Received values that are not.")
        return waveform

    def predict(self, sound: np.ndarray | str | Path, crops: int | None = None) -> np.ndarray:
        """(samples,) float32 in -1..1 at `rate`, or a file of any rate -> (classes,) probabilities.

        `crops`: evenly spaced windows whose scores are averaged; None: as the model was exported.
        """
        return self.predict_batch([sound], crops)[0]

    def predict_batch(
        self, sounds: Sequence[np.ndarray | str | Path], crops: int | None = None
    ) -> np.ndarray:
        """Waveforms or files of any lengths -> (sounds, classes) probabilities, each as if it were alone."""
        waveforms = [self._waveform(sound) for sound in sounds]
        lengths = np.array([len(waveform) for waveform in waveforms], np.int32)
        audio = np.zeros((len(waveforms), max(1, lengths.max())), np.float32)
        for row, waveform in enumerate(waveforms):
            audio[row, : len(waveform)] = waveform
        given = {"audio": self._tf.constant(audio), "lengths": self._tf.constant(lengths)}
        if crops is None:
            answer = self._model.signatures["ragged"](**given)
        else:
            answer = self._model.signatures["augmented"](**given, crops=self._tf.constant(crops))
        return answer["probabilities"].numpy()

    def windows(self, sound: np.ndarray | str | Path) -> tuple[np.ndarray, np.ndarray]:
        """-> ((windows,) start in seconds, (windows, classes) probabilities) along a recording."""
        answer = self._model.signatures["windows"](audio=self._tf.constant(self._waveform(sound)))
        return answer["start_seconds"].numpy(), answer["probabilities"].numpy()

    def embed(self, sound: np.ndarray | str | Path) -> np.ndarray:
        """-> (dim,): what the network's last layer sees of a clip, for search and clustering."""
        given = self._tf.constant(self._waveform(sound)[None])
        return self._signature("embeddings")(audio=given)["embeddings"].numpy()[0]

    def explain(self, sound: np.ndarray | str | Path, name: str) -> np.ndarray:
        """-> (bands, frames) float32, 0..1: what in the clip's image speaks for a class."""
        if name not in self.classes:
            raise ValueError(f"`name` must be one of {', '.join(self.classes)}. Received: {name!r}.")
        number = self._tf.constant(self.classes.index(name), self._tf.int32)
        audio = self._tf.constant(self._waveform(sound))
        return self._signature("explain")(audio=audio, class_index=number)["overlay"].numpy()

    def _signature(self, name: str) -> Any:
        """A signature that models of older exports lack. Raises `UserError` naming it."""
        if name not in self._model.signatures:
            raise UserError(f"{self.folder}: has no signature {name!r}. Export it anew.")
        return self._model.signatures[name]

    def top(self, sound: np.ndarray | str | Path, count: int = 3) -> list[tuple[str, float]]:
        """-> the likeliest classes with their probabilities, best first."""
        scores = self.predict(sound)
        return [(self.classes[i], float(scores[i])) for i in np.argsort(-scores, kind="stable")[:count]]
