"""MixMatch for sigmoid targets: each step against the paper's formula, and the whole on a toy set."""

import keras
import numpy as np
import pytest
from keras import ops

from models import losses, mixmatch
from models.mixmatch import MixMatch
from models.networks import Average
from models.tagger import Tagger


def array(x: object) -> np.ndarray:
    return ops.convert_to_numpy(x)


def given(batch: int = 4, clips: int = 3, views: int = 2) -> dict[str, np.ndarray]:
    """Images that show their row: labelled ones 1 in a pixel of their own, likewise every view of a clip."""
    tags = np.eye(batch + clips * views, dtype=np.float32)
    return {
        "image": tags[:batch],
        "target": np.eye(3, dtype=np.float32)[np.arange(batch) % 3],
        "unlabelled_image": tags[batch:].reshape(views, clips, -1).swapaxes(0, 1),
        "guess": np.linspace(0.05, 0.95, clips * 3, dtype=np.float32).reshape(clips, 3),
    }


def beside(batch: int, clips: int) -> dict[str, np.ndarray]:
    """What a clip may bring beside image and target, another value for each."""
    draw = np.random.default_rng(5)
    names = {"weight": batch, "domain": batch, "unlabelled_weight": clips, "unlabelled_domain": clips}
    return {name: draw.random(rows).astype(np.float32) for name, rows in names.items()}


def slope(function, at: np.ndarray) -> np.ndarray:
    """-> how a number that `function` makes of an array changes with each of its elements."""
    at = ops.convert_to_tensor(at)
    if keras.backend.backend() == "jax":
        import jax

        def stateless(x: object) -> object:
            with keras.StatelessScope():
                return function(x)

        return np.asarray(jax.grad(stateless)(at))
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(at)
        number = function(at)
    found = tape.gradient(number, at)
    return np.zeros(at.shape, np.float32) if found is None else found.numpy()


def test_sharpening_is_the_papers_for_two_classes() -> None:
    chance = np.linspace(0.01, 0.99, 99).astype(np.float32).reshape(3, 33)
    for temperature in (0.3, 0.5, 1.0, 2.0):
        power = 1 / temperature
        expected = chance**power / (chance**power + (1 - chance) ** power)
        np.testing.assert_allclose(array(mixmatch.sharpen(chance, temperature)), expected, rtol=2e-5)


def test_sharpening_by_hand() -> None:
    # 0.8 at T = 0.5: 0.64 / (0.64 + 0.04).
    np.testing.assert_allclose(array(mixmatch.sharpen(np.float32([0.8]), 0.5)), [0.64 / 0.68], rtol=1e-6)
    ends = np.array([0.0, 1e-8, 0.5, 1.0], np.float32)
    np.testing.assert_allclose(array(mixmatch.sharpen(ends, 0.5)), [0, 0, 0.5, 1], atol=1e-6)
    np.testing.assert_allclose(array(mixmatch.sharpen(np.float32([0.4, 0.6]), 1e-3)), [0, 1], atol=1e-6)


def tiny(dropout: float = 0.0) -> keras.Model:
    image = keras.Input((5,))
    x = keras.layers.BatchNormalization()(keras.layers.Dense(4, name="first")(image))
    x = keras.layers.Dropout(dropout, seed=0)(x)
    return keras.Model(image, keras.layers.Dense(3, name="last")(x))


def test_a_guess_is_the_mean_chance_over_a_clips_views() -> None:
    network = tiny(dropout=0.9)
    images = np.random.default_rng(0).normal(size=(6, 2, 5)).astype(np.float32)
    before = [array(weight) for weight in network.weights]
    guessed = array(mixmatch.guess(network, images))
    logits = np.stack([array(network(images[:, view], training=False)) for view in range(2)])
    np.testing.assert_allclose(guessed, (1 / (1 + np.exp(-logits))).mean(0), rtol=1e-5)
    for weight, value in zip(network.weights, before, strict=True):
        np.testing.assert_array_equal(array(weight), value)  # the norm's statistics among them


