"""Sound files whose headers do not tell how long they are, as FLAC that went through a pipe, or tell nonsense."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fatk import audio, predict_long, shards
from fatk.serve.refusal import Refusal
from fatk.serve.sound import decode
from pipelines.sources import CURATED, Clip

RATE = 8000  # Hz
BLOCK = 65536  # frames that fatk.audio reads at once


def noise(frames: int, channels: int = 1) -> np.ndarray:
    """(frames, channels): what FLAC can hardly compress."""
    return 0.2 * np.random.default_rng(frames).standard_normal((frames, channels))


def claim(path: Path, frames: int) -> Path:
    """Have the header of a FLAC file tell `frames` samples; 0 is "not known"."""
    made = bytearray(path.read_bytes())
    assert made[:4] == b"fLaC"
    made[21:26] = (made[21] >> 4 << 36 | frames).to_bytes(5, "big")  # 36 bits at byte 21.5
    path.write_bytes(made)
    return path


def piped(path: Path, sound: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> Path:
    """Write FLAC as `flac` does where it cannot go back to the header."""
    soundfile.write(path, sound, rate, subtype, format="FLAC")
    return claim(path, 0)


def cut(path: Path, share: float = 0.5) -> Path:
    """Take the end of a file away."""
    path.write_bytes(path.read_bytes()[: round(share * path.stat().st_size)])
    return path


@pytest.mark.parametrize("frames", [5, 4096, BLOCK, 2 * BLOCK, 2 * BLOCK + 4097])
@pytest.mark.parametrize(("channels", "subtype"), [(1, "PCM_16"), (2, "PCM_16"), (1, "PCM_24")])
def test_flac_of_untold_length_is_what_it_was(
    frames: int, channels: int, subtype: str, tmp_path: Path
) -> None:
    sound = noise(frames, channels)
    told, untold = tmp_path / "told.flac", piped(tmp_path / "untold.flac", sound, subtype=subtype)
    soundfile.write(told, sound, RATE, subtype)
    assert soundfile.info(untold).frames > 1 << 62
    assert audio.length(untold) == audio.length(told) == (frames / RATE, RATE)
    assert audio.seconds(untold) == frames / RATE
    for rate in (RATE, 5512):
        np.testing.assert_array_equal(audio.read_pcm(untold, rate), audio.read_pcm(told, rate))
        found = [
            np.concatenate([part.audio for part in predict_long.segments(path, rate, 4.0)])
            for path in (untold, told)
        ]
        np.testing.assert_array_equal(*found)


def test_it_may_be_uploaded(tmp_path: Path) -> None:
    sound = noise(3 * RATE)
    with piped(tmp_path / "a.flac", sound).open("rb") as file:
        heard = decode(file, RATE, 4.0)
    assert heard.seconds == 3.0
    np.testing.assert_array_equal(heard.waveform, audio.read(piped(tmp_path / "b.flac", sound), RATE))
    with (tmp_path / "a.flac").open("rb") as file, pytest.raises(Refusal, match="longer than 2 seconds"):
        decode(file, RATE, 2.0)


def test_a_name_that_is_not_in_utf8_is_told(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    path.write_bytes(b"RIFF")
    with pytest.raises(audio.UnreadableError, match="its name is not in UTF-8; rename it"):
        audio.read_pcm(path, RATE)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), "no such file"),
    ],
)
def test_what_the_system_refuses_is_no_bad_format(
    error: OSError, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = piped(tmp_path / "x.flac", noise(100))

    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(Path, "open", refuse)  # root may read what has no permissions
    with pytest.raises(audio.UnreadableError, match=f"^{said}$"):
        audio.read_pcm(path, RATE)


def test_a_folder_is_no_bad_format(tmp_path: Path) -> None:
    with pytest.raises(audio.UnreadableError, match=r"^Is a directory$"):
        audio.length(tmp_path)


def test_it_is_prepared(tmp_path: Path) -> None:
    paths = [piped(tmp_path / f"{number}.flac", noise(RATE * number)) for number in (1, 2, 3)]
    bad = cut(piped(tmp_path / "bad.flac", noise(4 * RATE)))
    clips = [Clip(path.name, CURATED, path, ("a",)) for path in (*paths, bad)]
    planned = shards.plan(clips, RATE, tmp_path)
    share = sum(path.stat().st_size for path in (*paths, bad)) / sum(path.stat().st_size for path in paths)
    assert shards.probe(planned) == pytest.approx(6.0)
    assert share > 1.2  # so that the broken one would be seen in that
    (report,) = (shards.encode(shard, RATE, lambda: None) for shard in planned)
    assert report["frames"] == {"1.flac": RATE, "2.flac": 2 * RATE, "3.flac": 3 * RATE}
    assert list(report["left_out"]) == ["bad.flac"]


@pytest.mark.parametrize("what", ["cut", "told and cut", "holed"])
def test_damage_is_told(what: str, tmp_path: Path) -> None:
    path = piped(tmp_path / "x.flac", noise(3 * BLOCK))
    if what == "holed":
        whole = path.read_bytes()
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + bytes(3000) + whole[middle + 3000 :])
    else:
        cut(claim(path, 3 * BLOCK) if what == "told and cut" else path)
    with pytest.raises(audio.UnreadableError, match=r"^decoding failed \(.*lost sync"):
        audio.read(path, RATE)
    with pytest.raises(audio.UnreadableError, match=r"^decoding failed \(.*lost sync"):
        list(predict_long.segments(path, RATE, 4.0))
    if what == "told and cut":
        assert audio.seconds(path) == 3 * BLOCK / RATE  # as the header has it
    else:
        with pytest.raises(audio.UnreadableError, match=r"^decoding failed"):
            audio.seconds(path)


def test_nothing_of_untold_length(tmp_path: Path) -> None:
    path = piped(tmp_path / "x.flac", noise(BLOCK))
    sync = path.read_bytes().index(b"\xff\xf8", 42)  # where the first frame begins
    path.write_bytes(path.read_bytes()[:sync])
    for read in (audio.seconds, lambda path: audio.read(path, RATE)):
        with pytest.raises(audio.UnreadableError):
            read(path)


def test_a_length_that_no_memory_holds(tmp_path: Path) -> None:
    path = claim(piped(tmp_path / "x.flac", noise(1000)), (1 << 36) - 1)
    with pytest.raises(audio.UnreadableError, match=r"^decoding failed"):
        audio.read(path, RATE)
