"""Which recordings a clip is mixed from, as benchmarks/fat10_sources.py tells it."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import fat10_sources

RATE, SECONDS = 44100, 2


def noise(seed: int) -> np.ndarray:
    """(samples,) of a recording: noise, low notes the louder, as in nature."""
    white = np.random.default_rng(seed).standard_normal(RATE * SECONDS)
    return 0.1 * np.convolve(white, np.exp(-np.arange(30) / 8), "same")


@pytest.fixture
def recordings(tmp_path: Path) -> dict[tuple[str, int], list[np.ndarray]]:
    """Two recordings a label and fold, as files."""
    found = {}
    for number, (label, fold) in enumerate((label, fold) for label in ("Rain", "Bark") for fold in (1, 2)):
        found[label, fold] = []
        for own in (0, 1):
            path = tmp_path / f"{label}{fold}{own}.flac"
            soundfile.write(path, noise(10 * number + own), RATE)
            found[label, fold].append(fat10_sources.spectrum(path))
    return found


def test_a_mix_tells_the_folds_of_its_recordings(
    tmp_path: Path, recordings: dict[tuple[str, int], list[np.ndarray]]
) -> None:
    rain, _ = soundfile.read(tmp_path / "Rain20.flac")
    bark, _ = soundfile.read(tmp_path / "Bark11.flac")
    mix = np.zeros(RATE * 3)
    mix[5000 : 5000 + rain.size] += 0.8 * rain
    mix[20000 : 20000 + bark.size] += 0.4 * bark
    soundfile.write(tmp_path / "mix.flac", mix, RATE)
    assert fat10_sources.folds_of(tmp_path / "mix.flac", ["Bark", "Rain"], recordings) == [1, 2]


def test_a_stranger_is_of_no_fold(
    tmp_path: Path, recordings: dict[tuple[str, int], list[np.ndarray]]
) -> None:
    soundfile.write(tmp_path / "stranger.flac", noise(99), RATE)
    assert fat10_sources.folds_of(tmp_path / "stranger.flac", ["Rain", "Bark"], recordings) == [None, None]
