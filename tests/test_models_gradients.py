"""What the optimiser tells of gradients and rates: norms over an epoch, the first batch that is not finite."""

import keras
import numpy as np
import pytest
from keras import ops

from models import networks, schedules
from models.tagger import Tagger

CLASSES, SIDE = 3, 6


def weights(*values: float) -> list[keras.Variable]:
    return [keras.Variable(np.full((2,), value, np.float32)) for value in values]


def fed(*norms: float, clip: float = 0.0) -> schedules.CycledAdamW:
    """An optimiser after batches whose two gradients together have these norms."""
    optimizer = schedules.optimizer("constant", 0.01, 10, 0.0, 0.99, clip=clip)
    trained = weights(1.0, 2.0)
    for norm in norms:
        optimizer.apply([ops.full((2,), norm / 2, "float32")] * 2, trained)
    return optimizer


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_the_norm_is_of_all_gradients_together_before_clipping(clip: float) -> None:
    found = fed(3.0, 5.0, 1.0, clip=clip).gradients
    assert (found.batches, found.unfit_batch) == (3, None)
    assert (found.mean, found.largest) == pytest.approx((3.0, 5.0))


def test_an_epoch_counts_anew() -> None:
    optimizer = fed(3.0, float("nan"))
    assert optimizer.gradients.unfit_batch == 1
    optimizer.begin_epoch()
    assert optimizer.gradients == schedules.Gradients(0, 0, 0, 0)
    assert optimizer.gradients.mean == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_first_unfit_batch_stays_the_first(bad: float) -> None:
    assert fed(1.0, 2.0, bad, 1.0, bad).gradients.unfit_batch == 2
    assert fed(bad).gradients.unfit_batch == 0


def test_what_is_watched_is_part_of_the_state() -> None:
    assert "gradients" in {variable.name for variable in fed(1.0).variables}


def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = keras.layers.Flatten()(keras.layers.Conv2D(2, 3, name="block1_conv")(image))
    return keras.Model(image, keras.layers.Dense(CLASSES, name="head_logits")(x))


def batch(number: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(number)
    target = np.eye(CLASSES, dtype=np.float32)[draw.integers(0, CLASSES, 8)]
    return {"image": draw.random((8, SIDE, SIDE, 3)).astype(np.float32), "target": target}


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    made = Tagger(network(), name="tagger")
    made.compile(optimizer=schedules.optimizer("constant", 1e-3, 10, 0.0, 0.99), loss=None)
    return made


def test_a_training_tells_its_unfit_batch(tagger: Tagger) -> None:
    for number in range(2):
        tagger.train_on_batch(batch(number))
    assert tagger.optimizer.gradients.unfit_batch is None
    assert tagger.optimizer.gradients.batches == 2
    assert 0 < tagger.optimizer.gradients.mean < 10
    poisoned = batch(2)
    poisoned["image"][3, 0, 0, 0] = np.nan
    tagger.train_on_batch(poisoned)
    tagger.train_on_batch(batch(3))
    assert tagger.optimizer.gradients.unfit_batch == 2


def test_an_infinite_loss_of_finite_gradients_is_noticed_too() -> None:
    """The cross-entropy of a logit of 1e38 overflows where classes are summed; its slope is 1."""
    made = network()
    made.get_layer("head_logits").bias.assign([3e38, 3e38, 3e38])
    tagger = Tagger(made, name="tagger")
    tagger.compile(optimizer=schedules.optimizer("constant", 1e-3, 10, 0.0, 0.99), loss=None)
    given = batch(0) | {"target": np.eye(CLASSES, dtype=np.float32)[np.zeros(8, int)]}
    assert np.isinf(float(tagger.train_on_batch(given, return_dict=True)["loss"]))
    assert tagger.optimizer.gradients.unfit_batch == 0


def test_rates_of_groups() -> None:
    made = network()
    groups = networks.layer_groups(made, 2)
    optimizer = schedules.optimizer("constant", 1e-2, 10, 0.0, 0.99, schedules.shares(groups, 1e-4, 1e-2))
    optimizer.build(made.trainable_variables)
    assert optimizer.rates(groups) == pytest.approx((1e-4, 1e-2))
    networks.freeze_trunk(made, True)
    frozen = schedules.optimizer("constant", 1e-2, 10, 0.0, 0.99)
    frozen.build(made.trainable_variables)
    assert frozen.rates(groups) == pytest.approx((0.0, 1e-2))
