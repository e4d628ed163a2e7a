"""Convolution and max-pooling for a CPU: what XLA's own compute, gradients and ties included."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from jax import lax

from models import convolution, densenet, kernels, networks, pooling, specgram, winograd

KERNELS = [(1, 1), (3, 3), (2, 5)]
SIZES = [(11, 14), (10, 9)]  # odd and even, so that strides leave rows and columns over


def numbers(*shape: int, seed: int = 0) -> jax.Array:
    """Of a variance that makes sums over all but the last axis about 1."""
    made = np.random.default_rng(seed).standard_normal(shape) / math.sqrt(math.prod(shape[:-1]))
    return jnp.asarray(made.astype(np.float32))


def with_slopes(function: Callable, *arguments: jax.Array) -> list[jax.Array]:
    """What a function gives, and its gradients by all arguments, against one random cotangent."""

    def all_of_it(*given):
        value, pull = jax.vjp(function, *given)
        return value, *pull(jnp.asarray(np.random.default_rng(9).standard_normal(value.shape), value.dtype))

    return list(jax.jit(all_of_it)(*arguments))


def xla_conv(image: jax.Array, kernel: jax.Array, strides: tuple[int, int]) -> jax.Array:
    return lax.conv_general_dilated(
        image, kernel, strides, "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def xla_max_pool(image: jax.Array, size: tuple[int, int], strides: tuple[int, int]) -> jax.Array:
    return lax.reduce_window(image, -jnp.inf, lax.max, (1, *size, 1), (1, *strides, 1), "VALID")


def alike(ours: list[jax.Array], theirs: list[jax.Array], tolerance: float) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        np.testing.assert_allclose(
            np.asarray(one, np.float32), np.asarray(other, np.float32), rtol=tolerance, atol=tolerance
        )


def near(ours: list[jax.Array], exact: list[jax.Array], share: float) -> None:
    """In bfloat16, and the difference's norm is less than a share of what is exact."""
    assert {array.dtype for array in ours} == {jnp.dtype(jnp.bfloat16)}
    for one, other in zip(ours, exact, strict=True):
        gone = jnp.linalg.norm((one.astype(jnp.float32) - other).ravel())
        assert gone < share * jnp.linalg.norm(other.ravel())


# Three channels take XLA's forward way, twenty our own where there is a stride.
@pytest.mark.parametrize(
    ("size", "channels", "strides"),
    [
        (SIZES[0], 20, (1, 1)),
        (SIZES[1], 20, (1, 2)),
        (SIZES[0], 20, (3, 2)),
        (SIZES[1], 3, (1, 1)),
        (SIZES[0], 3, (2, 2)),
    ],
)
def test_convolution_and_its_gradients_are_xlas(
    size: tuple[int, int], channels: int, strides: tuple[int, int]
) -> None:
    for number, window in enumerate(KERNELS):
        image = numbers(6, *size, channels, seed=number)
        kernel = numbers(*window, channels, 4, seed=number)
        alike(
            with_slopes(lambda x, k: kernels.conv(x, k, strides), image, kernel),
            with_slopes(lambda x, k: xla_conv(x, k, strides), image, kernel),
            1e-5,
        )


