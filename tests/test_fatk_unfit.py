"""A loss that is no number: the run ends with one line, names the batch's clips and keeps what was good."""

import copy
import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fatk import checkpoint, cli, folders, unfit
from fatk.config import Config, load_config
from fatk.feeds import Feeds
from fatk.prepare import prepare
from fatk.train import main, train
from pipelines.augment_settings import AugmentSettings
from pipelines.reading import Examples
from tests import small_runs
from tests.small_runs import BATCH, STEPS

PLAIN = "mixing.kind=none"  # compiles in half the time
STAGES = "[[stage]]\nepochs = 1\n"


@pytest.fixture(scope="module")
def beeps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_runs.write_beeps(tmp_path_factory.mktemp("beeps") / "set", STAGES)


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with small_runs.quick():
        yield


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def listed() -> list[dict[str, str]]:
    with Path("runs/beeps/nan_batch.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def poison(patch: pytest.MonkeyPatch, clip: str) -> None:
    """One training clip's target is NaN."""
    made = Feeds.training

    def training(self: Feeds, epoch: int = 0, batch: int = 0):
        targets = np.array(self.train.targets)
        targets[self.train.keys.index(clip)] = np.nan
        self.train = replace(self.train, targets=targets)
        return made(self, epoch, batch)

    patch.setattr(Feeds, "training", training)


def batches(config: Config) -> list[set[str]]:
    """The clips of each batch of the first epoch, told by targets of our own."""
    feeds = Feeds(config, prepare(config))
    targets = np.zeros((len(feeds.train), 2), np.float32)
    targets[:, 0] = np.arange(len(feeds.train))
    feeds.train = replace(feeds.train, targets=targets)
    drawn = [batch["target"].numpy()[:, 0].astype(int) for batch in feeds.training().take(STEPS)]
    return [{feeds.train.keys[row] for row in rows} for rows in drawn]


@pytest.mark.slow
def test_a_poisoned_clip_is_found_and_the_run_goes_on_without_it(beeps: Path) -> None:
    config = load_config(beeps, ["train.checkpoint_minutes=1e-9", PLAIN])  # a checkpoint after each batch
    batch = 2
    names = batches(config)[batch]
    clip = min(names)
    with pytest.MonkeyPatch.context() as patch:
        poison(patch, clip)
        with pytest.raises(cli.UserError) as error:
            train(config)
    told = str(error.value)
    assert "\n" not in told
    assert f"stage 0, epoch 1, batch {batch + 1} of {STEPS} (step {batch + 1})" in told
    assert f"runs/beeps/nan_batch.csv lists the batch's {BATCH} clips" in told
    rows = listed()
    assert {row["clip"] for row in rows} == names
    assert [row["clip"] for row in rows if row["target"] != "finite"] == [clip]
    assert all(row["image"] == "finite" and row["drawn_as"] == "training" for row in rows)
    assert all(row["labels"] == "ab"[int(Path(row["clip"]).stem) % 2] for row in rows if row["clip"] != clip)

    run = folders.Run(Path("runs/beeps"))
    stored = checkpoint.latest(run.checkpoints)
    assert stored is not None
    assert (stored[0].epoch, stored[0].batch) == (0, batch)
    assert all(np.isfinite(array).all() for array in stored[1])
    assert not run.network.exists()
    assert train(config, resume=True).summary["epochs"] == 1
    assert not (run.folder / unfit.FILE).exists()  # of a run that came through


@pytest.mark.slow
def test_a_rate_that_is_too_high_ends_the_command(beeps: Path, capsys: pytest.CaptureFixture) -> None:
    """The first step makes weights of 1e38, so the second batch is the first to overflow."""
    with pytest.raises(SystemExit) as ended:
        cli.run(
            lambda: main(["--config", str(beeps), PLAIN, "stage.0.rate=1e38", "stage.0.schedule=constant"])
        )
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"stage 0, epoch 1, batch 2 of {STEPS} (step 2)" in line
    assert len(listed()) == BATCH
    assert not Path("runs/beeps/best.keras").exists()
    assert checkpoint.latest(Path("runs/beeps/checkpoints")) is None


@pytest.mark.slow
def test_a_validation_that_is_not_finite(beeps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation = Feeds.evaluation

    def poisoned(self: Feeds, examples: Examples, with_rows: bool = False):
        examples = replace(examples, targets=np.where(examples.targets, np.float32(np.inf), 0))
        return evaluation(self, examples, with_rows)

    monkeypatch.setattr(Feeds, "evaluation", poisoned)
    with pytest.raises(cli.UserError, match="validation loss is not finite in stage 0, epoch 1"):
        train(load_config(beeps, [PLAIN]))
    assert not Path("runs/beeps/nan_batch.csv").exists()


@pytest.fixture(scope="module")
def feeds(beeps: Path) -> Feeds:
    config = load_config(beeps)
    return Feeds(config, prepare(config))


def test_the_noisy_draw_is_told_apart(feeds: Feeds) -> None:
    """Which clips a batch had, of both sets that are fed side by side."""
    two, half = copy.copy(feeds), len(feeds.train) // 2

    def part(which: slice) -> Examples:
        whole = feeds.train
        return replace(whole, keys=whole.keys[which], targets=whole.targets[which])

    two.train, two.noisy = part(slice(half)), part(slice(half, None))
    two.steps = half // BATCH
    found = unfit.batch_clips(two, 2, 1)
    assert [clip.drawn_as for clip in found] == ["training"] * BATCH + ["noisy"] * BATCH
    assert {clip.clip for clip in found[:BATCH]} < set(two.train.keys)
    assert {clip.clip for clip in found[BATCH:]} < set(two.noisy.keys)
    assert all(clip.image == clip.target == "finite" for clip in found)


def test_what_was_mixed_in_is_told(feeds: Feeds) -> None:
    """Found by targets of one class a clip: a mixture's are those of both, here in shares that are not told."""
    mixing, size = copy.copy(feeds), 8
    mixing.config = replace(feeds.config, augment=AugmentSettings(mix=0.5, mix_labels="share"))
    mixing.settings = replace(feeds.settings, batch=size)
    count = len(feeds.train)
    mixing.train = replace(feeds.train, targets=np.eye(count, dtype=np.float32))
    mixing.prepared = SimpleNamespace(classes=[f"class {n}" for n in range(count)])
    drawn = next(iter(mixing.training(1, 1)))["target"].numpy()
    found = unfit.batch_clips(mixing, 1, 1)
    for clip, target in zip(found, drawn, strict=True):
        heard = {mixing.train.keys[row] for row in np.flatnonzero(target)}
        assert heard == {clip.clip} | ({clip.mixed_with} if clip.mixed_with else set())
    assert 0 < sum(bool(clip.mixed_with) for clip in found) < size
