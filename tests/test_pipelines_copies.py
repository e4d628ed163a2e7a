"""Copies of one recording under several names: what is said of them, and where they come to lie."""

from pathlib import Path

import pytest

from pipelines.copies import copies_together
from pipelines.label_settings import SplitSettings
from pipelines.settings import DataSettings
from pipelines.sources import Source, read_source
from pipelines.splits import split
from pipelines.tables import CURATED, TEST, Clip


def a_table(folder: Path, text: str) -> DataSettings:
    path = folder / "t.csv"
    path.write_text(text)
    return DataSettings(kind="csv", path=str(folder), table=str(path))


@pytest.mark.parametrize("kind", ["balanced", "kfold"])
def test_copies_of_one_recording_stay_on_one_side(tmp_path: Path, kind: str) -> None:
    rows = "".join(f"{n:02d}.wav,{'abc'[n % 3]},\n" for n in range(60))
    settings = a_table(tmp_path, f"fname,labels,source\n{rows}60.wav,a,field\n61.wav,b,\n")
    source = read_source(settings)
    assert copies_together(source, {clip.key: clip.name for clip in source.clips}) is source
    # Three of each, of three classes, and four of two.
    same = {clip.key: f"{int(clip.name[:2]) % 20}" for clip in source.clips}
    made = copies_together(source, same)
    assert made.notes[-1] == (
        "42 clips are copies of others, as curated/20.wav of curated/00.wav; they stay on one side of the split. "
        "40 have other labels, as curated/20.wav (c) of curated/00.wav (a)."
    )
    assert [clip.name for clip in made.clips if clip.source == "field"] == [
        "00.wav",
        "20.wav",
        "40.wav",
        "60.wav",
    ]
    for seed in range(5):
        found = split(made, settings, seed, SplitSettings(kind=kind, count=4 if kind == "kfold" else 1))
        held, trained = ({same[clip.key] for clip in clips} for clips in (found.valid, found.train))
        assert held
        assert trained
        assert not held & trained


def test_copies_of_several_sources_stay_where_the_table_puts_them(tmp_path: Path) -> None:
    settings = a_table(tmp_path, "fname,labels,source\na.wav,x,1\nb.wav,x,2\nc.wav,x,\nd.wav,y,\ne.wav,y,\n")
    source = read_source(settings)
    made = copies_together(source, dict(zip([clip.key for clip in source.clips], "sssdd", strict=True)))
    assert [clip.source for clip in made.clips] == ["1", "2", "", *["copies of curated/d.wav"] * 2]
    assert made.notes[-1] == (
        "3 clips are copies of others, as curated/b.wav of curated/a.wav; they stay on one side of the split, but "
        "for 2 whose table tells other sources, as curated/b.wav of curated/a.wav."
    )


def test_copies_across_the_sides_of_a_table_are_not_trained_on(tmp_path: Path) -> None:
    rows = "".join(f"{n}.wav,{'xy'[n % 2]},{n // 4 % 2}\n" for n in range(8))
    settings = a_table(tmp_path, f"fname,labels,valid\n{rows}")
    source = read_source(settings)
    same = {clip.key: clip.name for clip in source.clips} | {"curated/0.wav": "4.wav"}
    found = split(copies_together(source, same), settings, 1)
    assert [clip.name for clip in found.valid] == ["4.wav", "5.wav", "6.wav", "7.wav"]
    assert [clip.name for clip in found.train] == ["1.wav", "2.wav", "3.wav"]
    assert found.notes[0].startswith("1 clips share a source with validation clips and are not trained on")


def test_test_clips_that_are_copies_of_training_clips_are_told_of() -> None:
    clips = [
        Clip(name, pool, Path(name), ("x",)) for name, pool in (("a", CURATED), ("b", TEST), ("c", TEST))
    ]
    source = Source(("x",), tuple(clips))
    made = copies_together(source, {"curated/a": "s", "test/b": "d", "test/c": "s"})
    assert made.clips == source.clips
    assert made.notes == ("1 test clips are copies of training clips, as test/c of curated/a.",)
    assert copies_together(source, {"curated/a": "s", "test/b": "d", "test/c": "d"}) is source
