"""One clip that cannot be read costs `fatk.evaluate` that clip, not the others' scores."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from fatk import cli, evaluate
from tests.test_fatk_predict_long import CLASSES, make_model
from tests.test_fatk_predict_unread import EMPTY, LOST, clip, damaged, empty


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("run"))


Ran = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def ran(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> Ran:
    """Evaluate these files, each with the next class -> (exit status, standard output, standard error)."""

    def run(out: Path, *files: Path, model: Path = model) -> tuple[int, list[str], list[str]]:
        with (tmp_path / "t.csv").open("w", newline="") as lines:
            labelled = [(path.name, CLASSES[number % 4]) for number, path in enumerate(files)]
            csv.writer(lines).writerows([("fname", "labels"), *labelled])
        given = ["--model", model, "--audio", tmp_path, "--table", tmp_path / "t.csv", "--out", out]
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.run(lambda: evaluate.main([*map(str, given)]))
        shown = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return left.value.code, shown.out.splitlines(), shown.err.splitlines()

    return run


def test_the_others_are_scored_as_without_it(ran: Ran, tmp_path: Path) -> None:
    files = [clip(tmp_path / f"{number}.wav", number) for number in range(12)]
    table, whole, part = tmp_path / "t.csv", tmp_path / "whole.csv", tmp_path / "part.csv"
    status, wanted, nothing = ran(whole, *files)
    assert (status, nothing) == (0, [])
    assert any(line.startswith("12 clips  lwlrap ") for line in wanted)
    # Four of each, so that the others keep their classes.
    flat = [empty(tmp_path / f"flat{number}.wav") for number in range(4)]
    bad = [damaged(tmp_path / f"bad{number}.flac") for number in range(4)]
    status, said, told = ran(part, *files[:4], *flat, *files[4:8], *bad, *files[8:])
    assert status == 1
    wanted[-1] = wanted[-1].replace("whole", "part")
    bar = "predicting "  # which counts, and tells how fast
    assert [line for line in said if bar not in line] == [line for line in wanted if bar not in line]
    assert part.read_bytes() == whole.read_bytes()
    assert told == [
        *(f"fatk: left out: {table}, line {6 + n}: {path}: {EMPTY}" for n, path in enumerate(flat)),
        *(f"fatk: left out: {table}, line {14 + n}: {path}: {LOST}" for n, path in enumerate(bad)),
        "fatk: left out in all: 8 of 20 files",
    ]


def test_what_cannot_be_opened_is_told_before_a_model_is_loaded(ran: Ran, tmp_path: Path) -> None:
    first, flat = clip(tmp_path / "0.wav", 0), empty(tmp_path / "flat.wav")
    status, _, told = ran(tmp_path / "o.csv", first, flat, model=tmp_path / "none")
    assert status == 2
    assert told == [
        f"fatk: left out: {tmp_path / 't.csv'}, line 3: {flat}: {EMPTY}",
        f"fatk: {tmp_path / 'none'}: no such folder (saved_model.pb is missing).",
    ]


def test_where_nothing_can_be_read(ran: Ran, tmp_path: Path) -> None:
    out, flat, bad = tmp_path / "o.csv", empty(tmp_path / "flat.wav"), damaged(tmp_path / "bad.flac")
    status, _, told = ran(out, bad, flat)
    assert (status, told[-1]) == (2, "fatk: none of the 2 files could be read.")
    assert ran(out, flat)[2] == [f"fatk: {tmp_path / 't.csv'}, line 2: {flat}: {EMPTY}"]
    assert not out.exists()
