"""The optimiser of a stage: whose weights move, by how much, and the means of weights."""

import keras
import numpy as np
import pytest
from keras import ops

from models import networks, schedules
from models.networks import Average, freeze_trunk, layer_groups

LAYERS = ("first", "second", "head_last")


def chain() -> keras.Model:
    """Three dense layers of one weight and one bias each, all at 1."""
    x = given = keras.Input((1,))
    for name in LAYERS:
        x = keras.layers.Dense(1, kernel_initializer="ones", bias_initializer="ones", name=name)(x)
    return keras.Model(given, x)


def small_network() -> keras.Model:
    """A trunk of convolution and norm, twice, and a head with a norm."""
    keras.utils.set_random_seed(0)
    x = image = keras.Input((6, 6, 1), name="image")
    for name in ("block1", "block2"):
        x = keras.layers.Conv2D(2, 3, name=f"{name}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"{name}_norm")(x)
    x = keras.layers.GlobalAveragePooling2D(name="head_mean")(x)
    x = keras.layers.BatchNormalization(name="head_norm")(x)
    return keras.Model(image, keras.layers.Dense(3, name="head_logits")(x))


def apply(optimizer: keras.optimizers.Optimizer, weights: list, *steps: list[float]) -> np.ndarray:
    """Give each weight the gradient of each step -> (weights,) their values afterwards."""
    for step in steps:
        gradients = [
            ops.full(weight.shape, value, "float32") for value, weight in zip(step, weights, strict=True)
        ]
        optimizer.apply(gradients, weights)
    return np.array([ops.convert_to_numpy(weight).item() for weight in weights])


def values(network: keras.Model) -> dict[str, np.ndarray]:
    return {weight.path: np.array(ops.convert_to_numpy(weight)) for weight in network.weights}


def moved(network: keras.Model, before: dict[str, np.ndarray]) -> set[str]:
    return {path for path, value in values(network).items() if np.any(value != before[path])}


def train(network: keras.Model, optimizer: keras.optimizers.Optimizer | str = "adam", steps: int = 2) -> None:
    draw = np.random.default_rng(0)
    network.compile(optimizer, "mse")
    for _ in range(steps):
        network.train_on_batch(draw.normal(3, 2, (8, 6, 6, 1)), draw.normal(size=(8, 3)))


def test_rates_are_spread_geometrically_as_fast_ai_spreads_them() -> None:
    np.testing.assert_allclose(schedules.spread(1e-4, 1e-2, 3), [1e-4, 1e-3, 1e-2])
    assert schedules.spread(1e-4, 1e-2, 1) == (1e-2,)
    with pytest.raises(ValueError, match=r"Received: 0\.1"):
        schedules.spread(0.1, 1e-2, 2)


def test_groups_are_the_blocks_in_order_then_the_head() -> None:
    network = networks.assemble((64, 64, 3), 4)
    groups = layer_groups(network, 5)
    blocks = [{path.split("_")[0] for path in group} for group in groups]
    assert blocks == [{"block1"}, {"block2"}, {"block3"}, {"block4"}, {"head"}]
    assert sorted(path for group in groups for path in group) == sorted(
        weight.path for weight in network.weights
    )
    assert len(layer_groups(network, 1)) == 1
    trunk, head = layer_groups(network, 2)
    assert not any(path.startswith("head_") for path in trunk)
    assert all(path.startswith("head_") for path in head)
    with pytest.raises(ValueError, match=r"from 1 to 9.* Received: 10"):
        layer_groups(network, 10)


def test_each_group_moves_by_its_own_rate() -> None:
    network = chain()
    groups = layer_groups(network, 3)
    assert groups == tuple((f"{name}/kernel", f"{name}/bias") for name in LAYERS)
    made = schedules.optimizer("constant", 1e-2, 1, 0.0, 0.99, schedules.shares(groups, 1e-4, 1e-2))
    # Adam's first step is the learning rate against the gradient's sign, however large the gradient is.
    after = apply(made, network.weights, [0.5, -2.0, 3.0, -1.0, 7.0, -0.1])
    expected = 1 - np.array([1e-4, -1e-4, 1e-3, -1e-3, 1e-2, -1e-2])
    np.testing.assert_allclose(after, expected, atol=2e-7)


def test_decay_is_decoupled_follows_the_group_and_spares_biases_and_norms() -> None:
    network = small_network()
    for weight in network.trainable_weights:
        weight.assign(ops.ones(weight.shape))
    shares = schedules.shares(layer_groups(network, 3), 0.01, 1.0)
    made = schedules.optimizer("constant", 1.0, 1, 0.1, 0.99, shares)
    made.apply([ops.zeros(weight.shape) for weight in network.trainable_weights], network.trainable_weights)
    after = {weight.path: float(ops.mean(weight)) for weight in network.trainable_weights}
    kernels = {path for path in after if path.endswith("kernel")}
    assert {path for path, value in after.items() if value != 1} == kernels
    np.testing.assert_allclose(
        [after["block1_conv/kernel"], after["block2_conv/kernel"], after["head_logits/kernel"]],
        [1 - 0.001, 1 - 0.01, 1 - 0.1],
        rtol=1e-6,
    )


def test_without_groups_it_is_keras_adamw() -> None:
    steps = np.random.default_rng(0).normal(size=(4, 6)).tolist()
    ours, theirs = chain(), chain()
    made = schedules.optimizer("constant", 0.1, 4, 0.05, 0.99)
    oracle = keras.optimizers.AdamW(0.1, weight_decay=0.05, beta_1=0.9, beta_2=0.99)
    oracle.exclude_from_weight_decay(var_names=["bias"])
    np.testing.assert_allclose(
        apply(made, ours.weights, *steps), apply(oracle, theirs.weights, *steps), rtol=1e-6
    )


def test_gradients_are_clipped_by_the_norm_of_all_groups_together() -> None:
    # The norms of both steps over all weights are 50 and 1; at most 5 may pass. Each weight's own is less.
    steps = [[0.0, 30.0, 0.0, 0.0, 40.0, 0.0], [0.0, 0.8, 0.0, 0.0, 0.6, 0.0]]
    clipped = [[value / 10 for value in steps[0]], steps[1]]
    ends = []
    for given, clip in ((steps, 5.0), (clipped, 0.0), (steps, 0.0)):
        network = chain()
        shares = schedules.shares(layer_groups(network, 3), 1e-3, 1e-1)
        made = schedules.optimizer("constant", 1e-1, 2, 0.0, 0.99, shares, clip=clip)
        ends.append(apply(made, network.weights, *given))
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-6)
    assert np.abs(ends[0] - ends[2]).max() > 5e-3  # unclipped, the second step would be lost in the first


