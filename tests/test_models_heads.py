"""Heads, the coordinate channel, and trunks of keras-hub."""

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from models import backbones, heads, networks, specgram

SHAPE, CLASSES = (16, 12, 3), 4


def tiny_trunk(image: keras.KerasTensor) -> keras.KerasTensor:
    """(batch, bands, columns, channels) -> (batch, bands / 4, columns / 4, 6)."""
    x = keras.layers.Conv2D(6, 5, 4, padding="same", name="block1_conv")(image)
    return keras.layers.BatchNormalization(name="block1_norm", **specgram.NORM)(x)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(networks.TRUNKS, "tiny", tiny_trunk)


@pytest.fixture
def half() -> Iterator[None]:
    """Networks are made in bfloat16."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


def images(count: int = 2, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(0).random((count, *shape)).astype(np.float32)


def array(x: object) -> np.ndarray:
    return ops.convert_to_numpy(x)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_attention_pools_chances_by_a_softmax_over_positions() -> None:
    draw = np.random.default_rng(1)
    attention, logits = draw.normal(size=(2, 3, 7, 5)).astype(np.float32)
    pooled = array(heads.AttentionPooling()([attention, logits]))
    share = np.exp(attention) / np.exp(attention).sum(1, keepdims=True)
    np.testing.assert_allclose(sigmoid(pooled), (share * sigmoid(logits)).sum(1), rtol=1e-5)


def test_attention_by_hand() -> None:
    # Shares 3/4 and 1/4 of chances 4/5 and 1/5: 0.65, whose odds are 13 to 7.
    attention = np.log(np.array([3.0, 1.0], np.float32)).reshape(1, 2, 1)
    logits = np.log(np.array([4.0, 0.25], np.float32)).reshape(1, 2, 1)
    np.testing.assert_allclose(
        array(heads.AttentionPooling()([attention, logits])), [[np.log(13 / 7)]], rtol=1e-6
    )


def test_attention_is_exact_however_sure_the_network() -> None:
    attention = np.zeros((1, 2, 3), np.float32)
    logits = np.array([[[60, -60, 60], [60, -60, -60]]], np.float32)
    pooled = array(heads.AttentionPooling()([attention, logits]))
    np.testing.assert_allclose(pooled, [[60, -60, 0]], atol=1e-4)


@pytest.mark.parametrize("head", heads.HEADS)
def test_a_head_gives_finite_logits_and_all_its_layers_are_named_so(head: str) -> None:
    network = networks.assemble(SHAPE, CLASSES, trunk="tiny", head=head)
    logits = array(network(images()))
    assert logits.shape == (2, CLASSES)
    assert np.all(np.isfinite(logits))
    trunk = [layer.name for layer in network.layers if not layer.name.startswith(heads.HEAD)]
    assert trunk == ["image", "block1_conv", "block1_norm"]


@pytest.mark.parametrize("head", heads.HEADS)
def test_a_head_does_not_care_where_a_feature_stands(head: str) -> None:
    features = keras.Input((2, 3, 6))
    network = keras.Model(features, heads.HEADS[head](features, CLASSES, 0.5))
    given = np.random.default_rng(2).normal(size=(2, 2, 3, 6)).astype(np.float32)
    order = np.random.default_rng(3).permutation(6)
    moved = given.reshape(2, 6, 6)[:, order].reshape(given.shape)
    np.testing.assert_allclose(array(network(moved)), array(network(given)), rtol=1e-4, atol=1e-5)


def test_the_head_for_noisy_labels_shares_the_trunk_and_is_not_served(tmp_path: Path) -> None:
    network = networks.assemble(SHAPE, CLASSES, trunk="tiny", noisy_head=True)
    out = {key: array(value) for key, value in network(images()).items()}
    assert set(out) == {"logits", "noisy_logits"}
    assert np.any(out["logits"] != out["noisy_logits"])
    served = networks.served(network)
    np.testing.assert_allclose(array(served(images())), out["logits"], rtol=1e-6)
    assert not any("noisy" in weight.path for weight in served.weights)
    served.save(tmp_path / "served.keras")
    again = keras.saving.load_model(tmp_path / "served.keras")
    np.testing.assert_allclose(array(again(images())), out["logits"], rtol=1e-5)
    assert networks.served(served) is served
    networks.freeze_trunk(network, True)
    assert {weight.path.split("_")[0] for weight in network.trainable_weights} == {"head"}
    assert any("noisy" in weight.path for weight in network.trainable_weights)
    assert all(path.startswith("head_") for path in networks.layer_groups(network, 2)[1])


def test_the_coordinate_runs_over_the_bands_from_low_to_high() -> None:
    image = images(2, (5, 4, 3))
    seen = array(heads.FrequencyCoordinate()(image))
    np.testing.assert_array_equal(seen[..., :3], image)
    np.testing.assert_allclose(
        seen[..., 3], np.broadcast_to(np.array([-1, -0.5, 0, 0.5, 1])[:, None], (2, 5, 4))
    )


def test_only_with_the_coordinate_can_a_network_tell_heights() -> None:
    low, high = np.zeros((1, *SHAPE), np.float32), np.zeros((1, *SHAPE), np.float32)
    low[:, 4:8], high[:, 8:12] = 1, 1  # the same pattern, one stride of the trunk further up
    for coordinates in (False, True):
        network = networks.assemble(SHAPE, CLASSES, trunk="tiny", coordinates=coordinates)
        same = np.allclose(array(network(low)), array(network(high)), atol=1e-5)
        assert same != coordinates


def test_a_network_with_everything_is_saved_and_loaded(tmp_path: Path) -> None:
    network = networks.assemble(SHAPE, CLASSES, trunk="tiny", head="attention", coordinates=True)
    network.save(tmp_path / "all.keras")
    again = keras.saving.load_model(tmp_path / "all.keras")
    np.testing.assert_allclose(array(again(images())), array(network(images())), rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("half")
@pytest.mark.parametrize("head", heads.HEADS)
def test_logits_are_float32_in_half_precision_too(head: str) -> None:
    network = networks.assemble(SHAPE, CLASSES, trunk="tiny", head=head, coordinates=True)
    assert network.get_layer("block1_conv").compute_dtype == "bfloat16"
    assert keras.backend.standardize_dtype(network(images()).dtype) == "float32"


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny DenseNet as keras-hub saves it."""
    from keras_hub.models import DenseNetBackbone

    folder = tmp_path_factory.mktemp("preset") / "tiny"
    DenseNetBackbone([1, 1], growth_rate=2).save_to_preset(folder)
    return folder


