"""An upload -> the waveform that the model hears, within limits whatever the file claims to be."""

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from fatk import audio
from fatk.serve.refusal import Refusal

_RATES = (1000, 192000)  # Hz
_CHANNELS = 32
_BLOCK = 1 << 18  # values (samples x channels) decoded at a time


@dataclass(frozen=True)
class Sound:
    """A decoded upload."""

    waveform: NDArray[np.float32]  # (samples,) in -1..1 at the model's rate, mono
    seconds: float  # length at the file's own rate
    rate: int  # Hz, the file's own
    channels: int  # the file's own
    format: str  # as libsndfile names it, such as "FLAC"


def _too_long(limit: float) -> Refusal:
    return Refusal(413, f"the sound is longer than {limit:g} seconds, the limit of this service.")


def _open(file: BinaryIO) -> audio.Sound:
    try:
        return audio.Sound(file)
    except (soundfile.LibsndfileError, OSError, TypeError, RuntimeError) as error:
        reason = str(getattr(error, "error_string", None) or error).rstrip(". ")
        raise Refusal(415, f"not a sound file that libsndfile reads ({reason}).") from None


def _blocks(sound: audio.Sound, limit: float) -> list[NDArray[np.float32]]:
    """Mono blocks up to the end of the file; refused as soon as they are more than `limit` seconds.

    A header may claim anything, and a few bytes of FLAC may hold hours: what has come out is counted.
    """
    most = int(limit * sound.samplerate)
    if sound.told and sound.frames > most:
        raise _too_long(limit)
    blocks: list[NDArray[np.float32]] = []
    taken = 0
    while True:
        try:
            block = sound.read(max(1, _BLOCK // sound.channels), dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
            raise Refusal(415, f"decoding failed ({str(error).rstrip('. ')}).") from None
        if not len(block):
            return blocks
        taken += len(block)
        if taken > most:
            raise _too_long(limit)
        blocks.append(block[:, 0].copy() if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32))


def decode(file: BinaryIO, rate: int, limit: float) -> Sound:
    """A sound file of at most `limit` seconds -> its waveform at `rate` Hz, as `fatk.audio.read` gives it.

    Raises `Refusal`.
    """
    if not file.read(1):
        raise Refusal(400, "the body is empty: send the bytes of a sound file.")
    file.seek(0)
    with _open(file) as sound:
        own, channels, kind = int(sound.samplerate), int(sound.channels), str(sound.format)
        if not _RATES[0] <= own <= _RATES[1]:
            raise Refusal(
                415, f"the sampling rate must be from {_RATES[0]} to {_RATES[1]} Hz. Received: {own}."
            )
        if channels > _CHANNELS:
            raise Refusal(415, f"at most {_CHANNELS} channels are read. Received: {channels}.")
        full_scale = audio.full_scale(str(sound.subtype))
        blocks = _blocks(sound, limit)
    if not blocks:
        raise Refusal(415, "the file holds no samples.")
    mono = np.concatenate(blocks)
    if not np.isfinite(mono).all():
        raise Refusal(415, "the sound holds values that are not numbers (NaN or infinite).")
    # Through 16 bits, as training hears it.
    pcm = np.clip(np.rint(audio.resample(mono, own, rate) * full_scale), -32768, 32767)
    return Sound((pcm / 32768).astype(np.float32), len(mono) / own, own, channels, kind)


def envelope(waveform: NDArray[np.float32], columns: int = 1200) -> tuple[list[float], list[float]]:
    """(samples,) -> lowest and highest value in each of at most `columns` equal stretches, for a drawing."""
    edges = np.linspace(0, len(waveform), min(columns, len(waveform)), endpoint=False).astype(np.int64)
    low, high = (ufunc.reduceat(waveform, edges) for ufunc in (np.minimum, np.maximum))
    return low.round(3).tolist(), high.round(3).tolist()
