"""Checkpoints: a training that goes on from one is the same to the bit, and a torn file does not stop it."""

import csv
import signal
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from fatk import checkpoint
from fatk.callbacks import Keeper
from fatk.checkpoint import Progress
from fatk.cli import UserError
from fatk.config import Config, load_config
from fatk.train import Outcome
from fatk.train import train as run_training
from models import schedules
from models.mixup import Mixup
from models.tagger import Tagger
from tests import small_runs
from tests.small_runs import STEPS

CLASSES, SIDE, BATCH = 3, 6, 16


def tagger(seed: int) -> Tagger:
    """A tiny tagger with everything that has a state: norm, dropout, mixing, momentum, metrics."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = keras.layers.Flatten()(image)
    x = keras.layers.Dense(8)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(0.5)(x)
    network = keras.Model(image, keras.layers.Dense(CLASSES)(x))
    made = Tagger(network, Mixup(0.75, seed=seed), name="tagger")
    made.compile(optimizer=schedules.optimizer("one_cycle", 0.01, 20, 0.01, 0.99), loss=None)
    made(batch(0), training=False)
    made.optimizer.build(made.trainable_variables)
    return made


def batch(number: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(number)
    return {
        "image": draw.random((BATCH, SIDE, SIDE, 3)).astype(np.float32),
        "target": np.eye(CLASSES, dtype=np.float32)[draw.integers(0, CLASSES, BATCH)],
    }


def train(model: Tagger, first: int, last: int) -> list[dict[str, float]]:
    """Steps first..last - 1 -> their logs; sums of metrics go on, as within an epoch."""
    return [model.train_on_batch(batch(number), return_dict=True) for number in range(first, last)]


def state(model: Tagger) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable.value) for variable in checkpoint.variables(model)]


@pytest.fixture(scope="module")
def trained() -> Tagger:
    model = tagger(1)
    train(model, 0, 4)
    return model


def test_a_restored_training_goes_on_bit_equal(trained: Tagger, tmp_path: Path) -> None:
    progress = Progress(epoch=1, batch=4, best=0.5, best_epoch=1, seconds=2.5, history=[{"epoch": 1}])
    checkpoint.save(tmp_path, trained, progress)
    undisturbed = train(trained, 4, 8)

    again = tagger(2)  # other weights, other seeds
    stored = checkpoint.latest(tmp_path)
    assert stored is not None
    assert stored[0] == progress
    checkpoint.restore(again, stored[1])
    assert train(again, 4, 8) == undisturbed
    for one, two in zip(state(again), state(trained), strict=True):
        np.testing.assert_array_equal(one, two)


def test_nothing_that_changes_is_left_out(trained: Tagger) -> None:
    paths = [variable.path for variable in checkpoint.variables(trained)]
    assert len(set(map(id, checkpoint.variables(trained)))) == len(paths)
    for part in (
        "moving_mean",
        "seed_generator_state",
        "iteration",
        "momentum",
        "velocity",
        "total",
        "count",
    ):
        assert any(part in path for path in paths), part
    before = state(trained)
    train(trained, 20, 21)
    moved = {path for path, one, two in zip(paths, before, state(trained), strict=True) if (one != two).any()}
    assert sum("seed_generator_state" in path for path in moved) == 2  # of mixing and of dropout


def test_the_last_two_are_kept(trained: Tagger, tmp_path: Path) -> None:
    for epoch, step in ((0, 3), (1, 0), (1, 12), (2, 0), (10, 0)):
        checkpoint.save(tmp_path, trained, Progress(epoch=epoch, batch=step))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "state-00002-0000000.npz",
        "state-00010-0000000.npz",
    ]
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found[0].epoch == 10


def torn(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "empty":
        path.write_bytes(b"")
    elif how == "half":
        path.write_bytes(content[: len(content) // 2])
    elif how == "without its end":
        path.write_bytes(content[:-10])
    elif how == "one bit":
        with zipfile.ZipFile(path) as stored:
            largest = max(stored.infolist(), key=lambda entry: entry.file_size)
        name, extra = struct.unpack_from("<HH", content, largest.header_offset + 26)
        at = largest.header_offset + 30 + name + extra + largest.file_size - 1  # the last byte of an array
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    elif how == "text":
        path.write_text("no checkpoint")


@pytest.mark.parametrize("how", ["empty", "half", "without its end", "one bit", "text"])
def test_a_torn_file_gives_way_to_the_one_before(trained: Tagger, tmp_path: Path, how: str) -> None:
    checkpoint.save(tmp_path, trained, Progress(epoch=1))
    torn(checkpoint.save(tmp_path, trained, Progress(epoch=2)), how)
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found[0].epoch == 1
    assert len(found[1]) == len(checkpoint.variables(trained))


def test_an_unfinished_file_is_no_checkpoint(trained: Tagger, tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path / "none") is None
    (tmp_path / "state-00001-0000000.tmp").write_bytes(b"half")
    assert checkpoint.latest(tmp_path) is None
    torn(checkpoint.save(tmp_path, trained, Progress(epoch=1)), "half")
    assert checkpoint.latest(tmp_path) is None


def test_a_checkpoint_of_another_network_is_refused(trained: Tagger, tmp_path: Path) -> None:
    arrays = state(trained)
    with pytest.raises(ValueError, match=f"{len(arrays) - 1} arrays for {len(arrays)} variables"):
        checkpoint.restore(trained, arrays[:-1])
    wrong = [*arrays]
    wrong[0] = np.zeros((2, 2), np.float32)
    with pytest.raises(ValueError, match="does not fit the network"):
        checkpoint.restore(trained, wrong)
    for one, two in zip(state(trained), arrays, strict=True):
        np.testing.assert_array_equal(one, two)  # and nothing was put in


# Whole runs, of a network that compiles in a moment


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Twenty beeps of two classes, four to validate on; a stage with a frozen trunk, a stage without."""
    return load_config(small_runs.write_beeps(tmp_path_factory.mktemp("beeps") / "set"))


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with small_runs.quick():
        yield


