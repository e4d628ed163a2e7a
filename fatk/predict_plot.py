"""The timeline of a recording: which classes are heard when, over its spectrogram."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no screen is needed, nor asked for

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from fatk.pictures import hertz_axis
from fatk.predict_long import Segment, Windows
from pipelines.filterbank import mel_filterbank
from pipelines.settings import FeatureSettings

COLUMNS = 1400  # of the picture, at most
CLASSES = 8
_BANDS = 96
_RANGE = 70.0  # decibels under the loudest
_FRAMES = 1024  # whose spectrum is in memory at once
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)  # seconds between ticks
_TICKS = 9  # at most


class Spectrogram:
    """Mean power of mel bands in columns, gathered segment by segment."""

    def __init__(self, rate: int, seconds: float):
        self._settings = FeatureSettings(rate=rate, bands=_BANDS)
        self._rate, self.seconds = rate, seconds
        self._n_fft = 2 ** round(np.log2(0.046 * rate))
        self._hop = self._n_fft if seconds > 300 else self._n_fft // 4
        self._bank = mel_filterbank(rate, self._n_fft, _BANDS, 20.0, rate / 2)
        self._columns = int(np.clip(seconds * rate / self._hop, 1, COLUMNS))
        self._sum = np.zeros((self._columns, _BANDS))
        self._count = np.zeros(self._columns)

    def add(self, segment: Segment) -> None:
        """Take a segment in."""
        missing = max(self._n_fft - len(segment.audio), 0)
        frames = np.lib.stride_tricks.sliding_window_view(np.pad(segment.audio, (0, missing)), self._n_fft)
        frames = frames[:: self._hop]
        window = np.hanning(self._n_fft).astype(np.float32)
        for first in range(0, len(frames), _FRAMES):
            some = frames[first : first + _FRAMES]
            power = np.abs(np.fft.rfft(some * window)) ** 2 @ self._bank
            middle = (np.arange(first, first + len(some)) * self._hop + self._n_fft / 2) / self._rate
            place = (segment.start + middle) / self.seconds * self._columns
            place = np.minimum(place.astype(int), self._columns - 1)
            np.add.at(self._sum, place, power)
            np.add.at(self._count, place, 1)

    def decibels(self) -> np.ndarray:
        """-> (bands, columns), the loudest 0; columns without a frame as the one before them."""
        there = np.flatnonzero(self._count)
        if not len(there):
            return np.full((_BANDS, self._columns), -_RANGE)
        nearest = there[np.clip(np.searchsorted(there, np.arange(self._columns), "right") - 1, 0, None)]
        level = 10 * np.log10(np.maximum(self._sum[nearest] / self._count[nearest][:, None], 1e-12))
        return np.maximum(level - level.max(), -_RANGE).T

    def draw(self, axis: plt.Axes) -> None:
        """The panel."""
        extent = (0, self.seconds, -0.5, _BANDS - 0.5)
        axis.imshow(self.decibels(), origin="lower", aspect="auto", extent=extent, cmap="magma")
        hertz_axis(axis, self._settings)


def columns_of(windows: Windows, seconds: float) -> np.ndarray:
    """-> (classes, columns): of the windows that reach into a column, the largest score; NaN where none does."""
    count = min(COLUMNS, max(1, 4 * len(windows.starts)))
    made = np.full((windows.chances.shape[1], count), np.nan)
    first = np.clip(windows.starts / seconds * count, 0, count - 1).astype(int)
    last = np.ceil(np.clip(windows.ends / seconds * count, 1, count)).astype(int)
    for begin, end, chances in zip(first, last, windows.chances, strict=True):
        stretch = made[:, begin : max(end, begin + 1)]
        np.fmax(stretch, chances[:, None], out=stretch)
    return made


def _time_axis(axis: plt.Axes, seconds: float) -> None:
    """Ticks at whole seconds or minutes, with few enough to be read."""
    step = next((step for step in _STEPS if seconds / step <= _TICKS), None)
    axis.xaxis.set_major_locator(MultipleLocator(step) if step and seconds >= 4 else MaxNLocator(_TICKS))
    if seconds < 120:
        axis.set_xlabel("time (s)")
        return

    def told(value: float, _: object) -> str:
        whole = round(value)
        minutes = f"{whole // 60 % 60:02d}:{whole % 60:02d}"
        return f"{whole // 3600}:{minutes}" if seconds >= 3600 else f"{whole // 60}:{whole % 60:02d}"

    axis.xaxis.set_major_formatter(FuncFormatter(told))
    axis.set_xlabel("time (h:mm:ss)" if seconds >= 3600 else "time (min:s)")


def draw(
    spectrogram: Spectrogram, windows: Windows, classes: tuple[str, ...], title: str, path: Path
) -> None:
    """Write what the suffix says: a row a class, the highest scores first, over the spectrogram."""
    seconds = spectrogram.seconds
    best = np.argsort(-windows.chances.max(0), kind="stable")[:CLASSES]
    rows = columns_of(windows, seconds)[best]
    with plt.rc_context({"text.parse_math": False}):  # a class may be called $100
        figure, (above, below) = plt.subplots(
            2, 1, figsize=(11, 2.9 + 0.32 * len(best)), sharex=True, layout="constrained",
            height_ratios=(0.32 * len(best) + 0.1, 2.1),
        )  # fmt: skip
        drawn = above.imshow(
            rows, aspect="auto", extent=(0, seconds, len(best) - 0.5, -0.5), cmap="Blues", vmin=0, vmax=1,
            interpolation="nearest",
        )  # fmt: skip
        above.set_yticks(range(len(best)), [classes[number] for number in best])
        above.set_yticks(np.arange(0.5, len(best) - 1), minor=True)
        above.grid(axis="y", which="minor", color="0.85", linewidth=0.8)
        above.tick_params(which="minor", length=0)
        above.set_title(title, loc="left", fontsize=11)
        figure.colorbar(drawn, ax=above, pad=0.01, label="probability", aspect=12)
        spectrogram.draw(below)
        below.set_ylabel("frequency")
        below.set_xlim(0, seconds)
        _time_axis(below, seconds)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130, format=path.suffix.lower().removeprefix("."))
    plt.close(figure)
