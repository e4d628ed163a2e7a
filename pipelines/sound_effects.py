"""Effects on the waveform of a training clip: deterministic cores, and one shell that draws from a seed.

Sound is float32, full scale at -1 and 1. Nothing but `gain` minds a clip that is louder than that: images are
scaled to each clip's own range.
"""

import math
from collections.abc import Callable

import tensorflow as tf

from pipelines.augment_settings import EFFECTS, AugmentSettings
from pipelines.chance import happens, log_uniform, sometimes, uniform, whole
from pipelines.resampling import change_pitch, change_speed, transform_size

_CURVE = 8  # points of the filter's curve, evenly spaced in the logarithm of frequency
_CURVE_LOW = 50.0  # Hz, the lowest of them; the highest is half of the rate


def power(sound: tf.Tensor) -> tf.Tensor:
    """(samples,) -> (): mean square. Summed in float64, so that threads which share the sum change nothing."""
    total = tf.reduce_sum(tf.square(tf.cast(sound, tf.float64)))
    return tf.cast(total / tf.cast(tf.maximum(tf.shape(sound)[0], 1), tf.float64), tf.float32)


def decibels_to_ratio(decibels: tf.Tensor) -> tf.Tensor:
    """Decibels -> the ratio of amplitudes."""
    return tf.exp(decibels * (math.log(10) / 20))  # of many, a power of 10 takes four times as long


def shift(sound: tf.Tensor, samples: tf.Tensor, around: bool) -> tf.Tensor:
    """(samples,) -> the same, later by some samples: what leaves at one end enters at the other, or zeros do."""
    if around:
        return tf.roll(sound, samples, 0)
    length = tf.shape(sound)[0]
    samples = tf.clip_by_value(samples, -length, length)
    early, late = tf.maximum(-samples, 0), tf.maximum(samples, 0)
    return tf.pad(sound, [[late, early]])[early : early + length]


def gain(sound: tf.Tensor, decibels: tf.Tensor) -> tf.Tensor:
    """(samples,) -> the same, louder, and cut off at full scale."""
    return tf.clip_by_value(sound * decibels_to_ratio(decibels), -1.0, 1.0)


def add_at(sound: tf.Tensor, other: tf.Tensor, ratio: tf.Tensor) -> tf.Tensor:
    """(samples,) twice -> (samples,): the sum, the first's power over the second's `ratio` decibels.

    Powers are means over the clip. Beside silence nothing is added, and silence adds nothing.
    """
    own, added = power(sound), power(other)
    share = tf.sqrt(own / tf.maximum(added, 1e-20)) / decibels_to_ratio(ratio)
    return sound + tf.where(added > 0, share, 0.0) * other