def test_a_guess_of_two_heads_is_the_clean_ones() -> None:
    image = keras.Input((5,))
    clean, noisy = keras.layers.Dense(3)(image), keras.layers.Dense(3)(image)
    images = np.random.default_rng(0).normal(size=(2, 1, 5)).astype(np.float32)
    two = keras.Model(image, {"logits": clean, "noisy_logits": noisy})
    expected = mixmatch.guess(keras.Model(image, clean), images)
    np.testing.assert_array_equal(array(mixmatch.guess(two, images)), array(expected))


def test_no_gradient_flows_through_a_guess() -> None:
    network = tiny()
    images = np.random.default_rng(0).normal(size=(6, 2, 5)).astype(np.float32)
    assert np.all(slope(lambda x: ops.sum(mixmatch.guess(network, x)), images) == 0)
    assert np.any(slope(lambda x: ops.sum(network(x[:, 0])), images) != 0)
    layer = MixMatch(0.75, seed=0)
    batch = given()

    def targets(chance: object) -> object:
        return ops.sum(layer({**batch, "guess": chance}, training=True)["target"])

    assert np.all(slope(targets, batch["guess"]) == 0)


def test_rows_are_the_batch_then_the_views_which_share_a_guess() -> None:
    batch = given()
    made = {key: array(value) for key, value in MixMatch(0.0, temperature=0.5)(batch, training=True).items()}
    np.testing.assert_array_equal(made["image"], np.eye(10))
    np.testing.assert_array_equal(made["target"][:4], batch["target"])
    sharp = array(mixmatch.sharpen(batch["guess"], 0.5))
    np.testing.assert_allclose(made["target"][4:7], sharp, rtol=1e-6)
    np.testing.assert_allclose(made["target"][7:], sharp, rtol=1e-6)
    np.testing.assert_array_equal(made["labelled"], [1] * 4 + [0] * 6)


def test_given_labels_are_blended_in_before_sharpening() -> None:
    batch = given() | {"unlabelled_target": np.array([[1, 0, 0], [0, 1, 0], [1, 1, 1]], np.float32)}
    layer = MixMatch(0.0, temperature=0.5, prior=0.25)
    target = array(layer(batch, training=True)["target"])[4:7]
    blended = 0.75 * batch["guess"] + 0.25 * batch["unlabelled_target"]
    np.testing.assert_allclose(target, blended**2 / (blended**2 + (1 - blended) ** 2), rtol=1e-5)
    trusted = array(MixMatch(0.0, prior=1.0)(batch, training=True)["target"])[4:7]
    np.testing.assert_allclose(trusted, batch["unlabelled_target"], atol=1e-6)


def test_every_row_is_mixed_with_one_of_the_union_and_its_target_alike() -> None:
    layer = MixMatch(0.75, temperature=1.0, seed=4)
    batch = given(8, 4)
    plain = array(MixMatch(0.0, temperature=1.0)(batch, training=True)["target"])
    crossed = 0
    for _ in range(5):
        made = {key: array(value) for key, value in layer(batch, training=True).items()}
        shares = made["image"]  # tags, so row by row what it has of each
        np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-6)
        assert np.diag(shares).min() >= 0.5
        partners = shares - np.diag(np.diag(shares))
        assert (partners > 0).sum(0).max() <= 1  # a permutation
        np.testing.assert_allclose(made["target"], shares @ plain, rtol=1e-5)
        crossed += (partners[:8, 8:] > 0).sum() + (partners[8:, :8] > 0).sum()
    assert crossed > 20  # of 80 rows about 40


