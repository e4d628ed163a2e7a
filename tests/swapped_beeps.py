"""A small set with noisy clips of which some have each other's labels, and a network that learns it in seconds."""

import csv
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile

from fatk import runtime, trainer

RATE, SWAPPED = 8000, ("06.wav", "13.wav", "20.wav", "31.wav")


def wide_trunk(image: keras.KerasTensor) -> keras.KerasTensor:
    """One convolution that sees all bands at once, and so where a beep is among them."""
    return keras.layers.Conv2D(8, (16, 3), (1, 2), activation="relu", name="block1_conv")(image)


def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty beeps, low or high, curated and noisy; four of the noisy ones under the other's name."""
    for pool in ("curated", "noisy"):
        (tmp_path / "set" / f"train_{pool}").mkdir(parents=True)
    (tmp_path / "set" / "test").mkdir()
    tables: dict[str, list[tuple[str, str]]] = {"curated": [], "noisy": []}
    draw = np.random.default_rng(0)
    for n in range(40):
        high, pool, name = n % 2, "curated" if n % 4 < 2 else "noisy", f"{n:02d}.wav"
        if name in SWAPPED:
            pool = "noisy"
        time = np.arange(RATE + 50 * n) / RATE
        tone = np.sin(2 * np.pi * ((2200 if high else 400) + 5 * n) * time)
        sound = 0.3 * tone + 0.02 * draw.standard_normal(len(time))
        soundfile.write(tmp_path / "set" / f"train_{pool}" / name, sound, RATE)
        tables[pool].append((name, ("low", "high")[high != (name in SWAPPED)]))
    soundfile.write(tmp_path / "set" / "test" / "t.wav", sound, RATE)
    for pool, rows in tables.items():
        with (tmp_path / "set" / f"train_{pool}.csv").open("w", newline="") as out:
            csv.writer(out).writerows([("fname", "labels"), *rows])
    (tmp_path / "set" / "sample_submission.csv").write_text("fname,low,high\nt.wav,0,0\n")
    (tmp_path / "beeps.toml").write_text(
        'seed = 3\n[data]\nkind = "fat2019"\npath = "set"\nrecords = "records"\n'
        f"[features]\nrate = {RATE}\nbands = 16\nformat = 'AAA'\n[augment]\ncutout = false\n"
        '[mixing]\nkind = "none"\n[train]\nbatch = 8\n[evaluate]\ncrops = 2\nbatch = 5\n'
        "[log]\nimages = 1\nclips = 1\n[[stage]]\nepochs = 24\nrate = 1e-2\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(trainer.networks.TRUNKS, "specgram", wide_trunk)
    monkeypatch.setattr(runtime, "start", lambda config: keras.utils.set_random_seed(config.seed))
    return tmp_path
