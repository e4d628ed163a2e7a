"""Means of several models' probabilities, in NumPy."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from fatk import ensemble_means as means

DRAW = np.random.default_rng(5)
CHANCES = DRAW.uniform(0, 1, (3, 7, 4))  # members, clips, classes


def test_the_arithmetic_mean() -> None:
    np.testing.assert_allclose(means.plain("arithmetic", 3, 4)(CHANCES), CHANCES.mean(0))


def test_the_geometric_mean_and_its_floor() -> None:
    mean = means.plain("geometric", 3, 4)
    np.testing.assert_allclose(mean(CHANCES), np.prod(CHANCES, axis=0) ** (1 / 3))
    spoilt = CHANCES.copy()
    spoilt[1, 0, 0] = 0
    product = CHANCES[0, 0, 0] * 1e-7 * CHANCES[2, 0, 0]
    assert mean(spoilt)[0, 0] == pytest.approx(product ** (1 / 3))


def test_weights_by_class_are_a_softmax_of_scores() -> None:
    scores = np.array([[0.9, 0.5, np.nan, np.nan], [0.7, 0.5, 0.8, np.nan], [0.8, 0.5, 0.6, np.nan]])
    mean = means.by_class(scores, 0.2)
    np.testing.assert_allclose(mean.weights.sum(0), 1)
    np.testing.assert_allclose(mean.weights[:, 0], np.exp([4.5, 3.5, 4]) / np.exp([4.5, 3.5, 4]).sum())
    np.testing.assert_allclose(mean.weights[:, [1, 3]], 1 / 3)
    # A member without a score for a class stands between the others, as their mean would.
    np.testing.assert_allclose(mean.weights[:, 2], np.exp([3.5, 4, 3]) / np.exp([3.5, 4, 3]).sum())
    wanted = np.einsum("mc,mnc->nc", mean.weights, CHANCES)
    np.testing.assert_allclose(mean(CHANCES), wanted)


def test_a_temperature_of_weights() -> None:
    scores = np.array([[0.9, 0.2], [0.8, 0.7]])
    np.testing.assert_allclose(means.by_class(scores, 1e-3).weights, [[1, 0], [0, 1]], atol=1e-6)
    np.testing.assert_allclose(means.by_class(scores, 1e3).weights, 0.5, atol=1e-3)
    for wrong in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match="`temperature` must be finite and above 0"):
            means.by_class(scores, wrong)


def test_logistic_regression_is_scikit_learns() -> None:
    values = DRAW.standard_normal((60, 3))
    truth = (values @ [1.0, -2, 0.5] + DRAW.standard_normal(60) > 0).astype(float)
    peer = LogisticRegression(C=1 / 2.5, fit_intercept=False, tol=1e-10).fit(values, truth)
    np.testing.assert_allclose(means.logistic(values, truth, np.zeros(3), 2.5), peer.coef_[0], atol=1e-5)


def test_logistic_regression_of_what_a_line_parts() -> None:
    """Without the pull its weights would grow for ever; far from the start whole Newton steps overshoot."""
    values = np.linspace(-8, 8, 40)[:, None]
    found = means.logistic(values, (values[:, 0] > 0).astype(float), np.array([-30.0]), 0.01)
    chances = 1 / (1 + np.exp(-values[:, 0] * found))
    slope = values[:, 0] @ (chances - (values[:, 0] > 0)) + 0.01 * (found[0] + 30)
    assert slope == pytest.approx(0, abs=1e-6)
    assert found[0] > 1


def held_out(clips: int) -> tuple[np.ndarray, np.ndarray]:
    """Two members, one of which knows something: chances (2, clips, 3), truth (clips, 3)."""
    draw = np.random.default_rng(1)
    truth = (draw.uniform(size=(clips, 3)) < 0.3).astype(float)
    good = 1 / (1 + np.exp(-(4 * truth - 2 + draw.standard_normal(truth.shape))))
    return np.stack([draw.uniform(0.05, 0.95, truth.shape), good]), truth


def test_a_stacker_drawn_hard_is_the_plain_mean_of_logits() -> None:
    chances, truth = held_out(30)
    found = means.stacker(chances, truth, 1e9)
    np.testing.assert_allclose(found.weights, 0.5, atol=1e-4)
    np.testing.assert_allclose(found.bias, 0, atol=1e-4)
    odds = np.prod((chances / (1 - chances)) ** 0.5, axis=0)
    np.testing.assert_allclose(found(chances), odds / (1 + odds), atol=1e-4)


def test_a_stacker_finds_the_member_that_knows() -> None:
    chances, truth = held_out(200)
    found, strength, judged = means.fitted_stacker(chances, truth)
    assert (found.weights[1] > 3 * np.abs(found.weights[0])).all()
    assert 1 <= strength <= 1000

    def loss(made: np.ndarray) -> float:
        return float(-(truth * np.log(made) + (1 - truth) * np.log(1 - made)).mean())

    assert loss(judged) < loss(chances[1]) < loss(chances.mean(0))


def test_a_stacker_is_judged_by_clips_that_it_was_not_fitted_on() -> None:
    chances, truth = held_out(50)
    before = means.judged(chances, truth, 1.0)
    flipped = truth.copy()
    flipped[7] = 1 - flipped[7]
    after = means.judged(chances, flipped, 1.0)
    np.testing.assert_array_equal(after[7], before[7])
    assert np.abs(after - before).max() > 1e-4


def test_a_mean_is_read_back() -> None:
    chances, truth = held_out(30)
    for mean in (means.stacker(chances, truth, 3.0), means.plain("geometric", 2, 3)):
        again = means.Mean.from_json(mean.to_json())
        np.testing.assert_array_equal(again(chances), mean(chances))
