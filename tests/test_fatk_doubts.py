"""Settings that do nothing are said beside the set."""

from dataclasses import replace
from pathlib import Path

import librosa
import pytest

from fatk import prepare
from fatk.doubts import doubts
from tests.test_fatk_prepare import Set


@pytest.fixture
def told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def tell(override: str) -> str:
        made = Set(tmp_path)
        made.fill(4)
        prepare.prepare(made.config(override))
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


def test_what_does_something_is_passed_over(told) -> None:
    heard = told("features.fmax=6000")
    assert "2 classes" in heard
    assert "bands" not in heard
    assert "transfer" not in heard
