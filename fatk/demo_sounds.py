"""Ten classes of synthesised sounds, and what a room and a phone add to them, from numpy alone.

Everything is float64 in the time domain, without an FFT: sums of decaying sinusoids, cumulative phases,
moving averages and short FIR filters. The last bit of such a sum may differ between CPUs; rounding to 16 bits
hides it, and an FFT library's choice of algorithm would be one more thing to differ. Random numbers are plain
uniform ones: NumPy promises the bits of PCG64, but may change how normals or permutations are made of them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
LOWEST_RATE = 16_000  # Hz; no partial or band lies above half of it


@dataclass(frozen=True)
class Sound:
    """One sound in a clip, still to be made."""

    label: str
    start: float  # seconds from the clip's start
    seconds: float
    gain: float  # decibels, 0 or less


def stream(*key: int) -> np.random.Generator:
    """The random numbers that belong to a key, such as (seed, pool, index, purpose), and to no other."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """One uniform number."""
    return low + (high - low) * rng.random()


def _spread(rng: np.random.Generator, low: float, high: float, count: int) -> FloatArray:
    return low + (high - low) * rng.random(count)


def _rms(signal: FloatArray) -> float:
    return float(np.sqrt(np.mean(signal**2)))


def _cycle(rng: np.random.Generator, seconds: FloatArray, period: float) -> FloatArray:
    """Seconds since the last start of a repeating event whose first start is drawn within one period."""
    return (seconds + period * rng.random()) % period


def _smooth(signal: FloatArray, width: int) -> FloatArray:
    """`(samples,) -> (samples,)`, the centred moving average over `width` samples."""
    total: FloatArray = np.cumsum(
        np.concatenate([np.zeros(width // 2 + 1), signal, np.zeros(width - width // 2 - 1)])
    )
    return (total[width:] - total[:-width]) / width


def _band_pass(signal: FloatArray, rate: int, low: float, high: float) -> FloatArray:
    """`(samples + taps - 1,) -> (samples,)`, `low` to `high` Hz by a windowed sinc of `_taps` taps."""
    lag = np.arange(_taps(rate)) - _taps(rate) // 2
    kernel = 2 * high / rate * np.sinc(2 * high / rate * lag) - 2 * low / rate * np.sinc(2 * low / rate * lag)
    return np.convolve(signal, kernel * np.hanning(lag.size + 2)[1:-1], mode="valid")


def _taps(rate: int) -> int:
    return int(0.006 * rate) | 1  # 6 ms: edges about 0.5 kHz wide


def _noise(rng: np.random.Generator, samples: int, rate: int, low: float, high: float) -> FloatArray:
    """`(samples,)`, noise between `low` and `high` Hz, RMS 1."""
    noise: FloatArray = _band_pass(_spread(rng, -1, 1, samples + _taps(rate) - 1), rate, low, high)
    return noise / _rms(noise)


def _rings(
    samples: int, rate: int, starts: FloatArray, gains: FloatArray, hertz: FloatArray, decays: FloatArray
) -> FloatArray:
    """`(samples,)`, sinusoids from `starts` (s) on that fall to 1 / e in `decays` (s); all `(events,)`."""
    length = min(samples, int(7 * decays.max() * rate) + 1)
    seconds = np.arange(length) / rate
    rings = gains[:, None] * np.exp(-seconds / decays[:, None]) * np.sin(2 * np.pi * hertz[:, None] * seconds)
    where = (starts * rate).astype(np.int64)[:, None] + np.arange(length)
    heard: FloatArray = np.bincount(where.ravel(), rings.ravel(), samples).astype(np.float64)
    return heard[:samples]


def _partials(phase: FloatArray, weights: FloatArray) -> FloatArray:
    """`(samples,)`, harmonics 1, 2, ... of a fundamental with this phase (cycles)."""
    return sum((w * np.sin(2 * np.pi * (k + 1) * phase) for k, w in enumerate(weights)), np.zeros_like(phase))


def _chirp(rng: np.random.Generator, samples: int, rate: int) -> FloatArray:
    """Short sweeps between 1.8 and 5.5 kHz, up or down, over and over."""
    length, low = between(rng, 0.06, 0.16), between(rng, 1800, 3000)
    high = low * between(rng, 1.4, 1.8)
    first, last = (low, high) if rng.random() < 0.5 else (high, low)
    since = _cycle(rng, np.arange(samples) / rate, length * between(rng, 1.5, 2.5))
    part = np.minimum(since / length, 1.0)
    return np.sin(np.pi * part) ** 2 * np.sin(2 * np.pi * since * (first + 0.5 * (last - first) * part))


def _engine(rng: np.random.Generator, samples: int, rate: int) -> FloatArray:
    """Pulses, 25 to 60 a second and a little uneven, each ringing three resonances; a slow swing."""
    gap, seconds = 1 / between(rng, 25, 60), np.arange(samples) / rate
    starts = np.arange(int(samples / rate / gap) + 1) * gap
    starts = starts + gap * _spread(rng, 0, 0.08, starts.size)
    gains = _spread(rng, 0.7, 1, starts.size)
    resonances = ((120, 250, 0.010, 1.0), (400, 700, 0.006, 0.6), (1000, 1600, 0.004, 0.4))
    heard = np.zeros(samples)
    for low, high, decay, size in resonances:
        hertz, decays = np.full_like(starts, between(rng, low, high)), np.full_like(starts, decay)
        heard += _rings(samples, rate, starts, size * gains, hertz, decays)
    swing = np.sin(2 * np.pi * (between(rng, 0.8, 3) * seconds + rng.random()))
    return heard * (1 + between(rng, 0.1, 0.4) * swing)


def _knock(rng: np.random.Generator, samples: int, rate: int) -> FloatArray:
    """Groups of two to four low thuds."""
    gap, count = between(rng, 0.11, 0.22), 2 + int(3 * rng.random())
    groups = np.arange(0.02, samples / rate, gap * count + between(rng, 0.25, 0.6))
    starts = (groups[:, None] + gap * np.arange(count)).ravel()
    starts = starts + _spread(rng, 0, 0.015, starts.size)
    gains, low = _spread(rng, 0.6, 1, starts.size), between(rng, 90, 200)
    heard = np.zeros(samples)
    for ratio, decay, size in ((1.0, 0.035, 1.0), (2.3, 0.02, 0.6), (4.1, 0.008, 0.4)):
        hertz, decays = np.full_like(starts, low * ratio), np.full_like(starts, decay)
        heard += _rings(samples, rate, starts, size * gains, hertz, decays)
    return heard


def _noise_burst(rng: np.random.Generator, samples: int, rate: int) -> FloatArray:
    """Wide bursts of noise with hard edges and silence between."""
    noise = _noise(rng, samples, rate, between(rng, 300, 1200), between(rng, 5000, 7500))
    length = between(rng, 0.08, 0.25)
    since = _cycle(rng, np.arange(samples) / rate, length * between(rng, 1.7, 2.5))
    return noise * _smooth((since < length).astype(np.float64), int(0.004 * rate))


def _rain(rng: np.random.Generator, samples: int, rate: int) -> FloatArray:
    """Many small drops at random, 150 to 350 a second, over an even hiss."""
    count = max(1, int(between(rng, 150, 350) * samples / rate))
    starts, low = rng.random(count) * samples / rate, between(rng, 1500, 2500)
    sizes, hertz = rng.random(count) ** 3, _spread(rng, low, 3 * low, count)
    drops = _rings(samples, rate, starts, sizes, hertz, _spread(rng, 0.001, 0.003, count))
    return drops + between(rng, 0.03, 0.08) * _noise(rng, samples, rate, low, 7500)


def _siren(rng: np.random.Generator, samples: int, rate: int) -> FloatArray:
    """A wail: one rich tone that glides over 0.9 to 1.6 octaves and back in 0.4 to 1.1 s."""
    turn = between(rng, 1 / 1.1, 1 / 0.4) * np.arange(samples) / rate + rng.random()
    glide = np.sin(2 * np.pi * turn) if rng.random() < 0.5 else 4 * np.abs(turn % 1 - 0.5) - 1
    hertz = between(rng, 650, 1100) * 2 ** (between(rng, 0.45, 0.8) * glide)
    return _partials(np.cumsum(hertz) / rate, np.array([1, between(rng, 0.2, 0.6), between(rng, 0.1, 0.4)]))


def _struck_bar(rng: np.random.Generator, samples: int, rate: int) -> FloatArray:
    """Strikes of metal bars: the modes of a free bar, which are no harmonics, the high ones dying first."""
    strikes = np.arange(between(rng, 0, 0.1), samples / rate, between(rng, 0.3, 0.7))
    ratio = np.array([1, 2.756, 5.404, 8.933])  # Euler-Bernoulli, free ends
    hertz = _spread(rng, 350, 750, strikes.size)[:, None] * ratio
    decays = between(rng, 0.2, 0.4) / ratio**0.7 + np.zeros_like(hertz)
    gains = _spread(rng, 0.6, 1, strikes.size)[:, None] * _spread(rng, 0.5, 1, 4)
    return _rings(samples, rate, strikes.repeat(4), gains.ravel(), hertz.ravel(), decays.ravel())


def _tick_tock(rng: np.random.Generator, samples: int, rate: int) -> FloatArray:
    """A clock: even clicks, 4 to 9 a second, high and less high in turn."""
    gap = 1 / between(rng, 4, 9)
    starts = np.arange(gap * 0.5 * rng.random(), samples / rate, gap)
    hertz = between(rng, 2500, 4500) * np.where(np.arange(starts.size) % 2, between(rng, 0.6, 0.8), 1.0)
    decays, gains = np.full_like(starts, between(rng, 0.003, 0.006)), _spread(rng, 0.85, 1, starts.size)
    return _rings(samples, rate, starts, gains, hertz, decays) + _rings(
        samples, rate, starts, 0.5 * gains, 1.7 * hertz, 0.5 * decays
    )


def _tone(rng: np.random.Generator, samples: int, rate: int) -> FloatArray:
    """A held note, 180 to 900 Hz, with six partials and a hint of vibrato."""
    seconds, fundamental = np.arange(samples) / rate, 180 * 5 ** rng.random()
    vibrato = between(rng, 0, 0.004) * np.sin(2 * np.pi * between(rng, 4, 7) * seconds)
    weights = _spread(rng, 0.4, 1, 6) / np.arange(1, 7) ** between(rng, 0.6, 1.6)
    rise = np.minimum(seconds / between(rng, 0.02, 0.1), 1)
    return rise * _partials(np.cumsum(fundamental * (1 + vibrato)) / rate, weights)


def _wind(rng: np.random.Generator, samples: int, rate: int) -> FloatArray:
    """A low roar and a hollow whistle in gusts of their own."""
    heard, seconds = np.zeros(samples), np.arange(samples) / rate
    for low, high, size in ((20, between(rng, 200, 350), 1.0), (400, between(rng, 700, 1200), 0.5)):
        gust = np.sin(np.pi * (between(rng, 0.5, 1.5) * seconds + rng.random())) ** 2
        heard += size * (0.15 + gust) * _noise(rng, samples, rate, low, high)
    return heard


_VOICES: dict[str, Callable[[np.random.Generator, int, int], FloatArray]] = {
    "Chirp": _chirp,
    "Engine": _engine,
    "Knock": _knock,
    "Noise_burst": _noise_burst,
    "Rain": _rain,
    "Siren": _siren,
    "Struck_bar": _struck_bar,
    "Tick-tock": _tick_tock,
    "Tone": _tone,
    "Wind_(gusts)": _wind,
}
CLASSES: tuple[str, ...] = tuple(sorted(_VOICES))


def render_sound(sound: Sound, rng: np.random.Generator, rate: int) -> FloatArray:
    """`(samples,)` float64, one sound at `rate` Hz, ends faded; 0.4 s or more, so that a burst falls in it.

    Before its gain a sound's level lies half way between equal peaks, where noises would drown clicks, and
    equal energies, where clicks would drown noises.
    """
    samples = int(sound.seconds * rate)
    heard = _VOICES[sound.label](rng, samples, rate)
    edge = np.arange(samples) / (0.005 * rate)
    heard *= np.minimum(1, np.minimum(edge, edge[::-1]))
    return heard * (10 ** (sound.gain / 20) / float(np.sqrt(np.abs(heard).max() * _rms(heard))))


def room(rng: np.random.Generator, samples: int, rate: int) -> FloatArray:
    """`(samples,)` float64, a steady background with RMS 1: hiss, and mains hum with two harmonics."""
    phase = 50 * np.arange(samples) / rate + rng.random()
    hum = between(rng, 0, 0.8) * _partials(phase, np.array([1, 0.5, 0.25]))
    heard = _noise(rng, samples, rate, 50, between(rng, 3000, 7500)) + hum
    return heard / _rms(heard)


def phone(rng: np.random.Generator, signal: FloatArray, rate: int) -> FloatArray:
    """`(samples,) -> (samples,)`, as a phone films it: no bass, no treble, a tilt, an echo."""
    signal = signal - _smooth(signal, int(rate * 0.44 / between(rng, 120, 300)))
    silence = np.zeros(_taps(rate) // 2)
    signal = _band_pass(np.concatenate([silence, signal, silence]), rate, 0, between(rng, 3200, 5500))
    delay, tilt = int(between(rng, 0.01, 0.04) * rate), between(rng, -0.3, 0.7)
    echo: FloatArray = np.concatenate([np.zeros(delay), between(rng, 0.1, 0.4) * signal])[: signal.size]
    return signal + echo - tilt * np.concatenate([np.zeros(1), signal[:-1]])
