"""Settings that do nothing are said beside the set."""

from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import pytest

from fatk import prepare
from fatk.doubts import doubts
from tests.test_fatk_prepare import Set


@pytest.fixture
def told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def tell(*overrides: str) -> str:
        made = Set(tmp_path)
        made.fill(4)
        prepare.prepare(made.config(*overrides))
        return capsys.readouterr().out

    return tell


@pytest.mark.filterwarnings("ignore:Empty filters detected")
def test_bands_between_two_bins(told) -> None:
    bank = librosa.filters.mel(sr=16000, n_fft=1280, n_mels=64, fmin=20, fmax=400)
    empty = int((bank.max(axis=1) == 0).sum())
    assert 0 < empty < 64
    assert f"{empty} of 64 bands from 20 to 400 Hz are narrower than a bin of the transform" in told(
        "features.fmax=400"
    )


def test_a_transfer_of_no_clip(told) -> None:
    said = "`domain.transfer` = 'envelope' does nothing: no noisy clip is trained on."
    assert said in told("domain.transfer=envelope").splitlines()


def test_a_transfer_of_partners_that_are_drawn_does_something(tmp_path: Path) -> None:
    """Of the whole noisy pool, though none of it is trained on by itself."""
    made = Set(tmp_path)
    made.fill(4)
    config = made.config("domain.transfer=envelope", "mixing.kind=noisy")
    split = prepare.prepare(config, verbose=False).split
    assert len(doubts(config, split)) == 1
    assert doubts(replace(config, mixing=replace(config.mixing, partners="single")), split) == []


def test_noisy_clips_that_nothing_is_mixed_with(told) -> None:
    said = "`mixing.alpha` = 0 mixes nothing: the noisy clips that `mixing.kind` = 'noisy' draws are unheard."
    assert said in told("mixing.kind=noisy", "mixing.alpha=0").splitlines()


def test_clips_of_lower_rates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What librosa's bands have of noise at 16 kHz that comes from a lower rate."""
    made, noise = Set(tmp_path), np.random.default_rng(0).standard_normal(64000).clip(-4, 4) / 5
    made.fill(4)
    for rate in (2000, 4000, 12000, 15900):
        made.add(f"{rate}.wav", "a", noise[: 4 * rate], rate=rate)
    config = made.config()
    prepare.prepare(config)
    bank = librosa.filters.mel(sr=16000, n_fft=1280, n_mels=64, fmin=20, fmax=8000)
    empty = int((bank[:, np.arange(641) * 12.5 < 1000].sum(axis=1) == 0).sum())
    heard = capsys.readouterr().out
    said = f"3 of 8 clips were recorded at 2000 to 12000 Hz, and have nothing in up to {empty} of 64 bands. "
    assert said in heard
    prepare.prepare(config)
    assert said in capsys.readouterr().out  # of shards that are there
    prepare.prepare(replace(config, features=replace(config.features, fmax=1000)))
    assert "recorded at" not in capsys.readouterr().out


def test_what_does_something_is_passed_over(told) -> None:
    heard = told("features.fmax=6000")
    assert "2 classes" in heard
    assert "bands" not in heard
    assert "transfer" not in heard
    assert "recorded" not in heard
    assert "mixing" not in heard