def test_a_preset_of_a_folder_brings_its_weights_at_any_size(preset: Path) -> None:
    from keras_hub.models import Backbone

    saved = Backbone.from_preset(str(preset))
    image = keras.Input((40, 56, 3))
    trunk = keras.Model(image, backbones.trunk(image, str(preset)))
    assert trunk.output_shape == (None, 5, 7, 35)
    given = images(2, (40, 56, 3))
    np.testing.assert_allclose(array(trunk(given)), array(saved(given)), rtol=1e-4, atol=1e-5)
    fresh = keras.Model(image, backbones.trunk(image, str(preset), pretrained=False))
    assert np.abs(array(fresh(given)) - array(saved(given))).max() > 1e-3


@pytest.mark.usefixtures("half")
def test_a_preset_follows_the_precision(preset: Path) -> None:
    network = networks.assemble((32, 32, 3), CLASSES, backbone=str(preset))
    assert network.get_layer("trunk").layers[1].compute_dtype == "bfloat16"
    assert keras.backend.standardize_dtype(network(images(1, (32, 32, 3))).dtype) == "float32"


def test_a_network_on_a_backbone_is_saved_loaded_and_frozen(preset: Path, tmp_path: Path) -> None:
    network = networks.assemble((32, 32, 3), CLASSES, backbone=str(preset))
    network.save(tmp_path / "backbone.keras")
    again = keras.saving.load_model(tmp_path / "backbone.keras")
    given = images(2, (32, 32, 3))
    np.testing.assert_allclose(array(again(given)), array(network(given)), rtol=1e-4, atol=1e-5)
    assert [weight.path for weight in again.weights] == [weight.path for weight in network.weights]
    networks.freeze_trunk(network, True)
    assert all(weight.path.startswith("head_") for weight in network.trainable_weights)


