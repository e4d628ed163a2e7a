"""An ablation's figures: a line a row, from whatever runs there are."""

import statistics
from dataclasses import dataclass

import numpy as np

from fatk.kept import Kept
from fatk.scoring import Scores


@dataclass(frozen=True)
class Line:
    """What one row of an ablation came to; None where there are too few runs to tell."""

    name: str
    on: str
    note: str
    seeds: tuple[int, ...]  # that are there
    wanted: int  # seeds that there are to be
    mean: float | None  # lwlrap of the held-out clips, over seeds
    deviation: float | None  # between seeds
    difference: float | None  # from the row that it builds on, over the seeds that both have
    by_crops: dict[int, float]  # lwlrap with so many crops a clip, over seeds
    together: float | None  # lwlrap of the seeds' mean prediction
    accuracy: float | None  # 0..1, over seeds; None where clips carry several labels
    minutes: float | None  # a run's training took, validation included: the median over seeds

    @property
    def count(self) -> str:
        """Seeds that are there, of those wanted where some are missing."""
        whole = len(self.seeds) >= self.wanted
        return str(len(self.seeds)) if whole else f"{len(self.seeds)}/{self.wanted}"


def main_crops(kept: Kept) -> int:
    """Crops a clip with which rows are compared: the config's."""
    return int(kept.about["main_crops"])


def lines(kept: Kept) -> list[Line]:
    """One for each row, in the order of the rows file."""
    crops = main_crops(kept)
    found: dict[str, dict[int, dict[int, Scores]]] = {row["name"]: {} for row in kept.about["rows"]}
    took: dict[str, list[float]] = {name: [] for name in found}
    for run in kept.runs:
        found[run.part][run.seed] = run.scores
        took[run.part].append(float(run.summary["seconds"]))
    made = []
    for row in kept.about["rows"]:
        own, below = found[row["name"]], found.get(row["on"], {})
        values = {seed: scores[crops].lwlrap for seed, scores in own.items()}
        both = [seed for seed in own if seed in below]
        apart = [values[seed] - below[seed][crops].lwlrap for seed in both]
        counts = sorted(set.intersection(*(set(scores) for scores in own.values()))) if own else []
        made.append(
            Line(
                row["name"],
                row["on"],
                row["note"],
                tuple(sorted(own)),
                len(kept.about["seeds"]),
                float(np.mean(list(values.values()))) if values else None,
                float(np.std(list(values.values()), ddof=1)) if len(values) > 1 else None,
                float(np.mean(apart)) if apart else None,
                {n: float(np.mean([scores[n].lwlrap for scores in own.values()])) for n in counts},
                _together([scores[crops] for scores in own.values()]) if len(own) > 1 else None,
                _accuracy([scores[crops] for scores in own.values()]),
                statistics.median(took[row["name"]]) / 60 if own else None,
            )
        )
    return made


def _together(scores: list[Scores]) -> float:
    """lwlrap of the mean prediction."""
    mean = np.mean([own.chances for own in scores], axis=0)
    return Scores(scores[0].names, scores[0].truth, mean).lwlrap


def _accuracy(scores: list[Scores]) -> float | None:
    """Mean accuracy of a set whose clips carry one label each."""
    values = [own.accuracy for own in scores if (own.truth.sum(axis=1) == 1).all()]
    return float(np.mean([value for value in values if value is not None])) if values else None


def cells(line: Line, crops: list[int]) -> list[str]:
    """As text, in the order of `header`."""
    return [
        line.name,
        line.count,
        _number(line.mean),
        _number(line.deviation),
        "" if line.difference is None else f"{line.difference:+.4f}",
        line.on,
        *(_number(line.by_crops.get(count)) for count in crops),
        _number(line.together),
        "" if line.accuracy is None else f"{100 * line.accuracy:.2f}",
        "" if line.minutes is None else f"{line.minutes:.1f}",
    ]


def header(crops: list[int]) -> list[str]:
    """What stands over `cells`."""
    counts = [f"TTA {count}" for count in crops]
    return [
        "row",
        "seeds",
        "lwlrap",
        "deviation",
        "difference",
        "from",
        *counts,
        "ensemble",
        "accuracy, %",
        "minutes",
    ]


def filled_columns(header: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Without the columns that are empty in every row, as accuracy is where clips carry several labels."""
    used = [n for n in range(len(header)) if any(row[n] for row in rows)]
    return [header[n] for n in used], [[row[n] for n in used] for row in rows]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