@pytest.mark.parametrize("prior", [0.0, 0.25])
def test_weight_and_domain_are_mixed_by_the_same_lambda(prior: float) -> None:
    batch = given(8, 4) | {"unlabelled_target": np.zeros((4, 3), np.float32)}
    more = beside(8, 4)
    layer = MixMatch(0.75, prior=prior, seed=4)
    made = {key: array(value) for key, value in layer(batch | more, training=True).items()}
    shares = made["image"]  # tags, so row by row what it has of each
    assert (shares[:8, 8:] > 0).any()
    weight = np.concatenate([more["weight"], *[more["unlabelled_weight"]] * 2])
    np.testing.assert_allclose(made["weight"], shares @ weight, rtol=1e-5)
    # The given labels are `prior` of a guess, and no other part of it is noisy.
    domain = np.concatenate([more["domain"], *[prior * more["unlabelled_domain"]] * 2])
    np.testing.assert_allclose(made["domain"], shares @ domain, rtol=1e-5, atol=1e-7)


def test_weight_and_domain_of_unlabelled_clips_are_1_where_they_bring_none() -> None:
    own = {"weight": np.zeros(4, np.float32), "domain": np.zeros(4, np.float32)}
    batch = given() | own | {"unlabelled_target": np.zeros((3, 3), np.float32)}
    made = MixMatch(0.0, prior=0.25)(batch, training=True)
    np.testing.assert_array_equal(array(made["weight"]), [0] * 4 + [1] * 6)
    np.testing.assert_array_equal(array(made["domain"]), [0] * 4 + [0.25] * 6)


def test_nothing_joins_that_the_batch_does_not_bring() -> None:
    given_keys = {"image", "target", "labelled", "guessed_weight"}
    assert set(MixMatch(0.75, seed=0)(given(), training=True)) == given_keys


def two_heads() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((10,))
    clean, noisy = (keras.layers.Dense(3, name=name)(image) for name in ("clean", "noisy"))
    return keras.Model(image, {"logits": clean, "noisy_logits": noisy})


def trained(batch: dict[str, np.ndarray], **matching: float) -> set[str]:
    """-> the heads that a step changes."""
    network = two_heads()
    tagger = Tagger(network, MixMatch(ramp=0, seed=0, **matching))
    tagger.compile(keras.optimizers.SGD(0.1))
    before = {name: array(network.get_layer(name).kernel) for name in ("clean", "noisy")}
    tagger.train_on_batch(batch)
    return {name for name, was in before.items() if np.any(array(network.get_layer(name).kernel) != was)}


def test_each_head_is_trained_by_its_labels() -> None:
    batch = given() | {"unlabelled_target": np.eye(3, dtype=np.float32)}
    del batch["guess"]  # the tagger's
    curated, noisy = {"domain": np.zeros(4, np.float32)}, {"domain": np.ones(4, np.float32)}
    silent = {"weight": np.zeros(4, np.float32)}  # so that the unlabelled term alone trains
    assert trained(batch | noisy, alpha=0.0, weight=0.0) == {"noisy"}
    assert trained(batch | curated, alpha=0.0, weight=0.0) == {"clean"}
    assert trained(batch | curated, alpha=0.75, weight=10.0) == {"clean"}  # guesses are the clean head's
    assert trained(batch | curated | silent, alpha=0.0, weight=10.0, prior=1.0) == {"noisy"}
    assert trained(batch | curated | silent, alpha=0.0, weight=10.0, prior=0.5) == {"clean", "noisy"}


def test_the_taggers_loss_of_two_heads_by_hand() -> None:
    batch = given() | {"unlabelled_target": np.eye(3, dtype=np.float32)} | beside(4, 3)
    del batch["guess"]
    tagger = Tagger(two_heads(), MixMatch(0.75, weight=6.0, ramp=0, prior=0.25, seed=0))
    made = tagger(batch, training=True)
    got = {key: array(value).astype(np.float64) for key, value in made.items()}
    terms = []
    for key in ("logits", "noisy_logits"):
        chance, target = 1 / (1 + np.exp(-got[key])), got["target"]
        entropy = -(target * np.log(chance) + (1 - target) * np.log(1 - chance)).mean(1)
        terms.append(np.stack([entropy, ((target - chance) ** 2).mean(1)]))
    entropy, square = (1 - got["domain"]) * terms[0] + got["domain"] * terms[1]
    wanted = (got["weight"] * entropy)[:4].mean() + 6 * square[4:].mean()
    assert float(tagger.compute_loss(x=batch, y_pred=made)) == pytest.approx(wanted, rel=1e-5)


