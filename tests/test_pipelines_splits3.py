"""Splits by source, folds, several disjoint splits and noisy sets: their properties for any table and seed."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipelines import noisy_sets
from pipelines.draws import groups_of, kfold, label_counts
from pipelines.label_settings import SplitSettings
from pipelines.settings import DataSettings
from pipelines.sources import CURATED, NOISY, TEST, Clip, DataError, Source, read_source
from pipelines.splits import Split, balanced, balanced_splits, split, write_splits

CLASSES = ("Bark", "Bus", "Gong", "Hi-hat", "Rain")
SEEDS = st.integers(0, 2**31 - 1)
steady = settings(deadline=None, database=None)  # a busy machine is no failure


def clips_of(
    rows: Iterable[tuple[Sequence[str], str]], pool: str = CURATED, **others: object
) -> tuple[Clip, ...]:
    """(labels, source) -> clips."""
    return tuple(
        Clip(f"{number:04x}.wav", pool, Path(pool, f"{number:04x}.wav"), tuple(labels), None, None, source)
        for number, (labels, source) in enumerate(rows)
    )


def tables(most: int = 3, sources: bool = True, size: int = 60) -> st.SearchStrategy:
    """Tables of clips with 1 to `most` labels, some of known source."""
    labels = st.lists(st.sampled_from(CLASSES), min_size=1, max_size=most, unique=True)
    source = st.sampled_from(("", *"abcdefghij")) if sources else st.just("")
    return st.lists(st.tuples(labels, source), min_size=1, max_size=size).map(clips_of)


def apart(first: Iterable[Clip], second: Iterable[Clip]) -> bool:
    """Whether two sides share no clip and no source."""
    one = {clip.key for clip in first} | {clip.source for clip in first if clip.source}
    return one.isdisjoint({clip.key for clip in second} | {clip.source for clip in second if clip.source})


def per_class(clips: Iterable[Clip]) -> Counter[str]:
    return label_counts(clips)


# Curated splits


@steady
@given(tables(), st.integers(1, 4), st.integers(1, 4), SEEDS)
def test_balanced_splits_hold_sources_together(
    clips: tuple[Clip, ...], wanted: int, count: int, seed: int
) -> None:
    numbers = balanced_splits(clips, CLASSES, wanted, count, seed)
    assert list(numbers) == [clip.key for clip in clips]
    assert set(numbers.values()) <= set(range(-1, count))
    for group in groups_of(clips):
        assert len({numbers[clip.key] for clip in group}) == 1
    assert numbers == balanced_splits(clips, CLASSES, wanted, count, seed)


@steady
@given(tables(most=1, sources=False), st.integers(1, 4), st.integers(1, 4), SEEDS)
def test_balanced_splits_have_equal_shares_where_clips_have_one_label(
    clips: tuple[Clip, ...], wanted: int, count: int, seed: int
) -> None:
    numbers = balanced_splits(clips, CLASSES, wanted, count, seed)
    for name, size in per_class(clips).items():
        for number in range(count):
            share = sum(numbers[clip.key] == number for clip in clips if clip.labels == (name,))
            assert share == min(wanted, size // (count + 1))


@steady
@given(tables(most=1), st.integers(1, 6), st.integers(1, 3), SEEDS)
def test_a_class_keeps_training_clips_whatever_its_sources_are(
    clips: tuple[Clip, ...], wanted: int, count: int, seed: int
) -> None:
    numbers = balanced_splits(clips, CLASSES, wanted, count, seed)
    for number in range(count):
        train = [clip for clip in clips if numbers[clip.key] != number]
        assert set(per_class(train)) == set(per_class(clips))


@steady
@given(tables(sources=False), st.integers(1, 4), SEEDS)
def test_a_balanced_draw_asks_no_more_than_half_of_a_class(
    clips: tuple[Clip, ...], wanted: int, seed: int
) -> None:
    held = balanced(clips, CLASSES, wanted, seed)
    for name, size in per_class(clips).items():
        assert sum(clip.key in held for clip in clips if name in clip.labels) >= min(wanted, size // 2)


def test_the_reference_has_three_disjoint_splits_of_three_clips_a_class(shared: Path) -> None:
    source = read_source(DataSettings(kind="fat2019", path=str(shared / "fat10")))
    clips = source.pool(CURATED)
    numbers = balanced_splits(clips, source.classes, 3, 3, 0)
    for number in range(3):
        count = per_class(clip for clip in clips if numbers[clip.key] == number)
        # About three: clips of several labels overfill a class by a clip or two, never leave one short.
        assert all(3 <= count[name] <= 5 for name in source.classes)
    assert numbers != balanced_splits(clips, source.classes, 3, 3, 1)


# Folds


@steady
@given(tables(), st.integers(2, 6), SEEDS)
def test_folds_take_every_clip_once_and_hold_sources_together(
    clips: tuple[Clip, ...], folds: int, seed: int
) -> None:
    fold_of = kfold(clips, folds, seed)
    assert fold_of.keys() == {clip.key for clip in clips}
    assert set(fold_of.values()) <= set(range(folds))
    for group in groups_of(clips):
        assert len({fold_of[clip.key] for clip in group}) == 1
    assert fold_of == kfold(clips, folds, seed)


@steady
@given(tables(most=1, sources=False), st.integers(2, 6), SEEDS)
def test_folds_are_even_where_clips_have_one_label(clips: tuple[Clip, ...], folds: int, seed: int) -> None:
    fold_of = kfold(clips, folds, seed)
    sizes = Counter(fold_of.values())
    assert max(sizes.values()) - min(sizes[fold] for fold in range(folds)) <= 1
    for name, size in per_class(clips).items():
        count = Counter(fold_of[clip.key] for clip in clips if clip.labels == (name,))
        assert {count[fold] for fold in range(folds)} <= {size // folds, -(-size // folds)}


def test_folds_are_nearly_even_on_clips_of_several_labels(shared: Path) -> None:
    source = read_source(DataSettings(kind="fat2019", path=str(shared / "fat10")))
    clips = source.pool(CURATED)
    fold_of = kfold(clips, 4, 2019)
    whole = per_class(clips)
    for fold in range(4):
        part = [clip for clip in clips if fold_of[clip.key] == fold]
        assert abs(len(part) - len(clips) / 4) <= 2
        assert all(abs(per_class(part)[name] - whole[name] / 4) <= 2 for name in source.classes)
    assert fold_of != kfold(clips, 4, 2020)


# Noisy sets


@steady
@given(tables(sources=False), st.sampled_from((0.1, 0.2, 0.5)), SEEDS)
def test_full_holds_out_exactly_its_share(clips: tuple[Clip, ...], part: float, seed: int) -> None:
    train, valid = noisy_sets.full(clips, seed, part)
    assert len(valid) == round(part * len(clips))
    assert sorted((*train, *valid), key=lambda clip: clip.key) == list(clips)


@steady
@given(tables(), SEEDS)
def test_full_holds_whole_sources_out(clips: tuple[Clip, ...], seed: int) -> None:
    train, valid = noisy_sets.full(clips, seed)
    assert apart(train, valid)
    assert len(train) + len(valid) == len(clips)
    missing = round(0.2 * len(clips)) - len(valid)
    assert missing >= 0
    assert all(len(group) > missing for group in groups_of(train))  # no other source would have fitted


def test_full_of_the_real_size_is_a_fifth() -> None:
    clips = clips_of((("Rain",), "") for _ in range(19815))
    train, valid = noisy_sets.full(clips, 0)
    assert (len(train), len(valid)) == (15852, 3963)


@steady
@given(tables(), st.integers(6, 20), SEEDS)
def test_single_has_one_label_a_clip_and_a_limit_a_class(
    clips: tuple[Clip, ...], limit: int, seed: int
) -> None:
    train, valid = noisy_sets.single(clips, CLASSES, seed, limit, 5)
    given_labels = {clip.key: clip.labels for clip in clips}
    assert apart(train, valid)
    assert len({clip.key for clip in (*train, *valid)}) == len(train) + len(valid)
    assert all(len(c.labels) == 1 and c.labels[0] in given_labels[c.key] for c in (*train, *valid))
    assert max(per_class((*train, *valid)).values()) <= limit
    assert all(count <= 5 for count in per_class(valid).values())
    assert (train, valid) == noisy_sets.single(clips, CLASSES, seed, limit, 5)


def test_single_as_the_reference_has_it() -> None:
    clips = clips_of((labels, "") for labels in (("Rain",), ("Bark", "Bus"), ("Gong",)) for _ in range(300))
    train, valid = noisy_sets.single(clips, CLASSES, 7)
    assert per_class(valid) == dict.fromkeys(("Bark", "Bus", "Gong", "Rain"), 5)
    assert per_class(train) == dict.fromkeys(("Bark", "Bus", "Gong", "Rain"), 95)


def test_a_class_of_few_sources_holds_out_no_more_than_its_share() -> None:
    """Four recordings of ten clips each: one is held out, five of its clips validate, five are in neither."""
    clips = clips_of((("Rain",), str(number // 10)) for number in range(40))
    train, valid = noisy_sets.single(clips, CLASSES, 0)
    assert (len(train), len(valid)) == (30, 5)
    assert apart(train, valid)


@steady
@given(tables(), SEEDS)
def test_best50s_fills_every_class_and_repeats_only_where_short(clips: tuple[Clip, ...], seed: int) -> None:
    train, valid = noisy_sets.best50s(clips, CLASSES, seed)
    single = [clip for clip in clips if len(clip.labels) == 1]
    assert apart(train, valid)
    assert {clip.key for clip in (*train, *valid)} <= {clip.key for clip in single}
    assert len({clip.key for clip in valid}) == len(valid)
    for name in CLASSES:
        held = [clip for clip in valid if clip.labels == (name,)]
        rows = Counter(clip.key for clip in train if clip.labels == (name,))
        assert len(held) <= 3
        if rows:
            assert sum(rows.values()) + len(held) == 50
            assert max(rows.values()) - min(rows.values()) <= 1


def test_best50s_as_the_reference_has_it() -> None:
    rows = [(("Rain",), "")] * 80 + [(("Gong",), "")] * 13 + [(("Bark", "Bus"), "")] * 40
    train, valid = noisy_sets.best50s(clips_of(rows), CLASSES, 1)
    assert per_class(valid) == {"Rain": 3, "Gong": 3}
    assert per_class(train) == {"Rain": 47, "Gong": 47}
    repeated = Counter(clip.key for clip in train)
    assert {repeated[clip.key] for clip in train if clip.labels == ("Rain",)} == {1}
    assert {repeated[clip.key] for clip in train if clip.labels == ("Gong",)} == {4, 5}  # 10 clips, 47 rows


# Roles

DATA = DataSettings(kind="csv", table="t.csv", path="audio")


def test_no_clip_and_no_source_can_be_on_two_sides() -> None:
    first, second, third = clips_of(((("Bark",), "s"), (("Rain",), ""), (("Rain",), "s")))
    with pytest.raises(DataError, match=r"curated/0000\.wav \(line 0\) is in train and in valid"):
        Split((first, second), (first,), ())
    with pytest.raises(DataError, match="both of the source 's'"):
        Split((first, second), (third,), ())
    with pytest.raises(DataError, match="in valid and in test"):
        Split((first,), (second,), (second,))
    assert Split((first, first), (second,), ()).train == (first, first)  # repeated rows are no leak


def attempt(source: Source, data: DataSettings, seed: int, how: SplitSettings) -> Split | None:
    """A split, or None where a side would be empty."""
    try:
        return split(source, data, seed, how)
    except DataError as error:
        if "no clip is left to" not in str(error):
            raise
        return None


@steady
@given(
    tables(),
    tables(),
    st.sampled_from(("auto", "balanced", "kfold")),
    st.sampled_from(("all", "full", "single", "best50s")),
    st.sampled_from(("both", "curated", "noisy")),
    SEEDS,
)
def test_roles_never_overlap(
    curated: tuple[Clip, ...], noisy: tuple[Clip, ...], kind: str, part: str, train: str, seed: int
) -> None:
    noisy = clips_of(((clip.labels, clip.source) for clip in noisy), NOISY)
    test = clips_of(((), "") for _ in range(3))
    source = Source(CLASSES, (*curated, *noisy, *(Clip(c.name, TEST, c.path) for c in test)))
    data = DataSettings(kind="fat2019", path="set")
    how = SplitSettings(kind=kind, count=3, number=1, noisy=part, train=train)
    made = attempt(source, data, seed, how)
    assume(made is not None)
    assert apart(made.train, made.valid)
    assert {clip.pool for clip in made.valid} == {CURATED}
    assert {clip.pool for clip in made.train} <= {"both": {CURATED, NOISY}}.get(train, {train})
    assert made.test == source.pool(TEST)
    assert made == split(source, data, seed, how)


def test_every_clip_validates_once_over_the_folds() -> None:
    clips = clips_of(((CLASSES[number % 5],), str(number // 2)) for number in range(40))
    source = Source(CLASSES, clips)
    valid = [
        clip.key
        for number in range(4)
        for clip in split(source, DATA, 3, SplitSettings(kind="kfold", count=4, number=number)).valid
    ]
    assert sorted(valid) == [clip.key for clip in clips]


def test_a_source_on_both_sides_of_a_given_fold_is_not_trained_on() -> None:
    rows = (("a", 1, "s"), ("b", 2, "s"), ("c", 2, "t"), ("d", 2, ""))
    clips = tuple(Clip(n, CURATED, Path(n), ("Bark",), fold, None, source) for n, fold, source in rows)
    made = split(Source(CLASSES, clips), DataSettings(kind="csv", table="t.csv", path="x", fold=1), 0)
    assert [clip.name for clip in made.valid] == ["a"]
    assert [clip.name for clip in made.train] == ["c", "d"]
    assert made.notes == (
        "1 clips share a source with validation clips and are not trained on, as curated/b, of 's'.",
    )


def test_noisy_clips_of_a_source_that_validates_are_not_trained_on() -> None:
    curated = (
        Clip("a", CURATED, Path("a"), ("Bark",), valid=True, source="s"),
        Clip("b", CURATED, Path("b"), ("Bark",), valid=False),
    )
    noisy = (Clip("c", NOISY, Path("c"), ("Bark",), source="s"), Clip("d", NOISY, Path("d"), ("Bark",)))
    made = split(Source(CLASSES, curated + noisy), DataSettings(kind="fat2019", path="x"), 0)
    assert [clip.name for clip in made.train] == ["b", "d"]


def test_pretraining_on_noisy_clips_alone_can_validate_on_them() -> None:
    curated = clips_of(((CLASSES[number % 5],), "") for number in range(20))
    noisy = clips_of((((CLASSES[number % 5],), "") for number in range(100)), NOISY)
    how = SplitSettings(noisy="full", train="noisy", validate="noisy")
    made = split(Source(CLASSES, curated + noisy), DataSettings(kind="fat2019", path="x"), 0, how)
    assert (len(made.train), len(made.valid)) == (80, 20)
    assert {clip.pool for clip in made.train + made.valid} == {NOISY}


def test_a_fold_and_drawn_splits_exclude_each_other() -> None:
    clips = clips_of(((CLASSES[number % 5],), "") for number in range(20))
    data = DataSettings(kind="csv", table="t.csv", path="x", fold=1)
    with pytest.raises(DataError, match=r"`split.kind` must be 'auto' where `data.fold`"):
        split(Source(CLASSES, clips), data, 0, SplitSettings(kind="kfold", count=4))


def test_a_table_of_splits(tmp_path: Path) -> None:
    rows = ((("Bark", "Hi-hat"), ""), (("Rain",), ""), (("Gong",), ""), (("Bus",), ""))
    first, second, third, fourth = clips_of(rows)
    made = Split((first, first), (second,), (third,))
    write_splits(tmp_path / "splits.csv", made, Source(CLASSES, (first, second, third, fourth)))
    assert [path.name for path in tmp_path.iterdir()] == ["splits.csv"]
    with (tmp_path / "splits.csv").open(newline="") as lines:
        assert list(csv.reader(lines)) == [
            ["fname", "pool", "split", "labels"],
            ["0000.wav", "curated", "train", "Bark,Hi-hat"],
            ["0000.wav", "curated", "train", "Bark,Hi-hat"],
            ["0001.wav", "curated", "valid", "Rain"],
            ["0002.wav", "curated", "test", "Gong"],
            ["0003.wav", "curated", "", "Bus"],
        ]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"count": 0}, "`count` must be from 1 to 1000. Received: 0."),
        ({"kind": "kfold"}, "`count` must be from 2 to 1000. Received: 1."),
        ({"count": 3, "number": 3}, "`number` must be from 0 to 2. Received: 3."),
        ({"noisy_share": 1.0}, "`noisy_share` must be from 0.001 to 0.999. Received: 1.0."),
        ({"validate": "noisy"}, "`noisy` must be one of full, single, best50s where `validate` is 'noisy'"),
    ],
)
def test_settings_that_cannot_be(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        SplitSettings(**wrong)
