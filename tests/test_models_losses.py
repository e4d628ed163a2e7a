"""The loss on logits against its formula in double precision, and at the ends of the scale."""

import keras
import numpy as np
import pytest

from models.losses import binary_crossentropy


def formula(target: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """-z log s(x) - (1 - z) log(1 - s(x)), the mean over classes, in double precision."""
    target, logits = np.asarray(target, np.float64), np.asarray(logits, np.float64)
    each = target * np.logaddexp(0, -logits) + (1 - target) * np.logaddexp(0, logits)
    return each.mean(-1)


def slope(target: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """(batch, classes): what one step of plain descent at rate 1 on the sum of losses takes off the logits."""
    moved = keras.Variable(logits, name="logits")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = binary_crossentropy(target, moved)
        return tape.gradient(loss, moved.value).numpy()
    import jax

    return np.asarray(jax.grad(lambda x: binary_crossentropy(target, x).sum())(moved.value))


@pytest.mark.parametrize("scale", [0.1, 3.0, 30.0])
def test_it_is_the_formula(scale: float) -> None:
    draw = np.random.default_rng(0)
    target = draw.random((16, 9)).astype(np.float32)
    logits = (scale * draw.standard_normal((16, 9))).astype(np.float32)
    made = keras.ops.convert_to_numpy(binary_crossentropy(target, logits))
    assert made.shape == (16,)
    np.testing.assert_allclose(made, formula(target, logits), rtol=1e-5)


def test_its_slope_is_probability_minus_target() -> None:
    draw = np.random.default_rng(1)
    target = draw.random((5, 4)).astype(np.float32)
    logits = (4 * draw.standard_normal((5, 4))).astype(np.float32)
    wanted = (1 / (1 + np.exp(-logits.astype(np.float64))) - target) / 4
    np.testing.assert_allclose(slope(target, logits), wanted, atol=1e-6)


def test_extremes_are_finite_and_right() -> None:
    logits = np.array([[1e4, -1e4, 1e4, -1e4, 0, 3e38]], np.float32)
    right = np.array([[1, 0, 1, 0, 0.5, 1]], np.float32)
    made = keras.ops.convert_to_numpy(binary_crossentropy(right, logits))
    np.testing.assert_allclose(made, [np.log(2) / 6], rtol=1e-6)
    wrong = np.array([[0, 1, 0, 1, 0.5, 1]], np.float32)
    made = keras.ops.convert_to_numpy(binary_crossentropy(wrong, logits))
    np.testing.assert_allclose(made, [4e4 / 6], rtol=1e-4)
    for target in (right, wrong):
        found = slope(target, logits)
        assert np.isfinite(found).all()
        assert np.abs(found).max() <= 1 / 6 + 1e-6


def test_half_precision_logits_lose_nothing_more() -> None:
    logits = keras.ops.cast(np.array([[100.0, -100.0, 0.5]], np.float32), "bfloat16")
    made = binary_crossentropy(np.array([[0, 1, 1]], np.float32), logits)
    assert keras.backend.standardize_dtype(made.dtype) == "float32"
    wanted = formula([[0, 1, 1]], [[100, -100, 0.5]])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(made), wanted, rtol=1e-6)