def test_the_unlabelled_weight_ramps_up() -> None:
    layer = MixMatch(0.75, weight=8.0, ramp=4, seed=0)
    weights = [float(layer(given(), training=True)["guessed_weight"]) for _ in range(7)]
    np.testing.assert_allclose(weights, [0, 2, 4, 6, 8, 8, 8])
    assert float(MixMatch(weight=8.0, ramp=0)(given(), training=True)["guessed_weight"]) == 8
    layer(given(), training=False)
    assert int(layer.steps) == 7


def test_the_loss_by_hand() -> None:
    target = np.array([[1.0, 0.0], [0.5, 0.5], [1.0, 0.0], [0.0, 0.25]], np.float32)
    logits = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [np.log(3), 0.0]], np.float32)
    each = np.array([1.0, 3.0, 50.0, 50.0], np.float32)
    labelled = np.array([1.0, 1.0, 0.0, 0.0], np.float32)
    # Labelled: (1 + 3) / 2. The others' squares: (0.25 + 0.25) / 2 and (0.75 ** 2 + 0.25 ** 2) / 2.
    expected = 2 + 6 * (0.25 + 0.3125) / 2
    errors = mixmatch.squared_error(target, logits)
    assert float(mixmatch.loss(each, errors, labelled, 6.0)) == pytest.approx(expected, rel=1e-6)
    assert float(mixmatch.loss(each, errors, labelled, 0.0)) == 2
    assert float(mixmatch.loss(each, errors, 0 * labelled, 0.0)) == 0
    # Weights are of the labelled rows alone, and do not divide: (1 + 3 / 2) / 2 instead of (1 + 3) / 2.
    weight = np.array([1.0, 0.5, 0.25, 0.0], np.float32)
    weighted = float(mixmatch.loss(each, errors, labelled, 6.0, weight))
    assert weighted == pytest.approx(expected - 0.75, rel=1e-6)


def test_the_batch_passes_alone_outside_of_training_and_unmixed_while_not_active() -> None:
    layer, batch = MixMatch(0.75, seed=0), given()
    made = layer(batch, training=False)
    assert set(made) == {"image", "target"}
    np.testing.assert_array_equal(array(made["image"]), batch["image"])
    assert set(layer(batch | beside(4, 3), training=False)) == {"image", "target", "weight", "domain"}
    layer.active.assign(0.0)
    np.testing.assert_array_equal(array(layer(batch, training=True)["image"]), np.eye(10))


