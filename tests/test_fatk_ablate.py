"""An ablation: rows are checked before anything runs, runs hold out the same clips, and the table adds up."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score

from fatk import ablate, ablation_table, cli, kept, trainer
from fatk.ablation_rows import read_rows
from tests.small_runs import quick, write_beeps

ROOT = Path(__file__).resolve().parents[1]

ROWS = """
[[row]]
name = "plain"
set = ["mixing.kind=none"]

[[row]]
name = "Mix-up, 40 %"
on = "plain"
set = ["mixing.kind=mixup", "mixing.alpha=0.4"]
note = "mixed"
"""


@pytest.fixture
def beeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_beeps(tmp_path / "set", "[[stage]]\nepochs = 1\n")
    path = tmp_path / "set" / "beeps.toml"
    path.write_text(path.read_text().replace("[train]\n", '[train]\nkeep = "last"\n'))
    (tmp_path / "rows.toml").write_text(ROWS)
    monkeypatch.chdir(tmp_path)
    return path


# Rows


def test_rows_build_on_each_other(beeps: Path) -> None:
    found = read_rows(Path("rows.toml"), beeps, ["evaluate.crops=3"])
    plain, mixed = found.values()
    assert (plain[1].mixing.kind, mixed[1].mixing.kind, mixed[1].mixing.alpha) == ("none", "mixup", 0.4)
    assert mixed[0].overrides == ("mixing.kind=none", "mixing.kind=mixup", "mixing.alpha=0.4")
    assert mixed[0].slug == "mix-up-40"
    assert mixed[1].evaluate.crops == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "must hold tables [[row]] and nothing else. Received: none."),
        ("x = 1\n[[row]]\nname = 'a'", "must hold tables [[row]] and nothing else. Received: x."),
        ("[[row]]\nname = 'a'\nsets = []", "row 1: `sets` must be one of name, on, set, note."),
        ("[[row]]\nset = []", "row 1: `name` must have letters or digits. Received: ''."),
        ("[[row]]\nname = 'a b'\n[[row]]\nname = 'A-b'", "row 2: `name` must be no other row's."),
        ("[[row]]\nname = 'a'\non = 'b'", "row 1: `on` must be a row above: none yet. Received: 'b'."),
        ("[[row]]\nname = 'a'\nset = ['seed=3']", "row 1: `set` holds `key=value`, none of name or seed."),
        ("[[row]]\nname = 'a'\nset = 'x'", "row 1: `set` must be a list of `key=value`. Received: 'x'."),
        ("[[row]]\nname = 'a'\nset = ['mixing.alhpa=1']", "Did you mean `mixing.alpha`?"),
    ],
)
def test_rows_that_cannot_be_are_refused(beeps: Path, text: str, told: str) -> None:
    Path("rows.toml").write_text(text)
    with pytest.raises(cli.UserError) as caught:
        read_rows(Path("rows.toml"), beeps)
    assert told in str(caught.value)
    assert str(caught.value).startswith("rows.toml: ")


def test_all_problems_are_told_at_once(beeps: Path) -> None:
    Path("rows.toml").write_text(
        "[[row]]\nname = 'a'\nset = ['mixing.kind=x']\n[[row]]\nname = 'b'\non = 'a'\nset = ['train.ema=2']"
    )
    with pytest.raises(cli.UserError) as caught:
        read_rows(Path("rows.toml"), beeps)
    told = str(caught.value).splitlines()
    assert any("row 'a'" in line and "mixing.kind" in line for line in told)
    assert any("row 'b'" in line and "train.ema" in line for line in told)


def test_the_shipped_rows_fit_their_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = read_rows(Path("benchmarks/fat10_rows.toml"), "fatk/configs/fat10_ablation.toml")
    assert len(found) >= 14
    for name, (row, config) in found.items():
        assert config.train.keep == "last", name
        assert row.on or name == "curated only"
        if config.data.relabel:
            assert Path(config.data.relabel).is_file(), name


@pytest.mark.parametrize("name", ["esc10", "fat10"])
def test_the_shipped_networks_fit_their_configs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One network at the other's epochs and at its time: nothing else differs."""
    monkeypatch.chdir(ROOT)
    base = {"esc10": "fatk/configs/esc10_best.toml", "fat10": "fatk/configs/fat10_ablation.toml"}[name]
    rows = list(read_rows(Path(f"benchmarks/{name}_networks.toml"), base).values())
    assert [config.network.name for _, config in rows] == ["specgram", "densenet121", "densenet121"]
    plain, equal, quick_one = (config.stage[0].epochs for _, config in rows)
    assert quick_one < equal == plain
    alike = [
        replace(config, network=rows[0][1].network, stage=[replace(config.stage[0], epochs=1)])
        for _, config in rows
    ]
    assert alike[1:] == alike[:1] * 2


