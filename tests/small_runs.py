"""Whole runs of a network that compiles in a moment, on twenty beeps."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile

from fatk import runtime, trainer
from models import networks

RATE, CLIPS, VALID, BATCH, STEPS = 8000, 20, 4, 4, 4
STAGES = "[[stage]]\nepochs = 1\nfreeze = true\n[[stage]]\nepochs = 2\n"


def small_trunk(image: keras.KerasTensor) -> keras.KerasTensor:
    x = keras.layers.Conv2D(4, 3, 4, name="block1_conv")(image)
    return keras.layers.BatchNormalization(name="block1_norm")(x)


def write_beeps(
    folder: Path, stages: str = STAGES, classes: tuple[str, str] = ("a", "b"), log: str = ""
) -> Path:
    """Beeps of two classes in turn, the first four to validate on -> `beeps.toml`."""
    (folder / "clips").mkdir(parents=True)
    names = [f"{n:02d}.wav" for n in range(CLIPS)]
    for n, name in enumerate(names):
        time = np.arange(1600 + 40 * n) / RATE
        soundfile.write(folder / "clips" / name, 0.3 * np.sin(2 * np.pi * (300 + 90 * n) * time), RATE)
    with (folder / "t.csv").open("w", newline="") as out:
        rows = [(name, classes[n % 2], int(n < VALID)) for n, name in enumerate(names)]
        csv.writer(out).writerows([("fname", "labels", "valid"), *rows])
    path = folder / "beeps.toml"
    path.write_text(
        'seed = 3\n[data]\nkind = "csv"\npath = "clips"\ntable = "t.csv"\nrecords = "records"\n'
        f"[features]\nrate = {RATE}\nbands = 16\n[train]\nbatch = {BATCH}\n[evaluate]\ncrops = 2\nbatch = 3\n"
        f"[log]\nimages = 1\nclips = 1\n{log}{stages}"
    )
    return path


@contextmanager
def quick() -> Iterator[None]:
    """A trunk of one layer, no export, and JAX left as all tests have it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(networks.TRUNKS, "specgram", small_trunk)
        patch.setattr(trainer, "export", lambda run: 0.0)
        patch.setattr(runtime, "start", lambda config: keras.utils.set_random_seed(config.seed))
        yield