def fit(sound: tf.Tensor, samples: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """(any,) -> (samples,): a random part of a longer clip; a shorter one is repeated, from anywhere in it on."""
    length = tf.shape(sound)[0]
    start = whole(seed, 0, tf.where(length >= samples, length - samples, tf.maximum(length - 1, 0)))
    times = (start + samples + length - 1) // tf.maximum(length, 1)
    made = tf.tile(sound, [tf.maximum(times, 0)])[start : start + samples]
    return tf.pad(made, [[0, samples - tf.shape(made)[0]]])  # of no samples nothing can be repeated


def room(noise: tf.Tensor, seconds: tf.Tensor, ratio: tf.Tensor, rate: int) -> tf.Tensor:
    """(samples,) noise -> (samples,): a room's response, the direct sound of 1 in front.

    The noise decays by 60 dB in `seconds`, and the direct sound's energy is `ratio` dB over all of it.
    """
    time = tf.range(tf.shape(noise)[0], dtype=tf.float32) / rate
    tail = noise[1:] * 10.0 ** (-3 * time[1:] / seconds)
    energy = power(tail) * tf.cast(tf.shape(tail)[0], tf.float32)
    return tf.concat([[1.0], tail / (decibels_to_ratio(ratio) * tf.sqrt(energy))], 0)


def convolve(sound: tf.Tensor, response: tf.Tensor) -> tf.Tensor:
    """(samples,), (any,) -> (samples,): the sound through a response; what rings on after its end is cut off."""
    samples = tf.shape(sound)[0]
    size = [transform_size(samples + tf.shape(response)[0])]
    return tf.signal.irfft(tf.signal.rfft(sound, size) * tf.signal.rfft(response, size), size)[:samples]


def response(hertz: tf.Tensor, low: tf.Tensor, high: tf.Tensor, curve: tf.Tensor, top: float) -> tf.Tensor:
    """(bins,) hertz -> (bins,) factors: Butterworth slopes of 24 dB an octave at two corners, a curve between.

    `curve` is (points,) decibels, evenly spaced in the logarithm of frequency from 50 Hz to `top`.
    """
    points = curve.shape[0]
    log = tf.math.log(tf.maximum(hertz, 1e-3))
    eighth = tf.square(tf.square(tf.square(hertz / high)))  # faster than a power
    slopes = 1 / tf.sqrt((1 + eighth) * (1 + tf.exp(8 * (tf.math.log(low) - log))))
    place = (log - math.log(_CURVE_LOW)) * ((points - 1) / math.log(top / _CURVE_LOW))
    place = tf.clip_by_value(place, 0.0, points - 1.0)
    left = tf.minimum(tf.cast(place, tf.int32), points - 2)
    before, after = tf.gather(curve, left), tf.gather(curve, left + 1)
    return slopes * decibels_to_ratio(before + (place - tf.cast(left, tf.float32)) * (after - before))


def colour(sound: tf.Tensor, low: tf.Tensor, high: tf.Tensor, curve: tf.Tensor, rate: int) -> tf.Tensor:
    """(samples,) -> the same through `response`: without delay, as a spectrum that is multiplied has none."""
    samples = tf.shape(sound)[0]
    size = transform_size(samples + rate // 10)  # some zeros, for what rings over the end
    bins = tf.signal.rfft(sound, [size])
    hertz = tf.range(tf.shape(bins)[0], dtype=tf.float32) * (rate / tf.cast(size, tf.float32))
    factors = response(hertz, low, high, curve, rate / 2)
    return tf.signal.irfft(bins * tf.cast(factors, tf.complex64), [size])[:samples]


def _seeds(seed: tf.Tensor) -> list[tuple[tf.Tensor, str]]:
    """(2,) seed -> one for each effect."""
    return list(zip(tf.unstack(tf.random.split(seed, len(EFFECTS))), EFFECTS, strict=True))


def happen(settings: AugmentSettings, seed: tf.Tensor) -> tf.Tensor:
    """() bool: whether `effects` changes anything by these settings and (2,) seed."""
    drawn = [happens(getattr(settings, name), own) for own, name in _seeds(seed)]
    return tf.reduce_any(tf.stack(drawn))


def effects(
    sound: tf.Tensor,
    settings: AugmentSettings,
    rate: int,
    seed: tf.Tensor,
    other: Callable[[], tf.Tensor] | None = None,
) -> tf.Tensor:
    """(samples,) float32, (2,) seed -> (any,) float32: every effect of the settings by its chance, in order.

    Only a change of speed changes the length. `other` gives the clip that may stand behind this one; it is
    called where that is drawn.
    """

    def random_background(sound: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
        assert other is not None, "a background needs another clip"
        place, ratio = tf.unstack(tf.random.split(own, 2))
        return add_at(sound, fit(other(), tf.shape(sound)[0], place), uniform(ratio, settings.background_snr))

    def random_shift(sound: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
        around = settings.shift_fill == "around"
        furthest = tf.constant(round(settings.shift_seconds * rate))
        if not around:  # half of a short clip stays: its label is not for silence
            furthest = tf.minimum(furthest, tf.shape(sound)[0] // 2)
        return shift(sound, whole(own, -furthest, furthest), around)

    def random_room(sound: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
        grain, decay, ratio = tf.unstack(tf.random.split(own, 3))
        noise = tf.random.stateless_normal([1 + math.ceil(settings.reverb_seconds[1] * rate)], grain)
        seconds = uniform(decay, settings.reverb_seconds)
        return convolve(sound, room(noise, seconds, uniform(ratio, settings.reverb_ratio), rate))

    def random_colour(sound: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
        low, high, points = tf.unstack(tf.random.split(own, 3))
        most = settings.filter_gain
        curve = tf.random.stateless_uniform([_CURVE], points, -most, most)
        corners = log_uniform(low, settings.filter_low), log_uniform(high, settings.filter_high)
        return colour(sound, *corners, curve, rate)

    def random_noise(sound: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
        grain, ratio = tf.unstack(tf.random.split(own, 2))
        noise = tf.random.stateless_normal(tf.shape(sound), grain)
        return add_at(sound, noise, uniform(ratio, settings.noise_snr))

    changes: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
        "speed": lambda x, own: change_speed(x, log_uniform(own, settings.speed_range)),
        "pitch": lambda x, own: change_pitch(x, uniform(own, settings.pitch_range), rate),
        "shift": random_shift,
        "background": random_background,
        "reverb": random_room,
        "filter": random_colour,
        "noise": random_noise,
        "gain": lambda x, own: gain(x, uniform(own, settings.gain_range)),
    }
    for own, name in _seeds(seed):
        sound = sometimes(getattr(settings, name), own, sound, changes[name])
    return tf.ensure_shape(sound, [None])
