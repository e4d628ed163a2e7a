"""Answers of `fatk.predict` for sound files: a line each, tables of windows, a picture."""

import sys
from collections.abc import Iterator, Sequence
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
    from fatk.inputs import LeftOut
    from fatk.tagger import SavedTagger


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    crops: int | None = None  # of a short file; None: as exported
    top: int = 3  # labels a file
    tags: bool = False  # the labels over the thresholds instead
    windows: str | None = None  # a CSV to write
    plot: str | None = None  # a picture to write, .png, .pdf or .svg


@dataclass(frozen=True)
class _Sound:
    """A file that can be opened."""

    name: str  # as the user has it
    path: Path
    seconds: float
    rate: int  # Hz


def answer(tagger: "SavedTagger", model: Path, files: Sequence[Path], asked: Asked) -> int:
    """Say what is heard in each file, in order -> exit status, 1 where files of several were left out.

    Raises `UserError` naming what is wrong, also where no file can be read.
    """
    from fatk.inputs import LeftOut, spooled

    decisions = None
    if asked.tags:
        from fatk.decide import Decisions

        decisions = Decisions(model, tagger.classes)
    along = bool(asked.windows or asked.plot)
    with ExitStack() as stack:
        left_out = LeftOut(len(files))
        sounds = list(_opened(files, stack.enter_context(spooled(files)), left_out))
        _say_rate(sounds, tagger.rate)
        shape = Shape.of(tagger)
        if along and shape is None:
            raise cli.UserError(
                f"{tagger.folder}: how long its windows are is not told (assets/config.toml is missing). "
                "Export the run again."
            )
        table = (
            stack.enter_context(WindowTable(Path(asked.windows), tagger.classes)) if asked.windows else None
        )
        answers = _Answers(tagger, shape, decisions, asked, table, left_out)

        def in_windows(sound: _Sound) -> bool:
            return along or bool(shape and sound.seconds > shape.segment)

        _say_windows(sounds, [sound for sound in sounds if in_windows(sound)], asked)
        for is_long, group in groupby(sounds, in_windows):
            if is_long:
                for sound in group:
                    answers.long(sound)
            else:
                answers.short(list(group))
    if asked.windows:
        cli.say(f"{asked.windows}: {table.rows if table else 0} windows")
    if asked.plot:
        cli.say(f"{asked.plot}: written")
    return left_out.status()


def _opened(names: Sequence[Path], paths: Sequence[Path], left_out: "LeftOut") -> Iterator[_Sound]:
    """Those that can be. One that ends too early is told, and taken."""
    from fatk import audio

    for name, path in zip(names, paths, strict=True):
        try:
            sound = _Sound(str(name), path, *audio.length(path))
        except audio.UnreadableError as error:
            left_out.add(name, error)
            continue
        if short := audio.cut_short(path, sound.seconds):
            _note(f"{name}: {short}")
        yield sound


def _note(text: str) -> None:
    """A line apart from the answers, which may be read by a program."""
    print(f"fatk: {text}", file=sys.stderr)


def _say_rate(sounds: Sequence[_Sound], rate: int) -> None:
    """Once, of the first file at another rate."""
    for sound in sounds:
        if sound.rate != rate:
            _note(f"{sound.name} is at {sound.rate} Hz; what is not at the model's {rate} Hz is resampled")
            return


def _say_windows(sounds: Sequence[_Sound], along: Sequence[_Sound], asked: Asked) -> None:
    """Where it matters, which files are answered window by window and what that means, once."""
    if not along:
        return
    which = along[0].name + (f" and {len(along) - 1} more" if len(along) > 1 else "")
    if asked.crops:
        _note(f"--tta is not used for {which}: longer than a segment, answered window by window")
    if asked.tags:
        _note(f"thresholds were chosen on whole clips; here they judge single windows of {which}")
    elif len(along) < len(sounds):
        _note(f"a score with a time is the best window's, of {which}; one without is the mean over the file")


class _Answers:
    """Says what is heard, and hands it to the table and the picture."""

    def __init__(
        self,
        tagger: "SavedTagger",
        shape: Shape | None,
        decisions: "Decisions | None",
        asked: Asked,
        table: WindowTable | None,
        left_out: "LeftOut",
    ):
        self._tagger = tagger
        self._shape = shape
        self._decisions = decisions
        self._asked = asked
        self._table = table
        self._left_out = left_out

    def short(self, sounds: Sequence[_Sound]) -> None:
        """Clips, each as a whole."""
        from fatk.audio import UnreadableError
        from fatk.predict import score

        scored = score(self._tagger, [sound.path for sound in sounds], self._asked.crops)
        for sound, chances in zip(sounds, scored, strict=True):
            if isinstance(chances, UnreadableError):
                self._left_out.add(sound.name, chances)
                continue
            shown, picked = chances, self._order(chances)
            if self._decisions is not None:
                shown = self._decisions.calibrated(chances)
                tagged = self._decisions.tags(chances)
                picked = [number for number in np.argsort(-chances, kind="stable") if tagged[number]]
            words = [f"{self._tagger.classes[number]} {shown[number]:.3f}" for number in picked]
            cli.say(f"{sound.name}: {', '.join(words) or 'no tag'}")

    def _order(self, chances: np.ndarray) -> list[int]:
        return list(np.argsort(-chances, kind="stable")[: self._asked.top])

    def long(self, sound: _Sound) -> None:
        """A recording, window by window; damage may show at its end."""
        from fatk.audio import UnreadableError

        try:
            with self._table.all_or_none() if self._table is not None else nullcontext():
                self._along(sound)
        except UnreadableError as error:
            self._left_out.add(sound.name, error)

    def _along(self, sound: _Sound) -> None:
        shape = self._shape
        assert shape is not None
        spectrogram = None
        if self._asked.plot:
            from fatk.predict_plot import Spectrogram

            spectrogram = Spectrogram(self._tagger.rate, sound.seconds)
        parts: list[Windows] = []
        steps = int(np.ceil(sound.seconds / shape.segment))
        watched = sys.stdout.isatty() and steps > 1
        with (
            cli.progress("predicting", steps, "segments") if watched else nullcontext(lambda: None) as advance
        ):
            for segment in predict_long.segments(sound.path, self._tagger.rate, shape.segment):
                windows = predict_long.score(self._tagger, shape, segment)
                if self._table is not None:
                    self._table.write(sound.name, windows)
                if spectrogram is not None:
                    spectrogram.add(segment)
                parts.append(windows)
                advance()
        whole = Windows.joined(parts)
        cli.say(f"{sound.name}: {self._heard(whole)}")
        if spectrogram is not None:
            from fatk.predict_plot import draw

            title = "standard input" if sound.name == "-" else Path(sound.name).name
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
