"""Seeded draws of clips that no split may tear apart: pure functions of clips and a seed.

Clips that were cut from one recording (`Clip.source`) form a group; a clip of no known source is its own.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pipelines.tables import Clip

Group = tuple[Clip, ...]


def groups_of(clips: Iterable[Clip]) -> list[Group]:
    """Clips -> groups of one source each, in the order of their first clips."""
    by_source: dict[tuple[bool, str], list[Clip]] = {}
    for clip in clips:
        by_source.setdefault((bool(clip.source), clip.source or clip.key), []).append(clip)
    return [tuple(group) for group in by_source.values()]


def label_counts(clips: Iterable[Clip]) -> Counter[str]:
    """-> clips of each label."""
    return Counter(label for clip in clips for label in clip.labels)


def draw(
    groups: Sequence[Group],
    classes: Sequence[str],
    wanted: Mapping[str, int],
    order: random.Random,
    count: Counter[str] | None = None,
    whole: Mapping[str, int] | None = None,
) -> list[int]:
    """-> numbers of groups that bring every class to about `wanted` clips, from `count` clips on.

    Rare classes choose first, and among its groups a class prefers those that push no other class over its
    share, so that clips with several labels do not overfill the common classes. Where `whole` gives the clips
    of each class, a draw leaves some of them: a group of several clips that would take a class's last one is
    never drawn, and a single clip that would only where there is no other.
    """
    count = Counter() if count is None else count
    labels = [label_counts(group) for group in groups]
    holds: dict[str, list[int]] = {name: [] for name in classes}
    for number, own in enumerate(labels):
        for label in own:
            if label in holds:
                holds[label].append(number)
    size = {name: sum(labels[number][name] for number in holds[name]) for name in classes}

    def takes_last(number: int) -> bool:
        return whole is not None and any(count[x] + n >= whole[x] for x, n in labels[number].items())

    chosen: dict[int, None] = {}
    for name in sorted(classes, key=lambda name: (size[name], name)):
        pool = [number for number in holds[name] if number not in chosen]
        order.shuffle(pool)
        if count[name] >= wanted[name]:
            continue
        pool.sort(
            key=lambda number: (
                takes_last(number),
                sum(count[x] + n > wanted[x] for x, n in labels[number].items() if x in wanted),
            )
        )
        for number in pool:
            if count[name] >= wanted[name]:
                break
            if len(groups[number]) > 1 and takes_last(number):
                continue
            chosen[number] = None
            count.update(labels[number])
    return list(chosen)


def kfold(clips: Sequence[Clip], folds: int, seed: int) -> dict[str, int]:
    """-> {key: fold from 0 to folds - 1}, each class spread as evenly over the folds as groups allow.

    The rarest class left is dealt out first, large groups before small ones, each to the fold that misses
    most of that class, then to the one that misses most clips (iterative stratification, Sechidis et al. 2011).
    """
    order = random.Random(f"kfold {seed}")
    groups = groups_of(clips)
    order.shuffle(groups)
    groups.sort(key=len, reverse=True)
    labels = [label_counts(group) for group in groups]
    total = label_counts(clips)
    # Counted in folds-ths of a clip, so that equal wants compare as equal.
    wants = {name: [total[name]] * folds for name in total}
    room = [len(clips)] * folds
    holds: dict[str, list[int]] = {name: [] for name in wants}
    for number, own in enumerate(labels):
        for label in own:
            holds[label].append(number)
    left = {name: len(numbers) for name, numbers in holds.items()}
    fold_of: dict[int, int] = {}

    def deal(number: int, name: str | None) -> None:
        best = [(wants[name][fold] if name else 0, room[fold]) for fold in range(folds)]
        fold = order.choice([fold for fold in range(folds) if best[fold] == max(best)])
        fold_of[number] = fold
        room[fold] -= folds * len(groups[number])
        for label, clips_of_it in labels[number].items():
            wants[label][fold] -= folds * clips_of_it
            left[label] -= 1

    while any(left.values()):
        name = min((name for name in left if left[name]), key=lambda name: (left[name], name))
        for number in holds[name]:
            if number not in fold_of:
                deal(number, name)
    for number in range(len(groups)):
        if number not in fold_of:
            deal(number, None)
    return {clip.key: fold_of[number] for number, group in enumerate(groups) for clip in group}


def share(clips: Sequence[Clip], part: float, order: random.Random) -> set[str]:
    """-> keys of exactly round(part x clips) clips drawn, or as near below as whole groups allow."""
    groups = groups_of(clips)
    order.shuffle(groups)
    missing = round(part * len(clips))
    chosen: set[str] = set()
    for group in groups:
        if len(group) <= missing:
            chosen.update(clip.key for clip in group)
            missing -= len(group)
    return chosen
