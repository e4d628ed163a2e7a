"""Effects on the waveform: what each does to sounds whose answer is known, its limits, seeds and graphs."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import fftconvolve, resample

from pipelines import resampling, sound_effects
from pipelines.augment_settings import EFFECTS, AugmentSettings

Array = NDArray[Any]
RATE = 8000


def tone(hertz: float, seconds: float = 1.0) -> Array:
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE).astype(np.float32)


def noise(samples: int = RATE, seed: int = 0) -> Array:
    return (np.random.default_rng(seed).normal(size=samples) * 0.1).astype(np.float32)


def pitch_of(sound: Array) -> float:
    """(samples,) -> hertz of the strongest tone, to a tenth of a percent."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 16 * len(sound)))
    return float(np.argmax(spectrum) * RATE / (16 * len(sound)))


def decibels(own: Array, other: Array) -> float:
    """Of the mean power of one over that of the other."""
    return float(10 * np.log10(np.mean(own.astype(float) ** 2) / np.mean(other.astype(float) ** 2)))


def number(value: float) -> tf.Tensor:
    return tf.constant(value, tf.float32)


# --- speed and pitch -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.0, 1.17, 2.0])
def test_speed_changes_pitch_and_duration_by_its_ratio(speed: float) -> None:
    made = resampling.change_speed(tf.constant(tone(700)), number(speed)).numpy()
    assert len(made) == pytest.approx(RATE / speed, rel=0.004)
    assert pitch_of(made) == pytest.approx(700 * speed, rel=0.004)
    # What the pitch gained the duration lost, to the sample: the same number of waves.
    assert pitch_of(made) * len(made) == pytest.approx(700 * RATE, rel=0.001)
    inner = slice(len(made) // 8, -len(made) // 8)
    assert np.sqrt(np.mean(made[inner] ** 2) * 2) == pytest.approx(1, abs=0.01)


def test_speed_is_the_resampling_of_scipy() -> None:
    """256 x 20 samples fill the transform's blocks whole: nothing is padded, and a half is exact."""
    sound = noise(5120)
    for speed, size in ((2.0, 2560), (0.5, 10240), (1.0, 5120)):
        padded = np.concatenate([sound, np.zeros(256 * 24 - 5120, np.float32)])  # as to a smooth length
        blocks = int(resampling.transform_size(tf.constant(5120 // 256 + 1)))
        assert blocks == 24
        expected = resample(padded.astype(float), round(len(padded) / speed))[:size]
        made = resampling.change_speed(tf.constant(sound), number(speed)).numpy()
        assert len(made) == size
        # The bin at half of the rate alone is taken otherwise: one of 3000.
        assert decibels(expected, made - expected) > 30


def test_no_frequency_folds_over() -> None:
    """At twice the speed 3 kHz would be 6, over half of the rate: nothing is left of it."""
    made = resampling.change_speed(tf.constant(tone(3000)), number(2.0)).numpy()
    assert np.abs(made[200:-200]).max() < 0.01


@pytest.mark.parametrize("semitones", [-5.0, -1.0, 0.0, 0.5, 3.0])
def test_pitch_moves_the_tone_and_keeps_the_duration(semitones: float) -> None:
    made = resampling.change_pitch(tf.constant(tone(700)), number(semitones), RATE).numpy()
    assert len(made) == RATE
    assert pitch_of(made) == pytest.approx(700 * 2 ** (semitones / 12), rel=0.004)
    inner = slice(1000, -1000)
    assert np.sqrt(np.mean(made[inner] ** 2) * 2) == pytest.approx(1, abs=0.05)


def test_pitch_leaves_events_where_they_were() -> None:
    """A burst in each half second stays there: the clip is neither stretched nor late."""
    sound = np.zeros(2 * RATE, np.float32)
    for start in (2000, 9000, 14000):
        sound[start : start + 400] = tone(900, 0.05)
    made = resampling.change_pitch(tf.constant(sound), number(3.0), RATE).numpy()
    loud = np.convolve(made**2, np.ones(400), "same")
    for start in (2000, 9000, 14000):
        near = slice(start - 1500, start + 1900)
        assert abs(int(np.argmax(loud[near])) + near.start - (start + 200)) < 250


def test_no_change_of_pitch_changes_nothing() -> None:
    made = resampling.change_pitch(tf.constant(noise()), number(0.0), RATE).numpy()
    assert decibels(noise()[600:-600], (made - noise())[600:-600]) > 60


def test_transforms_have_smooth_lengths() -> None:
    found = [int(resampling.transform_size(tf.constant(least))) for least in range(1, 400)]
    for least, size in enumerate(found, 1):
        left = size
        for prime in (2, 3, 5):
            while left % prime == 0:
                left //= prime
        assert left == 1
        assert size >= least
    assert found[88] == 90
    assert all(b >= a for a, b in pairwise(found))
    assert int(resampling.transform_size(tf.constant(10_000_000))) == 10_000_000


# --- place, level, noise ---------------------------------------------------------------------------------------


@given(samples=st.integers(-30, 30))
@settings(deadline=None)
def test_shift(samples: int) -> None:
    sound = np.arange(1, 21, dtype=np.float32)
    around = sound_effects.shift(tf.constant(sound), tf.constant(samples), True).numpy()
    np.testing.assert_array_equal(around, np.roll(sound, samples))
    filled = sound_effects.shift(tf.constant(sound), tf.constant(samples), False).numpy()
    expected = np.zeros(20)
    for place in range(20):
        if 0 <= place - samples < 20:
            expected[place] = sound[place - samples]
    np.testing.assert_array_equal(filled, expected)


def test_gain_in_decibels_and_cut_off_at_full_scale() -> None:
    sound = tf.constant([0.1, -0.4, 0.9], tf.float32)
    np.testing.assert_allclose(sound_effects.gain(sound, number(6.0206)).numpy(), [0.2, -0.8, 1], rtol=1e-5)
    np.testing.assert_allclose(sound_effects.gain(sound, number(-20)).numpy(), [0.01, -0.04, 0.09], rtol=1e-5)


@pytest.mark.parametrize("ratio", [-10.0, 0.0, 17.5])
def test_what_is_added_has_the_ratio_asked_for(ratio: float) -> None:
    own, other = tone(500), 7 * noise()
    made = sound_effects.add_at(tf.constant(own), tf.constant(other), number(ratio)).numpy()
    assert decibels(own, made - own) == pytest.approx(ratio, abs=1e-3)
    assert np.corrcoef(made - own, other)[0, 1] == pytest.approx(1, abs=1e-6)


def test_beside_silence_nothing_is_added_and_silence_adds_nothing() -> None:
    silence = tf.zeros(100)
    sound = tf.constant(noise(100))
    np.testing.assert_array_equal(sound_effects.add_at(silence, sound, number(0)).numpy(), np.zeros(100))
    np.testing.assert_array_equal(sound_effects.add_at(sound, silence, number(0)).numpy(), sound.numpy())


@given(length=st.integers(1, 12), samples=st.integers(1, 30), seed=st.integers(0, 20))
@settings(deadline=None)
def test_fit_takes_a_part_or_repeats(length: int, samples: int, seed: int) -> None:
    sound = np.arange(length, dtype=np.float32)
    made = sound_effects.fit(tf.constant(sound), tf.constant(samples), tf.constant([seed, 1])).numpy()
    assert len(made) == samples
    np.testing.assert_array_equal(made, (made[0] + np.arange(samples)) % length)


def test_fit_begins_anywhere() -> None:
    for samples, firsts in ((4, set(range(7))), (25, set(range(10)))):
        found = {
            int(sound_effects.fit(tf.range(10.0), tf.constant(samples), tf.constant([s, 1]))[0])
            for s in range(80)
        }
        assert found == firsts


# --- room and filter -------------------------------------------------------------------------------------------


def test_a_room_decays_by_60_decibels_in_its_time() -> None:
    grain = np.random.default_rng(1).normal(size=2 * RATE).astype(np.float32)
    made = sound_effects.room(tf.constant(grain), number(0.8), number(9.0), RATE).numpy().astype(float)
    assert made[0] == 1
    assert 10 * np.log10(1 / np.sum(made[1:] ** 2)) == pytest.approx(9, abs=1e-3)
    blocks = 10 * np.log10(np.mean(made[1 : 1 + 15 * 1000].reshape(15, 1000) ** 2, axis=1))
    slope = np.polyfit(np.arange(15) * 1000 / RATE, blocks, 1)[0]  # dB a second
    assert slope == pytest.approx(-60 / 0.8, rel=0.02)


@given(samples=st.integers(1, 300), taps=st.integers(1, 80))
@settings(max_examples=25, deadline=None)
def test_convolve(samples: int, taps: int) -> None:
    sound, response = noise(samples), noise(taps, 1)
    expected = fftconvolve(sound.astype(float), response.astype(float))[:samples]
    made = sound_effects.convolve(tf.constant(sound), tf.constant(response)).numpy()
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_the_filters_corners_slopes_and_curve() -> None:
    hertz = np.float32([0, 25, 50, 100, 200, 400, 800, 1600, 3200])
    flat = tf.zeros(8)

    def level(low: float, high: float, curve: tf.Tensor = flat) -> Array:
        factors = sound_effects.response(tf.constant(hertz), number(low), number(high), curve, 3200.0)
        return 20 * np.log10(np.maximum(factors.numpy().astype(float), 1e-30))

    found = level(100, 1e5)
    assert found[0] < -200  # no direct current
    np.testing.assert_allclose(found[1:4], [-48.2, -24.1, -3.01], atol=0.15)  # 24 dB an octave
    np.testing.assert_allclose(found[5:], 0, atol=0.01)
    found = level(0.1, 800)
    np.testing.assert_allclose(found[-3:], [-3.01, -24.1, -48.2], atol=0.15)
    np.testing.assert_allclose(found[1:5], 0, atol=0.01)
    # Seven octaves up to 3200 Hz, eight points: one an octave.
    curve = tf.constant([1, -2, 3, 0, 5, -6, 7, 4], tf.float32)
    hertz = np.float32([10, 50, 100, 200, 400, 800 * 2**0.5, 3200])
    found = sound_effects.response(tf.constant(hertz), number(1e-4), number(1e9), curve[:7], 3200.0).numpy()
    np.testing.assert_allclose(20 * np.log10(found), [1, 1, -2, 3, 0, -0.5, 7], atol=1e-3)


def test_colour_takes_tones_out_and_delays_nothing() -> None:
    sound = tone(100) + tone(1000) + tone(3500)
    made = sound_effects.colour(tf.constant(sound), number(400), number(2000), tf.zeros(8), RATE).numpy()
    inner = slice(1000, -1000)
    assert decibels(tone(1000)[inner], (made - tone(1000))[inner]) > 15


# --- all of them -----------------------------------------------------------------------------------------------

ALL = AugmentSettings(
    **dict.fromkeys(EFFECTS, 0.7),
    background_snr=(0, 10),
    noise_snr=(5, 10),
    reverb_seconds=(0.1, 0.2),
)


def other() -> tf.Tensor:
    return tf.constant(tone(1234, 0.3))


def drawn(asked: AugmentSettings, sound: Array, count: int) -> list[Array]:
    """Sounds through Dataset.map."""
    seeds = np.stack([np.arange(count), np.full(count, 3)], axis=1).astype(np.int32)

    def make(sound: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return sound_effects.effects(sound, asked, RATE, seed, other)

    bare = tf.constant(sound.tobytes())  # a graph that does not know how long it is
    dataset = tf.data.Dataset.from_tensor_slices(seeds).map(
        lambda seed: make(tf.io.decode_raw(bare, tf.float32), seed), num_parallel_calls=2, deterministic=True
    )
    assert dataset.element_spec == tf.TensorSpec([None], tf.float32)
    found = list(dataset.as_numpy_iterator())
    for one, seed in zip(found[:3], seeds, strict=False):
        eager = make(tf.constant(sound), tf.constant(seed)).numpy()
        assert eager.shape == one.shape
        np.testing.assert_allclose(eager, one, atol=2e-4)
    return found


def test_by_default_a_sound_passes_untouched() -> None:
    sound = tf.constant(noise())
    made = sound_effects.effects(sound, AugmentSettings(), RATE, tf.constant([1, 2]))
    np.testing.assert_array_equal(made.numpy(), sound.numpy())


@pytest.mark.parametrize("name", EFFECTS)
def test_each_effect_by_its_chance_and_anew_each_time(name: str) -> None:
    sound = noise(4000)
    found = drawn(AugmentSettings(**{name: 0.5}, reverb_seconds=(0.1, 0.2)), sound, 60)
    touched = [x for x in found if len(x) != len(sound) or (x != sound).any()]
    assert 18 <= len(touched) <= 42
    # Speeds are whole 256ths, so some come twice.
    assert len({x.tobytes() for x in touched}) > 0.6 * len(touched)
    assert all(np.isfinite(x).all() for x in found)
    if name != "speed":
        assert {len(x) for x in found} == {len(sound)}


def test_background_and_noise_have_ratios_from_their_ranges() -> None:
    sound = noise(4000)
    for name, limits in (("background", (3.0, 9.0)), ("noise", (-2.0, 4.0))):
        asked = AugmentSettings(**{name: 1.0, f"{name}_snr": limits})
        ratios = [decibels(sound, x - sound) for x in drawn(asked, sound, 60)]
        assert min(ratios) >= limits[0] - 0.01
        assert max(ratios) <= limits[1] + 0.01
        assert max(ratios) - min(ratios) > 0.8 * (limits[1] - limits[0])


def test_speeds_and_gains_stay_in_their_ranges() -> None:
    lengths = [
        len(x) / 4000 for x in drawn(AugmentSettings(speed=1.0, speed_range=(0.8, 1.25)), noise(4000), 60)
    ]
    assert 0.795 <= min(lengths) < 0.85
    assert 1.2 < max(lengths) <= 1.255
    gains = [
        decibels(x, noise(4000))
        for x in drawn(AugmentSettings(gain=1.0, gain_range=(-9, -3)), noise(4000), 60)
    ]
    assert -9.01 <= min(gains) < -8.4
    assert -3.6 < max(gains) <= -2.99


def test_all_effects_together_are_reproducible_and_finite() -> None:
    first, second = drawn(ALL, noise(6000), 12), drawn(ALL, noise(6000), 12)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.isfinite(one).all()
    assert len({x.tobytes() for x in first}) == 12
    assert all(np.isfinite(x).all() for x in drawn(ALL, noise(1), 12))  # the shortest there is


def test_a_shift_with_zeros_leaves_half_of_a_short_clip() -> None:
    settings = AugmentSettings(level=1, shift=1.0, shift_seconds=5.0, shift_fill="zeros")
    heard = [np.count_nonzero(made) for made in drawn(settings, np.ones(600, np.float32), 40)]
    assert min(heard) >= 300
    assert min(heard) < 400 < 550 < max(heard)


def test_silence_stays_silent() -> None:
    for made in drawn(ALL, np.zeros(3000, np.float32), 8):
        assert np.abs(made).max() < 1e-6
