"""Learning rates and the optimiser that follows them, by hand-worked values and in NumPy."""

import json

import keras
import numpy as np
import pytest

from models import schedules
from models.schedules import CycledAdamW, OneCycle


def at(schedule: object, step: float) -> float:
    return float(keras.ops.convert_to_numpy(schedule(step)))


def momentum(schedule: OneCycle, step: float) -> float:
    return float(keras.ops.convert_to_numpy(schedule.momentum(step)))


# Of 100 steps the first 30 rise and the other 70 fall, each along half a cosine.
@pytest.mark.parametrize(
    ("step", "rate", "beta"),
    [
        (0, 0.1 / 25, 0.95),
        (15, 0.1 * (1 + 1 / 25) / 2, 0.9),
        (30, 0.1, 0.85),
        (65, 0.1 * (1 + 1 / 25e4) / 2, 0.9),
        (100, 0.1 / 25e4, 0.95),
        (1000, 0.1 / 25e4, 0.95),
        (10, 0.004 + 0.096 * 0.25, 0.925),  # a third of the rise: (1 - cos 60 degrees) / 2
    ],
)
def test_one_cycle_has_these_values(step: int, rate: float, beta: float) -> None:
    schedule = OneCycle(0.1, 100)
    assert at(schedule, step) == pytest.approx(rate, rel=1e-5, abs=1e-9)
    assert momentum(schedule, step) == pytest.approx(beta, rel=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 1000])
def test_one_cycle_rises_then_falls_between_its_ends(steps: int) -> None:
    schedule = OneCycle(3e-3, steps)
    rates = np.array([at(schedule, step) for step in range(steps + 1)])
    assert np.isfinite(rates).all()
    assert rates.min() >= 3e-3 / 25e4 * 0.999
    assert rates.max() <= 3e-3 * 1.001
    turn = rates.argmax()
    assert (np.diff(rates[: turn + 1]) > 0).all()
    assert (np.diff(rates[turn:]) < 0).all()
    if steps == 1000:
        assert turn == 300


def test_cosine_warms_up_and_falls_to_a_thousandth() -> None:
    schedule = schedules.schedule("cosine", 0.2, 100)
    assert at(schedule, 0) == pytest.approx(0.2 / 25, rel=1e-5)
    assert at(schedule, 5) == pytest.approx(0.2, rel=1e-5)
    assert at(schedule, 100) == pytest.approx(0.2 / 1000, rel=1e-3)


def test_constant_is_the_rate() -> None:
    assert schedules.schedule("constant", 0.3, 100) == 0.3


def test_a_schedule_is_made_again_from_its_config() -> None:
    schedule = OneCycle(0.1, 50)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert isinstance(again, OneCycle)
    assert [at(again, step) for step in (0, 20, 50)] == [at(schedule, step) for step in (0, 20, 50)]


def cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + np.cos(np.pi * share)) / 2


def adamw(weights: list, slopes: list[list], peak: float, steps: int, decay: list[float]) -> list:
    """AdamW as its paper has it, with decay and momentum by step, in double precision."""
    weights = [np.array(w, np.float64) for w in weights]
    first, second = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    for step, slope in enumerate(slopes):
        turn = 0.3 * steps
        if step < turn:
            rate = cosine(peak / 25, peak, step / turn)
            beta_1 = cosine(0.95, 0.85, step / turn)
        else:
            rate = cosine(peak, peak / 25e4, (step - turn) / (steps - turn))
            beta_1 = cosine(0.85, 0.95, (step - turn) / (steps - turn))
        for n, g in enumerate(slope):
            g = np.asarray(g, np.float64)
            weights[n] -= rate * decay[n] * weights[n]
            first[n] = beta_1 * first[n] + (1 - beta_1) * g
            second[n] = 0.99 * second[n] + 0.01 * g**2
            unbiased = first[n] / (1 - beta_1 ** (step + 1))
            scale = np.sqrt(second[n] / (1 - 0.99 ** (step + 1)))
            weights[n] -= rate * unbiased / (scale + 1e-7)
    return weights


