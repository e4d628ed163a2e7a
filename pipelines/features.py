"""Waveform to mel amplitude, phase and delta (REFERENCE section 1), on any array library.

Every function takes the namespace of its operations as first argument: `pipelines.ops` inside tf.data and in
the served graph, `keras.ops` on the accelerator. One text serves training, serving and accelerator, so they
cannot drift apart. Leading axes are a batch; its clips are of one length and never look at each other.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from pipelines.filterbank import banded_filterbank, hann_window
from pipelines.settings import FeatureSettings

Ops = Any  # a module: pipelines.ops or keras.ops
Tensor = Any
Clean = Callable[[Tensor], Tensor]

_FLOOR = 1e-10  # power under which decibels stop
_FLOOR_DECIBELS = -100.0
_RANGE = 80.0  # decibels kept below a clip's own maximum
REACH = 4  # frames on either side that delta's line is fitted to
_SPECK = 1e-35  # nothing beside any bin that is not empty, and more than the least normal float32
_ROWS = 8  # frames in a group whose products with the filterbank are alike
_BLOCK = 128  # frames that are transformed at a time: their spectra stay in the cache


def at_least(ops: Ops, size: Tensor, low: int) -> Tensor:
    """The larger of two sizes: a number where they are numbers, as static shapes must stay static."""
    return max(size, low) if isinstance(size, int) else ops.maximum(size, low)


def pad_short(ops: Ops, audio: Tensor, settings: FeatureSettings) -> Tensor:
    """(..., samples) -> (..., max(samples, settings.shortest)): zeros on both sides of a short clip."""
    missing = at_least(ops, settings.shortest - ops.shape(audio)[-1], 0)
    left = missing // 2
    return ops.pad(audio, [(0, 0)] * (len(audio.shape) - 1) + [(left, missing - left)])


def reflected(ops: Ops, audio: Tensor, settings: FeatureSettings) -> Tensor:
    """(..., samples) -> (..., samples + n_fft): half a window more on either side, mirrored about the edges."""
    half = settings.n_fft // 2
    return ops.pad(audio, [(0, 0)] * (len(audio.shape) - 1) + [(half, half)], mode="reflect")


def frame(ops: Ops, audio: Tensor, length: int, hop: int) -> Tensor:
    """(..., samples) -> (..., frames, pieces, hop): overlapping windows, 1 + (samples - length) // hop of them.

    A frame is the first `length` samples of its pieces; what follows them is the sound's next ones. So whole hops
    are copied, once: the window is 0 over the rest, and the transform leaves it out. And no greatest common
    divisor of length and hop is needed, as by `tf.signal.frame`.
    """
    *lead, samples = ops.shape(audio)
    frames = 1 + (samples - length) // hop
    pieces = -(-length // hop)
    rows = frames + pieces - 1
    audio = ops.pad(audio, [(0, 0)] * len(lead) + [(0, hop)])  # the last piece may reach past the end
    hops = ops.reshape(audio[..., : rows * hop], (*lead, rows, hop))
    return ops.take(hops, ops.arange(frames)[:, None] + ops.arange(pieces), axis=-2)


def spectra(ops: Ops, audio: Tensor, length: int, hop: int) -> tuple[Tensor, Tensor]:
    """(..., samples) -> real and imaginary parts of the windowed frames, (..., frames, length // 2 + 1) each."""
    framed = frame(ops, audio, length, hop)
    *lead, pieces, _ = ops.shape(framed)
    window = np.pad(hann_window(length), (0, pieces * hop - length)).reshape(pieces, hop)
    return ops.rfft(ops.reshape(framed * window, (*lead, pieces * hop)), length)


def angles(ops: Ops, real: Tensor, imaginary: Tensor) -> Tensor:
    """-> radians, of the same shape. An empty bin has 0: its zeros' signs are an accident of the transform."""
    # The shift decides between 0 and pi for zeros alone, and saves four passes over all bins.
    return ops.arctan2(imaginary, real + _SPECK)


def mel_maps(
    ops: Ops, padded: Tensor, settings: FeatureSettings, phase: bool = True
) -> tuple[Tensor, Tensor | None]:
    """(..., samples) with what half a window needs on either side -> mel power, and mel-weighted radians.

    Both (..., frames, bands), frames 1 + (samples - n_fft) // hop; without `phase` the second is None.
    """
    length, hop = settings.n_fft, settings.hop
    *lead, samples = ops.shape(padded)
    frames = 1 + (samples - length) // hop
    # A product of matrices rounds the rows that are left over from whole groups otherwise than the others.
    # With whole groups alone a frame's values do not depend on where a cut begins and ends.
    missing = (_ROWS - frames % _ROWS) % _ROWS  # nothing negative: ONNX rounds that otherwise
    if not (isinstance(missing, int) and missing == 0):
        padded = ops.pad(padded, [(0, 0)] * len(lead) + [(0, missing * hop)])

    def maps(audio: Tensor) -> tuple[Tensor, ...]:
        real, imaginary = spectra(ops, audio, length, hop)
        power = mel(ops, real * real + imaginary * imaginary, settings)
        return (power, mel(ops, angles(ops, real, imaginary), settings)) if phase else (power,)

    walk = getattr(ops, "over_frames", None)
    if walk is None or lead or (isinstance(frames, int) and frames <= 2 * _BLOCK):
        made = maps(padded)
    else:
        made = walk(maps, padded, frames + missing, _BLOCK, (length, hop), [settings.bands] * (1 + phase))
    power, *rest = (values[..., :frames, :] for values in made)
    return power, rest[0] if phase else None


def mel(ops: Ops, bins: Tensor, settings: FeatureSettings) -> Tensor:
    """(..., frames, bins) -> (..., frames, bands): the product with the filterbank, block by block."""
    blocks = banded_filterbank(
        settings.rate, settings.n_fft, settings.bands, float(settings.fmin), settings.highest
    )
    return ops.concatenate(
        [ops.matmul(bins[..., block.start : block.stop], block.weights) for block in blocks], axis=-1
    )


def decibels(ops: Ops, power: Tensor, peak: Tensor | None = None) -> Tensor:
    """(..., frames, bands) power -> the same in decibels re 1, floored 80 below each clip's own maximum.

    `peak`: that maximum, of a clip of which `power` is a part; broadcasts over frames and bands.
    """
    # The floor itself is set in decibels: logarithms of one number differ by a bit between a vector's lanes and
    # its rest, and would speckle the image of a silent clip.
    level = 10.0 * ops.log10(ops.maximum(power, _FLOOR / 2))
    peak = ops.max(level, axis=(-2, -1), keepdims=True) if peak is None else peak
    return ops.maximum(level, ops.maximum(peak - _RANGE, _FLOOR_DECIBELS))


def settled(ops: Ops, numbers: Tensor, samples: Tensor, hop: int) -> Tensor:
    """(n,) frames of a clip, (n,) int32 -> the frames whose phase they have: their own, where that is defined.

    Frame 0 is symmetric under reflect padding, and so is a last frame centred on the last sample: their bins
    are real, and the sign of pi is rounding noise that would set the clip's extremes.
    """
    # 1 where the last frame is centred on the last sample; a number or a scalar tensor, as `samples` is.
    centred = ops.cast(ops.where((samples - 1) % hop == 0, 1, 0), "int32")
    return ops.minimum(ops.maximum(numbers, 1), samples // hop - centred)


def delta(ops: Ops, level: Tensor) -> Tensor:
    """(..., frames, bands) -> the same: slope along time of a line fitted over 9 frames, per frame.

    The Savitzky-Golay derivative of order 1. At the edges the fit of the outermost nine frames holds, and a
    line has one slope, so the four values there equal the fifth.
    """
    *_, frames, _ = ops.shape(level)
    return ops.take(slopes(ops, level), sloped(ops, ops.arange(frames), frames) - REACH, axis=-2)


def slopes(ops: Ops, level: Tensor) -> Tensor:
    """(..., frames, bands) -> (..., frames - 8, bands): about all frames but the outermost four."""
    *_, frames, _ = ops.shape(level)
    inner = frames - 2 * REACH

    def across(k: int) -> Tensor:
        """The fall from `k` frames behind to as many ahead."""
        behind = level[..., REACH - k : REACH - k + inner, :]
        return behind - level[..., REACH + k : REACH + k + inner, :]

    # Falls are subtracted, rises are not added: of a chain of sums TensorFlow makes one sum in another order
    # where it can tell that all shapes are equal, and images were off by a grey level between graphs.
    rise = -across(1)
    for k in range(2, REACH + 1):
        rise = rise - k * across(k)
    return rise / (2.0 * sum(k * k for k in range(1, REACH + 1)))


def sloped(ops: Ops, numbers: Tensor, frames: Tensor) -> Tensor:
    """(n,) frames of a clip of so many, (n,) int32 -> the frames whose slopes they have."""
    return ops.minimum(ops.maximum(numbers, REACH), frames - 1 - REACH)
