"""One small run through the real commands, and everything that is promised of what it leaves behind."""

import csv
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from sklearn.metrics import label_ranking_average_precision_score

import fatk
from fatk import evaluate, features, folders, predict, train, trainer
from fatk.config import Config, load_config
from fatk.demo_set import CLASSES, write_demo_set
from pipelines import crops, formats, ops
from pipelines.clips import image_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
RATE, BANDS, CROPS, CLIPS = 22050, 64, 3, {"curated": 40, "noisy": 20, "test": 12}

CONFIG = f"""
seed = 7
[data]
kind = "fat2019"
path = "set"
records = "records"
valid_per_class = 1
[features]
rate = {RATE}
bands = {BANDS}
[train]
batch = 16
[evaluate]
crops = {CROPS}
[log]
images = 2
clips = 2
every = 1
[[stage]]
epochs = 2
rate = 3e-3
"""


ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}


@dataclass(frozen=True)
class Finished:
    """A run that ended, and what it said."""

    place: Path  # the working directory
    run: folders.Run
    told: str

    @property
    def set(self) -> Path:
        return self.place / "set"

    @property
    def config(self) -> Config:
        return load_config(self.run.config)

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads(self.run.summary.read_text())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a set and a config."""
    folder = tmp_path_factory.mktemp("place")
    write_demo_set(folder / "set", rate=RATE, **CLIPS)
    (folder / "tiny.toml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def done(place: Path) -> Finished:
    """`python -m fatk.train`, as a user types it."""
    command = [sys.executable, "-m", "fatk.train", "--config", "tiny.toml"]
    ended = subprocess.run(command, cwd=place, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Warning" not in ended.stderr
    return Finished(place, folders.Run(place / "runs" / "tiny"), ended.stdout)


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands in this process work in the same place."""
    monkeypatch.chdir(place)
    return place


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def header(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0]


def history(run: folders.Run) -> list[dict[str, str]]:
    """The rows, timing aside."""
    timing = ("seconds", "examples_per_second")
    return [{k: v for k, v in row.items() if k not in timing} for row in rows(run.history)]


# What lies in a run's folder


def test_everything_is_in_the_runs_folder(done: Finished) -> None:
    assert {path.name for path in done.run.folder.iterdir()} >= {
        "config.toml",
        "history.csv",
        "summary.json",
        "per_class.csv",
        "predictions.csv",
        "submission.csv",
        "classes.txt",
        "best.keras",
        "checkpoints",
        "saved_model",
        "tensorboard",
    }
    assert len(list(done.run.checkpoints.iterdir())) <= 2
    assert not list(done.place.rglob("*.tmp"))
    for path in (done.run.saved_model, done.run.submission, done.run.tensorboard):
        assert str(path.relative_to(done.place)) in done.told
    assert done.told.splitlines()[-1].endswith("tensorboard --logdir runs")


def test_the_config_is_the_resolved_one(done: Finished) -> None:
    assert done.config == load_config(done.place / "tiny.toml")


def test_history(done: Finished) -> None:
    columns = "epoch,stage,loss,val_loss,val_lwlrap,learning_rate,seconds,examples_per_second"
    assert header(done.run.history) == columns
    found = rows(done.run.history)
    assert [row["epoch"] for row in found] == ["1", "2"]
    for row in found:
        assert 0 < float(row["val_lwlrap"]) <= 1
        assert 0 < float(row["loss"]) < 5
        assert float(row["seconds"]) > 0
        assert float(row["examples_per_second"]) > 0
    assert float(found[-1]["learning_rate"]) == pytest.approx(3e-3 / 25e4, rel=1e-3)