def test_weights_for_three_channels_do_not_take_a_coordinate(preset: Path) -> None:
    with pytest.raises(ValueError, match=r"its weights are for images of 3 channels, not 4"):
        networks.assemble((32, 32, 3), CLASSES, backbone=str(preset), coordinates=True)


def test_a_backbone_of_tokens_gives_one_row_of_them(tmp_path: Path) -> None:
    from keras_hub.models import ViTBackbone

    made = ViTBackbone((32, 32, 3), 16, num_layers=1, num_heads=1, hidden_dim=8, mlp_dim=8)
    made.save_to_preset(tmp_path / "vit")
    image = keras.Input((32, 48, 3))
    features = backbones.trunk(image, str(tmp_path / "vit"), pretrained=False)
    assert features.shape == (None, 1, 1 + 2 * 3, 8)  # a class token, and patches of 16 x 16


def test_a_backbone_by_its_class_takes_any_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"stackwise_num_repeats": [1, 1], "stackwise_num_filters": [2, 4]}
    monkeypatch.setitem(backbones.STANDARD, "VGGBackbone", small)
    network = networks.assemble((32, 40, 3), CLASSES, backbone="VGGBackbone", coordinates=True)
    assert network.get_layer("trunk").output_shape == (None, 8, 10, 4)
    # Two convolutions of 3 x 3 with biases, the first on three channels and the coordinate.
    assert network.get_layer("trunk").count_params() == (9 * 4 * 2 + 2) + (9 * 2 * 4 + 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("VGGBackbone", 14_714_688),  # keras.applications' VGG16 without its top
        ("ResNetBackbone", 11_176_512 + 9_600),  # torchvision's ResNet18 without its top; norms' statistics
        ("EfficientNetBackbone", 4_049_571 - 7),  # keras.applications' B0 without top; its normalisation
    ],
)
def test_classes_have_their_papers_sizes(name: str, parameters: int) -> None:
    image = keras.Input((32, 32, 3))
    assert keras.Model(image, backbones.trunk(image, name)).count_params() == parameters


def test_what_is_no_backbone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"one of DenseNetBackbone, .*, or a preset of keras-hub"):
        networks.assemble(SHAPE, CLASSES, backbone=str(tmp_path))


@pytest.mark.slow
def test_densenet121_is_keras_applications_one() -> None:
    shape = (64, 48, 3)
    oracle = keras.applications.DenseNet121(weights=None, include_top=False, input_shape=shape)
    draw = np.random.default_rng(5)
    # Norms that do nothing yet would hide a difference: everything is moved a little from where it starts.
    moved = [
        w * draw.uniform(0.9, 1.1, w.shape) + draw.uniform(-0.01, 0.01, w.shape) for w in oracle.get_weights()
    ]
    oracle.set_weights(moved)
    image = keras.Input(shape)
    trunk = keras.Model(image, networks.TRUNKS["densenet121"](image))
    assert trunk.count_params() == oracle.count_params() == 7_037_504
    trunk.set_weights(oracle.get_weights())
    given = images(2, shape)
    expected = array(oracle(given, training=False))
    assert expected.std() > 0.01
    np.testing.assert_allclose(array(trunk(given, training=False)), expected, rtol=1e-3, atol=1e-4)
