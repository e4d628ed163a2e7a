"""Waveform to mel amplitude, phase and delta (REFERENCE section 1), on any array library.

Every function takes the namespace of its operations as first argument: `pipelines.ops` inside tf.data and in
the served graph, `keras.ops` on the accelerator. One text serves training, serving and accelerator, so they
cannot drift apart. Leading axes are a batch; its clips are of one length and never look at each other.
"""

from collections.abc import Callable
from typing import Any

from pipelines.filterbank import banded_filterbank, hann_window
from pipelines.settings import FeatureSettings

Ops = Any  # a module: pipelines.ops or keras.ops
Tensor = Any
Clean = Callable[[Tensor], Tensor]

_FLOOR = 1e-10  # power under which decibels stop
_RANGE = 80.0  # decibels kept below a clip's own maximum
_DELTA_WIDTH = 9  # frames


def at_least(ops: Ops, size: Tensor, low: int) -> Tensor:
    """The larger of two sizes: a number where they are numbers, as static shapes must stay static."""
    return max(size, low) if isinstance(size, int) else ops.maximum(size, low)


def pad_short(ops: Ops, audio: Tensor, settings: FeatureSettings) -> Tensor:
    """(..., samples) -> (..., max(samples, settings.shortest)): zeros on both sides of a short clip."""
    missing = at_least(ops, settings.shortest - ops.shape(audio)[-1], 0)
    left = missing // 2
    return ops.pad(audio, [(0, 0)] * (len(audio.shape) - 1) + [(left, missing - left)])


def frame(ops: Ops, audio: Tensor, length: int, hop: int) -> Tensor:
    """(..., samples) -> (..., frames, length): overlapping windows, 1 + (samples - length) // hop of them.

    Built from slices of whole hops: that is a few large copies, where a gather of indices is one small copy a
    frame, and it needs no greatest common divisor of length and hop as `tf.signal.frame` does.
    """
    *lead, samples = ops.shape(audio)
    frames = 1 + (samples - length) // hop
    pieces = -(-length // hop)
    audio = ops.pad(audio, [(0, 0)] * len(lead) + [(0, hop)])  # the last piece may reach past the end
    runs = [
        ops.reshape(audio[..., k * hop : (k + frames) * hop], (*lead, frames, hop)) for k in range(pieces)
    ]
    return ops.concatenate(runs, axis=-1)[..., :length]


def spectrum(ops: Ops, audio: Tensor, settings: FeatureSettings) -> tuple[Tensor, Tensor]:
    """(..., samples) in -1..1 -> (real, imaginary), each (..., frames, bins): centred, reflect padding."""
    half = settings.n_fft // 2
    padded = ops.pad(audio, [(0, 0)] * (len(audio.shape) - 1) + [(half, half)], mode="reflect")
    windows = frame(ops, padded, settings.n_fft, settings.hop) * hann_window(settings.n_fft)
    return ops.rfft(windows, settings.n_fft)


def mel(ops: Ops, bins: Tensor, settings: FeatureSettings) -> Tensor:
    """(..., frames, bins) -> (..., frames, bands): the product with the filterbank, block by block."""
    blocks = banded_filterbank(
        settings.rate, settings.n_fft, settings.bands, float(settings.fmin), settings.highest
    )
    return ops.concatenate(
        [ops.matmul(bins[..., block.start : block.stop], block.weights) for block in blocks], axis=-1
    )


def decibels(ops: Ops, power: Tensor) -> Tensor:
    """(..., frames, bands) power -> the same in decibels re 1, floored 80 below each clip's own maximum."""
    level = 10.0 * ops.log10(ops.maximum(power, _FLOOR))
    return ops.maximum(level, ops.max(level, axis=(-2, -1), keepdims=True) - _RANGE)


def settle_edges(ops: Ops, phase: Tensor, samples: Tensor, hop: int) -> Tensor:
    """(..., frames, bands) -> the same, with frames of undefined phase taking their neighbour's.

    Frame 0 is symmetric under reflect padding, and so is a last frame centred on the last sample: their bins
    are real, and the sign of pi is rounding noise that would set the clip's extremes.
    """
    frames = ops.shape(phase)[-2]
    last = frames - 1
    # 1 where the last frame is centred on the last sample; a number or a scalar tensor, as `samples` is.
    centred = ops.cast(ops.where((samples - 1) % hop == 0, 1, 0), "int32")
    order = ops.minimum(ops.maximum(ops.arange(frames), 1), last - centred)
    return ops.take(phase, order, axis=-2)


def delta(ops: Ops, level: Tensor) -> Tensor:
    """(..., frames, bands) -> the same: slope along time of a line fitted over 9 frames, per frame.

    The Savitzky-Golay derivative of order 1. At the edges the fit of the outermost nine frames holds, and a
    line has one slope, so the four values there equal the fifth.
    """
    reach = _DELTA_WIDTH // 2
    *_, frames, _ = ops.shape(level)
    inner = frames - 2 * reach
    slope = sum(
        k * (level[..., reach + k : reach + k + inner, :] - level[..., reach - k : reach - k + inner, :])
        for k in range(1, reach + 1)
    ) / (2.0 * sum(k * k for k in range(1, reach + 1)))
    order = ops.minimum(ops.maximum(ops.arange(frames) - reach, 0), inner - 1)
    return ops.take(slope, order, axis=-2)


def amplitude(
    ops: Ops, parts: tuple[Tensor, Tensor], settings: FeatureSettings, clean: Clean | None = None
) -> Tensor:
    """(real, imaginary), each (..., frames, bins) -> (..., frames, bands), decibels.

    `clean` is what happens to the mel power before that: (..., frames, bands) -> the same.
    """
    real, imaginary = parts
    power = mel(ops, real * real + imaginary * imaginary, settings)
    return decibels(ops, clean(power) if clean else power)


def phase(ops: Ops, parts: tuple[Tensor, Tensor], samples: Tensor, settings: FeatureSettings) -> Tensor:
    """(real, imaginary), each (..., frames, bins) -> (..., frames, bands): mel-weighted radians.

    `samples` is the length of the padded clip. An empty bin has phase 0: the sign of its zeros, and with it
    the choice between 0 and pi, would be an accident of the transform.
    """
    real, imaginary = parts
    silent = (real == 0) & (imaginary == 0)
    angle = ops.where(silent, ops.zeros_like(real), ops.arctan2(imaginary, real))
    return settle_edges(ops, mel(ops, angle, settings), samples, settings.hop)
