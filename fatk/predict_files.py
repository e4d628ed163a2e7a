"""Answers of `fatk.predict` for sound files: a line each, tables of windows, a picture."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fatk import cli, predict_long
from fatk.predict_long import Shape, Windows, WindowTable, clock

if TYPE_CHECKING:
    from fatk.decide import Decisions
    from fatk.tagger import SavedTagger


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    crops: int | None = None  # of a short file; None: as exported
    top: int = 3  # labels a file
    tags: bool = False  # the labels over the thresholds instead
    windows: str | None = None  # a CSV to write
    plot: str | None = None  # a PNG to write


@dataclass(frozen=True)
class _Length:
    seconds: float
    rate: int  # Hz


def answer(tagger: "SavedTagger", model: Path, files: Sequence[Path], asked: Asked) -> None:
    """Say what is heard in each file, in order. Raises `UserError` naming what is wrong."""
    from fatk.inputs import spooled

    decisions = None
    if asked.tags:
        from fatk.decide import Decisions

        decisions = Decisions(model, tagger.classes)
    along = bool(asked.windows or asked.plot)
    with ExitStack() as stack:
        there = stack.enter_context(spooled(files))
        lengths = [_length(path) for path in there]
        _say_rate(files, lengths, tagger.rate)
        shape = Shape.of(tagger)
        if along and shape is None:
            raise cli.UserError(
                f"{tagger.folder}: how long its windows are is not told (assets/config.toml is missing). "
                "Export the run again."
            )
        table = (
            stack.enter_context(WindowTable(Path(asked.windows), tagger.classes)) if asked.windows else None
        )
        answers = _Answers(tagger, shape, decisions, asked, table)
        rows = list(zip(files, there, lengths, strict=True))
        for is_long, group in groupby(
            rows, lambda row: along or bool(shape and row[2].seconds > shape.segment)
        ):
            if is_long:
                for name, path, length in group:
                    answers.long(str(name), path, length.seconds)
            else:
                answers.short([(str(name), path) for name, path, _ in group])
    if asked.windows:
        cli.say(f"{asked.windows}: {table.rows if table else 0} windows")
    if asked.plot:
        cli.say(f"{asked.plot}: written")


def _length(path: Path) -> _Length:
    from fatk import audio

    try:
        with audio.open_sound(path) as sound:
            return _Length(sound.frames / sound.samplerate, int(sound.samplerate))
    except audio.UnreadableError as error:
        raise cli.UserError(f"{path}: {error}.") from None


def _say_rate(files: Sequence[Path], lengths: Sequence[_Length], rate: int) -> None:
    """Once, of the first file at another rate; apart from the answers, which may be read by a program."""
    for path, length in zip(files, lengths, strict=True):
        if length.rate != rate:
            told = f"fatk: {path} is at {length.rate} Hz; what is not at the model's {rate} Hz is resampled"
            print(told, file=sys.stderr)
            return


class _Answers:
    """Says what is heard, and hands it to the table and the picture."""

    def __init__(
        self,
        tagger: "SavedTagger",
        shape: Shape | None,
        decisions: "Decisions | None",
        asked: Asked,
        table: WindowTable | None,
    ):
        self._tagger = tagger
        self._shape = shape
        self._decisions = decisions
        self._asked = asked
        self._table = table

    def short(self, files: Sequence[tuple[str, Path]]) -> None:
        """Clips, each as a whole."""
        from fatk.predict import score

        scored = score(self._tagger, [path for _, path in files], self._asked.crops)
        for (name, _), chances in zip(files, scored, strict=True):
            shown, picked = chances, self._order(chances)
            if self._decisions is not None:
                shown = self._decisions.calibrated(chances)
                tagged = self._decisions.tags(chances)
                picked = [number for number in np.argsort(-chances, kind="stable") if tagged[number]]
            words = [f"{self._tagger.classes[number]} {shown[number]:.3f}" for number in picked]
            cli.say(f"{name}: {', '.join(words) or 'no tag'}")

    def _order(self, chances: np.ndarray) -> list[int]:
        return list(np.argsort(-chances, kind="stable")[: self._asked.top])

    def long(self, name: str, path: Path, seconds: float) -> None:
        """A recording, window by window."""
        shape = self._shape
        assert shape is not None
        spectrogram = None
        if self._asked.plot:
            from fatk.predict_plot import Spectrogram

            spectrogram = Spectrogram(self._tagger.rate, seconds)
        parts: list[Windows] = []
        steps = int(np.ceil(seconds / shape.segment))
        watched = sys.stdout.isatty() and steps > 1
        with (
            cli.progress("predicting", steps, "segments") if watched else nullcontext(lambda: None) as advance
        ):
            for segment in predict_long.segments(path, self._tagger.rate, shape.segment):
                windows = predict_long.score(self._tagger, shape, segment)
                if self._table is not None:
                    self._table.write(name, windows)
                if spectrogram is not None:
                    spectrogram.add(segment)
                parts.append(windows)
                advance()
        whole = Windows.joined(parts)
        cli.say(f"{name}: {self._heard(whole)}")
        if spectrogram is not None:
            from fatk.predict_plot import draw

            title = "standard input" if name == "-" else Path(name).name
            draw(spectrogram, whole, self._tagger.classes, title, Path(str(self._asked.plot)))

    def _heard(self, windows: Windows) -> str:
        """The best windows of the top classes, or when each tag is heard."""
        classes = self._tagger.classes
        if self._decisions is None:
            best = windows.chances.max(0)
            times = windows.starts[windows.chances.argmax(0)]
            order = self._order(best)
            return ", ".join(f"{classes[n]} {best[n]:.3f} at {clock(times[n])}" for n in order)
        tagged = self._decisions.tags(windows.chances)
        words = []
        for number in np.argsort(-windows.chances.max(0), kind="stable"):
            spans = predict_long.spans(windows, tagged[:, number])
            if spans:
                often = "once" if len(spans) == 1 else f"{len(spans)} times"
                words.append(f"{classes[number]} {often} from {clock(spans[0][0])}")
        return ", ".join(words) or "no tag"
