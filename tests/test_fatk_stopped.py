"""Runs that are stopped: nobody misses an epoch, no second is lost, and nothing that is needed is deleted."""

import csv
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fatk import cli, crossval, folders
from fatk.callbacks import Keeper
from fatk.config import Config, load_config
from fatk.tensorboard import Board
from fatk.train import train
from models import networks
from models.settings import NetworkSettings
from tests.small_runs import quick, write_beeps

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def quickly() -> Iterator[None]:
    with quick():
        yield


@pytest.fixture
def beeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_beeps(tmp_path, "[[stage]]\nepochs = 2\n")


def config(path: Path, *more: str) -> Config:
    return load_config(path, ["mixing.kind=none", *more])


def rows(run: folders.Run) -> list[dict[str, str]]:
    with run.history.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_a_wish_to_stop_at_an_epochs_end_hides_it_from_nobody(
    beeps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, tell, end = [], Board.on_epoch_end, Keeper.on_epoch_end

    def listen(self: Board, epoch: int, logs: object = None) -> None:
        heard.append(epoch)
        tell(self, epoch, logs)

    def asked(self: Keeper, epoch: int, logs: object = None) -> None:
        signal.raise_signal(signal.SIGTERM)
        end(self, epoch, logs)

    monkeypatch.setattr(Board, "on_epoch_end", listen)
    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "on_epoch_end", asked)
        assert train(config(beeps)).interrupted
    assert heard == [0]
    assert not train(config(beeps), resume=True).interrupted
    assert heard == [0, 1]


def test_seconds_before_a_stop_within_an_epoch_count(beeps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heed = Keeper.on_train_batch_end

    def asked(self: Keeper, batch: int, logs: object = None) -> None:
        if self.progress.epoch == 1:
            time.sleep(2)
            signal.raise_signal(signal.SIGTERM)
        heed(self, batch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "on_train_batch_end", asked)
        outcome = train(config(beeps))
    first = outcome.summary["seconds"]
    assert first >= 2
    train(config(beeps), resume=True)
    told = json.loads(outcome.run.summary.read_text())
    assert float(rows(outcome.run)[1]["seconds"]) >= 2
    assert told["seconds"] == pytest.approx(sum(float(row["seconds"]) for row in rows(outcome.run)), abs=0.2)
    assert told["seconds"] >= first


def test_what_training_began_from_may_be_gone_when_it_goes_on(
    beeps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = train(config(beeps, "name=before")).run
    asked, end = config(beeps, f"train.init={before.network}"), Keeper.on_epoch_end

    def stop(self: Keeper, epoch: int, logs: object = None) -> None:
        signal.raise_signal(signal.SIGTERM)
        end(self, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "on_epoch_end", stop)
        assert train(asked).interrupted
    before.network.unlink()
    assert train(asked, resume=True).summary["epochs"] == 2
    with pytest.raises(cli.UserError, match=r"`train\.init`: .*: no network"):
        train(config(beeps, f"train.init={before.network}", "name=anew"))


def test_a_run_that_goes_on_asks_for_no_pretrained_weights(
    beeps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, build, end = [], networks.build, Keeper.on_epoch_end

    def noted(settings: NetworkSettings, *shape: Any) -> Any:
        asked.append(settings.pretrained)
        return build(settings, *shape)

    def stop(self: Keeper, epoch: int, logs: object = None) -> None:
        signal.raise_signal(signal.SIGTERM)
        end(self, epoch, logs)

    monkeypatch.setattr(networks, "build", noted)
    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "on_epoch_end", stop)
        assert train(config(beeps)).interrupted
    run = train(config(beeps), resume=True).run
    assert asked == [True, False]
    assert load_config(run.config).network.pretrained


def test_more_batches_to_a_step_than_a_stage_has_are_refused(beeps: Path) -> None:
    with pytest.raises(cli.UserError) as caught:
        train(config(beeps, "train.accumulate=9"))
    assert str(caught.value) == (
        "`train.accumulate` must be at most 8, the batches of `stage.0`: it would train nothing. Received: 9."
    )
    assert not Path("runs/beeps").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_no_run_is_left_alone(beeps: Path, overwrite: bool) -> None:
    kept = Path("runs/beeps/seed3-fold1/best.keras")
    kept.parent.mkdir(parents=True)
    kept.write_text("a fold of a cross-validation")
    with pytest.raises(
        cli.UserError, match=r"runs/beeps: is no run, and is left alone\. Give name=another\."
    ):
        train(config(beeps), overwrite=overwrite)
    assert kept.exists()


def test_teachers_are_not_overwritten_by_those_whom_they_teach(beeps: Path) -> None:
    with pytest.raises(
        cli.UserError, match=r"is the folder that these runs are written to\. Give name=another"
    ):
        crossval.main(["--config", str(beeps), "--teachers", "runs/../runs/beeps-crossval"])
