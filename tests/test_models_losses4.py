"""Losses beyond the cross-entropy, against their papers' formulas and values worked by hand."""

import keras
import numpy as np
import pytest
from keras import ops

from models import losses
from models.losses import LOSSES, build

HARD = np.array([[1, 0, 0, 1, 0], [0, 0, 1, 0, 0]], np.float32)
SOFT = np.array([[0.9, 0.0, 0.3, 0.6, 0.0], [0.2, 0.0, 1.0, 0.0, 0.1]], np.float32)
LOGITS = np.array([[2.0, -1.0, 0.5, -0.3, 0.0], [-4.0, 1.5, 0.2, -2.0, 3.0]], np.float32)


def value(loss, target, logits) -> np.ndarray:
    return ops.convert_to_numpy(loss(ops.convert_to_tensor(target), ops.convert_to_tensor(logits)))


def slope(loss, target, logits) -> np.ndarray:
    """-> (batch, classes): how the summed loss changes with each logit."""
    target, logits = ops.convert_to_tensor(target), ops.convert_to_tensor(logits)
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(lambda given: ops.sum(loss(target, given)))(logits))
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(logits)
        total = ops.sum(loss(target, logits))
    return tape.gradient(total, logits).numpy()


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def test_focal_is_keras_focal_crossentropy() -> None:
    for target in (HARD, SOFT):
        oracle = keras.losses.BinaryFocalCrossentropy(gamma=2.0, from_logits=True, reduction=None)
        np.testing.assert_allclose(value(build("focal"), target, LOGITS), oracle(target, LOGITS), rtol=1e-5)
        balanced = keras.losses.BinaryFocalCrossentropy(True, 0.25, 1.5, from_logits=True, reduction=None)
        ours = build("focal", gamma=1.5, alpha=0.25)
        np.testing.assert_allclose(value(ours, target, LOGITS), balanced(target, LOGITS), rtol=1e-5)


def test_focal_of_gamma_0_is_the_cross_entropy() -> None:
    plain = value(build("bce"), SOFT, LOGITS)
    np.testing.assert_allclose(value(build("focal", gamma=0.0), SOFT, LOGITS), plain, rtol=1e-6)


def test_focal_by_hand() -> None:
    # p = 0.75 of a present class: 0.25 ** 2 x ln(4 / 3); and the same chance of an absent one: 0.75 ** 2 x ln 4.
    logits = np.full((1, 1), np.log(3.0), np.float32)
    np.testing.assert_allclose(value(build("focal"), [[1.0]], logits), 0.0625 * np.log(4 / 3), rtol=1e-5)
    np.testing.assert_allclose(value(build("focal"), [[0.0]], logits), 0.5625 * np.log(4.0), rtol=1e-5)


def test_lsep_is_the_papers_double_sum() -> None:
    expected = []
    for labels, scores in zip(HARD, LOGITS.astype(np.float64), strict=True):
        present, absent = scores[labels == 1], scores[labels == 0]
        expected.append(np.log(1 + sum(np.exp(v - u) for v in absent for u in present)))
    np.testing.assert_allclose(value(build("lsep"), HARD, LOGITS), expected, rtol=1e-6)


def test_lsep_by_hand() -> None:
    # One pair, 2 apart the wrong way: log(1 + e^2). Two absent classes at the present one's level: log 3.
    np.testing.assert_allclose(value(build("lsep"), [[1.0, 0.0]], [[0.0, 2.0]]), [2.126928], rtol=1e-6)
    np.testing.assert_allclose(value(build("lsep"), [[0.0, 1.0, 0.0]], [[5.0] * 3]), [np.log(3)], rtol=1e-6)


