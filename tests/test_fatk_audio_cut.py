"""WAV files that end before their header says so, as half a copy does: told, and taken as they are."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from fatk import audio, evaluate, predict
from tests.test_fatk_audio import cut, piped
from tests.test_fatk_predict_long import CLASSES, RATE, make_model, sweep


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("run"))


def write(path: Path, seconds: float = 2.0, **how: str) -> Path:
    soundfile.write(path, sweep(seconds), RATE, **how)
    return path


def claim(path: Path, size: int) -> Path:
    """Have the chunk of samples tell this size."""
    made = bytearray(path.read_bytes())
    place = made.index(b"data") + 4
    made[place : place + 4] = struct.pack("<I", size)
    path.write_bytes(made)
    return path


def said(path: Path) -> str:
    return audio.cut_short(path, audio.seconds(path))


KINDS = [
    ("WAV", "PCM_16", "LITTLE"),
    ("WAV", "PCM_16", "BIG"),
    ("WAV", "PCM_24", "FILE"),
    ("WAV", "FLOAT", "FILE"),
    ("WAV", "ULAW", "FILE"),
    ("WAVEX", "PCM_16", "FILE"),
    ("RF64", "PCM_16", "FILE"),
    ("W64", "PCM_16", "FILE"),
]


@pytest.mark.parametrize(("container", "subtype", "endian"), KINDS)
def test_half_a_copy_is_told(container: str, subtype: str, endian: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", format=container, subtype=subtype, endian=endian)
    assert said(path) == ""
    found = said(cut(path, 0.34))
    seconds = audio.seconds(path)
    assert 0.66 < seconds < 0.69
    assert found == f"the file ends after {seconds:.2f} of 2.00 s"
    assert len(audio.read(path, RATE)) == round(seconds * RATE)  # which is taken


def test_chunks_between_are_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", subtype="PCM_16")
    made = path.read_bytes()
    place = made.index(b"data")
    path.write_bytes(made[:place] + b"note" + struct.pack("<I", 5) + b"data!\0" + made[place:])
    assert said(path) == ""
    assert said(cut(path, 0.5)).endswith(" of 2.00 s")


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0xFFFFFFFF - 36, 0x7FFFFFFF, 0x7FFFF000, 0x80000000])
@pytest.mark.parametrize("container", ["WAV", "RF64"])
def test_a_size_that_nobody_wrote_is_no_cut(container: str, size: int, tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", subtype="PCM_16", format=container)
    if container == "RF64":  # whose own size then counts
        made = bytearray(path.read_bytes())
        place = made.index(b"ds64") + 16
        made[place : place + 8] = bytes(8)
        path.write_bytes(made)
    assert audio.cut_short(claim(path, size), 2.0) == ""


@pytest.mark.parametrize("more", [1, 44])
def test_a_recorder_that_counts_its_header_is_no_cut(more: int, tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", subtype="PCM_16")
    assert said(claim(path, round(2 * RATE) * 2 + more)) == ""


@pytest.mark.parametrize(
    "begin", [b"", b"RIFF", b"RIFF....WAVE", b"RIFF....WAVEdata", b"riff" + bytes(20) + b"wave"]
)
def test_what_is_no_wav_file_is_none(begin: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(begin + bytes(1 << 16))
    assert audio.cut_short(path, 1.0) == ""
    path.write_bytes(begin)
    assert audio.cut_short(path, 1.0) == ""
    assert audio.cut_short(tmp_path / "gone.wav", 1.0) == ""
    assert audio.cut_short(piped(tmp_path / "x.flac", sweep(2.0)[:, None]), 2.0) == ""


def note(path: Path) -> str:
    return f"{path}: the file ends after {audio.seconds(path):.2f} of 2.00 s"


def test_predict_says_it_once_a_file(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    files = [write(tmp_path / f"{name}.wav") for name in "abc"]
    for path in files[:2]:
        cut(path, 0.3)
    assert predict.main(["--model", str(model), *map(str, files)]) == 0
    shown = capsys.readouterr()
    assert shown.err.splitlines() == [f"fatk: {note(path)}" for path in files[:2]]
    assert [line.split(": ")[0] for line in shown.out.splitlines()] == [str(path) for path in files]


@pytest.mark.parametrize("main", [predict.main, evaluate.main])
def test_a_table_says_it_with_the_line(
    main: Callable[[list[str]], int], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    whole, part = write(tmp_path / "a.wav"), cut(write(tmp_path / "b.wav"), 0.3)
    table = tmp_path / "t.csv"
    table.write_text(f"fname,labels\n{whole.name},{CLASSES[0]}\n{part.name},{CLASSES[1]}\n")
    given = ["--audio", tmp_path, "--table", table, "--out", tmp_path / "o.csv"]
    assert main(["--model", str(model), *map(str, given)]) == 0
    assert capsys.readouterr().err == f"fatk: {table}, line 3: {note(part)}\n"
