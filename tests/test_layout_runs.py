"""A tree in every published layout, made of real clips, is prepared, trained on for one step and predicted."""

import csv
import math
from collections.abc import Callable
from pathlib import Path

import keras
import pytest

from fatk import folders, runtime, trainer
from fatk.config import from_tree
from fatk.prepare import prepare
from fatk.trainer import Trainer
from tests.trees import esc50, fsd50k, fsdnoisy18k, kaggle, pieces, zenodo

pytestmark = pytest.mark.slow

# name -> (tree, kind of set, further settings of it, clips that validate, classes in their order)
LAYOUTS: dict[str, tuple[Callable[..., Path], str, dict, set[str], tuple[str, ...]]] = {
    "kaggle": (kaggle, "fat2019", {}, set(), ("Bark", "Bathtub_(filling_or_washing)", "Hi-hat")),
    "zenodo": (zenodo, "fat2019", {}, set(), ("Bark", "Bathtub_(filling_or_washing)", "Hi-hat")),
    "fsd50k": (fsd50k, "fsd50k", {}, {f"{n}16399.wav" for n in ("", 1, 2, 3)}, ("Bark", "Dog", "Hi-hat")),
    "esc50": (
        esc50,
        "esc50",
        {"fold": 2},
        {f"2-100648-{take}-1.wav" for take in "ABCD"},
        ("dog", "rooster", "chirping_birds"),
    ),
    "esc10": (
        esc50,
        "esc10",
        {"fold": 1},
        {f"1-100032-{take}-0.wav" for take in "ABCD"},
        ("dog", "rooster"),
    ),
    "fsdnoisy18k": (fsdnoisy18k, "fsdnoisy18k", {}, set(), ("Fart", "Rain")),
}


def small_trunk(image: keras.KerasTensor) -> keras.KerasTensor:
    """One convolution, which compiles in no time."""
    return keras.layers.Conv2D(8, 3, 2, name="block1_conv")(image)


@pytest.fixture(scope="module")
def clips(shared: Path) -> Callable[[Path], None]:
    """Writes the next second of real sound under a name."""
    return pieces(sorted((shared / "esc10").rglob("*.ogg"))[:12])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_trained_on_and_predicted(
    layout: str, clips: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, kind, settings, valid, classes = LAYOUTS[layout]
    tree = {
        "name": layout,
        "data": {
            "kind": kind,
            "path": str(make(tmp_path / "set", 4, clips)),
            "records": str(tmp_path / "records"),
            "valid_per_class": 1,
            **settings,
        },
        "features": {"rate": 22050, "bands": 32},
        "train": {"batch": 4},
        "evaluate": {"crops": 2, "batch": 4},
        "log": {"images": 1, "clips": 1},
        "stage": [{"epochs": 1, "rate": 1e-3}],
    }
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(trainer.networks.TRUNKS, "specgram", small_trunk)
    config = from_tree(tree)
    prepared = prepare(config)
    assert prepared.classes == classes
    run = folders.Run(tmp_path / "runs" / layout)
    run.folder.mkdir(parents=True)
    runtime.start(config)
    made = Trainer(run, config, prepared)
    made.feeds.steps = made.steps = 1
    before = [weight.copy() for weight in made.network.get_weights()]
    made.go(exported=False)

    (row,) = rows(run.history)
    assert math.isfinite(float(row["loss"]))
    assert any((old != new).any() for old, new in zip(before, made.network.get_weights(), strict=True))
    scored = rows(run.predictions)
    assert tuple(scored[0]) == ("fname", *classes)
    names = {line["fname"] for line in scored}
    assert names == (valid or {clip.name for clip in prepared.split.valid})
    assert names
    assert not names & {clip.name for clip in prepared.split.train}
    test = [clip.name for clip in prepared.source.clips if clip.pool == "test"]
    if test:
        submitted = rows(run.submission)
        assert [line["fname"] for line in submitted] == test
        scored += submitted
    assert all(0 <= float(line[name]) <= 1 for line in scored for name in classes)
