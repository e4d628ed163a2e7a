"""Checkpoints: a training that goes on from one is the same to the bit, and a torn file does not stop it."""

from pathlib import Path

import keras
import numpy as np
import pytest

from fatk import checkpoint
from fatk.checkpoint import Progress
from models import schedules
from models.mixup import Mixup
from models.tagger import Tagger

CLASSES, SIDE, BATCH = 3, 6, 16


def tagger(seed: int) -> Tagger:
    """A tiny tagger with everything that has a state: norm, dropout, mixing, momentum, metrics."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = keras.layers.Flatten()(image)
    x = keras.layers.Dense(8)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(0.5)(x)
    network = keras.Model(image, keras.layers.Dense(CLASSES)(x))
    made = Tagger(network, Mixup(0.75, seed=seed), name="tagger")
    made.compile(optimizer=schedules.optimizer("one_cycle", 0.01, 20, 0.01, 0.99), loss=None)
    made(batch(0), training=False)
    made.optimizer.build(made.trainable_variables)
    return made


def batch(number: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(number)
    return {
        "image": draw.random((BATCH, SIDE, SIDE, 3)).astype(np.float32),
        "target": np.eye(CLASSES, dtype=np.float32)[draw.integers(0, CLASSES, BATCH)],
    }


def train(model: Tagger, first: int, last: int) -> list[dict[str, float]]:
    """Steps first..last - 1 -> their logs; sums of metrics go on, as within an epoch."""
    return [model.train_on_batch(batch(number), return_dict=True) for number in range(first, last)]


def state(model: Tagger) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable.value) for variable in checkpoint.variables(model)]


@pytest.fixture(scope="module")
def trained() -> Tagger:
    model = tagger(1)
    train(model, 0, 4)
    return model


def test_a_restored_training_goes_on_bit_equal(trained: Tagger, tmp_path: Path) -> None:
    progress = Progress(epoch=1, batch=4, best=0.5, best_epoch=1, seconds=2.5, history=[{"epoch": 1}])
    checkpoint.save(tmp_path, trained, progress)
    undisturbed = train(trained, 4, 8)

    again = tagger(2)  # other weights, other seeds
    stored = checkpoint.latest(tmp_path)
    assert stored is not None
    assert stored[0] == progress
    checkpoint.restore(again, stored[1])
    assert train(again, 4, 8) == undisturbed
    for one, two in zip(state(again), state(trained), strict=True):
        np.testing.assert_array_equal(one, two)


def test_nothing_that_changes_is_left_out(trained: Tagger) -> None:
    paths = [variable.path for variable in checkpoint.variables(trained)]
    assert len(set(map(id, checkpoint.variables(trained)))) == len(paths)
    for part in (
        "moving_mean",
        "seed_generator_state",
        "iteration",
        "momentum",
        "velocity",
        "total",
        "count",
    ):
        assert any(part in path for path in paths), part
    before = state(trained)
    train(trained, 20, 21)
    moved = {path for path, one, two in zip(paths, before, state(trained), strict=True) if (one != two).any()}
    assert sum("seed_generator_state" in path for path in moved) == 2  # of mixing and of dropout


def test_the_last_two_are_kept(trained: Tagger, tmp_path: Path) -> None:
    for epoch, step in ((0, 3), (1, 0), (1, 12), (2, 0), (10, 0)):
        checkpoint.save(tmp_path, trained, Progress(epoch=epoch, batch=step))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "state-00002-0000000.npz",
        "state-00010-0000000.npz",
    ]
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found[0].epoch == 10


def torn(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "empty":
        path.write_bytes(b"")
    elif how == "half":
        path.write_bytes(content[: len(content) // 2])
    elif how == "without its end":
        path.write_bytes(content[:-10])
    elif how == "one bit":
        at = content.index(b"\x93NUMPY", len(content) // 3) + 200
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    elif how == "text":
        path.write_text("no checkpoint")


@pytest.mark.parametrize("how", ["empty", "half", "without its end", "one bit", "text"])
def test_a_torn_file_gives_way_to_the_one_before(trained: Tagger, tmp_path: Path, how: str) -> None:
    checkpoint.save(tmp_path, trained, Progress(epoch=1))
    torn(checkpoint.save(tmp_path, trained, Progress(epoch=2)), how)
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found[0].epoch == 1
    assert len(found[1]) == len(checkpoint.variables(trained))


def test_an_unfinished_file_is_no_checkpoint(trained: Tagger, tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path / "none") is None
    (tmp_path / "state-00001-0000000.tmp").write_bytes(b"half")
    assert checkpoint.latest(tmp_path) is None
    torn(checkpoint.save(tmp_path, trained, Progress(epoch=1)), "half")
    assert checkpoint.latest(tmp_path) is None


def test_a_checkpoint_of_another_network_is_refused(trained: Tagger, tmp_path: Path) -> None:
    arrays = state(trained)
    with pytest.raises(ValueError, match=f"{len(arrays) - 1} arrays for {len(arrays)} variables"):
        checkpoint.restore(trained, arrays[:-1])
    wrong = [*arrays]
    wrong[0] = np.zeros((2, 2), np.float32)
    with pytest.raises(ValueError, match="does not fit the network"):
        checkpoint.restore(trained, wrong)
    for one, two in zip(state(trained), arrays, strict=True):
        np.testing.assert_array_equal(one, two)  # and nothing was put in
