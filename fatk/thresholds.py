"""From labelled scores to a threshold a class. NumPy alone."""

from dataclasses import dataclass

import numpy as np

NEVER = 2.0  # no probability reaches it; a sure network says 1.0 in float32


@dataclass(frozen=True)
class Threshold:
    """At or above `value` a clip is given the label."""

    value: float  # probability
    positives: int  # clips that carry the class, of those it was chosen on
    precision: float | None = None  # on these clips; None where nothing is tagged, or no clip is positive
    recall: float | None = None
    f1: float | None = None
    note: str = ""


def _cuts(truth: np.ndarray, chances: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n,) 0/1, (n,) -> thresholds from high to low, (cuts,); with each, true positives and all that is tagged.

    One between each two neighbouring values, and one under all, so that equal scores are never parted.
    """
    order = np.argsort(-chances, kind="stable")
    ranked, hits = chances[order], np.cumsum(truth[order] > 0)
    last = np.flatnonzero(np.append(np.diff(ranked) != 0, True))  # of each run of equal values
    lower = np.append(ranked[last[:-1] + 1], 0.0)
    return (ranked[last] + lower) / 2, hits[last], last + 1


def best_f1(truth: np.ndarray, chances: np.ndarray) -> float:
    """(n,) 0/1 with a 1, (n,) probabilities -> the threshold of the best F1; of equal ones the highest."""
    values, hits, tagged = _cuts(truth, chances)
    return float(values[np.argmax(2 * hits / (tagged + (truth > 0).sum()))])


def at_precision(truth: np.ndarray, chances: np.ndarray, precision: float) -> float | None:
    """-> the lowest threshold whose precision is at least so; None where none is."""
    values, hits, tagged = _cuts(truth, chances)
    enough = np.flatnonzero(hits >= precision * tagged - 1e-9)
    return float(values[enough[-1]]) if len(enough) else None


def choose(truth: np.ndarray, chances: np.ndarray, precision: float | None = None) -> list[Threshold]:
    """(clips, classes) 0/1 and probabilities -> a threshold a class, by F1 or a precision asked for.

    A class that no clip carries takes the threshold of all classes together. Where the precision is out of
    reach, the threshold is above 1: the class is then not tagged rather than tagged wrongly.
    """
    truth = np.asarray(truth) > 0
    pooled = _one(truth.ravel(), chances.ravel(), precision)
    found = []
    for labels, scores in zip(truth.T, chances.T, strict=True):
        if not labels.any():
            found.append(
                Threshold(pooled.value, 0, note="no positives: the threshold of all classes together")
            )
        else:
            found.append(_one(labels, scores, precision))
    return found


def _one(labels: np.ndarray, scores: np.ndarray, precision: float | None) -> Threshold:
    """A threshold and what it does on the clips that it was chosen on."""
    value = best_f1(labels, scores) if precision is None else at_precision(labels, scores, precision)
    positives = int(labels.sum())
    if value is None:
        return Threshold(NEVER, positives, note=f"no threshold reaches {precision:g}")
    tagged = scores >= value
    hits = int((tagged & labels).sum())
    return Threshold(
        value,
        positives,
        precision=hits / int(tagged.sum()),
        recall=hits / positives,
        f1=2 * hits / (int(tagged.sum()) + positives),
    )
