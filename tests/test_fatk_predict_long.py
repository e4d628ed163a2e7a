"""Recordings longer than a segment, windows as a table and a picture, and what may be named on the command line."""

import csv
import io
import json
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from PIL import Image

from fatk import audio, cli, inputs, predict, predict_files, predict_long, predict_plot
from fatk.predict_long import Segment, Shape, Windows
from fatk.serving import ServedTagger
from fatk.tagger import SavedTagger
from pipelines.settings import EvaluateSettings, FeatureSettings

RATE, SEGMENT = 8000, 4.0  # Hz, seconds
CLASSES = ("Low", "Middle_of_$it", "High", "Loud")


class Bands:
    """Stands in for a network: how much sounds in each third of the bands, and in all."""

    weights: tuple = ()

    def __call__(self, images: tf.Tensor, training: bool) -> tf.Tensor:
        thirds = tf.reduce_mean(tf.reshape(images[..., 0], [-1, 3, 8 * 24]), axis=2)
        return 12 * tf.concat([thirds, tf.reduce_mean(thirds, axis=1, keepdims=True)], axis=1) - 6


def make_model(folder: Path) -> Path:
    """A run's folder with a SavedModel and thresholds."""
    (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    config = f"[features]\nrate = {RATE}\nseconds = 1.0\n[evaluate]\nsegment_seconds = {SEGMENT}\n"
    (folder / "config.toml").write_text(config)
    served = ServedTagger(
        Bands(), FeatureSettings(rate=RATE, bands=24), EvaluateSettings(crops=2, segment_seconds=SEGMENT),
        CLASSES, folder / "classes.txt",
    )  # fmt: skip
    served.save(folder / "saved_model")
    rows = [{"class": name, "threshold": 0.2} for name in CLASSES]
    (folder / "decisions.json").write_text(json.dumps({"temperature": 1.0, "classes": rows}))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def tagger(model: Path) -> SavedTagger:
    return SavedTagger(model)


def sweep(seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """(samples,): tones that move, in noise that comes and goes."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).standard_normal(len(time)) * (0.02 + 0.1 * np.sin(time / 2) ** 4)
    return 0.3 * np.sin(2 * np.pi * (300 * time + 100 * np.sin(time))) + noise


def write(path: Path, sound: np.ndarray, rate: int = RATE, **how: Any) -> Path:
    soundfile.write(path, sound, rate, **how)
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize("seconds", [0.01, 3.9, 4.0, 8.0, 21.3])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_segments_are_the_whole_in_pieces(seconds: float, subtype: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", 1.2 * sweep(seconds), subtype=subtype)
    found = list(predict_long.segments(path, RATE, SEGMENT))
    np.testing.assert_array_equal(np.concatenate([part.audio for part in found]), audio.read(path, RATE))
    assert [part.start for part in found] == [SEGMENT * number for number in range(len(found))]
    assert {len(part.audio) for part in found[:-1]} <= {round(SEGMENT * RATE)}
    assert 0 < len(found[-1].audio) <= SEGMENT * RATE


@pytest.mark.parametrize("rate", [11025, 16000, 44100])
def test_resampling_in_blocks_is_resampling_at_once(rate: int, tmp_path: Path) -> None:
    stereo = np.stack([sweep(9.7, rate), sweep(9.7, rate, seed=1)], axis=1)
    path = write(tmp_path / "x.flac", stereo, rate)
    found = np.concatenate([part.audio for part in predict_long.segments(path, RATE, SEGMENT)])
    wanted = audio.read(path, RATE)
    assert abs(len(found) - len(wanted)) <= 1
    size = min(len(found), len(wanted))
    np.testing.assert_allclose(found[:size], wanted[:size], atol=2 / 32768)


def test_each_segment_is_scored_as_if_sent_alone(model: Path, tagger: SavedTagger, tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", sweep(18.3), subtype="PCM_16")
    assert predict.main(["--model", str(model), "--windows", str(tmp_path / "w.csv"), str(path)]) == 0
    table = rows(tmp_path / "w.csv")
    assert list(table[0]) == ["file", "start_seconds", "end_seconds", *CLASSES]
    assert {row["file"] for row in table} == {str(path)}
    sound, place = audio.read(path, RATE), 0
    size = round(SEGMENT * RATE)
    for number in range(-(-len(sound) // size)):
        piece = sound[number * size : (number + 1) * size]
        starts, chances = tagger.windows(piece)
        for start, scores in zip(starts, chances, strict=True):
            row = table[place]
            assert float(row["start_seconds"]) == pytest.approx(number * SEGMENT + start, abs=1e-3)
            end = min(number * SEGMENT + start + 1, len(sound) / RATE)
            assert float(row["end_seconds"]) == pytest.approx(end, abs=1e-3)
            np.testing.assert_allclose([float(row[name]) for name in CLASSES], scores, atol=1e-6)
            place += 1
    assert place == len(table)
    # And all of it as the signature has it, which takes a recording whole.
    _, whole = tagger.windows(sound)
    np.testing.assert_allclose([[float(row[name]) for name in CLASSES] for row in table], whole, atol=2e-6)


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    peaks = []
    for seconds in (20, 200):
        path = write(tmp_path / f"{seconds}.flac", np.resize(sweep(20, 11025), seconds * 11025), 11025)
        tracemalloc.start()
        total = sum(len(part.audio) for part in predict_long.segments(path, RATE, SEGMENT))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert total == pytest.approx(seconds * RATE, abs=1)
    assert peaks[1] < 1.6 * peaks[0]  # of ten times the sound


def test_a_long_file_answers_with_its_best_windows(
    model: Path, tagger: SavedTagger, tmp_path: Path, capsys
) -> None:
    sound = 0.001 * np.random.default_rng(0).standard_normal(12 * RATE)
    sound[9 * RATE : 10 * RATE] += sweep(1)
    path = write(tmp_path / "x.wav", sound, subtype="PCM_16")
    assert predict.main(["--model", str(model), "--top", "2", str(path)]) == 0
    begins, chances = tagger.windows(path)
    best = np.argsort(-chances.max(0), kind="stable")[:2]
    told = [
        f"{CLASSES[n]} {chances[:, n].max():.3f} at 0:{begins[chances[:, n].argmax()]:04.1f}" for n in best
    ]
    assert capsys.readouterr().out == f"{path}: {', '.join(told)}\n"


def test_tags_of_short_and_long_files(model: Path, tagger: SavedTagger, tmp_path: Path, capsys) -> None:
    short = write(tmp_path / "short.wav", sweep(2), subtype="PCM_16")
    long = write(tmp_path / "long.wav", sweep(10), subtype="PCM_16")
    again = write(tmp_path / "again.wav", sweep(2), subtype="PCM_16")
    assert predict.main(["--model", str(model), "--tags", str(short), str(long), str(again)]) == 0
    lines = capsys.readouterr().out.splitlines()
    chances = tagger.predict(short)
    wanted = [f"{CLASSES[n]} {chances[n]:.3f}" for n in np.argsort(-chances) if chances[n] >= 0.2]
    assert 0 < len(wanted) < len(CLASSES)
    assert lines[0] == f"{short}: {', '.join(wanted)}"
    assert lines[2] == f"{again}: {', '.join(wanted)}"
    _, along = tagger.windows(long)
    assert lines[1].startswith(f"{long}: ")
    heard = {CLASSES[n] for n in np.flatnonzero((along >= 0.2).any(0))}
    assert {word.split()[0] for word in lines[1].removeprefix(f"{long}: ").split(", ")} == heard


@pytest.mark.parametrize(
    ("options", "names", "said"),
    [
        ([], "ab", []),
        ([], "xy", []),
        (["--tta", "3"], "ab", []),
        (["--tags"], "ab", []),
        (
            [], "axby",
            ["a score with a time is the best window's, of {x} and 1 more; one without is the mean over the file"],
        ),
        (["--tta", "3"], "x", ["--tta is not used for {x}: longer than a segment, answered window by window"]),
        (
            ["--tta", "3"], "ax",
            [
                "--tta is not used for {x}: longer than a segment, answered window by window",
                "a score with a time is the best window's, of {x}; one without is the mean over the file",
            ],
        ),
        (
            ["--tta", "3"], "yx",
            ["--tta is not used for {y} and 1 more: longer than a segment, answered window by window"],
        ),
        (["--tags"], "ax", ["thresholds were chosen on whole clips; here they judge single windows of {x}"]),
        (
            ["--tags", "--windows", "w.csv"], "ab",
            ["thresholds were chosen on whole clips; here they judge single windows of {a} and 1 more"],
        ),
        (["--windows", "w.csv"], "ab", []),
    ],
)  # fmt: skip
def test_what_is_answered_window_by_window_is_said(
    options: list[str], names: str, said: list[str], model: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = {name: write(tmp_path / f"{name}.wav", sweep(2 if name in "ab" else 6)) for name in names}
    assert predict.main(["--model", str(model), *options, *(str(paths[name]) for name in names)]) == 0
    shown = capsys.readouterr()
    assert shown.err.splitlines() == [f"fatk: {line.format(**paths)}" for line in said]
    if not {"--tags", "--windows"} & {*options}:
        timed = [" at 0:0" in line for line in shown.out.splitlines()]
        assert timed == [name in "xy" for name in names]


def test_help_tells_what_is_printed(capsys) -> None:
    with pytest.raises(SystemExit):
        predict.main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "LABEL 0.912, the mean over its crops" in told
    assert "LABEL 0.912 at 1:15.2, the best window's score" in told
    assert "--tta N crops of a file that is answered as a whole" in told


def test_spans_are_neighbouring_windows() -> None:
    starts = np.arange(6) * 0.5
    windows = Windows(starts, starts + 1, np.zeros((6, 1)))
    tagged = np.array([True, True, False, False, True, False])
    assert predict_long.spans(windows, tagged) == [(0.0, 1.5), (2.0, 3.0)]
    assert predict_long.spans(windows, np.zeros(6, bool)) == []


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0:00.0"), (75.25, "1:15.2"), (3599.96, "59:59.9"), (3725, "1:02:05.0")]
)
def test_the_clock(seconds: float, said: str) -> None:
    assert predict_long.clock(seconds) == said


def test_another_rate_is_said_once_and_apart(model: Path, tmp_path: Path, capsys) -> None:
    files = [str(write(tmp_path / f"{n}.wav", sweep(1, 16000), 16000)) for n in range(3)]
    assert predict.main(["--model", str(model), *files]) == 0
    shown = capsys.readouterr()
    assert shown.err == (
        f"fatk: {files[0]} is at 16000 Hz; what is not at the model's 8000 Hz is resampled\n"
    )
    assert [line.split(": ")[0] for line in shown.out.splitlines()] == files


def test_standard_input_is_a_sound_file(model: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    path = write(tmp_path / "x.flac", sweep(6))
    assert predict.main(["--model", str(model), str(path)]) == 0
    wanted = capsys.readouterr().out.removeprefix(str(path))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(path.read_bytes())))
    out = tmp_path / "w.csv"
    assert predict.main(["--model", str(model), "-", "--windows", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"-{wanted}".strip()
    assert {row["file"] for row in rows(out)} == {"-"}


def test_folders_and_patterns(tmp_path: Path) -> None:
    hidden = ("._b.wav", "deep/.c.wav", ".trash/d.wav", ".trash/deep/e.wav")
    for name in ("b.wav", "a.FLAC", "deep/c.ogg", "deep/notes.txt", "odd[1].wav", *hidden):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def found(*names: str) -> list[str]:
        return [str(p.relative_to(tmp_path)) for p in inputs.sound_files([str(tmp_path / n) for n in names])]

    assert found("") == ["a.FLAC", "b.wav", "deep/c.ogg", "odd[1].wav"]
    assert found("*.wav", "b.wav") == ["b.wav", "odd[1].wav"]
    assert found("odd[1].wav", "deep/*.txt") == ["odd[1].wav", "deep/notes.txt"]
    assert found("**/*.ogg") == ["deep/c.ogg"]
    assert found("**/*.wav", "*") == ["b.wav", "odd[1].wav", "a.FLAC", "deep/c.ogg"]
    # Unless one asks for them.
    assert found("._b.wav", ".trash") == ["._b.wav", ".trash/d.wav", ".trash/deep/e.wav"]
    assert found(".*.wav") == ["._b.wav"]
    assert inputs.sound_files(["-", "gone.wav"]) == [Path("-"), Path("gone.wav")]
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "._a.wav").touch()
    with pytest.raises(cli.UserError, match="empty: no sound files in it"):
        found("empty")
    with pytest.raises(cli.UserError, match=r"\*\.mp3: no file matches"):
        found("*.mp3")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["x.wav", "y.wav", "--plot", "p.png"], "--plot draws one file. Received: 2."),
        (["x.wav", "--windows", "w.csv", "--tta", "4"], "--tta is for whole clips"),
        (["--audio", "a", "--table", "t", "--out", "o", "--tags"], "are for sound files, not for a table"),
    ],
)
def test_what_does_not_go_together(given: list[str], said: str, model: Path) -> None:
    with pytest.raises(cli.UserError, match=said):
        predict.main(["--model", str(model), *given])


def test_a_model_without_settings_takes_short_files_only(model: Path, tmp_path: Path, capsys) -> None:
    alone = tmp_path / "alone"
    alone.symlink_to(model / "saved_model")
    path = write(tmp_path / "x.wav", sweep(6))
    assert predict.main(["--model", str(alone), str(path)]) == 0
    assert " at " not in capsys.readouterr().out
    with pytest.raises(cli.UserError, match="how long its windows are is not told"):
        predict.main(["--model", str(alone), str(path), "--plot", str(tmp_path / "x.png")])


def test_shape_is_that_of_the_longest_member(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "config_1.toml").write_text("[features]\nseconds = 2.5\n")
    (tmp_path / "assets" / "config_2.toml").write_text("[evaluate]\nsegment_seconds = 40\n")
    assert Shape.of(SimpleNamespace(folder=tmp_path)) == Shape(40.0, 2.5)  # type: ignore[arg-type]


def test_the_spectrogram_shows_a_tone_where_it_is() -> None:
    drawn = predict_plot.Spectrogram(RATE, 12.0)
    time = np.arange(4 * RATE) / RATE
    for number, hertz in enumerate((300, 1000, 3000)):
        drawn.add(Segment(4.0 * number, (0.3 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)))
    level = drawn.decibels()
    assert level.max() == 0
    from pipelines.filterbank import band_edges

    centres = band_edges(96, 20.0, RATE / 2)[1:-1]
    for number, hertz in enumerate((300, 1000, 3000)):
        column = level[:, round((number + 0.5) / 3 * level.shape[1])]
        assert centres[column.argmax()] == pytest.approx(hertz, rel=0.06)


def test_columns_keep_the_largest_window() -> None:
    windows = Windows(np.array([0.0, 1.0, 2.0]), np.array([2.0, 3.0, 4.0]), np.array([[0.1], [0.9], [0.2]]))
    found = predict_plot.columns_of(windows, 4.0)[0]
    assert found.shape == (12,)
    np.testing.assert_array_equal(found, [0.1] * 3 + [0.9] * 6 + [0.2] * 3)


def test_the_picture(model: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", sweep(9))
    out = tmp_path / "deep" / "x.png"
    predict_files.answer(SavedTagger(model), model, [path], predict_files.Asked(plot=str(out)))
    with Image.open(out) as drawn:
        assert drawn.size[0] > 1000
        assert len(drawn.convert("RGB").getcolors(1 << 24)) > 100
