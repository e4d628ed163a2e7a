"""Recordings of minutes to hours, in the memory of one segment: blocks in, scores of windows out."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fatk import folders

if TYPE_CHECKING:
    from fatk.tagger import SavedTagger

_BLOCK = 1 << 17  # frames read at once


@dataclass(frozen=True)
class Shape:
    """How a model looks at a long recording."""

    segment: float  # seconds; each is scaled by itself, and no window crosses from one to the next
    window: float  # seconds

    @classmethod
    def of(cls, tagger: "SavedTagger") -> "Shape | None":
        """As the settings that travel with a SavedModel tell, or those of its run; None where there are none."""
        from fatk.tagger import read_settings

        try:
            trees = read_settings(tagger.folder)
        except (OSError, ValueError):
            return None

        def longest(section: str, key: str, usual: float) -> float:
            return max(float(tree.get(section, {}).get(key, usual)) for tree in trees)

        return cls(longest("evaluate", "segment_seconds", 30.0), longest("features", "seconds", 1.0))


@dataclass(frozen=True, eq=False)
class Segment:
    """A stretch of a recording."""

    start: float  # seconds
    audio: np.ndarray  # (samples,) float32 in -1..1 at the model's rate


def segments(path: Path, rate: int, seconds: float) -> Iterator[Segment]:
    """A sound file -> its segments in turn, as `fatk.audio.read` would give them of the whole.

    Resampled block by block by a filter that runs on through them. Raises `UnreadableError`, perhaps at the end.
    """
    from fatk.audio import UnreadableError

    size = round(seconds * rate)
    waiting: list[np.ndarray] = []
    held = number = 0
    for block in _blocks(path, rate):
        waiting.append(block)
        held += len(block)
        if held < size:
            continue
        audio = np.concatenate(waiting)
        while len(audio) >= size:
            yield Segment(number * size / rate, audio[:size].copy())
            audio, number = audio[size:], number + 1
        waiting, held = [audio.copy()], len(audio)
    if held:
        yield Segment(number * size / rate, np.concatenate(waiting))
    elif not number:
        raise UnreadableError("decoding gave no samples")


def _blocks(path: Path, rate: int) -> Iterator[np.ndarray]:
    """-> (samples,) float32 at `rate`, mono, through 16 bits."""
    import soxr

    from fatk import audio

    with audio.open_sound(path) as sound:
        scale = audio.full_scale(str(sound.subtype))
        own = int(sound.samplerate)
        stream = None if own == rate else soxr.ResampleStream(own, rate, 1, "float32")
        for block in sound.parts(_BLOCK):
            mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
            if not np.isfinite(mono).all():
                raise audio.UnreadableError("it holds values that are not numbers (NaN or infinite)")
            yield _sixteen(mono if stream is None else stream.resample_chunk(mono), scale)
        if stream is not None:
            yield _sixteen(stream.resample_chunk(np.zeros(0, np.float32), last=True), scale)


def _sixteen(block: np.ndarray, scale: float) -> np.ndarray:
    """Through 16 bits, as training sees it."""
    return np.clip(np.rint(block * scale), -32768, 32767).astype(np.float32) / np.float32(32768)


@dataclass(frozen=True, eq=False)
class Windows:
    """What is said of a segment, or of several."""

    starts: np.ndarray  # (windows,) seconds from the recording's start
    ends: np.ndarray  # (windows,) seconds
    chances: np.ndarray  # (windows, classes)

    @classmethod
    def joined(cls, parts: Sequence["Windows"]) -> "Windows":
        """One after another."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in _FIELDS))


_FIELDS = ("starts", "ends", "chances")


def score(tagger: "SavedTagger", shape: Shape, segment: Segment) -> Windows:
    """A segment by itself -> its windows."""
    seconds, chances = tagger.windows(segment.audio)
    starts = segment.start + seconds.astype(np.float64)
    end = segment.start + len(segment.audio) / tagger.rate
    return Windows(starts, np.minimum(starts + shape.window, end), chances)


def spans(windows: Windows, tagged: np.ndarray) -> list[tuple[float, float]]:
    """(windows,) bool -> [(start, end) in seconds]: neighbouring windows that have the tag are one span."""
    found: list[tuple[float, float]] = []
    before = False
    for start, end, is_tagged in zip(windows.starts, windows.ends, tagged, strict=True):
        if is_tagged:
            found.append((found.pop()[0] if before else float(start), float(end)))
        before = bool(is_tagged)
    return found


def clock(seconds: float) -> str:
    """75.25 -> '1:15.2'; 3725 -> '1:02:05.0'."""
    tenths = int(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    text = f"{tenths // 10:02d}.{tenths % 10}"
    return f"{minutes // 60}:{minutes % 60:02d}:{text}" if minutes >= 60 else f"{minutes}:{text}"


class WindowTable:
    """A CSV of windows that is written as they come, and gets its name when it is whole."""

    def __init__(self, path: Path, classes: Sequence[str]):
        import csv

        path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            unfinished = stack.enter_context(folders.whole(path))
            self._lines = stack.enter_context(unfinished.open("w", newline="", encoding="utf-8"))
            self._close = stack.pop_all()  # closes the file, then puts it in place, or away
        self._writer = csv.writer(self._lines, lineterminator="\n")
        self._writer.writerow(["file", "start_seconds", "end_seconds", *classes])
        self.rows = 0

    def write(self, name: str, windows: Windows) -> None:
        """Add a row a window."""
        for start, end, chances in zip(windows.starts, windows.ends, windows.chances, strict=True):
            self._writer.writerow(
                [name, f"{start:.3f}", f"{end:.3f}", *(f"{chance:.6f}" for chance in chances)]
            )
        self.rows += len(windows.starts)

    @contextmanager
    def all_or_none(self) -> Iterator[None]:
        """Rows that are written within are taken back where something goes wrong."""
        place, rows = self._lines.tell(), self.rows
        try:
            yield
        except BaseException:
            self._lines.seek(place)
            self._lines.truncate()
            self.rows = rows
            raise

    def __enter__(self) -> "WindowTable":
        """The table itself."""
        return self

    def __exit__(self, *error: Any) -> None:
        """Put in place, or away where something went wrong."""
        self._close.__exit__(*error)
