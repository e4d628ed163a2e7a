"""Shards of FLAC and Vorbis through tensorflow-io: prepare, train, predict."""

import csv
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from fatk import predict, prepare, train
from fatk.config import Config, load_config
from fatk.feeds import Feeds
from pipelines import decode

RATE = 22050

CONFIG = """
name = "{name}"
[data]
kind = "fat2019"
path = "{demo}"
records = "{name}"
valid_per_class = 1
[records]
{records}
[features]
rate = {rate}
bands = 64
[train]
batch = 16
[evaluate]
crops = 2
[[stage]]
epochs = 2
rate = 3e-3
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs go to where the test is."""
    monkeypatch.chdir(tmp_path)


def config(demo: Path, name: str, records: str, rate: int = RATE) -> Path:
    """A config file for a small run."""
    path = Path(f"{name}.toml")
    path.write_text(CONFIG.format(name=name, demo=demo, records=records, rate=rate))
    return path


def operations(dataset: tf.data.Dataset) -> set[str]:
    """Kinds of operations in a dataset's graph and in the functions that it maps."""
    # 1: lookup tables are state, which is of no concern here.
    content = tf.raw_ops.DatasetToGraphV2(input_dataset=dataset._variant_tensor, external_state_policy=1)
    graph = tf.compat.v1.GraphDef.FromString(content.numpy())
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return {node.op for node in nodes}


def assert_native(settings: Config, wanted: set[str]) -> None:
    """Training and evaluation have tensorflow-io's operations in their graphs, and none of Python's."""
    feeds = Feeds(settings, prepare.prepare(settings, verbose=False))
    for dataset in (feeds.training(), feeds.evaluation(feeds.valid)):
        found = operations(dataset)
        assert {name for name in found if name.startswith("IO>")} == wanted
        assert not {name for name in found if "PyFunc" in name}


def table(path: Path) -> dict[str, np.ndarray]:
    """fname -> a probability a class."""
    with path.open(newline="") as lines:
        header, *rows = csv.reader(lines)
    assert header[0] == "fname"
    return {row[0]: np.array(row[1:], float) for row in rows}


@pytest.mark.usefixtures("nothing_else")
def test_flac_shards_train_and_predict(demo: Path, capsys: pytest.CaptureFixture) -> None:
    """The whole way: shards, training, the answers for the test clips, the served model's for their files."""
    file = str(config(demo, "flac", 'encoding = "flac"'))
    assert prepare.main(["--config", file]) == 0
    assert "flac shards are decoded by tensorflow-io as they are read" in capsys.readouterr().out
    assert_native(load_config(file), {"IO>AudioDecodeFlac"})
    assert train.main(["--config", file]) == 0
    assert "nothing to encode" in capsys.readouterr().out
    run = Path("runs/flac")
    from_shards = table(run / "submission.csv")
    assert len(from_shards) == 20
    test = ["--audio", str(demo / "test"), "--table", str(demo / "sample_submission.csv"), "--out", "out.csv"]
    assert predict.main(["--model", str(run), *test]) == 0
    from_files = table(Path("out.csv"))
    assert from_files.keys() == from_shards.keys()
    for name, chances in from_shards.items():
        np.testing.assert_allclose(from_files[name], chances, atol=1e-4)


@pytest.mark.usefixtures("nothing_else")
def test_vorbis_shards_of_another_rate_train_and_predict(
    demo: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoded and resampled in the graph."""
    monkeypatch.setattr("fatk.trainer.export", lambda run: 0.0)  # the other test exports
    file = str(config(demo, "vorbis", f'encoding = "vorbis"\nrate = {RATE}', 16000))
    assert prepare.main(["--config", file]) == 0
    told = "vorbis shards are decoded by tensorflow-io and resampled to 16000 Hz by tensorflow-io"
    assert told in capsys.readouterr().out
    assert_native(load_config(file), {"IO>AudioDecodeVorbis", "IO>AudioResample"})
    assert train.main(["--config", file]) == 0
    answers = np.stack(list(table(Path("runs/vorbis/submission.csv")).values()))
    assert answers.shape == (20, 10)
    assert np.isfinite(answers).all()
    assert answers.std(0).min() > 0  # it hears the clips apart


@pytest.mark.usefixtures("nothing_else")
def test_batches_from_flac_are_those_from_pcm(demo: Path) -> None:
    """So a run learns the same from either."""
    batches = []
    for encoding in ("pcm16", "flac"):
        settings = load_config(config(demo, encoding, f'encoding = "{encoding}"'))
        feeds = Feeds(settings, prepare.prepare(settings, verbose=False))
        batches.append(list(islice(feeds.training().as_numpy_iterator(), 3)))
    for plain, flac in zip(*batches, strict=True):
        for name, values in plain.items():
            np.testing.assert_array_equal(flac[name], values)


def test_what_soundfile_makes_of_the_same_shards(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same set prepared once gives the same evaluation by either library."""
    settings = load_config(config(demo, "either", 'encoding = "flac"'))
    feeds = Feeds(settings, prepare.prepare(settings, verbose=False))
    native = list(feeds.evaluation(feeds.valid).as_numpy_iterator())
    monkeypatch.setattr(decode, "_tensorflow_io", lambda: None)
    dataset = feeds.evaluation(feeds.valid)
    assert {name for name in operations(dataset) if "PyFunc" in name}  # `operations` would see it
    for batch, other in zip(native, dataset.as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(batch["image"], other["image"])
