"""Which training clips are trained on and how often: pure functions of clips and a seed."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import cycle

from pipelines.draws import draw, label_counts
from pipelines.label_settings import DOUBTFUL, SelectSettings, SplitSettings
from pipelines.noisy_sets import single
from pipelines.settings import DataSettings
from pipelines.splits import Split, split
from pipelines.tables import NOISY, Clip, DataError, Source


def ok_classes(classes: Sequence[str], settings: SelectSettings) -> tuple[str, ...]:
    """-> the classes whose noisy clips are usable, in the order of `classes`.

    Raises `DataError` for a listed class that the set has not, unless it is of the default list.
    """
    for key, names in (("ok", settings.ok), ("ng", settings.ng)):
        unknown = [name for name in names if name not in classes and name not in DOUBTFUL]
        if unknown:
            raise DataError(f"`select.{key}` names {unknown[0]!r}. The set has: {', '.join(classes)}.")
    return tuple(name for name in settings.ok or classes if name in classes and name not in settings.ng)


def usable(clips: Iterable[Clip], ok: Iterable[str]) -> tuple[Clip, ...]:
    """-> the clips whose labels are all on the OK list."""
    fine = set(ok)
    return tuple(clip for clip in clips if clip.labels and fine.issuperset(clip.labels))


def fill_up(
    curated: Sequence[Clip], noisy: Sequence[Clip], ok: Sequence[str], seed: int, per_class: int = 0
) -> tuple[Clip, ...]:
    """-> the noisy clips that, beside the curated ones, bring each class of `ok` to `per_class` clips.

    0 stands for the largest curated class's count. Each clip is taken once, so a class with too few stays
    short; a clip with a class that is not on the list is never taken.
    """
    have = label_counts(curated)
    top = per_class or max(have.values(), default=0)
    groups = [(clip,) for clip in usable(noisy, ok)]
    chosen = draw(groups, ok, dict.fromkeys(ok, top), random.Random(f"fill {seed}"), have)
    return tuple(groups[number][0] for number in sorted(chosen))


def flatten(clips: Iterable[Clip]) -> tuple[Clip, ...]:
    """-> a row for each label of each clip, with that label alone."""
    return tuple(replace(clip, labels=(label,)) for clip in clips for label in clip.labels)


def resample(clips: Sequence[Clip], classes: Sequence[str], per_class: int, seed: int) -> tuple[Clip, ...]:
    """-> rows in which each class that has a clip stands `per_class` times, 0 for the largest class's count.

    A class with more clips is thinned by a draw, one with fewer keeps all of them and repeats them evenly.
    Where clips have several labels, classes that go with short ones exceed the count.
    """
    order = random.Random(f"resample {seed}")
    size = label_counts(clips)
    wanted = dict.fromkeys(classes, per_class or max(size.values(), default=0))
    count: Counter[str] = Counter()
    groups = [(clip,) for clip in clips]
    rows = [clips[number] for number in sorted(draw(groups, classes, wanted, order, count))]
    own: dict[str, list[Clip]] = {name: [] for name in classes}
    for clip in order.sample(clips, len(clips)):
        for label in clip.labels:
            own[label].append(clip)
    for name in sorted(classes, key=lambda name: (size[name], name)):
        # Clips of fewer labels first: they push no other class.
        for clip in cycle(sorted(own[name], key=lambda clip: len(clip.labels))):
            if count[name] >= wanted[name]:
                break
            rows.append(clip)
            count.update(clip.labels)
    return tuple(rows)


def select(made: Split, classes: Sequence[str], settings: SelectSettings, seed: int) -> Split:
    """A split whose training rows are as the settings say: noisy clips chosen, flattened, resampled."""
    curated = tuple(clip for clip in made.train if clip.pool != NOISY)
    noisy = tuple(clip for clip in made.train if clip.pool == NOISY)
    notes = list(made.notes)
    if settings.noisy != "all":
        ok = ok_classes(classes, settings)
        if settings.noisy == "fill" and not curated and not settings.fill_to:
            raise DataError(
                "`select.fill_to` is needed where no curated clip is trained on: fill up to what?"
            )
        kept = usable(noisy, ok)
        if settings.noisy == "fill":
            kept = fill_up(curated, noisy, ok, seed, settings.fill_to)
        notes.append(f"{len(kept)} of {len(noisy)} noisy clips are trained on, of {len(ok)} classes.")
        noisy = kept
    train = curated + noisy
    if settings.flatten:
        train = flatten(train)
    if settings.resample:
        train = resample(train, classes, max(settings.resample, 0), seed)
    if not train:
        raise DataError("`select` leaves no clip to train on.")
    return replace(made, train=train, notes=tuple(notes))


def partners(source: Source, made: Split, settings: SelectSettings, seed: int) -> tuple[Clip, ...]:
    """-> the SINGLE set of the noisy pool, to draw partners of mixing from: one label a clip, 100 a class.

    Of usable clips where the settings choose noisy clips at all, and of none that shares a source with a clip
    that validates. All of its clips take part: what `single` would hold out validates nothing here.
    """
    held = {clip.key for clip in made.valid}
    heard = {clip.source for clip in made.valid if clip.source}
    clips = [c for c in source.pool(NOISY) if c.key not in held and c.source not in heard]
    if settings.noisy != "all":
        clips = list(usable(clips, ok_classes(source.classes, settings)))
    train, _ = single(clips, source.classes, seed, held=0)
    return train


def roles(
    source: Source, data: DataSettings, how: SplitSettings, settings: SelectSettings, seed: int
) -> Split:
    """The whole way from a set to what a run trains, validates and tests on."""
    return select(split(source, data, seed, how), source.classes, settings, seed)
