"""Figures of a cross-validation, or of one run, from what is kept of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from fatk.crossval import together
from fatk.kept import Kept, KeptRun
from fatk.scoring import Scores

Pick: TypeAlias = Callable[[KeptRun], Scores]  # which of a run's predictions, by crops a clip


@dataclass(frozen=True)
class Measure:
    """One measure, 0 to 1: the mean over folds, as the literature gives it, then over seeds."""

    mean: float
    deviation: float | None  # between seeds' means; None for one seed
    parts: dict[tuple[int, str], float]  # by seed and fold
    whole: float  # of the seeds' mean prediction, all clips as one set


@dataclass(frozen=True, eq=False)
class Figures:
    """What a row of results says."""

    seeds: tuple[int, ...]
    folds: tuple[str, ...]
    accuracy: Measure | None  # None where clips have several labels
    lwlrap: Measure
    mean: Scores  # the seeds' mean prediction of all clips
    accuracy_of_one: Measure | None = None  # with one crop a clip, where that is kept beside more


def own_scores(run: KeptRun) -> Scores:
    """A run's predictions with as many crops a clip as its settings say."""
    return run.scores[run.crops]


def figures(kept: Kept) -> Figures:
    """All figures of a row. Raises `ValueError` where its runs are no whole cross-validation."""
    by_seed = {seed: kept.of(seed) for seed in kept.seeds}
    folds = tuple(run.part for run in by_seed[kept.seeds[0]])
    for seed, runs in by_seed.items():
        if tuple(run.part for run in runs) != folds:
            raise ValueError(f"seed {seed} has the folds {[run.part for run in runs]}, not {list(folds)}.")
    wholes = _wholes(by_seed, own_scores)
    if len({whole.names for whole in wholes}) > 1:
        raise ValueError("seeds held out different clips.")
    if len(set(wholes[0].names)) < len(wholes[0].names):
        raise ValueError("a clip is held out twice.")
    mean = _mean(wholes)
    single = bool((mean.truth.sum(1) == 1).all())  # else accuracy would be that of a part of the clips
    one = None
    if single and all(1 in run.scores and len(run.scores) > 1 for runs in by_seed.values() for run in runs):
        one = _measure("accuracy", by_seed, _mean(_wholes(by_seed, _of_one)), _of_one)
    return Figures(
        tuple(by_seed),
        folds,
        _measure("accuracy", by_seed, mean) if single else None,
        _measure("lwlrap", by_seed, mean),
        mean,
        one,
    )


def _of_one(run: KeptRun) -> Scores:
    return run.scores[1]


def _wholes(by_seed: dict[int, list[KeptRun]], pick: Pick) -> list[Scores]:
    """All clips of each seed."""
    return [together([pick(run) for run in runs]) for runs in by_seed.values()]


def _mean(wholes: Sequence[Scores]) -> Scores:
    """The seeds' mean prediction."""
    return Scores(wholes[0].names, wholes[0].truth, np.mean([own.chances for own in wholes], axis=0))


def _measure(what: str, by_seed: dict[int, list[KeptRun]], mean: Scores, pick: Pick = own_scores) -> Measure:
    parts = {
        (seed, run.part): float(getattr(pick(run), what)) for seed, runs in by_seed.items() for run in runs
    }
    means = [float(np.mean([parts[seed, run.part] for run in runs])) for seed, runs in by_seed.items()]
    deviation = float(np.std(means, ddof=1)) if len(means) > 1 else None
    return Measure(float(np.mean(means)), deviation, parts, float(getattr(mean, what)))


def joined(rows: Sequence[Figures]) -> Scores:
    """The mean prediction of several rows. Raises `ValueError` where they are not of the same clips."""
    first = rows[0].mean
    if any(set(row.mean.names) != set(first.names) for row in rows):
        raise ValueError("rows held out different clips.")
    chances = []
    for row in rows:
        places = {name: number for number, name in enumerate(row.mean.names)}
        chances.append(row.mean.chances[[places[name] for name in first.names]])
    return Scores(first.names, first.truth, np.mean(chances, axis=0))
