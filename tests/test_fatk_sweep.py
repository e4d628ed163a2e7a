"""The sweep: a space is checked before anything runs, and a search that is stopped ends as if it never was."""

import csv
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fatk import cli, folders, prepare, runtime, sweep_run
from fatk.config import Config, ConfigError, load_config
from fatk.sweep import Sweep, main
from fatk.sweep_space import Choices, Range, read_space
from fatk.train import Outcome, train
from pipelines.sources import DataError
from tests import small_runs

RATE = '"stage.0.rate" = { low = 1e-4, high = 1e-2, log = true }\n'


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.toml").write_text('[data]\nkind = "demo"\n[[stage]]\nepochs = 5\nrate = 1e-3\n')


def space(text: str) -> Path:
    path = Path("space.toml")
    path.write_text(f"[space]\n{text}")
    return path


# Spaces


def test_a_space_is_read() -> None:
    found = read_space(
        space(
            RATE
            + '"loss.smoothing" = { low = 0, high = 0.2, step = 0.05 }\n'
            + '"network.dropout" = { low = 0, high = 0.9 }\n"train.groups" = { low = 2, high = 5 }\n'
            + 'mixing.alpha = { choices = [0, 0.4] }\n"features.format" = { choices = ["APD", "APX"] }\n'
        ),
        "c.toml",
    )
    assert found == {
        "stage.0.rate": Range(1e-4, 1e-2, log=True),
        "loss.smoothing": Range(0.0, 0.2, step=0.05),
        "network.dropout": Range(0.0, 0.9),
        "train.groups": Range(2, 5),
        "mixing.alpha": Choices((0.0, 0.4)),
        "features.format": Choices(("APD", "APX")),
    }
    assert isinstance(found["network.dropout"].low, float)  # whole numbers of a float are floats
    assert isinstance(found["train.groups"].low, int)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '"loss.smothing" = { low = 0, high = 0.2 }',
            "`loss.smothing` is no key. Did you mean `loss.smoothing`?",
        ),
        ('"stage.1.rate" = { low = 0.1, high = 0.2 }', "'1' must be a number from 0 to 0"),
        (
            '"loss.smoothing" = { low = 0.2, high = 0.1 }',
            "`low` must be below `high`. Received: 0.2 and 0.1.",
        ),
        (
            '"loss.smoothing" = { low = 0.0, high = 1.5 }',
            "`loss.smoothing` must be from 0 to under 1. Received: 1.5.",
        ),
        (
            '"loss.smoothing" = { low = 0.0, high = 0.2, log = true }',
            "`low` must be above 0 where `log` is true",
        ),
        (
            '"loss.smoothing" = { low = 0.0, high = 0.2, log = 1 }',
            "`log` must be true or false. Received: 1.",
        ),
        ('"loss.smoothing" = { low = 0.0, high = 0.2, step = 0.15 }', "`step` must divide high - low, 0.2,"),
        ('"loss.smoothing" = { low = 0.0, high = "1" }', "`high` must be a number. Received: '1'."),
        ('"loss.smoothing" = { low = 0.0 }', "must have low and high, or choices. Received: low."),
        (
            '"loss.smoothing" = { from = 0.0, high = 1 }',
            "takes low, high, log, step, or choices. Received: from.",
        ),
        ('"loss.smoothing" = 0.1', "must be a table, as in"),
        (
            '"loss.smoothing" = { choices = [] }',
            "must be a list of numbers, strings or booleans. Received: [].",
        ),
        ('"loss.smoothing" = { choices = [0, 0.0] }', "`choices` must all differ"),
        ('"loss.smoothing" = { choices = [0.1], low = 0 }', "`choices` stands alone"),
        ('"train.batch" = { low = 8, high = 32.5 }', "`train.batch`"),
        (
            '"network.name" = { choices = ["specgram", "vgg"] }',
            "`network.name` must be one of specgram, densenet121",
        ),
    ],
)
def test_what_is_wrong_with_a_space_is_one_line(text: str, told: str) -> None:
    with pytest.raises(cli.UserError) as error:
        read_space(space(text), "c.toml")
    (line,) = str(error.value).splitlines()
    assert line.startswith("space.toml: `")
    assert told in line


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(cli.UserError) as error:
        read_space(space('"a.b" = { choices = [1] }\n"seed" = { low = 1, high = 0 }'), "c.toml")
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize("text", ["", "space = 1", "[space]", "[other]\na = 1", "[space", None])
def test_a_file_without_a_space(text: str | None) -> None:
    if text is not None:
        Path("space.toml").write_text(text)
    with pytest.raises(cli.UserError, match=r"^space\.toml: "):
        read_space(Path("space.toml"), "c.toml")


