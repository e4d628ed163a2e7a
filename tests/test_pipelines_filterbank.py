"""The filterbank against librosa, the window against SciPy, the mel scale against its definition."""

import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import get_window

from pipelines.filterbank import (
    band_edges,
    banded_filterbank,
    hann_window,
    hertz_to_mel,
    mel_filterbank,
    mel_to_hertz,
)

# rate (Hz), n_fft, bands, fmin (Hz), fmax (Hz)
SETTINGS = [
    (44100, 3200, 160, 20.0, 22050.0),
    (44100, 2560, 128, 20.0, 22050.0),
    (44100, 4480, 224, 20.0, 22050.0),
    (44100, 7680, 384, 20.0, 22050.0),
    (44100, 1280, 64, 50.0, 14000.0),
    (22050, 3200, 160, 20.0, 11025.0),
    (16000, 2560, 128, 0.0, 8000.0),
    (8000, 320, 16, 20.0, 3900.0),
]


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.filterwarnings("ignore:Empty filters detected")  # librosa says so of bands under one bin
def test_it_is_librosas(setting: tuple[int, int, int, float, float]) -> None:
    rate, n_fft, bands, fmin, fmax = setting
    theirs = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=bands, fmin=fmin, fmax=fmax)
    mine = mel_filterbank(*setting)
    assert mine.dtype == np.float32
    assert mine.shape == (n_fft // 2 + 1, bands)
    np.testing.assert_allclose(mine, theirs.T, rtol=0, atol=1e-6)
    # Weights are around 0.01, so the tolerance above says little of the narrow ones.
    np.testing.assert_allclose(mine, theirs.T, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("blocks", [1, 3, 8, 1000])
def test_blocks_put_together_are_the_matrix(setting: tuple[int, int, int, float, float], blocks: int) -> None:
    whole = np.zeros_like(mel_filterbank(*setting))
    band = 0
    for block in banded_filterbank(*setting, blocks=blocks):
        width = block.weights.shape[1]
        assert block.weights.shape[0] == block.stop - block.start
        whole[block.start : block.stop, band : band + width] = block.weights
        band += width
    assert band == whole.shape[1]
    np.testing.assert_array_equal(whole, mel_filterbank(*setting))


def test_blocks_are_smaller_than_the_matrix() -> None:
    blocks = banded_filterbank(*SETTINGS[0])
    assert sum(block.weights.size for block in blocks) < mel_filterbank(*SETTINGS[0]).size / 3


@pytest.mark.parametrize("n_fft", [320, 2560, 3200, 4480])
def test_the_window_is_scipys_periodic_one(n_fft: int) -> None:
    window = hann_window(n_fft)
    assert window.dtype == np.float32
    np.testing.assert_allclose(window, get_window("hann", n_fft, fftbins=True), atol=1e-7)


@given(st.floats(0, 200_000))
def test_hertz_to_mel_and_back(hertz: float) -> None:
    back = mel_to_hertz(hertz_to_mel(np.array(hertz)))
    np.testing.assert_allclose(back, hertz, rtol=1e-12, atol=1e-9)


@given(st.floats(0, 100))
def test_mel_to_hertz_and_back(mel: float) -> None:
    np.testing.assert_allclose(hertz_to_mel(mel_to_hertz(np.array(mel))), mel, rtol=1e-12, atol=1e-12)


def test_fixed_points_of_slaneys_scale() -> None:
    hertz = np.array([0.0, 200.0, 1000.0, 6400.0, 6400.0 * 6.4])
    np.testing.assert_allclose(hertz_to_mel(hertz), [0, 3, 15, 42, 69], rtol=1e-12)
    ours, theirs = hertz_to_mel(np.linspace(0, 22050, 999)), librosa.hz_to_mel(np.linspace(0, 22050, 999))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_edges_reach_from_fmin_to_fmax_and_rise() -> None:
    edges = band_edges(160, 20.0, 22050.0)
    assert edges.shape == (162,)
    np.testing.assert_allclose(edges[[0, -1]], [20, 22050])
    assert (np.diff(edges) > 0).all()