def test_accumulated_batches_make_one_update_by_their_mean() -> None:
    halves = [[1.0, 2.0, -1.0, 0.5, 0.0, 3.0], [3.0, -1.0, -2.0, 0.5, 1.0, 1.0]]
    mean = [(a + b) / 2 for a, b in zip(*halves, strict=True)]
    ours, theirs = chain(), chain()
    made = schedules.optimizer("constant", 0.1, 4, 0.1, 0.99, accumulate=2, clip=1.0)
    assert np.all(apply(made, ours.weights, halves[0]) == 1)
    once = schedules.optimizer("constant", 0.1, 2, 0.1, 0.99, clip=1.0)
    expected = apply(once, theirs.weights, mean, mean)
    np.testing.assert_allclose(apply(made, ours.weights, halves[1], *halves), expected, rtol=1e-6)


def test_accumulation_follows_a_one_cycle_by_batches() -> None:
    cycle = schedules.OneCycle(0.1, 8)
    ours = chain()
    made = schedules.optimizer("one_cycle", 0.1, 8, 0.0, 0.99, accumulate=2)
    after = apply(made, ours.weights, [1.0] * 6, [1.0] * 6)
    # The update falls on the second batch, step 1 of the cycle; with Adam's first step, momentum cancels.
    np.testing.assert_allclose(after, 1 - float(cycle(1)), rtol=1e-5)


@pytest.mark.parametrize("rate", [0.01, 1])
def test_cosine_warms_up_and_ends_at_a_thousandth(rate: float) -> None:
    follow = schedules.schedule("cosine", rate, 200)  # 10 steps of warming up, 190 of cooling down
    got = [float(follow(step)) for step in (0, 5, 10, 105, 200, 300)]
    half = 0.5 * (1 - 1e-3) + 1e-3  # half-way down the cosine is in the middle of its ends
    expected = [1 / 25, (1 / 25 + 1) / 2, 1, half, 1e-3, 1e-3]
    np.testing.assert_allclose(got, rate * np.array(expected), rtol=1e-5)


def test_constant_is_constant_and_an_unknown_schedule_is_refused() -> None:
    made = schedules.optimizer("constant", 3, 10, 0.0, 0.99)
    assert float(made.learning_rate) == 3.0
    with pytest.raises(ValueError, match=r"one_cycle, cosine, constant\. Received: 'linear'"):
        schedules.schedule("linear", 0.1, 10)


