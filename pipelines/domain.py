"""Background subtraction for every clip, and what takes noisy clips to the curated domain.

Pure functions over the namespace of operations, as in features.py: one text for tf.data, the served graph
and the accelerator. Background subtraction is part of the image, so the served model does it too. A transfer
maps noisy clips into the curated domain's own coordinates, and clips to be tagged are taken for curated ones:
validation, test and serving need neither it nor its statistics.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pipelines import formats
from pipelines.domain_settings import UNCHANGED, DomainSettings
from pipelines.settings import FeatureSettings

Ops = Any
Tensor = Any

_BLOCK_SECONDS = 0.2  # over which power is averaged before its low end is sought
_LOW = 0.2  # quantile of the blocks that counts as steady: what sounds for 80 % of a clip may hide the rest
_SILENT = 1e-8  # share of the clip's maximum: 80 dB, where its decibels end too
_MOST, _LEAST = 4.0, 1.0  # times the steady power that are subtracted from cells at its level, and well above
_WELL_ABOVE = 10.0  # decibels over the steady power from which on it is subtracted once
_REST = 1e-3  # share of a cell's power that always stays: 30 dB less
_TINY, _HUGE = 1e-30, 3e38  # power: keeps logarithms finite; sorts last


def steady_power(ops: Ops, power: Tensor, settings: FeatureSettings) -> Tensor:
    """(..., frames, bands) mel power -> (..., 1, bands): the power that each band never leaves for long.

    A low quantile of means over short blocks: single cells of steady noise scatter far below their mean, and
    means over a block do not. Frames of digital silence do not count, nor blocks that are mostly such; a clip
    of nothing else has a steady power of 0.
    """
    *lead, frames, bands = ops.shape(power)
    peak = ops.max(power, axis=(-2, -1), keepdims=True)
    heard = ops.cast(ops.max(power, axis=(-1,), keepdims=True) > _SILENT * peak, "float32")
    width = max(1, round(_BLOCK_SECONDS * settings.rate / settings.hop))
    blocks = -(-frames // width)
    filling = [(0, 0)] * len(lead) + [(0, blocks * width - frames), (0, 0)]

    def per_block(values: Tensor, size: int) -> Tensor:
        return ops.sum(ops.reshape(ops.pad(values, filling), (*lead, blocks, width, size)), axis=-2)

    count = per_block(heard, 1)
    usable = count >= width / 2
    mean = per_block(power * heard, bands) / ops.maximum(count, 1.0)
    ranked = ops.sort(ops.where(usable, mean, _HUGE), axis=-2)
    number = ops.sum(ops.cast(usable, "float32"), axis=-2, keepdims=True)
    rank = ops.where(number > 0, ops.cast(_LOW * (number - 1.0) + 0.5, "int32"), -1)  # -1: none, the sum is 0
    chosen = ops.reshape(ops.arange(blocks), (-1, 1)) == rank
    return ops.sum(ops.where(chosen, ranked, 0.0), axis=-2, keepdims=True)


def subtract_stationary(ops: Ops, power: Tensor, settings: FeatureSettings) -> Tensor:
    """(..., frames, bands) mel power -> the same without each band's steady part: spectral subtraction.

    Cells near the steady power lose a multiple of it, so that its scatter goes too, and cells well above lose
    it once (Berouti, Schwartz and Makhoul, 1979). The floor is a share of the cell's own power: a clip that
    is steady throughout becomes quieter as a whole, and its picture in decibels keeps its shape.
    """
    return subtract_steady(ops, power, steady_power(ops, power, settings))


def subtract_steady(ops: Ops, power: Tensor, steady: Tensor) -> Tensor:
    """(..., frames, bands) mel power, (..., 1, bands) steady power -> the first without the second, as above."""
    above = 10.0 * ops.log10(ops.maximum(power, _TINY) / ops.maximum(steady, _TINY))
    times = ops.minimum(ops.maximum(_MOST - (_MOST - _LEAST) / _WELL_ABOVE * above, _LEAST), _MOST)
    return ops.maximum(power - times * steady, _REST * power)


def subtract_global(ops: Ops, image: Tensor, letters: str) -> Tensor:
    """(..., bands, frames, channels) uint8 -> the same, amplitudes under the image's floored mean set to 0.

    The mean of each channel, over the columns before its first all-zero one; over all where there is none. A
    clip whose first column is all zero has nothing to take a mean of, and stays. The reference does this to
    the format AAA alone; in other formats the channels that are no amplitude stay.
    """
    return clear_under(ops, image, global_means(ops, image), letters)


def global_means(ops: Ops, image: Tensor) -> Tensor:
    """(..., bands, frames, channels) uint8 -> (..., channels) int32: the floored mean of each channel."""
    bands, frames = ops.shape(image)[-3:-1]
    sums = ops.sum(ops.cast(image, "int32"), axis=-3)  # (..., frames, channels)
    column = ops.reshape(ops.arange(frames), (-1, 1))
    end = ops.min(ops.where(sums > 0, frames, column), axis=(-2,), keepdims=True)
    sums = ops.where(column < end, sums, 0)
    # Whole numbers of `bands` and remainders apart: exact, and no int32 overflows however long the clip is.
    whole = ops.sum(sums // bands, axis=-2, keepdims=True)
    whole += ops.sum(sums % bands, axis=-2, keepdims=True) // bands
    return (whole // ops.maximum(end, 1))[..., 0, :]


def clear_under(ops: Ops, image: Tensor, means: Tensor, letters: str) -> Tensor:
    """(..., bands, frames, channels) uint8, (..., channels) -> amplitudes under their channel's mean are 0."""
    amplitude = np.array([letter == "A" for letter in letters])
    low = ops.cast(image, "int32") < means[..., None, None, :]
    return ops.where(low & amplitude, ops.zeros_like(image), image)