def history(outcome: Outcome) -> list[dict[str, str]]:
    """The rows, timing aside."""
    with outcome.run.history.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return [{k: v for k, v in row.items() if k not in ("seconds", "examples_per_second")} for row in rows]


@pytest.fixture(scope="module")
def undisturbed(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("undisturbed")
        patch.chdir(folder)
        handler = signal.getsignal(signal.SIGINT)
        outcome = run_training(config)
        assert signal.getsignal(signal.SIGINT) is handler  # Ctrl-C is given back, whatever the stages
        return Outcome(type(outcome.run)(folder / outcome.run.folder), outcome.summary, outcome.interrupted)


def stop_at(epoch: int, batch: int, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Ask a run to stop while a batch is being trained; both are counted from 0."""
    heed = Keeper.on_train_batch_end

    def asked(self: Keeper, number: int, logs: object = None) -> None:
        if (self.progress.epoch, self.first_batch + number) == (epoch, batch):
            signal.raise_signal(signal.SIGINT)
        heed(self, number, logs)

    monkeypatch.setattr(Keeper, "on_train_batch_end", asked)
    return monkeypatch


@pytest.mark.slow
def test_an_undisturbed_run(undisturbed: Outcome) -> None:
    assert not undisturbed.interrupted
    assert [(row["epoch"], row["stage"]) for row in history(undisturbed)] == [
        ("1", "0"),
        ("2", "1"),
        ("3", "1"),
    ]


@pytest.mark.slow
def test_a_run_of_other_clips_does_not_go_on(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of fewer, say: a checkpoint would lie beyond the epoch's end, and clips that trained might validate."""
    monkeypatch.chdir(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        stop_at(0, 1, patch)
        run = run_training(config).run
    splits = run.splits.read_text()
    assert ",train," in splits
    run.splits.write_text(splits.replace(",train,", ",valid,", 1))
    with pytest.raises(UserError, match=r"was begun with other clips or labels than the set has now\."):
        run_training(config, resume=True)
    run.splits.write_text(splits)
    exchanged = replace(config, stage=config.stage[::-1])
    with pytest.raises(
        UserError, match=r"was started with other settings, now given: stages in other order\."
    ):
        run_training(exchanged, resume=True)


STOPS = (
    (0, 1, 0),  # in the first epoch: nothing to score yet
    (0, STEPS - 1, 1),  # at the very end of a stage
    (1, 0, 1),
    (1, 2, 1),  # twice in one epoch
    (1, STEPS - 1, 2),
)


@pytest.mark.slow
def test_a_run_stopped_again_and_again_ends_as_if_undisturbed(
    config: Config, undisturbed: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGINT)
    for number, (epoch, batch, rows) in enumerate(STOPS):
        with pytest.MonkeyPatch.context() as patch:
            stop_at(epoch, batch, patch)
            outcome = run_training(config, resume=number > 0)
        assert signal.getsignal(signal.SIGINT) is handler
        assert outcome.interrupted
        assert outcome.summary.get("epochs", 0) == rows
        if rows:
            assert history(outcome) == history(undisturbed)[:rows]
    again = run_training(config, resume=True)
    assert not again.interrupted
    assert history(again) == history(undisturbed)
    for name in ("predictions.csv", "per_class.csv"):
        assert (again.run.folder / name).read_text() == (undisturbed.run.folder / name).read_text()
    kept = [keras.saving.load_model(o.run.network, compile=False).get_weights() for o in (again, undisturbed)]
    for one, two in zip(*kept, strict=True):
        np.testing.assert_array_equal(one, two)
    ours, theirs = again.summary | {"seconds": 0}, undisturbed.summary | {"seconds": 0}
    assert ours == theirs


@pytest.mark.slow
def test_a_finished_run_is_scored_again_when_resumed(
    config: Config, undisturbed: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(undisturbed.run.folder.parents[1])
    before = history(undisturbed)
    undisturbed.run.summary.unlink()
    assert run_training(config, resume=True).summary["epochs"] == 3
    assert undisturbed.run.summary.exists()
    assert history(undisturbed) == before
