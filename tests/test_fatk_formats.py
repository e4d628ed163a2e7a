"""LiteRT and ONNX: a run of a small network, converted once, asked in its own runtimes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from fatk import cli, folders, formats, formats_build, formats_ops, formats_run, held, scoring
from fatk.ensemble_runs import read_members
from fatk.export import Plan, expected
from models.ranking import lwlrap
from tests.ensemble_runs import CLASSES, RATE, convolved, write_run

# Everything that is hard to convert: phase products, a duration of its own, ranks of a sorted background.
SETTINGS = f"""
[features]
rate = {RATE}
bands = 24
format = "APX"
seconds = 2.5
[domain]
background = "stationary"
[evaluate]
crops = 2
"""


def clip(number: int) -> np.ndarray:
    """(samples,) float32: noise that comes and goes, of another length each."""
    draw = np.random.default_rng(number)
    time = np.arange(RATE // 3 + 5003 * number) / RATE
    sound = 0.2 * draw.standard_normal(len(time)) * np.sin(3 * time) ** 2 + 0.1 * np.sin(900 * number * time)
    return np.round(sound * 32768).clip(-32768, 32767).astype(np.float32) / 32768


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> folders.Run:
    """With six validation clips, whose scores are those of its network."""
    place = tmp_path_factory.mktemp("formats")
    made = folders.Run(write_run(place / "small", convolved("attention"), SETTINGS))
    names = [f"{number}.wav" for number in range(6)]
    labels = [CLASSES[number % 4] for number in range(6)]
    (place / "clips").mkdir()
    for number, name in enumerate(names):
        soundfile.write(place / "clips" / name, clip(number), RATE, "PCM_16")
    folders.write_rows(place / "t.csv", ("fname", "labels"), list(zip(names, labels, strict=True)))
    data = f'kind = "csv"\npath = "{place / "clips"}"\ntable = "{place / "t.csv"}"'
    made.config.write_text(made.config.read_text().replace('kind = "demo"', data))
    rows = [(name, "curated", "valid", label) for name, label in zip(names, labels, strict=True)]
    folders.write_rows(made.splits, ("fname", "pool", "split", "labels"), rows)
    said = expected(Plan(read_members([made.folder])), [clip(number) for number in range(6)])
    scoring.write_predictions(made.predictions, names, CLASSES, said)
    return made


@pytest.fixture(scope="module")
def told(run: folders.Run) -> dict[str, Any]:
    """`python -m fatk.formats` in full -> formats.json."""
    given = ["--model", str(run.folder), "--to", "litert", "onnx", "--quantise", "float16", "int8"]
    assert formats.main(given) == 0
    return json.loads((run.folder / "formats" / "formats.json").read_text())


def test_the_folder_says_what_is_in_it(run: folders.Run, told: dict[str, Any]) -> None:
    rows = {row["file"]: row for row in told["files"]}
    found = {path.name for path in (run.folder / "formats").iterdir()}
    assert found == set(rows) | {"formats.json"}
    assert set(rows) == {
        "model.tflite", "model.onnx", "image_float16.tflite", "image_int8.tflite", "features.tflite"
    }  # fmt: skip
    assert told["classes"] == list(CLASSES)
    assert told["sampling_rate"] == RATE
    assert told["compared_on"] == "validation clips"
    assert told["clips"] == 6
    for name in ("model.tflite", "model.onnx"):
        assert rows[name]["input"] == "audio"  # plain operations are enough, for sound too
        assert 0 <= rows[name]["largest_difference"] < formats.TOLERANCE
        assert rows[name]["bytes"] == (run.folder / "formats" / name).stat().st_size
    assert rows["model.onnx"]["runtime"].startswith("onnxruntime ")
    assert rows["model.tflite"]["runtime"].startswith("ai-edge-litert ")
    assert not list(run.folder.glob("formats-*"))


@pytest.mark.parametrize(("name", "runtime"), [("model.tflite", "litert"), ("model.onnx", "onnx")])
def test_new_clips_get_the_keras_models_answers(
    name: str, runtime: str, run: folders.Run, told: dict[str, Any]
) -> None:
    clips = [clip(9), clip(2)[:50], np.zeros(3000, np.float32), clip(30)]
    wanted = expected(Plan(read_members([run.folder])), clips)
    ask, _ = formats_run.RUNTIMES[runtime](run.folder / "formats" / name)
    found = np.stack([ask(sound) for sound in clips])
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert np.ptp(wanted, axis=0).max() > 0.05  # clips that a wrong answer would show with


def test_crops_around_a_clip_are_converted_too(tmp_path: Path) -> None:
    settings = SETTINGS.replace("crops = 2", "crops = 3\naround = true")
    folder = write_run(tmp_path / "around", convolved("attention"), settings)
    plain = write_run(tmp_path / "plain", convolved("attention"), SETTINGS.replace("crops = 2", "crops = 3"))
    assert formats.main(["--model", str(folder), "--to", "litert", "onnx"]) == 0
    image = json.loads((folder / "formats" / "formats.json").read_text())["image"]
    assert (image["crops"], image["around"]) == (3, True)
    clips = [clip(9), clip(2)[:50], clip(30)]
    wanted = expected(Plan(read_members([folder])), clips)
    for name, runtime in (("model.tflite", "litert"), ("model.onnx", "onnx")):
        ask, _ = formats_run.RUNTIMES[runtime](folder / "formats" / name)
        np.testing.assert_allclose(np.stack([ask(sound) for sound in clips]), wanted, atol=1e-4)
    assert np.abs(wanted - expected(Plan(read_members([plain])), clips)).max() > 1e-3


def test_smaller_weights_are_judged_on_the_validation_clips(run: folders.Run, told: dict[str, Any]) -> None:
    rows = {row["weights"]: row for row in told["files"] if row["input"] == "image"}
    kept = held.read(run)
    before = lwlrap(kept.truth, kept.chances)
    for row in rows.values():
        assert row["valid_clips"] == 6
        assert row["lwlrap_float32"] == pytest.approx(before)
        assert row["lwlrap_loss"] == pytest.approx(before - row["lwlrap"])
    assert rows["float16"]["largest_difference"] < 0.01 < rows["int8"]["largest_difference"] * 10


def test_sound_goes_by_features_into_images(run: folders.Run, told: dict[str, Any]) -> None:
    folder = run.folder / "formats"
    features, _ = formats_run.litert(folder / "features.tflite")
    ask, _ = formats_run.litert(folder / "image_float16.tflite")
    images = features(clip(7))
    assert images.shape == (2, 24, 24, 3)
    assert 0 <= images.min() < 0.2 < 0.9 < images.max() <= 1
    wanted = expected(Plan(read_members([run.folder])), [clip(7)])[0]
    np.testing.assert_allclose(ask(images).mean(0), wanted, atol=0.01)


@pytest.mark.parametrize("length", [320, 340, 480, 1280, 2560, 3200])
def test_the_transform_is_the_transform(length: int) -> None:
    x = np.random.default_rng(length).standard_normal((2, 3, length)).astype(np.float32)
    wanted = np.fft.rfft(x.astype(np.float64))
    real, imaginary = formats_ops.rfft(tf.constant(x), length)
    np.testing.assert_allclose(real, wanted.real, atol=2e-6 * length**0.5 * 3)
    np.testing.assert_allclose(imaginary, wanted.imag, atol=2e-6 * length**0.5 * 3)
    longer = formats_ops.rfft(tf.constant(np.pad(x, [(0, 0), (0, 0), (0, 9)])), length)
    np.testing.assert_array_equal(longer[0], real)
    np.testing.assert_array_equal(longer[1], imaginary)
    silent = formats_ops.rfft(tf.zeros([1, length]), length)
    assert not np.any(silent)


def test_whole_numbers_are_divided_downwards_in_onnx(tmp_path: Path) -> None:
    """tf2onnx 1.17 would truncate them."""

    class Divided:
        def traced(self, name: str) -> Any:
            spec = [tf.TensorSpec([None], tf.int32, name="x")]
            return tf.function(lambda x: {"y": -(-x // 5)}, input_signature=spec, autograph=False)

    formats_build.to_onnx(Divided(), "y", tmp_path / "m.onnx")  # type: ignore[arg-type]
    ask, _ = formats_run.onnx(tmp_path / "m.onnx")
    np.testing.assert_array_equal(ask(np.array([-6, 0, 4, 5, 6], np.int32)), [-1, 0, 1, 1, 2])


def judged(folder: Path, off: float, weights: str = "float32") -> dict[str, Any]:
    row = {"file": "model.onnx", "runtime": "onnx", "input": "audio", "output": "probabilities"}
    (folder / "model.onnx").write_bytes(b"12")
    np.savez(folder / "model.onnx.npz", runtime="onnxruntime 1", clips=np.full((2, 3), 0.5 + off))
    return formats._judged(row | {"weights": weights}, folder, np.full((2, 3), 0.5), None)


def test_a_difference_that_is_too_large_fails(tmp_path: Path) -> None:
    assert judged(tmp_path, 9e-4)["largest_difference"] == pytest.approx(9e-4)
    for off in (1.1e-3, np.nan):
        with pytest.raises(
            cli.UserError, match=r"^model\.onnx: its probabilities are off by .*, over 0\.001, in"
        ):
            judged(tmp_path, off)
    assert "lwlrap" not in judged(tmp_path, 0.1, "int8")


def test_images_go_in_where_sound_cannot() -> None:
    asked = []

    def make(name: str, file: str) -> dict[str, str]:
        asked.append(name)
        if name == "audio":
            raise formats_build.ConversionError("no tf.Sort")
        return {"input": name}

    assert formats_build._either(make, "m", "auto") == {
        "input": "image", "why": "from sound it is not to be converted: no tf.Sort"
    }  # fmt: skip
    assert formats_build._either(make, "m", "image") == {"input": "image"}
    with pytest.raises(formats_build.ConversionError):
        formats_build._either(make, "m", "audio")
    assert asked == ["audio", "image", "image", "audio"]


def test_converters_pages_become_a_line() -> None:
    page = "x\n'tf.Sort' op is neither a custom op\n'tf.Erf' op is neither\n'tf.Sort' op is neither"
    assert formats_build._reason(RuntimeError(page)) == "no tf.Sort, tf.Erf"
    assert formats_build._reason(ValueError("\nfirst\nsecond")) == "first"


def test_what_cannot_be_is_said_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(*given: str) -> str:
        with pytest.raises(cli.UserError) as caught:
            formats.main(["--model", str(tmp_path), *given])
        return str(caught.value)

    assert said("--to", "onnx", "--quantise", "int8") == "--quantise is for --to litert. Received: --to onnx."
    assert "no run, or one that has kept no network yet" in said("--to", "onnx")
    (tmp_path / "ensemble.json").write_text("{}")
    assert said("--to", "onnx").endswith("its members' runs can be converted, one at a time.")
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    assert said("--to", "onnx") == (
        "--to onnx needs tf2onnx, onnxruntime: pip install -r requirements-formats.txt"
    )
