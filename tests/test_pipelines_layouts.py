"""Published layouts, made small with their true folder and column names, and tables that are wrong."""

import csv
import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.published import EXPECTED, FLAGGED, compare, counts
from pipelines.settings import DataSettings
from pipelines.sources import CURATED, NOISY, TEST, Clip, DataError, Source, read_source
from pipelines.splits import split
from tests.trees import CLASSES, esc50, fsd50k, fsdnoisy18k, kaggle, table, wav, zenodo


def of(kind: str, path: Path, classes: Sequence[str] = (), **others: object) -> DataSettings:
    return DataSettings(kind=kind, path=str(path), classes=tuple(classes), **others)


def by_name(source: Source) -> dict[str, Clip]:
    return {clip.name: clip for clip in source.clips}


# FSDKaggle2019


def test_kaggle_layout(tmp_path: Path) -> None:
    source = read_source(of("fat2019", kaggle(tmp_path)))
    assert source.classes == CLASSES
    assert [clip.key for clip in source.clips] == [
        "curated/00000001.wav",
        "curated/00000002.wav",
        "noisy/00000011.wav",
        "noisy/00000012.wav",
        "test/00000021.wav",
        "test/00000022.wav",
    ]
    assert all(clip.path.is_file() for clip in source.clips)
    assert [clip.labels for clip in source.pool(TEST)] == [(), ()]


def test_kaggle_layout_may_have_folds_of_curated_clips(tmp_path: Path) -> None:
    rows = kaggle(tmp_path) / "train_curated.csv"
    lines = rows.read_text().splitlines()
    with pytest.raises(DataError, match=r"train_curated.csv: no clip of fold 1. It has no column 'fold'."):
        read_source(of("fat2019", tmp_path, fold=1))
    numbers = ["fold", "1", "2", "2"]
    rows.write_text("".join(f"{line},{number}\n" for line, number in zip(lines, numbers, strict=True)))
    source = read_source(of("fat2019", tmp_path, fold=1))
    assert [clip.fold for clip in source.pool(CURATED)] == [1, 2]  # the third one is flagged
    held = split(source, of("fat2019", tmp_path, fold=1), 0)
    assert [clip.name for clip in held.valid] == ["00000001.wav"]
    assert len(held.train) == 1 + len(source.pool(NOISY))


def test_zenodo_layout_gives_labels_of_the_test_clips_and_where_clips_come_from(tmp_path: Path) -> None:
    source = read_source(of("fat2019", zenodo(tmp_path)))
    assert source.classes == CLASSES
    clips = by_name(source)
    assert all(clip.path.is_file() for clip in source.clips)
    assert clips["00000022.wav"].labels == ("Bark", "Hi-hat")
    assert clips["00000022.wav"].usage == "Private"
    assert clips["00000002.wav"].source == "102"
    assert clips["00000002.wav"].license == "Attribution"
    assert clips["00000011.wav"].source == "https://www.flickr.com/photos/1/"
    assert clips["00000011.wav"].license == "CC BY 2.0"


@pytest.mark.parametrize(("pool", "wanted"), [(NOISY, True), (NOISY, False), (TEST, True)])
@pytest.mark.parametrize("layout", [kaggle, zenodo])
def test_parts_that_were_not_downloaded_are_noted(
    tmp_path: Path, layout: Callable[[Path], Path], pool: str, wanted: bool
) -> None:
    """Their tables are small, and there."""
    layout(tmp_path)
    (folder,) = tmp_path.glob("*train_noisy" if pool == NOISY else "*test")
    shutil.rmtree(folder)
    source = read_source(of("fat2019", tmp_path, noisy=wanted))
    assert not source.pool(pool)
    assert source.pool(CURATED)
    assert f"{folder} is missing: no {pool} clips." in source.notes


def test_a_folder_of_neither_layout_says_what_is_looked_for(tmp_path: Path) -> None:
    (tmp_path / "train_curated.zip").touch()
    with pytest.raises(DataError, match=r"neither Kaggle's layout.*Zenodo's.*It holds: train_curated.zip"):
        read_source(of("fat2019", tmp_path))


