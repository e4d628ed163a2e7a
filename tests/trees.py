"""Published layouts, made small with their true folder, file and column names.

The columns of FSD50K and FSDnoisy18k are those that the loaders of `soundata` 1.0 read in the published files.
"""

import csv
import random
import struct
import wave
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from pathlib import Path

import soundfile

from pipelines.published import FLAGGED

Write = Callable[[Path], None]  # makes the sound file of that name


def wav(path: Path, seed: int = 0) -> None:
    """A hundredth of a second of noise; the same seed gives the same bytes."""
    noise = random.Random(f"{path.name} {seed}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 44100, 0, "NONE", "not compressed"))
        file.writeframes(b"".join(struct.pack("<h", noise.randint(-9999, 9999)) for _ in range(441)))


def pieces(files: Sequence[Path]) -> Write:
    """Writes the next file's beginning under a name, each time a sample less: none is a copy of another."""
    order = ((path, turn) for turn in count() for path in files)

    def write(path: Path) -> None:
        file, turn = next(order)
        sound, rate = soundfile.read(file, dtype="int16")
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sound[: int(1.2 * rate) - turn], rate)

    return write


def table(path: Path, *rows: Iterable[object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines, lineterminator="\n").writerows(rows)
    return path


def more(rows: Iterable[tuple], times: int) -> list[tuple]:
    """Rows, and again under other names and with other numbers of their sources."""

    def again(cell: object, number: int) -> object:
        return cell + 1000 * number if isinstance(cell, int) and cell > 100 else cell

    rows = tuple(rows)
    return [
        ((f"{n}{row[0]}" if n else row[0]), *(again(cell, n) for cell in row[1:]))
        for n in range(times)
        for row in rows
    ]


CLASSES = ("Bark", "Bathtub_(filling_or_washing)", "Hi-hat")


def kaggle(root: Path, times: int = 1, write: Write = wav) -> Path:
    flagged = (FLAGGED["fat2019"][0], "Hi-hat")
    curated = [*more([("00000001.wav", "Bark"), ("00000002.wav", "Bark,Hi-hat")], times), flagged]
    noisy = more([("00000011.wav", "Bathtub_(filling_or_washing)"), ("00000012.wav", "Hi-hat")], times)
    test = more([("00000021.wav", *"000"), ("00000022.wav", *"000")], times)
    table(root / "train_curated.csv", ("fname", "labels"), *curated)
    table(root / "train_noisy.csv", ("fname", "labels"), *noisy)
    table(root / "sample_submission.csv", ("fname", *CLASSES), *test)
    for folder, rows in (("train_curated", curated), ("train_noisy", noisy), ("test", test)):
        for name, *_ in rows:
            write(root / folder / name)
    return root


def zenodo(root: Path, times: int = 1, write: Write = wav) -> Path:
    meta = root / "FSDKaggle2019.meta"
    flickr = "https://www.flickr.com/photos/1/"
    rows = {
        "train_curated": (
            ("fname", "labels", "freesound_id", "license"),
            ("00000001.wav", "Bark", 101, "Creative Commons 0"),
            ("00000002.wav", "Hi-hat,Bark", 102, "Attribution"),
        ),
        "train_noisy": (
            ("fname", "labels", "flickr_video_URL", "license"),
            ("00000011.wav", "Bathtub_(filling_or_washing)", flickr, "CC BY 2.0"),
        ),
        "test": (
            ("fname", "labels", "usage", "freesound_id", "license"),
            ("00000021.wav", "Hi-hat", "Public", 201, "Creative Commons 0"),
            ("00000022.wav", "Bark,Hi-hat", "Private", 202, "Attribution"),
        ),
    }
    for part, (header, *lines) in rows.items():
        lines = more(lines, times)
        table(meta / f"{part}_post_competition.csv", header, *lines)
        for name, *_ in lines:
            write(root / f"FSDKaggle2019.audio_{part}" / str(name))
    table(meta / "vocabulary.csv", *enumerate(CLASSES))
    return root


def fsd50k(root: Path, times: int = 1, write: Write = wav) -> Path:
    truth = root / "FSD50K.ground_truth"
    dev = (("64760", "Bark,Dog", "/m/05tny_,/m/0bt9lr", "train"), ("16399", "Hi-hat", "/m/03qtq", "val"))
    dev, held = more(dev, times), more((("37199", "Dog", "/m/0bt9lr"),), times)
    table(truth / "dev.csv", ("fname", "labels", "mids", "split"), *dev)
    table(truth / "eval.csv", ("fname", "labels", "mids"), *held)
    words = ((0, "Bark", "/m/05tny_"), (1, "Dog", "/m/0bt9lr"), (2, "Hi-hat", "/m/03qtq"))
    table(truth / "vocabulary.csv", *words)
    for part, rows in (("dev", dev), ("eval", held)):
        for name, *_ in rows:
            write(root / f"FSD50K.{part}_audio" / f"{name}.wav")
    return root


def esc50(root: Path, times: int = 1, write: Write = wav) -> Path:
    rows = (
        ("1-100032-A-0.wav", 1, 0, "dog", True, 100032, "A"),
        ("1-100038-A-14.wav", 1, 14, "chirping_birds", False, 100038, "A"),
        ("2-100648-A-1.wav", 2, 1, "rooster", True, 100648, "A"),
    )
    header = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
    made = [  # the name starts with the fold, so that another clip of the fold is another take
        (f"{row[0][:9]}{'ABCDEFGH'[n]}{row[0][10:]}", *row[1:6], "ABCDEFGH"[n])
        for n in range(times)
        for row in rows
    ]
    table(root / "meta" / "esc50.csv", header, *made)
    for name, *_ in made:
        write(root / "audio" / str(name))
    return root


def fsdnoisy18k(root: Path, times: int = 1, write: Write = wav) -> Path:
    train = (
        ("1001.wav", "Fart", "/m/02_nn", 1, 0),
        ("1002.wav", "Rain", "/m/06mb1", 0, 1),
        ("1003.wav", "Rain", "/m/06mb1", 0, 0),
    )
    test = (("2001.wav", "Fart", "/m/02_nn"),)
    meta = root / "FSDnoisy18k.meta"
    train, test = more(train, times), more(test, times)
    table(meta / "train.csv", ("fname", "label", "aso_id", "manually_verified", "noisy_small"), *train)
    table(meta / "test.csv", ("fname", "label", "aso_id"), *test)
    for part, rows in (("train", train), ("test", test)):
        for name, *_ in rows:
            write(root / f"FSDnoisy18k.audio_{part}" / str(name))
    return root
