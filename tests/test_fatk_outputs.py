"""What may be named to be written: recordings and tables stay, and it is said before any work."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from fatk import (
    audit,
    cli,
    evaluate,
    features,
    outputs,
    predict,
    predict_long,
    predict_plot,
    scoring,
    teachers,
)
from fatk.predict_long import Segment, Windows
from pipelines.sources import CURATED, Clip, Source

RATE = 8000  # Hz
LABELS = "fname,labels\nkept.wav,a\nother.wav,b\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of recordings, with their labels and a config."""
    monkeypatch.chdir(tmp_path)
    for name in ("kept.wav", "other.wav"):
        soundfile.write(name, np.full(RATE, 0.1), RATE)
    (tmp_path / "labels.csv").write_text(LABELS)
    (tmp_path / "c.toml").write_text('name = "c"\n[data]\nkind = "csv"\npath = "."\ntable = "labels.csv"\n')
    (tmp_path / "notes.txt").write_text("of the 3rd of May\n")
    return tmp_path


TABLE = ("--model", "none", "--audio", ".", "--table", "labels.csv", "--out")
IMAGE = ("--config", "c.toml", "--audio", "kept.wav")
READ = "is read by this command; choose another file for"
NAMED = "has the name of a sound file; choose another file for"


@pytest.mark.parametrize(
    ("main", "arguments", "said"),
    [
        # What a shell makes of `--windows *.wav`.
        (predict.main, ("--model", "none", "--windows", "kept.wav", "other.wav"), f"kept.wav: {NAMED} --windows."),
        (predict.main, ("--model", "none", "--windows", "new.FLAC", "other.wav"), f"new.FLAC: {NAMED} --windows."),
        (predict.main, ("--model", "none", "--windows", "kept.wav", "kept.wav"), f"kept.wav: {READ} --windows."),
        (predict.main, ("--model", "none", "--plot", "kept.wav", "kept.wav"), f"kept.wav: {READ} --plot."),
        (predict.main, ("--model", "none", "--plot", "kept.wav", "."), "--plot draws one file. Received: 2."),
        (predict.main, (*TABLE, "labels.csv"), f"labels.csv: {READ} --out."),
        (predict.main, (*TABLE, "hard.csv"), f"hard.csv: {READ} --out."),
        (predict.main, (*TABLE, "soft.csv"), f"soft.csv: {READ} --out."),
        (predict.main, (*TABLE, "kept.wav"), f"kept.wav: {READ} --out."),
        (evaluate.main, (*TABLE, "./labels.csv"), f"labels.csv: {READ} --out."),
        (evaluate.main, (*TABLE, "kept.wav"), f"kept.wav: {READ} --out."),
        (evaluate.main, (*TABLE, "new.wav"), f"new.wav: {NAMED} --out."),
        (features.main, (*IMAGE, "--out", "kept.wav"), f"kept.wav: {READ} --out."),
        (features.main, (*IMAGE, "--out", "other.wav"), f"other.wav: {NAMED} --out."),
        (features.main, (*IMAGE, "--png", "c.toml"), f"c.toml: {READ} --png."),
        (audit.main, ("--config", "c.toml", "--out", "labels.csv"), f"labels.csv: {READ} --out."),
        # Of another kind.
        (
            predict.main, ("--model", "none", "--windows", "labels.csv", "kept.wav"),
            "labels.csv: is there, and is not a table that begins with file,start_seconds,end_seconds; "
            "choose another file for --windows.",
        ),
        (
            predict.main, ("--model", "none", "--plot", "notes.png", "kept.wav"),
            "notes.png: is there, and is not a picture; choose another file for --plot.",
        ),
        (
            predict.main, (*TABLE, "more.csv"),
            "more.csv: is there, and is not a table that begins with fname; choose another file for --out.",
        ),
        (
            evaluate.main, (*TABLE, "more.csv"),
            "more.csv: is there, and is not a table that begins with class,lwlrap,weight; "
            "choose another file for --out.",
        ),
        (
            features.main, (*IMAGE, "--out", "notes.txt"),
            "notes.txt: is there, and is not an array of NumPy; choose another file for --out.",
        ),
        (
            audit.main, ("--config", "c.toml", "--out", "more.csv"),
            "more.csv: is there, and is not a table that begins with fname,score,suggested_labels; "
            "choose another file for --out.",
        ),
        # What the name promises is what is written.
        (
            predict.main, ("--model", "none", "--plot", "w.jpg", "kept.wav"),
            "w.jpg: --plot writes a picture, whose name must end in .png, .pdf or .svg.",
        ),
        (
            features.main, (*IMAGE, "--png", "w.svg"),
            "w.svg: --png writes a picture, whose name must end in .png.",
        ),
        # No place to write to.
        (predict.main, (*TABLE, "folder"), "folder: is no plain file; choose another file for --out."),
        (
            evaluate.main, (*TABLE, "notes.txt/deep/x.csv"),
            "notes.txt/deep/x.csv: {here}/notes.txt is no folder; choose another file for --out.",
        ),
        (
            predict.main, ("--model", "none", "--windows", "x.png", "--plot", "./x.png", "kept.wav"),
            "x.png: is given to --windows and to --plot; choose another file for one.",
        ),
    ],
)  # fmt: skip
def test_it_is_refused_before_a_model_is_loaded(
    main: Callable[[Sequence[str]], int], arguments: tuple[str, ...], said: str, here: Path
) -> None:
    os.link("labels.csv", "hard.csv")
    os.symlink("labels.csv", "soft.csv")
    (here / "more.csv").write_text("fname,manually_verified,labels\nkept.wav,1,a\n")
    (here / "notes.png").write_text("no picture")
    (here / "folder").mkdir()
    before = {path: path.read_bytes() for path in here.iterdir() if path.is_file()}
    with pytest.raises(cli.UserError) as told:  # of a model that is not there nothing is said
        main(list(arguments))
    assert str(told.value) == said.format(here=here)
    assert {path: path.read_bytes() for path in here.iterdir() if path.is_file()} == before


