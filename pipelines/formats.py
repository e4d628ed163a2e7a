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
    """A clip's whole image, and what must be known of it to change it later."""

    image: Tensor  # (..., bands, frames, channels) uint8
    zero: Tensor  # (...,) float32: the level of the delta channel that stands for 0; None without a delta
    columns: Tensor  # () int32: frames that are the clip's own; on their right there are zeros


def maps(
    ops: Ops, audio: Tensor, settings: FeatureSettings, clean: features.Clean | None = None
) -> dict[str, Tensor]:
    """(..., samples) of a padded clip -> {letter: (..., frames, bands)}: what the format needs, once each."""
    letters = set(CHANNELS[settings.format])
    parts = features.spectrum(ops, audio, settings)
    made = {"A": features.amplitude(ops, parts, settings, clean)}
    if letters & {"P", "X"}:
        made["P"] = features.phase(ops, parts, ops.shape(audio)[-1], settings)
    if "D" in letters:
        made["D"] = features.delta(ops, made["A"])
    if "X" in letters:
        made["X"] = made["A"] * made["P"]
    return made


def to_uint8(ops: Ops, values: Tensor) -> Tensor:
    """(..., frames, bands) -> the same, uint8: each clip's own range on 0..255, truncated; constant: 0."""
    low = ops.min(values, axis=(-2, -1), keepdims=True)
    span = ops.max(values, axis=(-2, -1), keepdims=True) - low
    # Divided before it is multiplied: the largest value is then 255 to the bit, and not 254 by rounding.
    scaled = 255.0 * ((values - low) / ops.where(span > 0, span, 1.0))
    return ops.cast(scaled, "uint8")


def zero_level(ops: Ops, values: Tensor) -> Tensor:
    """(..., frames, bands) -> (...,) float32: the level to which `to_uint8` takes a value of 0.

    Under 0 or over 255 where the clip never has that value.
    """
    low = ops.min(values, axis=(-2, -1))
    span = ops.max(values, axis=(-2, -1)) - low
    level = ops.cast(255.0 * ((0.0 - low) / ops.where(span > 0, span, 1.0)), "int32")
    return ops.cast(level, "float32")


def whole_image(ops: Ops, audio: Tensor, settings: FeatureSettings) -> Tensor:
    """(..., samples) in -1..1 -> (..., bands, frames, channels) uint8: the clip's image before cropping.

    Row 0 is the lowest band. Any length from one sample up; the clip is padded to `settings.shortest`, and
    with `stretch = "resize"` its image is resized along time by 1 / D.
    """
    return picture(ops, audio, settings).image


def picture(
    ops: Ops, audio: Tensor, settings: FeatureSettings, clean: features.Clean | None = None
) -> Picture:
    """(..., samples) in -1..1 -> its whole image and more; `clean` is as in `features.amplitude`."""
    audio = features.pad_short(ops, audio, settings)
    made = maps(ops, audio, settings, clean)
    columns = ops.shape(made["A"])[-2]
    scaled = {letter: to_uint8(ops, made[letter]) for letter in set(CHANNELS[settings.format])}
    image = ops.stack([scaled[letter] for letter in CHANNELS[settings.format]], axis=-1)
    if settings.stretch == "resize" and settings.seconds != 1:
        image = resize_time(ops, image, settings)
        seconds = Fraction(settings.seconds).limit_denominator(1000)
        # Column j is a mix of frames from floor((j + 1/2) D - 1/2) on: the clip's where that is one of its own.
        over = (2 * columns + 1) * seconds.denominator - seconds.numerator
        columns = ops.minimum(-(-over // (2 * seconds.numerator)), ops.shape(image)[-3])
    order = list(range(len(image.shape)))
    order[-3], order[-2] = order[-2], order[-3]
    zero = zero_level(ops, made["D"]) if "D" in made else None
    return Picture(ops.transpose(image, order), zero, columns)


def resize_time(ops: Ops, image: Tensor, settings: FeatureSettings) -> Tensor:
    """(..., frames, bands, channels) uint8 -> (..., floor(frames / D), bands, channels) uint8.

    Padded on the right with zeros to D images' worth of columns where shorter, then bilinear with half-pixel
    centres, no antialiasing, rounded half up: what OpenCV's `resize` did for the reference.
    """
    seconds = Fraction(settings.seconds).limit_denominator(1000)  # 2.2 is 11 / 5, which no float is
    wanted = math.ceil(seconds * settings.columns)
    *lead, frames, _, _ = ops.shape(image)
    missing = features.at_least(ops, wanted - frames, 0)
    image = ops.pad(image, [(0, 0)] * len(lead) + [(0, missing), (0, 0), (0, 0)])
    width = frames + missing
    last = width - 1
    if isinstance(width, int):
        narrow = math.floor(width / seconds)
        numbers = np.arange(narrow)
    else:  # 32 bits are too narrow for minutes of sound
        width = ops.cast(width, "int64")
        narrow = width * seconds.denominator // seconds.numerator
        numbers = ops.cast(ops.arange(ops.cast(narrow, "int32")), "int64")
    # All in whole numbers: halves are common, and rounding noise would turn them up here and down there.
    unit = 2 * narrow
    centre = (2 * numbers + 1) * width - narrow  # of column (number + 1/2) * width / narrow - 1/2, in units
    left = ops.cast(centre // unit, "int32")
    share = ops.reshape(ops.cast(centre % unit, "int32"), (-1, 1, 1))
    unit = ops.cast(unit, "int32")
    before = ops.cast(ops.take(image, left, axis=-3), "int32")
    after = ops.cast(ops.take(image, ops.minimum(left + 1, last), axis=-3), "int32")
    mixed = before * unit + (after - before) * share
    return ops.cast((2 * mixed + unit) // (2 * unit), "uint8")
