"""Which noisy clips are trained on, flattening and resampling."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.draws import label_counts
from pipelines.label_settings import DOUBTFUL, SelectSettings, SplitSettings
from pipelines.selection import fill_up, flatten, ok_classes, resample, roles, select, usable
from pipelines.settings import DataSettings
from pipelines.sources import CURATED, NOISY, Clip, DataError, read_source
from pipelines.splits import Split

CLASSES = ("Bark", "Bus", "Gong", "Hi-hat", "Rain")
OK = ("Bark", "Hi-hat", "Rain")
SEEDS = st.integers(0, 2**31 - 1)
steady = settings(deadline=None, database=None)  # a busy machine is no failure


def clips_of(rows: Iterable[Sequence[str]], pool: str = CURATED) -> tuple[Clip, ...]:
    return tuple(Clip(f"{n:04x}.wav", pool, Path(f"{n:04x}.wav"), tuple(own)) for n, own in enumerate(rows))


def tables(pool: str, most: int = 3, least: int = 1, size: int = 50) -> st.SearchStrategy:
    labels = st.lists(st.sampled_from(CLASSES), min_size=1, max_size=most, unique=True)
    return st.lists(labels, min_size=least, max_size=size).map(lambda rows: clips_of(rows, pool))


# Which noisy clips are usable


def test_the_reference_doubts_12_of_80_classes(shared: Path) -> None:
    classes = (shared / "fsdkaggle2019_classes.txt").read_text().split()
    assert len(DOUBTFUL) == 12
    assert set(DOUBTFUL) <= set(classes)
    ok = ok_classes(classes, SelectSettings())
    assert len(ok) == 68
    assert list(ok) == [name for name in classes if name not in DOUBTFUL]


def test_an_ok_list_says_what_is_usable() -> None:
    assert ok_classes(CLASSES, SelectSettings(ok=("Rain", "Bark"))) == ("Rain", "Bark")
    assert ok_classes(CLASSES, SelectSettings(ng=("Rain",))) == ("Bark", "Bus", "Gong", "Hi-hat")


@pytest.mark.parametrize("key", ["ok", "ng"])
def test_a_listed_class_that_is_none_is_named(key: str) -> None:
    with pytest.raises(DataError, match=rf"`select\.{key}` names 'Brak'\. The set has: Bark, Bus"):
        ok_classes(CLASSES, SelectSettings(**{key: ("Brak",)}))


def test_one_doubtful_label_makes_a_clip_unusable() -> None:
    clips = clips_of((("Bark",), ("Bark", "Bus"), ("Gong",), ("Rain", "Bark"), ()), NOISY)
    assert [clip.name for clip in usable(clips, OK)] == ["0000.wav", "0003.wav"]


# Filling classes up


@steady
@given(tables(CURATED), tables(NOISY), st.integers(0, 12), SEEDS)
def test_classes_are_filled_up_as_far_as_noisy_clips_go(
    curated: tuple[Clip, ...], noisy: tuple[Clip, ...], wanted: int, seed: int
) -> None:
    chosen = fill_up(curated, noisy, OK, seed, wanted)
    fine = usable(noisy, OK)
    assert set(chosen) <= set(fine)
    assert len(set(chosen)) == len(chosen)
    have, top = label_counts(curated), wanted or max(label_counts(curated).values())
    filled = label_counts((*curated, *chosen))
    for name in OK:
        left = any(name in clip.labels for clip in set(fine) - set(chosen))
        assert filled[name] >= top or not left
        if have[name] >= top and not any(len(clip.labels) > 1 for clip in chosen):
            assert filled[name] == have[name]
    assert chosen == fill_up(curated, noisy, OK, seed, wanted)


@steady
@given(tables(CURATED, most=1), tables(NOISY, most=1), SEEDS)
def test_classes_are_filled_up_exactly_where_clips_have_one_label(
    curated: tuple[Clip, ...], noisy: tuple[Clip, ...], seed: int
) -> None:
    have, there = label_counts(curated), label_counts(noisy)
    top = max(have.values())
    filled = label_counts((*curated, *fill_up(curated, noisy, OK, seed)))
    for name in OK:
        assert filled[name] == min(top, have[name] + there[name])
    for name in set(CLASSES) - set(OK):
        assert filled[name] == have[name]


def test_filling_up_a_real_set(shared: Path) -> None:
    """fat10 has a class of the default list, Waves_and_surf, which gets no noisy clip."""
    data = DataSettings(kind="fat2019", path=str(shared / "fat10"))
    source = read_source(data)
    made = roles(source, data, SplitSettings(), SelectSettings(noisy="fill"), 2019)
    curated = label_counts(clip for clip in made.train if clip.pool == CURATED)
    both = label_counts(made.train)
    assert both["Waves_and_surf"] == curated["Waves_and_surf"]
    others = [name for name in source.classes if name != "Waves_and_surf"]
    assert all(max(curated.values()) <= both[name] <= max(curated.values()) + 3 for name in others)
    assert "noisy clips are trained on, of 9 classes." in made.notes[-1]
    assert made != roles(source, data, SplitSettings(), SelectSettings(noisy="fill"), 2020)


# Rows


def test_a_clip_of_k_labels_becomes_k_rows() -> None:
    (first, second) = clips_of((("Rain", "Bark"), ("Gong",)))
    rows = flatten((first, second))
    assert [(clip.key, clip.labels) for clip in rows] == [
        (first.key, ("Rain",)),
        (first.key, ("Bark",)),
        (second.key, ("Gong",)),
    ]


@steady
@given(tables(CURATED, most=1), st.integers(0, 30), SEEDS)
def test_resampling_gives_each_class_its_count(clips: tuple[Clip, ...], wanted: int, seed: int) -> None:
    rows = resample(clips, CLASSES, wanted, seed)
    size = label_counts(clips)
    assert label_counts(rows) == dict.fromkeys(size, wanted or max(size.values()))
    for name in size:
        repeats = Counter(clip.key for clip in rows if clip.labels == (name,))
        assert max(repeats.values()) - min(repeats.values()) <= 1
        assert max(repeats.values()) == 1 or len(repeats) == size[name]
    assert rows == resample(clips, CLASSES, wanted, seed)


@steady
@given(tables(CURATED), SEEDS)
def test_resampling_to_the_largest_class_loses_no_clip(clips: tuple[Clip, ...], seed: int) -> None:
    rows = resample(clips, CLASSES, 0, seed)
    size, made = label_counts(clips), label_counts(rows)
    assert set(rows) == set(clips)
    assert all(made[name] >= max(size.values()) for name in size)


# The whole way


@steady
@given(
    tables(CURATED),
    tables(NOISY),
    st.sampled_from(("all", "usable", "fill")),
    st.booleans(),
    st.sampled_from((0, -1, 7)),
    SEEDS,
)
def test_selection_changes_training_rows_alone(
    curated: tuple[Clip, ...], noisy: tuple[Clip, ...], part: str, flat: bool, count: int, seed: int
) -> None:
    held = tuple(Clip(f"v{clip.name}", CURATED, clip.path, clip.labels) for clip in curated)
    made = Split(curated + noisy, held, ())
    chosen = select(
        made, CLASSES, SelectSettings(noisy=part, ng=("Bus", "Gong"), flatten=flat, resample=count), seed
    )
    assert (chosen.valid, chosen.test) == (held, ())
    labels = {clip.key: set(clip.labels) for clip in curated + noisy}
    assert all(set(clip.labels) <= labels[clip.key] for clip in chosen.train)
    if flat:
        assert all(len(clip.labels) == 1 for clip in chosen.train)
    if part != "all":
        assert not any(labels[c.key] & {"Bus", "Gong"} for c in chosen.train if c.pool == NOISY)
    if count == 0 and not flat:
        assert {clip for clip in chosen.train if clip.pool == CURATED} == set(curated)


@steady
@given(tables(NOISY), SEEDS)
def test_all_is_the_default(noisy: tuple[Clip, ...], seed: int) -> None:
    made = Split(noisy, (), ())
    assert select(made, CLASSES, SelectSettings(), seed) == made


def test_filling_up_noisy_clips_alone_needs_a_count() -> None:
    made = Split(clips_of((("Bark",), ("Rain",)), NOISY), (), ())
    with pytest.raises(DataError, match=r"`select\.fill_to` is needed"):
        select(made, CLASSES, SelectSettings(noisy="fill"), 0)
    assert len(select(made, CLASSES, SelectSettings(noisy="fill", fill_to=1), 0).train) == 2


def test_a_selection_of_nothing_is_refused() -> None:
    made = Split(clips_of((("Bus",),), NOISY), (), ())
    with pytest.raises(DataError, match="`select` leaves no clip to train on"):
        select(made, CLASSES, SelectSettings(noisy="usable"), 0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"fill_to": -1}, "`fill_to` must be at least 0. Received: -1."),
        ({"resample": -2}, "`resample` must be at least -1. Received: -2."),
        ({"ok": ("Rain", "Bus")}, "`ok` must name no class that `ng` names. Received: Bus."),
    ],
)
def test_settings_that_cannot_be(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        SelectSettings(**wrong)
