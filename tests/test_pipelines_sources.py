"""Tables and folders to clips: the csv, folders and fat2019 layouts, and tables that are wrong."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.settings import DataSettings
from pipelines.sources import CURATED, NOISY, READERS, TEST, DataError, Source, read_source, split_labels

TABLE = "fname,labels\na.wav,Bark\nb.wav,Rain\n"


def files(folder: Path, *names: str) -> Path:
    """Empty files: reading a source opens none of them."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def read(tmp_path: Path, text: str | bytes, **others: Any) -> Source:
    """A table's text -> the set that it describes, with clips in `audio`."""
    files(tmp_path / "audio", "a.wav", "b.wav", "c.wav", "sub/d.wav")
    table = tmp_path / "t.csv"
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_source(DataSettings(kind="csv", path=str(tmp_path / "audio"), table=str(table), **others))


def labels(source: Source) -> dict[str, tuple[str, ...]]:
    return {clip.name: clip.labels for clip in source.clips}


def refusal(tmp_path: Path, text: str | bytes, **others: Any) -> str:
    """What is said of a table that is wrong: one line, with the table's name."""
    with pytest.raises(DataError) as error:
        read(tmp_path, text, **others)
    message = str(error.value)
    assert message.startswith(str(tmp_path / "t.csv"))
    assert "\n" not in message
    return message.removeprefix(str(tmp_path / "t.csv"))


# --- the generic table -----------------------------------------------------------------------------------------


def test_a_plain_table(tmp_path: Path) -> None:
    source = read(tmp_path, TABLE)
    assert source.classes == ("Bark", "Rain")
    assert labels(source) == {"a.wav": ("Bark",), "b.wav": ("Rain",)}
    assert [clip.line for clip in source.clips] == [2, 3]
    assert {clip.pool for clip in source.clips} == {CURATED}
    assert source.clips[0].path == tmp_path / "audio" / "a.wav"
    others = f"{tmp_path}/audio: 2 sound files are in no row of {tmp_path}/t.csv and are not taken, as c.wav."
    assert source.notes == (others,)


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + TABLE.encode(),
        TABLE.replace("\n", "\r\n"),
        TABLE.rstrip("\n"),
        TABLE + "\n\n",
        'fname,labels\n"a.wav","Bark"\n"b.wav","Rain"\n',
        "fname, labels\na.wav, Bark\nb.wav,  Rain \n",
        "labels,fname\nBark,a.wav\nRain,b.wav\n",
        ",fname,labels\n0,a.wav,Bark\n1,b.wav,Rain\n",
        "fname,labels\na.wav,Bark,,\nb.wav,Rain,,\n",
        "fname,labels,remark\na.wav,Bark,old\nb.wav,Rain\n",
    ],
    ids=[
        "byte order mark",
        "CRLF",
        "no last line end",
        "blank lines",
        "quoted",
        "spaces",
        "other order",
        "numbered by pandas",
        "trailing commas",
        "short row",
    ],
)
def test_tables_that_are_read_alike(tmp_path: Path, text: str | bytes) -> None:
    assert labels(read(tmp_path, text)) == {"a.wav": ("Bark",), "b.wav": ("Rain",)}


def test_labels_are_whole_tokens_between_commas(tmp_path: Path) -> None:
    text = 'fname,labels\na.wav,"Male_speech, Bathtub_(filling_or_washing)"\nb.wav,speech\nc.wav,"Hi-hat,Hi-hat"\n'
    source = read(tmp_path, text)
    assert labels(source) == {
        "a.wav": ("Male_speech", "Bathtub_(filling_or_washing)"),
        "b.wav": ("speech",),
        "c.wav": ("Hi-hat",),
    }
    assert source.classes == ("Bathtub_(filling_or_washing)", "Hi-hat", "Male_speech", "speech")


def test_split_labels() -> None:
    assert split_labels(" Bark ,Rain,, Bark,") == ("Bark", "Rain")
    assert split_labels("") == ()


