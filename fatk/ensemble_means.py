"""Means of several models' probabilities, and what they are fitted by. NumPy alone; the graph does the same."""

from dataclasses import dataclass
from typing import Any

import numpy as np

KINDS = ("arithmetic", "geometric", "per_class", "stacker")
FLOOR = 1e-7  # probability under which a geometric mean counts no lower: one member's 0 must not rule
EDGE = 1e-5  # probabilities are taken this far from 0 and 1 before a stacker's logits
TEMPERATURE = 0.1  # of lwlrap: a lead of so much makes a member's weight e times as large
_STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)  # of a stacker's pull towards the plain mean
_PARTS = 5  # of the clips, each judged by a stacker that was fitted on the others


@dataclass(frozen=True, eq=False)
class Mean:
    """(members, ..., classes) probabilities -> (..., classes).

    "arithmetic" and "per_class": the weighted sum of probabilities; "geometric": of their logarithms, and the
    exponential of that, which is not scaled to any sum; "stacker": of their logits and a bias, as a logistic
    regression. Weights are (members, classes), the bias (classes,).
    """

    kind: str
    weights: np.ndarray
    bias: np.ndarray

    def __call__(self, chances: np.ndarray) -> np.ndarray:
        """The mean."""
        chances = np.asarray(chances, np.float64)
        if self.kind == "geometric":
            return np.exp(self._sum(np.log(np.maximum(chances, FLOOR))))
        if self.kind == "stacker":
            return _sigmoid(self._sum(logits(chances)) + self.bias)
        return self._sum(chances)

    def _sum(self, values: np.ndarray) -> np.ndarray:
        return np.einsum("mc,m...c->...c", self.weights, values)

    def to_json(self) -> dict[str, Any]:
        """As lists, to be read back by `from_json`."""
        return {"kind": self.kind, "weights": self.weights.tolist(), "bias": self.bias.tolist()}

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> "Mean":
        """What `to_json` gave."""
        return cls(tree["kind"], np.array(tree["weights"]), np.array(tree["bias"]))


def plain(kind: str, members: int, classes: int) -> Mean:
    """A mean in which all members count alike."""
    return Mean(kind, np.full((members, classes), 1 / members), np.zeros(classes))


def by_class(values: np.ndarray, temperature: float = TEMPERATURE) -> Mean:
    """(members, classes) lwlrap -> for each class a softmax over members of lwlrap / temperature.

    Where a member has no value for a class (NaN) it takes the mean of those that have; with none all are
    alike.
    """
    if not 0 < temperature < np.inf:
        raise ValueError(f"`temperature` must be finite and above 0. Received: {temperature}.")
    known = np.isfinite(values)
    count = known.sum(0)
    mean = np.where(known, values, 0.0).sum(0) / np.maximum(count, 1)
    values = np.where(known, values, mean) / temperature
    shares = np.exp(values - values.max(0))
    return Mean("per_class", shares / shares.sum(0), np.zeros(values.shape[1]))


def logits(chances: np.ndarray) -> np.ndarray:
    """Probabilities -> logits of them, kept within `EDGE` of 0 and 1."""
    inside = np.clip(chances, EDGE, 1 - EDGE)
    return np.log(inside) - np.log1p(-inside)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0.0, -values))


def logistic(values: np.ndarray, truth: np.ndarray, centre: np.ndarray, strength: float) -> np.ndarray:
    """(n, columns), (n,) 0/1, (columns,) -> (columns,): logistic regression, drawn towards `centre`.

    Minimises the summed cross-entropy + strength / 2 |weights - centre|^2 by Newton's steps, halved where one
    would lead uphill.
    """

    def cost(weights: np.ndarray) -> float:
        scores = values @ weights
        away = weights - centre
        return float((np.logaddexp(0, scores) - truth * scores).sum() + strength / 2 * away @ away)

    weights = centre.copy()
    least = cost(weights)
    for _ in range(50):
        chances = _sigmoid(values @ weights)
        slope = values.T @ (chances - truth) + strength * (weights - centre)
        bend = (values.T * (chances * (1 - chances))) @ values + strength * np.eye(len(centre))
        step = np.linalg.solve(bend, slope)
        while (now := cost(weights - step)) > least and np.abs(step).max() > 1e-10:
            step = step / 2
        if now > least or np.abs(step).max() < 1e-9:
            break
        weights, least = weights - step, now
    return weights


def stacker(chances: np.ndarray, truth: np.ndarray, strength: float) -> Mean:
    """(members, clips, classes) of clips that no member trained on, (clips, classes) 0/1 -> a fitted mean.

    A weight a member and a bias, first for all classes together, drawn towards the plain mean of logits; then
    for each class, drawn towards those.
    """
    members, clips, classes = chances.shape
    columns = np.concatenate([logits(chances), np.ones((1, clips, classes))])
    centre = np.append(np.full(members, 1 / members), 0.0)
    shared = logistic(columns.reshape(members + 1, -1).T, truth.reshape(-1), centre, strength)
    own = np.stack(
        [logistic(columns[:, :, k].T, truth[:, k], shared, strength) for k in range(classes)], axis=1
    )
    return Mean("stacker", own[:-1], own[-1])


def judged(chances: np.ndarray, truth: np.ndarray, strength: float) -> np.ndarray:
    """-> (clips, classes): every clip by a stacker that was fitted without it."""
    part = np.random.default_rng(0).permutation(truth.shape[0]) % _PARTS
    made = np.zeros(truth.shape)
    for number in np.unique(part):
        out = part == number
        made[out] = stacker(chances[:, ~out], truth[~out], strength)(chances[:, out])
    return made


def fitted_stacker(chances: np.ndarray, truth: np.ndarray) -> tuple[Mean, float, np.ndarray]:
    """As `stacker`, of the strength that judges clips best that it has not seen -> it, strength, `judged`."""

    def loss(made: np.ndarray) -> float:
        inside = np.clip(made, 1e-12, 1 - 1e-12)
        return float(-(truth * np.log(inside) + (1 - truth) * np.log1p(-inside)).mean())

    tried = {strength: judged(chances, truth, strength) for strength in _STRENGTHS}
    best = min(tried, key=lambda strength: loss(tried[strength]))
    return stacker(chances, truth, best), best, tried[best]
