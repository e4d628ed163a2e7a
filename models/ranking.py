"""lwlrap in NumPy: label-weighted label-ranking average precision (REFERENCE section 5)."""

import numpy as np


def lwlrap_terms(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(clips, classes) 0/1 and scores -> (clips, classes): precision at each true label, 0 elsewhere.

    For a true class: (true classes ranked at or above it) / (its rank). Tied classes all take the worst rank,
    as scikit-learn's `label_ranking_average_precision_score` has it.
    """
    truth = np.asarray(truth) > 0
    scores = np.asarray(scores, np.float64)
    if truth.shape != scores.shape or truth.ndim != 2:
        raise ValueError(
            f"`truth` and `scores` must both be (clips, classes). Received: {truth.shape}, {scores.shape}."
        )
    if not np.isfinite(scores).all():
        raise ValueError("`scores` must be finite. Received values that are not.")
    terms = np.zeros(truth.shape)
    for row in range(len(truth)):  # a row at a time: classes x classes comparisons stay small
        wanted = np.flatnonzero(truth[row])
        at_or_above = scores[row][None, :] >= scores[row][wanted][:, None]
        terms[row, wanted] = (at_or_above & truth[row]).sum(1) / at_or_above.sum(1)
    return terms


def per_class_lwlrap(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-> ((classes,) lwlrap, NaN where a class has no clip; (classes,) weight: its share of true labels).

    The sum of value x weight over the classes that have clips is `lwlrap`.
    """
    count = (np.asarray(truth) > 0).sum(0)
    total = lwlrap_terms(truth, scores).sum(0)
    value = np.full(len(count), np.nan)
    np.divide(total, count, out=value, where=count > 0)
    return value, count / max(int(count.sum()), 1)


def lwlrap(truth: np.ndarray, scores: np.ndarray) -> float:
    """(clips, classes) 0/1 and scores -> the mean over all true labels. Clips without a label do not count."""
    labels = int((np.asarray(truth) > 0).sum())
    if not labels:
        raise ValueError("lwlrap needs at least one true label. Received none.")
    return float(lwlrap_terms(truth, scores).sum() / labels)
