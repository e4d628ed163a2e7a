"""Background subtraction on real barks over made hum, and what takes noisy clips to the curated domain."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fatk.audio import read_pcm
from pipelines import domain, features, formats, ops
from pipelines.domain_settings import DomainSettings
from pipelines.settings import FeatureSettings

Float = NDArray[np.floating]
RATE = 44100
SMALL = FeatureSettings(bands=64)
STATIONARY, GLOBAL = DomainSettings(background="stationary"), DomainSettings(background="global")
WAYS = ("eager", "map", "jax")


@pytest.fixture(scope="module")
def barks(shared: Path) -> list[Float]:
    """The first four clips of ESC-10's class Bark that have a second of pause, float32 in -1..1."""
    with (shared / "esc10" / "esc10.csv").open(newline="") as table:
        names = [row["fname"] for row in csv.DictReader(table) if row["labels"] == "Bark"]
    found: list[Float] = []
    while len(found) < 4:
        clip = read_pcm(shared / "esc10" / "audio" / names.pop(0), RATE).astype(np.float32) / 32768
        loud = np.abs(clip[: len(clip) // 441 * 441]).reshape(-1, 441).max(1)  # of each hundredth of a second
        if (loud < 0.01 * loud.max()).sum() > 100:
            found.append(clip)
    return found


def hum(samples: int, like: Float, decibels: float) -> Float:
    """Mains hum, 50 Hz and 19 overtones, at a level in decibels re the loud part of a clip."""
    phases = np.random.default_rng(1).uniform(0, 2 * np.pi, 20)
    time = np.arange(samples) / RATE
    wave = sum(np.sin(2 * np.pi * 50 * (k + 1) * time + phases[k]) / (k + 1) for k in range(20))
    loud = like[np.abs(like) > 0.05 * np.abs(like).max()]
    gain = np.sqrt((loud**2).mean() / (wave**2).mean()) * 10 ** (decibels / 20)
    return (gain * wave).astype(np.float32)


def mel_power(audio: Float, feature: FeatureSettings = SMALL) -> Float:
    padded = features.reflected(ops, features.pad_short(ops, tf.constant(audio), feature), feature)
    return features.mel_maps(ops, padded, feature)[0].numpy()


def subtracted(power: Float, feature: FeatureSettings = SMALL) -> Float:
    return domain.subtract_stationary(ops, tf.constant(power), feature).numpy()


def decibels(ratio: float) -> float:
    return float(10 * np.log10(ratio))


def computed(way: str, function: Callable[[Any, Any], Any], value: NDArray) -> Any:
    """function(ops, value) as NumPy arrays: eagerly, in a `Dataset.map` of unknown frames, or jitted by JAX."""
    if way == "jax":
        if keras.backend.backend() != "jax":
            pytest.skip("needs JAX as Keras' backend")
        import jax

        return jax.tree.map(np.asarray, jax.jit(lambda x: function(keras.ops, x))(value))
    if way == "eager":
        return tf.nest.map_structure(lambda x: np.asarray(x), function(ops, tf.constant(value)))
    spec = tf.TensorSpec([None] * value.ndim, value.dtype)
    dataset = tf.data.Dataset.from_generator(lambda: iter([value]), output_signature=spec)
    rank = [None] * (value.ndim - 1) + [value.shape[-1]]
    (made,) = dataset.map(lambda x: function(ops, tf.ensure_shape(x, rank))).as_numpy_iterator()
    return made


# ---- the stationary mode


@pytest.mark.parametrize("level", [-10, 0], ids=["hum 10 dB under", "hum as loud"])
@pytest.mark.parametrize("bands", [64, 160])
def test_a_hum_goes_and_the_bark_over_it_stays(barks: list[Float], bands: int, level: float) -> None:
    feature = FeatureSettings(bands=bands)
    for bark in barks:
        alone, noise = mel_power(bark, feature), hum(len(bark), bark, level)
        steady, both = mel_power(noise, feature), mel_power(bark + noise, feature)
        left = subtracted(both, feature)
        # Frames in which the bark is 30 dB under the hum show what is left of the hum, the others the bark.
        pause = alone.sum(1) < 1e-3 * steady.sum(1)
        assert 10 < pause.sum() < len(pause) - 10
        assert decibels(left[pause].sum() / both[pause].sum()) < -20
        assert abs(decibels(left[~pause].sum() / alone[~pause].sum())) < 1


def test_a_hum_alone_falls_by_20_db_in_every_band_that_it_reaches() -> None:
    power = mel_power(hum(3 * RATE, np.ones(1, np.float32), -20))[8:-8]  # without the reflected edges
    left = subtracted(power)
    reached = power.mean(0) > 1e-6 * power.mean(0).max()
    assert reached.sum() > 5
    assert (10 * np.log10(left.sum(0) / power.sum(0))[reached] < -20).all()


def test_barks_without_hum_keep_their_energy(barks: list[Float]) -> None:
    for bark in barks:
        power = mel_power(bark)
        assert abs(decibels(subtracted(power).sum() / power.sum())) < 1


def test_levels_and_multiples_by_hand() -> None:
    feature = FeatureSettings(rate=1000, bands=20)  # hop 50: blocks of 0.2 s are 4 frames
    assert feature.hop == 50
    power = np.repeat([[6.0], [2.0], [5.0], [1.0], [4.0], [3.0]], 4, axis=0).astype(np.float32)
    # Six blocks, their 0.2 quantile by nearest rank is the second smallest.
    np.testing.assert_allclose(domain.steady_power(ops, tf.constant(power), feature), [[2.0]], rtol=1e-6)
    cells = {
        2.0: 2.0 * 1e-3,  # at the steady level: four times 2 is more than there is, a thousandth stays
        20.0: 20.0 - 2.0,  # 10 dB above: subtracted once
        200.0: 200.0 - 2.0,
        2.0 * 10**0.5: 2.0 * 10**0.5 - 2.5 * 2.0,  # 5 dB above: half-way between four times and once
        1.0: 1e-3,
    }
    power = np.concatenate([np.full((16, 1), 2.0), [[cell] for cell in cells]]).astype(np.float32)
    power = np.concatenate([power, np.full((3, 1), 2.0, np.float32)])
    left = subtracted(power, feature)[16:21, 0]
    np.testing.assert_allclose(left, list(cells.values()), rtol=1e-3)


def test_what_is_steady_throughout_keeps_its_shape() -> None:
    power = np.tile(np.geomspace(1e-6, 1, 64).astype(np.float32), (100, 1))
    np.testing.assert_allclose(subtracted(power), 1e-3 * power, rtol=1e-5)


def test_digital_silence_hides_no_hum_and_is_no_background() -> None:
    steady = np.full((40, 64), 0.5, np.float32)
    silence = np.zeros((160, 64), np.float32)
    found = domain.steady_power(ops, tf.constant(np.concatenate([silence, steady])), SMALL)
    np.testing.assert_allclose(found, np.full((1, 64), 0.5), rtol=1e-6)
    np.testing.assert_array_equal(subtracted(silence), silence)
    click = silence.copy()
    click[3:5] = 1  # shorter than half a block: nothing is known to be steady
    np.testing.assert_array_equal(subtracted(click), click)


def test_less_than_a_block_is_enough() -> None:
    power = np.full((3, 64), 2.0, np.float32)
    np.testing.assert_array_equal(subtracted(power), power)
    assert subtracted(power[:1]).shape == (1, 64)


@pytest.mark.parametrize("way", WAYS)
def test_stationary_on_every_array_library_and_batched(barks: list[Float], way: str) -> None:
    length = 2 * RATE
    power = np.stack([mel_power(bark[:length] + hum(length, bark, -5)) for bark in barks])
    wanted = [subtracted(one) for one in power]
    alone = computed(way, lambda o, x: domain.subtract_stationary(o, x, SMALL), power[0])
    np.testing.assert_allclose(alone, wanted[0], rtol=1e-3, atol=1e-5 * power[0].max())
    batched = computed(way, lambda o, x: domain.subtract_stationary(o, x, SMALL), power)
    for got, want in zip(batched, wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5 * want.max())


# ---- the global mode


def reference_global(channel: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(bands, frames): the reference's arithmetic, written out."""
    end = channel.shape[1]
    for column in range(channel.shape[1]):
        if not channel[:, column].any():
            end = column
            break
    if end == 0:
        return channel
    floored = int(np.floor(channel[:, :end].mean(dtype=np.float64)))
    return np.where(channel < floored, 0, channel)


def test_global_by_hand() -> None:
    image = np.array([[10, 20, 0, 90], [30, 43, 0, 25]], np.uint8)  # mean of the first two columns: 25.75
    got = domain.subtract_global(ops, tf.constant(image)[..., None], "A").numpy()[..., 0]
    np.testing.assert_array_equal(got, [[0, 0, 0, 90], [30, 43, 0, 25]])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_global_is_the_references_arithmetic(data: st.DataObject) -> None:
    bands, frames = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 30))
    draw = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    top = data.draw(st.sampled_from([1, 3, 255]))
    channel = draw.integers(0, top, (bands, frames), np.uint8, endpoint=True)
    if data.draw(st.booleans()):
        channel[:, data.draw(st.integers(0, frames - 1)) :: data.draw(st.integers(1, 30))] = 0
    got = domain.subtract_global(ops, tf.constant(np.stack([channel] * 3, -1)), "AAA").numpy()
    np.testing.assert_array_equal(got, np.stack([reference_global(channel)] * 3, -1))


def test_global_is_exact_where_sums_pass_what_floats_and_32_bits_hold() -> None:
    image = np.full((160, 70_000, 1), 254, np.uint8)  # 2.8e9 in all
    image[0, 0] = 253
    image[0, 1] = 255  # the mean is 254 to the bit
    got = domain.subtract_global(ops, tf.constant(image), "A").numpy()
    assert (np.argwhere(got != image) == [[0, 0, 0]]).all()
    image[0, 1] = 254  # just under: 253 is what it floors to
    np.testing.assert_array_equal(domain.subtract_global(ops, tf.constant(image), "A"), image)


@pytest.mark.parametrize("way", WAYS)
def test_global_on_every_array_library_and_batched(way: str) -> None:
    draw = np.random.default_rng(3)
    image = draw.integers(0, 256, (2, 16, 40, 3), np.uint8)
    image[0, :, 25] = 0
    got = computed(way, lambda o, x: domain.subtract_global(o, x, "APA"), image)
    for one, made in zip(image, got, strict=True):
        np.testing.assert_array_equal(made[..., 0], reference_global(one[..., 0]))
        np.testing.assert_array_equal(made[..., 1], one[..., 1])  # phase is no amplitude
        np.testing.assert_array_equal(made[..., 2], reference_global(one[..., 2]))


# ---- the picture


def test_without_a_background_the_image_is_the_plain_one(barks: list[Float]) -> None:
    for feature in (SMALL, FeatureSettings(bands=64, seconds=2), FeatureSettings(bands=64, format="AAP")):
        picture = domain.whole_image(ops, tf.constant(barks[0]), feature)
        np.testing.assert_array_equal(picture.image, formats.whole_image(ops, tf.constant(barks[0]), feature))


def test_both_modes_reach_the_image(barks: list[Float]) -> None:
    noise = hum(len(barks[0]), barks[0], 0)
    audio = tf.constant(barks[0] + noise)
    feature = FeatureSettings(bands=64, format="AAA")
    plain, steady, whole = (
        domain.whole_image(ops, audio, feature, mode).image.numpy()[..., 0].astype(int)
        for mode in (DomainSettings(), STATIONARY, GLOBAL)
    )
    np.testing.assert_array_equal(whole, reference_global(plain.astype(np.uint8)))
    pause = mel_power(barks[0]).sum(1) < 1e-3 * mel_power(noise).sum(1)
    low = slice(0, 12)  # bands that the hum fills
    assert plain[low, pause].mean() - steady[low, pause].mean() > 40  # levels, of 255 for 80 dB


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", [STATIONARY, GLOBAL], ids=["stationary", "global"])
def test_pictures_on_every_array_library(barks: list[Float], mode: DomainSettings, way: str) -> None:
    feature = FeatureSettings(bands=64, seconds=2)
    audio = barks[1][: 3 * RATE] + hum(3 * RATE, barks[1], -5)
    wanted = domain.whole_image(ops, tf.constant(audio), feature, mode)

    def function(o: Any, x: Any) -> Any:
        return domain.whole_image(o, x, feature, mode)

    if way == "map":
        dataset = tf.data.Dataset.from_generator(
            lambda: iter([audio]), output_signature=tf.TensorSpec([None], tf.float32)
        )
        (got,) = dataset.map(lambda x: function(ops, x)).as_numpy_iterator()
    else:
        got = computed(way, function, audio)
    for channel in (0, 2):  # phase at +-pi may flip with float rounding
        difference = np.abs(got.image[..., channel].astype(int) - wanted.image.numpy()[..., channel])
        assert (difference <= 1).mean() > 0.999
    assert abs(got.zero - wanted.zero.numpy()) <= 1
    assert int(got.columns) == int(wanted.columns)


def test_the_zero_level_is_where_an_unchanging_amplitude_lies() -> None:
    time = np.arange(3 * RATE) / RATE
    tone = 0.3 * np.sin(2 * np.pi * 1000 * time) * (time < 1) + 0.003 * np.sin(2 * np.pi * 1000 * time)
    picture = domain.whole_image(ops, tf.constant(tone.astype(np.float32)), SMALL)
    band = picture.image.numpy()[..., 0].mean(1).argmax()
    still = picture.image.numpy()[band, 90:180, 2].astype(int)  # long after the step
    assert np.abs(still - int(picture.zero)).max() <= 1
    low, high = picture.image.numpy()[..., 2].min(), picture.image.numpy()[..., 2].max()
    assert (low, high) == (0, 255)
    assert 0 < picture.zero < 255


def test_the_zero_level_follows_the_scaling() -> None:
    values = np.array([[-3.0, 0.0], [1.0, 0.0]], np.float32)
    ends = tf.constant(values.min()), tf.constant(values.max())
    level = formats.zero_level(ops, *ends).numpy()
    assert level == 191  # 255 x 3 / 4, truncated
    assert (formats.to_uint8(ops, tf.constant(values), *ends).numpy()[values == 0] == level).all()
    assert formats.zero_level(ops, tf.constant(7.0), tf.constant(7.0)).numpy() < 0
    assert (
        formats.zero_level(ops, tf.constant(0.0), tf.constant(0.0)).numpy() == 0
    )  # a constant channel becomes 0


@pytest.mark.parametrize(
    ("feature", "seconds", "columns"),
    [
        (SMALL, 3.0, 193),
        (FeatureSettings(bands=64, seconds=4), 1.5, 24),  # 97 frames; column 24 is made of frames 97 and 98
        (FeatureSettings(bands=64, seconds=4), 8.0, 128),
        (FeatureSettings(bands=64, seconds=4, stretch="mean"), 1.5, 25),  # frame 97 is the first of column 25
        (FeatureSettings(bands=64, seconds=4, stretch="hop"), 1.5, 65),  # padded before, as a waveform
    ],
)
def test_a_clips_own_columns_are_those_with_sound(
    feature: FeatureSettings, seconds: float, columns: int
) -> None:
    noise = np.random.default_rng(5).uniform(-1, 1, round(seconds * RATE)).astype(np.float32)
    picture = domain.whole_image(ops, tf.constant(noise), feature)
    assert int(picture.columns) == columns
    if feature.stretch != "hop":
        sounds = picture.image.numpy()[..., 0].any(0)
        assert sounds[:columns].all()
        assert not sounds[columns:].any()


# ---- transfer


def picture_of(image: NDArray[np.uint8], zero: float, columns: int | None = None) -> formats.Picture:
    own = image.shape[-2] if columns is None else columns
    return formats.Picture(tf.constant(image), tf.constant(zero, tf.float32), own)


def one_band(*channels: list[int]) -> NDArray[np.uint8]:
    """-> (1, frames, channels)."""
    return np.array(channels, np.uint8).T[None]


def test_envelope_transfer_by_hand() -> None:
    image = one_band([10, 20, 30], [1, 2, 3], [90, 100, 130])
    move = domain.EnvelopeTransfer("APD", np.array([[1.0]], np.float32), np.array([[40.0]], np.float32))
    got = move(ops, picture_of(image, 100), 0).numpy()[0].T
    # The envelope is 20, wanted is 40: twice. Phase stays, delta moves about 100.
    np.testing.assert_array_equal(got, [[20, 40, 60], [1, 2, 3], [80, 100, 160]])


def test_a_transfer_saturates_and_never_wraps() -> None:
    image = one_band([100, 200, 0], [0, 0, 0], [10, 200, 100])
    move = domain.EnvelopeTransfer("APD", np.array([[1.0]], np.float32), np.array([[250.0]], np.float32))
    got = move(ops, picture_of(image, 100), 0).numpy()[0].T
    np.testing.assert_array_equal(got, [[250, 255, 0], [0, 0, 0], [0, 255, 100]])


def test_a_silent_band_divides_by_one() -> None:
    image = np.zeros((2, 4, 3), np.uint8)
    image[1] = 50
    move = domain.EnvelopeTransfer("AAA", np.array([[1.0]], np.float32), np.full((1, 2), 100.0, np.float32))
    got = move(ops, picture_of(image, 0), 0).numpy()
    assert not got[0].any()
    assert (got[1] == 100).all()


def test_several_labels_lead_to_the_mean_and_curated_clips_stay() -> None:
    image = one_band([10, 10], [5, 5], [9, 9])
    shares = np.array([[0.5, 0.5, 0], [0, 0, 1], [0, 0, 0]], np.float32)
    move = domain.EnvelopeTransfer("APA", shares, np.array([[20.0], [40.0], [80.0]], np.float32))
    for row, wanted in ((0, 30), (1, 80)):
        got = move(ops, picture_of(image, 0), tf.constant(row)).numpy()
        assert (got[..., 0] == wanted).all()
    np.testing.assert_array_equal(move(ops, picture_of(image, 0), tf.constant(2)), image)


def test_the_fill_of_a_short_clip_takes_no_part() -> None:
    image = one_band([30, 30, 0, 0], [7, 7, 0, 0], [100, 120, 0, 0])
    move = domain.EnvelopeTransfer("APD", np.array([[1.0]], np.float32), np.array([[15.0]], np.float32))
    got = move(ops, picture_of(image, 100, 2), 0).numpy()[0].T
    np.testing.assert_array_equal(got, [[15, 15, 0, 0], [7, 7, 0, 0], [100, 110, 0, 0]])


def test_normalisation_by_hand() -> None:
    image = one_band([10, 20, 250], [1, 2, 3], [90, 100, 130])
    move = domain.Normalisation("APD", np.array([True, False]), np.float32([0.5]), np.float32([7.0]))
    got = move(ops, picture_of(image, 100), 0).numpy()[0].T
    np.testing.assert_array_equal(got, [[12, 17, 132], [1, 2, 3], [95, 100, 115]])
    np.testing.assert_array_equal(move(ops, picture_of(image, 100), 1), image)
    down = domain.Normalisation("APD", np.array([True]), np.float32([3.0]), np.float32([-40.0]))
    np.testing.assert_array_equal(down(ops, picture_of(image, 100), 0).numpy()[0, :, 0], [0, 20, 255])


@pytest.mark.parametrize("way", WAYS)
def test_transfers_on_every_array_library(way: str) -> None:
    draw = np.random.default_rng(9)
    image = draw.integers(0, 256, (8, 20, 3), np.uint8)
    shares = np.array([[0.5, 0.5]], np.float32)
    envelopes = draw.uniform(0, 255, (2, 8)).astype(np.float32)
    scale = draw.uniform(0.5, 2, 8).astype(np.float32)
    for move in (
        domain.EnvelopeTransfer("APD", shares, envelopes),
        domain.Normalisation("APD", np.array([True]), scale, -30 * scale),
    ):

        def function(o: Any, x: Any, move: domain.Transfer = move) -> Any:
            return move(o, formats.Picture(x, o.cast(117.0, "float32"), 15), 0)

        wanted = function(ops, tf.constant(image)).numpy().astype(int)
        assert np.abs(computed(way, function, image) - wanted).max() <= 1
        assert (wanted != image).any()


# ---- settings


@pytest.mark.parametrize(("key", "choices"), [
    ("background", "none, stationary, global"),
    ("transfer", "none, envelope, normalise"),
])  # fmt: skip
def test_settings_name_the_value_and_the_choice(key: str, choices: str) -> None:
    with pytest.raises(ValueError, match=rf"`{key}` must be one of {choices}\. Received: 'loud'\."):
        DomainSettings(**{key: "loud"})  # type: ignore[arg-type]
