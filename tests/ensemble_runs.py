"""Folders that look like finished runs, around networks that nobody trained."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from fatk import folders, scoring
from fatk.config import load_config
from models import heads
from pipelines.settings import FeatureSettings

RATE = 8000
CLASSES = ("Bark", "Tick-tock", "Rain_(gusts)", "Siren")
CLIPS = 40  # that validated

Network = Callable[[FeatureSettings, int], keras.Model]


def convolved(head: str) -> Network:
    """Two layers of convolution and one of the heads."""

    def build(features: FeatureSettings, classes: int) -> keras.Model:
        image = keras.Input(features.shape, name="image")
        x = keras.layers.Conv2D(6, 3, 2, activation="relu", name="block1_conv")(image)
        x = keras.layers.Conv2D(5, 3, 2, activation="relu", name="block2_conv")(x)
        return keras.Model(image, heads.HEADS[head](x, classes, 0.5), name="specgram")

    return build


def amplitude(features: FeatureSettings, classes: int) -> keras.Model:
    """The mean amplitude speaks for the even classes and against the odd ones."""
    image = keras.Input(features.shape, name="image")
    pick = keras.layers.Conv2D(1, 1, use_bias=False, name="block1_conv")
    logits = keras.layers.Dense(classes, name="head_logits")
    made = keras.Model(image, logits(keras.layers.GlobalAveragePooling2D(name="head_mean")(pick(image))))
    pick.set_weights([np.array([1.0, 0, 0]).reshape(1, 1, 3, 1)])
    logits.set_weights([np.resize([2.0, -2.0], (1, classes)), np.zeros(classes)])
    return made


def write_run(
    folder: Path, network: Network, settings: str, classes: Sequence[str] = CLASSES, seed: int = 0
) -> Path:
    """A run's folder with its tables. `settings`: TOML of the sections features, evaluate and domain."""
    run = folders.Run(folder)
    folder.mkdir(parents=True)
    run.config.write_text(f'name = "{folder.name}"\n[data]\nkind = "demo"\n{settings}')
    config = load_config(run.config)
    run.classes.write_text("\n".join(classes) + "\n")
    keras.utils.set_random_seed(seed)
    made = network(config.features, len(classes))
    if network is not amplitude:
        # Logits of about 1, and far enough apart between clips for a comparison to see something.
        made.layers[-1].set_weights([w * 3 for w in made.layers[-1].get_weights()])
    made.save(run.network)
    draw = np.random.default_rng(seed)
    names = [f"{number:02d}.wav" for number in range(CLIPS)]
    truth = np.arange(CLIPS)[:, None] % len(CLASSES) == np.arange(len(CLASSES))
    # Columns by the first order of the classes, whatever the run's own is.
    chances = 1 / (1 + np.exp(-(3.0 * truth - 2 + (1 + seed) * draw.standard_normal(truth.shape))))
    place = [CLASSES.index(name) if name in CLASSES else 0 for name in classes]
    scores = scoring.Scores(tuple(names), truth[:, place].astype(float), chances[:, place])
    scoring.write_predictions(run.predictions, names, classes, chances[:, place])
    scoring.write_per_class(run.per_class, scores.per_class(classes))
    labels = [(name, "curated", "valid", CLASSES[n % len(CLASSES)]) for n, name in enumerate(names)]
    folders.write_rows(run.splits, ("fname", "pool", "split", "labels"), labels)
    run.summary.write_text(json.dumps({"val_lwlrap": scores.lwlrap}))
    return folder


def three_runs(place: Path) -> list[Path]:
    """Of other formats, sizes, durations, heads, numbers of crops, and orders of the classes."""
    features = f"[features]\nrate = {RATE}\n"
    return [
        write_run(
            place / "apd",
            convolved("reference"),
            f'{features}bands = 32\nformat = "APD"\n[evaluate]\ncrops = 3\n',
            seed=1,
        ),
        write_run(
            place / "apx",
            convolved("attention"),
            f'{features}bands = 24\nformat = "APX"\nseconds = 2.5\n[evaluate]\ncrops = 2\n',
            (CLASSES[2], CLASSES[0], CLASSES[3], CLASSES[1]),
            seed=2,
        ),
        write_run(
            place / "aaa",
            convolved("reference"),
            f'{features}bands = 32\nformat = "AAA"\nseconds = 1.5\nstretch = "hop"\n'
            '[domain]\nbackground = "global"\n[evaluate]\ncrops = 4\n',
            CLASSES[::-1],
            seed=3,
        ),
    ]
