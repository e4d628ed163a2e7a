"""How well labels agree with predictions: values worked by hand, and properties."""

import numpy as np
import pytest

from models.quality import balance, label_quality, revise, suggest


def test_quality_of_one_clip_by_hand() -> None:
    # Confidence in what the label says: 0.9 for the first class, 1 - 0.3 and 1 - 0.6 for the others; pooled
    # from the highest on: 0.9, then 0.8 * 0.7 + 0.2 * 0.9, then 0.8 * 0.4 + 0.2 * that.
    expected = 0.8 * 0.4 + 0.2 * (0.8 * 0.7 + 0.2 * 0.9)
    assert label_quality(np.array([[1, 0, 0]]), np.array([[0.9, 0.3, 0.6]])) == pytest.approx([expected])


def test_a_wrong_a_missing_and_a_superfluous_label_all_lower_it() -> None:
    chances = np.tile([0.9, 0.8, 0.1, 0.1], (4, 1))
    labels = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1]])
    right, missing, extra, wrong = label_quality(labels, chances)
    assert right > max(missing, extra)
    assert min(missing, extra) > wrong


def test_the_order_of_classes_does_not_matter() -> None:
    draw = np.random.default_rng(0)
    labels, chances, order = draw.integers(0, 2, (20, 6)), draw.random((20, 6)), draw.permutation(6)
    np.testing.assert_allclose(
        label_quality(labels, chances), label_quality(labels[:, order], chances[:, order])
    )


def test_shapes_that_differ_are_named() -> None:
    for judge in (label_quality, revise):
        with pytest.raises(ValueError, match=r"Received: \(2, 3\), \(3, 2\)"):
            judge(np.zeros((2, 3)), np.zeros((3, 2)))


def test_balanced_probabilities_have_the_mean_of_the_labels_and_their_own_order() -> None:
    draw = np.random.default_rng(1)
    labels = (draw.random((300, 4)) < [0.1, 0.3, 0.5, 0.02]).astype(int)
    chances = draw.random((300, 4)) * [0.2, 0.9, 1.0, 1e-3]
    made = balance(labels, chances)
    np.testing.assert_allclose(made.mean(0), labels.mean(0), atol=1e-6)
    np.testing.assert_array_equal(np.argsort(made, 0), np.argsort(chances, 0))


def test_probabilities_of_0_and_1_can_be_balanced() -> None:
    made = balance(np.array([[1], [0]]), np.array([[1.0], [0.0]]))
    assert 0 < made[1, 0] < made[0, 0] < 1


def test_suggested_are_the_likely_classes_or_the_likeliest() -> None:
    chances = np.array([[0.6, 0.5, 0.2], [0.3, 0.2, 0.1]])
    np.testing.assert_array_equal(suggest(chances), [[1, 1, 0], [1, 0, 0]])


def test_given_labels_stay_where_they_are_likely_and_others_join_where_they_are_sure() -> None:
    given = np.array([[1, 1, 0, 0], [1, 0, 0, 0]])
    chances = np.array([[0.2, 0.19, 0.6, 0.59], [0.1, 0.5, 0.3, 0.0]])
    np.testing.assert_array_equal(revise(given, chances), [[1, 0, 1, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(revise(given, chances, stay=0.0, join=0.5), [[1, 1, 1, 1], [1, 1, 0, 0]])
