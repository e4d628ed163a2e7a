"""Networks: layer sizes by PyTorch's arithmetic, parameters by formula, freezing, precision."""

from typing import get_args, get_type_hints

import keras
import numpy as np
import pytest

from models import networks, specgram
from models.losses import binary_crossentropy
from models.networks import HEAD
from models.settings import NetworkSettings
from models.tagger import Tagger

SPECGRAM = NetworkSettings(name="specgram")

# REFERENCE section 3: filters, kernel, stride, stride of the 3 x 3 pooling; frequency x time.
REFERENCE = (
    (64, (7, 3), (2, 1), 2),
    (128, (5, 3), (1, 1), 1),
    (256, (3, 5), (1, 2), 1),
    (512, (3, 3), (2, 2), 2),
)


def torch_sizes(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Rows and columns after each block: Conv2d with padding 1, MaxPool2d(3) without, both rounding down."""
    sizes = []
    for _, kernel, stride, pool in REFERENCE:
        size = tuple((n + 2 - k) // s + 1 for n, k, s in zip(size, kernel, stride, strict=True))
        size = tuple((n - 3) // pool + 1 for n in size)
        sizes.append(size)
    return sizes


def parameters(classes: int) -> int:
    """All numbers of SpecgramNet with the reference's head, moving averages too."""
    count, channels = 0, 3
    for filters, (rows, columns), _, _ in REFERENCE:
        count += rows * columns * channels * filters + filters + 4 * filters
        channels = filters
    pooled = 2 * channels
    return count + 4 * pooled + (pooled * 512 + 512) + 4 * 512 + (512 * classes + classes)


@pytest.fixture(scope="module")
def specgram_64() -> keras.Model:
    return networks.build(SPECGRAM, (64, 64, 3), 10)


def test_the_sizes_that_the_reference_trained_with() -> None:
    # By hand for 160: conv (160 + 2 - 7) // 2 + 1 = 78, pool (78 - 3) // 2 + 1 = 38; and so on.
    assert torch_sizes((160, 160)) == [(38, 79), (34, 77), (32, 36), (7, 8)]


@pytest.mark.parametrize("size", [(64, 64), (160, 160), (96, 191)])
def test_every_block_of_specgram_has_torchs_size(size: tuple[int, int]) -> None:
    network = networks.build(SPECGRAM, (*size, 3), 80)
    for number, ((filters, *_), wanted) in enumerate(zip(REFERENCE, torch_sizes(size), strict=True), 1):
        for part in ("pool", "norm", "relu"):
            assert network.get_layer(f"block{number}_{part}").output.shape == (None, *wanted, filters)


def test_the_order_within_a_block_and_a_head(specgram_64: keras.Model) -> None:
    kinds = [type(layer).__name__ for layer in specgram_64.layers[1:]]
    block = ["ZeroPadding2D", "Conv2D", "MaxPooling2D", "BatchNormalization", "ReLU"]
    head = ["GlobalAveragePooling2D", "GlobalMaxPooling2D", "Concatenate", "BatchNormalization", "Dropout"]
    assert kinds == block * 4 + head + ["Dense", "BatchNormalization", "Dropout", "Dense"]
    rates = [layer.rate for layer in specgram_64.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.25, 0.5]
    dense = specgram_64.get_layer(f"{HEAD}dense")
    assert (dense.units, dense.activation.__name__) == (512, "relu")


@pytest.mark.parametrize("classes", [10, 80])
def test_parameters_by_formula(classes: int) -> None:
    network = networks.build(SPECGRAM, (64, 64, 3), classes)
    assert network.count_params() == parameters(classes)
    assert network.output_shape == (None, classes)


def test_batch_norm_is_torchs(specgram_64: keras.Model) -> None:
    norms = [layer for layer in specgram_64.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 6
    assert {(norm.epsilon, norm.momentum) for norm in norms} == {(1e-5, 0.9)}


def test_one_block_computes_conv_pool_norm_relu(specgram_64: keras.Model) -> None:
    # Against sums written out, at a few places: padding of one pixel, kernel frequency x time.
    image = np.random.default_rng(0).random((1, 64, 64, 3)).astype(np.float32)
    first = keras.Model(specgram_64.input, specgram_64.get_layer("block1_relu").output)
    made = keras.ops.convert_to_numpy(first(image, training=False))[0]
    kernel, bias = specgram_64.get_layer("block1_conv").get_weights()
    padded = np.pad(image[0].astype(np.float64), ((1, 1), (1, 1), (0, 0)))
    for row, column in ((0, 0), (3, 7), (made.shape[0] - 1, made.shape[1] - 1)):
        window = [
            np.einsum("abc,abcf->f", padded[2 * r : 2 * r + 7, c : c + 3], kernel) + bias
            for r in range(2 * row, 2 * row + 3)
            for c in range(2 * column, 2 * column + 3)
        ]
        wanted = np.maximum(np.max(window, axis=0) / np.sqrt(1 + 1e-5), 0)  # an untrained norm
        np.testing.assert_allclose(made[row, column], wanted, atol=1e-5)


@pytest.mark.parametrize("size", [16, 24, 40, 52, 54, 56])
def test_a_too_small_image_is_one_line(size: int) -> None:
    fits = all(n > 0 for sizes in torch_sizes((size, size)) for n in sizes)
    if fits:
        assert networks.build(SPECGRAM, (size, size, 3), 2).output_shape == (None, 2)
        return
    with pytest.raises(
        ValueError, match=f"^an image of {size} x {size} is too small for .*'specgram'"
    ) as told:
        networks.build(SPECGRAM, (size, size, 3), 2)
    assert len(str(told.value).splitlines()) == 1
    assert "`features.bands`" in str(told.value)


def test_half_precision_ends_in_float32() -> None:
    before = keras.config.dtype_policy()
    network = networks.build(NetworkSettings(precision="bfloat16"), (64, 64, 3), 5)
    assert keras.config.dtype_policy() == before
    assert network.get_layer("block1_conv").compute_dtype == "bfloat16"
    assert {keras.backend.standardize_dtype(w.dtype) for w in network.weights} == {"float32"}
    assert keras.backend.standardize_dtype(network.output.dtype) == "float32"
    twin = networks.build(NetworkSettings(precision="bfloat16"), (64, 64, 3), 5, precision="float32")
    assert twin.get_layer("block1_conv").compute_dtype == "float32"
    twin.set_weights(network.get_weights())
    image = np.random.default_rng(0).random((1, 64, 64, 3)).astype(np.float32)
    made, wanted = network.predict_on_batch(image), twin.predict_on_batch(image)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, wanted, atol=0.1)
    assert not np.array_equal(made, wanted)


def update(precision: str, scale: float) -> np.ndarray:
    """-> the step of plain descent, as long as with the whole loss, on a dense layer by `scale` of the loss."""
    keras.utils.set_random_seed(3)
    network = networks.build(NetworkSettings(name="dense", precision=precision, dropout=0.0), (4, 4, 3), 5)
    tagger = Tagger(network, loss=lambda target, logits: scale * binary_crossentropy(target, logits))
    tagger.compile(keras.optimizers.SGD(0.1 / scale))
    draw = np.random.default_rng(0)
    target = np.eye(5, dtype=np.float32)[draw.integers(0, 5, 64)]
    kernel = network.get_layer("dense").kernel
    before = keras.ops.convert_to_numpy(kernel)
    tagger.train_on_batch({"image": draw.random((64, 4, 4, 3)).astype(np.float32), "target": target})
    return keras.ops.convert_to_numpy(kernel) - before


@pytest.mark.parametrize("precision", get_args(get_type_hints(NetworkSettings)["precision"]))
def test_a_small_loss_has_the_gradients_of_a_large_one(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing scales the loss, so a precision must hold what is left of it; float16 turns them by 36 degrees."""
    monkeypatch.setitem(networks.TRUNKS, "dense", lambda x: keras.layers.Dense(16, "relu", name="dense")(x))
    wanted, made = update(precision, 1.0), update(precision, 2.0**-13)
    np.testing.assert_allclose(made, wanted, rtol=1e-3, atol=1e-6)
    assert np.abs(wanted).max() > 1e-3


def test_the_policy_is_as_before_when_building_fails() -> None:
    before = keras.config.dtype_policy()
    with pytest.raises(ValueError, match="too small"):
        networks.build(NetworkSettings(precision="bfloat16"), (16, 16, 3), 2)
    assert keras.config.dtype_policy() == before


def test_a_frozen_trunk_keeps_everything_and_the_head_learns() -> None:
    network = networks.build(SPECGRAM, (64, 64, 3), 4)
    networks.freeze_trunk(network, True)
    assert network.trainable_weights
    assert all(HEAD in weight.path for weight in network.trainable_weights)
    network.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    before = {w.path: keras.ops.convert_to_numpy(w.value) for w in network.weights}
    draw = np.random.default_rng(0)
    image = draw.random((4, 64, 64, 3)).astype(np.float32)
    network.train_on_batch(image, draw.random((4, 4)).astype(np.float32))
    moved = {
        w.path
        for w in network.weights
        if not np.array_equal(keras.ops.convert_to_numpy(w.value), before[w.path])
    }
    assert moved
    assert all(HEAD in path for path in moved)  # of the trunk not even a batch norm's average
    assert any("moving_mean" in path for path in moved)
    networks.freeze_trunk(network, False)
    assert len(network.trainable_weights) == 4 * 4 + 8


def test_a_network_is_made_again_from_its_file(specgram_64: keras.Model, tmp_path) -> None:
    specgram_64.save(tmp_path / "n.keras")
    again = keras.saving.load_model(tmp_path / "n.keras", compile=False)
    image = np.random.default_rng(1).random((2, 64, 64, 3)).astype(np.float32)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(again(image, training=False)),
        keras.ops.convert_to_numpy(specgram_64(image, training=False)),
    )


def test_the_reference_blocks_are_those_of_the_code() -> None:
    assert specgram.BLOCKS == REFERENCE


@pytest.mark.slow
def test_densenet121_is_built() -> None:
    # Building alone: a step of it takes a minute to compile on a CPU.
    network = networks.build(NetworkSettings(name="densenet121"), (64, 64, 3), 10)
    assert network.output_shape == (None, 10)
    pooled = network.get_layer(f"{HEAD}pooled").output.shape
    assert pooled == (None, 2048)
    trunk = sum(layer.count_params() for layer in network.layers if not layer.name.startswith(HEAD))
    assert trunk == pytest.approx(7.04e6, rel=0.002)
    networks.freeze_trunk(network, True)
    assert all(HEAD in weight.path for weight in network.trainable_weights)