def test_columns_that_nobody_fills_are_left_out() -> None:
    header, rows = ablation_table.filled_columns(
        ["row", "accuracy, %", "minutes"], [["a", "", "1"], ["b", "", ""]]
    )
    assert (header, rows) == (["row", "minutes"], [["a", "1"], ["b", ""]])


# Runs


@pytest.fixture(scope="module", autouse=True)
def quickly() -> Iterator[None]:
    with quick():
        yield


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.slow
def test_an_ablation(beeps: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["--config", str(beeps), "--rows", "rows.toml", "--seeds", "2"]
    train = trainer.Trainer.go
    started: list[str] = []

    def stopping(self: trainer.Trainer, **asked: bool) -> object:
        """The user stops the last run; then nobody does."""
        started.append(self.run.folder.name)
        if len(started) == 4:
            raise KeyboardInterrupt
        return train(self, **asked)

    monkeypatch.setattr(trainer.Trainer, "go", stopping)
    with pytest.raises(KeyboardInterrupt):
        ablate.main(command)
    names = ["plain-seed3", "mix-up-40-seed3", "plain-seed4", "mix-up-40-seed4"]
    assert started == names  # every row has its first seed before any has its second

    folder = Path("runs/beeps-ablation")
    assert ablate.main([*command, "--report"]) == 0
    assert len(started) == 4
    plain, mixed = table(folder / "ablation.csv")
    assert (plain["seeds"], mixed["seeds"]) == ("2", "1/2")
    assert "1 missing" in " ".join(capsys.readouterr().out.split())

    assert ablate.main([*command, "--out", "kept"]) == 0
    assert started == [*names, names[-1]]
    held = {name: [row["fname"] for row in table(folder / name / "predictions.csv")] for name in names}
    assert len({tuple(own) for own in held.values()}) == 1
    assert len(held[names[0]]) == 4

    # The table, from the runs' own files.
    truth = {row["fname"]: row["labels"] for row in table(folder / names[0] / "splits.csv")}
    wanted = np.array([[truth[name] == c for c in "ab"] for name in held[names[0]]], int)

    def chances(name: str, file: str) -> np.ndarray:
        return np.array([[float(row["a"]), float(row["b"])] for row in table(folder / name / file)])

    def score(*said: np.ndarray) -> float:
        return label_ranking_average_precision_score(wanted, np.mean(said, axis=0))

    plain, mixed = table(folder.parent.parent / "kept" / "ablation.csv")
    for row, slug in ((plain, "plain"), (mixed, "mix-up-40")):
        said = {
            crops: [chances(f"{slug}-seed{seed}", file) for seed in (3, 4)]
            for crops, file in ((1, "predictions-1.csv"), (2, "predictions.csv"), (10, "predictions-10.csv"))
        }
        assert not np.allclose(said[1], said[2], atol=1e-5)
        singles = [score(own) for own in said[2]]
        assert float(row["lwlrap"]) == pytest.approx(np.mean(singles), abs=1e-4)
        assert float(row["deviation"]) == pytest.approx(np.std(singles, ddof=1), abs=1e-4)
        assert float(row["ensemble"]) == pytest.approx(score(*said[2]), abs=1e-4)
        for crops in (1, 2, 10):
            mean = np.mean([score(own) for own in said[crops]])
            assert float(row[f"TTA {crops}"]) == pytest.approx(mean, abs=1e-4)
        right = [(own.argmax(axis=1) == wanted.argmax(axis=1)).mean() for own in said[2]]
        assert float(row["accuracy, %"]) == pytest.approx(100 * np.mean(right), abs=0.01)
        took = [
            json.loads((folder / f"{slug}-seed{n}" / "summary.json").read_text())["seconds"] for n in (3, 4)
        ]
        assert float(row["minutes"]) == pytest.approx(np.median(took) / 60, abs=0.051)
    apart = float(mixed["lwlrap"]) - float(plain["lwlrap"])
    assert float(mixed["difference"]) == pytest.approx(apart, abs=2e-4)
    assert (plain["difference"], mixed["from"]) == ("", "plain")

    # What is kept gives the same table, and names no place of this machine.
    again = kept.read(Path("kept"))
    assert ablation_table.lines(again) == ablation_table.lines(kept.gather(folder))
    for path in Path("kept").iterdir():
        assert str(beeps.parent) not in path.read_text()

    # Runs of other settings do not count.
    with pytest.raises(cli.UserError, match="no finished run"):
        ablate.main([*command, "--report", "train.weight_decay=0.1"])


@pytest.mark.slow
def test_rows_with_shards_of_their_own(beeps: Path, capsys: pytest.CaptureFixture) -> None:
    """They lie in one folder, which the config need not name, and are there for the next seed."""
    beeps.write_text(beeps.read_text().replace('records = "records"\n', ""))
    Path("rows.toml").write_text(
        "[[row]]\nname = 'plain'\nset = ['mixing.kind=none']\n"
        "[[row]]\nname = 'high'\non = 'plain'\nset = ['features.rate=16000']\n"
    )
    command = ["--config", str(beeps), "--rows", "rows.toml", "--seeds", "2", "--tta", "2"]
    assert ablate.main(command) == 0
    rows = table(Path("runs/beeps-ablation/ablation.csv"))
    assert [(row["row"], row["seeds"]) for row in rows] == [("plain", "2"), ("high", "2")]
    assert "plain" in capsys.readouterr().out
    assert [path.name for path in Path("records").iterdir()] == ["beeps"]
    assert len(list(Path("records/beeps").glob("*.tfrecord"))) == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--seeds", "0"], "--seeds must be at least 1"),
        (["--tta", "0"], "--tta must be at least 1"),
        (["--only", "x"], "--only must be one of plain, Mix-up"),
        (["train.keep=best"], "`train.keep` must be 'last' or 'average'"),
    ],
)
def test_what_cannot_be_is_refused(beeps: Path, arguments: list[str], complaint: str) -> None:
    with pytest.raises(cli.UserError, match=complaint):
        ablate.main(["--config", str(beeps), "--rows", "rows.toml", *arguments])


@pytest.mark.slow
def test_a_row_that_fails_does_not_stop_the_others(beeps: Path) -> None:
    Path("rows.toml").write_text(
        "[[row]]\nname = 'wide'\nset = ['train.batch=64']\n[[row]]\nname = 'plain'\nset = []\n"
    )
    command = ["--config", str(beeps), "--rows", "rows.toml", "--seeds", "1", "--tta", "2"]
    with pytest.raises(cli.UserError, match=r"wide, seed 3: `train\.batch` must be at most"):
        ablate.main(command)
    wide, plain = table(Path("runs/beeps-ablation/ablation.csv"))
    assert (wide["seeds"], wide["lwlrap"]) == ("0/1", "")
    assert plain["seeds"] == "1"
    about = json.loads(Path("runs/beeps-ablation/ablation.json").read_text())
    assert [row["name"] for row in about["rows"]] == ["wide", "plain"]
    with pytest.raises(cli.UserError, match=r"wide, seed 3: `train\.batch` must be at most"):
        ablate.main([*command, "--only", "wide", "name=other"])  # nothing at all to report
