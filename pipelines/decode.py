"""Compressed sound, and sound at another rate, inside the graph: by tensorflow-io, else by soundfile and soxr.

The operations of tensorflow-io run in TensorFlow's own threads, but only beside the versions that they were
built for; it installs and imports beside others too. So no version is asked: two samples are decoded. All of
these packages are imported when they are needed, since most shards need none.
"""

import io
import warnings
from functools import cache, partial
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.settings import Encoding

_LOUDEST = 32767.0  # what Vorbis calls 1.0 in 16 bits, by libsndfile's convention

# The samples 100 and -100 as FLAC: its name, the description of the stream, one frame.
_TWO_SAMPLES = bytes.fromhex(
    "664c6143800000221000100000000e00000e01f400f000000002f4a6bfb4cffa148eb7fd9dc129ec"
    "a956fff864080001e4034019ff9c99f3"
)
_TAPS = 64  # of the filter by which tensorflow-io resamples, at the lower of the two rates


@cache
def _tensorflow_io() -> Any | None:
    """-> its operations, where they work; None elsewhere. Prints nothing."""
    try:
        # Beside a TensorFlow that is too new it warns at length when imported, and fails when used.
        with warnings.catch_warnings(), tf.init_scope():
            warnings.simplefilter("ignore")
            import tensorflow_io  # noqa: F401 - loads what the operations depend on
            from tensorflow_io.python.ops import core_ops

            heard = core_ops.io_audio_decode_flac(_TWO_SAMPLES, shape=_any_shape(), dtype=tf.int16)
            works = np.array_equal(heard.numpy(), [[100], [-100]])
    except Exception:  # an ImportError, or whatever its loader and TensorFlow raise
        return None
    return core_ops if works else None


def _any_shape() -> tf.Tensor:
    """What its decoders want for "as many samples and channels as there are"."""
    return tf.constant([-1, -1], tf.int64)


def decoder() -> str:
    """Which library decodes FLAC and Vorbis here."""
    return "soundfile" if _tensorflow_io() is None else "tensorflow-io"


def resampler() -> str:
    """Which library brings shards of another rate to the features'."""
    return "soxr" if _tensorflow_io() is None else "tensorflow-io"


def decode(encoded: tf.Tensor, encoding: Encoding) -> tf.Tensor:
    """() string -> (samples,) int16."""
    if encoding == "pcm16":
        return tf.io.decode_raw(encoded, tf.int16)
    operations = _tensorflow_io()
    if operations is None:
        by_soundfile = partial(_decode_by_soundfile, encoding=encoding)
        return tf.ensure_shape(tf.numpy_function(by_soundfile, [encoded], tf.int16, stateful=False), [None])
    if encoding == "flac":
        return operations.io_audio_decode_flac(encoded, shape=_any_shape(), dtype=tf.int16)[:, 0]
    audio = operations.io_audio_decode_vorbis(encoded, shape=_any_shape())[:, 0]
    return tf.cast(tf.clip_by_value(tf.round(audio * _LOUDEST), -32768, 32767), tf.int16)


def resample(pcm: tf.Tensor, rate: int, wanted: int) -> tf.Tensor:
    """(samples,) int16 at `rate` Hz -> (samples,) int16 at `wanted` Hz, at least one, none of them late."""
    if rate == wanted:
        return pcm
    operations = _tensorflow_io()
    if operations is None:
        by_soxr = partial(_resample_by_soxr, rate=rate, wanted=wanted)
        return tf.ensure_shape(tf.numpy_function(by_soxr, [pcm], tf.int16, stateful=False), [None])
    # Its filter answers late by half of its taps, which are counted in eights at the higher rate: silence is
    # put at the end, to push the last samples out, and as much is cut from the beginning.
    taps = _TAPS if rate <= wanted else -(-(_TAPS * rate // wanted) // 8) * 8
    delay = round(taps / 2 * wanted / rate)
    samples = tf.shape(pcm, tf.int64)[0]
    length = tf.maximum((2 * samples * wanted + rate) // (2 * rate), 1)
    silence = tf.zeros([taps], tf.int16)
    # Not through `tensorflow_io.audio.resample`, which maps over a batch and warns that it cannot.
    made = operations.io_audio_resample(tf.concat([pcm, silence], 0)[:, None], rate_in=rate, rate_out=wanted)
    return made[delay : delay + length, 0]


def _decode_by_soundfile(encoded: bytes | np.ndarray, encoding: Encoding) -> np.ndarray:
    """A string, outside of a graph in an array -> (samples,) int16."""
    import soundfile

    file = io.BytesIO(np.asarray(encoded, object).item())
    if encoding == "flac":
        return soundfile.read(file, dtype="int16")[0]
    # Asked for 16 bits itself, libsndfile lets what is louder than full scale wrap round.
    audio = soundfile.read(file, dtype="float32")[0]
    return np.clip(np.rint(audio * np.float32(_LOUDEST)), -32768, 32767).astype(np.int16)


def _resample_by_soxr(pcm: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """(samples,) int16 at `rate` Hz -> (samples,) int16 at `wanted` Hz."""
    import soxr

    made = soxr.resample(pcm.astype(np.float32), rate, wanted)
    # A clip of less than one period of the new rate would come out empty.
    return np.clip(np.rint(made), -32768, 32767).astype(np.int16) if len(made) else pcm[:1]
