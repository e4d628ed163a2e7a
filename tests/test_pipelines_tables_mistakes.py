"""Tables as people have them: what is wrong is said, what is harmless is passed over."""

from pathlib import Path

import pytest

from pipelines.label_settings import LabelSettings, SplitSettings
from pipelines.labels import relabel
from pipelines.settings import DataSettings
from pipelines.sources import read_source
from pipelines.splits import held_out, split
from pipelines.tables import CURATED, NOISY, Clip, DataError, Source, read_rows


def table(folder: Path, text: str) -> DataSettings:
    path = folder / "t.csv"
    path.write_text(text)
    return DataSettings(kind="csv", path=str(folder), table=str(path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fname,labels,labels\na.wav,x,y\n", "the column 'labels' stands twice."),
        ("fname;labels\na.wav;x\n", "They are to be separated by commas, not by ';'."),
        ("Fname,labels\na.wav,x\n", "Write 'fname' for 'Fname'."),
        ("Fname,Labels\na.wav,x\n", "Write 'fname' for 'Fname' and 'labels' for 'Labels'."),
    ],
)
def test_a_header_that_is_wrong_says_how(tmp_path: Path, text: str, said: str) -> None:
    settings = table(tmp_path, text)
    with pytest.raises(DataError) as caught:
        read_rows(Path(settings.table), ("fname", "labels"))
    assert str(caught.value).endswith(said)


def test_rows_of_empty_cells_are_passed_over(tmp_path: Path) -> None:
    settings = table(tmp_path, "fname,labels\na.wav,x\n,\n ,  \nb.wav,y\n,\n")
    assert [clip.name for clip in read_source(settings).clips] == ["a.wav", "b.wav"]
    settings = table(tmp_path, "fname,labels\na.wav,x\n,y\n")
    with pytest.raises(DataError, match=r"line 3: `fname` must name a file"):
        read_source(settings)


@pytest.mark.parametrize("mark", [";", "|", "; "])
def test_labels_that_are_separated_otherwise_are_no_class(tmp_path: Path, mark: str) -> None:
    settings = table(tmp_path, f"fname,labels\na.wav,x\nb.wav,y\nc.wav,x{mark}y\n")
    with pytest.raises(DataError, match=r'line 4: .* holds several classes\. .* as in c\.wav,"x,y"\.'):
        read_source(settings)
    settings = table(tmp_path, f"fname,labels\na.wav,x\nb.wav,y\nc.wav,x{mark}z\n")
    assert len(read_source(settings).classes) == 3  # a name with such a mark in it


def test_files_in_hidden_folders_are_no_recordings(tmp_path: Path) -> None:
    for name in ("a/1.wav", "a/.trash/2.wav", "a/deep/.x/3.wav", "a/deep/4.wav", "b/5.wav", "b/._5.wav"):
        path = tmp_path / ".cache" / "set" / name  # that the set itself lies in one does not count
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    found = read_source(DataSettings(kind="folders", path=str(tmp_path / ".cache" / "set")))
    assert [clip.name for clip in found.clips] == ["a/1.wav", "a/deep/4.wav", "b/5.wav"]


@pytest.mark.parametrize("kind", ["auto", "balanced", "kfold"])
@pytest.mark.parametrize("mode", ["drop", "apply"])
def test_corrected_labels_are_judged_on_the_clips_that_given_ones_are(
    tmp_path: Path, kind: str, mode: str
) -> None:
    rows = "".join(f"{n:02d}.wav,{'abc'[n % 3]}\n" for n in range(60))
    settings = table(tmp_path, f"fname,labels\n{rows}")
    how = SplitSettings(kind=kind, count=4 if kind == "kfold" else 1)
    source = read_source(settings)
    audit = tmp_path / "audit.csv"
    suspects = "".join(
        f"curated,{n:02d}.wav,{'abc'[n % 3]},{'abc'[(n + 1) % 3]},{1 - n / 100}\n" for n in range(0, 60, 4)
    )
    audit.write_text(f"pool,fname,labels,suggested_labels,score\n{suspects}")
    better = relabel(source, audit, LabelSettings(relabel=mode, relabel_share=1.0))
    assert better.clips != source.clips
    before = {clip.key for clip in split(source, settings, 7, how).valid}
    left = {clip.key for clip in better.clips}
    assert {clip.key for clip in split(better, settings, 7, how).valid} == before & left
    assert bool(before - left) == (mode == "drop")  # what is left out judges nothing
    audit.write_text("pool,fname,labels,suggested_labels,score\ncurated,01.wav,b,a,1\n")
    again = relabel(better, audit, LabelSettings(relabel=mode, relabel_share=0.0))
    assert again.given == source.clips


def test_noisy_clips_are_held_out_as_before_they_were_relabelled(tmp_path: Path) -> None:
    clips = tuple(Clip(f"{n:02d}", NOISY, Path(f"{n}"), ("abc"[n % 3],)) for n in range(50))
    source = Source(("a", "b", "c"), (*clips, Clip("x", CURATED, Path("x"), ("a",))))
    audit = tmp_path / "audit.csv"
    rows = "".join(f"{n:02d},,{n}\n" for n in range(0, 50, 3))
    audit.write_text(f"fname,suggested_labels,score\n{rows}")
    better = relabel(source, audit, LabelSettings(relabel_share=1.0))
    how = SplitSettings(noisy="full", validate="noisy")
    data = DataSettings(kind="fat2019", path=str(tmp_path))
    before, after = ({clip.key for clip in split(own, data, 7, how).valid} for own in (source, better))
    left = {clip.key for clip in better.clips}
    assert len(before) == 10
    assert after == before & left != before


def test_a_column_that_says_what_validates_leaves_no_splits_to_draw(tmp_path: Path) -> None:
    settings = table(tmp_path, "fname,labels,valid\na.wav,x,1\nb.wav,y,0\nc.wav,x,0\nd.wav,y,1\n")
    source = read_source(settings)
    with pytest.raises(DataError, match=r"`split\.count` draws splits, and here the table says"):
        held_out(source.pool(CURATED), source.classes, settings, SplitSettings(count=3), 1)
    drawn = SplitSettings(kind="balanced")
    assert held_out(source.pool(CURATED), source.classes, settings, drawn, 1)
