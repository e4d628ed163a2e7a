"""`python -m fatk.crossval --config C --inner`: scores to choose settings by, fold for fold.

Each fold and the next are held out together, the last and the first too. Two of these runs have never seen a
fold k: the one that held out k - 1 and k tells what the settings are worth on k - 1, the one that held out k
and k + 1 what on k + 1. What is chosen for k by the mean of the two owes nothing to the clips of k, and k may
then judge it. A choice by the mean over all k has met every clip, though no run is judged by what it trained on.
"""

from functools import partial
from pathlib import Path

import numpy as np

from fatk import cli, crossval, folders, locks
from fatk.config import Config
from fatk.folds import fold_numbers, holding, run_fold
from fatk.prepare import prepare
from fatk.scoring import Scores
from pipelines.labels import multi_hot

HEADER = ("not seen", "judged on", "accuracy", "lwlrap")


def folder(config: Config) -> Path:
    """Where the runs and the table lie."""
    return folders.RUNS / f"{config.name}-inner"


def pairs(folds: list[int]) -> list[tuple[int, int]]:
    """Folds in order -> each with the next one, the last with the first."""
    return list(zip(folds, folds[1:] + folds[:1], strict=True))


def go(config: Config) -> None:
    """Train what is missing, print the table and write `inner.csv`."""
    if config.train.keep == "best":
        raise cli.UserError(
            "`train.keep` must be 'last' or 'average' with --inner: both folds that are held out would choose "
            "the epoch. Received: 'best'."
        )
    from fatk import runtime

    prepared = prepare(config)
    fold_of = fold_numbers(config, prepared)
    folds = sorted(set(fold_of.values()))
    if len(folds) < 3:
        raise cli.UserError(f"--inner needs at least 3 folds: two are held out. Received: {len(folds)}.")
    runtime.start(config)
    splits = {
        pair: holding(config, prepared, [key for key, fold in fold_of.items() if fold in pair])
        for pair in pairs(folds)
    }

    def work(pair: tuple[int, int], run: folders.Run, own: Config) -> np.ndarray:
        told = f"without folds {pair[0]} and {pair[1]}"
        return run_fold(run, own, splits[pair], told, told)

    jobs = {}
    for pair in splits:
        run, own = crossval.run_of(
            config, f"without{pair[0]}-{pair[1]}", pair[0], config.seed, folder(config)
        )
        jobs[pair] = run.folder, partial(work, pair, run, own)
    judged: dict[tuple[int, int], Scores] = {}  # (fold that was held out too, fold): scores of the latter
    for pair, chances in locks.share(jobs).items():
        split = splits[pair]
        clips = split.split.valid
        truth = multi_hot(clips, split.classes)
        for unseen, fold in (pair, pair[::-1]):
            rows = [number for number, clip in enumerate(clips) if fold_of[clip.key] == fold]
            names = tuple(clips[row].name for row in rows)
            judged[unseen, fold] = Scores(names, truth[rows], chances[rows])
    _report(config, folds, judged)


def _report(config: Config, folds: list[int], judged: dict[tuple[int, int], Scores]) -> None:
    """A row a fold that was not seen, then their means; and the same as `inner.csv`."""
    rows: list[tuple[str, ...]] = []
    found: list[tuple[float | None, float]] = []
    for number, (fold, after) in enumerate(pairs(folds)):
        before = folds[number - 1]
        parts = [judged[fold, other] for other in (before, after)]
        accuracies = [part.accuracy for part in parts if part.accuracy is not None]
        accuracy = float(np.mean(accuracies)) if accuracies else None
        found.append((accuracy, float(np.mean([part.lwlrap for part in parts]))))
        rows.append((f"fold {fold}", f"folds {before} and {after}", *_cells(*found[-1])))
    known = [accuracy for accuracy, _ in found if accuracy is not None]
    mean = float(np.mean(known)) if known else None
    rows.append(("mean", "", *_cells(mean, float(np.mean([lwlrap for _, lwlrap in found])))))
    cli.table(f"{config.name}: inner scores", HEADER, rows)
    path = folder(config) / "inner.csv"
    folders.write_rows(path, HEADER, rows)
    cli.say(f"{path}: choose for each fold by its own row, and let that fold judge the choice")


def _cells(accuracy: float | None, lwlrap: float) -> tuple[str, str]:
    return "" if accuracy is None else f"{accuracy:.4f}", f"{lwlrap:.4f}"
