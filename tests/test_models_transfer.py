"""Weights of another run, taken over by name: what fits, what does not, and that it is said."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from models import networks
from models.networks import Transfer, load_by_name

SHAPE = (16, 12, 3)
LAST = ("head_logits/kernel", "head_logits/bias")


def tiny_trunk(image: keras.KerasTensor) -> keras.KerasTensor:
    """(batch, bands, columns, channels) -> (batch, bands / 4, columns / 4, 6)."""
    x = keras.layers.Conv2D(6, 5, 4, padding="same", name="block1_conv")(image)
    return keras.layers.BatchNormalization(name="block1_norm")(x)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(networks.TRUNKS, "tiny", tiny_trunk)


def network(classes: int = 4, **parts) -> keras.Model:
    return networks.assemble(SHAPE, classes, trunk="tiny", **parts)


def randomise(made: keras.Model, seed: int) -> keras.Model:
    """Every weight somewhere of its own, norms' statistics too."""
    draw = np.random.default_rng(seed)
    for weight in made.weights:
        weight.assign(draw.uniform(0.5, 1.5, weight.shape))
    return made


def values(made: keras.Model) -> dict[str, np.ndarray]:
    return {weight.path: np.array(ops.convert_to_numpy(weight)) for weight in made.weights}


@pytest.fixture
def pretrained(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """A run's network of four classes, saved, and what is in it."""
    made = randomise(network(), 1)
    path = tmp_path / "best.keras"
    made.save(path)
    return path, values(made)


def test_with_the_same_classes_everything_is_taken_over(pretrained: tuple) -> None:
    path, theirs = pretrained
    ours = network()
    report = load_by_name(ours, path)
    assert report == Transfer(tuple(theirs), (), (), ())
    assert str(report) == "18 of 18 weights taken over"
    for name, value in values(ours).items():
        np.testing.assert_array_equal(value, theirs[name])


def test_with_other_classes_the_last_layer_stays_as_it_was(pretrained: tuple) -> None:
    path, theirs = pretrained
    ours = network(7)
    before = values(ours)
    report = load_by_name(ours, path)
    assert set(report.matched) == set(theirs) - set(LAST)
    assert report.shapes == ((LAST[0], (512, 4), (512, 7)), (LAST[1], (4,), (7,)))
    assert report.missing == report.unexpected == ()
    after = values(ours)
    for name, value in after.items():
        np.testing.assert_array_equal(value, before[name] if name in LAST else theirs[name])
    assert "16 of 18 weights taken over" in str(report)
    assert "head_logits/kernel: left as it was, (512, 4) in the file but (512, 7) here" in str(report)


def test_another_head_is_missing_and_the_old_one_unexpected(pretrained: tuple) -> None:
    path, theirs = pretrained
    ours = network(head="attention")
    report = load_by_name(ours, path)
    # Both have a `head_dense`: of 2 x 6 pooled features there, of 6 a position here. Its bias fits.
    trunk = {name for name in theirs if name.startswith("block1")}
    assert set(report.matched) == trunk | {"head_dense/bias"}
    assert report.shapes == (("head_dense/kernel", (12, 512), (6, 512)),)
    assert {name.rpartition("/")[0] for name in report.missing} == {"head_attention", "head_position_logits"}
    assert {name.rpartition("/")[0] for name in report.unexpected} == {
        "head_norm1",
        "head_norm2",
        "head_logits",
    }
    assert "left as they were, not in the file: head_attention/kernel" in str(report)
    assert "not used: head_norm1/gamma" in str(report)


def test_a_second_head_is_missing_and_a_coordinate_changes_a_shape(pretrained: tuple) -> None:
    path, _ = pretrained
    report = load_by_name(network(noisy_head=True, coordinates=True), path)
    assert report.shapes == (("block1_conv/kernel", (5, 5, 3, 6), (5, 5, 4, 6)),)
    assert report.missing
    assert all(name.startswith("head_noisy_") for name in report.missing)
    assert report.unexpected == ()


def test_a_backbone_within_is_matched_by_its_own_names(tmp_path: Path) -> None:
    from keras_hub.models import DenseNetBackbone

    DenseNetBackbone([1], growth_rate=2).save_to_preset(tmp_path / "tiny")

    def made() -> keras.Model:
        return networks.assemble((32, 32, 3), 3, backbone=str(tmp_path / "tiny"), pretrained=False)

    theirs = randomise(made(), 2)
    theirs.save(tmp_path / "best.keras")
    ours = made()
    report = load_by_name(ours, tmp_path / "best.keras")
    assert len(report.matched) == len(theirs.weights)
    for name, value in values(ours).items():
        np.testing.assert_array_equal(value, values(theirs)[name])


def test_random_seeds_are_not_weights(pretrained: tuple) -> None:
    path, _ = pretrained
    ours = network()
    seeds = {v.path: ops.convert_to_numpy(v) for v in ours.variables if "seed" in v.path}
    assert len(seeds) == 2  # of two dropouts
    load_by_name(ours, path)
    for variable in ours.variables:
        if variable.path in seeds:
            np.testing.assert_array_equal(ops.convert_to_numpy(variable), seeds[variable.path])


def test_a_file_that_fits_nowhere_is_refused(tmp_path: Path) -> None:
    image = keras.Input((3,))
    other = keras.Model(image, keras.layers.Dense(2, name="elsewhere")(image))
    other.save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match=r"other\.keras: none of its 2 weights fits the network"):
        load_by_name(network(), tmp_path / "other.keras")


@pytest.mark.parametrize("content", [None, b"", b"no network"])
def test_a_file_that_is_no_network_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "best.keras"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"best\.keras: no network of fatk's"):
        load_by_name(network(), path)
