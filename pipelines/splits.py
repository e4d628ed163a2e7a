"""Which clips train and which validate: pure functions of the clips and a seed."""

import csv
import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines import noisy_sets
from pipelines.draws import draw, groups_of, kfold, label_counts
from pipelines.label_settings import SplitSettings
from pipelines.settings import DataSettings
from pipelines.tables import CURATED, NOISY, TEST, Clip, DataError, Source

ROLES = ("train", "valid", "test")
_HEADER = ("fname", "pool", "split", "labels")


@dataclass(frozen=True)
class Split:
    """The clips of each role; no clip has two, and no source is in training and validation.

    A clip that stands in `train` several times is trained on so often in an epoch.
    """

    train: tuple[Clip, ...]
    valid: tuple[Clip, ...]
    test: tuple[Clip, ...]
    notes: tuple[str, ...] = ()  # what was left out on the way, for the report

    def __post_init__(self) -> None:
        """Raise `DataError` where a clip or a source is on two sides."""
        keys = {role: {clip.key: clip for clip in getattr(self, role)} for role in ROLES}
        for first, second in (("train", "valid"), ("train", "test"), ("valid", "test")):
            for key in keys[first].keys() & keys[second].keys():
                raise DataError(f"{key} (line {keys[first][key].line}) is in {first} and in {second}.")
        trained = {clip.source: clip for clip in self.train if clip.source}
        for clip in self.valid:
            if clip.source in trained:
                other = trained[clip.source]
                raise DataError(
                    f"{other.key} (line {other.line}) is in train and {clip.key} (line {clip.line}) in valid, "
                    f"both of the source {clip.source!r}."
                )


def balanced_splits(
    clips: Sequence[Clip], classes: Sequence[str], per_class: int, count: int, seed: int
) -> dict[str, int]:
    """-> {key: its split from 0 to count - 1, or -1}: disjoint seeded draws of about `per_class` clips a class.

    Together they take an even share of a class that is short, so that with one split never more than half of
    its clips are asked for. Clips of one source stay together.
    """
    order = random.Random(seed)
    whole = label_counts(clips)
    wanted = {name: min(per_class, whole[name] // (count + 1)) for name in classes}
    numbers = {clip.key: -1 for clip in clips}
    left = groups_of(clips)
    for number in range(count):
        drawn = set(draw(left, classes, wanted, order, whole=whole))
        numbers |= {clip.key: number for place in drawn for clip in left[place]}
        left = [group for place, group in enumerate(left) if place not in drawn]
    return numbers


def balanced(clips: Sequence[Clip], classes: Sequence[str], per_class: int, seed: int) -> set[str]:
    """-> keys of a seeded draw of about `per_class` clips a class, asking for half of a class at most."""
    numbers = balanced_splits(clips, classes, per_class, 1, seed)
    return {key for key, number in numbers.items() if number == 0}


def held_out(
    clips: Sequence[Clip], classes: Sequence[str], data: DataSettings, how: SplitSettings, seed: int
) -> set[str]:
    """-> keys of the curated clips that validate.

    As the table gives them (fold, then valid column) where `how.kind` is "auto", else as drawn.
    """
    told = data.fold is not None or any(clip.valid is not None for clip in clips)
    if how.kind == "auto" and told and how.count > 1:
        raise DataError(
            "`split.count` draws splits, and here the table says which clips validate. Give split.kind=balanced, "
            f"or split.count=1. Received: {how.count}."
        )
    if how.kind == "auto" and data.fold is not None:
        return {clip.key for clip in clips if clip.fold == data.fold}
    if how.kind == "auto" and any(clip.valid is not None for clip in clips):
        return {clip.key for clip in clips if clip.valid}
    if data.fold is not None:
        raise DataError(
            f"`split.kind` must be 'auto' where `data.fold` says which fold validates. Received: {how.kind!r}."
        )
    if how.kind == "kfold":
        numbers = kfold(clips, how.count, seed)
    else:
        numbers = balanced_splits(clips, classes, data.valid_per_class, how.count, seed)
    return {key for key, number in numbers.items() if number == how.number}


def split(source: Source, data: DataSettings, seed: int, how: SplitSettings | None = None) -> Split:
    """The roles of a set's clips. Raises `DataError` where nothing is left to train or to validate on.

    Where the table puts clips of one source on both sides, or noisy clips share a source with the clips that
    validate, those are not trained on, and a note says how many.

    What is held out is drawn from the clips as they were given, before any relabelling. A clip that a relabelling
    leaves out is neither trained on nor validates, drawn or put there by the table, and one with other labels is
    judged by those.
    """
    how = how or SplitSettings()
    curated = source.pool(CURATED)
    pool, given = (source.pool(NOISY), source.as_given(NOISY)) if data.noisy else ((), ())
    noisy, noisy_held = noisy_sets.sides(pool, source.classes, how, seed, given)
    if how.validate == "noisy":
        valid, rest = noisy_held, curated
    else:
        held = held_out(source.as_given(CURATED), source.classes, data, how, seed)
        valid = tuple(clip for clip in curated if clip.key in held)
        rest = tuple(clip for clip in curated if clip.key not in held)
    train = (rest if how.train != "noisy" else ()) + (noisy if how.train != "curated" else ())
    heard = {clip.source for clip in valid if clip.source}
    apart = tuple(clip for clip in train if clip.source not in heard)
    notes = []
    if len(apart) < len(train):
        straddling = [clip for clip in train if clip.source in heard]
        notes.append(
            f"{len({clip.key for clip in straddling})} clips share a source with validation clips and are not "
            f"trained on, as {straddling[0].key}, of {straddling[0].source!r}."
        )
    for role, clips in (("train", apart), ("validate", valid)):
        if not clips:
            raise DataError(f"{data.table or data.path}: no clip is left to {role} on.")
    return Split(apart, valid, source.pool(TEST), tuple(notes))


def write_splits(path: Path, made: Split, source: Source | None = None) -> None:
    """Write `splits.csv`: fname, pool, split, labels, a row for each time that a clip is used.

    With `source`, the clips that are not used follow, with an empty split. The file is whole or not there.
    """
    unfinished = path.with_name(path.name + ".tmp")
    with unfinished.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(_HEADER)
        writer.writerows(_rows(made, source))
    os.replace(unfinished, path)


def same_splits(path: Path, made: Split, source: Source | None = None) -> bool:
    """Whether a `splits.csv` holds what `write_splits` would write of these clips, in whatever order."""
    with path.open(newline="", encoding="utf-8") as lines:
        header, *rows = [tuple(row) for row in csv.reader(lines)] or [()]
    return header == _HEADER and Counter(rows) == Counter(_rows(made, source))


def _rows(made: Split, source: Source | None) -> Iterator[tuple[str, ...]]:
    used = {clip.key for role in ROLES for clip in getattr(made, role)}
    for role in ROLES:
        for clip in getattr(made, role):
            yield clip.name, clip.pool, role, ",".join(clip.labels)
    for clip in source.clips if source else ():
        if clip.key not in used:
            yield clip.name, clip.pool, "", ",".join(clip.labels)
