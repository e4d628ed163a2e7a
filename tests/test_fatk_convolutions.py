"""Convolutions of a SavedModel in bfloat16: who may ask for it, and what becomes of the answers."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fatk import cli, convolutions, evaluate, load, predict
from fatk.serve import __main__ as serve
from fatk.serving import ServedTagger
from pipelines.settings import EvaluateSettings, FeatureSettings

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ("Low", "Middle", "High")
SETTINGS = FeatureSettings(rate=8000, bands=32)
WITH_AMX = "flags\t\t: fpu vme avx512_bf16 amx_bf16 avx512_fp16 amx_tile amx_int8\n"
WITHOUT = "flags\t\t: fpu vme avx512_bf16 avx512_fp16\n"


class Convolving:
    """Two layers of random convolutions, and a mean."""

    def __init__(self) -> None:
        draw = np.random.default_rng(0)
        shapes = [(3, 3, 3, 64), (3, 3, 64, 64), (64, len(CLASSES))]
        kernels = [draw.normal(size=shape) / np.sqrt(np.prod(shape[:-1])) for shape in shapes]
        self.kernels = [tf.Variable(kernel, dtype=tf.float32) for kernel in kernels]
        self.weights = [SimpleNamespace(value=kernel) for kernel in self.kernels]

    def __call__(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        first, second, last = self.kernels
        x = tf.nn.relu(tf.nn.conv2d(images, first, 1, "SAME"))
        x = tf.nn.relu(tf.nn.conv2d(x, second, 2, "SAME"))
        return 4 * tf.matmul(tf.reduce_mean(x, axis=(1, 2)), last)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a SavedModel."""
    folder = tmp_path_factory.mktemp("convolving")
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    served = ServedTagger(Convolving(), SETTINGS, EvaluateSettings(crops=4), CLASSES, folder / "classes.txt")
    served.save(folder / "saved_model")
    return folder


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """As in a process that has no model yet, with a TensorFlow that notes what is asked of it."""
    monkeypatch.setattr(convolutions, "_chosen", None)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    monkeypatch.setenv("TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_ALLOWLIST_REMOVE", "")  # to be put back
    asked: list[dict[str, Any]] = []
    optimizer = SimpleNamespace(set_experimental_options=asked.append)
    return SimpleNamespace(asked=asked, config=SimpleNamespace(optimizer=optimizer))


@pytest.fixture
def processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A processor with AMX, as Linux tells it, to be changed."""
    told = tmp_path / "cpuinfo"
    told.write_text(WITH_AMX)
    monkeypatch.setattr(convolutions, "_CPU", told)
    return told


def test_float32_asks_nothing_of_tensorflow(fresh: SimpleNamespace, processor: Path) -> None:
    processor.write_text(WITHOUT)
    convolutions.compute_in("float32", fresh)
    convolutions.compute_in("float32", fresh)
    assert fresh.asked == []


def test_bfloat16_is_asked_for(fresh: SimpleNamespace, processor: Path) -> None:
    convolutions.compute_in("bfloat16", fresh)
    assert fresh.asked == [{"auto_mixed_precision_onednn_bfloat16": True}]


@pytest.mark.parametrize("told", [WITHOUT, None])
def test_without_amx_it_is_refused(fresh: SimpleNamespace, processor: Path, told: str | None) -> None:
    processor.write_text(told) if told else processor.unlink()
    with pytest.raises(
        cli.UserError, match=r"this processor has no AMX \(amx_bf16 is missing in .*cpuinfo\)"
    ):
        convolutions.compute_in("bfloat16", fresh)
    convolutions.compute_in("float32", fresh)  # and nothing is chosen by what was refused
    assert fresh.asked == []


def test_without_what_computes_in_it_it_is_refused(
    fresh: SimpleNamespace, processor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    with pytest.raises(cli.UserError, match="TF_ENABLE_ONEDNN_OPTS=0 turns off what computes in it"):
        convolutions.compute_in("bfloat16", fresh)
    assert fresh.asked == []


def test_a_process_has_one_precision(fresh: SimpleNamespace, processor: Path) -> None:
    convolutions.compute_in("float32", fresh)
    with pytest.raises(cli.UserError, match="is bfloat16, and this process has a model in float32 already"):
        convolutions.compute_in("bfloat16", fresh)
    assert fresh.asked == []


def test_another_precision_is_refused_with_the_choices(model: Path, tmp_path: Path) -> None:
    with pytest.raises(cli.UserError, match=r"one of float32, bfloat16\. Received: 'float16'\."):
        load(model, precision="float16")


@pytest.mark.parametrize(
    ("command", "given"),
    [
        (predict, ["clip.wav"]),
        (evaluate, ["--audio", ".", "--table", "labels.csv"]),
        (serve, ["--port", "0"]),
    ],
)
def test_commands_hand_the_precision_on(
    model: Path, fresh: SimpleNamespace, processor: Path, command: Any, given: list[str],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    import soundfile

    monkeypatch.chdir(tmp_path)
    soundfile.write("clip.wav", np.zeros(800), SETTINGS.rate)
    Path("labels.csv").write_text("fname,labels\nclip.wav,Low\n")
    processor.write_text(WITHOUT)
    with pytest.raises(cli.UserError, match="this processor has no AMX"):
        command.main(["--model", str(model), "--precision", "bfloat16", *given])


SAY = """
import sys
import numpy as np
import fatk
tagger = fatk.load(sys.argv[1], precision=sys.argv[2])
sound = (np.random.default_rng(0).uniform(-1, 1, 24000) * np.linspace(0, 1, 24000)).astype(np.float32)
image = tagger._model.signatures["image"](audio=tagger._tf.constant(sound))["image"].numpy()
np.savez(sys.argv[3], probabilities=tagger.predict_batch([sound, sound[:9000]]), image=image)
"""


@pytest.mark.skipif(not convolutions.has_amx(), reason="this processor has no AMX")
def test_answers_in_bfloat16_are_rounded_and_images_are_not(model: Path, tmp_path: Path) -> None:
    said = {}
    for precision in convolutions.PRECISIONS:
        out = tmp_path / f"{precision}.npz"
        subprocess.run([sys.executable, "-c", SAY, str(model), precision, str(out)], cwd=ROOT, check=True)
        with np.load(out) as arrays:
            said[precision] = dict(arrays)
    exact, rounded = said["float32"], said["bfloat16"]
    assert np.array_equal(exact["image"], rounded["image"])
    off = np.abs(exact["probabilities"] - rounded["probabilities"])
    assert exact["probabilities"].std() > 0.01
    assert 1e-6 < off.max() < 0.02