def test_the_optimiser_is_serialisable() -> None:
    made = schedules.optimizer("one_cycle", 0.1, 8, 0.01, 0.99, {"first/kernel": 0.5}, clip=2.0, accumulate=3)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(made))
    assert again.get_config() == made.get_config()
    assert again.shares == {"first/kernel": 0.5}


def test_a_frozen_trunk_moves_nothing_but_the_head() -> None:
    network = small_network()
    freeze_trunk(network, True)
    before = values(network)
    train(network)
    assert moved(network, before) == {path for path in before if path.startswith("head_")}


def test_a_frozen_trunk_may_train_its_norms() -> None:
    network = small_network()
    freeze_trunk(network, True, norms=True)
    before = values(network)
    train(network)
    assert moved(network, before) == {path for path in before if "conv" not in path}


def test_a_released_trunk_moves_by_less_than_the_head() -> None:
    network = small_network()
    freeze_trunk(network, True)
    freeze_trunk(network, False)
    before = values(network)
    shares = schedules.shares(layer_groups(network, 3), 1e-5, 1e-3)
    train(network, schedules.optimizer("constant", 1e-3, 1, 0.0, 0.99, shares), steps=1)
    assert moved(network, before) == set(before)
    after = values(network)
    for path, rate in (("block1_conv/bias", 1e-5), ("block2_norm/beta", 1e-4), ("head_logits/bias", 1e-3)):
        assert np.abs(after[path] - before[path]).max() <= rate * 1.001
    np.testing.assert_allclose(np.abs(after["head_logits/bias"]), 1e-3, rtol=1e-3)


def test_a_backbone_in_one_piece_is_frozen_too() -> None:
    from keras_hub.models import DenseNetBackbone

    image = keras.Input((32, 32, 1))
    trunk = DenseNetBackbone([1, 1], image_shape=(32, 32, 1), growth_rate=2)
    x = keras.layers.GlobalAveragePooling2D(name="head_mean")(trunk(image))
    network = keras.Model(image, keras.layers.Dense(2, name="head_logits")(x))

    def trained() -> set[str]:
        return {weight.path for weight in network.trainable_weights}

    everything, head = trained(), {"head_logits/kernel", "head_logits/bias"}
    scales = {path for path in everything if path.endswith(("gamma", "beta"))}
    freeze_trunk(network, True)
    assert trained() == head
    freeze_trunk(network, True, norms=True)
    assert trained() == head | scales
    freeze_trunk(network, False)
    assert trained() == everything


def test_an_average_of_weights_by_hand() -> None:
    network = chain()
    average = Average(network, momentum=0.25)
    seen = []
    for value in (1.0, 3.0, 5.0, 9.0):
        for weight in network.weights:
            weight.assign(ops.full(weight.shape, value))
        average.update(network)
        seen.append(float(ops.mean(average.network.weights[0])))
    second = (2 / 11) * 1 + (9 / 11) * 3  # the share of the old: the first time none, then (1 + 1) / (10 + 1)
    third = 0.25 * second + 0.75 * 5  # 3 / 12 is as large as the momentum already
    np.testing.assert_allclose(seen, [1, second, third, 0.25 * third + 0.75 * 9], rtol=1e-6)


def test_an_average_follows_training_and_is_not_trained() -> None:
    class Trained(keras.Model):
        def __init__(self):
            super().__init__()
            self.network = small_network()
            self.average = Average(self.network, momentum=0.9)
            self.built = True

        def call(self, image, training=False):
            if not training:
                return self.average(image)
            self.average.update(self.network)
            return self.network(image, training=True)

    model = Trained()
    model.compile("adam", "mse")
    draw = np.random.default_rng(0)
    seen = [values(model.network)]
    for _ in range(3):
        model.train_on_batch(draw.normal(3, 2, (8, 6, 6, 1)), draw.normal(size=(8, 3)))
        seen.append(values(model.network))
    assert not {id(w) for w in model.trainable_variables} & {id(w) for w in model.average.network.weights}
    assert moved(model.network, seen[0]) == set(seen[0])
    for weight in model.average.network.weights:  # norms' statistics among them
        mean = seen[0][weight.path]
        for step, later in enumerate(seen[1:-1], 1):  # a step's update comes before its weights move
            share = min(0.9, (1 + step) / (10 + step))
            mean = share * mean + (1 - share) * later[weight.path]
        np.testing.assert_allclose(weight, mean, rtol=1e-5, atol=1e-7)
    image = np.ones((2, 6, 6, 1), np.float32)
    served = model.average.network(image, training=False)
    np.testing.assert_allclose(model.predict(image, verbose=0), served, atol=1e-5)