def test_flagged_clips_are_dropped_unless_wanted(tmp_path: Path) -> None:
    kaggle(tmp_path)
    name = FLAGGED["fat2019"][0]
    source = read_source(of("fat2019", tmp_path))
    assert name not in by_name(source)
    assert any(note.startswith("1 curated clips flagged") and name in note for note in source.notes)
    kept = read_source(of("fat2019", tmp_path), flagged=True)
    assert name in by_name(kept)
    assert not any("flagged" in note for note in kept.notes)


def test_the_flagged_names_are_the_organisers(shared: Path) -> None:
    lines = (shared / "fsdkaggle2019_flagged.txt").read_text().splitlines()
    assert sorted(FLAGGED["fat2019"]) == sorted(line.split()[0] for line in lines if line.strip())


def test_the_real_classes_survive(shared: Path, tmp_path: Path) -> None:
    """80 of them, with parentheses and hyphens, from the header of one layout and the vocabulary of the other."""
    names = tuple((shared / "fsdkaggle2019_classes.txt").read_text().split())
    assert len(names) == 80
    kaggle(tmp_path / "k")
    table(tmp_path / "k" / "sample_submission.csv", ("fname", *names), ("00000021.wav", *["0"] * 80))
    zenodo(tmp_path / "z")
    table(tmp_path / "z" / "FSDKaggle2019.meta" / "vocabulary.csv", *enumerate(names))
    for layout in ("k", "z"):
        source = read_source(of("fat2019", tmp_path / layout))
        assert source.classes == names
        assert any(note.startswith("not the whole") for note in source.notes)
        assert not any("instead of 80" in note for note in source.notes)


def test_counts_are_compared_with_the_published_ones(tmp_path: Path) -> None:
    kaggle(tmp_path)
    note = next(
        note for note in read_source(of("fat2019", tmp_path)).notes if note.startswith("not the whole")
    )
    assert "not the whole of FSDKaggle2019 (Kaggle)" in note
    # Counted with the flagged clip, which is in the published set.
    assert "3 curated clips instead of 4,970" in note
    assert "2 noisy clips instead of 19,815" in note
    assert "2 test clips instead of 3,361" in note
    assert "3 classes instead of 80" in note


def test_a_whole_set_gives_no_note() -> None:
    def made(count: int, pool: str, **given: object) -> tuple[Clip, ...]:
        return tuple(Clip(f"{i}{given}", pool, Path(), **given) for i in range(count))

    clips = made(36796, CURATED, valid=False) + made(4170, CURATED, valid=True) + made(10231, TEST)
    whole = Source(tuple(map(str, range(200))), clips)
    assert compare("FSD50K", whole) == []
    assert compare("FSD50K", replace(whole, clips=clips[1:])) == [
        "not the whole of FSD50K: 36,795 training clips instead of 36,796."
    ]
    folds = tuple(clip for fold in range(1, 6) for clip in made(400, CURATED, fold=fold))
    assert compare("ESC-50", Source(tuple(map(str, range(50))), folds)) == []


def test_expected_counts_agree_with_the_papers_totals() -> None:
    dev = EXPECTED["FSD50K"]
    assert dev["training clips"] + dev["validation clips"] == 40966
    noisy = EXPECTED["FSDnoisy18k"]
    assert noisy["curated clips"] + noisy["noisy clips"] == 17585
    for name in ("FSDKaggle2019 (Kaggle)", "FSDKaggle2019 (Zenodo)"):
        assert EXPECTED[name]["curated clips"] + EXPECTED[name]["noisy clips"] == 24785
    assert set().union(*EXPECTED.values()) <= set(counts(Source((), ())))


# FSD50K


