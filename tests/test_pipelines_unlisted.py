"""Sounds of a folder that are not taken are told of, and nothing else is."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fatk import inputs
from pipelines.settings import DataSettings
from pipelines.sources import DataError, Source, read_source
from pipelines.unlisted import walk


def files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def folders(root: Path, **others: Any) -> Source:
    return read_source(DataSettings(kind="folders", path=str(root), **others))


def listed(root: Path, text: str) -> Source:
    (root / "t.csv").write_text(text)
    return read_source(DataSettings(kind="csv", path=str(root), table=str(root / "t.csv")))


@pytest.fixture
def shut(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Names of folders that nobody may open, as those of another user; root may open them all."""
    names: set[str] = set()
    scandir = os.scandir

    def refuse(path: Any = ".") -> Any:
        if Path(path).name in names:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    yield names
    monkeypatch.undo()


def test_a_folder_of_classes_alone_needs_no_word(tmp_path: Path) -> None:
    files(tmp_path, "Rain/1.wav", "Rain/README.txt", "Rain/cover.jpg", "LICENSE", "labels.csv", "README.md")
    files(tmp_path, ".old/2.wav", ".3.wav", "Rain/.4.m4a", "Rain/.bin/5.m4a")
    assert folders(tmp_path).notes == ()


def test_sounds_of_other_kinds_and_outside_the_folders_are_told_of(tmp_path: Path) -> None:
    files(
        tmp_path, "Bark/1.wav", "Bark/2.M4A", "Bark/deep/3.aac", "Rain/4.opus", "Rain/5.m4a", "6.wav", "7.m4a"
    )
    source = folders(tmp_path)
    assert [clip.name for clip in source.clips] == ["Bark/1.wav", "Rain/4.opus"]
    assert source.notes == (
        f"{tmp_path}: 2 sound files lie in no folder of a class and are not taken, as 6.wav.",
        f"{tmp_path}: 3 sound files are of kinds that are not taken (.aac, .m4a), as Bark/2.M4A.",
    )
    note = folders(tmp_path, classes=("Rain",)).notes[1]  # a class that is not asked for is no oversight
    assert note == f"{tmp_path}: 1 sound files are of kinds that are not taken (.m4a), as Rain/5.m4a."


def test_a_class_of_other_kinds_alone_is_refused_with_the_reason(tmp_path: Path) -> None:
    files(tmp_path, "Bark/1.wav", "Rain/2.m4a")
    with pytest.raises(DataError, match=r"for the class 'Rain'\. .* not taken \(\.m4a\), as Rain/2\.m4a\.$"):
        folders(tmp_path)
    (tmp_path / "Bark" / "1.wav").unlink()
    with pytest.raises(DataError, match=r"no audio files in folders of classes\. .* as Rain/2\.m4a\.$"):
        folders(tmp_path)


def test_folders_that_cannot_be_opened_are_named(tmp_path: Path, shut: set[str]) -> None:
    files(tmp_path, "Bark/1.wav", "Bark/deep/2.wav", "Rain/3.wav")
    shut.add("deep")
    source = folders(tmp_path)
    assert [clip.name for clip in source.clips] == ["Bark/1.wav", "Rain/3.wav"]
    assert source.notes == (f"{tmp_path}/Bark/deep: Permission denied; what is in it is not taken.",)
    shut.add("Rain")
    with pytest.raises(DataError, match="for the class 'Rain'") as caught:
        folders(tmp_path)
    assert f"{tmp_path}/Rain: Permission denied" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folders_to_predict_that_cannot_be_opened_are_named(
    tmp_path: Path, shut: set[str], capsys: pytest.CaptureFixture
) -> None:
    files(tmp_path, "Bark/1.wav", "Bark/deep/2.wav", "Bark/.bin/3.wav")
    shut.add("deep")
    assert inputs.sound_files([str(tmp_path)]) == [tmp_path / "Bark" / "1.wav"]
    assert capsys.readouterr().err == f"fatk: left out: {tmp_path}/Bark/deep: Permission denied.\n"


def test_sounds_in_no_row_of_the_table_are_told_of(tmp_path: Path) -> None:
    files(tmp_path, "a.wav", "b.wav", "sub/c.flac", "sub/d.m4a", ".e.wav", ".bin/f.wav", "README.md", "g.csv")
    source = listed(tmp_path, "fname,labels\n./b.wav,Rain\na.wav,Bark\n")
    assert source.notes == (
        f"{tmp_path}: 2 sound files are in no row of {tmp_path}/t.csv and are not taken, as sub/c.flac.",
    )
    assert listed(tmp_path, "fname,labels\nb.wav,x\na.wav,y\nsub/c.flac,x\nsub\\d.m4a,y\n").notes == ()


def test_names_that_disks_take_for_the_same_are_in_the_table(tmp_path: Path) -> None:
    files(tmp_path, "Caf\u00e9.wav", "audio/b.wav")
    assert listed(tmp_path, "fname,labels\ncafe\u0301.WAV,Bark\nb.wav,Rain\n").notes == ()


def test_a_name_that_is_not_in_utf8_can_be_told(tmp_path: Path) -> None:
    files(tmp_path, "Rain/1.wav", "caf\udce9.wav")
    (note,) = folders(tmp_path).notes
    assert note.encode().endswith("as caf\ufffd.wav.".encode())


def test_walk_is_in_order_and_passes_over_what_is_hidden(tmp_path: Path) -> None:
    names = ["b/2.wav", "b/1/3.wav", "a.txt", "b.wav", ".c/4.wav", "b/.5.wav"]
    files(tmp_path / ".set", *names)
    assert [path.relative_to(tmp_path / ".set").as_posix() for path in walk(tmp_path / ".set")] == [
        "a.txt",
        "b/1/3.wav",
        "b/2.wav",
        "b.wav",
    ]
