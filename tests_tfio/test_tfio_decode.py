"""tensorflow-io's decoders and resampler: to the bit where nothing is lost, in step where something is."""

import numpy as np
import pytest
import tensorflow as tf

from fatk.audio import compress
from pipelines import decode

RATE = 22050
EXTREMES = np.array([-32768, 32767, 0, 1, -1, -32768] * 50, np.int16)


def tone(hertz: float, seconds: float = 0.5, rate: int = RATE) -> np.ndarray:
    """`(samples,)` int16, half of full scale."""
    time = np.arange(round(seconds * rate)) / rate
    return np.rint(16384 * np.sin(2 * np.pi * hertz * time)).astype(np.int16)


def noise(samples: int) -> np.ndarray:
    """`(samples,)` int16 of all values."""
    return np.random.default_rng(samples).integers(-32768, 32768, samples).astype(np.int16)


def mapped(value: object, function: object) -> np.ndarray:
    """A function of one tensor within `Dataset.map`."""
    (made,) = tf.data.Dataset.from_tensors(value).map(function).as_numpy_iterator()
    return made


def test_its_operations_load_here() -> None:
    """Else all that follows would test soundfile."""
    assert decode.decoder() == decode.resampler() == "tensorflow-io"


@pytest.mark.parametrize("pcm", [EXTREMES, EXTREMES[:1], noise(70000), np.zeros(5000, np.int16)])
@pytest.mark.parametrize("rate", [8000, 44100, 192000])
@pytest.mark.usefixtures("nothing_else")
def test_flac_is_what_went_in_to_the_bit(pcm: np.ndarray, rate: int) -> None:
    """16 bits in, the same 16 bits out."""
    encoded = compress(pcm, rate, "flac")
    np.testing.assert_array_equal(mapped(encoded, lambda sound: decode.decode(sound, "flac")), pcm)


def test_vorbis_is_what_soundfile_makes_of_it() -> None:
    """The same samples but for rounding; beyond full scale both are clipped."""
    square = (np.sign(tone(440)) * 32767).astype(np.int16)
    for pcm in (tone(440), noise(30000) // 4, square):
        encoded = compress(pcm, RATE, "vorbis")
        made = mapped(encoded, lambda sound: decode.decode(sound, "vorbis"))
        other = decode._decode_by_soundfile(encoded, "vorbis")
        assert made.dtype == np.int16
        assert made.shape == pcm.shape
        assert np.abs(made.astype(int) - other).max() <= 1


@pytest.mark.parametrize(
    ("rate", "wanted"), [(44100, 22050), (22050, 44100), (44100, 16000), (48000, 44100), (16000, 44100)]
)
@pytest.mark.usefixtures("nothing_else")
def test_resampling_keeps_tones_where_they_are(rate: int, wanted: int) -> None:
    """The delay of its filter is taken out, to half a sample; the length is the nearest."""
    made = mapped(tone(440, rate=rate), lambda pcm: decode.resample(pcm, rate, wanted))
    assert made.dtype == np.int16
    assert len(made) == wanted // 2
    away = made.astype(float) - tone(440, rate=wanted)
    half = 16384 * 2 * np.pi * 440 / wanted / 2  # what half a sample moves a tone at its steepest
    assert np.abs(away[wanted // 20 : -wanted // 20]).max() < half + 100
    for samples in (1, 2, 100, 1001):
        short = mapped(tone(440, rate=rate)[:samples], lambda pcm: decode.resample(pcm, rate, wanted))
        assert abs(len(short) - samples * wanted / rate) <= 1
        assert len(short) > 0