def test_the_summary(done: Finished, trained: "Trained") -> None:
    summary = done.summary
    assert {
        "val_lwlrap",
        "val_accuracy",
        "test_lwlrap",
        "parameters",
        "epochs",
        "seconds",
        "seed",
        "fingerprint",
        "versions",
        "device",
    } <= set(summary)
    manifest = json.loads((done.place / "records" / "manifest.json").read_text())
    assert summary["fingerprint"] == manifest["fingerprint"]
    assert (summary["seed"], summary["epochs"]) == (7, 2)
    assert summary["versions"]["keras"] == keras.__version__
    best = max(history(done.run), key=lambda row: float(row["val_lwlrap"]))
    assert summary["best_epoch"] == int(best["epoch"])
    assert summary["val_lwlrap"] == pytest.approx(float(best["val_lwlrap"]), abs=1e-5)
    assert summary["parameters"] == trained.network.count_params()


def scored(table: Path, labels: dict[str, str]) -> float:
    """lwlrap by scikit-learn of a table of probabilities against {fname: comma-separated labels}."""
    found = rows(table)
    assert {row["fname"] for row in found} == set(labels)
    classes = [column for column in found[0] if column != "fname"]
    truth = np.array([[c in labels[row["fname"]].split(",") for c in classes] for row in found])
    chances = np.array([[float(row[c]) for c in classes] for row in found])
    assert chances.min() >= 0
    assert chances.max() <= 1
    return label_ranking_average_precision_score(truth, chances, sample_weight=truth.sum(1))


def test_scores_are_those_of_the_tables(done: Finished) -> None:
    clips = rows(done.place / "records" / "clips.csv")
    valid = {row["fname"]: row["labels"] for row in clips if row["split"] == "valid"}
    assert scored(done.run.predictions, valid) == pytest.approx(done.summary["val_lwlrap"], abs=2e-3)
    truth = {row["fname"]: row["labels"] for row in rows(done.set / "test_labels.csv")}
    assert scored(done.run.submission, truth) == pytest.approx(done.summary["test_lwlrap"], abs=2e-3)


def test_the_submission_has_the_samples_names_and_columns(done: Finished) -> None:
    sample = done.set / "sample_submission.csv"
    assert header(done.run.submission) == header(sample)
    assert [row["fname"] for row in rows(done.run.submission)] == [row["fname"] for row in rows(sample)]


def test_per_class_values_sum_to_the_whole(done: Finished) -> None:
    assert header(done.run.per_class) == "class,lwlrap,weight"
    found = rows(done.run.per_class)
    assert [row["class"] for row in found] == list(CLASSES)
    whole = sum(float(row["lwlrap"] or 0) * float(row["weight"]) for row in found)
    assert whole == pytest.approx(done.summary["val_lwlrap"], abs=1e-4)


# The served model, with TensorFlow alone

ALONE = """
import pickle, sys
sys.modules["keras"] = sys.modules["jax"] = None  # as if they were not installed
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
with open(sys.argv[2], "rb") as file:
    calls = pickle.load(file)
made = {"signatures": {}, "answers": {}}
for name, function in model.signatures.items():
    sides = function.structured_input_signature[1], function.structured_outputs
    made["signatures"][name] = tuple(
        {key: (spec.shape.as_list(), spec.dtype.name) for key, spec in side.items()} for side in sides
    )
for key, (name, inputs) in calls.items():
    try:
        answer = model.signatures[name](**{k: tf.constant(v) for k, v in inputs.items()})
        made["answers"][key] = {k: v.numpy() for k, v in answer.items()}
    except tf.errors.InvalidArgumentError as error:
        made["answers"][key] = str(error)
assert not [name for name in ("keras", "jax", "fatk") if sys.modules.get(name)]
with open(sys.argv[3], "wb") as file:
    pickle.dump(made, file)
"""

LENGTHS = {"short": round(0.01 * RATE), "second": RATE, "long": 30 * RATE}
WINDOWED = {
    "short": 0.01,
    "half": 0.5,
    "second": 1.0,
    "more": 1.5,
    "odd": 2.3,
    "long": 30.0,
    "segments": 65.2,
}


def clip(samples: int, seed: int = 0, level: float = 0.3) -> np.ndarray:
    """(samples,) float32: tones that come and go in noise."""
    draw = np.random.default_rng(seed)
    time = np.arange(samples) / RATE
    tone = np.sin(2 * np.pi * (300 + 200 * seed) * time) * np.sin(2 * np.pi * 0.7 * time) ** 2
    return (level * (tone + 0.1 * draw.standard_normal(samples))).astype(np.float32)