def test_more_columns_are_kept(tmp_path: Path) -> None:
    text = "fname,labels,fold,valid,freesound_id,license\na.wav,Bark,1,1,77,CC0\nb.wav,Rain,2.0,0,78,\n"
    first, second = read(tmp_path, text).clips
    assert (first.fold, first.valid, first.source, first.license) == (1, True, "77", "CC0")
    assert (second.fold, second.valid, second.source, second.license) == (2, False, "78", "")


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("1", True), ("true", True), ("YES", True), ("0", False), ("False", False), ("-1", False), ("", None)],
)
def test_valid_column(tmp_path: Path, cell: str, expected: bool | None) -> None:
    source = read(tmp_path, f"fname,labels,valid\na.wav,Bark,{cell}\n")
    assert source.clips[0].valid is expected


@pytest.mark.parametrize("name", ["sub/d.wav", r"sub\d.wav", "./sub/d.wav", r".\sub\d.wav"])
def test_separators_of_either_kind(tmp_path: Path, name: str) -> None:
    (clip,) = read(tmp_path, f"fname,labels\n{name},Bark\n").clips
    assert clip.name == "sub/d.wav"
    assert clip.path.is_file()


def test_a_colon_in_a_name_is_no_drive(tmp_path: Path) -> None:
    assert list(labels(read(tmp_path, "fname,labels\n12:30.wav,Bark\n"))) == ["12:30.wav"]


def test_a_class_list_fixes_the_order(tmp_path: Path) -> None:
    assert read(tmp_path, TABLE, classes=("Rain", "Bark")).classes == ("Rain", "Bark")


def test_duplicate_rows_count_once_and_are_noted(tmp_path: Path) -> None:
    source = read(tmp_path, TABLE + "./a.wav,Bark\n")
    assert list(labels(source)) == ["a.wav", "b.wav"]
    note, _ = source.notes  # the other is of files in no row
    assert note.endswith("t.csv, line 4: a.wav stands twice; taken once.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TABLE + "a.wav,Rain\n", ", line 4: a.wav stands already in line 2, with another content."),
        ("fname,label\na.wav,Bark\n", ": no column 'labels'. Its columns are: fname, label."),
        ("file;labels\na.wav;Bark\n", ": no column 'fname' nor 'labels'. Its columns are: file;labels."),
        ("", ": no column 'fname' nor 'labels'. Its columns are: none."),
        ("fname,labels\n", ": the table has no rows."),
        (TABLE + "c.wav,\n", ", line 4: c.wav has no label."),
        (TABLE + 'c.wav," , "\n', ", line 4: c.wav has no label."),
        (TABLE + "c.wav,Bark,Rain\n", ", line 4: more cells than the header has columns."),
        (TABLE + 'c.wav,"Bark\nd.wav,Rain\n', ', line 4: a quote is opened and not closed. Received: "Bark.'),
        ("fname,labels,fold\na.wav,Bark,x\n", ", line 2: `fold` must be a whole number. Received: 'x'."),
        ("fname,labels,fold\na.wav,Bark,1.5\n", ", line 2: `fold` must be a whole number. Received: '1.5'."),
        ("fname,labels,fold\na.wav,Bark,inf\n", ", line 2: `fold` must be a whole number. Received: 'inf'."),
        ("fname,labels,valid\na.wav,Bark,2\n", ", line 2: `valid` must be 1 or 0. Received: '2'."),
        ("fname,labels\n\n\na.wav,\n", ", line 4: a.wav has no label."),
        (b"fname,labels\na.wav,Caf\xe9\n", ": not a CSV table in UTF-8"),
    ],
    ids=range(15),
)
def test_wrong_tables(tmp_path: Path, text: str | bytes, message: str) -> None:
    assert refusal(tmp_path, text).startswith(message)


@pytest.mark.parametrize(
    "name", ["../x.wav", "sub/../../x.wav", r"..\x.wav", "/etc/x.wav", r"C:\x.wav", "C:x.wav", "..", ".", ""]
)
def test_names_that_leave_the_folder(tmp_path: Path, name: str) -> None:
    message = refusal(tmp_path, f"fname,labels\na.wav,Bark\n{name},Bark\n")
    assert message.startswith(", line 3: `fname` must name a file inside the audio folder.")
    assert repr(name) in message


def test_unknown_classes_are_named_with_their_lines(tmp_path: Path) -> None:
    text = TABLE + 'c.wav,"Bark,Brak"\n'
    message = refusal(tmp_path, text, classes=("Bark", "Rain"))
    assert message == ", line 4: c.wav has the unknown class 'Brak'. The classes are: Bark, Rain."


