"""Mixup with partners from the noisy set too, and mixing that is switched off for the last epochs."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats

from models import mixup
from models.mixup import Mixup, NoisyMixup, Unmixed

BATCH, CLASSES = 64, 5


def clips(batch: int = BATCH, draw: int = BATCH) -> dict[str, np.ndarray]:
    """Images that are all their clip's number, batch first; targets of one class, or of three for the draw."""
    own, noisy = np.arange(batch, dtype=np.float32), batch + np.arange(draw, dtype=np.float32)
    noisy_target = np.zeros((draw, CLASSES), np.float32)
    noisy_target[:, 2:] = 1
    return {
        "image": np.broadcast_to(own[:, None, None, None], (batch, 3, 4, 2)).copy(),
        "target": np.eye(CLASSES, dtype=np.float32)[np.arange(batch) % 2],
        "noisy_image": np.broadcast_to(noisy[:, None, None, None], (draw, 3, 4, 2)).copy(),
        "noisy_target": noisy_target,
    }


def numpy_of(mixed: dict) -> dict[str, np.ndarray]:
    return {key: ops.convert_to_numpy(value) for key, value in mixed.items()}


def test_partners_come_from_the_batch_and_the_draw_alike() -> None:
    layer = NoisyMixup(1.0, seed=3)
    given = clips()
    # A channel that is 1 in the noisy draw alone shows who has a partner from there.
    given["image"][..., 1], given["noisy_image"][..., 1] = 0, 1
    from_noisy = []
    for _ in range(20):
        image = numpy_of(layer(given, training=True))["image"][:, 0, 0]
        from_noisy += list(image[:, 1] > 0)
    # Without replacement from 128, half of them noisy: of 1280 partners 640, standard deviation under 18.
    assert 560 < sum(from_noisy) < 720


def test_partners_are_drawn_without_replacement() -> None:
    layer = NoisyMixup(0.5, seed=1)
    given = clips(8, 8)
    tags = np.eye(16, dtype=np.float32)
    given["image"], given["noisy_image"] = tags[:8], tags[8:]
    for _ in range(10):
        image = numpy_of(layer(given, training=True))["image"]
        partner_share = image - image * np.eye(8, 16)
        assert np.all((partner_share > 0).sum(0) <= 1)
        np.testing.assert_allclose(image.sum(1), 1, rtol=1e-6)


def test_image_target_weight_and_domain_are_mixed_by_the_same_lambda() -> None:
    layer = NoisyMixup(0.75, seed=5)
    given = clips()
    given["image"][...], given["noisy_image"][...] = 0, 1  # so an image shows the draw's share in its clip
    weights = {"weight": np.ones(BATCH, np.float32), "noisy_weight": np.full(BATCH, 0.25, np.float32)}
    mixed = numpy_of(layer(given | weights, training=True))
    share = mixed["image"][:, 0, 0, 0]
    assert np.ptp(mixed["image"], axis=(1, 2, 3)).max() == 0
    assert 0.2 < (share > 0).mean() < 0.8
    np.testing.assert_allclose(mixed["domain"], share, rtol=1e-6)
    np.testing.assert_allclose(mixed["target"][:, 4], share, rtol=1e-6)
    np.testing.assert_allclose(mixed["target"].sum(1), 1 + 2 * share, rtol=1e-5)
    np.testing.assert_allclose(mixed["weight"], 1 - 0.75 * share, rtol=1e-6)
    assert set(mixed) == {"image", "target", "weight", "domain"}


def test_what_the_batch_says_of_itself_is_kept() -> None:
    given = clips(4, 4) | {"domain": np.array([1, 1, 0, 0], np.float32)}
    mixed = numpy_of(NoisyMixup(0.0)(given, training=True))
    np.testing.assert_array_equal(mixed["domain"], [1, 1, 0, 0])
    np.testing.assert_array_equal(mixed["weight"], np.ones(4))


def test_lambda_is_the_larger_end_of_a_beta() -> None:
    alpha = 0.75
    layer = NoisyMixup(alpha, seed=11)
    share = ops.convert_to_numpy(layer.shares(4000))
    assert share.min() >= 0.5

    def chance(x: np.ndarray) -> np.ndarray:
        """Of max(l, 1 - l) <= x: l from 1 - x to x."""
        return stats.beta.cdf(x, alpha, alpha) - stats.beta.cdf(1 - x, alpha, alpha)

    assert stats.kstest(share, chance).pvalue > 0.01


@pytest.mark.parametrize(("alpha", "training"), [(0.0, True), (0.75, False), (0.0, False)])
def test_the_batch_passes_at_alpha_0_and_outside_of_training(alpha: float, training: bool) -> None:
    given = clips()
    mixed = numpy_of(NoisyMixup(alpha, seed=0)(given, training=training))
    np.testing.assert_array_equal(mixed["image"], given["image"])
    np.testing.assert_array_equal(mixed["target"], given["target"])
    np.testing.assert_array_equal(mixed["domain"], np.zeros(BATCH))


