"""One file that cannot be read costs `fatk.predict` that file, not the others' answers."""

import csv
import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fatk import audio, cli, predict, predict_long
from fatk.tagger import SavedTagger
from pipelines.sources import DataError
from tests.test_fatk_audio import cut, piped
from tests.test_fatk_predict_long import RATE, SEGMENT, make_model, rows, sweep, write

EMPTY = "the file is empty (0 bytes)."
LOST = "decoding failed (Error : flac decoder lost sync.)."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("run"))


@pytest.fixture
def ran(model: Path, capsys: pytest.CaptureFixture) -> Callable[..., tuple[int, list[str], list[str]]]:
    """Run the command -> (exit status, lines on standard output, on standard error)."""

    def run(*arguments: object) -> tuple[int, list[str], list[str]]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.run(lambda: predict.main(["--model", str(model), *map(str, arguments)]))
        shown = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return left.value.code, shown.out.splitlines(), shown.err.splitlines()

    return run


Ran = Callable[..., tuple[int, list[str], list[str]]]


def clip(path: Path, seed: int) -> Path:
    return write(path, sweep(1 + 0.2 * seed, seed=seed), subtype="PCM_16")


def empty(path: Path) -> Path:
    path.touch()
    return path


def damaged(path: Path, seconds: float = 2.0) -> Path:
    """A FLAC file whose header is whole and whose end is gone."""
    return cut(write(path, sweep(seconds, seed=99), subtype="PCM_16"), 0.8)


def asked(table: Path, names: Sequence[str]) -> Path:
    with table.open("w", newline="") as lines:
        csv.writer(lines).writerows([("fname",), *((name,) for name in names)])
    return table


def test_a_folder_with_files_that_cannot_be_read(ran: Ran, tmp_path: Path) -> None:
    folder = tmp_path / "field"
    folder.mkdir()
    first, last = clip(folder / "a.wav", 0), clip(folder / "f.wav", 1)
    long = write(folder / "g.flac", sweep(3 * SEGMENT))
    mixed = (
        f"fatk: a score with a time is the best window's, of {long}; one without is the mean over the file"
    )
    status, wanted, told = ran(folder)
    assert (status, len(wanted), told) == (0, 3, [mixed])
    flat, broken = empty(folder / "b.wav"), damaged(folder / "e.flac")
    (folder / "._a.wav").write_bytes(b"\x00\x05\x16\x07 of a Mac")
    for given in (folder, folder / "*", f"{folder}/**/*.*"):
        status, said, told = ran(given)
        assert (status, said) == (1, wanted)
        assert told == [
            f"fatk: left out: {flat}: {EMPTY}",
            mixed,
            f"fatk: left out: {broken}: {LOST}",
            "fatk: left out in all: 2 of 5 files",
        ]
    status, said, told = ran(first, "gone.wav", last, long)
    assert (status, said) == (1, wanted)
    assert told == ["fatk: left out: gone.wav: no such file.", mixed, "fatk: left out in all: 1 of 4 files"]


def test_the_others_of_a_batch_keep_their_own_scores(model: Path, tmp_path: Path) -> None:
    files = [clip(tmp_path / f"{number}.wav", number) for number in range(11)]
    tagger = SavedTagger(model)
    wanted = list(predict.score(tagger, files, None))
    for place in (0, 5, 9, 12, 13):
        files.insert(place, damaged(tmp_path / f"bad{place}.flac"))
    found = list(predict.score(tagger, files, None))
    bad = [place for place, path in enumerate(files) if path.suffix == ".flac"]
    assert [place for place, said in enumerate(found) if isinstance(said, audio.UnreadableError)] == bad
    found = [said for said in found if not isinstance(said, audio.UnreadableError)]
    # The length that a batch is filled up to differs, and with it the order of sums.
    np.testing.assert_allclose(np.stack(found), np.stack(wanted), atol=1e-6)
    assert np.abs(np.diff(np.stack(wanted), axis=0)).max(1).min() > 1e-4  # else mixing them up would not show
    chances, unread = predict.score_with_bar(tagger, files, None)
    np.testing.assert_array_equal(chances, np.stack(found))
    assert {place: str(why) for place, why in unread.items()} == dict.fromkeys(bad, LOST.removesuffix("."))


def test_a_table_is_checked_before_anything_is_scored(tmp_path: Path) -> None:
    names = [clip(tmp_path / f"{number}.wav", number).name for number in range(3)]
    empty(tmp_path / "none.wav")
    table = asked(tmp_path / "t.csv", [*names, "none.wav"])
    given = ["--audio", str(tmp_path), "--table", str(table), "--out", str(tmp_path / "o.csv")]
    with pytest.raises(DataError) as told:  # before the model, which is not there
        predict.main(["--model", str(tmp_path / "no model"), *given])
    assert str(told.value) == f"{table}, line 5: {tmp_path / 'none.wav'}: {EMPTY}"
    (tmp_path / "none.wav").write_text("no sound at all")
    with pytest.raises(DataError, match=r"line 5: .*none\.wav: not a sound file that libsndfile reads"):
        predict.main(["--model", str(tmp_path / "no model"), *given])