# At 18 rows the gradient by the kernel, too, goes by what results saw; at 11 XLA convolves float32.
@pytest.mark.parametrize(("size", "padded"), [((18, 20), False), ((18, 20), True), ((11, 14), False)])
def test_with_few_filters_for_its_channels_it_is_xlas(
    size: tuple[int, int], padded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, kernel = numbers(6, *size, 36), numbers(3, 5, 36, 8)
    assert kernels._few_filters(kernel.shape, (1, 1))
    edges = ((0, 0), (1, 1), (2, 2), (0, 0)) if padded else ((0, 0),) * 4
    wanted = with_slopes(lambda x, k: xla_conv(jnp.pad(x, edges), k, (1, 1)), image, kernel)
    for most in (
        kernels._PRODUCTS,
        4 * size[0] * size[1] * 15 * 8 * 2,
        1,
    ):  # all at once, two and one at a time
        monkeypatch.setattr(kernels, "_PRODUCTS", most)
        ours = with_slopes(lambda x, k: kernels.conv(jnp.pad(x, edges), k, (1, 1)), image, kernel)
        alike(ours, wanted, 1e-5)


def test_filters_are_few_by_the_channels_and_the_window() -> None:
    assert kernels._few_filters((3, 3, 96, 32), (1, 1))
    assert not kernels._few_filters((3, 3, 95, 32), (1, 1))
    assert not kernels._few_filters((3, 3, 96, 32), (1, 2))
    assert not kernels._few_filters((1, 1, 32, 32), (1, 1))  # a product of matrices as it is


@pytest.mark.parametrize("channels", [3, 20])
def test_a_batch_is_dealt_out_in_portions_or_image_by_image(
    channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, kernel = numbers(6, *SIZES[0], channels), numbers(3, 3, channels, 4)
    rows, columns = SIZES[0]
    lines = 3 * (rows - 2) if channels == 3 else rows
    each = lines * (columns - 2) * 3 * channels * 4  # bytes laid beside each other for an image
    wanted = with_slopes(lambda x, k: xla_conv(x, k, (1, 1)), image, kernel)
    for most, portions in ((100 * each, (2, 3)), (2 * each, (3, 2)), (each - 1, (6, 1))):
        monkeypatch.setattr(kernels, "_BESIDE", most)
        assert kernels._portions(image, (3, 3), (1, 1)) == portions
        alike(with_slopes(lambda x, k: kernels.conv(x, k, (1, 1)), image, kernel), wanted, 1e-5)
    assert kernels._portions(image[:1], (3, 3), (1, 1)) == (1, 1)
    alike(
        with_slopes(lambda x, k: kernels.conv(x, k, (1, 1)), image[:1], kernel),
        with_slopes(lambda x, k: xla_conv(x, k, (1, 1)), image[:1], kernel),
        1e-5,
    )


# Four results and more, of multiples of four and others; in the last both axes would do.
@pytest.mark.parametrize(
    ("window", "strides", "size", "along"),
    [
        ((5, 3), (1, 1), (11, 14), 2),
        ((3, 5), (1, 2), (10, 9), 1),
        ((3, 3), (2, 1), (9, 11), 2),
        ((3, 2), (1, 3), (6, 7), 1),
        ((3, 3), (1, 1), (9, 6), 1),
    ],
)
@pytest.mark.parametrize("batch", [6, 1])
def test_of_many_channels_with_half_of_the_multiplications_all_is_xlas(
    batch: int, window: tuple[int, int], strides: tuple[int, int], size: tuple[int, int], along: int
) -> None:
    image = jnp.asarray(np.random.default_rng(0).standard_normal((batch, *size, 64)), jnp.float32)
    kernel = numbers(*window, 64, 128)
    assert winograd.axis(image, kernel.shape, strides) == along
    ours = with_slopes(lambda x, k: kernels.conv(x, k, strides), image, kernel)
    theirs = with_slopes(lambda x, k: xla_conv(x, k, strides), image, kernel)
    scale = jnp.abs(theirs[2]).max()  # a sum over all places
    alike([*ours[:2], ours[2] / scale], [*theirs[:2], theirs[2] / scale], 1e-5)


def test_a_batch_is_dealt_out_for_half_of_the_multiplications(monkeypatch: pytest.MonkeyPatch) -> None:
    image, kernel = numbers(6, 14, 9, 64), numbers(3, 2, 64, 128)
    each = 3 * 8 * 2 * 64 * 4  # bytes laid beside each other for an image: lines, columns, taps, channels
    wanted = with_slopes(lambda x, k: xla_conv(x, k, (1, 1)), image, kernel)
    for most, parts in ((100 * each, (2, 3)), (2 * each, (3, 2)), (each - 1, (6, 1))):
        monkeypatch.setattr(winograd, "_BESIDE", most)
        assert winograd._parts(image, 1, 8 * 2).shape[:2] == parts
        alike(with_slopes(lambda x, k: kernels.conv(x, k, (1, 1)), image, kernel), wanted, 1e-5)


def test_where_half_of_the_multiplications_would_not_pay_they_are_left_alone() -> None:
    image = numbers(2, 9, 9, 64)
    assert winograd.axis(image, (3, 3, 64, 128), (1, 1)) == 1
    assert winograd.axis(image.astype(jnp.bfloat16), (3, 3, 64, 128), (1, 1)) == 0
    assert winograd.axis(image[..., :63], (3, 3, 63, 128), (1, 1)) == 0
    assert winograd.axis(image, (3, 3, 64, 127), (1, 1)) == 0
    assert winograd.axis(image, (3, 3, 64, 128), (2, 2)) == 0
    assert winograd.axis(image, (2, 5, 64, 128), (1, 1)) == 0
    assert winograd.axis(image[:, :5], (3, 5, 64, 128), (1, 1)) == 0


@pytest.mark.parametrize(
    ("size", "strides"), [(SIZES[0], (1, 1)), (SIZES[0], (2, 2)), (SIZES[1], (2, 2)), (SIZES[1], (3, 2))]
)
def test_pooling_and_its_gradient_are_xlas_ties_included(
    size: tuple[int, int], strides: tuple[int, int]
) -> None:
    # Of four values, so that nearly every window has several maxima.
    image = jnp.asarray(np.random.default_rng(0).integers(0, 4, (4, *size, 6)), jnp.float32)
    for window in [(1, 1), (3, 3), (2, 4)]:
        value, slope = with_slopes(lambda x, w=window: pooling.max_pool(x, w, strides), image)
        wanted, wanted_slope = with_slopes(lambda x, w=window: xla_max_pool(x, w, strides), image)
        np.testing.assert_array_equal(value, wanted)
        np.testing.assert_allclose(slope, wanted_slope, atol=1e-5)


def test_of_equals_the_first_takes_the_gradient() -> None:
    image = jnp.zeros((1, 7, 5, 1))
    _, slope = jax.jit(lambda x: jax.value_and_grad(lambda y: pooling.max_pool(y, (3, 3), (2, 2)).sum())(x))(
        image
    )
    wanted = np.zeros((7, 5))
    wanted[0:5:2, 0:3:2] = 1  # the top left corner of each window
    np.testing.assert_array_equal(slope[0, :, :, 0], wanted)


@pytest.mark.parametrize("window", [(3, 3), (1, 1)])
@pytest.mark.parametrize("strides", [(2, 2), (1, 1)])
def test_bfloat16_is_float32_but_for_rounding(window: tuple[int, int], strides: tuple[int, int]) -> None:
    image = numbers(4, *SIZES[0], 20).astype(jnp.bfloat16)
    kernel = numbers(*window, 20, 4).astype(jnp.bfloat16)

    def conv_and_pool(x, k):
        return pooling.max_pool(kernels.conv(x, k, strides), (3, 3), (1, 1))

    ours = with_slopes(conv_and_pool, image, kernel)
    exact = with_slopes(conv_and_pool, image.astype(jnp.float32), kernel.astype(jnp.float32))
    # Two numbers of one window may round to the same, and then the gradient moves; so norms, not each number.
    near(ours, exact, 0.05)


# Few filters, many, few channels.
@pytest.mark.parametrize(("channels", "filters"), [(20, 4), (20, 24), (3, 4)])
@pytest.mark.parametrize("strides", [(2, 2), (1, 1)])
def test_a_convolution_in_bfloat16_is_rounded_once(
    strides: tuple[int, int], channels: int, filters: int
) -> None:
    image = numbers(4, 18, 20, channels).astype(jnp.bfloat16)
    kernel = numbers(3, 3, channels, filters).astype(jnp.bfloat16)

    def conv(x, k):
        return kernels.conv(x, k, strides)

    ours = with_slopes(conv, image, kernel)
    exact = with_slopes(conv, image.astype(jnp.float32), kernel.astype(jnp.float32))
    near(ours, exact, 0.005)


@pytest.mark.parametrize("kind", [jnp.float32, jnp.bfloat16])
def test_a_bias_is_added_and_its_gradient_is_the_sum(kind: jnp.dtype) -> None:
    image, bias = numbers(6, *SIZES[0], 5).astype(kind), numbers(5, seed=1).astype(kind)
    value, slope, bias_slope = with_slopes(kernels.add_bias, image, bias)
    assert {value.dtype, slope.dtype, bias_slope.dtype} == {jnp.dtype(kind)}
    wanted, wanted_slope = with_slopes(lambda x: x + bias, image)
    np.testing.assert_array_equal(value, wanted)
    np.testing.assert_array_equal(slope, wanted_slope)
    exact = np.asarray(slope, np.float64).sum((0, 1, 2))
    np.testing.assert_allclose(np.asarray(bias_slope, np.float64), exact, rtol=4e-3, atol=1e-4)


@pytest.fixture
def by_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU, too, the layers take the way that they take on a CPU."""
    monkeypatch.setattr(convolution, "_kernels", lambda: kernels)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"strides": 2},
        {"use_bias": False, "activation": "relu"},
        {"padding": "same"},
        {"padding": "same", "strides": 2},
        {"dilation_rate": 2},
        {"groups": 2},
    ],
    ids=str,
)
def test_a_conv_layer_is_keras_own(arguments: dict, by_kernels: None) -> None:
    image = np.asarray(numbers(2, 9, 8, 4))
    ours, theirs = (made(6, 3, **arguments) for made in (convolution.Conv2D, keras.layers.Conv2D))
    ours.build(image.shape)
    theirs.build(image.shape)
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(ours(image), theirs(image), atol=1e-5)
    again = convolution.Conv2D.from_config(ours.get_config())
    assert again.get_config() == ours.get_config()
    assert [weight.name for weight in ours.weights] == [weight.name for weight in theirs.weights]


@pytest.mark.parametrize(
    "arguments", [{}, {"strides": 1}, {"padding": "same"}, {"data_format": "channels_first"}], ids=str
)
def test_a_pooling_layer_is_keras_own(arguments: dict, by_kernels: None) -> None:
    image = np.asarray(numbers(2, 9, 8, 4))
    ours, theirs = (made(3, **arguments) for made in (convolution.MaxPooling2D, keras.layers.MaxPooling2D))
    np.testing.assert_array_equal(ours(image), theirs(image))
    assert convolution.MaxPooling2D.from_config(ours.get_config()).get_config() == ours.get_config()


def test_a_window_of_more_places_than_a_byte_has_is_keras_own(by_kernels: None) -> None:
    image = np.asarray(numbers(1, 16, 17, 2))
    np.testing.assert_array_equal(
        convolution.MaxPooling2D(16)(image)[0, 0, 0], image[0, :, :16].max(axis=(0, 1))
    )


@pytest.fixture
def fresh_choice():
    """The choice is made once a process; here, anew."""
    convolution._kernels.cache_clear()
    yield
    convolution._kernels.cache_clear()


@pytest.mark.parametrize(
    ("backend", "platform", "devices", "chosen"),
    [
        ("jax", "cpu", 1, True),
        ("jax", "gpu", 1, False),
        ("jax", "cpu", 2, False),
        ("tensorflow", "cpu", 1, False),
        ("torch", "cpu", 1, False),
    ],
)
def test_only_jax_on_one_cpu_device_takes_the_kernels(
    backend: str,
    platform: str,
    devices: int,
    chosen: bool,
    monkeypatch: pytest.MonkeyPatch,
    fresh_choice: None,
) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    assert (convolution._kernels() is kernels) == chosen


def small(conv: type, pool: type) -> keras.Model:
    """A network of both layers."""
    image = keras.Input((12, 12, 3))
    x = conv(4, 3, 2, name="block1_conv")(image)
    x = pool(3, 1, name="block1_pool")(x)
    return keras.Model(image, keras.layers.Flatten(name="head_flat")(x))


def test_saved_with_either_layers_a_network_loads(tmp_path) -> None:
    image = np.asarray(numbers(2, 12, 12, 3))
    for conv, pool in (
        (convolution.Conv2D, convolution.MaxPooling2D),
        (keras.layers.Conv2D, keras.layers.MaxPooling2D),
    ):
        network = small(conv, pool)
        network.save(tmp_path / "network.keras")
        loaded = networks.load(tmp_path / "network.keras")
        assert type(loaded.get_layer("block1_conv")) is conv
        assert type(loaded.get_layer("block1_pool")) is pool
        np.testing.assert_allclose(loaded(image), network(image), atol=1e-6)
        ours = small(convolution.Conv2D, convolution.MaxPooling2D)
        assert len(networks.load_by_name(ours, tmp_path / "network.keras").matched) == 2
        np.testing.assert_allclose(ours(image), network(image), atol=1e-5)


def test_specgram_is_made_of_them() -> None:
    made = keras.Model(image := keras.Input((64, 64, 3)), specgram.trunk(image))
    for number in range(1, 5):
        assert type(made.get_layer(f"block{number}_conv")) is convolution.Conv2D
        assert type(made.get_layer(f"block{number}_pool")) is convolution.MaxPooling2D


def test_densenet_takes_its_convolutions_from_them_and_all_else_as_it_is() -> None:
    conv = densenet._ours(keras.layers.Conv2D(8, 3, padding="same", use_bias=False, name="stack1_conv"))
    assert type(conv) is convolution.Conv2D
    assert (conv.name, conv.filters, conv.padding, conv.use_bias) == ("stack1_conv", 8, "same", False)
    norm = densenet._ours(keras.layers.BatchNormalization(epsilon=1e-3, name="stack1_bn"))
    assert type(norm) is keras.layers.BatchNormalization
    assert (norm.name, norm.epsilon) == ("stack1_bn", 1e-3)
