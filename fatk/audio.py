"""Sound files to 16-bit mono at the wanted rate, and that to what shards hold."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from pipelines.settings import Encoding

# Codecs whose samples are integers; 1.0 in libsndfile's float view is then 2 ** (bits - 1).
_INTEGER = ("PCM_", "ALAC_", "ULAW", "ALAW", "IMA_", "MS_ADPCM", "GSM", "G72", "NMS_", "VOX", "DPCM", "DWVW")

_CONTAINERS = {"flac": ("FLAC", "PCM_16"), "vorbis": ("OGG", "VORBIS")}
_BLOCK = 65536  # samples; given minutes at once, libsndfile's Vorbis encoder overruns its stack
_UNTOLD = 1 << 62  # frames; where FLAC was written through a pipe libsndfile says 2**63 - 1
_CHUNKS = 1000  # of a WAV file are looked at for the one of its samples
_NOTED = 0.01  # seconds; some recorders count their header in, or a byte too many


class UnreadableError(ValueError):
    """A sound file that cannot be used; the message says why, without the file's name."""


class Sound(soundfile.SoundFile):
    """A sound file, or an open file of one, to be read; its header need not tell how long it is."""

    @property
    def told(self) -> bool:
        """Whether `frames` is the length, as far as the header can be believed."""
        return bool(self.frames < _UNTOLD)

    def seekable(self) -> bool:
        """Whether one can go to a frame."""
        # After each read soundfile seeks to where it ended, which fails at an end that the header does not tell.
        return self.told and bool(super().seekable())

    def part(self, size: int = -1, dtype: str = "float32") -> NDArray[Any]:
        """Read on -> (up to `size` frames, channels); -1: as many as the header tells. Raises `UnreadableError`."""
        try:
            return np.asarray(self.read(size, dtype=dtype, always_2d=True))
        except (
            soundfile.LibsndfileError,
            RuntimeError,
            MemoryError,
        ) as error:  # a header may tell anything
            raise UnreadableError(f"decoding failed ({error})") from None

    def parts(self, size: int = _BLOCK, dtype: str = "float32") -> Iterator[NDArray[Any]]:
        """-> (up to `size` frames, channels), to the end of the file. Raises `UnreadableError`."""
        while len(part := self.part(size, dtype)):
            yield part

    def whole(self, dtype: str = "float32") -> NDArray[Any]:
        """-> (frames, channels), which may be none. Raises `UnreadableError`."""
        if self.told:
            return self.part(dtype=dtype)
        return np.concatenate([np.zeros((0, self.channels), dtype), *self.parts(dtype=dtype)])


def open_sound(path: Path) -> Sound:
    """Open a sound file. Raises `UnreadableError`."""
    try:
        if path.stat().st_size == 0:
            raise UnreadableError("the file is empty (0 bytes)")
        path.open("rb").close()  # of what the system refuses, libsndfile tells "System error"
        sound = Sound(path)
    except FileNotFoundError:
        raise UnreadableError("no such file") from None
    except UnicodeEncodeError:
        raise UnreadableError("its name is not in UTF-8; rename it") from None
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from None
    except (soundfile.LibsndfileError, TypeError) as error:
        reason = getattr(error, "error_string", None) or str(error)
        raise UnreadableError(f"not a sound file that libsndfile reads ({reason.rstrip('. ')})") from None
    if sound.frames == 0:
        sound.close()
        raise UnreadableError("the file holds no samples")
    return sound


def length(path: Path) -> tuple[float, int]:
    """A sound file -> (seconds, Hz), as its header tells or else as decoding it does. Raises `UnreadableError`."""
    with open_sound(path) as sound:
        frames = sound.frames if sound.told else sum(map(len, sound.parts()))
        if frames == 0:
            raise UnreadableError("decoding gave no samples")
        return float(frames / sound.samplerate), int(sound.samplerate)


def seconds(path: Path) -> float:
    """Length of a sound file. Raises `UnreadableError`."""
    return length(path)[0]


def cut_short(path: Path, seconds: float) -> str:
    """A file that gives `seconds` -> "the file ends after 0.68 of 2.00 s" where its header tells more; else "".

    Of WAV, also as RF64 and W64: libsndfile takes what is there of half a copy for the whole. Ogg and MP3 tell no
    length in front, and decoding FLAC fails.
    """
    try:
        with path.open("rb") as file:
            found = _samples(file)
        there = path.stat().st_size - found[1] if found else 0
    except OSError:
        return ""
    if not found or there <= 0:
        return ""
    told = found[0]
    # Recorders that were switched off and streams leave 0, or about the most that fits: 0xffffffff, 0x7ffff000.
    if told == 0 or told > _UNTOLD or min(abs(told - 2**31), abs(told - 2**32)) < 2**16:
        return ""
    whole = seconds * told / there
    return f"the file ends after {seconds:.2f} of {whole:.2f} s" if whole - seconds >= _NOTED else ""


