"""The three-channel images: which maps make a format, their scaling to uint8, and the duration step."""

import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from pipelines import features
from pipelines.settings import FeatureSettings

Ops = Any
Tensor = Any

# Channel letters: A amplitude, P phase, D delta of the amplitude, X amplitude x phase.
CHANNELS = {"APD": "APD", "APX": "APX", "AAA": "AAA", "AAP": "AAP"}


class Picture(NamedTuple):
    """A clip's image, the whole or a cut, and what must be known of it to change it later."""

    image: Tensor  # (..., bands, frames, channels) uint8
    zero: Tensor  # (...,) float32: the level of the delta channel that stands for 0; None without a delta
    columns: Tensor  # () int32: frames of the whole that are the clip's own; on their right there are zeros
    first: Tensor = 0  # () int32: the whole's frame that is the first one here
    envelope: Tensor = None  # (..., bands) float32: mean amplitude of the whole; None: of what is here


class Scales(NamedTuple):
    """Which values of a clip's maps become 0 and 255: its own extremes, an entry a letter of its format."""

    low: Tensor  # (..., letters) float32
    high: Tensor  # (..., letters) float32


def letters(settings: FeatureSettings) -> str:
    """-> the letters of a format's maps, each once, in the order of `Scales`."""
    return "".join(dict.fromkeys(CHANNELS[settings.format]))


def maps(
    ops: Ops, audio: Tensor, settings: FeatureSettings, clean: features.Clean | None = None
) -> dict[str, Tensor]:
    """(..., samples) of a padded clip -> {letter: (..., frames, bands)}: what the format needs, once each.

    `clean` is what happens to the mel power before its decibels: (..., frames, bands) -> the same.
    """
    wanted = letters(settings)
    padded = features.reflected(ops, audio, settings)
    power, phase = features.mel_maps(ops, padded, settings, bool({*wanted} & {"P", "X"}))
    made = {"A": features.decibels(ops, clean(power) if clean else power)}
    if phase is not None:
        samples = ops.shape(audio)[-1]
        order = features.settled(ops, ops.arange(ops.shape(phase)[-2]), samples, settings.hop)
        made["P"] = ops.take(phase, order, axis=-2)
    if "D" in wanted:
        made["D"] = features.delta(ops, made["A"])
    if "X" in wanted:
        made["X"] = made["A"] * made["P"]
    return {letter: made[letter] for letter in wanted}


def scales(ops: Ops, made: dict[str, Tensor]) -> Scales:
    """{letter: (..., frames, bands)} of whole clips -> the extremes of each."""
    low = ops.stack([ops.min(values, axis=(-2, -1)) for values in made.values()], axis=-1)
    high = ops.stack([ops.max(values, axis=(-2, -1)) for values in made.values()], axis=-1)
    return Scales(low, high)