NAMES = ("kernel", "bias", "gamma", "beta")
DECAY = [0.1, 0, 0, 0]


def start(draw: np.random.Generator) -> tuple[list, list[list]]:
    """-> (first values of four variables, eight steps of slopes)."""
    weights = [1 + draw.random((3, 2)).astype(np.float32) for _ in NAMES]
    return weights, [[draw.standard_normal((3, 2)).astype(np.float32) for _ in NAMES] for _ in range(8)]


def test_the_optimiser_is_adamw_with_the_cycled_momentum() -> None:
    weights, slopes = start(np.random.default_rng(0))
    variables = [keras.Variable(w, name=name) for w, name in zip(weights, NAMES, strict=True)]
    optimizer = schedules.optimizer("one_cycle", 0.05, 10, weight_decay=0.1, beta_2=0.99)
    for slope in slopes:
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in slope], variables)
    wanted = adamw(weights, slopes, 0.05, 10, DECAY)
    for variable, expected, before in zip(variables, wanted, weights, strict=True):
        made = keras.ops.convert_to_numpy(variable.value)
        np.testing.assert_allclose(made, expected, rtol=2e-5, atol=1e-6)
        assert np.abs(made - before).max() > 0.01
    fixed = adamw(weights, slopes, 0.05, 10, [0.1] * 4)
    assert np.abs(fixed[1] - wanted[1]).max() > 1e-3  # the test would see decay on a bias


def test_a_compiled_step_is_the_same_and_leaves_no_trace() -> None:
    if keras.backend.backend() != "jax":
        pytest.skip("compiles by JAX")
    import jax

    weights, slopes = start(np.random.default_rng(1))
    variables = [keras.Variable(w, name=name) for w, name in zip(weights, NAMES, strict=True)]
    optimizer = schedules.optimizer("one_cycle", 0.05, 10, weight_decay=0.1, beta_2=0.99)
    optimizer.build(variables)
    step = jax.jit(optimizer.stateless_apply)
    state, values = [v.value for v in optimizer.variables], [v.value for v in variables]
    for slope in slopes:
        values, state = step(state, slope, values)
    for value, expected in zip(values, adamw(weights, slopes, 0.05, 10, DECAY), strict=True):
        np.testing.assert_allclose(np.asarray(value), expected, rtol=2e-5, atol=1e-6)
    assert optimizer.beta_1 == 0.9
    json.dumps(optimizer.get_config())


@pytest.mark.parametrize("kind", ["one_cycle", "cosine", "constant"])
def test_decay_spares_biases_and_norms_of_a_network(kind: str) -> None:
    network = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization(), keras.layers.Dense(2)]
    )
    variables = network.trainable_variables
    before = [keras.ops.convert_to_numpy(v.value) + 1 for v in variables]
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    optimizer = schedules.optimizer(kind, 0.1, 10, weight_decay=0.5, beta_2=0.99)
    optimizer.apply([keras.ops.zeros_like(v.value) for v in variables], variables)
    shrunk = {
        variable.path.split("/")[-1]: not np.array_equal(keras.ops.convert_to_numpy(variable.value), value)
        for variable, value in zip(variables, before, strict=True)
    }
    assert shrunk == {"kernel": True, "bias": False, "gamma": False, "beta": False}


def test_without_a_momentum_the_fixed_one_holds() -> None:
    variable = keras.Variable(np.ones(3, np.float32), name="kernel")
    ours = CycledAdamW(0.1, weight_decay=0.01, beta_1=0.8)
    plain_variable = keras.Variable(np.ones(3, np.float32), name="kernel")
    plain = keras.optimizers.AdamW(0.1, weight_decay=0.01, beta_1=0.8)
    for step in range(4):
        slope = keras.ops.convert_to_tensor(np.array([1.0, -2.0, step], np.float32))
        ours.apply([slope], [variable])
        plain.apply([slope], [plain_variable])
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(variable.value), keras.ops.convert_to_numpy(plain_variable.value)
    )