def test_many_unknown_classes_are_counted(tmp_path: Path) -> None:
    text = "fname,labels\n" + "".join(f"{n}.wav,x{n}\n" for n in range(9))
    message = refusal(tmp_path, text, classes=("Bark",))
    assert "line 2: 0.wav has the unknown class 'x0'; " in message
    assert "; and 4 more. The classes are: Bark." in message


def test_a_missing_table_and_a_missing_folder(tmp_path: Path) -> None:
    settings = {"kind": "csv", "path": str(tmp_path / "audio"), "table": str(tmp_path / "t.csv")}
    with pytest.raises(DataError, match=r"audio: no such folder\.$"):
        read_source(DataSettings(**settings))
    (tmp_path / "audio").mkdir()
    with pytest.raises(DataError, match=r"audio: the folder is empty\.$"):
        read_source(DataSettings(**settings))
    files(tmp_path / "audio", "a.wav")
    with pytest.raises(DataError, match=r"t\.csv: no such table\.$"):
        read_source(DataSettings(**settings))


def test_folds(tmp_path: Path) -> None:
    text = "fname,labels,fold\na.wav,Bark,1\nb.wav,Rain,2\n"
    assert [clip.fold for clip in read(tmp_path, text, fold=2).clips] == [1, 2]
    assert refusal(tmp_path, text, fold=3) == ": no clip of fold 3. Its folds are: 1, 2."
    assert refusal(tmp_path, TABLE, fold=1) == ": no clip of fold 1. It has no column 'fold'."
    assert refusal(tmp_path, text + "c.wav,Rain,\n", fold=1) == ", line 4: c.wav has no fold."


def test_esc10_is_read(shared: Path) -> None:
    folder = shared / "esc10"
    source = read_source(
        DataSettings(kind="csv", path=str(folder / "audio"), table=str(folder / "esc10.csv"), fold=5)
    )
    assert (len(source.classes), len(source.clips)) == (10, 400)
    assert all(clip.path.is_file() and len(clip.labels) == 1 for clip in source.clips)
    assert [sum(clip.fold == fold for clip in source.clips) for fold in range(1, 6)] == [80] * 5


# --- one folder a class ------------------------------------------------------------------------------------------


def folders(root: Path, **others: Any) -> Source:
    return read_source(DataSettings(kind="folders", path=str(root), **others))


def test_folders(tmp_path: Path) -> None:
    files(tmp_path, "Rain/1.wav", "Bark/1.WAV", "Bark/deep/2.ogg", "Bark/notes.txt", ".git/3.wav", "4.wav")
    files(tmp_path, "Rain/._1.wav")  # what macOS leaves beside a file on other systems' disks
    source = folders(tmp_path)
    assert source.classes == ("Bark", "Rain")
    assert labels(source) == {"Bark/1.WAV": ("Bark",), "Bark/deep/2.ogg": ("Bark",), "Rain/1.wav": ("Rain",)}
    assert all(clip.path.is_file() for clip in source.clips)
    assert len({clip.key for clip in source.clips}) == 3
    assert folders(tmp_path, classes=("Rain",)).classes == ("Rain",)


@pytest.mark.parametrize(
    ("names", "classes", "message"),
    [
        ([], (), r"set: the folder is empty\.$"),
        (["a.wav"], (), r"set: no audio files in folders of classes\."),
        (["Bark/a.txt"], (), r"set: no audio files in folders of classes\."),
        (["Bark/a.wav", "Rain/a.txt"], (), r"set: no audio files for the class 'Rain'\.$"),
        (["Bark/a.wav"], ("Bark", "Brak"), r"set: no audio files for the class 'Brak'\.$"),
        (
            ["Dog, barking/a.wav", "Rain/a.wav"],
            (),
            r"set: the class 'Dog, barking' has a comma, .* Rename it\.$",
        ),
        (["Bark/caf\udce9.wav"], (), r"set: b'Bark/caf\\xe9\.wav' is no name in UTF-8\. Rename the file\.$"),
    ],
)
def test_wrong_folders(tmp_path: Path, names: list[str], classes: tuple[str, ...], message: str) -> None:
    (tmp_path / "set").mkdir()
    files(tmp_path / "set", *names)
    with pytest.raises(DataError, match=message):
        folders(tmp_path / "set", classes=classes)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"set: no such folder\.$"):
        folders(tmp_path / "set")


