"""The three-channel images: which maps make a format, their scaling to uint8, and the duration step."""

from typing import Any

from pipelines import features
from pipelines.settings import FeatureSettings

Ops = Any
Tensor = Any

# Channel letters: A amplitude, P phase, D delta of the amplitude, X amplitude x phase.
CHANNELS = {"APD": "APD", "APX": "APX", "AAA": "AAA", "AAP": "AAP"}


def maps(ops: Ops, audio: Tensor, settings: FeatureSettings) -> dict[str, Tensor]:
    """(..., samples) of a padded clip -> {letter: (..., frames, bands)}: what the format needs, once each."""
    letters = set(CHANNELS[settings.format])
    parts = features.spectrum(ops, audio, settings)
    made = {"A": features.amplitude(ops, parts, settings)}
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


def whole_image(ops: Ops, audio: Tensor, settings: FeatureSettings) -> Tensor:
    """(..., samples) in -1..1 -> (..., bands, frames, channels) uint8: the clip's image before cropping.

    Row 0 is the lowest band. Any length from one sample up; the clip is padded to `settings.shortest`, and
    with `stretch = "resize"` its image is resized along time by 1 / D.
    """
    audio = features.pad_short(ops, audio, settings)
    made = maps(ops, audio, settings)
    scaled = {letter: to_uint8(ops, made[letter]) for letter in set(CHANNELS[settings.format])}
    image = ops.stack([scaled[letter] for letter in CHANNELS[settings.format]], axis=-1)
    if settings.stretch == "resize" and settings.seconds != 1:
        image = resize_time(ops, image, settings)
    order = list(range(len(image.shape)))
    order[-3], order[-2] = order[-2], order[-3]
    return ops.transpose(image, order)


def resize_time(ops: Ops, image: Tensor, settings: FeatureSettings) -> Tensor:
    """(..., frames, bands, channels) uint8 -> (..., floor(frames / D), bands, channels) uint8.

    Padded on the right with zeros to D images' worth of columns where shorter, then bilinear with half-pixel
    centres, no antialiasing, rounded half up: what OpenCV's `resize` did for the reference.
    """
    wanted = -int(-settings.seconds * settings.columns // 1)
    *lead, frames, _, _ = ops.shape(image)
    missing = features.at_least(ops, wanted - frames, 0)
    image = ops.pad(image, [(0, 0)] * len(lead) + [(0, missing), (0, 0), (0, 0)])
    width = frames + missing
    if isinstance(width, int):
        narrow = int(width / settings.seconds)
    else:
        narrow = ops.cast(ops.floor(ops.cast(width, "float32") / settings.seconds), "int32")
    step = ops.cast(width, "float32") / ops.cast(narrow, "float32")
    centre = (ops.cast(ops.arange(narrow), "float32") + 0.5) * step - 0.5
    left = ops.maximum(ops.floor(centre), 0.0)
    share = ops.reshape(ops.maximum(centre, 0.0) - left, (-1, 1, 1))
    left = ops.cast(left, "int32")
    before = ops.cast(ops.take(image, left, axis=-3), "float32")
    after = ops.cast(ops.take(image, ops.minimum(left + 1, width - 1), axis=-3), "float32")
    return ops.cast(ops.floor(before + (after - before) * share + 0.5), "uint8")
