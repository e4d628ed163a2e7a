"""The duration step: D frames (`settings.pace`) to each column of an image, where they are not only further apart.

"resize" shows two neighbouring frames of D, as the reference did; "mean" the mean of all D, so that no click
falls between two columns. The format "AHL" has their highest and lowest in its other channels: what beats faster
than the columns, a rotor or single drops, is lost to a mean. All in whole numbers: halves are common, and rounding
noise would turn them up here and down there.
"""

import math
from typing import Any

import numpy as np

from pipelines import features
from pipelines.settings import FeatureSettings

Ops = Any
Tensor = Any


def taps(settings: FeatureSettings) -> int:
    """How many neighbouring frames have a part in a column, at most."""
    if settings.stretch == "resize":
        return 2
    pace = settings.pace
    return math.ceil(pace) + (pace.denominator > 1)


def own_columns(frames: Tensor, settings: FeatureSettings) -> Tensor:
    """-> columns in which so many frames of a clip have a part."""
    pace = settings.pace
    if settings.stretch == "mean":  # column j begins with frame floor(j D)
        return -(-frames * pace.denominator // pace.numerator)
    # Column j is a mix of frames from floor((j + 1/2) D - 1/2) on: the clip's where that is one of its own.
    over = (2 * frames + 1) * pace.denominator - pace.numerator
    return -(-over // (2 * pace.numerator))


def widths(ops: Ops, frames: Tensor, settings: FeatureSettings) -> tuple[Tensor, Tensor]:
    """-> columns of the image of so many frames, and the frames that it is made of.

    The latter are more where the clip is shorter than an image: it is filled up with zeros first.
    """
    pace = settings.pace
    wide = features.at_least(ops, frames, math.ceil(pace * settings.columns))
    if isinstance(wide, int):
        return math.floor(wide / pace), wide
    # 32 bits are too narrow for minutes of sound.
    narrow = ops.cast(wide, "int64") * pace.denominator // pace.numerator
    return ops.cast(narrow, "int32"), wide


def total(narrow: Tensor, settings: FeatureSettings) -> Tensor:
    """Sum of a column's weights, as `sources` gives them, in an image of `narrow` columns."""
    return 2 * narrow if settings.stretch == "resize" else settings.pace.numerator


def sources(
    ops: Ops, numbers: Tensor, narrow: Tensor, wide: Tensor, settings: FeatureSettings
) -> tuple[Tensor, Tensor]:
    """(n,) columns -> (n, taps) int32 frames that each is made of, ascending, and (n, taps) int32 weights.

    Frames with a weight may be past the clip's end, where they are 0; never over `wide`.
    """
    if not isinstance(narrow, int):
        numbers, narrow, wide = (ops.cast(value, "int64") for value in (numbers, narrow, wide))
    if settings.stretch == "resize":
        centre = (2 * numbers + 1) * wide - narrow  # of column (number + 1/2) * wide / narrow - 1/2, in units
        left, share = centre // (2 * narrow), centre % (2 * narrow)
        frames, weights = [left, ops.minimum(left + 1, wide - 1)], [2 * narrow - share, share]
    else:
        # A column spans frames from j D to (j + 1) D, here in units of 1 / denominator.
        pace = settings.pace
        unit, span = pace.denominator, pace.numerator
        left = numbers * span // unit
        frames, weights = [], []
        for tap in range(taps(settings)):
            frame = left + tap
            frames.append(ops.minimum(frame, wide - 1))
            over = ops.minimum((frame + 1) * unit, (numbers + 1) * span) - ops.maximum(
                frame * unit, numbers * span
            )
            weights.append(ops.maximum(over, 0))
    return ops.cast(ops.stack(frames, axis=-1), "int32"), ops.cast(ops.stack(weights, axis=-1), "int32")


def mixed(
    ops: Ops, pixels: list[Tensor], weights: Tensor, whole: Tensor, settings: FeatureSettings
) -> Tensor:
    """A (..., columns, bands, channels) uint8 a tap, (columns, taps), their sum -> uint8, rounded half up."""
    shares = [ops.reshape(weights[:, tap], (-1, 1, 1)) for tap in range(len(pixels))]
    levels = [ops.cast(own, "int32") for own in pixels]
    made = sum(level * share for level, share in zip(levels, shares, strict=True))
    mean = (2 * made + whole) // (2 * whole)
    if settings.format != "AHL":
        return ops.cast(mean, "uint8")
    high = low = levels[0][..., :1]  # the first tap has a part in its column always, the others may have none
    for own, share in zip(levels[1:], shares[1:], strict=True):
        level = ops.where(share > 0, own[..., :1], low)
        high, low = ops.maximum(high, level), ops.minimum(low, level)
    return ops.cast(ops.concatenate([mean[..., :1], high, low], axis=-1), "uint8")


def narrow(ops: Ops, image: Tensor, settings: FeatureSettings) -> Tensor:
    """(..., frames, bands, channels) uint8 -> (..., floor(frames / D), bands, channels) uint8.

    Padded on the right with zeros to D images' worth of columns where shorter. "resize" is then bilinear with
    half-pixel centres, no antialiasing: what OpenCV's `resize` did for the reference. "mean" leaves out the
    last frames where they fill no column.
    """
    *lead, frames, _, _ = ops.shape(image)
    columns, wide = widths(ops, frames, settings)
    image = ops.pad(image, [(0, 0)] * len(lead) + [(0, wide - frames), (0, 0), (0, 0)])
    numbers = np.arange(columns) if isinstance(columns, int) else ops.arange(columns)
    places, weights = sources(ops, numbers, columns, wide, settings)
    pixels = [ops.take(image, places[:, tap], axis=-3) for tap in range(taps(settings))]
    return mixed(ops, pixels, weights, total(columns, settings), settings)