def test_a_draw_may_be_of_another_size_or_absent_outside_of_training() -> None:
    given = clips(8, 3)
    assert numpy_of(NoisyMixup(0.75, seed=0)(given, training=True))["image"].shape == (8, 3, 4, 2)
    alone = {key: given[key] for key in ("image", "target")}
    np.testing.assert_array_equal(numpy_of(NoisyMixup(0.75)(alone))["image"], given["image"])


def test_gradients_flow_to_both_images() -> None:
    given = {key: ops.convert_to_tensor(value) for key, value in clips(8, 8).items()}
    images = {key: given[key] for key in ("image", "noisy_image")}
    layer = NoisyMixup(0.75, seed=2)

    def total(some):
        mixed = layer({**given, **some}, training=True)
        return ops.sum(mixed["image"])

    if keras.backend.backend() == "jax":
        import jax

        def stateless(some):
            with keras.StatelessScope():
                return total(some)

        slopes = jax.grad(stateless)(images)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(images)
            value = total(images)
        slopes = tape.gradient(value, images)
    own, noisy = (ops.convert_to_numpy(slopes[key])[:, 0, 0, 0] for key in ("image", "noisy_image"))
    assert own.min() >= 0.5 - 1e-6
    assert 0 < noisy.max() <= 0.5 + 1e-6
    np.testing.assert_allclose(own.sum() + noisy.sum(), 8, rtol=1e-5)  # lambda and 1 - lambda for every clip


def test_it_is_serialisable_and_a_seed_gives_its_draws_again() -> None:
    layer = NoisyMixup(0.4, seed=7, name="noisy")
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.get_config() == layer.get_config()
    first, second = (numpy_of(made(clips(), training=True)) for made in (layer, again))
    for key, value in first.items():
        np.testing.assert_array_equal(value, second[key])
    assert np.any(numpy_of(layer(clips(), training=True))["image"] != first["image"])  # the next draw


def test_its_shapes_are_what_it_says() -> None:
    given = clips(6, 2)
    layer = NoisyMixup(0.75, seed=0)
    said = layer.compute_output_shape({key: value.shape for key, value in given.items()})
    made = {key: value.shape for key, value in numpy_of(layer(given, training=True)).items()}
    assert said == made


@pytest.mark.parametrize("kind", ["mixup", "noisy"])
def test_while_not_active_everything_passes(kind: str) -> None:
    layer = mixup.build(kind, 0.75, 0)
    layer.active.assign(0.0)
    given = clips()
    if kind == "mixup":
        given = {key: given[key] for key in ("image", "target")}
    mixed = numpy_of(layer(given, training=True))
    np.testing.assert_array_equal(mixed["image"], given["image"])
    np.testing.assert_array_equal(mixed["target"], given["target"])
    layer.active.assign(1.0)
    assert np.any(numpy_of(layer(given, training=True))["image"] != given["image"])


def test_plain_mixup_mixes_every_entry_of_a_dict() -> None:
    number = np.arange(BATCH, dtype=np.float32)
    mixed = numpy_of(Mixup(0.75, seed=0)({"image": number[:, None], "weight": number}, training=True))
    np.testing.assert_allclose(mixed["image"][:, 0], mixed["weight"])
    assert np.any(mixed["weight"] != number)


def test_mixing_is_off_in_the_last_epochs_without_compiling_anew() -> None:
    traced = []

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.mixing = Mixup(0.75, seed=0)
            self.seen = keras.metrics.MeanSquaredError(name="moved")  # how far mixing moved the images
            self.dense = keras.layers.Dense(1)
            self.built = True

        def call(self, inputs, training=False):
            traced.append(training)
            image, target = self.mixing((inputs, inputs), training=training)
            self.add_loss(ops.mean(ops.square(self.dense(image) - target)))
            return image

        def compute_metrics(self, x, y, y_pred, sample_weight=None):
            self.seen.update_state(x, y_pred)
            return self.get_metrics_result()

    model = Model()
    model.dense.build((None, 1))
    model.compile("sgd")
    x = np.arange(32, dtype=np.float32)[:, None] / 32
    logs = model.fit(
        x, batch_size=16, epochs=4, verbose=0, callbacks=[Unmixed(model.mixing, first=2)]
    ).history
    calls = len(traced)
    assert min(logs["moved"][:2]) > 1e-3
    assert max(logs["moved"][2:]) == 0
    # A run that is resumed in its last epochs, and one that mixes again: the layer is set before each.
    more = model.fit(
        x, batch_size=16, epochs=6, initial_epoch=4, verbose=0, callbacks=[Unmixed(model.mixing, 5)]
    )
    assert more.history["moved"][0] > 1e-3
    assert more.history["moved"][1] == 0
    assert len(traced) == calls


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"none, mixup, noisy, mixmatch\. Received: 'cutmix'"):
        mixup.build("cutmix", 0.75, 0)
    with pytest.raises(ValueError, match=r"at least 0\. Received: -1"):
        NoisyMixup(-1.0)
