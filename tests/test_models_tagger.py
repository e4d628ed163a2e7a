"""The tagger: it learns, and its validation counts every clip once and filling not at all."""

import keras
import numpy as np
import pytest

from models import schedules
from models.losses import binary_crossentropy
from models.mixup import Mixup
from models.ranking import lwlrap
from models.tagger import Tagger, mean_logits

CLASSES, SIDE = 4, 8


def tiny(seed: int = 0) -> keras.Model:
    """(batch, 8, 8, 3) -> (batch, 4) logits."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = keras.layers.Flatten()(image)
    x = keras.layers.Dense(16, "relu")(x)
    x = keras.layers.Dropout(0.1)(x)
    return keras.Model(image, keras.layers.Dense(CLASSES)(x), name="tiny")


def toy(seed: int, clips: int) -> dict[str, np.ndarray]:
    """Images with one or two bright quarters, a class each."""
    draw = np.random.default_rng(seed)
    target = np.eye(CLASSES)[draw.integers(0, CLASSES, clips)]
    target = np.maximum(target, np.eye(CLASSES)[draw.integers(0, CLASSES, clips)]).astype(np.float32)
    image = 0.3 * draw.random((clips, SIDE, SIDE, 3))
    half = SIDE // 2
    for n, quarter in zip(*target.nonzero(), strict=True):
        row, column = half * (quarter // 2), half * (quarter % 2)
        image[n, row : row + half, column : column + half] += 0.5
    return {"image": image.astype(np.float32), "target": target}


def compiled(network: keras.Model, mixing: keras.layers.Layer | None = None, rate: float = 0.01) -> Tagger:
    tagger = Tagger(network, mixing, name="tagger")
    tagger.compile(optimizer=schedules.optimizer("constant", rate, 100, 0.0, 0.99), loss=None)
    return tagger


def array(x: object) -> np.ndarray:
    return keras.ops.convert_to_numpy(x)


def test_the_state_of_a_step_is_not_looked_through() -> None:
    """Keras would wrap and walk every list of it, each step anew."""
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            seen.append(type(vars(self.model)["_jax_state"]["trainable_variables"]))

    tagger = compiled(tiny())
    tagger.fit(toy(1, 64), batch_size=32, verbose=0, callbacks=[Look()])
    assert seen == [list, list]


@pytest.mark.parametrize("mixed", [False, True])
def test_it_learns_a_toy_set(mixed: bool) -> None:
    tagger = compiled(tiny(), Mixup(0.75, seed=0) if mixed else None)
    fresh = toy(2, 64)
    before = tagger.evaluate(fresh, batch_size=32, verbose=0, return_dict=True)
    seen = tagger.fit(
        toy(1, 192), batch_size=32, epochs=8, validation_data=(fresh,), validation_batch_size=32, verbose=0
    )
    assert set(seen.history) == {"loss", "lwlrap", "val_loss", "val_lwlrap"}
    assert before["lwlrap"] < 0.8
    assert seen.history["val_lwlrap"][-1] > 0.97
    assert seen.history["val_loss"][-1] < before["loss"] - 0.1
    assert seen.history["loss"][-1] < seen.history["loss"][0] - 0.1


def test_validation_is_the_mean_over_crops_with_every_clip_once() -> None:
    network = tiny(3)
    clips, crops = 10, 3
    image = np.random.default_rng(0).random((clips, crops, SIDE, SIDE, 3)).astype(np.float32)
    target = toy(4, clips)["target"]
    tagger = compiled(network)
    found = tagger.evaluate({"image": image, "target": target}, batch_size=4, verbose=0, return_dict=True)
    each = array(network(image.reshape(-1, SIDE, SIDE, 3), training=False)).reshape(clips, crops, CLASSES)
    chance = (1 / (1 + np.exp(-each.astype(np.float64)))).mean(1)
    assert found["lwlrap"] == pytest.approx(lwlrap(target, chance), abs=1e-6)
    loss = -(target * np.log(chance) + (1 - target) * np.log(1 - chance)).mean()
    assert found["loss"] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("filling", [1, 6, 16])
def test_filling_weighs_nothing(filling: int) -> None:
    tagger = compiled(tiny(5))
    data = toy(6, 10)
    data["image"] = data["image"][:, None].repeat(2, 1)
    whole = tagger.evaluate(data, batch_size=10, verbose=0, return_dict=True)
    filled = {
        key: np.concatenate([value, np.zeros((filling, *value.shape[1:]), np.float32)])
        for key, value in data.items()
    }
    filled["image"][10:] = 0.7
    for batch in (10 + filling, 4):
        found = tagger.evaluate(filled, batch_size=batch, verbose=0, return_dict=True)
        assert found == pytest.approx(whole, rel=1e-5)


def test_a_batch_of_filling_alone_is_no_nan() -> None:
    tagger = compiled(tiny(5))
    nothing = {"image": np.ones((4, SIDE, SIDE, 3), np.float32), "target": np.zeros((4, CLASSES), np.float32)}
    assert tagger.evaluate(nothing, verbose=0, return_dict=True) == {"loss": 0, "lwlrap": 0}
    before = [array(w.value) for w in tagger.network.trainable_weights]
    logs = tagger.train_on_batch(nothing, return_dict=True)
    assert np.isfinite(list(logs.values())).all()
    for weight, value in zip(tagger.network.trainable_weights, before, strict=True):
        np.testing.assert_array_equal(array(weight.value), value)


def test_training_sees_mixed_targets() -> None:
    network = tiny(7)
    tagger = compiled(network, Mixup(0.75, seed=1))
    data = {key: value[:8] for key, value in toy(8, 8).items()}
    again = Mixup(0.75, seed=1)
    _, target = again((data["image"], data["target"]), training=True)
    made = tagger(data, training=True)
    np.testing.assert_allclose(array(made["target"]), array(target), atol=1e-6)
    assert np.abs(array(made["target"]) - data["target"]).max() > 0.1
    quiet = tagger(data, training=False)
    np.testing.assert_array_equal(array(quiet["target"]), data["target"])
    np.testing.assert_allclose(
        array(quiet["logits"]), array(network(data["image"], training=False)), rtol=1e-6
    )
    loss = array(tagger.compute_loss(x=data, y_pred=made))
    wanted = array(binary_crossentropy(target, made["logits"])).mean()
    assert loss == pytest.approx(float(wanted), rel=1e-5)


@pytest.mark.parametrize("crops", [1, 2, 5])
def test_mean_logits_are_the_logit_of_the_mean_chance(crops: int) -> None:
    logits = (3 * np.random.default_rng(0).standard_normal((4 * crops, 6))).astype(np.float32)
    made = array(mean_logits(logits, crops))
    chance = (1 / (1 + np.exp(-logits.astype(np.float64)))).reshape(4, crops, 6).mean(1)
    assert made.shape == (4, 6)
    np.testing.assert_allclose(1 / (1 + np.exp(-made.astype(np.float64))), chance, atol=1e-6)


def test_mean_logits_of_the_surest_crops_are_finite() -> None:
    logits = np.array([[1e4, -1e4], [1e4, -1e4]], np.float32)
    made = array(mean_logits(logits, 2))
    assert np.isfinite(made).all()
    assert made[0, 0] > 15
    assert made[0, 1] < -15


@pytest.mark.parametrize("crops", [1, 2, 5])
def test_mean_logits_of_sure_crops_do_not_tie(crops: int) -> None:
    """lwlrap counts a tie as the worst rank: what the crops tell apart must stay apart."""
    apart = np.array([[-60.0, -25.0, -20.0, -17.0, 3.0, 17.0, 20.0, 25.0, 60.0]], np.float32)
    made = array(mean_logits(np.repeat(apart, crops, axis=0), crops))
    np.testing.assert_allclose(made, apart, rtol=1e-5)


def test_two_trainings_with_one_seed_are_equal() -> None:
    def train() -> list[np.ndarray]:
        tagger = compiled(tiny(9), Mixup(0.75, seed=2))
        tagger.fit(toy(1, 64), batch_size=16, epochs=2, verbose=0, shuffle=False)
        return [array(w.value) for w in tagger.network.weights]

    for one, two in zip(train(), train(), strict=True):
        np.testing.assert_array_equal(one, two)
