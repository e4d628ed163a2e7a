"""The three-channel images: which maps make a format, and their scaling to uint8."""

from dataclasses import replace
from typing import Any, NamedTuple

from pipelines import features, narrowing
from pipelines.settings import FeatureSettings

Ops = Any
Tensor = Any

# Channel letters in words. H and L are amplitude until narrowing makes columns of frames.
MEANINGS = {
    "A": "amplitude",
    "P": "phase",
    "D": "delta",
    "X": "amplitude x phase",
    "H": "highest amplitude",
    "L": "lowest amplitude",
}
CHANNELS = {"APD": "APD", "APX": "APX", "AAA": "AAA", "AAP": "AAP", "AHL": "AHL"}
_MAP_OF = str.maketrans("HL", "AA")


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


def channels(settings: FeatureSettings) -> str:
    """-> the letter of the map that each channel of the format is made of."""
    return CHANNELS[settings.format].translate(_MAP_OF)


def letters(settings: FeatureSettings) -> str:
    """-> the letters of a format's maps, each once, in the order of `Scales`."""
    return "".join(dict.fromkeys(channels(settings)))


def possible(settings: FeatureSettings) -> list[FeatureSettings]:
    """-> the same settings in every format that they allow."""
    names = [name for name in CHANNELS if name != "AHL" or settings.stretch == "mean"]
    return [replace(settings, format=name) for name in names]  # type: ignore[arg-type]


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
    """{letter: (..., frames, bands)} and their scales -> (..., channels, frames, bands) uint8.

    Channels come first: TensorFlow stacks whole maps, and turns them afterwards, in half of the time that it
    takes to stack them pixel by pixel.
    """
    scaled = {
        letter: to_uint8(ops, values, found.low[..., number], found.high[..., number])
        for number, (letter, values) in enumerate(made.items())
    }
    return ops.stack([scaled[letter] for letter in channels(settings)], axis=-3)


def turned(ops: Ops, image: Tensor, order: tuple[int, int, int]) -> Tensor:
    """-> with its last three axes in another order, numbered from 0."""
    lead = len(image.shape) - 3
    return ops.transpose(image, [*range(lead), *(lead + axis for axis in order)])


def delta_zero(ops: Ops, found: Scales, settings: FeatureSettings) -> Tensor | None:
    """-> the level of the delta channel that stands for 0; None for a format without a delta."""
    number = letters(settings).find("D")
    return zero_level(ops, found.low[..., number], found.high[..., number]) if number >= 0 else None


def whole_image(ops: Ops, audio: Tensor, settings: FeatureSettings) -> Tensor:
    """(..., samples) in -1..1 -> (..., bands, frames, channels) uint8: the clip's image before cropping.

    Row 0 is the lowest band. Any length from one sample up; the clip is padded to `settings.shortest`, and
    but for `stretch = "hop"` its image is narrowed along time by 1 / D.
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
    if settings.narrows:
        image = narrowing.narrow(ops, turned(ops, image, (1, 2, 0)), settings)
        columns = ops.minimum(narrowing.own_columns(columns, settings), ops.shape(image)[-3])
        image = turned(ops, image, (1, 0, 2))
    else:
        image = turned(ops, image, (2, 1, 0))
    return Picture(image, delta_zero(ops, found, settings), columns)