def test_values_that_go_together_alone_are_taken() -> None:
    """A first rate must be at most the rate: neither end is below both of the config's own rates."""
    Path("c.toml").write_text('[data]\nkind = "demo"\n[[stage]]\nrate = 1e-3\nfirst_rate = 1e-4\n')
    text = '"stage.0.rate" = { low = 1e-5, high = 1e-2 }\n'
    with pytest.raises(cli.UserError, match=r"space\.toml: `stage\.0\..*first_rate` must be above 0"):
        read_space(space(text), "c.toml")
    read_space(space(text + '"stage.0.first_rate" = { low = 1e-6, high = 1e-5 }'), "c.toml")


# The search, with runs that cost nothing

SPACE = (
    f"{RATE}"
    '"loss.smoothing" = { low = 0.0, high = 0.6, step = 0.1 }\n'
    '"train.groups" = { low = 2, high = 5 }\n'
    '"mixing.kind" = { choices = ["none", "mixup"] }\n'
)


def score(config: Config) -> float:
    """Best at a rate of 1e-3."""
    return 1 / (1 + abs(config.stage[0].rate - 1e-3) * 1000)


def fake(
    monkeypatch: pytest.MonkeyPatch, ends: Callable[[int], Any] = lambda number: None
) -> list[tuple[str, Config]]:
    """Runs that report two epochs and end as `ends` of their number says -> what was run, as it is run."""
    seen: list[tuple[str, Config]] = []

    def train(run: folders.Run, config: Config, shown: Sequence[str], report: sweep_run.Report) -> Outcome:
        assert tuple(shown) == tuple(read_space(Path("space.toml"), "c.toml"))
        number = int(run.folder.name)
        seen.append((str(run.folder), config))
        value = score(config)
        for epoch in (1, 2):
            report(epoch, value * epoch / 2)
        end = ends(number)
        if isinstance(end, BaseException):
            raise end
        return Outcome(run, {"val_lwlrap": value, "best_epoch": 2, "seconds": 1.5}, end == "interrupted")

    monkeypatch.setattr(sweep_run, "train", train)
    monkeypatch.setattr(sweep_run, "ready", lambda config, verbose: None)
    return seen


