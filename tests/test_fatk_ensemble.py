"""Ensembles: what they say is the mean of what their members' own SavedModels say."""

import csv
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.message import Message
from tensorflow.core.protobuf import saved_model_pb2

import fatk
from fatk import cli, ensemble, ensemble_means, evaluate, export, serving_windows
from fatk.ensemble_runs import held_out, read_members
from fatk.serving_ensemble import Ensemble
from fatk.serving_member import Member
from models import networks
from pipelines import crops, formats, ops
from pipelines.settings import EvaluateSettings, FeatureSettings
from tests import ensemble_runs
from tests.ensemble_runs import CLASSES, RATE

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("apd", "apx", "aaa")
KINDS = ensemble_means.KINDS
TTA = 5
WHOLE = ("arithmetic", "picked")  # saved with every signature

# Of models that are asked little, little is built: tracing a signature takes a while.
BUILD = """
import json, sys
from pathlib import Path
from fatk import export, serving
whole = serving.ServedEnsemble.signatures
for folder, names in json.loads(sys.argv[1]).items():
    serving.ServedEnsemble.signatures = tuple(names) or whole
    export.build(Path(folder))
"""

# What every SavedModel answers in a process that has neither Keras nor JAX nor fatk, asked twice.
ALONE = """
import pickle, sys
sys.modules["keras"] = sys.modules["jax"] = None  # as if they were not installed
import tensorflow as tf
with open(sys.argv[1], "rb") as file:
    calls = pickle.load(file)
made = {}
for folder, asked in calls.items():
    model = tf.saved_model.load(folder)
    for key, (name, inputs) in asked.items():
        for time in (1, 2):
            try:
                answer = model.signatures[name](**{k: tf.constant(v) for k, v in inputs.items()})
                made[folder, key, time] = {k: v.numpy() for k, v in answer.items()}
            except tf.errors.InvalidArgumentError as error:
                made[folder, key, time] = str(error)
assert not [name for name in ("keras", "jax", "fatk") if sys.modules.get(name)]
with open(sys.argv[2], "wb") as file:
    pickle.dump(made, file)
"""


def clip(samples: int, seed: int) -> np.ndarray:
    """(samples,) float32: a gliding tone that comes and goes in noise."""
    draw = np.random.default_rng(seed)
    time = np.arange(samples) / RATE
    tone = np.sin(2 * np.pi * (300 + 150 * seed) * time * (1 + 0.1 * time)) * np.sin(3 * time + seed) ** 2
    return (0.3 * tone + 0.02 * draw.standard_normal(samples)).astype(np.float32)


LENGTHS = (round(0.3 * RATE), RATE, round(2.6 * RATE), round(7.3 * RATE))
CLIPS = [clip(samples, seed) for seed, samples in enumerate(LENGTHS)]


def ragged() -> dict[str, np.ndarray]:
    audio = np.zeros((len(CLIPS), max(LENGTHS)), np.float32)
    for row, one in enumerate(CLIPS):
        audio[row, : len(one)] = one
    return {"audio": audio, "lengths": np.array(LENGTHS, np.int32)}