def test_a_folder_that_is_not_ours_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, how: False)
    with pytest.raises(cli.UserError, match=r"deep/x\.csv: no permission to write there; .* for --windows\."):
        predict.main(["--model", "none", "--windows", "deep/x.csv", "kept.wav"])


def written(name: str, kind: outputs.Kind, *reads: str) -> None:
    """It is there, and may be written again."""
    assert Path(name).stat().st_size > 0
    outputs.check([("--out", name, kind)], reads)


def test_what_was_written_may_be_written_again() -> None:
    chances = np.full((1, 2), 0.5)
    scoring.write_predictions(Path("p.csv"), ["kept.wav"], ["Bärk, loud", "b"], chances)
    written("p.csv", outputs.PREDICTIONS, "kept.wav", "labels.csv", "gone.wav", "")
    scoring.write_per_class(Path("c.csv"), [("a", 0.5, 1.0)])
    written("c.csv", outputs.PER_CLASS)
    with predict_long.WindowTable(Path("w.csv"), ["a", "b"]) as table:
        table.write("kept.wav", Windows(np.zeros(1), np.ones(1), chances))
    written("w.csv", outputs.WINDOWS)
    clips = [Clip("kept.wav", CURATED, Path("kept.wav"), ("a",))]
    teachers.write_table(Path("s.csv"), Source(("a", "b"), tuple(clips)), clips, np.ones(1), chances > 1)
    written("s.csv", outputs.SUSPICIONS)
    arguments = ["--config", "c.toml", "--audio", "kept.wav", "--out", "i.npy", "--png", "i.png"]
    assert features.main(arguments) == features.main(arguments) == 0
    Path("empty.csv").touch()  # as mktemp leaves it
    outputs.check([("--out", "empty.csv", outputs.PER_CLASS), ("--png", None, outputs.PNG)])


@pytest.mark.parametrize(
    ("suffix", "begin"), [(".png", b"\x89PNG"), (".PNG", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")]
)
def test_a_picture_is_what_its_name_says(suffix: str, begin: bytes, here: Path) -> None:
    path = here / f"x{suffix}"
    spectrogram = predict_plot.Spectrogram(RATE, 1.0)
    spectrogram.add(Segment(0.0, np.full(RATE, 0.1, np.float32)))
    windows = Windows(np.zeros(1), np.ones(1), np.full((1, 2), 0.5))
    predict_plot.draw(spectrogram, windows, ("a", "b"), "kept.wav", path)
    assert path.read_bytes().startswith(begin)
    written(str(path), outputs.PICTURE)
    if begin == b"\x89PNG":
        with Image.open(path) as drawn:
            assert drawn.size[0] > 1000
