"""The images of REFERENCE section 1 in NumPy and librosa: what the pipelines are held against.

Nothing here is taken from the rooms: sizes, hops and formats are written a second time on purpose.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import librosa
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Image = NDArray[np.uint8]

HOPS = {160: 276, 128: 347, 224: 197, 384: 115}  # samples at 44.1 kHz; round(rate / bands) elsewhere
LETTERS = "APDX"


@dataclass(frozen=True)
class Recipe:
    """What an image is made with."""

    rate: int = 44100  # Hz
    bands: int = 160
    seconds: float = 1  # D, what one image spans
    stretch: str = "resize"  # or "mean", "hop"
    width: int | None = None  # columns of an image; None: as many as bands
    fmin: float = 20.0  # Hz
    fmax: float | None = None  # Hz; None: half of the rate

    @property
    def hop(self) -> int:
        """Samples between frames."""
        hop = HOPS.get(self.bands) if self.rate == 44100 else None
        hop = hop or round(self.rate / self.bands)
        return round(hop * self.pace) if self.stretch == "hop" else hop

    @property
    def columns(self) -> int:
        """Of an image."""
        return self.width or self.bands

    @property
    def pace(self) -> Fraction:
        """Frames of a second's `bands` in a column."""
        return Fraction(str(self.seconds)) * self.bands / self.columns

    @property
    def narrows(self) -> bool:
        """Whether columns are made of several frames."""
        return self.stretch != "hop" and self.pace != 1


def padded(pcm: NDArray[np.int16], recipe: Recipe) -> Array:
    """(samples,) int16 -> (samples,) float32 in -1..1: zeros on both sides of a clip under the unit duration."""
    audio = pcm.astype(np.float32) / np.float32(32768)
    shortest = round(recipe.rate * (1 if recipe.narrows else recipe.seconds))
    missing = max(shortest - len(audio), 0)
    return np.pad(audio, (missing // 2, missing - missing // 2))


def maps(pcm: NDArray[np.int16], recipe: Recipe) -> dict[str, Array]:
    """(samples,) int16 -> {letter: (bands, frames)}: decibels, radians, slope, product."""
    audio, n_fft = padded(pcm, recipe), 20 * recipe.bands
    spectrum = librosa.stft(
        audio, n_fft=n_fft, hop_length=recipe.hop, window="hann", center=True, pad_mode="reflect"
    )
    basis = librosa.filters.mel(
        sr=recipe.rate, n_fft=n_fft, n_mels=recipe.bands, fmin=recipe.fmin, fmax=recipe.fmax
    )
    level = librosa.power_to_db(basis @ np.abs(spectrum) ** 2, ref=1.0, amin=1e-10, top_db=80.0)
    phase = basis @ np.angle(np.where(spectrum == 0, 0, spectrum))
    phase[:, 0] = phase[:, 1]
    if (len(audio) - 1) % recipe.hop == 0:
        phase[:, -1] = phase[:, -2]
    return {"A": level, "P": phase, "D": librosa.feature.delta(level), "X": level * phase}


def to_uint8(values: Array) -> Image:
    """(bands, frames) -> the same: the clip's range on 0..255, truncated; a constant map is 0."""
    values = values.astype(np.float64)
    span = values.max() - values.min()
    return (255 * ((values - values.min()) / (span or 1.0))).astype(np.uint8)


def resized(image: Image, recipe: Recipe, extremes: bool = False) -> Image:
    """(bands, frames, ...) -> (bands, floor(frames / D), ...): the duration step of "resize" and "mean".

    `extremes`: of (bands, frames, 3) the mean, the highest and the lowest of the first channel, as "AHL" has them.
    """
    pace = recipe.pace
    missing = math.ceil(pace * recipe.columns) - image.shape[1]
    if missing > 0:
        image = np.pad(image, [(0, 0), (0, missing)] + [(0, 0)] * (image.ndim - 2))
    width = image.shape[1]
    narrow = math.floor(width / pace)
    if recipe.stretch == "mean":
        # Each frame as often as a column's share of it asks for; means of whole numbers are exact then.
        fine = np.repeat(image[:, :width].astype(int), pace.denominator, axis=1)
        fine = fine[:, : narrow * pace.numerator]
        parts = fine.reshape(len(image), narrow, pace.numerator, *image.shape[2:])
        mean = (2 * parts.sum(axis=2) + pace.numerator) // (2 * pace.numerator)
        if extremes:
            own = parts[..., 0]
            mean = np.stack([mean[..., 0], own.max(axis=2), own.min(axis=2)], axis=-1)
        return mean.astype(np.uint8)
    # Whole numbers throughout, because halves are common: column i of the result lies at
    # (i + 1/2) * width / narrow - 1/2, here in 2 * narrow-ths of a column.
    unit = 2 * narrow
    left, share = divmod((2 * np.arange(narrow) + 1) * width - narrow, unit)
    before = image[:, left].astype(int)
    after = image[:, np.minimum(left + 1, width - 1)].astype(int)
    share = share.reshape(-1, *[1] * (image.ndim - 2))
    return ((2 * (before * (unit - share) + after * share) + unit) // (2 * unit)).astype(np.uint8)


def stacked(made: dict[str, Array], letters: str, recipe: Recipe) -> Image:
    """{letter: (bands, frames)} -> (bands, frames, channels) uint8, after the duration step."""
    extremes = letters == "AHL"
    image = np.stack([to_uint8(made[letter]) for letter in ("AAA" if extremes else letters)], axis=-1)
    return resized(image, recipe, extremes) if recipe.narrows else image


def image(pcm: NDArray[np.int16], letters: str, recipe: Recipe) -> Image:
    """(samples,) int16 -> (bands, frames, channels) uint8: the whole clip's image."""
    return stacked(maps(pcm, recipe), letters, recipe)