def test_it_is_serialisable_and_says_its_shapes() -> None:
    layer = MixMatch(0.4, 0.6, prior=0.1, weight=5.0, ramp=10, seed=3)
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.get_config() == layer.get_config()
    batch = given() | beside(4, 3) | {"unlabelled_target": np.zeros((3, 3), np.float32)}
    first, second = (made(batch, training=True) for made in (layer, again))
    for key, value in first.items():
        np.testing.assert_array_equal(array(value), array(second[key]))
    said = layer.compute_output_shape({key: value.shape for key, value in batch.items()})
    assert said == {key: tuple(value.shape) for key, value in first.items()}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"temperature": 0.0}, r"`temperature` must be above 0\. Received: 0\.0"),
        ({"prior": 1.5}, r"`prior` must be from 0 to 1\. Received: 1\.5"),
        ({"weight": -1.0}, r"`weight` must be at least 0\. Received: -1\.0"),
        ({"ramp": -1}, r"`ramp` must be at least 0\. Received: -1"),
    ],
)
def test_what_cannot_be_is_refused(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MixMatch(**given)


# Two moons as pictures: a point is a bump on a small image, and a clip is such an image. As with sounds, adding
# two images puts both in the picture; in the plane of the points themselves it would not.
_GRID = np.stack(np.meshgrid(np.linspace(-1.4, 2.4, 12), np.linspace(-1.1, 1.1, 12), indexing="ij"), -1)
_STEPS, _BATCH = 500, 16


def moons(along: np.ndarray, side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the way and moons 0 and 1 -> (count, 2) points of half circles that face each other, (count, 2)."""
    angle, turned = np.pi * along, 1 - 2 * side
    points = np.stack([np.cos(angle) + side, turned * (np.sin(angle) - 0.15)], 1)
    return points, np.eye(2, dtype=np.float32)[side]


def some(count: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """-> points anywhere on the moons, and a little off them, and their labels."""
    points, labels = moons(draw.uniform(0, 1, count), draw.integers(0, 2, count))
    return points + draw.normal(0, 0.07, points.shape), labels


def pictures(points: np.ndarray, draw: np.random.Generator, jitter: float = 0.15) -> np.ndarray:
    """(..., 2) points -> (..., 144) images, each point shifted a little: the augmentation."""
    points = points + draw.normal(0, jitter, points.shape)
    away = (points[..., None, None, :] - _GRID) / (0.25, 0.2)
    return np.exp(-0.5 * (away**2).sum(-1)).reshape(*points.shape[:-1], -1).astype(np.float32)


class Student(keras.Model):
    """The least that trains by MixMatch; without a mixing layer it is supervised."""

    def __init__(self, mixing: MixMatch | None, teach: bool = False):
        super().__init__()
        image = x = keras.Input((_GRID.shape[0] * _GRID.shape[1],))
        for _ in range(2):
            x = keras.layers.Dense(64, "relu")(x)
        self.network = keras.Model(image, keras.layers.Dense(2)(x))
        self.mixing = mixing
        self.teacher = Average(self.network, 0.95) if teach else None
        self.built = True

    def call(self, inputs, training=False):
        if self.mixing is None or not training:
            return {"logits": self.network(inputs["image"]), "target": inputs["target"]}
        guesser = self.network
        if self.teacher is not None:
            self.teacher.update(self.network)
            guesser = self.teacher.network
        chance = mixmatch.guess(guesser, inputs["unlabelled_image"])
        mixed = self.mixing({**inputs, "guess": chance}, training=True)
        return {"logits": self.network(mixed["image"]), **mixed}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        each = losses.binary_crossentropy(y_pred["target"], y_pred["logits"])
        if "labelled" not in y_pred:
            return ops.mean(each)
        errors = mixmatch.squared_error(y_pred["target"], y_pred["logits"])
        return mixmatch.loss(each, errors, y_pred["labelled"], y_pred["guessed_weight"])


def error(kind: str, seed: int) -> float:
    """-> share of 1000 new points on the wrong moon, after training with two labels a moon."""
    keras.utils.set_random_seed(seed)
    draw = np.random.default_rng(seed)
    known, labels = moons(np.array([0.25, 0.75, 0.25, 0.75]), np.array([0, 0, 1, 1]))
    others, _ = some(1000, draw)
    rows, strangers = draw.choice(4, _STEPS * _BATCH), draw.integers(0, 1000, _STEPS * _BATCH)
    feed = {"image": pictures(known[rows], draw), "target": labels[rows]}
    mixing = None
    if kind != "supervised":
        mixing = MixMatch(0.75, weight=10.0, ramp=200, seed=seed)
        feed["unlabelled_image"] = pictures(others[strangers][:, None].repeat(2, 1), draw)
    model = Student(mixing, teach=kind == "teacher")
    model.compile(keras.optimizers.Adam(3e-3))
    model.fit(feed, batch_size=_BATCH, shuffle=False, verbose=0)
    new, truth = some(1000, np.random.default_rng(99))
    logits = array(model.network(pictures(new, draw, 0.0)))
    return float((logits.argmax(1) != truth.argmax(1)).mean())


def test_with_few_labels_it_beats_supervised_training() -> None:
    supervised = [error("supervised", seed) for seed in range(2)]
    matched = [error("mixmatch", seed) for seed in range(2)]
    taught = error("teacher", 0)
    assert np.mean(supervised) > 0.01
    assert np.mean(matched) < 0.25 * np.mean(supervised)
    assert taught < 0.5 * np.mean(supervised)
