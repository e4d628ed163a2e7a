"""TensorBoard: what a short run writes is read back through TensorBoard's own server."""

import io
import json
import re
import time
import urllib.parse
import urllib.request
import wave
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import precision_score, recall_score

from fatk import tensorboard_curves
from fatk.config import Config, load_config
from fatk.tensorboard_clips import cross_entropy, extremes
from fatk.tensorboard_weights import grid
from fatk.tensorboard_words import tags, words
from fatk.train import Outcome, train
from tests import small_runs

CLASSES = ("Whistle (low)", "Whistle_(low)")  # alike but for what a tag cannot have
STAGES = '[[stage]]\nepochs = 2\nrate = 1e-2\nfirst_rate = 1e-4\nschedule = "constant"\n'


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    path = small_runs.write_beeps(tmp_path_factory.mktemp("beeps") / "set", STAGES, CLASSES, "every = 1\n")
    # Without mixing it compiles in half the time.
    return load_config(path, ["mixing.kind=none", "train.clip=5.0"])


@pytest.fixture(scope="module")
def done(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """A run of two epochs in a folder of its own."""
    folder = tmp_path_factory.mktemp("place")
    with small_runs.quick(), pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        outcome = train(config)
        yield replace(outcome, run=type(outcome.run)(folder / outcome.run.folder))


@pytest.fixture(scope="module")
def server(done: Outcome) -> str:
    """The address of TensorBoard's own server, looking at the folder of runs."""
    from tensorboard import default, program

    board = program.TensorBoard(default.get_plugins())
    logs = str(done.run.folder.parent)
    board.configure(argv=["", "--logdir", logs, "--host", "127.0.0.1", "--port", "0", "--load_fast", "false"])
    address = board.launch()
    end = time.monotonic() + 60
    while len(json.loads(get(f"{address}data/runs"))) < 2:
        assert time.monotonic() < end, "TensorBoard found no runs"
        time.sleep(0.1)
    return address


def get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=30) as answer:
        return answer.read()


def ask(server: str, plugin: str, **question: Any) -> Any:
    """`/data/plugin/<plugin>?...`, as TensorBoard's pages ask it -> the JSON it answers."""
    return json.loads(get(f"{server}data/plugin/{plugin}?{urllib.parse.urlencode(question)}"))


RUN, FINAL = "beeps/tensorboard", "beeps/tensorboard/final"


def scalars(server: str, tag: str, run: str = RUN) -> list[float]:
    return [value for _, _, value in ask(server, "scalars/scalars", run=run, tag=tag)]


def test_scalars(server: str, done: Outcome) -> None:
    found = set(ask(server, "scalars/tags")[RUN])
    assert found == {
        *(f"epoch/{name}" for name in ("loss", "val_loss", "val_lwlrap", "learning_rate")),
        *(f"learning_rate/{name}" for name in ("1_first_layers", "2_middle_layers", "3_head")),
        *("gradient_norm/mean", "gradient_norm/largest"),
        *(f"val_lwlrap_per_class/{name}" for name in ("Whistle__low_", "Whistle__low__2")),
    }
    history = np.genfromtxt(done.run.history, delimiter=",", names=True)
    for name in ("loss", "val_loss", "val_lwlrap", "learning_rate"):
        np.testing.assert_allclose(scalars(server, f"epoch/{name}"), history[name], rtol=1e-4)
    assert [step for _, step, _ in ask(server, "scalars/scalars", run=RUN, tag="epoch/loss")] == [1, 2]
    mean, largest = scalars(server, "gradient_norm/mean"), scalars(server, "gradient_norm/largest")
    assert all(0 < low < high for low, high in zip(mean, largest, strict=True))


def test_rates_of_groups(server: str) -> None:
    for name, rate in (("1_first_layers", 1e-4), ("2_middle_layers", 1e-3), ("3_head", 1e-2)):
        assert scalars(server, f"learning_rate/{name}") == pytest.approx([rate, rate], rel=1e-5)


def test_values_a_class_sum_to_the_whole(server: str) -> None:
    each = [scalars(server, f"val_lwlrap_per_class/{name}") for name in tags(CLASSES)]
    np.testing.assert_allclose(np.mean(each, 0), scalars(server, "epoch/val_lwlrap"), rtol=1e-5)