def whole_image(
    ops: Ops, audio: Tensor, features: FeatureSettings, settings: DomainSettings = UNCHANGED
) -> formats.Picture:
    """(..., samples) in -1..1 -> the clip's picture, its background subtracted: in training and serving."""

    def clean(power: Tensor) -> Tensor:
        return subtract_stationary(ops, power, features)

    stationary = settings.background == "stationary"
    picture = formats.picture(ops, audio, features, clean if stationary else None)
    if settings.background == "global":
        letters = formats.channels(features)
        picture = picture._replace(image=subtract_global(ops, picture.image, letters))
    return picture


def moments(ops: Ops, picture: formats.Picture, letters: str) -> tuple[Tensor, Tensor]:
    """-> (..., bands) mean and (..., bands) mean square over time of the uint8 amplitude.

    The mean is the clip's envelope. Over its own columns: zeros that fill a short clip's image up must not
    sink it.
    """
    values = ops.cast(picture.image[..., letters.index("A")], "float32")
    own = ops.arange(ops.shape(values)[-1]) < picture.columns
    values = ops.where(own, values, 0.0)
    count = ops.cast(picture.columns, "float32")
    return ops.sum(values, axis=-1) / count, ops.sum(values * values, axis=-1) / count


def remap(ops: Ops, picture: formats.Picture, gain: Tensor, shift: Tensor, letters: str) -> Tensor:
    """Picture, (..., bands) gain and shift -> (..., bands, frames, channels) uint8, saturating at 0 and 255.

    Amplitude x becomes gain x + shift. Delta is its slope: the gain acts about the level that stands for no
    change. Phase and products with it stay, and so does what fills the image up on the right.
    """
    gain, shift = gain[..., None], shift[..., None]
    numbers = ops.arange(ops.shape(picture.image)[-2]) + picture.first
    own = (numbers >= 0) & (numbers < picture.columns)
    made = []
    for number, letter in enumerate(letters):
        channel = picture.image[..., number]
        if letter in "AD":
            values = ops.cast(channel, "float32")
            if letter == "A":
                moved = gain * values + shift
            else:
                still = picture.zero[..., None, None]
                moved = still + gain * (values - still)
            rounded = ops.cast(ops.minimum(ops.maximum(moved, 0.0), 255.0) + 0.5, "uint8")
            channel = ops.where(own, rounded, channel)
        made.append(channel)
    return ops.stack(made, axis=-1)


class Moves(NamedTuple):
    """How a clip is taken to the curated domain: what `remap` does to it."""

    moved: Tensor  # () bool: a curated clip stays
    gain: Tensor  # (bands,) float32
    shift: Tensor  # (bands,) float32, levels of 0..255


def moved(ops: Ops, picture: formats.Picture, moves: Moves, letters: str) -> Tensor:
    """-> (bands, frames, channels) uint8: a clip's image in the curated domain."""
    return ops.where(moves.moved, remap(ops, picture, moves.gain, moves.shift, letters), picture.image)


@dataclass(frozen=True, eq=False)
class EnvelopeTransfer:
    """Takes a noisy clip's envelope to the mean of its classes' curated ones; rows are as in `Examples`."""

    letters: str  # of the image's channels
    shares: np.ndarray  # (clips, classes) float32: of a class in a noisy clip's destination; curated: zeros
    envelopes: np.ndarray  # (classes, bands) float32, 0..255: mean over the curated clips of each class

    def __call__(self, ops: Ops, picture: formats.Picture, row: Tensor) -> Tensor:
        """The picture of the clip of a row -> (bands, frames, channels) uint8; a curated clip's unchanged."""
        source = picture.envelope
        if source is None:
            source, _ = moments(ops, picture, self.letters)
        return moved(ops, picture, self.moves(ops, source, row), self.letters)

    def moves(self, ops: Ops, envelope: Tensor, row: Tensor) -> Moves:
        """(bands,) mean amplitude of the clip of a row -> what is done to it."""
        share = ops.take(self.shares, row, axis=0)
        destination = ops.sum(share[:, None] * self.envelopes, axis=0)
        gain = destination / ops.maximum(envelope, 1.0)
        return Moves(ops.sum(share, axis=0) > 0, gain, ops.zeros_like(gain))


@dataclass(frozen=True, eq=False)
class Normalisation:
    """Takes the noisy domain's mean and deviation per band to the curated ones. Rows are as above."""

    letters: str  # of the image's channels
    noisy: np.ndarray  # (clips,) bool: which clips are mapped
    gain: np.ndarray  # (bands,) float32: the curated deviation over the noisy one
    shift: np.ndarray  # (bands,) float32, levels of 0..255: what is left between the means after the gain

    def __call__(self, ops: Ops, picture: formats.Picture, row: Tensor) -> Tensor:
        """The picture of the clip of a row -> (bands, frames, channels) uint8; a curated clip's unchanged."""
        return moved(ops, picture, self.moves(ops, None, row), self.letters)

    def moves(self, ops: Ops, envelope: Tensor, row: Tensor) -> Moves:
        """Row of a clip -> what is done to it, whatever its mean amplitude."""
        return Moves(ops.take(self.noisy, row, axis=0), self.gain, self.shift)


Transfer = EnvelopeTransfer | Normalisation