def test_lsep_of_a_mix_of_mixes_takes_what_prevails_as_present() -> None:
    hard = [[0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    logits = [[2.0, 1.0, -1.0], [0.5, -1.0, 1.0], [1.0, 2.0, 3.0]]
    mixed = [[0.36, 0.24, 0.4], [0.45, 0.45, 0.1], [0.0, 0.0, 0.0]]
    np.testing.assert_array_equal(value(build("lsep"), mixed, logits), value(build("lsep"), hard, logits))
    assert value(build("lsep"), mixed, logits)[0] > 3


def test_lsep_takes_a_soft_target_of_a_half_or_more_as_present() -> None:
    hard = (SOFT >= 0.5).astype(np.float32)
    np.testing.assert_array_equal(value(build("lsep"), SOFT, LOGITS), value(build("lsep"), hard, LOGITS))


def test_lsep_has_no_pairs_where_all_or_no_class_is_present() -> None:
    for target in (np.ones((1, 3), np.float32), np.zeros((1, 3), np.float32)):
        logits = np.array([[1.0, -2.0, 30.0]], np.float32)
        assert value(build("lsep"), target, logits) == 0
        np.testing.assert_array_equal(slope(build("lsep"), target, logits), 0)


def test_lsep_does_not_depend_on_the_level_of_the_scores() -> None:
    np.testing.assert_allclose(
        value(build("lsep"), HARD, LOGITS + 7), value(build("lsep"), HARD, LOGITS), rtol=1e-5
    )


def test_lq_is_the_papers_formula() -> None:
    for q in (0.1, 0.7, 1.0):
        given = np.where(HARD == 1, sigmoid(LOGITS), 1 - sigmoid(LOGITS))  # chance of the given label
        expected = ((1 - given**q) / q).mean(1)
        np.testing.assert_allclose(value(build("lq", q=q), HARD, LOGITS), expected, rtol=1e-5)


def test_lq_by_hand() -> None:
    # p = 0.25 and q = 0.5: (1 - 0.5) / 0.5; of the absent label with p = 0.75: (1 - sqrt(0.75)) / 0.5.
    logits = np.full((1, 1), -np.log(3.0), np.float32)
    np.testing.assert_allclose(value(build("lq", q=0.5), [[1.0]], logits), [1.0], rtol=1e-6)
    np.testing.assert_allclose(value(build("lq", q=0.5), [[0.0]], logits), [0.267949], rtol=1e-5)
    np.testing.assert_allclose(value(build("lq", q=0.5), [[0.25]], logits), [0.450962], rtol=1e-5)


def test_lq_runs_from_the_cross_entropy_to_the_absolute_error() -> None:
    near = value(build("lq", q=1e-3), SOFT, LOGITS)
    np.testing.assert_allclose(near, value(build("bce"), SOFT, LOGITS), rtol=5e-3)
    absolute = np.abs(HARD - sigmoid(LOGITS)).mean(1)
    np.testing.assert_allclose(value(build("lq", q=1.0), HARD, LOGITS), absolute, rtol=1e-5)


def test_lq_is_bounded_where_the_cross_entropy_is_not() -> None:
    wrong = [[1.0]], np.array([[-50.0]], np.float32)
    np.testing.assert_allclose(value(build("lq", q=0.7), *wrong), [1 / 0.7], rtol=1e-6)
    assert np.abs(slope(build("lq"), np.ones((1, 1), np.float32), wrong[1])) < 1e-10
    np.testing.assert_allclose(value(build("bce"), *wrong), [50.0], rtol=1e-6)


def test_smoothing_is_kerass() -> None:
    oracle = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.2, reduction=None)
    np.testing.assert_allclose(
        value(build("bce", smoothing=0.2), HARD, LOGITS), oracle(HARD, LOGITS), rtol=1e-6
    )
    np.testing.assert_allclose(losses.smoothed(np.array([0.0, 0.5, 1.0]), 0.2), [0.1, 0.5, 0.9])


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_one_number_a_clip_finite_with_its_slope_however_far_the_logits(name: str) -> None:
    extreme = np.array([[1e4, -1e4, 80.0, -80.0, 0.0], [-1e4, 1e4, -80.0, 80.0, 0.0]], np.float32)
    for target in (HARD, SOFT, np.zeros_like(HARD)):
        for logits in (LOGITS, extreme):
            each = value(build(name), target, logits)
            assert each.shape == (2,)
            assert each.dtype == np.float32
            assert np.all(np.isfinite(each))
            assert np.all(each >= 0)
            assert np.all(np.isfinite(slope(build(name), target, logits)))


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_falls_where_a_present_class_rises_and_an_absent_one_sinks(name: str) -> None:
    steps = slope(build(name), HARD, LOGITS)
    assert np.all(steps[HARD == 1] < 0)
    assert np.all(steps[HARD == 0] > 0)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_takes_logits_of_half_precision(name: str) -> None:
    half = ops.cast(LOGITS, "bfloat16")
    exact = value(build(name), HARD, ops.cast(half, "float32"))
    np.testing.assert_array_equal(value(build(name), HARD, half), exact)


def test_focal_of_a_gamma_under_1_has_a_slope_at_certainty() -> None:
    steps = slope(build("focal", gamma=0.5), HARD, 1e4 * (2 * HARD - 1))
    assert np.all(np.isfinite(steps))


def test_weights_of_clips_scale_their_terms_and_filling_counts_nothing() -> None:
    each = np.array([1.0, 2.0, 8.0, 100.0], np.float32)
    labelled = np.array([1.0, 1.0, 1.0, 0.0], np.float32)
    weight = np.array([1.0, 1.0, 0.25, 1.0], np.float32)
    assert float(losses.weighted_mean(each, labelled)) == pytest.approx(11 / 3)
    assert float(losses.weighted_mean(each, labelled, weight)) == pytest.approx(5 / 3)
    assert float(losses.weighted_mean(each, 0 * labelled)) == 0
    # A batch of noisy clips alone still counts a quarter.
    assert float(losses.weighted_mean(each, labelled, 0 * each + 0.25)) == pytest.approx(11 / 12)


def test_two_heads_answer_each_for_its_share() -> None:
    domain = np.array([0.0, 1.0], np.float32)
    both = losses.two_headed(build("bce"), HARD, LOGITS, -LOGITS, domain)
    clean, noisy = value(build("bce"), HARD, LOGITS), value(build("bce"), HARD, -LOGITS)
    np.testing.assert_allclose(both, [clean[0], noisy[1]], rtol=1e-6)
    half = losses.two_headed(build("bce"), HARD, LOGITS, -LOGITS, 0 * domain + 0.5)
    np.testing.assert_allclose(half, (clean + noisy) / 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("bcee", {}, r"must be one of bce, focal, lsep, lq\. Received: 'bcee'"),
        ("bce", {"gamma": 2.0}, r"'bce' takes smoothing\. Received: 'gamma'"),
        ("lsep", {"smoothing": 0.1}, r"'lsep' takes no parameter\. Received: 'smoothing'"),
        ("lq", {"q": 0.0}, r"`q` must be above 0 and at most 1\. Received: 0\.0"),
        ("focal", {"gamma": -1.0}, r"`gamma` must be at least 0\. Received: -1\.0"),
        ("bce", {"smoothing": 1.0}, r"`smoothing` must be from 0 to under 1\. Received: 1\.0"),
    ],
)
def test_what_cannot_be_is_refused(name: str, given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, **given)