def picture(server: str, tag: str, number: int = -1) -> np.ndarray:
    shown = ask(server, "images/images", run=RUN, tag=tag, sample=0)[number]
    return np.asarray(
        Image.open(io.BytesIO(get(f"{server}data/plugin/images/individualImage?{shown['query']}")))
    )


def test_images(server: str) -> None:
    found = ask(server, "images/tags")[RUN]
    groups = {tag.split("/")[0] for tag in found}
    assert groups == {
        *(f"input_{name}" for name in ("APD", "APX", "AAA", "AAP")),
        "training_batch",
        "first_layer_filters",
    }
    (batch,) = (tag for tag in found if tag.startswith("training_batch/"))
    assert re.search(r"/01 Whistle.\(low\)", batch)  # its labels, as mixed
    assert picture(server, batch).shape == (3 * 16, 3 * 16, 3)
    shown = ask(server, "images/images", run=RUN, tag="first_layer_filters", sample=0)
    assert [image["step"] for image in shown] == [0, 1, 2]
    before, trained = (picture(server, "first_layer_filters", n) for n in (0, -1))
    assert before.shape == trained.shape
    assert (before != trained).any()


def test_audio_of_the_worst_and_the_best_clip(server: str, done: Outcome, config: Config) -> None:
    found = ask(server, "audio/tags")[RUN]
    assert sorted(tag.split("/")[0] for tag in found) == ["1_worst_clips", "2_best_clips"]
    losses = []
    for tag, about in sorted(found.items()):
        name, precision, loss = re.search(
            r"/(\d\d\.wav)</code>: lwlrap ([\d.]+), loss (\d\.\d+)", about["description"]
        ).groups()
        losses.append((-float(precision), float(loss)))
        assert f"is {CLASSES[int(name[:2]) % 2]} - heard Whistle" in tag
        (shown,) = ask(server, "audio/audio", run=RUN, tag=tag, sample=0)
        sound = get(f"{server}data/plugin/audio/individualAudio?{shown['query']}")
        with wave.open(io.BytesIO(sound)) as heard:
            assert heard.getframerate() == small_runs.RATE
            assert heard.getnframes() == 1600 + 40 * int(name[:2])
    assert losses[0] > losses[1]  # worst first


def test_precision_and_recall(server: str, done: Outcome) -> None:
    found = ask(server, "pr_curves/tags")[RUN]
    assert {tag: about["displayName"] for tag, about in found.items()} == {
        f"pr_curve/{safe}": name for safe, name in zip(tags(CLASSES), CLASSES, strict=True)
    }
    chances = np.genfromtxt(done.run.predictions, delimiter=",", skip_header=1)[:, 1:]
    names = [line.split(",")[0] for line in done.run.predictions.read_text().splitlines()[1:]]
    for number, safe in enumerate(tags(CLASSES)):
        (curve,) = ask(server, "pr_curves/pr_curves", run=RUN, tag=f"pr_curve/{safe}")[RUN]
        truth = np.array([int(name[:2]) % 2 == number for name in names])
        assert curve["true_positives"][0] == truth.sum()
        for at in range(0, len(curve["thresholds"]), 7):
            called = chances[:, number] >= curve["thresholds"][at]
            assert curve["recall"][at] == pytest.approx(recall_score(truth, called))
            assert curve["precision"][at] == pytest.approx(precision_score(truth, called, zero_division=0))


def test_settings_with_the_score(server: str, done: Outcome) -> None:
    request = urllib.request.Request(
        f"{server}data/plugin/hparams/session_groups",
        json.dumps(
            {
                "startIndex": 0,
                "sliceSize": 10,
                "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"],
                "colParams": [],
            }
        ).encode(),
        {"Content-Type": "application/json"},
    )
    (group,) = json.loads(get(request))["sessionGroups"]
    assert group["name"] == "beeps"
    assert group["hparams"]["train.clip"] == 5.0
    assert group["hparams"]["network.name"] == "specgram"
    assert "network.dropout" not in group["hparams"]  # as by default
    scores = {value["name"]["tag"]: value["value"] for value in group["metricValues"]}
    assert scores == pytest.approx(
        {f"final/{name}": done.summary[name] for name in ("val_lwlrap", "val_accuracy")}, rel=1e-6
    )
    assert set(ask(server, "scalars/tags")[FINAL]) == set(scores)  # no column for every scalar