def test_fsd50k(tmp_path: Path) -> None:
    source = read_source(of("fsd50k", fsd50k(tmp_path)))
    assert source.classes == ("Bark", "Dog", "Hi-hat")
    clips = by_name(source)
    assert {name: (clip.pool, clip.labels, clip.valid) for name, clip in clips.items()} == {
        "64760.wav": (CURATED, ("Bark", "Dog"), False),
        "16399.wav": (CURATED, ("Hi-hat",), True),
        "37199.wav": (TEST, ("Dog",), None),
    }
    assert clips["64760.wav"].source == "64760"
    assert all(clip.path.is_file() for clip in source.clips)


def test_fsd50k_licences_come_from_its_metadata(tmp_path: Path) -> None:
    fsd50k(tmp_path)
    info = tmp_path / "FSD50K.metadata" / "dev_clips_info_FSD50K.json"
    info.parent.mkdir()
    licence = "http://creativecommons.org/licenses/by/3.0/"
    info.write_text(json.dumps({"64760": {"title": "dog", "license": licence}}))
    clips = by_name(read_source(of("fsd50k", tmp_path)))
    assert clips["64760.wav"].license == licence
    assert clips["16399.wav"].license == ""


def test_fsd50k_names_a_split_that_is_none(tmp_path: Path) -> None:
    dev = fsd50k(tmp_path) / "FSD50K.ground_truth" / "dev.csv"
    dev.write_text(dev.read_text().replace(",val", ",valid"))
    with pytest.raises(DataError, match=r"dev\.csv, line 3: `split` must be one of train, val\. .*'valid'"):
        read_source(of("fsd50k", tmp_path))


# ESC


def test_esc50(tmp_path: Path) -> None:
    source = read_source(of("esc50", esc50(tmp_path)))
    assert source.classes == ("dog", "rooster", "chirping_birds")  # by target, not by name
    clip = by_name(source)["1-100038-A-14.wav"]
    assert (clip.labels, clip.fold, clip.source, clip.license) == (
        ("chirping_birds",),
        1,
        "100038",
        "CC BY-NC",
    )
    assert all(clip.path.is_file() for clip in source.clips)


def test_esc10_is_a_part_of_esc50(tmp_path: Path) -> None:
    source = read_source(of("esc10", esc50(tmp_path)))
    assert source.classes == ("dog", "rooster")
    assert {clip.license for clip in source.clips} == {"CC BY"}
    assert "2 curated clips instead of 400" in source.notes[0]


def test_esc50_names_a_row_whose_number_is_anothers(tmp_path: Path) -> None:
    meta = esc50(tmp_path) / "meta" / "esc50.csv"
    meta.write_text(meta.read_text().replace("rooster", "dog"))
    with pytest.raises(DataError, match=r"line 4: `target` must be the number of 'dog'\. Received: '1'"):
        read_source(of("esc50", tmp_path))


# FSDnoisy18k


def test_fsdnoisy18k_parts_its_clips_by_whether_they_were_verified(tmp_path: Path) -> None:
    source = read_source(of("fsdnoisy18k", fsdnoisy18k(tmp_path)))
    assert source.classes == ("Fart", "Rain")
    assert [clip.key for clip in source.clips] == [
        "curated/1001.wav",
        "noisy/1002.wav",
        "noisy/1003.wav",
        "test/2001.wav",
    ]
    assert [clip.labels for clip in source.clips] == [("Fart",), ("Rain",), ("Rain",), ("Fart",)]
    assert all(clip.path.is_file() for clip in source.clips)


def test_fsdnoisy18k_refuses_a_clip_that_is_verified_and_is_not(tmp_path: Path) -> None:
    meta = fsdnoisy18k(tmp_path) / "FSDnoisy18k.meta" / "train.csv"
    meta.write_text(meta.read_text() + "1001.wav,Fart,/m/02_nn,0,0\n")
    with pytest.raises(DataError, match=r"line 5: 1001\.wav is in .*train\.csv, line 2 too"):
        read_source(of("fsdnoisy18k", tmp_path))


# Every layout