def test_a_table_with_a_clip_that_turns_out_damaged(ran: Ran, tmp_path: Path) -> None:
    names = [clip(tmp_path / f"{number}.wav", number).name for number in range(10)]
    table = asked(tmp_path / "t.csv", names)
    whole, part = tmp_path / "whole.csv", tmp_path / "part.csv"
    assert ran("--audio", tmp_path, "--table", table, "--out", whole)[0] == 0
    broken = damaged(tmp_path / "bad.flac")
    asked(table, [*names[:9], "bad.flac", *names[9:]])
    status, said, told = ran("--audio", tmp_path, "--table", table, "--out", part)
    assert status == 1
    assert said[-1] == f"{part}: 10 clips, 4 classes"
    assert told == [f"fatk: left out: {broken}: {LOST}", "fatk: left out in all: 1 of 11 files"]
    before, after = rows(whole), rows(part)
    assert [row.pop("fname") for row in after] == [row.pop("fname") for row in before] == names
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(
            [float(chance) for chance in one.values()],
            [float(chance) for chance in other.values()],
            atol=2e-6,
        )
    part.unlink()
    asked(table, ["bad.flac", "bad.flac"])
    status, _, told = ran("--audio", tmp_path, "--table", table, "--out", part)
    assert (status, told[-1]) == (2, "fatk: none of the 2 files could be read.")
    assert not part.exists()


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("kind", ["FLAC", "FLOAT"])
def test_windows_of_the_others_stay(place: int, kind: str, ran: Ran, tmp_path: Path) -> None:
    good = [write(tmp_path / f"{name}.wav", sweep(5, seed=ord(name))) for name in "ab"]
    whole, part = tmp_path / "whole.csv", tmp_path / "part.csv"
    status, wanted, _ = ran("--windows", whole, *good)
    assert status == 0
    if kind == "FLAC":
        bad, why = damaged(tmp_path / "bad.flac", 40), LOST
    else:
        bad = write(tmp_path / "bad.wav", np.append(sweep(40), np.nan), subtype="FLOAT")
        why = "it holds values that are not numbers (NaN or infinite)."
    seen = []
    with pytest.raises(audio.UnreadableError):
        seen.extend(segment.start for segment in predict_long.segments(bad, RATE, SEGMENT))
    assert seen  # so rows of it were written
    files = [*good[:place], bad, *good[place:]]
    status, said, told = ran("--windows", part, *files)
    assert status == 1
    assert part.read_bytes() == whole.read_bytes()
    assert said == [*wanted[:-1], wanted[-1].replace("whole", "part")]
    assert told == [f"fatk: left out: {bad}: {why}", "fatk: left out in all: 1 of 3 files"]


def test_rows_that_were_written_are_taken_back(tmp_path: Path) -> None:
    said = predict_long.Windows(np.zeros(300), np.ones(300), np.full((300, 1), 0.5))
    with predict_long.WindowTable(tmp_path / "w.csv", ["é"]) as table:

        def add(name: str, breaks: bool = False) -> None:
            with table.all_or_none():
                table.write(name, said)
                if breaks:
                    raise audio.UnreadableError("damaged")

        add("kept.wav")
        for _ in range(2):
            with pytest.raises(audio.UnreadableError):
                add("höchst.wav", breaks=True)
        add("last.wav")
        assert table.rows == 600
    assert [row["file"] for row in rows(tmp_path / "w.csv")] == ["kept.wav"] * 300 + ["last.wav"] * 300


@pytest.mark.parametrize("fails", [False, True])
def test_calls_side_by_side_write_each_their_own(fails: bool, tmp_path: Path) -> None:
    other = tmp_path / "w.csv.tmp"  # what another call is at
    other.write_text("rows")
    said = predict_long.Windows(np.zeros(3), np.ones(3), np.full((3, 1), 0.5))
    with (
        pytest.raises(audio.UnreadableError) if fails else nullcontext(),
        predict_long.WindowTable(tmp_path / "w.csv", ["a"]) as table,
    ):
        (own,) = tmp_path.glob(f"w.csv.{os.getpid()}.*")
        table.write("x.wav", said)
        if fails:
            raise audio.UnreadableError("damaged")
    assert other.read_text() == "rows"
    assert not own.exists()
    assert (tmp_path / "w.csv").exists() is not fails


def test_where_nothing_can_be_read(ran: Ran, tmp_path: Path) -> None:
    folder = tmp_path / "field"
    folder.mkdir()
    damaged(folder / "a.flac")
    damaged(folder / "b.flac", 40)
    for count in (2, 3):
        status, said, told = ran(folder, "--windows", tmp_path / "w.csv")
        assert (status, said, len(told)) == (2, [], count + 1)
        assert told[-1] == f"fatk: none of the {count} files could be read."
        assert not list(tmp_path.glob("w.csv*"))
        empty(folder / "c.wav")
    for path, why in ((folder / "a.flac", LOST), (folder / "b.flac", LOST), (folder / "c.wav", EMPTY)):
        assert ran(path) == (2, [], [f"fatk: {path}: {why}"])
        assert ran(path, "--windows", tmp_path / "w.csv") == (2, [], [f"fatk: {path}: {why}"])
        assert not list(tmp_path.glob("w.csv*"))
    assert ran("gone.wav") == (2, [], ["fatk: gone.wav: no such file."])


@pytest.mark.parametrize("seconds", [3.0, 9.0])
def test_a_recorder_at_the_other_end_of_the_pipe(
    seconds: float, ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = write(tmp_path / "told.flac", sweep(seconds), subtype="PCM_16")
    untold = piped(tmp_path / "untold.flac", sweep(seconds))
    windows = tmp_path / "w.csv"
    _, wanted, _ = ran(told)
    assert ran(untold) == (0, [wanted[0].replace("told", "untold")], [])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(untold.read_bytes())))
    status, said, _ = ran("-", "--windows", windows, "--plot", tmp_path / "p.png")
    assert status == 0
    assert float(rows(windows)[-1]["end_seconds"]) == seconds
    assert said[0].startswith("-: ")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO()))
    status, said, told_of = ran("-", told)
    assert (status, said) == (1, wanted)
    assert told_of[0] == f"fatk: left out: -: {EMPTY}"
