"""The feed's threads step back, and batches stay what they are."""

import csv
import os
import sys
import threading
from itertools import islice
from pathlib import Path

import jax
import numpy as np
import pytest
import tensorflow as tf

from fatk import background
from fatk.config import load_config
from fatk.train import train
from models.settings import TrainSettings
from tests.small_runs import quick, write_beeps

linux = pytest.mark.skipif(
    sys.platform != "linux", reason="threads have priorities of their own on Linux only"
)


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def numbers() -> tf.data.Dataset:
    return tf.data.Dataset.range(8).repeat().batch(3).map(lambda own: {"image": own, "target": own + 1})


@linux
def test_batches_are_those_of_the_dataset_in_their_order() -> None:
    made = list(islice(background.batches(numbers()), 7))
    for (own,), theirs in zip(made, numbers().as_numpy_iterator(), strict=False):
        assert own.keys() == theirs.keys()
        for name in own:
            np.testing.assert_array_equal(own[name], theirs[name])
    assert len(made) == 7


@linux
def test_all_is_made_at_a_lower_priority_than_that_of_who_asked() -> None:
    before = niceness()

    def asked(number: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"nice": tf.numpy_function(lambda _: np.int64(niceness()), [number], tf.int64)}

    dataset = tf.data.Dataset.range(100).repeat().map(asked, num_parallel_calls=2).batch(4).prefetch(2)
    found = np.concatenate([batch["nice"] for (batch,) in islice(background.batches(dataset), 40)])
    assert (found == min(19, before + 15)).all()
    assert niceness() == before


@linux
def test_what_fails_in_the_feed_is_raised() -> None:
    def broken(own: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"image": tf.debugging.check_numerics(tf.fill(tf.shape(own), np.nan), "no number")}

    dataset = numbers().map(lambda own: broken(own["image"]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="no number"):
        next(background.batches(dataset))


def test_a_step_on_a_gpu_has_the_feed_at_full_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    here = sys.platform == "linux" and jax.default_backend() == "cpu"
    assert background.wanted(TrainSettings(background=True)) == here
    assert not background.wanted(TrainSettings())
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not background.wanted(TrainSettings(background=True))


@linux
@pytest.mark.slow
def test_a_run_is_the_same_either_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_beeps(tmp_path, "[[stage]]\nepochs = 2\nrate = 0.1\n")
    monkeypatch.chdir(tmp_path)
    histories = []
    with quick(tmp_path / "compiled"):
        for name in ("false", "true"):
            outcome = train(load_config(path, [f"train.background={name}", f"name=feed-{name}"]))
            with outcome.run.history.open(newline="") as lines:
                rows = list(csv.DictReader(lines))
            histories.append([(row["loss"], row["val_loss"], row["val_lwlrap"]) for row in rows])
    assert len(histories[0]) == 2
    assert histories[0] == histories[1]
