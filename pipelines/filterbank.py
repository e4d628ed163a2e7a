"""The mel filterbank and the window, as NumPy constants of a graph."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

# Slaney's scale (Auditory Toolbox, 1998): linear to 1 kHz, 27 logarithmic steps for a factor of 6.4 above.
_HERTZ_PER_MEL = 200.0 / 3
_BREAK_HERTZ = 1000.0
_BREAK_MEL = _BREAK_HERTZ / _HERTZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27


def hertz_to_mel(hertz: Float64) -> Float64:
    """(...,) hertz -> (...,) mels on Slaney's scale."""
    above = _BREAK_MEL + np.log(np.maximum(hertz, _BREAK_HERTZ) / _BREAK_HERTZ) / _LOG_STEP
    return np.where(hertz < _BREAK_HERTZ, hertz / _HERTZ_PER_MEL, above)


def mel_to_hertz(mel: Float64) -> Float64:
    """(...,) mels on Slaney's scale -> (...,) hertz."""
    above = _BREAK_HERTZ * np.exp(_LOG_STEP * (np.maximum(mel, _BREAK_MEL) - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * _HERTZ_PER_MEL, above)


def band_edges(bands: int, fmin: float, fmax: float) -> Float64:
    """-> (bands + 2,) hertz: band b rises from edge b to its peak at b + 1 and falls to b + 2."""
    low, high = hertz_to_mel(np.array([fmin, fmax], np.float64))
    return mel_to_hertz(np.linspace(low, high, bands + 2))


@lru_cache(maxsize=16)
def mel_filterbank(rate: int, n_fft: int, bands: int, fmin: float, fmax: float) -> Float32:
    """-> (n_fft // 2 + 1, bands): triangles of unit area in hertz, as `librosa.filters.mel` transposed.

    A band narrower than a bin of the transform stays empty, as there; `n_fft` of 20 samples a band leaves
    only the very lowest in that state.
    """
    edges = band_edges(bands, fmin, fmax)
    bins = np.linspace(0, rate / 2, n_fft // 2 + 1)[:, None]
    left, peak, right = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.minimum((bins - left) / (peak - left), (right - bins) / (right - peak))
    return (np.maximum(triangles, 0) * 2 / (right - left)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Block:
    """Neighbouring bands and the stretch of bins that they touch."""

    start: int  # first bin
    stop: int  # one past the last bin
    weights: Float32  # (stop - start, bands of the block)


@lru_cache(maxsize=16)
def banded_filterbank(
    rate: int, n_fft: int, bands: int, fmin: float, fmax: float, blocks: int = 12
) -> tuple[Block, ...]:
    """The filterbank cut into dense blocks along its diagonal.

    98.8 % of the matrix is zeros (160 bands, 1601 bins), so a dozen products cost a third of the whole
    one, and need no sparse kernel.
    """
    whole = mel_filterbank(rate, n_fft, bands, fmin, fmax)
    cut = []
    for part in np.array_split(np.arange(bands), min(blocks, bands)):
        touched = np.flatnonzero(whole[:, part].any(axis=1))
        start, stop = (int(touched[0]), int(touched[-1]) + 1) if touched.size else (0, 1)
        cut.append(Block(start, stop, np.ascontiguousarray(whole[start:stop, part])))
    return tuple(cut)


@lru_cache(maxsize=16)
def hann_window(n_fft: int) -> Float32:
    """-> (n_fft,): the periodic Hann window, as `scipy.signal.get_window("hann", n_fft)`."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)
