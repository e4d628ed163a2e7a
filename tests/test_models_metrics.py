"""lwlrap, in NumPy and streaming, against scikit-learn's formula and by hand."""

import keras
import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score

from models.metrics import Lwlrap
from models.ranking import lwlrap, lwlrap_terms, per_class_lwlrap


def drawn(seed: int, clips: int, classes: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """(clips, classes) labels and scores of some awkward kind."""
    draw = np.random.default_rng(seed)
    truth = (draw.random((clips, classes)) < 0.3).astype(np.float32)
    truth[0] = 0  # a clip with no label
    truth[1] = 1  # and one with all
    scores = draw.standard_normal((clips, classes)).astype(np.float32)
    if kind == "ties":
        scores = np.round(scores).astype(np.float32)
    elif kind == "constant":
        scores[:] = 0.5
    elif kind == "labelled":
        truth[np.arange(clips), draw.integers(0, classes, clips)] = 1
    return truth, scores


def sklearn_lwlrap(truth: np.ndarray, scores: np.ndarray) -> float:
    labels = truth.sum(1)
    return label_ranking_average_precision_score(
        truth[labels > 0], scores[labels > 0], sample_weight=labels[labels > 0]
    )


def streamed(truth: np.ndarray, scores: np.ndarray, sizes: list[int]) -> float:
    metric = Lwlrap(truth.shape[1])
    start = 0
    for size in sizes:
        metric.update_state(truth[start : start + size], scores[start : start + size])
        start += size
    assert start == len(truth)
    return float(metric.result())


KINDS = ["plain", "ties", "constant", "labelled"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [1, 2, 10, 80])
def test_numpy_equals_scikit_learn(kind: str, classes: int) -> None:
    truth, scores = drawn(classes, 41, classes, kind)
    assert lwlrap(truth, scores) == pytest.approx(sklearn_lwlrap(truth, scores), abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [[41], [1] * 41, [32, 9], [3, 1, 17, 20]])
def test_streaming_equals_scikit_learn_however_batched(kind: str, sizes: list[int]) -> None:
    truth, scores = drawn(7, 41, 10, kind)
    assert streamed(truth, scores, sizes) == pytest.approx(sklearn_lwlrap(truth, scores), abs=1e-6)


def test_the_mean_of_batches_would_be_another_number() -> None:
    truth, scores = drawn(3, 40, 10, "plain")
    halves = [lwlrap(truth[:5], scores[:5]), lwlrap(truth[5:], scores[5:])]
    assert abs(np.mean(halves) - lwlrap(truth, scores)) > 1e-3


def test_a_hand_worked_example() -> None:
    truth = [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    scores = [[0.9, 0.8, 0.1, 0.3], [0.5, 0.5, 0.2, 0.5], [1, 2, 3, 4]]
    # Clip 0: class 0 is first (1/1); class 2 is last of four, with both true ones at or above it (2/4).
    # Clip 1: class 1 is tied with two wrong ones, so its rank is 3 (1/3). Clip 2 has no label.
    np.testing.assert_allclose(lwlrap_terms(truth, scores), [[1, 0, 0.5, 0], [0, 1 / 3, 0, 0], [0, 0, 0, 0]])
    assert lwlrap(truth, scores) == pytest.approx((1 + 0.5 + 1 / 3) / 3)
    values, weights = per_class_lwlrap(truth, scores)
    np.testing.assert_allclose(values, [1, 1 / 3, 0.5, np.nan])
    np.testing.assert_allclose(weights, [1 / 3, 1 / 3, 1 / 3, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_values_times_weights_sum_to_the_whole(kind: str) -> None:
    truth, scores = drawn(5, 60, 12, kind)
    truth[:, 4] = 0  # a class that no clip has, the clip with all labels aside
    values, weights = per_class_lwlrap(truth, scores)
    assert np.isnan(values[4])
    assert weights[4] == 0
    assert weights.sum() == pytest.approx(1)
    assert np.nansum(values * weights) == pytest.approx(lwlrap(truth, scores))


def test_perfect_scores_give_one_and_only_order_counts() -> None:
    truth, scores = drawn(2, 30, 8, "labelled")
    assert lwlrap(truth, truth) == 1
    assert lwlrap(truth, 10 * scores - 3) == lwlrap(truth, scores)


def test_streaming_keeps_per_class_sums_and_forgets_on_reset() -> None:
    truth, scores = drawn(9, 30, 8, "ties")
    metric = Lwlrap(8)
    metric.update_state(truth, scores)
    values, _ = per_class_lwlrap(truth, scores)
    total, count = (keras.ops.convert_to_numpy(v) for v in (metric.total, metric.count))
    np.testing.assert_allclose(total / count, values, rtol=1e-6)
    metric.reset_state()
    assert float(metric.result()) == 0
    metric.update_state(truth[:1] * 0, scores[:1])  # no label yet: no value, and no NaN
    assert float(metric.result()) == 0


def test_what_is_above_zero_is_a_label() -> None:
    # Mixed and soft targets: the parts' labels all count.
    truth, scores = drawn(4, 20, 6, "labelled")
    soft = truth * np.random.default_rng(0).uniform(0.01, 1, truth.shape).astype(np.float32)
    assert lwlrap(soft, scores) == lwlrap(truth, scores)
    assert streamed(soft, scores, [20]) == pytest.approx(lwlrap(truth, scores), abs=1e-6)


def test_a_metric_is_made_again_from_its_config() -> None:
    metric = Lwlrap(8, name="mine")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert isinstance(again, Lwlrap)
    assert (again.classes, again.name) == (8, "mine")


def test_what_cannot_be_measured_is_refused() -> None:
    truth, scores = drawn(1, 5, 3, "labelled")
    with pytest.raises(ValueError, match=r"must both be \(clips, classes\)\. Received: \(5, 3\), \(5, 2\)"):
        lwlrap(truth, scores[:, :2])
    with pytest.raises(ValueError, match="at least one true label"):
        lwlrap(truth * 0, scores)
    scores[2, 1] = np.nan
    with pytest.raises(ValueError, match="`scores` must be finite"):
        lwlrap(truth, scores)
    with pytest.raises(ValueError, match="`Lwlrap` takes no `sample_weight`"):
        Lwlrap(3).update_state(truth, truth, sample_weight=np.ones(5))
