"""The recipes for FSDKaggle2019, each run for a few steps on a made tree of its layout."""

import csv
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from fatk import folders, runtime
from fatk.config import Config, load_config
from fatk.prepare import prepare
from fatk.trainer import Trainer
from models import networks
from tests.trees import kaggle, pieces

pytestmark = pytest.mark.slow

RECIPES = Path(__file__).resolve().parents[1] / "fatk" / "configs" / "fsdkaggle2019"
NAMES = sorted(path.stem for path in RECIPES.glob("*.toml"))
REAL = ("pretrain_specgram_1s", "final_specgram_1s")  # with their true network; the others with a small one


def small_trunk(image: keras.KerasTensor) -> keras.KerasTensor:
    """Two convolutions and a norm, so that there are groups, and something for a frozen trunk to go on with."""
    x = layers.Conv2D(4, 3, 2, name="block1_conv")(image)
    x = layers.BatchNormalization(name="block1_norm")(x)
    return layers.Conv2D(4, 3, 2, activation="relu", name="block2_conv")(x)


@pytest.fixture(scope="module")
def place(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small FSDKaggle2019 in Kaggle's layout, of real sound."""
    place = tmp_path_factory.mktemp("recipes")
    kaggle(place / "set", 5, pieces(sorted((shared / "esc10").rglob("*.ogg"))[:12]))
    return place


def shortened(name: str, place: Path) -> Config:
    """The recipe on the made tree: small images and batches, an epoch with a frozen trunk and one without."""
    config = load_config(
        RECIPES / f"{name}.toml",
        [
            f"data.path={place / 'set'}",
            f"data.records={place / 'records'}",
            f"features.bands={64 if name in REAL else 32}",
            "features.rate=22050",
            "train.batch=4",
            "evaluate.crops=2",
            "evaluate.batch=4",
            "log.images=1",
            "log.clips=1",
        ],
    )
    # Of two stages alike, the one whose groups of layers train at different rates.
    order = sorted(config.stage, key=lambda stage: (not stage.freeze, stage.first_rate is not None))
    kinds = {stage.freeze: replace(stage, epochs=1) for stage in order}
    init = str(place / "runs" / Path(config.train.init).name) if config.train.init else ""
    return replace(config, stage=tuple(kinds.values()), train=replace(config.train, init=init))


@pytest.fixture(scope="module")
def ran(place: Path) -> Iterator[Callable[[str], tuple[Config, Trainer]]]:
    """Runs a recipe once, and before it the one whose weights it starts from."""
    done: dict[str, tuple[Config, Trainer]] = {}

    def run(name: str) -> tuple[Config, Trainer]:
        if name not in done:
            config = shortened(name, place)
            if config.train.init:
                run(Path(config.train.init).name)
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(place)
                for trunk in ("specgram", "densenet121"):
                    if name not in REAL:
                        patch.setitem(networks.TRUNKS, trunk, small_trunk)
                folder = folders.Run(place / "runs" / config.name)
                folder.folder.mkdir(parents=True)
                folders.write_text(folder.config, "")
                runtime.start(config)
                made = Trainer(folder, config, prepare(config))
                made.feeds.steps = made.steps = 2
                made.go(exported=False)
            done[name] = config, made
        return done[name]

    return run


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_trains(
    name: str, ran: Callable[[str], tuple[Config, Trainer]], capsys: pytest.CaptureFixture
) -> None:
    config, made = ran(name)
    with made.run.history.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["stage"] for row in rows] == [str(n) for n in range(len(config.stage))]
    assert all(math.isfinite(float(row["loss"])) for row in rows)
    assert all(0 < float(row["val_lwlrap"]) <= 1 for row in rows)
    clips = made.prepared.split
    if name.startswith("pretrain"):
        assert {clip.pool for clip in (*clips.train, *clips.valid)} == {"noisy"}
    if name.startswith("final"):
        assert {clip.pool for clip in clips.valid} == {"curated"}
        assert {clip.pool for clip in clips.train} == {"curated", "noisy"}
        assert made.feeds.train.keys == tuple(clip.key for clip in clips.train)
        assert made.feeds.noisy is not None
        assert all(key.startswith("noisy/") for key in made.feeds.noisy.keys)
        assert set(np.unique(made.feeds.noisy.targets)) <= {0.0, 1.0}  # hard, even where the batch's are soft


def test_final_runs_start_from_a_pretrained_trunk(place: Path) -> None:
    """What `init` names is a recipe here, of the same network."""
    for name in NAMES:
        config = load_config(RECIPES / f"{name}.toml")
        if config.train.init:
            before = load_config(RECIPES / f"{Path(config.train.init).name}.toml")
            assert Path(config.train.init).parent.name == "runs"
            assert before.network == config.network