def to_uint8(ops: Ops, values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """(..., frames, bands), extremes (...,) -> uint8: their range on 0..255, truncated; where it is 0: 0."""
    low = low[..., None, None]
    span = high[..., None, None] - low
    # Divided before it is multiplied: the largest value is then 255 to the bit, and not 254 by rounding.
    scaled = 255.0 * ((values - low) / ops.where(span > 0, span, 1.0))
    return ops.cast(scaled, "uint8")


def zero_level(ops: Ops, low: Tensor, high: Tensor) -> Tensor:
    """Extremes (...,) -> (...,) float32: the level to which `to_uint8` takes a value of 0.

    Under 0 or over 255 where the clip never has that value.
    """
    span = high - low
    level = ops.cast(255.0 * ((0.0 - low) / ops.where(span > 0, span, 1.0)), "int32")
    return ops.cast(level, "float32")


def stacked(ops: Ops, made: dict[str, Tensor], found: Scales, settings: FeatureSettings) -> Tensor:
    """{letter: (..., frames, bands)} and their scales -> (..., frames, bands, channels) uint8."""
    scaled = {
        letter: to_uint8(ops, values, found.low[..., number], found.high[..., number])
        for number, (letter, values) in enumerate(made.items())
    }
    return ops.stack([scaled[letter] for letter in CHANNELS[settings.format]], axis=-1)


def delta_zero(ops: Ops, found: Scales, settings: FeatureSettings) -> Tensor | None:
    """-> the level of the delta channel that stands for 0; None for a format without a delta."""
    number = letters(settings).find("D")
    return zero_level(ops, found.low[..., number], found.high[..., number]) if number >= 0 else None


def whole_image(ops: Ops, audio: Tensor, settings: FeatureSettings) -> Tensor:
    """(..., samples) in -1..1 -> (..., bands, frames, channels) uint8: the clip's image before cropping.

    Row 0 is the lowest band. Any length from one sample up; the clip is padded to `settings.shortest`, and
    with `stretch = "resize"` its image is resized along time by 1 / D.
    """
    return picture(ops, audio, settings).image


def picture(
    ops: Ops, audio: Tensor, settings: FeatureSettings, clean: features.Clean | None = None
) -> Picture:
    """(..., samples) in -1..1 -> its whole image and more; `clean` is as in `maps`."""
    return painted(ops, maps(ops, features.pad_short(ops, audio, settings), settings, clean), settings)


def painted(ops: Ops, made: dict[str, Tensor], settings: FeatureSettings) -> Picture:
    """{letter: (..., frames, bands)} of whole clips, as `maps` gives them -> their pictures."""
    found = scales(ops, made)
    columns = ops.shape(made["A"])[-2]
    image = stacked(ops, made, found, settings)
    if resizes(settings):
        image = resize_time(ops, image, settings)
        columns = ops.minimum(own_columns(columns, settings), ops.shape(image)[-3])
    order = list(range(len(image.shape)))
    order[-3], order[-2] = order[-2], order[-3]
    return Picture(ops.transpose(image, order), delta_zero(ops, found, settings), columns)


def resizes(settings: FeatureSettings) -> bool:
    """Whether the image is resized along time."""
    return settings.stretch == "resize" and settings.seconds != 1


def duration(settings: FeatureSettings) -> Fraction:
    """D as a ratio of whole numbers: 2.2 is 11 / 5, which no float is."""
    return Fraction(settings.seconds).limit_denominator(1000)


def own_columns(frames: Tensor, settings: FeatureSettings) -> Tensor:
    """-> columns of the resized image in which so many frames of a clip have a part."""
    seconds = duration(settings)
    # Column j is a mix of frames from floor((j + 1/2) D - 1/2) on: the clip's where that is one of its own.
    over = (2 * frames + 1) * seconds.denominator - seconds.numerator
    return -(-over // (2 * seconds.numerator))


def narrowed(ops: Ops, frames: Tensor, settings: FeatureSettings) -> tuple[Tensor, Tensor]:
    """-> columns of the resized image of so many frames, and the frames that it is resized from.

    The latter are more where the clip is shorter than an image: it is filled up with zeros first.
    """
    seconds = duration(settings)
    wide = features.at_least(ops, frames, math.ceil(seconds * settings.columns))
    if isinstance(wide, int):
        return math.floor(wide / seconds), wide
    # 32 bits are too narrow for minutes of sound.
    narrow = ops.cast(wide, "int64") * seconds.denominator // seconds.numerator
    return ops.cast(narrow, "int32"), wide


def sources(ops: Ops, numbers: Tensor, narrow: Tensor, wide: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) columns of a resized image -> (n,) frames on their left, and (n,) the right neighbours' weights.

    Weights in units of 1 / (2 narrow). All in whole numbers: halves are common, and rounding noise would turn
    them up here and down there.
    """
    if not isinstance(narrow, int):
        numbers, narrow, wide = (ops.cast(value, "int64") for value in (numbers, narrow, wide))
    centre = (2 * numbers + 1) * wide - narrow  # of column (number + 1/2) * wide / narrow - 1/2, in units
    return ops.cast(centre // (2 * narrow), "int32"), ops.cast(centre % (2 * narrow), "int32")


def mixed(ops: Ops, before: Tensor, after: Tensor, share: Tensor, narrow: Tensor) -> Tensor:
    """uint8 twice, (columns, 1, 1) weights of the second as in `sources` -> uint8, rounded half up."""
    unit = 2 * narrow
    before, after = ops.cast(before, "int32"), ops.cast(after, "int32")
    return ops.cast((2 * (before * unit + (after - before) * share) + unit) // (2 * unit), "uint8")


def resize_time(ops: Ops, image: Tensor, settings: FeatureSettings) -> Tensor:
    """(..., frames, bands, channels) uint8 -> (..., floor(frames / D), bands, channels) uint8.

    Padded on the right with zeros to D images' worth of columns where shorter, then bilinear with half-pixel
    centres, no antialiasing, rounded half up: what OpenCV's `resize` did for the reference.
    """
    *lead, frames, _, _ = ops.shape(image)
    narrow, wide = narrowed(ops, frames, settings)
    image = ops.pad(image, [(0, 0)] * len(lead) + [(0, wide - frames), (0, 0), (0, 0)])
    numbers = np.arange(narrow) if isinstance(narrow, int) else ops.arange(narrow)
    left, share = sources(ops, numbers, narrow, wide)
    before = ops.take(image, left, axis=-3)
    after = ops.take(image, ops.minimum(left + 1, wide - 1), axis=-3)
    return mixed(ops, before, after, ops.reshape(share, (-1, 1, 1)), narrow)