def test_weights_and_words(server: str) -> None:
    assert set(ask(server, "histograms/tags")[RUN]) == {
        "weights/1 block1_conv/kernel",
        "weights/2 head_dense/kernel",
        "weights/3 head_logits/kernel",
    }
    told = ask(server, "text/text", run=RUN, tag="settings")
    assert "clip = 5.0" in told[0]["text"]
    assert {"settings", "summary", "val_lwlrap_per_class"} <= set(ask(server, "text/tags")[RUN])


# The parts by themselves


def test_tags_are_safe_and_all_differ() -> None:
    assert tags(["a", "Bark", "Zipper_(clothing)", "Zipper (clothing)", "Zipper_[clothing]"]) == (
        "a",
        "Bark",
        "Zipper__clothing_",
        "Zipper__clothing__2",
        "Zipper__clothing__3",
    )


def test_words_of_labels() -> None:
    assert words(("a", "b", "c"), np.array([0.2, 0.93, 0.01])) == "b 0.93, a 0.20"
    assert words(("a", "b", "c"), np.array([1.0, 0.0, 1.0])) == "a, c"
    assert words(("a", "b"), np.zeros(2)) == "nothing"


def test_the_worst_and_the_best_by_hand() -> None:
    truth = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 1, 1]])
    chances = np.array(
        [
            [0.9, 0.1, 0.1],  # right
            [0.8, 0.1, 0.1],  # right, less sure
            [0.3, 0.2, 0.1],  # ranked third: 1/3
            [0.1, 0.1, 0.1],  # no label: never shown
            [0.9, 0.8, 0.1],  # second and third of two: (1/2 + 2/3) / 2
        ]
    )
    worst, best = extremes(truth, chances, 2)
    assert (worst, best) == ([2, 4], [0, 1])
    assert extremes(truth, chances, 9) == ([2, 4], [0, 1])  # no clip is both
    assert extremes(truth[:1], chances[:1], 9) == ([], [])
    assert cross_entropy(truth, chances)[0] == pytest.approx(-np.log(0.9))


def test_a_curve_by_hand() -> None:
    found = tensorboard_curves.curve(np.array([1, 1, 0, 0]), np.array([0.9, 0.3, 0.3, 0.1]))
    assert found.shape == (6, 101)
    columns = {at: found[:, at].tolist() for at in (0, 10, 11, 30, 31, 90, 91)}
    assert columns[0] == columns[10] == [2, 2, 0, 0, 0.5, 1]
    assert columns[11] == columns[30] == pytest.approx([2, 1, 1, 0, 2 / 3, 1])
    assert columns[31] == columns[90] == [1, 0, 2, 1, 1, 0.5]
    assert columns[91] == [0, 0, 2, 2, 0, 0]


def test_settings_that_are_shown(config: Config) -> None:
    found = tensorboard_curves.shown(config)
    assert found["stage.0.first_rate"] == 1e-4
    assert found["features.rate"] == small_runs.RATE
    assert not any(key.startswith(("data.", "log.", "name")) for key in found)
    assert tensorboard_curves.shown(config, ["network.dropout"])["network.dropout"] == 0.5


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_grid_of_filters(channels: int) -> None:
    kernel = np.zeros((2, 3, channels, 5), np.float32)
    kernel[0, 2, 0, 3] = -1.0  # lowest band, last column, first channel, fourth filter
    sheet = grid(kernel).astype(int)
    assert {tuple(pixel) for pixel in sheet.reshape(-1, 3)} == {
        (255, 255, 255),  # between filters
        (128, 128, 128),  # 0
        (0, 0, 0) if channels == 1 else (0, 128, 128),
    }
    side, step = 16, (2 * 16 + 2, 3 * 16 + 2)  # pixels a weight, and from filter to filter: three rows of two
    assert sheet.shape == (3 * step[0] + 2, 2 * step[1] + 2, 3)
    rows, columns = np.nonzero(sheet[..., 0] == 0)
    top, left = step[0] + 2 + side, step[1] + 2 + 2 * side
    assert set(rows) == set(range(top, top + side))
    assert set(columns) == set(range(left, left + side))
