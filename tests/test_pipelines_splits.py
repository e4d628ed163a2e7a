"""Which clips train and which validate: properties of the seeded draw, and what a table's own columns say."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.settings import DataSettings
from pipelines.sources import CURATED, NOISY, TEST, Clip, DataError, Source, read_source
from pipelines.splits import Split, split

CLASSES = ("a", "b", "c", "d", "e")
SETTINGS = DataSettings(kind="fat2019", path="set")


def made(label_sets: list[tuple[str, ...]], pool: str = CURATED) -> tuple[Clip, ...]:
    return tuple(Clip(f"{n}.wav", pool, Path(f"{n}.wav"), labels) for n, labels in enumerate(label_sets))


def counts(clips: tuple[Clip, ...]) -> Counter[str]:
    return Counter(label for clip in clips for label in clip.labels)


def keys(clips: tuple[Clip, ...]) -> set[str]:
    return {clip.key for clip in clips}


# Sets whose every class has a few clips of its own, and clips with several labels on top.
several = st.lists(
    st.sets(st.sampled_from(CLASSES), min_size=1, max_size=3).map(sorted).map(tuple), max_size=60
)
sets = st.tuples(st.lists(st.integers(2, 12), min_size=5, max_size=5), several).map(
    lambda drawn: made(
        [(name,) for name, n in zip(CLASSES, drawn[0], strict=True) for _ in range(n)] + drawn[1]
    )
)
singles = st.lists(st.sampled_from(CLASSES), min_size=10, max_size=80).map(
    lambda drawn: made([(name,) for name in drawn + list(CLASSES) * 2])
)


@given(clips=sets, per_class=st.integers(1, 6), seed=st.integers(0, 2**31))
@settings(max_examples=100, deadline=None)
def test_a_split_parts_the_clips(clips: tuple[Clip, ...], per_class: int, seed: int) -> None:
    data = replace(SETTINGS, valid_per_class=per_class)
    parts = split(Source(CLASSES, clips), data, seed)
    assert not keys(parts.train) & keys(parts.valid)
    assert keys(parts.train) | keys(parts.valid) == keys(clips)
    assert len(parts.train) + len(parts.valid) == len(clips)
    whole, held = counts(clips), counts(parts.valid)
    for name in CLASSES:
        assert 0 < held[name] < whole[name]  # every class is trained on and scored


@given(clips=singles, per_class=st.integers(1, 6), seed=st.integers(0, 2**31))
@settings(max_examples=100, deadline=None)
def test_each_class_has_its_share_and_never_more_than_half(
    clips: tuple[Clip, ...], per_class: int, seed: int
) -> None:
    parts = split(Source(CLASSES, clips), replace(SETTINGS, valid_per_class=per_class), seed)
    whole, held = counts(clips), counts(parts.valid)
    for name in CLASSES:
        assert held[name] == min(per_class, whole[name] // 2)


@given(clips=sets, seed=st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_the_seed_decides(clips: tuple[Clip, ...], seed: int) -> None:
    source = Source(CLASSES, clips)
    assert split(source, SETTINGS, seed) == split(source, SETTINGS, seed)


def test_other_seeds_draw_other_clips() -> None:
    source = Source(CLASSES, made([(name,) for name in CLASSES for _ in range(20)]))
    drawn = {frozenset(keys(split(source, SETTINGS, seed).valid)) for seed in range(10)}
    assert len(drawn) == 10


def test_about_three_clips_a_class_of_real_labels(shared: Path) -> None:
    source = read_source(DataSettings(kind="fat2019", path=str(shared / "fat10")))
    assert any(len(clip.labels) > 1 for clip in source.pool(CURATED))
    for seed in range(20):
        held = counts(split(source, SETTINGS, seed).valid)
        assert set(held) == set(source.classes)
        assert min(held.values()) >= 3
        assert max(held.values()) <= 5
        assert sum(held.values()) / len(held) <= 4


# --- pools and columns ---------------------------------------------------------------------------------------


def pools() -> Source:
    labels = [(name,) for name in CLASSES for _ in range(4)]
    return Source(CLASSES, made(labels) + made(labels, NOISY) + made(labels[:3], TEST))


def test_noisy_clips_train_and_never_validate() -> None:
    parts = split(pools(), SETTINGS, 0)
    assert keys(parts.train) >= keys(pools().pool(NOISY))
    assert {clip.pool for clip in parts.valid} == {CURATED}
    assert parts.test == pools().pool(TEST)
    without = split(pools(), replace(SETTINGS, noisy=False), 0)
    assert {clip.pool for clip in without.train} == {CURATED}
    assert without.valid == parts.valid


def with_columns(**columns: Any) -> Source:
    """Two clips a class; cells go round by the clip's number."""
    clips = made([(name,) for name in CLASSES for _ in range(2)])
    return Source(
        CLASSES,
        tuple(replace(c, **{k: v[n % len(v)] for k, v in columns.items()}) for n, c in enumerate(clips)),
    )


def test_the_fold_that_is_asked_for_validates() -> None:
    source = with_columns(fold=[1, 2, 3])
    data = DataSettings(kind="csv", path="set", table="t.csv", fold=2)
    for seed in (0, 1):
        parts = split(source, data, seed)
        assert {clip.fold for clip in parts.valid} == {2}
        assert {clip.fold for clip in parts.train} == {1, 3}


def test_a_valid_column_decides_where_there_is_one() -> None:
    data = DataSettings(kind="csv", path="set", table="t.csv")
    parts = split(with_columns(valid=[True, False, None]), data, 0)
    assert {clip.valid for clip in parts.valid} == {True}
    assert {clip.valid for clip in parts.train} == {False, None}


@pytest.mark.parametrize(("cells", "role"), [([True], "train"), ([False], "validate")])
def test_nothing_left_is_refused(cells: list[bool], role: str) -> None:
    data = DataSettings(kind="csv", path="set", table="t.csv")
    with pytest.raises(DataError, match=rf"^t\.csv: no clip is left to {role} on\.$"):
        split(with_columns(valid=cells), data, 0)


def test_one_clip_a_class_cannot_be_parted() -> None:
    with pytest.raises(DataError, match="no clip is left to validate on"):
        split(Source(CLASSES, made([(name,) for name in CLASSES])), SETTINGS, 0)


def test_roles_are_disjoint_by_construction() -> None:
    clip = made([("a",)])
    with pytest.raises(DataError, match=r"curated/0\.wav .* is in train and in valid"):
        Split(clip, clip, ())