def questions(name: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """{key: (signature, inputs)}, of a model by its name."""
    asked: dict[str, tuple[str, dict[str, Any]]] = {"classes": ("classes", {})}
    if name != "pair":
        asked["ragged"] = "ragged", ragged()
        asked["alone"] = "serving_default", {"audio": CLIPS[1][None]}
    if name in ("arithmetic", "pair", "apd", "apx"):
        asked["windows"] = "windows", {"audio": CLIPS[3]}
    if name in ("arithmetic", *NAMES):
        asked["crops"] = "augmented", ragged() | {"crops": np.int32(TTA)}
    if name in ("arithmetic", "picked", *NAMES):
        asked["embeddings"] = "embeddings", {"audio": CLIPS[2][None]}
        asked["sampling_rate"] = "sampling_rate", {}
    if name in ("arithmetic", "picked", "apd"):
        asked["2 image"], asked["3 image"] = (("image", {"audio": CLIPS[row]}) for row in (2, 3))
    if name in ("arithmetic", "picked"):
        for key, number in {"explain": 2, "no class": len(CLASSES), "minus": -1}.items():
            asked[key] = "explain", {"audio": CLIPS[3], "class_index": np.int32(number)}
    return asked


class Models:
    """SavedModels by name, what their members are, and their answers."""

    def __init__(self, place: Path, shared_runs: list[Path]):
        self.place = place
        self.runs = shared_runs
        members = read_members(shared_runs)
        held = held_out(members)
        plans = {path.name: export.Plan(read_members([path])) for path in shared_runs}
        self.means = {kind: ensemble.choose(kind, members, held, 0.05)[0] for kind in KINDS}
        plans |= {kind: export.Plan(members, mean) for kind, mean in self.means.items()}
        plans["tta"] = export.Plan(members, crops=TTA)
        plans["pair"] = export.Plan(members[:2])
        picked = ensemble_runs.write_run(
            place / "picked",
            ensemble_runs.amplitude,
            f"[features]\nrate = {RATE}\nbands = 24\n[evaluate]\ncrops = 2\n",
        )
        plans["picked"] = export.Plan(read_members([picked]))
        for name, plan in plans.items():
            self.folder(name).mkdir()
            export.lay_out(plan, {}, self.folder(name))
        asked = {name: questions(name) for name in plans}
        names = {
            str(self.folder(name)): [] if name in WHOLE else sorted({call[0] for call in own.values()})
            for name, own in asked.items()
        }
        run([sys.executable, "-c", BUILD, json.dumps(names)], KERAS_BACKEND="tensorflow")
        calls = {str(self.folder(name) / "saved_model"): own for name, own in asked.items()}
        (place / "calls").write_bytes(pickle.dumps(calls))
        run([sys.executable, "-I", "-c", ALONE, str(place / "calls"), str(place / "answers")])
        self._answers = pickle.loads((place / "answers").read_bytes())

    def folder(self, name: str) -> Path:
        return self.place / f"model_{name}"

    def ask(self, name: str, key: str, time: int = 1) -> Any:
        """{output: array}, or the words of an error."""
        return self._answers[str(self.folder(name) / "saved_model"), key, time]

    def chances(self, name: str, key: str) -> np.ndarray:
        """Probabilities with the classes in the order of CLASSES, by their names."""
        order = [text.decode() for text in self.ask(name, "classes")["classes"]]
        return self.ask(name, key)["probabilities"][:, [order.index(name) for name in CLASSES]]

    def members(self, key: str) -> np.ndarray:
        """(members, clips, classes) of the members' own SavedModels."""
        return np.stack([self.chances(name, key) for name in NAMES])


def run(command: list[str], **environment: str) -> None:
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return ensemble_runs.three_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def models(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("models"), runs)


# The mean


@pytest.mark.parametrize("kind", KINDS)
def test_an_ensemble_is_the_mean_of_its_members_own_models(kind: str, models: Models) -> None:
    said = models.members("ragged")
    assert np.ptp(said, axis=1).min() > 1e-3  # members hear the clips
    assert np.abs(said[0] - said[1]).max() > 0.05  # and differ
    wanted = models.means[kind](said)
    np.testing.assert_allclose(models.chances(kind, "ragged"), wanted, atol=1e-5)
    np.testing.assert_allclose(models.chances(kind, "alone")[0], wanted[1], atol=1e-5)
    if kind != "arithmetic":
        assert np.abs(wanted - said.mean(0)).max() > 1e-3  # kinds can be told apart


def test_crops_inside_are_crops_outside(models: Models) -> None:
    wanted = models.members("crops").mean(0)
    np.testing.assert_allclose(models.chances("tta", "ragged"), wanted, atol=1e-5)
    np.testing.assert_allclose(models.chances("arithmetic", "crops"), wanted, atol=1e-5)
    assert np.abs(wanted - models.chances("arithmetic", "ragged")).max() > 1e-4


def test_answers_are_the_same_twice(models: Models) -> None:
    for name in (*NAMES, *KINDS, "tta"):
        for key in questions(name):
            first, second = (models.ask(name, key, time) for time in (1, 2))
            if isinstance(first, str):
                continue
            for output in first:
                np.testing.assert_array_equal(first[output], second[output], f"{name}, {key}")


def test_classes_rate_and_image_are_the_firsts(models: Models) -> None:
    assert tuple(text.decode() for text in models.ask("arithmetic", "classes")["classes"]) == CLASSES
    assert models.ask("arithmetic", "sampling_rate")["sampling_rate"] == RATE
    np.testing.assert_array_equal(
        models.ask("arithmetic", "3 image")["image"], models.ask("apd", "3 image")["image"]
    )


# Windows


def test_windows_are_the_longest_members(models: Models) -> None:
    own, found = models.ask("apx", "windows"), models.ask("arithmetic", "windows")
    np.testing.assert_allclose(found["start_seconds"], [0, 1.25, 2.5, 3.75, 4.8], atol=1e-4)
    np.testing.assert_array_equal(found["start_seconds"], own["start_seconds"])


def test_a_shorter_member_covers_each_window_by_several_of_its_own(models: Models) -> None:
    """Of 1 s in 2.5 s: four, every half second, as the member alone has them."""
    alone, found = models.ask("apd", "windows"), models.ask("pair", "windows")
    np.testing.assert_allclose(alone["start_seconds"][:9], np.arange(9) / 2, atol=1e-5)
    apd, apx = models.chances("apd", "windows"), models.chances("apx", "windows")
    starts = found["start_seconds"]
    wanted = np.stack([apd[round(2 * start) : round(2 * start) + 4].mean(0) for start in starts[[0, 2]]])
    pair = models.chances("pair", "windows")[[0, 2]]
    np.testing.assert_allclose(pair, (wanted + apx[[0, 2]]) / 2, atol=1e-5)
    assert np.ptp(apd[:4], axis=0).max() > 1e-3


# Embeddings and explanations


def test_embeddings_are_what_the_last_layers_see(models: Models, runs: list[Path]) -> None:
    found = models.ask("arithmetic", "embeddings")["embeddings"]
    assert found.shape == (1, 3 * 512)
    parts = [models.ask(name, "embeddings")["embeddings"] for name in NAMES]
    np.testing.assert_allclose(found, np.concatenate(parts, axis=1), atol=1e-5)
    # With one crop the logits are the last layer of them. `picked` is asked of a clip of one image.
    kernel, bias = networks.load(models.place / "picked" / "best.keras").layers[-1].get_weights()
    vectors = models.ask("picked", "embeddings")["embeddings"]
    image = models.ask("picked", "2 image")["image"]
    cut = crops.even_crops(tf.constant(image), 24, tf.constant(2)).numpy()[..., 0] / 255
    np.testing.assert_allclose(vectors, cut.mean(axis=(0, 1, 2)).reshape(1, 1), atol=1e-5)
    assert kernel.shape == (1, len(CLASSES))
    assert not bias.any()


def test_an_overlay_shows_what_the_network_looks_at(models: Models) -> None:
    """`picked` hears the mean amplitude, so its overlay is the amplitude itself."""
    overlay = models.ask("picked", "explain")["overlay"]
    image = models.ask("picked", "3 image")["image"]
    assert overlay.shape == image.shape[:2]
    np.testing.assert_allclose(overlay, image[..., 0] / 255, atol=1e-5)


class Hearing:
    """A member whose overlay is the amplitude that it sees."""

    explains, evaluate = True, EvaluateSettings()

    def __init__(self, features: FeatureSettings):
        self.features = self.look = features

    def image(self, audio: tf.Tensor) -> tf.Tensor:
        return formats.whole_image(ops, audio, self.features)

    def overlay(self, image: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        return tf.cast(image[..., 0] > 128, tf.float32)


@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize("length", [0.5, 3.0, 12.0])
def test_overlays_of_other_images_lie_where_the_sound_is(first: int, length: float) -> None:
    """Whose images of a short clip are filled up otherwise, or have columns of other lengths."""
    looks = [
        FeatureSettings(rate=RATE, bands=32, seconds=seconds, stretch=stretch)
        for seconds, stretch in ((1.0, "hop"), (5.0, "mean"), (10.0, "resize"), (4.0, "hop"))
    ]
    looks = [looks[first], *looks[:first], *looks[first + 1 :]]
    count = round(length * RATE)
    sound = np.random.default_rng(0).normal(0, 0.1, count).astype(np.float32)
    sound[: count // 2] = 0
    overlay = Ensemble([Hearing(look) for look in looks]).overlay(tf.constant(sound), tf.constant(0)).numpy()
    look, heard = looks[0], overlay.mean(0) > 0.5  # by most of them
    assert overlay.shape[0] == 32
    lead = max(look.shortest / RATE - length, 0) / 2
    edges = np.flatnonzero(heard)[[0, -1]] + (0, 1)
    longest = max(own.column_seconds for own in looks)
    assert edges * look.column_seconds - lead == pytest.approx((length / 2, length), abs=longest + 0.05)


def test_overlays_of_an_ensemble(models: Models) -> None:
    size = models.ask("arithmetic", "3 image")["image"].shape[:2]
    overlay = models.ask("arithmetic", "explain")["overlay"]
    assert overlay.shape == size
    assert overlay.dtype == np.float32
    assert overlay.min() >= 0
    assert overlay.max() == pytest.approx(1)


def test_a_class_that_is_none_is_refused(models: Models) -> None:
    for key in ("no class", "minus"):
        assert "`class_index` must be from 0 to 3" in models.ask("arithmetic", key)


# The graph


def graphs(message: Message) -> list[Any]:
    """All nodes of a SavedModel: of its graph and of its functions."""
    meta = message.meta_graphs[0].graph_def
    return [*meta.node, *(node for function in meta.library.function for node in function.node_def)]


@pytest.mark.parametrize("name", ["arithmetic", "stacker"])
def test_no_operation_needs_xla_keras_or_jax(name: str, models: Models) -> None:
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((models.folder(name) / "saved_model" / "saved_model.pb").read_bytes())
    nodes = graphs(saved)
    used = {node.op for node in nodes}
    assert {"Conv2D", "RFFT", "Sigmoid"} <= used  # functions were looked into
    assert ("MaxGrad" in used or "ReluGrad" in used) == (name in WHOLE)
    library = {function.signature.name for function in saved.meta_graphs[0].graph_def.library.function}
    plain = set(dir(tf.raw_ops))
    assert {op for op in used - library if op not in plain and not op.startswith("_")} == set()
    assert {op for op in used if "Xla" in op or "PyFunc" in op or "Jax" in op or "Custom" in op} == set()
    functions = saved.meta_graphs[0].graph_def.library.function
    for holder in (*nodes, *functions):
        assert not holder.attr["_XlaMustCompile"].b


class Network:
    """Stands for a network: two means of the image."""

    def __init__(self) -> None:
        self.weights: list = []

    def __call__(self, images: tf.Tensor, training: bool) -> tf.Tensor:
        return tf.reduce_mean(images, axis=(1, 2))[:, :2]


def member(**settings: Any) -> Member:
    features = FeatureSettings(rate=RATE, bands=32, **settings)
    return Member(Network(), features, EvaluateSettings(crops=2))


def transforms(*members: Member) -> int:
    """How often the spectrum is computed for a clip."""
    served = Ensemble(members)
    function = tf.function(served.chances, autograph=False)
    graph = function.get_concrete_function(tf.TensorSpec([None])).graph.as_graph_def()
    functions = {one.signature.name: one.node_def for one in graph.library.function}

    def count(nodes: Any) -> int:
        called = [attr.func.name for node in nodes for attr in node.attr.values() if attr.func.name]
        return sum(node.op == "RFFT" for node in nodes) + sum(count(functions[name]) for name in called)

    return count(graph.node)


def test_members_of_equal_settings_share_their_image() -> None:
    assert transforms(member(), member(), member()) == 1
    assert transforms(member(), member(fmax=3000.0), member()) == 2


def test_signatures_share_image_and_network(models: Models) -> None:
    """Each is stored once, and so loaded once; `explain` alone has a network that it can take apart."""
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((models.folder("arithmetic") / "saved_model" / "saved_model.pb").read_bytes())
    names = [function.signature.name for function in saved.meta_graphs[0].graph_def.library.function]
    convolutions = [node for node in graphs(saved) if node.op == "Conv2D"]
    transforms = [node for node in graphs(saved) if node.op == "RFFT"]
    assert sum("__inference__see" in name for name in names) == len(NAMES)
    assert sum("__inference__answer" in name for name in names) == len(NAMES)
    assert len(convolutions) == 2 * 2 * len(NAMES)  # two layers a network, in the answer and in `explain`
    assert len(transforms) == len(NAMES)


def test_members_of_two_rates_are_refused() -> None:
    with pytest.raises(ValueError, match=r"members must share one rate. Received: \[4000, 8000\] Hz"):
        Ensemble([member(), Member(Network(), FeatureSettings(rate=4000, bands=32), EvaluateSettings())])


# Jitter


def test_jittered_crops_are_those_of_training() -> None:
    image = np.random.default_rng(0).integers(1, 256, (20, 67, 3)).astype(np.uint8)
    found = serving_windows.cut(tf.constant(image), 20, tf.constant(40), True, False).numpy()
    starts = crops.even_starts(tf.constant(67), 20, tf.constant(40)).numpy()
    np.testing.assert_array_equal(found[0], image[:, :20])
    moves = []
    for number in range(1, 40):
        fits = [
            (late, shift)
            for late in range(-2, 3)
            for shift in range(3)
            if (
                crops.crop(tf.constant(image), starts[number] + late, 20, shift).numpy() == found[number]
            ).all()
        ]
        assert len(fits) == 1
        moves += fits
    # Up to a tenth of 20 columns either way, and up to as many rows: all of it occurs.
    assert {late for late, _ in moves} == {-2, -1, 0, 1, 2}
    assert {shift for _, shift in moves} == {0, 1, 2}
    again = serving_windows.cut(tf.constant(image), 20, tf.constant(40), True, False).numpy()
    np.testing.assert_array_equal(again, found)


def test_jittered_crops_around_a_clip() -> None:
    """As of an image that has a tenth of a window more on either side: its other end."""
    image = np.random.default_rng(0).integers(1, 256, (20, 21, 3)).astype(np.uint8)
    found = serving_windows.cut(tf.constant(image), 20, tf.constant(9), True, True).numpy()
    np.testing.assert_array_equal(found[0], image[:, :20])
    starts = crops.even_starts(tf.constant(21), 20, tf.constant(9), around=True).numpy()
    for number in range(1, 9):
        turned = [np.roll(image, -(starts[number] + late), axis=1)[:, :20] for late in range(-2, 3)]
        wanted = [crops.crop(tf.constant(one), 0, 20, shift).numpy() for one in turned for shift in range(3)]
        assert sum((one == found[number]).all() for one in wanted) == 1


def test_jitter_of_an_image_that_is_no_longer_than_a_window() -> None:
    image = tf.ones([20, 15, 3], tf.uint8)
    found = serving_windows.cut(image, 20, tf.constant(6), True, False).numpy()
    assert found.shape == (6, 20, 20, 3)
    assert (found[0] == np.pad(np.ones((20, 15, 3)), [(0, 0), (0, 5), (0, 0)])).all()


@pytest.mark.parametrize(
    ("span", "own", "wanted"), [(2, 2, [0]), (2, 1, [0, 0.5, 1]), (2.5, 1, [0, 0.5, 1, 1.5])]
)
def test_windows_within_a_window(span: float, own: float, wanted: list[float]) -> None:
    found = serving_windows.within(tf.constant([0.0, 3.0]), tf.constant(10 * RATE), RATE, span, own).numpy()
    np.testing.assert_allclose(found, [wanted, np.array(wanted) + 3], atol=1e-5)


def test_windows_within_a_clip_that_is_shorter_than_a_window() -> None:
    found = serving_windows.within(tf.constant([0.0]), tf.constant(round(1.5 * RATE)), RATE, 2.0, 1.0).numpy()
    np.testing.assert_allclose(found, [[0, 0.25, 0.5]], atol=1e-5)
    found = serving_windows.within(tf.constant([0.0]), tf.constant(round(0.5 * RATE)), RATE, 2.0, 1.0).numpy()
    np.testing.assert_allclose(found, [[0, 0, 0]], atol=1e-5)


# The command


@pytest.fixture(scope="module")
def made(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ensemble by the command: the stacker, jittered."""
    out = tmp_path_factory.mktemp("made") / "together"
    given = ["--runs", *map(str, runs), "--out", str(out), "--mean", "stacker", "--tta", "3", "--jitter"]
    assert ensemble.main(given) == 0
    return out


def test_what_lies_in_the_folder(made: Path, runs: list[Path]) -> None:
    assert {path.name for path in made.iterdir()} == {
        "saved_model",
        "ensemble.json",
        "classes.txt",
        "README.md",
    }
    assert tuple((made / "classes.txt").read_text().splitlines()) == CLASSES
    told = json.loads((made / "ensemble.json").read_text())
    assert [own["run"] for own in told["members"]] == list(NAMES)
    assert [own["format"] for own in told["members"]] == ["APD", "APX", "AAA"]
    assert (told["tta"], told["jitter"], told["sampling_rate"]) == (3, True, RATE)
    assert told["mean"]["kind"] == "stacker"
    assert np.shape(told["mean"]["weights"]) == (3, len(CLASSES))
    assert told["difference"] < export.TOLERANCE
    summary = json.loads((runs[1] / "summary.json").read_text())
    assert told["members"][1]["val_lwlrap"] == summary["val_lwlrap"]
    with (runs[1] / "per_class.csv").open() as lines:
        scores = {row["class"]: float(row["lwlrap"]) for row in csv.DictReader(lines)}
    assert told["members"][1]["per_class"] == pytest.approx(scores)
    assert told["validation"]["clips"] == ensemble_runs.CLIPS
    assert told["validation"]["members"][1] == pytest.approx(summary["val_lwlrap"], abs=1e-5)
    assets = {path.name for path in (made / "saved_model" / "assets").iterdir()}
    assert assets == {"classes.txt", "ensemble.json", "config_1.toml", "config_2.toml", "config_3.toml"}


def test_an_ensemble_is_evaluated(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    import soundfile

    rows = [("fname", "labels")]
    for number, one in enumerate(CLIPS):
        soundfile.write(tmp_path / f"{number}.wav", one, RATE)
        rows.append((f"{number}.wav", CLASSES[number]))
    with (tmp_path / "t.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows(rows)
    given = ["--model", str(made), "--audio", str(tmp_path), "--table", str(tmp_path / "t.csv")]
    assert evaluate.main(given) == 0
    assert "4 clips  lwlrap " in capsys.readouterr().out


def test_an_ensemble_from_python(made: Path) -> None:
    tagger = fatk.load(made)
    assert tagger.classes == CLASSES
    assert tagger.embed(CLIPS[1]).shape == (3 * 512,)
    assert tagger.explain(CLIPS[1], CLASSES[1]).shape[0] == 32
    with pytest.raises(ValueError, match=r"`name` must be one of Bark, .*Received: 'Meow'"):
        tagger.explain(CLIPS[1], "Meow")


@pytest.fixture
def refused(capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """Run the command, which must fail -> its one line."""

    def refuse(*given: object) -> str:
        with pytest.raises(SystemExit) as left:
            cli.run(lambda: ensemble.main([str(argument) for argument in given]))
        lines = capsys.readouterr().err.splitlines()
        assert (left.value.code, len(lines)) == (2, 1), lines
        return lines[0].removeprefix("fatk: ")

    return refuse


def tables_only(folder: Path, classes: tuple[str, ...] = CLASSES, rate: int = RATE) -> Path:
    """A run as far as the command looks before it loads a network."""
    folder.mkdir()
    (folder / "best.keras").write_text("weights")
    (folder / "config.toml").write_text(f'[data]\nkind = "demo"\n[features]\nrate = {rate}\nbands = 32\n')
    (folder / "classes.txt").write_text("\n".join(classes) + "\n")
    return folder


def test_other_classes_are_refused_by_name(tmp_path: Path, refused: Callable[..., str]) -> None:
    first = tables_only(tmp_path / "a")
    other = tables_only(tmp_path / "b", (*CLASSES[1:], "Meow"))
    line = refused("--runs", first, other, "--out", tmp_path / "out")
    assert line == f"{other}: its classes are not those of {first} but without Bark; with Meow."


def test_another_rate_is_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    first, other = tables_only(tmp_path / "a"), tables_only(tmp_path / "b", rate=16000)
    line = refused("--runs", first, other, "--out", tmp_path / "out")
    assert line.startswith(f"{other} takes 16000 Hz and {first} 8000 Hz: members must share one rate")


def test_what_is_no_run_is_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    first = tables_only(tmp_path / "a")
    assert refused("--runs", first, tmp_path / "none", "--out", tmp_path / "out").startswith(
        f"{tmp_path / 'none'}: no run"
    )
    assert refused("--runs", first, first, "--out", tmp_path / "out") == f"{first}: the run is named twice."


def test_a_mean_without_what_it_is_fitted_by_is_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    runs = tables_only(tmp_path / "a"), tables_only(tmp_path / "b")
    line = refused("--runs", *runs, "--out", tmp_path / "out", "--mean", "stacker")
    assert "labelled clips that all runs held out" in line
    line = refused("--runs", *runs, "--out", tmp_path / "out", "--mean", "per_class")
    assert line == f"{runs[0] / 'per_class.csv'}: no lwlrap of any class; --mean per_class needs it."
    assert not (tmp_path / "out").exists()


def test_settings_that_cannot_be(tmp_path: Path, refused: Callable[..., str]) -> None:
    given = ("--runs", tables_only(tmp_path / "a"), "--out", tmp_path / "out")
    assert refused(*given, "--tta", 0) == "--tta must be at least 1. Received: 0."
    assert refused(*given, "--temperature", 0).startswith("--temperature must be finite and above 0.")
    assert "arithmetic" in refused(*given, "--mean", "harmonic")


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, refused: Callable[..., str]) -> None:
    first = tables_only(tmp_path / "a")
    line = refused("--runs", first, "--out", first)
    assert line == f"{first}: is there and is no ensemble. Choose another --out, or empty it."


def test_validation_clips_in_common(runs: list[Path], tmp_path: Path) -> None:
    held = held_out(read_members(runs))
    assert held is not None
    assert held.chances.shape == (3, ensemble_runs.CLIPS, len(CLASSES))
    np.testing.assert_array_equal(held.truth.argmax(1), np.arange(ensemble_runs.CLIPS) % len(CLASSES))
    # Every member knows a little of every class: the columns of all were matched by name.
    for chances in held.chances:
        assert (chances * held.truth).sum() / held.truth.sum() > chances.mean() + 0.1
    assert held_out(read_members([tables_only(tmp_path / "a")])) is None
