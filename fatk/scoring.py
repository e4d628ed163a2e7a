"""Scores of clips to tables: submissions, per-class lwlrap, top-1 accuracy."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fatk import folders


@dataclass(frozen=True)
class Scores:
    """What a model said of labelled clips, and what that is worth."""

    names: tuple[str, ...]
    truth: np.ndarray  # (clips, classes) 0/1
    chances: np.ndarray  # (clips, classes) probabilities

    @property
    def lwlrap(self) -> float:
        """Over all true labels."""
        # models.metrics imports Keras, which a command that only predicts must not.
        from models.ranking import lwlrap

        return lwlrap(self.truth, self.chances)

    @property
    def accuracy(self) -> float | None:
        """Top-1 over the clips that have one label; None where there is none."""
        single = self.truth.sum(1) == 1
        if not single.any():
            return None
        return float((self.chances[single].argmax(1) == self.truth[single].argmax(1)).mean())

    def per_class(self, classes: Sequence[str]) -> list[tuple[str, float, float]]:
        """-> [(class, lwlrap, weight)]; NaN where a class has no clip."""
        from models.ranking import per_class_lwlrap

        values, weights = per_class_lwlrap(self.truth, self.chances)
        return [(name, float(v), float(w)) for name, v, w in zip(classes, values, weights, strict=True)]


def cell(chance: float) -> str:
    """A probability as tables keep it: all digits of a float32, for a tie counts as the worst rank.

    Near 1 as many as part it from 1.
    """
    return f"{chance:.{9 if chance < 0.99 else 16}g}"


def write_predictions(path: Path, names: Sequence[str], classes: Sequence[str], chances: np.ndarray) -> None:
    """`fname` and a column of probabilities a class."""
    rows = [[name, *(cell(chance) for chance in row)] for name, row in zip(names, chances, strict=True)]
    folders.write_rows(path, ["fname", *classes], rows)


def read_scores(path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """A table `fname` and a column a class -> (names, (clips, classes) probabilities)."""
    with path.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.reader(lines))[1:]
    return tuple(row[0] for row in rows), np.array([[float(text) for text in row[1:]] for row in rows])


def write_per_class(path: Path, rows: Sequence[tuple[str, float, float]]) -> None:
    """`class,lwlrap,weight`, in the vocabulary's order; an empty cell where a class has no clip."""
    text = [(name, "" if np.isnan(v) else f"{v:.6f}", f"{w:.6f}") for name, v, w in rows]
    folders.write_rows(path, ("class", "lwlrap", "weight"), text)
