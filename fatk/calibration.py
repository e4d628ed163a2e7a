"""Temperature scaling (arXiv:1706.04599) of independent probabilities, and how well they mean what they say."""

import numpy as np

BINS = 10
_EDGE = 5e-7  # what is nearer to 0 or 1 counts as if it were so near
_RANGE = (0.05, 20.0)  # of temperatures
_STEPS = 60


def _logits(chances: np.ndarray) -> np.ndarray:
    clipped = np.clip(np.asarray(chances, np.float64), _EDGE, 1 - _EDGE)
    return np.log(clipped) - np.log1p(-clipped)


def apply(chances: np.ndarray, temperature: float) -> np.ndarray:
    """(...) probabilities -> the same with their logits divided by a temperature; 1 leaves them alone."""
    if temperature == 1:
        return np.asarray(chances)
    return 1 / (1 + np.exp(-_logits(chances) / temperature))


def nll(truth: np.ndarray, chances: np.ndarray, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood over all pairs of a clip and a class, nats."""
    signed = np.where(np.asarray(truth) > 0, -1.0, 1.0) * _logits(chances) / temperature
    return float(np.logaddexp(0, signed).mean())


def fit(truth: np.ndarray, chances: np.ndarray) -> float:
    """(clips, classes) 0/1 and probabilities -> the temperature of the least `nll`, within 0.05 to 20.

    As a function of 1 / T it is convex, so golden sections of log T close in on its only minimum.
    """
    low, high = np.log(_RANGE)
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(_STEPS):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if nll(truth, chances, np.exp(left)) < nll(truth, chances, np.exp(right)):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def reliability(truth: np.ndarray, chances: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """-> of ten equal bins of probability: mean probability, share of true labels (NaN where empty), count."""
    flat, labels = np.ravel(chances), np.ravel(truth) > 0
    place = np.minimum((flat * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(place, flat, BINS) / count
        share = np.bincount(place, labels, BINS) / count
    return mean, share, count


def ece(truth: np.ndarray, chances: np.ndarray) -> float:
    """Expected calibration error: |share of true labels - mean probability| over bins, weighted by count."""
    mean, share, count = reliability(truth, chances)
    there = count > 0
    return float((np.abs(share - mean)[there] * count[there]).sum() / count.sum())


def measures(truth: np.ndarray, chances: np.ndarray) -> dict[str, float]:
    """Both, for JSON."""
    return {"ece": round(ece(truth, chances), 6), "nll": round(nll(truth, chances), 6)}