def wav(samples: np.ndarray, rate: int, path: Path) -> bytes:
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path.read_bytes()


RAGGED = (LENGTHS["second"], LENGTHS["short"], LENGTHS["long"], 1, round(2.3 * RATE))


def questions(folder: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """What the served model is asked: {key: (signature, inputs)}."""
    asked: dict[str, tuple[str, dict[str, Any]]] = {
        "classes": ("classes", {}),
        "sampling_rate": ("sampling_rate", {}),
    }
    for name, samples in LENGTHS.items():
        one = clip(samples)
        asked[f"{name} alone"] = ("serving_default", {"audio": one[None]})
        for crowd, level in (("quiet", 0.01), ("loud", 1.0)):
            batch = np.stack([clip(samples, seed, level) for seed in range(1, 8)])
            batch[3] = one
            asked[f"{name} in a {crowd} crowd"] = ("serving_default", {"audio": batch})
        asked[f"{name} image"] = ("image", {"audio": one})
    audio = np.full((len(RAGGED), max(RAGGED)), 0.9, np.float32)  # what lies past a clip's end is not silent
    for row, samples in enumerate(RAGGED):
        audio[row, :samples] = clip(samples, row)
        asked[f"ragged {row} alone"] = ("serving_default", {"audio": clip(samples, row)[None]})
    given = {"audio": audio, "lengths": np.array(RAGGED, np.int32)}
    asked["ragged"] = ("ragged", given)
    for count in (CROPS, 1):
        asked[f"{count} crops"] = ("augmented", given | {"crops": np.int32(count)})
    for name, seconds in WINDOWED.items():
        asked[f"{name} windows"] = ("windows", {"audio": clip(round(seconds * RATE))})
    whole = clip(round(WINDOWED["segments"] * RATE))
    for number in range(3):
        part = whole[30 * RATE * number : 30 * RATE * (number + 1)]
        asked[f"segment {number}"] = ("windows", {"audio": part})
    files = [wav(clip(samples, 5), RATE, folder / "x.wav") for samples in (RATE, 2 * RATE)]
    asked["files"] = ("wav", {"audio_bytes": np.array(files, object)})
    for number, samples in enumerate((RATE, 2 * RATE)):
        kept = soundfile.read(_rewritten(folder, clip(samples, 5)), dtype="float32")[0]
        asked[f"file {number} alone"] = ("serving_default", {"audio": kept[None]})
    wrong = wav(clip(RATE, 5), 16000, folder / "x.wav")
    asked["wrong rate"] = ("wav", {"audio_bytes": np.array([wrong], object)})
    return asked


def _rewritten(folder: Path, samples: np.ndarray) -> Path:
    path = folder / "y.wav"
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def served(done: Finished, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the SavedModel is and says in a process that has neither Keras nor JAX nor fatk."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "calls").write_bytes(pickle.dumps(questions(folder)))
    ended = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, str(done.run.saved_model), folder / "calls", folder / "answers"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return pickle.loads((folder / "answers").read_bytes())


@pytest.fixture(scope="module")
def answers(served: dict[str, Any]) -> dict[str, Any]:
    return served["answers"]


def test_signatures(served: dict[str, Any]) -> None:
    audio, one = {"audio": ([None, None], "float32")}, {"audio": ([None], "float32")}
    chances = {"probabilities": ([None, 10], "float32")}
    wanted = {
        "serving_default": (audio, chances),
        "ragged": (audio | {"lengths": ([None], "int32")}, chances),
        "windows": (one, chances | {"start_seconds": ([None], "float32")}),
        "wav": ({"audio_bytes": ([None], "string")}, chances),
        "classes": ({}, {"classes": ([10], "string")}),
        "sampling_rate": ({}, {"sampling_rate": ([], "int32")}),
        "embeddings": (audio, {"embeddings": ([None, 512], "float32")}),
        "explain": (one | {"class_index": ([], "int32")}, {"overlay": ([BANDS, None], "float32")}),
    }
    found = served["signatures"]
    assert {name: found[name] for name in wanted} == wanted


def test_vocabulary_and_rate(done: Finished, answers: dict[str, Any]) -> None:
    assert tuple(name.decode() for name in answers["classes"]["classes"]) == CLASSES
    assert answers["sampling_rate"]["sampling_rate"] == RATE
    asset = done.run.saved_model / "assets" / "classes.txt"
    assert tuple(asset.read_text(encoding="utf-8").splitlines()) == CLASSES
    assert load_config(asset.with_name("config.toml")) == done.config
    scores = json.loads(asset.with_name("scores.json").read_text())["members"][0]
    assert scores["val_lwlrap"] == done.summary["val_lwlrap"]
    assert tuple(scores["per_class"]) == CLASSES


class Trained:
    """The run's Keras model on this process's backend, fed with the training pipeline's own images."""

    def __init__(self, run: folders.Run, config: Config):
        self.network = keras.saving.load_model(run.network, compile=False)
        self.features = config.features

    def image(self, audio: np.ndarray) -> np.ndarray:
        return formats.whole_image(ops, tf.constant(audio), self.features).numpy()

    def chances(self, images: np.ndarray) -> np.ndarray:
        """(n, bands, columns, 3) uint8 -> (n, classes)."""
        logits = self.network(images.astype(np.float32) / 255, training=False)
        return keras.ops.convert_to_numpy(keras.ops.sigmoid(logits))

    def predict(self, audio: np.ndarray) -> np.ndarray:
        image = tf.constant(self.image(audio))
        return self.chances(crops.even_crops(image, BANDS, tf.constant(CROPS)).numpy()).mean(0)


@pytest.fixture(scope="module")
def trained(done: Finished) -> Trained:
    return Trained(done.run, done.config)


@pytest.mark.parametrize("length", LENGTHS)
def test_probabilities_are_the_keras_models(length: str, answers: dict[str, Any], trained: Trained) -> None:
    wanted = trained.predict(clip(LENGTHS[length]))
    alone = answers[f"{length} alone"]["probabilities"]
    assert alone.shape == (1, 10)
    np.testing.assert_allclose(alone[0], wanted, atol=1e-4)
    assert np.ptp(wanted) > 1e-3  # the comparison sees something


@pytest.mark.parametrize("length", LENGTHS)
def test_a_clip_does_not_see_its_batch_mates(length: str, answers: dict[str, Any], trained: Trained) -> None:
    alone = answers[f"{length} alone"]["probabilities"][0]
    for crowd in ("quiet", "loud"):
        among = answers[f"{length} in a {crowd} crowd"]["probabilities"]
        assert among.shape == (7, 10)
        np.testing.assert_allclose(among[3], alone, atol=1e-6)
    loud = answers[f"{length} in a loud crowd"]["probabilities"]
    np.testing.assert_allclose(loud[6], trained.predict(clip(LENGTHS[length], 7, 1.0)), atol=1e-4)


def test_ragged_rows_are_as_if_sent_alone(answers: dict[str, Any]) -> None:
    found = answers["ragged"]["probabilities"]
    assert found.shape == (len(RAGGED), 10)
    for row in range(len(RAGGED)):
        np.testing.assert_allclose(found[row], answers[f"ragged {row} alone"]["probabilities"][0], atol=1e-6)
    np.testing.assert_array_equal(answers[f"{CROPS} crops"]["probabilities"], found)
    assert np.abs(answers["1 crops"]["probabilities"] - found).max() > 1e-4


@pytest.mark.parametrize("length", LENGTHS)
def test_images_are_the_pipelines(length: str, answers: dict[str, Any], trained: Trained) -> None:
    found, wanted = answers[f"{length} image"]["image"], trained.image(clip(LENGTHS[length]))
    assert found.dtype == np.uint8
    assert found.shape == wanted.shape == (BANDS, max(LENGTHS[length], RATE) // 345 + 1, 3)
    assert (found == wanted).mean() > 0.999


def starts(seconds: float) -> list[float]:
    """Of windows of 1 s every 0.5 s; the last one ends with the clip."""
    if seconds <= 1:
        return [0.0]
    return [*np.arange(0, seconds - 1 - 1e-6, 0.5), seconds - 1]


@pytest.mark.parametrize("name", [name for name in WINDOWED if name != "segments"])
def test_windows_along_a_clip(name: str, answers: dict[str, Any], trained: Trained) -> None:
    seconds = WINDOWED[name]
    found = answers[f"{name} windows"]
    np.testing.assert_allclose(found["start_seconds"], starts(seconds), atol=1e-4)
    assert found["probabilities"].shape == (len(starts(seconds)), 10)
    image = trained.image(clip(round(seconds * RATE)))
    first, last = image[:, :BANDS], image[:, max(image.shape[1] - BANDS, 0) :][:, :BANDS]
    wanted = trained.chances(np.stack([first, last, last]))
    np.testing.assert_allclose(found["probabilities"][0], wanted[0], atol=1e-4)
    np.testing.assert_allclose(found["probabilities"][-1], wanted[1], atol=1e-4)


def test_some_windows_by_hand() -> None:
    assert starts(1.5) == [0, 0.5]
    np.testing.assert_allclose(starts(2.3), [0, 0.5, 1, 1.3])
    assert len(starts(30)) == 59


def test_long_recordings_are_cut_into_segments(answers: dict[str, Any]) -> None:
    found = answers["segments windows"]
    wanted = [*starts(30), *(30 + s for s in starts(30)), *(60 + s for s in starts(5.2))]
    np.testing.assert_allclose(found["start_seconds"], wanted, atol=1e-3)
    assert found["start_seconds"][-1] == pytest.approx(65.2 - 1, abs=1e-3)
    parts = [answers[f"segment {number}"]["probabilities"] for number in range(3)]
    np.testing.assert_allclose(found["probabilities"], np.concatenate(parts), atol=1e-6)


def test_wav_files(answers: dict[str, Any]) -> None:
    found = answers["files"]["probabilities"]
    for number in range(2):
        wanted = answers[f"file {number} alone"]["probabilities"][0]
        np.testing.assert_allclose(found[number], wanted, atol=1e-5)
    assert f"{RATE} Hz" in answers["wrong rate"]


# Commands and Python, on the finished run


def submitted(path: Path) -> dict[str, np.ndarray]:
    return {row.pop("fname"): np.array([float(v) for v in row.values()]) for row in rows(path)}


def test_load_and_predict_from_python(done: Finished) -> None:
    tagger = fatk.load(done.run.folder)
    assert tagger.classes == CLASSES
    assert tagger.rate == RATE
    for name, wanted in list(submitted(done.run.submission).items())[:3]:
        path = done.set / "test" / name
        found = tagger.predict(path)
        np.testing.assert_allclose(found, wanted, atol=1e-4)
        samples = soundfile.read(path, dtype="float32")[0]
        np.testing.assert_allclose(tagger.predict(samples), found, atol=1e-6)
        best = tagger.top(path, 2)
        assert best[0] == (CLASSES[found.argmax()], pytest.approx(found.max(), abs=1e-6))
    begins, chances = fatk.load(str(done.run.saved_model)).windows(path)
    assert chances.shape == (len(begins), 10)
    with pytest.raises(ValueError, match=r"a waveform must be \(samples,\), mono"):
        tagger.predict(np.zeros((2, 100), np.float32))
    with pytest.raises(ValueError, match="a waveform must be finite"):
        tagger.predict(np.full(100, np.nan, np.float32))


def test_another_rate_is_resampled(done: Finished, tmp_path: Path) -> None:
    sound = np.sin(2 * np.pi * 500 * np.arange(2 * 44100) / 44100) * 0.3
    soundfile.write(tmp_path / "x.wav", sound, 44100)
    tagger = fatk.load(done.run.folder)
    heard = tagger.read(tmp_path / "x.wav")
    assert len(heard) == 2 * RATE
    np.testing.assert_allclose(heard[100:-100], sound[::2][100:-100], atol=1e-3)
    np.testing.assert_allclose(tagger.predict(tmp_path / "x.wav"), tagger.predict(heard), atol=1e-6)


def test_predicting_a_table(done: Finished, here: Path) -> None:
    given = ["--model", "runs/tiny", "--audio", "set/test", "--table", "set/sample_submission.csv"]
    assert predict.main([*given, "--out", "out/again.csv"]) == 0
    assert header(here / "out" / "again.csv") == header(done.run.submission)
    again, before = submitted(here / "out" / "again.csv"), submitted(done.run.submission)
    assert list(again) == list(before)
    for name in before:
        np.testing.assert_allclose(again[name], before[name], atol=1e-4)
    assert predict.main([*given, "--tta", "10", "--out", "tta.csv"]) == 0
    ten = submitted(here / "tta.csv")
    assert max(np.abs(ten[name] - before[name]).max() for name in before) > 1e-5
    assert max(np.abs(ten[name] - before[name]).max() for name in before) < 0.2


PREDICT = """
import sys
from fatk import cli, predict
try:
    cli.run(predict.main)
finally:
    print([name for name in ("keras", "jax") if sys.modules.get(name)])
"""


def test_predicting_files_imports_neither_keras_nor_jax(done: Finished) -> None:
    files = [done.set / "test" / row["fname"] for row in rows(done.run.submission)[:2]]
    ended = subprocess.run(
        [sys.executable, "-c", PREDICT, "--model", done.run.saved_model, "--top", "2", *files],
        cwd=done.place,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    *lines, loaded = ended.stdout.splitlines()
    assert loaded == "[]"
    before = submitted(done.run.submission)
    for line, path in zip(lines, files, strict=True):
        name, told = line.rsplit(": ", 1)
        assert name == str(path)
        found = re.findall(r"(\S+) (\d\.\d{3})", told)
        order = np.argsort(-before[path.name])[:2]
        assert [float(chance) for _, chance in found] == pytest.approx(before[path.name][order], abs=1e-3)
        assert {label for label, _ in found} <= set(CLASSES)


def test_evaluating_a_table(done: Finished, here: Path, capsys: pytest.CaptureFixture) -> None:
    given = ["--model", "runs/tiny", "--audio", "set/test", "--table", "set/test_labels.csv"]
    assert evaluate.main([*given, "--out", "test_per_class.csv"]) == 0
    told = capsys.readouterr().out
    score = re.search(r"12 clips  lwlrap (\d\.\d+)", told)
    assert score
    assert float(score[1]) == pytest.approx(done.summary["test_lwlrap"], abs=2e-3)
    assert "accuracy" in told
    assert "worst classes" in told
    found = rows(here / "test_per_class.csv")
    assert header(here / "test_per_class.csv") == "class,lwlrap,weight"
    whole = sum(float(row["lwlrap"] or 0) * float(row["weight"]) for row in found)
    assert whole == pytest.approx(done.summary["test_lwlrap"], abs=2e-3)


@pytest.mark.parametrize("overrides", [[], ["features.format=APX", "features.seconds=2"]])
def test_the_image_of_a_clip(overrides: list[str], done: Finished, here: Path) -> None:
    path = sorted((here / "set" / "test").iterdir())[0]
    config = load_config("tiny.toml", overrides)
    out = ["--out", "image.npy", "--png", "image.png"]
    assert features.main(["--config", "tiny.toml", "--audio", str(path), *out, *overrides]) == 0
    image = np.load(here / "image.npy")
    assert image.dtype == np.uint8
    assert image.shape[::2] == (BANDS, 3)
    samples = soundfile.read(path, dtype="int16")[0]
    np.testing.assert_array_equal(image, image_of(tf.constant(samples), config.features).numpy())
    assert (here / "image.png").read_bytes().startswith(b"\x89PNG")


# The same again, and stopped midway


def test_the_same_seed_gives_the_same_history(
    done: Finished, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "export", lambda run: 0.0)
    again = train.train(load_config("tiny.toml", ["name=again"]))
    assert history(again.run) == history(done.run)
    assert again.summary["val_lwlrap"] == done.summary["val_lwlrap"]


def stopped(place: Path) -> Iterator[str]:
    """A run that gets a Ctrl-C once its first epoch is over -> the lines that it printed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fatk.train", "--config", "tiny.toml", "name=stopped"],
        cwd=place,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        while process.poll() is None and not (place / "runs" / "stopped" / "history.csv").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=300)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, told
    yield from told.splitlines()


def test_a_stopped_run_is_kept_and_goes_on(
    done: Finished, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = list(stopped(here))
    assert not any("Traceback" in line for line in lines)
    wanted = "python -m fatk.train --config tiny.toml name=stopped --resume"
    assert lines[-1] == f"stopped early; to go on: {wanted}"
    run = folders.Run(here / "runs" / "stopped")
    assert history(run) == history(done.run)[:1]
    assert json.loads(run.summary.read_text())["epochs"] == 1
    assert run.submission.exists()
    np.testing.assert_allclose(
        fatk.load(run.folder).predict(clip(RATE)),
        Trained(run, load_config(run.config)).predict(clip(RATE)),
        atol=1e-4,
    )
    monkeypatch.setattr(trainer, "export", lambda run: 0.0)
    outcome = train.train(load_config("tiny.toml", ["name=stopped"]), resume=True)
    assert not outcome.interrupted
    assert history(run) == history(done.run)
    assert rows(run.submission) == rows(done.run.submission)


# TensorBoard


def test_tensorboard_reads_the_logs(done: Finished) -> None:
    from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator
    from tensorboard.util import tensor_util

    logs = EventAccumulator(str(done.run.tensorboard), size_guidance={TENSORS: 0})
    logs.Reload()
    plugins: dict[str, list[str]] = {}
    for tag in logs.Tags()["tensors"]:
        plugins.setdefault(logs.SummaryMetadata(tag).plugin_data.plugin_name, []).append(tag)
    assert {"scalars", "images", "audio", "text"} <= set(plugins)

    def values(tag: str) -> list[float]:
        return [float(tensor_util.make_ndarray(event.tensor_proto)) for event in logs.Tensors(tag)]

    found = history(done.run)
    for name in ("loss", "val_loss", "val_lwlrap", "learning_rate"):
        wanted = [float(row[name]) for row in found]
        assert values(f"epoch/{name}") == pytest.approx(wanted, rel=1e-4)
        assert [event.step for event in logs.Tensors(f"epoch/{name}")] == [1, 2]

    # A value a class: of the validation clips, so with their weights it sums to the epoch's lwlrap.
    by_class = [tag for tag in plugins["scalars"] if tag.startswith("val_lwlrap_per_class/")]
    assert len(by_class) == 10
    weights = {row["class"]: float(row["weight"]) for row in rows(done.run.per_class)}
    for epoch, row in enumerate(found):
        whole = sum(
            values(tag)[epoch] * weight
            for name, weight in weights.items()
            for tag in by_class
            if tag.split("/")[1] == re.sub(r"[^A-Za-z0-9_.\-]", "_", name)
        )
        assert whole == pytest.approx(float(row["val_lwlrap"]), abs=1e-4)

    for name in ("APD", "APX", "AAA", "AAP"):
        assert sum(tag.startswith(f"input_{name}/") for tag in plugins["images"]) == 2
    assert sum(tag.startswith("training_batch/") for tag in plugins["images"]) == 2
    size = tensor_util.make_ndarray(logs.Tensors(plugins["images"][0])[0].tensor_proto)
    assert size[2].startswith(b"\x89PNG")

    assert len(plugins["audio"]) == 4  # the worst and the best
    sound = tensor_util.make_ndarray(logs.Tensors(plugins["audio"][0])[0].tensor_proto).flat[0]
    assert sound.startswith(b"RIFF")
    settings = tensor_util.make_ndarray(logs.Tensors("settings")[0].tensor_proto).flat[0].decode()
    assert 'kind = "fat2019"' in settings
    assert {"settings", "summary", "val_lwlrap_per_class"} <= set(plugins["text"])
