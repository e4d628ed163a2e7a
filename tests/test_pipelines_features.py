"""Images against librosa (tests/oracle.py) on real recordings, on every array library, and at the edges."""

import csv
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.signal import savgol_filter

from fatk.audio import read_pcm
from pipelines import features, formats, narrowing, ops, records
from pipelines.clips import image_of
from pipelines.filterbank import hann_window
from pipelines.settings import FeatureSettings
from tests import oracle
from tests.oracle import Recipe

Pcm = NDArray[np.int16]
CLIPS = 20
WAYS = ("eager", "map", "jax")
PHASE_LETTERS = "PX"


@pytest.fixture(scope="module")
def clips(shared: Path) -> list[Pcm]:
    """Every 20th of ESC-10, so that all its classes are there."""
    with (shared / "esc10" / "esc10.csv").open(newline="") as table:
        names = [row["fname"] for row in csv.DictReader(table)]
    return [read_pcm(shared / "esc10" / "audio" / name, 44100) for name in names[:: len(names) // CLIPS]]


@pytest.fixture(scope="module")
def true_maps(clips: list[Pcm]) -> list[dict[str, oracle.Array]]:
    return [oracle.maps(pcm, Recipe()) for pcm in clips]


@pytest.fixture(scope="module")
def true_images(true_maps: list[dict[str, oracle.Array]]) -> list[oracle.Image]:
    return [oracle.stacked(made, oracle.LETTERS, Recipe()) for made in true_maps]


def jitted(function: Callable[[Any, Any], Any]) -> Callable[[oracle.Array], Any]:
    """function(keras.ops, audio), compiled for the accelerator."""
    if keras.backend.backend() != "jax":
        pytest.skip("needs JAX as Keras' backend")
    import jax

    compiled = jax.jit(lambda audio: function(keras.ops, audio))
    return lambda audio: jax.tree.map(np.asarray, compiled(audio))


def each(way: str, function: Callable[[Any, Any], Any], clips: list[Pcm]) -> list[Any]:
    """function(ops, float audio) of every clip, computed in one of the `WAYS`, as NumPy arrays."""
    if way == "jax":
        jit = jitted(function)
        return [jit(pcm.astype(np.float32) / 32768) for pcm in clips]
    if way == "map":  # lengths are unknown there, as they are in training
        dataset = tf.data.Dataset.from_tensor_slices([pcm.tobytes() for pcm in clips]).map(
            lambda raw: function(ops, records.to_float(tf.io.decode_raw(raw, tf.int16))),
            num_parallel_calls=2,
            deterministic=True,
        )
        return list(dataset.as_numpy_iterator())
    made = [function(ops, records.to_float(tf.constant(pcm))) for pcm in clips]
    return [tf.nest.map_structure(lambda x: x.numpy(), one) for one in made]


@pytest.fixture(scope="module", autouse=True)
def all_letters() -> Iterator[None]:
    """A format of all four maps at once: one line in the table is all that a new format needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(formats.CHANNELS, oracle.LETTERS, oracle.LETTERS)
        yield


def whole_images(way: str, clips: list[Pcm], **changed: Any) -> list[oracle.Image]:
    """-> [(bands, frames, 4)]: amplitude, phase, delta, product."""
    settings = FeatureSettings(format=oracle.LETTERS, **changed)  # type: ignore[arg-type]
    return each(way, lambda ops, audio: formats.whole_image(ops, audio, settings), clips)


def share_within(found: oracle.Image, true: oracle.Image, levels: int) -> dict[str, float]:
    """-> {letter: share of pixels that differ by at most `levels`}."""
    assert found.dtype == np.uint8
    assert found.shape == true.shape
    close = np.abs(found.astype(int) - true.astype(int)) <= levels
    return dict(zip(oracle.LETTERS, close.mean(axis=(0, 1)), strict=True))


def assert_exact_channels(found: oracle.Image, true: oracle.Image) -> None:
    """Amplitude and delta: 99.9 % of the pixels equal, and the rest within one level."""
    equal, near = share_within(found, true, 0), share_within(found, true, 1)
    for letter in "AD":
        assert equal[letter] >= 0.999, letter
        assert near[letter] == 1, letter


def has_flat_window(pcm: Pcm, settings: FeatureSettings) -> bool:
    """Whether one sample value lasts for a window or longer, as digital silence with an offset does.

    Such a window's bins are rounding noise from the third on, and so are their angles: two libraries agree on
    none, and where the image is small these angles set its extremes.
    """
    changes = np.flatnonzero(np.diff(pcm)) + 1
    runs = np.diff(np.concatenate([[0], changes, [len(pcm)]]))
    return bool((runs >= settings.n_fft).any())


@pytest.fixture(scope="module", params=WAYS)
def found_both(request: pytest.FixtureRequest, clips: list[Pcm]) -> list[tuple[oracle.Image, oracle.Array]]:
    """(image, decibels) of every clip."""
    settings = FeatureSettings(format=oracle.LETTERS)  # type: ignore[arg-type]

    def make(ops: Any, audio: Any) -> Any:
        return formats.whole_image(ops, audio, settings), formats.maps(ops, audio, settings)["A"]

    return each(request.param, make, clips)


@pytest.fixture(scope="module")
def found(found_both: list[tuple[oracle.Image, oracle.Array]]) -> list[oracle.Image]:
    return [image for image, _ in found_both]


def test_amplitude_is_within_a_thousandth_of_a_decibel(
    found_both: list[tuple[oracle.Image, oracle.Array]], true_maps: list[dict[str, oracle.Array]]
) -> None:
    for (_, level), true in zip(found_both, true_maps, strict=True):
        np.testing.assert_allclose(level.T, true["A"], rtol=0, atol=1e-3)


def test_amplitude_and_delta_pixels(found: list[oracle.Image], true_images: list[oracle.Image]) -> None:
    for image, true in zip(found, true_images, strict=True):
        assert_exact_channels(image, true)


def test_phase_and_product_pixels(found: list[oracle.Image], true_images: list[oracle.Image]) -> None:
    shares = [share_within(*pair, 1) for pair in zip(found, true_images, strict=True)]
    for letter in PHASE_LETTERS:
        of_clips = [share[letter] for share in shares]
        assert min(of_clips) >= 0.95, letter
        assert np.median(of_clips) >= 0.995, letter


@pytest.mark.parametrize("stretch", ["resize", "mean", "hop"])
@pytest.mark.parametrize("way", WAYS)
def test_six_seconds_an_image(
    way: str, stretch: Any, clips: list[Pcm], true_maps: list[dict[str, oracle.Array]]
) -> None:
    recipe = Recipe(seconds=6, stretch=stretch)
    settings = FeatureSettings(seconds=6, stretch=stretch)
    some = clips if way == "eager" else clips[::4]
    made = true_maps[:: CLIPS // len(some)]
    if stretch == "hop":
        made = [oracle.maps(pcm, recipe) for pcm in some]
    shares = []
    for pcm, image, maps in zip(
        some, whole_images(way, some, seconds=6.0, stretch=stretch), made, strict=True
    ):
        true = oracle.stacked(maps, oracle.LETTERS, recipe)
        assert true.shape[:2] == (160, 160)  # ESC-10's clips last 5 s
        assert_exact_channels(image, true)
        shares.append((has_flat_window(pcm, settings), share_within(image, true, 1)))
    for letter in PHASE_LETTERS:
        assert min(share[letter] for flat, share in shares if not flat) >= 0.95, letter
        assert np.median([share[letter] for _, share in shares]) >= 0.995, letter


@pytest.mark.parametrize(
    ("name", "letters"), [("APD", "APD"), ("APX", "APX"), ("AAA", "AAA"), ("AAP", "AAP")]
)
def test_channels_of_a_format(name: Any, letters: str, clips: list[Pcm], true_images: Any) -> None:
    image = image_of(tf.constant(clips[0]), FeatureSettings(format=name)).numpy()
    for channel, letter in enumerate(letters):
        true = true_images[0][..., oracle.LETTERS.index(letter)]
        assert (np.abs(image[..., channel].astype(int) - true) <= 1).mean() > 0.99, letter


@pytest.mark.parametrize(
    "changed",
    [
        {"bands": 128},
        {"bands": 224},
        {"bands": 64},
        {"rate": 22050},
        {"rate": 22050, "bands": 128},
        {"fmin": 50.0, "fmax": 14000.0},
        {"bands": 64, "seconds": 2.5},
        {"bands": 64, "seconds": 2.5, "stretch": "mean"},
        {"bands": 64, "seconds": 2.5, "stretch": "hop"},
        {"bands": 64, "seconds": 2.5, "stretch": "mean", "width": 100},
        {"bands": 64, "seconds": 2.5, "width": 160},
        {"bands": 64, "seconds": 2.5, "stretch": "hop", "width": 100},
    ],
    ids=str,
)
@pytest.mark.parametrize("way", ["eager", "map"])
def test_other_settings(way: str, changed: dict[str, Any], clips: list[Pcm]) -> None:
    some = [pcm[: 2 * 44100] for pcm in clips[4:12:4]]
    for pcm, image in zip(some, whole_images(way, some, **changed), strict=True):
        true = oracle.image(pcm, oracle.LETTERS, Recipe(**changed))
        assert_exact_channels(image, true)
        if not has_flat_window(pcm, FeatureSettings(**changed)):
            assert min(share_within(image, true, 1).values()) >= 0.95


@pytest.mark.parametrize(("rate", "bands", "hop"), [(44100, 160, 276), (44100, 128, 347), (44100, 224, 197)])
def test_hops_of_the_reference(rate: int, bands: int, hop: int) -> None:
    assert FeatureSettings(rate=rate, bands=bands).hop == hop
    assert FeatureSettings(rate=rate, bands=bands, seconds=6, stretch="hop").hop == 6 * hop
    assert FeatureSettings(rate=rate, bands=bands, seconds=6, stretch="resize").hop == hop
    assert FeatureSettings(rate=rate, bands=bands, seconds=6, stretch="mean").hop == hop


# --- edges ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "samples"),
    [("jax", 1), ("map", 1), *(("eager", samples) for samples in (1, 2, 30000, 44099, 44100, 44101))],
)
def test_short_clips_lie_in_the_middle_of_a_second(way: str, samples: int) -> None:
    pcm = np.random.default_rng(samples).integers(-9000, 9000, samples).astype(np.int16)
    (image,) = whole_images(way, [pcm])
    true = oracle.image(pcm, oracle.LETTERS, Recipe())
    assert_exact_channels(image, true)
    assert min(share_within(image, true, 1).values()) >= 0.95
    assert image.shape == (160, 1 + max(samples, 44100) // 276, 4)


@pytest.mark.parametrize("way", WAYS)
def test_digital_silence_is_zero_in_every_channel(way: str) -> None:
    (image,) = whole_images(way, [np.zeros(44100, np.int16)])
    assert image.shape == (160, 160, 4)
    assert not image.any()


@pytest.mark.parametrize("bands", [61, 100, 127])
def test_digital_silence_of_bands_that_fill_no_vector(bands: int) -> None:
    """A logarithm's lanes and its rest differ by a bit, which the range of a silent clip would make white."""
    settings = FeatureSettings(rate=16000, bands=bands, format="APX")
    image = formats.whole_image(ops, tf.zeros(17000), settings).numpy()
    assert image.shape[0] == bands
    assert not image.any()


@pytest.mark.parametrize("way", WAYS)
def test_silence_within_a_clip_has_no_phase_of_its_own(way: str, clips: list[Pcm]) -> None:
    settings = FeatureSettings(format="APX")
    pcm = np.concatenate([np.zeros(20000, np.int16), clips[4][20000:44100]])
    (phase,) = each(way, lambda ops, audio: formats.maps(ops, audio, settings)["P"], [pcm])
    silent = (20000 - settings.n_fft // 2) // settings.hop
    assert not phase[:silent].any()
    assert phase[silent + 2 :].any(axis=1).all()


@pytest.mark.parametrize("way", WAYS)
def test_a_last_frame_centred_on_the_last_sample(way: str, clips: list[Pcm]) -> None:
    hop, settings = 276, FeatureSettings(format="APX")
    last = 1 + 200 * hop
    lengths = [last] if way == "jax" else [last, last - 1, last + 1]  # JAX compiles for each
    cut = [clips[4][60000 : 60000 + length] for length in lengths]
    phases = each(way, lambda ops, audio: formats.maps(ops, audio, settings)["P"], cut)
    for pcm, phase in zip(cut, phases, strict=True):
        np.testing.assert_array_equal(phase[0], phase[1])
        assert (phase[-1] == phase[-2]).all() == (len(pcm) == last)
        true = oracle.maps(pcm, Recipe())["P"].T
        close = np.abs(phase - true) <= np.ptp(true) / 255  # one level of the image
        assert close.mean() >= 0.995
        assert close[[0, -1]].mean() >= 0.95


# --- batches -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("library", "stretch"),
    [("tensorflow", "resize"), ("tensorflow", "mean"), ("tensorflow", "hop"), ("keras", "resize")],
)
def test_batched_equals_single_whatever_the_batch_mates(library: str, stretch: Any, clips: list[Pcm]) -> None:
    settings = FeatureSettings(rate=8000, bands=64, seconds=2, stretch=stretch, format="APX")
    mine = clips[4][60000:77000].astype(np.float32) / 32768
    loud = np.random.default_rng(0).uniform(-1, 1, mine.shape).astype(np.float32)
    batches = [np.stack([mine, *mates]) for mates in ([0 * mine, 0 * mine], [loud, loud], [mine, -mine])]

    def make(words: Any, audio: Any) -> Any:
        return formats.whole_image(words, audio, settings)

    if library == "keras":
        jit = jitted(make)
        single, made = jit(mine), [jit(batch) for batch in batches]
    else:
        single = make(ops, tf.constant(mine)).numpy()
        made = [make(ops, tf.constant(batch)).numpy() for batch in batches]
    for batch in made:
        np.testing.assert_array_equal(batch[0], single)


# --- the steps by themselves ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "length", "hop"), [(1000, 100, 30), (97, 97, 5), (640, 64, 64), (50, 7, 9)]
)
def test_frames_are_sliding_windows(samples: int, length: int, hop: int) -> None:
    audio = np.random.default_rng(1).normal(size=(2, samples)).astype(np.float32)
    wanted = sliding_window_view(audio, length, axis=-1)[:, ::hop]
    made = features.frame(ops, tf.constant(audio), length, hop).numpy()
    assert made.shape[-1] == hop
    flat = made.reshape(*wanted.shape[:2], -1)
    assert length <= flat.shape[2] < length + hop
    np.testing.assert_array_equal(flat[..., :length], wanted)


@pytest.mark.parametrize(("length", "hop"), [(100, 30), (64, 64), (50, 51)])
def test_spectra_are_of_the_windowed_frames_alone(length: int, hop: int) -> None:
    audio = np.random.default_rng(2).normal(size=1000).astype(np.float32)
    real, imaginary = features.spectra(ops, tf.constant(audio), length, hop)
    framed = sliding_window_view(audio, length)[::hop] * hann_window(length)
    np.testing.assert_allclose(
        real.numpy() + 1j * imaginary.numpy(), np.fft.rfft(framed.astype(np.float64)), atol=1e-4
    )


@pytest.mark.parametrize("frames", [9, 10, 57])
def test_delta_is_savitzky_golay(frames: int) -> None:
    level = np.random.default_rng(frames).normal(size=(2, frames, 5)).astype(np.float32)
    np.testing.assert_allclose(
        features.delta(ops, tf.constant(level)).numpy(),
        savgol_filter(level, 9, polyorder=1, deriv=1, axis=1, mode="interp"),
        atol=1e-5,
    )


def test_delta_of_a_ramp_is_its_slope() -> None:
    ramp = tf.constant(0.25 * np.arange(40, dtype=np.float32)[:, None])
    np.testing.assert_allclose(features.delta(ops, ramp).numpy(), 0.25, rtol=1e-6)


@pytest.mark.parametrize("words", [ops, keras.ops], ids=["tensorflow", "keras"])
def test_an_empty_bin_has_no_phase_whatever_the_sign_of_its_zeros(words: Any) -> None:
    for real, imaginary in ((-0.0, -0.0), (-0.0, 0.0), (0.0, -0.0)):
        parts = [words.cast(np.full((20, 161), value), "float32") for value in (real, imaginary)]
        assert not np.asarray(features.angles(words, *parts)).any()
    half = [words.cast(np.full((20, 161), value), "float32") for value in (-1.0, 0.0)]
    np.testing.assert_allclose(np.asarray(features.angles(words, *half)), np.pi, rtol=1e-6)


def test_decibels_stop_80_under_the_maximum_and_at_the_floor() -> None:
    power = tf.constant([[[1.0, 1e-3, 1e-9]], [[1e-4, 1e-11, 0.0]]])
    expected = [[[0, -30, -80]], [[-40, -100, -100]]]
    np.testing.assert_allclose(features.decibels(ops, power).numpy(), expected, atol=1e-4)


def scaled(values: tf.Tensor) -> np.ndarray:
    found = formats.scales(ops, {"A": values})
    return formats.to_uint8(ops, values, found.low[..., 0], found.high[..., 0]).numpy()


def test_scaling_truncates() -> None:
    values = tf.constant([[[0.0, 1.0, 2.0, 254.99, 255.0]]])
    np.testing.assert_array_equal(scaled(values), [[[0, 1, 2, 254, 255]]])
    shifted = scaled(values * 0.3 - 11)
    assert (shifted[0, 0, 0], shifted[0, 0, -1]) == (0, 255)


# --- the duration step ---------------------------------------------------------------------------------------


def resize(library: str, image: oracle.Image, settings: FeatureSettings) -> oracle.Image:
    """(bands, frames, channels) -> the same, resized; `graph` does not know the number of frames."""
    turned = np.moveaxis(image, 0, 1)
    if library == "graph":
        dataset = tf.data.Dataset.from_tensors(turned).map(
            lambda x: narrowing.narrow(ops, tf.ensure_shape(tf.identity(x), (None, None, 3)), settings)
        )
        narrow = next(dataset.as_numpy_iterator())
    else:
        words = ops if library == "tensorflow" else keras.ops
        narrow = np.asarray(narrowing.narrow(words, words.cast(turned, "uint8"), settings))
    return np.moveaxis(narrow, 0, 1)


@pytest.mark.parametrize(
    ("library", "seconds"),
    [("keras", 2.2), *product(["tensorflow", "graph"], [1.1, 2, 2.2, 2.5, 5, 6, 8, 10])],
)
@pytest.mark.parametrize(
    ("stretch", "kind", "columns"),
    [
        ("resize", "APD", 16),
        ("mean", "APD", 16),
        ("mean", "AHL", 16),
        ("resize", "APD", 17),
        ("mean", "AHL", 17),
    ],
)
def test_narrowing_is_exact_for_any_width(
    library: str, seconds: float, stretch: Any, kind: Any, columns: int
) -> None:
    random = np.random.default_rng(3)
    settings = FeatureSettings(
        rate=8000, bands=16, seconds=seconds, stretch=stretch, format=kind, width=columns
    )
    recipe = Recipe(rate=8000, bands=16, seconds=seconds, stretch=stretch, width=columns)
    for width in (352, 1119) if library == "keras" else (16, 17, 99, 352, 1119, 4801):
        image = random.integers(0, 256, (16, width, 3), np.uint8)
        true = oracle.resized(image, recipe, extremes=kind == "AHL")
        np.testing.assert_array_equal(resize(library, image, settings), true)
        assert true.shape[1] >= settings.columns


@pytest.mark.parametrize("seconds", [2, 2.5, 6])
def test_resizing_is_what_tensorflow_does(seconds: float) -> None:
    image = np.random.default_rng(4).integers(0, 256, (16, 400, 3), np.uint8)
    mine = resize("tensorflow", image, FeatureSettings(rate=8000, bands=16, seconds=seconds))
    theirs = tf.image.resize(image, (16, int(400 / seconds)), "bilinear", antialias=False).numpy()
    assert np.abs(mine - theirs).max() <= 0.5 + 0.01


def test_no_width_overflows() -> None:
    settings = FeatureSettings(bands=509, seconds=59.999, stretch="mean", width=512, format="AHL")
    image = np.full((1, 31000, 3), 255, np.uint8)
    made = resize("graph", image, settings)
    np.testing.assert_array_equal(made, np.full((1, made.shape[1], 3), 255))
    assert made.shape[1] >= settings.columns


def test_halves_round_up() -> None:
    image = np.zeros((16, 64, 3), np.uint8)
    image[:, 1::2] = 1  # each new column lies halfway between a 0 and a 1
    settings = FeatureSettings(rate=8000, bands=16, seconds=2)
    np.testing.assert_array_equal(resize("tensorflow", image, settings), np.ones((16, 32, 3)))


def test_a_short_clip_is_zeros_on_its_right() -> None:
    settings = FeatureSettings(seconds=6.0)
    pcm = np.random.default_rng(5).integers(-9000, 9000, 44100).astype(np.int16)
    image = image_of(tf.constant(pcm), settings).numpy()
    assert image.shape == (160, 160, 3)
    assert image[:, :26, 0].any(axis=0).all()
    assert not image[:, 27:].any()
