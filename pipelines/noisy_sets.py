"""Parts of the noisy pool to pretrain on: pure functions of clips and a seed -> (training rows, held out).

A training row is a clip, and a clip may be in several rows. No clip and no source is on both sides.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import cycle, islice

from pipelines.draws import draw, groups_of, label_counts, share
from pipelines.label_settings import SplitSettings
from pipelines.tables import Clip

Sides = tuple[tuple[Clip, ...], tuple[Clip, ...]]


def full(clips: Sequence[Clip], seed: int, part: float = 0.2, given: Sequence[Clip] = ()) -> Sides:
    """All clips, and exactly `part` of them held out, or as near below as whole sources allow.

    Where `given` has the clips before a relabelling, the part is drawn from those.
    """
    held = share(given or clips, part, random.Random(f"full {seed}"))
    return tuple(c for c in clips if c.key not in held), tuple(c for c in clips if c.key in held)


def single(
    clips: Sequence[Clip], classes: Sequence[str], seed: int, per_class: int = 100, held: int = 5
) -> Sides:
    """One label drawn for every clip, then at most `per_class` clips a class, `held` of them held out."""
    order = random.Random(f"single {seed}")
    one = [replace(clip, labels=(order.choice(clip.labels),)) for clip in clips if clip.labels]
    train, valid = _hold_out(one, classes, per_class, held, order)
    return tuple(c for rows in train.values() for c in rows), valid


def best50s(
    clips: Sequence[Clip], classes: Sequence[str], seed: int, per_class: int = 50, held: int = 3
) -> Sides:
    """Clips of one label only, `per_class` a class, `held` of them held out; repeated only where short."""
    order = random.Random(f"best50s {seed}")
    one = [clip for clip in clips if len(clip.labels) == 1]
    train, valid = _hold_out(one, classes, per_class, held, order)
    out = label_counts(valid)
    rows = (islice(cycle(found), per_class - out[name]) for name, found in train.items())
    return tuple(clip for row in rows for clip in row), valid


def _hold_out(
    one: Sequence[Clip], classes: Sequence[str], per_class: int, held: int, order: random.Random
) -> tuple[Mapping[str, list[Clip]], tuple[Clip, ...]]:
    """Clips of one label each -> ({class: training clips}, held out), `per_class` a class together.

    What shares a source with a clip that is held out is in neither.
    """
    size = label_counts(one)
    wanted = {name: min(held, size[name] // 2) for name in classes}
    groups = groups_of(one)
    taken = {
        clip.key for number in draw(groups, classes, wanted, order, whole=size) for clip in groups[number]
    }
    train: dict[str, list[Clip]] = {name: [] for name in classes}
    valid: dict[str, list[Clip]] = {name: [] for name in classes}
    for clip in order.sample(one, len(one)):
        (label,) = clip.labels
        if clip.key in taken and len(valid[label]) < wanted[label]:
            valid[label].append(clip)
    for clip in order.sample(one, len(one)):
        (label,) = clip.labels
        if clip.key not in taken and len(train[label]) + len(valid[label]) < per_class:
            train[label].append(clip)
    return train, tuple(clip for rows in valid.values() for clip in rows)


def sides(
    clips: Sequence[Clip],
    classes: Sequence[str],
    settings: SplitSettings,
    seed: int,
    given: Sequence[Clip] = (),
) -> Sides:
    """The part of the noisy pool that the settings name. `given`: the pool before a relabelling.

    What `single` and `best50s` hold out hangs on the labels, and so on what relabels.
    """
    if settings.noisy == "full":
        return full(clips, seed, settings.noisy_share, given)
    if settings.noisy == "single":
        return single(clips, classes, seed)
    if settings.noisy == "best50s":
        return best50s(clips, classes, seed)
    return tuple(clips), ()
