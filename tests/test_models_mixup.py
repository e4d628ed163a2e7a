"""Mixup: what is drawn, what is mixed with what, and when nothing is."""

import keras
import numpy as np
import pytest
from scipy import stats

from models import mixup
from models.mixup import Mixup


def array(x: object) -> np.ndarray:
    return keras.ops.convert_to_numpy(x)


def one_hot(batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Image n is 1 in its pixel n alone and target n in its class n: what was mixed can be read off."""
    eye = np.eye(batch, dtype=np.float32)
    return eye.reshape(batch, batch, 1, 1).repeat(3, -1), eye


def read_off(mixed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(batch, batch) rows of two shares -> ((batch,) own share, (batch,) partner)."""
    others = mixed - np.diag(np.diag(mixed))
    assert ((others > 0).sum(1) <= 1).all()
    partner = np.where(others.any(1), others.argmax(1), np.arange(len(mixed)))
    return np.diag(mixed), partner


@pytest.mark.parametrize("alpha", [0.4, 0.75, 2.0])
def test_lambda_has_the_distribution_of_the_larger_share(alpha: float) -> None:
    drawn = array(Mixup(alpha, seed=1).shares(20000)).astype(np.float64)
    assert drawn.min() >= 0.5
    assert drawn.max() <= 1
    beta = stats.beta(alpha, alpha)
    # P(max(l, 1 - l) <= x) = P(1 - x <= l <= x). Float32 cannot tell shares next to 1 apart.
    fit = stats.kstest(drawn, lambda x: beta.cdf(x) - beta.cdf(1 - x))
    assert fit.statistic < 0.02
    assert drawn.mean() == pytest.approx(
        0.5 + stats.beta.expect(lambda x: abs(x - 0.5), (alpha, alpha)), abs=0.005
    )


def test_another_distribution_would_be_noticed() -> None:
    drawn = array(Mixup(0.75, seed=1).shares(20000)).astype(np.float64)
    beta = stats.beta(1.0, 1.0)
    assert stats.kstest(drawn, lambda x: beta.cdf(x) - beta.cdf(1 - x)).statistic > 0.04


def test_images_and_targets_are_mixed_alike_with_a_permutation_of_the_batch() -> None:
    batch = 16
    image, target = one_hot(batch)
    mixed_image, mixed_target = (array(x) for x in Mixup(0.75, seed=3)((image, target), training=True))
    assert mixed_image.shape == image.shape
    for channel in range(3):
        np.testing.assert_array_equal(mixed_image[:, :, 0, channel], mixed_target)
    np.testing.assert_allclose(mixed_target.sum(1), 1, rtol=1e-6)
    share, partner = read_off(mixed_target)
    assert sorted(partner) == list(range(batch))
    assert (partner != np.arange(batch)).sum() > batch // 2
    mixed = partner != np.arange(batch)
    assert share[mixed].min() >= 0.5
    assert len(np.unique(share[mixed])) == mixed.sum()  # one draw a sample


def test_the_formula_on_any_values() -> None:
    draw = np.random.default_rng(0)
    own, others = draw.random((4, 5, 2)).astype(np.float32), draw.random((7, 5, 2)).astype(np.float32)
    partner, share = np.array([6, 0, 3, 3]), np.array([1, 0.5, 0.75, 0.6], np.float32)
    made = array(mixup.mix(own, others, partner, share))
    for n in range(4):
        np.testing.assert_allclose(
            made[n], share[n] * own[n] + (1 - share[n]) * others[partner[n]], rtol=1e-6
        )


def test_every_batch_is_mixed_anew_and_a_seed_repeats_it() -> None:
    layer, again, other = Mixup(0.75, seed=5), Mixup(0.75, seed=5), Mixup(0.75, seed=6)
    first, second = (array(layer(one_hot(16), training=True)[1]) for _ in range(2))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(array(again(one_hot(16), training=True)[1]), first)
    np.testing.assert_array_equal(array(again(one_hot(16), training=True)[1]), second)
    assert not np.array_equal(array(other(one_hot(16), training=True)[1]), first)


@pytest.mark.parametrize(("alpha", "training"), [(0, True), (0.75, False), (0, False)])
def test_nothing_happens_at_alpha_0_and_outside_of_training(alpha: float, training: bool) -> None:
    image, target = np.random.default_rng(0).random((4, 3, 3, 1)), np.eye(4)
    made = Mixup(alpha, seed=0)((image.astype(np.float32), target), training=training)
    np.testing.assert_array_equal(array(made[0]), image.astype(np.float32))
    np.testing.assert_array_equal(array(made[1]), target)


def test_inference_draws_nothing() -> None:
    layer = Mixup(0.75, seed=0)
    before = array(layer.draws.state.value)
    layer(one_hot(16), training=False)
    np.testing.assert_array_equal(array(layer.draws.state.value), before)
    layer(one_hot(16), training=True)
    assert not np.array_equal(array(layer.draws.state.value), before)


def test_the_generator_advances_inside_a_compiled_step() -> None:
    layer = Mixup(0.75, seed=2)
    layer(one_hot(16), training=False)

    def step(state: list, image: object, target: object) -> tuple:
        return layer.stateless_call([], state, (image, target), training=True)

    if keras.backend.backend() == "jax":
        import jax

        step = jax.jit(step)
    state = [variable.value for variable in layer.non_trainable_variables]
    image, target = one_hot(16)
    made = []
    for _ in range(3):
        (_, mixed), state = step(state, image, target)
        made.append(array(mixed))
    assert not np.array_equal(made[0], made[1])
    assert not np.array_equal(made[1], made[2])
    eager = [array(layer((image, target), training=True)[1]) for _ in range(3)]
    for compiled, plain in zip(made, eager, strict=True):
        np.testing.assert_allclose(compiled, plain, atol=1e-6)


def test_gradients_flow_to_a_sample_and_its_partner() -> None:
    image, target = one_hot(16)
    _, mixed = Mixup(0.75, seed=4)((image, target), training=True)
    weights = np.arange(1, 17, dtype=np.float32)
    layer = Mixup(0.75, seed=4)

    def loss(x: object) -> object:
        made, _ = layer((x, target), training=True)
        return keras.ops.sum(keras.ops.sum(made, axis=(1, 2, 3)) * weights)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        x = tf.constant(image)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(x)
        slope = tape.gradient(value, x).numpy()
    else:
        import jax

        slope = np.asarray(jax.grad(loss)(image))
    # Sample n enters row m with the share that row m's target has of class n.
    wanted = array(mixed).T @ weights
    np.testing.assert_allclose(slope, np.broadcast_to(wanted[:, None, None, None], slope.shape), rtol=1e-5)


def test_it_is_made_again_from_its_config() -> None:
    layer = Mixup(0.4, seed=9, name="mixing")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert isinstance(again, Mixup)
    assert (again.alpha, again.seed, again.name) == (0.4, 9, "mixing")
    for _ in range(2):
        np.testing.assert_array_equal(
            array(again(one_hot(16), training=True)[1]), array(layer(one_hot(16), training=True)[1])
        )


def test_kinds_of_mixing() -> None:
    assert mixup.build("none", 0.75, 0) is None
    made = mixup.build("mixup", 0.3, 5)
    assert isinstance(made, Mixup)
    assert (made.alpha, made.seed) == (0.3, 5)


@pytest.mark.parametrize("alpha", [-0.1, float("nan")])
def test_an_impossible_alpha_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="`alpha` must be at least 0"):
        Mixup(alpha)