# --- Kaggle's layout ---------------------------------------------------------------------------------------------


def kaggle(root: Path, **tables: str) -> Path:
    """A small set; a table given by name replaces its own."""
    files(root / "train_curated", "a.wav", "b.wav")
    files(root / "train_noisy", "a.wav")
    files(root / "test", "x.wav", "y.wav")
    written = {
        "train_curated": 'fname,labels\na.wav,Bark\nb.wav,"Hi-hat,Bark"\n',
        "train_noisy": "fname,labels\na.wav,Hi-hat\n",
        "sample_submission": "fname,Hi-hat,Bark\nx.wav,0,0\ny.wav,0,0\n",
    }
    for name, text in (written | tables).items():
        (root / f"{name}.csv").write_text(text)
    # Sounds that differ, because one sound in two pools is refused.
    for number, path in enumerate(sorted(root.rglob("*.wav"))):
        path.write_bytes(bytes([number]))
    return root


def fat2019(root: Path, **others: Any) -> Source:
    return read_source(DataSettings(kind="fat2019", path=str(root), **others))


def test_fat2019(tmp_path: Path) -> None:
    source = fat2019(kaggle(tmp_path))
    assert source.classes == ("Hi-hat", "Bark")  # in the submission's order
    assert {clip.key: clip.labels for clip in source.clips} == {
        "curated/a.wav": ("Bark",),
        "curated/b.wav": ("Hi-hat", "Bark"),
        "noisy/a.wav": ("Hi-hat",),
        "test/x.wav": (),
        "test/y.wav": (),
    }
    assert all(clip.path.is_file() for clip in source.clips)
    assert [len(source.pool(pool)) for pool in (CURATED, NOISY, TEST)] == [2, 1, 2]


def test_a_labelled_test_table_is_used(tmp_path: Path) -> None:
    source = fat2019(kaggle(tmp_path, test_labels='fname,labels\ny.wav,"Bark,Hi-hat"\nx.wav,Bark\n'))
    assert {clip.name: clip.labels for clip in source.pool(TEST)} == {
        "x.wav": ("Bark",),
        "y.wav": ("Bark", "Hi-hat"),
    }


def test_fat2019_without_noisy_clips(tmp_path: Path) -> None:
    kaggle(tmp_path)
    (tmp_path / "train_noisy.csv").unlink()
    assert not fat2019(tmp_path).pool(NOISY)


@pytest.mark.parametrize(
    ("table", "text", "message"),
    [
        ("train_curated", "fname,labels\na.wav,Brak\n", r"line 2: a\.wav has the unknown class 'Brak'"),
        ("train_noisy", "fname,labels\na.wav,Brak\n", r"line 2: a\.wav has the unknown class 'Brak'"),
        ("test_labels", "fname,labels\nx.wav,Brak\n", r"line 2: x\.wav has the unknown class 'Brak'"),
        ("train_curated", "fname,tags\na.wav,Bark\n", r"csv: no column 'labels'"),
        ("train_noisy", "fname,labels\n../a.wav,Bark\n", r"line 2: `fname` must name a file inside"),
        ("sample_submission", "id,Bark\nx.wav,0\n", r"csv: no column 'fname'"),
    ],
)
def test_wrong_tables_of_fat2019(tmp_path: Path, table: str, text: str, message: str) -> None:
    kaggle(tmp_path, **{table: text})
    with pytest.raises(DataError, match=f"{table}.*{message}"):
        fat2019(tmp_path)


@pytest.mark.parametrize("name", ["train_curated.csv", "sample_submission.csv"])
def test_a_table_of_fat2019_that_is_missing(tmp_path: Path, name: str) -> None:
    (kaggle(tmp_path) / name).unlink()
    with pytest.raises(DataError, match=f"{name}: no such table"):
        fat2019(tmp_path)


def test_every_kind_has_a_reader() -> None:
    assert {"csv", "folders", "fat2019", "demo"} <= set(READERS)
