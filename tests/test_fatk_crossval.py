"""Every fold is held out once for each seed, goes on where it was stopped, and the tables say what was seen."""

import contextlib
import csv
import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile
from sklearn.metrics import label_ranking_average_precision_score

from fatk import cli, crossval, kept, locks, runtime, trainer
from fatk.callbacks import Keeper
from fatk.config import load_config
from fatk.folds import fold_numbers
from fatk.prepare import prepare

pytestmark = pytest.mark.slow

RATE, EACH, FOLDS, THREE = (
    8000,
    6,
    (1, 5),
    (1, 2, 5),
)  # folds with a gap, as tables of published sets may have
CLIPS = EACH * len(FOLDS)
COMMAND = ["--config", "beeps.toml", "--seeds", "1"]


def flat_trunk(image: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.Conv2D(8, (16, 3), (1, 2), activation="relu", name="block1_conv")(image)


def write_set(folder: Path, folds: tuple[int, ...] = FOLDS) -> None:
    """Six beeps a fold, and `beeps.toml`."""
    (folder / "clips").mkdir(exist_ok=True)
    rows = []
    for n in range(EACH * len(folds)):
        time = np.arange(RATE) / RATE
        soundfile.write(
            folder / "clips" / f"{n:02d}.wav",
            0.3 * np.sin(2 * np.pi * (400 + 1500 * (n % 2) + n) * time),
            RATE,
        )
        rows.append((f"{n:02d}.wav", ("low", "high")[n % 2], folds[n // EACH]))
    with (folder / "t.csv").open("w", newline="") as out:
        csv.writer(out).writerows([("fname", "labels", "fold"), *rows])
    (folder / "beeps.toml").write_text(
        'seed = 3\n[data]\nkind = "csv"\npath = "clips"\ntable = "t.csv"\nfold = 1\n'
        f"[features]\nrate = {RATE}\nbands = 16\n"
        '[mixing]\nkind = "none"\n[train]\nbatch = 6\nkeep = "last"\n[evaluate]\ncrops = 2\nbatch = 6\n'
        "[log]\nimages = 1\nclips = 1\n[[stage]]\nepochs = 2\nrate = 1e-2\n"
    )


@pytest.fixture(scope="module", autouse=True)
def quickly() -> Iterator[None]:
    """A network of one layer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(trainer.networks.TRUNKS, "specgram", flat_trunk)
        patch.setattr(runtime, "start", lambda config: keras.utils.set_random_seed(config.seed))
        yield


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set in two folds, and nothing trained yet."""
    write_set(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """-> (where a cross-validation of one seed ran to its end, a copy of all that lies there)."""
    folder, copy = (tmp_path_factory.mktemp(name) for name in ("crossval", "copy"))
    write_set(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert crossval.main(COMMAND) == 0
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    return folder, copy


@pytest.fixture
def finished(trained: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The set after a cross-validation of one seed."""
    folder, copy = trained
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(copy, folder, dirs_exist_ok=True)
    monkeypatch.chdir(folder)
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_folds_and_seeds(place: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["--config", "beeps.toml", "--seeds", "2"]
    train = trainer.Trainer.go
    started: list[str] = []

    def stopping(self: trainer.Trainer, **asked: bool) -> object:
        """The user stops the second run; then nobody does."""
        started.append(self.run.folder.name)
        if len(started) == 2:
            raise KeyboardInterrupt
        return train(self, **asked)

    monkeypatch.setattr(trainer.Trainer, "go", stopping)
    with pytest.raises(KeyboardInterrupt):
        crossval.main(command)
    assert crossval.main(command) == 0
    names = [f"seed{seed}-fold{fold}" for seed in (3, 4) for fold in FOLDS]
    assert started == [names[0], *names[1:2], *names[1:]]  # the finished one is not trained again
    folder = place / "runs" / "beeps-crossval"

    for seed in (3, 4):
        table = rows(folder / f"seed{seed}.csv")
        assert [row["fname"] for row in table] == [f"{n:02d}.wav" for n in range(CLIPS)]
        for number, fold in enumerate(FOLDS):
            own = rows(folder / f"seed{seed}-fold{fold}" / "predictions.csv")
            assert own == table[EACH * number : EACH * (number + 1)]
            trained = {
                row["fname"]
                for row in rows(folder / f"seed{seed}-fold{fold}" / "splits.csv")
                if row["split"] == "train"
            }
            assert len(trained) == CLIPS - EACH
            assert not trained & {row["fname"] for row in own}
    truth = np.array([[1 - n % 2, n % 2] for n in range(CLIPS)])
    chances = np.array([[float(row["low"]), float(row["high"])] for row in rows(folder / "seed4.csv")])
    told = rows(folder / "crossval.csv")
    assert [row["held out"] for row in told] == ["fold 1", "fold 5", "all clips"]
    outside = label_ranking_average_precision_score(truth, chances)
    assert float(told[-1]["lwlrap, seed 4"]) == pytest.approx(outside, abs=1e-4)
    right = (chances.argmax(1) == truth.argmax(1)).mean()
    assert float(told[-1]["accuracy, seed 4"]) == pytest.approx(right, abs=1e-4)
    assert "± " in capsys.readouterr().out


def test_a_fold_that_was_stopped_goes_on_to_its_end(place: Path) -> None:
    """One that has weights to score is not finished for that."""
    first, heed = place / "runs" / "beeps-crossval" / "seed3-fold1", Keeper.on_epoch_end

    def asked(self: Keeper, epoch: int, logs: object = None) -> None:
        signal.raise_signal(signal.SIGTERM)
        heed(self, epoch, logs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Keeper, "on_epoch_end", asked)
        with pytest.raises(KeyboardInterrupt):
            crossval.main(COMMAND)
    assert len(rows(first / "history.csv")) == 1
    assert (first / "best.keras").exists()
    with pytest.raises(cli.UserError, match="no finished run, cross-validation or ablation is there"):
        kept.gather(first.parent)
    assert crossval.main(COMMAND) == 0
    assert len(rows(first / "history.csv")) == 2
    assert json.loads((first / "summary.json").read_text())["epochs"] == 2


def test_a_fold_of_another_process_is_left_until_later(
    finished: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What that one finished is read; it is not trained again."""
    assert crossval.main(COMMAND) == 0
    said = capsys.readouterr().out.splitlines()[-3:]
    folder = finished / "runs" / "beeps-crossval"
    first, aside = folder / "seed3-fold1", finished / "aside"
    first.rename(aside)
    shutil.rmtree(folder / "seed3-fold5")
    train = trainer.Trainer.go
    started: list[str] = []
    other = contextlib.ExitStack()
    assert other.enter_context(locks.hold(first))

    def go(self: trainer.Trainer, **asked: bool) -> object:
        started.append(self.run.folder.name)
        aside.rename(first)
        other.close()
        return train(self, **asked)

    monkeypatch.setattr(trainer.Trainer, "go", go)
    assert crossval.main(COMMAND) == 0
    assert started == ["seed3-fold5"]
    assert capsys.readouterr().out.splitlines()[-3:] == said


def test_other_numbers_of_crops(
    finished: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of runs that are finished too: nothing is trained for them."""
    monkeypatch.setattr(trainer.Trainer, "go", lambda *_: pytest.fail("trained again"))
    same = ["features.seconds=1", "data.fold=1"]
    assert crossval.main([*COMMAND[:2], "--tta", "1", "2", "3", *same, *COMMAND[2:]]) == 0
    said = capsys.readouterr().out
    folder = finished / "runs" / "beeps-crossval"
    truth = {f"{n:02d}.wav": n % 2 for n in range(CLIPS)}
    for crops in (1, 3):
        right = []
        for fold in FOLDS:
            own = rows(folder / f"seed3-fold{fold}" / f"predictions-{crops}.csv")
            right.append(
                np.mean([(float(row["high"]) > float(row["low"])) == truth[row["fname"]] for row in own])
            )
        told = "1 crop" if crops == 1 else f"{crops} crops"
        assert f"with {told} a clip, mean accuracy over folds: {np.mean(right):.4f}" in said
    assert "with 2 crops" not in said  # the config's own
    assert not (folder / "seed3-fold1" / "predictions-2.csv").exists()


def test_inner_scores_come_from_runs_that_saw_neither_fold(
    place: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["--config", "beeps.toml", "--inner"]
    write_set(place, THREE)
    assert crossval.main(command) == 0
    folder = place / "runs" / "beeps-inner"
    fold_of = {f"{n:02d}.wav": THREE[n // EACH] for n in range(EACH * len(THREE))}
    truth = {f"{n:02d}.wav": n % 2 for n in range(EACH * len(THREE))}
    right: dict[tuple[int, int], float] = {}  # (not seen either, judged on): accuracy
    for pair in ((1, 2), (2, 5), (5, 1)):
        run = folder / f"without{pair[0]}-{pair[1]}"
        trained = {row["fname"] for row in rows(run / "splits.csv") if row["split"] == "train"}
        assert {fold_of[name] for name in trained} == set(THREE) - set(pair)
        said = rows(run / "predictions.csv")
        assert {fold_of[row["fname"]] for row in said} == set(pair)
        for unseen, fold in (pair, pair[::-1]):
            own = [row for row in said if fold_of[row["fname"]] == fold]
            assert len(own) == EACH
            hits = [(float(row["high"]) > float(row["low"])) == truth[row["fname"]] for row in own]
            right[unseen, fold] = float(np.mean(hits))
    told = rows(folder / "inner.csv")
    assert [row["not seen"] for row in told] == ["fold 1", "fold 2", "fold 5", "mean"]
    assert [row["judged on"] for row in told][:3] == ["folds 5 and 2", "folds 1 and 5", "folds 2 and 1"]
    means = [np.mean([right[fold, other] for other in THREE if other != fold]) for fold in THREE]
    assert [float(row["accuracy"]) for row in told] == pytest.approx([*means, np.mean(means)], abs=1e-4)

    capsys.readouterr()
    monkeypatch.setattr(trainer.Trainer, "go", None)  # all is finished: nothing is trained
    before = (folder / "inner.csv").read_text()
    assert crossval.main(command) == 0
    assert (folder / "inner.csv").read_text() == before
    assert "without folds" not in capsys.readouterr().out


def test_a_run_does_not_depend_on_those_before_it(finished: Path) -> None:
    """As where a cross-validation was stopped between two folds."""
    run = finished / "runs" / "beeps-crossval" / "seed3-fold5"
    before = (run / "predictions.csv").read_text()
    shutil.rmtree(run)
    assert crossval.main(COMMAND) == 0
    assert (run / "predictions.csv").read_text() == before


def test_other_scoring_trains_nothing(finished: Path, capsys: pytest.CaptureFixture) -> None:
    assert crossval.main([*COMMAND, "--tta", "1", "--export"]) == 0
    folders = [finished / "runs" / "beeps-crossval" / f"seed3-fold{fold}" for fold in FOLDS]
    weights = [(folder / "best.keras").read_bytes() for folder in folders]
    one_crop = [
        np.loadtxt(folder / "predictions-1.csv", delimiter=",", skiprows=1, usecols=(1, 2))
        for folder in folders
    ]
    histories = [(folder / "history.csv").read_text() for folder in folders]
    decisions = [folder / "decisions.json" for folder in folders]
    for path in decisions:
        path.write_text("{}")

    # Scored as before, in tables of six digits: what was made of these scores stays.
    (folders[0] / "summary.json").unlink()
    table = folders[0] / "predictions.csv"
    table.write_text(re.sub(r"\d\.\d+", lambda cell: f"{float(cell[0]):.6f}", table.read_text()))
    assert crossval.main([*COMMAND, "--export"]) == 0
    assert all(path.exists() for path in decisions)

    (folders[1] / "summary.json").unlink()  # stopped while it was scored
    capsys.readouterr()
    assert crossval.main([*COMMAND, "evaluate.crops=1"]) == 0
    assert not any(path.exists() for path in decisions)
    said = " ".join(capsys.readouterr().out.split())
    assert "seed 3, fold 1: `evaluate.crops` was 2; its weights are scored again" in said
    assert "fold 5: `evaluate.crops`" not in said
    assert "epoch 1/2" not in said
    for folder, best, chances, history in zip(folders, weights, one_crop, histories, strict=True):
        assert (folder / "best.keras").read_bytes() == best
        assert (folder / "history.csv").read_text() == history
        scored = np.loadtxt(folder / "predictions.csv", delimiter=",", skiprows=1, usecols=(1, 2))
        np.testing.assert_allclose(scored, chances, atol=2e-6)
        assert load_config(folder / "config.toml").evaluate.crops == 1
        # Of two crops.
        assert not (folder / "predictions-1.csv").exists()
        assert not (folder / "saved_model").exists()

    # What TensorBoard shows changes nothing.
    made = [(folder / "summary.json").stat().st_mtime_ns for folder in folders]
    assert crossval.main([*COMMAND, "evaluate.crops=1", "log.images=2"]) == 0
    assert [(folder / "summary.json").stat().st_mtime_ns for folder in folders] == made


def test_a_run_that_scores_chose_is_trained_anew_by_other_scores(
    place: Path, capsys: pytest.CaptureFixture
) -> None:
    command = [*COMMAND, "train.keep=best"]
    assert crossval.main([*command, "evaluate.crops=1"]) == 0
    capsys.readouterr()
    assert crossval.main(command) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "seed 3, fold 1: `evaluate.crops` was 1; what was finished is now" in said


def test_without_a_checkpoint_nothing_tells_that_a_run_was_trained_to_its_end(
    finished: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.rmtree(finished / "runs" / "beeps-crossval" / "seed3-fold1" / "checkpoints")
    assert crossval.main([*COMMAND, "evaluate.crops=3"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "seed 3, fold 1: `evaluate.crops` was 2; what was finished is now" in said
    assert "seed 3, fold 5: `evaluate.crops` was 2; its weights are scored again" in said


def test_a_finished_run_outlives_a_move_and_a_change(finished: Path, capsys: pytest.CaptureFixture) -> None:
    place, folder = finished, finished / "runs" / "beeps-crossval"
    networks = {fold: (folder / f"seed3-fold{fold}" / "best.keras").stat().st_mtime_ns for fold in FOLDS}

    # The data lie elsewhere, and were copied there at another time.
    (place / "clips").rename(place / "sounds")
    for path in (place / "sounds").iterdir():
        os.utime(path, (1, 1))
    (place / "t.csv").rename(place / "u.csv")
    moved = [*COMMAND, "data.path=sounds", "data.table=u.csv", "data.records=records/moved"]
    capsys.readouterr()
    assert crossval.main(moved) == 0
    assert "finished is now" not in capsys.readouterr().out
    for fold, made in networks.items():
        run = folder / f"seed3-fold{fold}"
        assert (run / "best.keras").stat().st_mtime_ns == made
        assert load_config(run / "config.toml").data.path == str(place / "sounds")

    # Another setting: what was finished stays, apart.
    assert crossval.main([*moved, "train.weight_decay=0.1"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "seed 3, fold 1: `train.weight_decay` was 0.01; what was finished is now" in said
    for fold, made in networks.items():
        name = f"seed3-fold{fold}"
        assert (folder / "before" / name / "best.keras").stat().st_mtime_ns == made
        assert (folder / name / "best.keras").stat().st_mtime_ns > made

    # A clip of another sound.
    soundfile.write(place / "sounds" / "00.wav", np.zeros(RATE), RATE)
    (folder / "seed3-fold5" / "summary.json").unlink()  # was not finished
    assert crossval.main([*moved, "train.weight_decay=0.1"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "seed 3, fold 1: its clips are others than they were; what was finished" in said
    assert "seed 3, fold 5: its clips are others than they were; it begins anew" in said


def test_folds_of_other_clips_are_trained_anew(place: Path, capsys: pytest.CaptureFixture) -> None:
    """The table's folds, or those that another seed draws: settings and labels are what they were."""
    write_set(place, THREE)
    assert crossval.main(COMMAND) == 0
    table = place / "t.csv"
    text = table.read_text()
    first, last = ("00.wav,low,1", "12.wav,low,5")
    assert first in text
    assert last in text
    table.write_text(text.replace(first, first[:-1] + "5").replace(last, last[:-1] + "1"))
    capsys.readouterr()
    assert crossval.main(COMMAND) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("it trained or was judged on other clips; what was finished is now") == 2
    assert "fold 2: it trained" not in said  # which still holds out its own, and trains on the same others
    folder = place / "runs" / "beeps-crossval"
    own = [row["fname"] for row in rows(folder / "seed3-fold1" / "predictions.csv")]
    assert sorted(own) == [f"{n:02d}.wav" for n in (*range(1, 6), 12)]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--seeds", "0"], "--seeds must be at least 1"),
        (["--inner", "--seeds", "2"], "--inner goes without --seeds"),
        (["--inner", "--tta", "2"], "--inner goes without --seeds"),
        (["--tta", "0"], "--tta must be at least 1. Received: 0."),
        (["--inner", "train.keep=best"], "`train.keep` must be 'last' or 'average'"),
        (["--inner"], "--inner needs at least 3 folds"),
    ],
)
def test_what_cannot_be_is_refused(place: Path, arguments: list[str], complaint: str) -> None:
    with pytest.raises(cli.UserError, match=complaint):
        crossval.main(["--config", "beeps.toml", *arguments])


def test_folds_may_be_drawn(place: Path) -> None:
    """Each clip validates once, by the same draw as a run of that fold alone would make."""
    overrides = ["split.kind=kfold", "split.count=2", "name=drawn"]
    text = (place / "beeps.toml").read_text().replace("fold = 1\n", "")
    (place / "plain.toml").write_text(text)
    assert crossval.main(["--config", "plain.toml", "--seeds", "1", *overrides]) == 0
    seen: list[str] = []
    for number in range(2):
        own = rows(place / "runs" / "drawn-crossval" / f"seed3-fold{number}" / "predictions.csv")
        split = prepare(load_config("plain.toml", [*overrides, f"split.number={number}"])).split
        assert [row["fname"] for row in own] == [clip.name for clip in split.valid]
        seen += [row["fname"] for row in own]
    assert sorted(seen) == [f"{n:02d}.wav" for n in range(CLIPS)]


def test_noisy_clips_that_validate_make_no_folds(place: Path) -> None:
    prepared = prepare(load_config("beeps.toml"))
    config = load_config("beeps.toml", ["split.validate=noisy", "split.noisy=full"])
    with pytest.raises(cli.UserError, match=r"`split\.validate` must be 'curated' .* Received: 'noisy'\.$"):
        fold_numbers(config, prepared)


def test_a_config_without_folds_is_refused(place: Path) -> None:
    text = (place / "beeps.toml").read_text().replace("fold = 1\n", "")
    (place / "plain.toml").write_text(text)
    with pytest.raises(cli.UserError, match=r"must name a fold .* `split\.kind` to 'kfold'"):
        crossval.main(["--config", "plain.toml"])
