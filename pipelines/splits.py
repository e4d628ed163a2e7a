"""Which clips train and which validate: pure functions of the clips and a seed."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.settings import DataSettings
from pipelines.sources import CURATED, NOISY, TEST, Clip, DataError, Source


@dataclass(frozen=True)
class Split:
    """The clips of each role; no clip has two."""

    train: tuple[Clip, ...]
    valid: tuple[Clip, ...]
    test: tuple[Clip, ...]


def balanced(clips: Sequence[Clip], classes: Sequence[str], per_class: int, seed: int) -> set[str]:
    """-> keys of a seeded draw of about `per_class` clips a class, never more than half of a class.

    Rare classes choose first, and among its clips a class prefers those that push no other class over its
    share, so that clips with several labels do not overfill the common classes.
    """
    order = random.Random(seed)
    holds = {name: [clip for clip in clips if name in clip.labels] for name in classes}
    wanted = {name: min(per_class, len(holds[name]) // 2) for name in classes}
    chosen: set[str] = set()
    count: Counter[str] = Counter()
    for name in sorted(classes, key=lambda name: (len(holds[name]), name)):
        pool = [clip for clip in holds[name] if clip.key not in chosen]
        order.shuffle(pool)
        pool.sort(key=lambda clip: sum(count[label] >= wanted[label] for label in clip.labels))
        for clip in pool:
            if count[name] >= wanted[name]:
                break
            chosen.add(clip.key)
            count.update(clip.labels)
    return chosen


def split(source: Source, settings: DataSettings, seed: int) -> Split:
    """Roles as the table gives them (fold, then valid column), else by a seeded balanced draw.

    Raises `DataError` where nothing is left to train or to validate on.
    """
    curated = source.pool(CURATED)
    if settings.fold is not None:
        held = {clip.key for clip in curated if clip.fold == settings.fold}
    elif any(clip.valid is not None for clip in curated):
        held = {clip.key for clip in curated if clip.valid}
    else:
        held = balanced(curated, source.classes, settings.valid_per_class, seed)
    noisy = source.pool(NOISY) if settings.noisy else ()
    made = Split(
        train=tuple(clip for clip in curated if clip.key not in held) + noisy,
        valid=tuple(clip for clip in curated if clip.key in held),
        test=source.pool(TEST),
    )
    for role in ("train", "valid"):
        if not getattr(made, role):
            raise DataError(f"{settings.table or settings.path}: no clip is left to {role} on.")
    return made