def _samples(file: BinaryIO) -> tuple[int, int] | None:
    """An open file -> (bytes of samples that its header tells, where they begin); None where it is no WAV file."""
    head = file.read(40)
    wide = (
        head[:4] == b"riff" and head[24:28] == b"wave"
    )  # W64: names of 16 bytes, sizes of 8 that count both
    if not wide and (head[:4] not in (b"RIFF", b"RIFX", b"RF64") or head[8:12] != b"WAVE"):
        return None
    order: Literal["big", "little"] = "big" if head[:4] == b"RIFX" else "little"
    place, lead, step = (40, 24, 8) if wide else (12, 8, 2)
    large = 0  # RF64 tells what is too large for 4 bytes in a chunk before
    for _ in range(_CHUNKS):
        file.seek(place)
        header = file.read(lead)
        size = int.from_bytes(header[16:] if wide else header[4:], order) - (lead if wide else 0)
        if len(header) < lead or size < 0:
            return None
        place += lead
        if header[:4] == b"data":
            return large if large and size == 2**32 - 1 else size, place
        if header[:4] == b"ds64":
            large = int.from_bytes(file.read(16)[8:], order)
        place += size + -size % step
    return None


def full_scale(subtype: str) -> float:
    """A codec by libsndfile's name -> the 16-bit value of 1.0 in libsndfile's float view of it."""
    return 32768.0 if subtype.startswith(_INTEGER) else 32767.0


def read_mono(path: Path) -> tuple[NDArray[np.float32], int, float]:
    """-> ((samples,) float32, Hz, the 16-bit value of 1.0 in it). Channels are averaged.

    That value is 32768 for integer codecs, and 32767 for those that decode to float (Vorbis, MP3, float WAV):
    libsndfile's own convention. It is not asked for 16 bits itself, because there it wraps values beyond full
    scale round, and reads float WAV as zeros; but of what is stored in 16 bits it need convert nothing, and
    NumPy is several times faster at the rest.
    """
    with open_sound(path) as sound:
        whole = sound.subtype == "PCM_16"
        audio = sound.whole("int16" if whole else "float32")
        rate, subtype = int(sound.samplerate), str(sound.subtype)
    if audio.shape[0] == 0:
        raise UnreadableError("decoding gave no samples")
    mono = audio[:, 0] if audio.shape[1] == 1 else audio.mean(axis=1, dtype=np.float32)
    if whole:
        return mono.astype(np.float32, copy=False), rate, 1.0
    if not (np.isfinite(mono.min()) and np.isfinite(mono.max())):  # one that is not a number is both
        raise UnreadableError("it holds values that are not numbers (NaN or infinite)")
    return mono, rate, full_scale(subtype)


def resample(audio: NDArray[Any], rate: int, wanted: int) -> NDArray[np.float32]:
    """(samples,) at `rate` Hz -> (samples,) float32 at `wanted` Hz, by soxr at high quality."""
    if rate == wanted:
        return np.asarray(audio, np.float32)
    made = soxr.resample(np.asarray(audio, np.float32), rate, wanted)
    # A clip of less than one period of the new rate would come out empty.
    return np.asarray(made if len(made) else audio[:1], np.float32)


def read_pcm(path: Path, rate: int) -> NDArray[np.int16]:
    """-> (samples,) int16 mono at `rate` Hz. Raises `UnreadableError` with the reason."""
    return read_told(path, rate)[0]


def read_told(path: Path, rate: int) -> tuple[NDArray[np.int16], int]:
    """-> `read_pcm`'s samples, and the Hz that the file tells. Raises `UnreadableError` with the reason."""
    audio, own_rate, full_scale = read_mono(path)
    audio = resample(audio, own_rate, rate)
    # In place, because fresh memory for each step costs several times the arithmetic.
    np.multiply(audio, np.float32(full_scale), out=audio)
    np.rint(audio, out=audio)
    np.clip(audio, -32768, 32767, out=audio)
    return audio.astype(np.int16), own_rate


def read(path: Path, rate: int) -> NDArray[np.float32]:
    """-> (samples,) float32 in -1..1 mono at `rate` Hz, through 16 bits as training sees it."""
    return read_pcm(path, rate).astype(np.float32) / np.float32(32768)


def compress(pcm: NDArray[np.int16], rate: int, encoding: Encoding) -> NDArray[np.int16] | bytes:
    """(samples,) int16 -> the bytes of a FLAC or Ogg Vorbis file; for pcm16, what was given."""
    if encoding == "pcm16":
        return pcm
    file = io.BytesIO()
    container, subtype = _CONTAINERS[encoding]
    with soundfile.SoundFile(file, "w", rate, 1, subtype, format=container) as sound:
        for start in range(0, len(pcm), _BLOCK):
            sound.write(pcm[start : start + _BLOCK])
    return file.getvalue()