def table() -> list[dict[str, str]]:
    with Path("runs/c-sweep/sweep.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def go(runs: int, *overrides: str, prune: bool = False) -> None:
    Sweep("c.toml", overrides, Path("space.toml"), prune).go(runs)


def plain(seen: list[tuple[str, Config]], place: Path) -> list[Config]:
    """Settings of runs, without the folder of their shards, which is the same for all."""
    assert {config.data.records for _, config in seen} == {str(place / "records" / "c")}
    return [replace(config, data=replace(config.data, records="")) for _, config in seen]


def test_a_search_that_is_stopped_draws_what_it_would_have_drawn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    space(SPACE)
    whole = fake(monkeypatch)
    go(14)  # the estimator has taken over from chance, which has the first ten
    undisturbed = table()
    assert [folder for folder, _ in whole] == [f"runs/c-sweep/{n:03d}" for n in range(14)]
    assert len({config.stage[0].rate for _, config in whole}) == 14
    assert {config.seed for _, config in whole} == {load_config("c.toml").seed}
    assert [config.name for _, config in whole] == [f"c-{n:03d}" for n in range(14)]

    (tmp_path / "again").mkdir()
    monkeypatch.chdir(tmp_path / "again")
    Path("c.toml").write_text((tmp_path / "c.toml").read_text())
    space(SPACE)
    parts = fake(monkeypatch, lambda number: "interrupted" if number == 5 and len(parts) == 6 else None)
    go(3)
    assert len(parts) == 3
    with pytest.raises(KeyboardInterrupt):
        go(14)
    assert len(table()) == 5
    capsys.readouterr()
    go(14)
    assert [folder for folder, _ in parts[5:7]] == ["runs/c-sweep/005"] * 2
    here = plain(parts[:5] + parts[6:], tmp_path / "again")
    assert here == plain(whole, tmp_path)
    assert table() == undisturbed
    assert "best: runs/c-sweep/" in capsys.readouterr().out
    go(14)
    assert len(parts) == 15  # nothing was left to run


def test_the_table_is_sorted_and_runs_that_fail_are_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    space(SPACE)
    fake(monkeypatch, lambda number: cli.UserError("the loss is not\nfinite") if number == 1 else None)
    go(4)
    rows = table()
    assert [row["ended"] for row in rows] == ["finished"] * 3 + ["failed"]
    values = [float(row["val_lwlrap"]) for row in rows[:3]]
    assert values == sorted(values, reverse=True)
    assert rows[3]["run"] == "001"
    assert rows[3]["problem"] == "the loss is not finite"
    assert rows[0]["epochs"] == "2"
    assert {row["loss.smoothing"] for row in rows} <= {"0.0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6"}
    for row in rows[:3]:
        assert float(row["val_lwlrap"]) == pytest.approx(
            1 / (1 + abs(float(row["stage.0.rate"]) - 1e-3) * 1000)
        )


def test_settings_that_do_not_go_together_are_a_failed_run(monkeypatch: pytest.MonkeyPatch) -> None:
    space('"loss.name" = { choices = ["lsep", "bce"] }\n"loss.smoothing" = { choices = [0.0, 0.1] }')
    seen = fake(monkeypatch)
    go(8)
    failed = [row for row in table() if row["ended"] == "failed"]
    assert failed
    assert {(row["loss.name"], row["loss.smoothing"]) for row in failed} == {("lsep", "0.1")}
    assert "not for" not in failed[0]["problem"]
    assert "must be 0 with 'lsep'" in failed[0]["problem"]
    assert len(seen) == 8 - len(failed)


def test_runs_below_the_median_are_pruned_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    space(SPACE)
    fake(monkeypatch)
    go(12, prune=True)
    ended = {row["run"]: row["ended"] for row in table()}
    assert "pruned" in ended.values()
    assert all(ended[f"{n:03d}"] == "finished" for n in range(4))
    pruned = [float(row["val_lwlrap"]) for row in table() if row["ended"] == "pruned"]
    assert max(pruned) < float(table()[0]["val_lwlrap"])


def test_another_space_or_config_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    space(RATE)
    fake(monkeypatch)
    go(1)
    space(SPACE)
    with pytest.raises(cli.UserError, match="runs/c-sweep: was started with another space"):
        go(2)
    space(RATE)
    with pytest.raises(cli.UserError, match="was started with another config"):
        go(2, "train.batch=16")
    go(1, "name=other", "train.batch=16")
    assert Path("runs/other-sweep/study.db").exists()


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    space(RATE)
    seen = fake(monkeypatch)
    assert (
        main(["--config", "c.toml", "--runs", "2", "space.toml", "train.batch=16", "stage.0.epochs=2"]) == 0
    )
    assert [config.train.batch for _, config in seen] == [16, 16]
    out = capsys.readouterr().out
    assert "run 2 of 2: stage.0.rate = " in out
    assert "python -m fatk.train --config runs/c-sweep/" in out
    with pytest.raises(cli.UserError, match=r"--runs must be at least 1\. Received: 0\."):
        main(["--config", "c.toml", "--runs", "0", "space.toml"])
    with pytest.raises(ConfigError):
        main(["--config", "none.toml", "--runs", "1", "space.toml"])
    with sqlite3.connect("runs/c-sweep/study.db") as study:
        assert study.execute("select count(*) from trials").fetchone() == (2,)
    study.close()


def test_a_run_that_was_killed_in_the_drawing_is_drawn_and_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import optuna

    space(SPACE)
    seen = fake(monkeypatch)
    go(1)
    storage = optuna.storages.RDBStorage("sqlite:///runs/c-sweep/study.db")
    trial = optuna.load_study(study_name="c", storage=storage).ask()
    trial.suggest_float("stage.0.rate", 1e-4, 1e-2, log=True)
    storage.remove_session()
    storage.engine.dispose()
    go(2)
    assert [row["ended"] for row in table()] == ["finished"] * 2
    assert seen[1][1].stage[0].rate == trial.params["stage.0.rate"]


# The search, with clips that are prepared and networks that are not


@pytest.fixture
def beeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a config that names no folder for its shards."""

    class Untrained:
        def __init__(self, run: folders.Run, *told: Any):
            self.run = run

        def go(self, exported: bool) -> Outcome:
            return Outcome(self.run, {"val_lwlrap": 0.5, "best_epoch": 1, "seconds": 1.5}, False)

    monkeypatch.setattr(sweep_run, "Trainer", Untrained)
    monkeypatch.setattr(runtime, "start", lambda config: None)
    path = small_runs.write_beeps(tmp_path / "set", "[[stage]]\nepochs = 1\n")
    path.write_text(path.read_text().replace('records = "records"\n', ""))
    return path


def search(config: Path, runs: int, *overrides: str) -> list[dict[str, str]]:
    """-> the table of what is over."""
    Sweep(str(config), overrides, Path("space.toml")).go(runs)
    with Path("runs/beeps-sweep/sweep.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_all_runs_read_the_same_shards(beeps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[Path] = []
    encode = prepare.encode_all

    def counting(missing: list, rate: int, folder: Path, *told: Any) -> None:
        encoded.append(folder)
        encode(missing, rate, folder, *told)

    monkeypatch.setattr(prepare, "encode_all", counting)
    space('"features.rate" = { choices = [8000, 16000] }')
    rows = search(beeps, 6)
    rates = [row["features.rate"] for row in sorted(rows, key=lambda row: row["run"])]
    assert [row["ended"] for row in rows] == ["finished"] * 6
    assert sum(one != other for one, other in pairwise(rates)) > 1  # to and fro
    assert len(encoded) == 2  # once a rate
    assert {folder.resolve() for folder in encoded} == {Path("records/beeps").resolve()}


def test_a_set_that_is_drawn_has_shards_of_its_own(beeps: Path) -> None:
    shutil.copytree(beeps.parent / "clips", beeps.parent / "copy")
    space('"data.path" = { choices = ["set/clips", "set/copy"] }')
    rows = search(beeps, 4)
    assert {row["data.path"] for row in rows} == {"set/clips", "set/copy"}
    assert [row["ended"] for row in rows] == ["finished"] * 4


def test_a_draw_that_leaves_no_clip_is_a_failed_run(beeps: Path) -> None:
    trained = "".join(f"{n:02d}.wav,0.5,\n" for n in range(small_runs.VALID, small_runs.CLIPS))
    Path("audit.csv").write_text("fname,score,suggested_labels\n" + trained)
    space('"labels.relabel_share" = { choices = [0.0, 1.0] }')
    rows = search(beeps, 6, "data.relabel=audit.csv")
    assert {(row["labels.relabel_share"], row["ended"]) for row in rows} == {
        ("0.0", "finished"),
        ("1.0", "failed"),
    }
    assert "no clip is left to train on" in rows[-1]["problem"]


def test_what_is_wrong_with_the_set_ends_the_search(beeps: Path) -> None:
    shutil.move(beeps.parent / "clips", beeps.parent / "away")
    space(RATE)
    with pytest.raises(DataError, match="clips"):
        search(beeps, 3)
    with sqlite3.connect("runs/beeps-sweep/study.db") as study:
        assert study.execute("select count(*) from trials").fetchone() == (0,)  # none is used up
    study.close()
    shutil.move(beeps.parent / "away", beeps.parent / "clips")
    assert [row["ended"] for row in search(beeps, 3)] == ["finished"] * 3


@pytest.mark.slow
def test_a_search_trains(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A run, then another; it is what the same settings give alone."""
    small_runs.write_beeps(tmp_path / "set", "[[stage]]\nepochs = 1\n")
    path = space('"stage.0.rate" = { low = 1e-3, high = 1e-1, log = true }')
    given = ["--config", "set/beeps.toml", str(path), "mixing.kind=none"]
    with small_runs.quick():
        assert main([*given, "--runs", "1"]) == 0
        assert {place.name for place in Path("runs/beeps-sweep").iterdir()} == {
            "000",
            "study.db",
            "sweep.csv",
        }
        assert main([*given, "--runs", "2"]) == 0
        run = folders.Run(Path("runs/beeps-sweep/001"))
        alone = load_config(run.config, ["name=alone"])
        outcome = train(alone)
    with Path("runs/beeps-sweep/sweep.csv").open(newline="") as lines:
        rows = {row["run"]: row for row in csv.DictReader(lines)}
    assert sorted(rows) == ["000", "001"]
    assert float(rows["001"]["val_lwlrap"]) == outcome.summary["val_lwlrap"]
    assert float(rows["001"]["stage.0.rate"]) == alone.stage[0].rate
    assert outcome.run.predictions.read_text() == run.predictions.read_text()
    assert capsys.readouterr().err == ""