LAYOUTS = {
    "fat2019": (kaggle, ("Hi-hat", "Bark")),
    "zenodo": (zenodo, ("Hi-hat", "Bark")),
    "fsd50k": (fsd50k, ("Hi-hat", "Bark")),
    "esc50": (esc50, ("rooster", "dog")),
    "esc10": (esc50, ("rooster", "dog")),
    "fsdnoisy18k": (fsdnoisy18k, ("Rain",)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_class_list_fixes_order_and_subset(tmp_path: Path, layout: str) -> None:
    make, wanted = LAYOUTS[layout]
    source = read_source(of(layout.replace("zenodo", "fat2019"), make(tmp_path), wanted))
    assert source.classes == wanted
    assert {label for clip in source.clips for label in clip.labels} <= set(wanted)
    assert all(clip.labels for clip in source.pool(CURATED, NOISY))
    assert source.pool(CURATED) or source.pool(NOISY)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_wanted_class_that_is_none_is_named(tmp_path: Path, layout: str) -> None:
    make, _ = LAYOUTS[layout]
    with pytest.raises(DataError, match="`classes` names 'Barque'"):
        read_source(of(layout.replace("zenodo", "fat2019"), make(tmp_path), ("Barque",)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tables_from_a_spreadsheet_are_read_alike(tmp_path: Path, layout: str) -> None:
    """A byte order mark, CRLF, every cell in quotes, and a blank line at the end change nothing."""
    make, _ = LAYOUTS[layout]
    settings = of(layout.replace("zenodo", "fat2019"), make(tmp_path))
    plain = read_source(settings)
    for path in tmp_path.rglob("*.csv"):
        rows = list(csv.reader(path.read_text().splitlines()))
        with path.open("w", newline="", encoding="utf-8-sig") as lines:
            csv.writer(lines, lineterminator="\r\n", quoting=csv.QUOTE_ALL).writerows(rows)
            lines.write("\r\n")
    assert read_source(settings) == plain


# Wrong tables


def test_a_row_that_stands_twice_counts_once_and_is_noted(tmp_path: Path) -> None:
    rows = kaggle(tmp_path) / "train_noisy.csv"
    rows.write_text(rows.read_text() + "00000011.wav,Bathtub_(filling_or_washing)\n")
    source = read_source(of("fat2019", tmp_path))
    assert len(source.pool(NOISY)) == 2
    assert any("line 4: 00000011.wav stands twice" in note for note in source.notes)


def test_rows_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    rows = kaggle(tmp_path) / "train_noisy.csv"
    rows.write_text(rows.read_text() + "00000011.wav,Bark\n")
    with pytest.raises(DataError, match=r"train_noisy\.csv, line 4: 00000011\.wav stands already in line 2"):
        read_source(of("fat2019", tmp_path))


def test_a_sound_in_training_and_test_is_refused_with_both_lines(tmp_path: Path) -> None:
    rows = kaggle(tmp_path) / "train_curated.csv"
    rows.write_text(rows.read_text() + "00000022.wav,Bark\n")
    (tmp_path / "train_curated" / "00000022.wav").write_bytes(
        (tmp_path / "test" / "00000022.wav").read_bytes()
    )
    wanted = r"sample_submission\.csv, line 3: 00000022\.wav is in .*train_curated\.csv, line 5 too"
    with pytest.raises(DataError, match=wanted):
        read_source(of("fat2019", tmp_path))


def test_a_link_from_training_to_test_is_the_same_sound(tmp_path: Path) -> None:
    rows = kaggle(tmp_path) / "train_curated.csv"
    rows.write_text(rows.read_text() + "00000021.wav,Bark\n")
    (tmp_path / "train_curated" / "00000021.wav").symlink_to(tmp_path / "test" / "00000021.wav")
    with pytest.raises(DataError, match=r"line 2: 00000021\.wav is in .*train_curated\.csv, line 5 too"):
        read_source(of("fat2019", tmp_path))


def test_one_name_for_two_sounds_is_fine(tmp_path: Path) -> None:
    kaggle(tmp_path)
    rows = tmp_path / "train_curated.csv"
    rows.write_text(rows.read_text() + "00000022.wav,Bark\n")
    wav(tmp_path / "train_curated" / "00000022.wav", seed=1)
    keys = {clip.key for clip in read_source(of("fat2019", tmp_path)).clips}
    assert {"curated/00000022.wav", "test/00000022.wav"} <= keys


def test_a_source_in_training_and_test_is_noted_with_both_lines(tmp_path: Path) -> None:
    meta = zenodo(tmp_path) / "FSDKaggle2019.meta"
    rows = meta / "test_post_competition.csv"
    rows.write_text(rows.read_text().replace(",202,", ",101,"))
    (note,) = (note for note in read_source(of("fat2019", tmp_path)).notes if "source" in note)
    assert note.startswith("1 test clips")
    assert re.search(r"00000022\.wav \(.*test_post_competition\.csv, line 3\)", note)
    assert re.search(r"00000001\.wav \(.*train_curated_post_competition\.csv, line 2\)", note)


@pytest.mark.parametrize(
    "name", ["../x.wav", "a/../../x.wav", "..\\x.wav", "/etc/x.wav", "C:\\x.wav", ".", ""]
)
def test_a_path_that_climbs_out_is_named_with_its_line(tmp_path: Path, name: str) -> None:
    rows = kaggle(tmp_path) / "train_noisy.csv"
    rows.write_text(rows.read_text() + f"{name},Bark\n")
    with pytest.raises(DataError) as error:
        read_source(of("fat2019", tmp_path))
    assert "train_noisy.csv, line 4: `fname` must name a file inside the audio folder" in str(error.value)
    assert repr(name) in str(error.value)


def test_windows_separators_lead_to_the_same_file(tmp_path: Path) -> None:
    wav(tmp_path / "audio" / "dogs" / "a.wav")
    rows = table(tmp_path / "t.csv", ("fname", "labels"), ("dogs\\a.wav", "Bark"))
    source = read_source(of("csv", tmp_path / "audio", table=str(rows)))
    (clip,) = source.clips
    assert clip.name == "dogs/a.wav"
    assert clip.path.is_file()


def test_an_unknown_class_is_named_with_its_line(tmp_path: Path) -> None:
    rows = fsd50k(tmp_path) / "FSD50K.ground_truth" / "eval.csv"
    rows.write_text(rows.read_text() + "37200,Dgo,/m/0\n")
    with pytest.raises(DataError, match=r"eval\.csv, line 3: 37200\.wav has the unknown class 'Dgo'"):
        read_source(of("fsd50k", tmp_path))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("index,label,mid\n0,Bark,/m/1\n1,Hi-hat,/m/2\n", ("Bark", "Hi-hat")),
        ("Bark\nHi-hat\n", ("Bark", "Hi-hat")),
        ("label\nHi-hat\nBark\n", ("Hi-hat", "Bark")),
    ],
)
def test_vocabularies_with_and_without_a_header(tmp_path: Path, text: str, wanted: tuple[str, ...]) -> None:
    zenodo(tmp_path)
    for part in ("train_noisy", "test"):
        (tmp_path / "FSDKaggle2019.meta" / f"{part}_post_competition.csv").unlink()
    (tmp_path / "FSDKaggle2019.meta" / "vocabulary.csv").write_text(text)
    assert read_source(of("fat2019", tmp_path)).classes == wanted


def test_a_vocabulary_that_repeats_a_class_is_named_with_its_line(tmp_path: Path) -> None:
    (fsd50k(tmp_path) / "FSD50K.ground_truth" / "vocabulary.csv").write_text("0,Bark,/m/1\n1,Bark,/m/2\n")
    with pytest.raises(DataError, match=r"vocabulary\.csv, line 2: Bark stands twice"):
        read_source(of("fsd50k", tmp_path))


def test_fat10_is_read(shared: Path) -> None:
    source = read_source(of("fat2019", shared / "fat10"))
    assert [len(source.pool(pool)) for pool in (CURATED, NOISY, TEST)] == [240, 400, 200]
    assert len(source.classes) == 10
