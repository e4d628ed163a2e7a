"""How well given labels agree with out-of-fold predictions, in NumPy."""

import numpy as np


def label_quality(labels: np.ndarray, chances: np.ndarray, alpha: float = 0.8) -> np.ndarray:
    """(clips, classes) 0/1 and out-of-fold probabilities -> (clips,) in 0..1, low where a label looks wrong.

    Self-confidence of each class (the probability of what the label says), pooled over a clip's classes by an
    exponential moving average from the most to the least confident, so that the worst ones weigh most: the
    method for several labels a clip of Thyagarajan et al. (arXiv:2211.13895), with its `alpha`.
    """
    labels, chances = _pair(labels, chances)
    confidence = np.sort(np.where(labels, chances, 1 - chances), axis=1)[:, ::-1]
    pooled = confidence[:, 0].copy()
    for column in confidence.T[1:]:
        pooled = alpha * column + (1 - alpha) * pooled
    return pooled


def balance(labels: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """(clips, classes) twice -> probabilities shifted so that each class's mean is its share of labels.

    The shift is of the logit, one a class.

    Training on mixed images and wrong labels leaves probabilities too low or too high, for some classes more
    than for others; their order within a class is right and stays.
    """
    labels, chances = np.asarray(labels) > 0, np.clip(np.asarray(chances, np.float64), 1e-6, 1 - 1e-6)
    logits = np.log(chances / (1 - chances))
    low, high = np.full(logits.shape[1], -20.0), np.full(logits.shape[1], 20.0)
    for _ in range(60):  # bisection: the mean grows with the shift
        middle = (low + high) / 2
        too_low = (1 / (1 + np.exp(-(logits + middle)))).mean(0) < labels.mean(0)
        low, high = np.where(too_low, middle, low), np.where(too_low, high, middle)
    return 1 / (1 + np.exp(-(logits + (low + high) / 2)))


def suggest(chances: np.ndarray, least: float = 0.5) -> np.ndarray:
    """(clips, classes) probabilities -> (clips, classes) 0/1: those of `least` and more, or the likeliest one."""
    chances = np.asarray(chances)
    chosen = chances >= least
    chosen[np.arange(len(chances)), chances.argmax(1)] = True
    return chosen


def revise(labels: np.ndarray, chances: np.ndarray, stay: float = 0.2, join: float = 0.6) -> np.ndarray:
    """(clips, classes) given 0/1 and a teacher's probabilities -> (clips, classes) 0/1; a clip may lose all.

    A given label stays where the teacher finds it at all likely, another joins where the teacher is sure of it:
    somebody once heard the former.
    """
    labels, chances = _pair(labels, chances)
    return np.where(labels, chances >= stay, chances >= join)


def _pair(labels: np.ndarray, chances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both (clips, classes) -> booleans and float64. Raises `ValueError` where they do not fit."""
    labels, chances = np.asarray(labels) > 0, np.asarray(chances, np.float64)
    if labels.shape != chances.shape or labels.ndim != 2:
        raise ValueError(
            f"`labels` and `chances` must both be (clips, classes). Received: {labels.shape}, {chances.shape}."
        )
    return labels, chances
