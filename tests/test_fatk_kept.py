"""Which weights a run keeps, and in which epochs it validates."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fatk.config import load_config
from fatk.train import train
from models import networks
from tests.small_runs import quick, write_beeps

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def quickly() -> Iterator[None]:
    with quick():
        yield


def test_the_mean_of_the_last_epochs_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_beeps(tmp_path, "[[stage]]\nepochs = 1\nfreeze = true\n[[stage]]\nepochs = 4\nrate = 0.1\n")
    monkeypatch.chdir(tmp_path)
    wanted = ["train.keep=average", "train.average=3", "train.validate_every=3", "mixing.kind=none"]
    outcome = train(load_config(path, wanted))

    files = sorted(outcome.run.averaged.iterdir())
    assert [file.name for file in files] == ["epoch00003.keras", "epoch00004.keras", "epoch00005.keras"]
    each = [networks.load(file).get_weights() for file in files]
    for kept, *own in zip(networks.load(outcome.run.network).get_weights(), *each, strict=True):
        np.testing.assert_allclose(kept, np.mean(own, axis=0), rtol=1e-6, atol=1e-7)
    assert any((first != last).any() for first, last in zip(each[0], each[-1], strict=True))

    with outcome.run.history.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    # Every third epoch, and the last one of each stage.
    assert [row["epoch"] for row in rows if row["val_lwlrap"]] == ["1", "3", "5"]
    assert all(bool(row["val_loss"]) == bool(row["val_lwlrap"]) for row in rows)


def test_the_best_of_the_validated_epochs_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_beeps(tmp_path, "[[stage]]\nepochs = 4\nrate = 0.1\n")
    monkeypatch.chdir(tmp_path)
    outcome = train(load_config(path, ["train.validate_every=2", "mixing.kind=none"]))
    with outcome.run.history.open(newline="") as lines:
        scores = {int(row["epoch"]): row["val_lwlrap"] for row in csv.DictReader(lines)}
    assert [epoch for epoch, score in scores.items() if score] == [2, 4]
    best = max((2, 4), key=lambda epoch: float(scores[epoch]))
    assert outcome.summary["best_epoch"] == best
    assert outcome.summary["val_lwlrap"] == pytest.approx(float(scores[best]), abs=1e-4)
