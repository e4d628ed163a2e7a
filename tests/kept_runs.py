"""Folders of made-up runs, as a cross-validation and an ablation leave them."""

import csv
import json
from pathlib import Path

import numpy as np

from fatk import folders, scoring
from fatk.config import from_tree, to_toml
from fatk.kept import ABLATION, digest

CLASSES = ("Bark", "Rain", "Sneeze", "Tick-tock")
EPOCHS = 12


def write_run(
    folder: Path, seed: int, truth: np.ndarray, first: int, skill: float, crops: tuple[int, ...] = ()
) -> str:
    """One finished run that held out clips from number `first` on -> its settings.

    `truth`: (clips, classes) 0/1; `skill`: how far true classes stand out of noise.
    """
    folder.mkdir(parents=True)
    draw = np.random.default_rng([seed, first, round(100 * skill)])
    names = [f"{first + n:03d}.wav" for n in range(len(truth))]
    for count in (0, *crops):
        logits = draw.normal(0, 1, truth.shape) + skill * truth + 0.02 * count
        path = folder / (f"predictions-{count}.csv" if count else "predictions.csv")
        scoring.write_predictions(path, names, CLASSES, 1 / (1 + np.exp(-logits)))
    labels = [",".join(np.array(CLASSES)[row > 0]) for row in truth]
    rows = [(name, "curated", "valid", own) for name, own in zip(names, labels, strict=True)]
    folders.write_rows(folder / "splits.csv", ("fname", "pool", "split", "labels"), rows)
    (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    curve = [
        (n + 1, 0, f"{0.7 * 0.8**n:.4f}", "", "" if n % 3 != 2 else f"{1 - 0.6 * 0.8**n:.4f}")
        for n in range(EPOCHS)
    ]
    folders.write_rows(folder / "history.csv", ("epoch", "stage", "loss", "val_loss", "val_lwlrap"), curve)
    (folder / "summary.json").write_text(
        json.dumps({"name": folder.name, "seed": seed, "epochs": EPOCHS, "seconds": 60.0 * seed})
    )
    tree = {"name": folder.name, "seed": seed, "data": {"kind": "demo", "path": "/somewhere/set"}}
    tree["stage"] = [{"epochs": EPOCHS}]
    settings = to_toml(from_tree(tree | {"train": {"keep": "last"}, "evaluate": {"crops": 5}}))
    (folder / "config.toml").write_text(f"{settings}\n# clips: 0123 \n")
    return settings


def truth_of(clips: int, several: bool) -> np.ndarray:
    """(clips, classes) 0/1: a class in turn, and where `several` the next one too in every other clip."""
    truth = np.eye(len(CLASSES))[np.arange(clips) % len(CLASSES)]
    if several:
        truth[::2] = np.maximum(truth[::2], np.roll(truth[::2], 1, axis=1))
    return truth


def write_crossval(folder: Path, several: bool = False, seeds: tuple[int, ...] = (7, 8)) -> np.ndarray:
    """Three folds of 20 clips -> the truth of all. Clips of one label are scored by other crops too."""
    truth = truth_of(60, several)
    for seed in seeds:
        for fold in range(3):
            own = truth[20 * fold : 20 * fold + 20]
            write_run(
                folder / f"seed{seed}-fold{fold}",
                seed,
                own,
                20 * fold,
                2.0 + 0.2 * (seed % 2),
                () if several else (1, 9),
            )
    header = ["held out", *(f"{what}, seed {seed}" for seed in seeds for what in ("accuracy", "lwlrap"))]
    rows = [[f"fold {fold}", *[""] * (len(header) - 1)] for fold in range(3)]
    folders.write_rows(folder / "crossval.csv", header, [*rows, ["all clips", *[""] * (len(header) - 1)]])
    if several:  # as of a set with test clips
        chances = np.random.default_rng(seeds).random((5, len(CLASSES)))
        scoring.write_predictions(
            folder / "submission.csv", [f"test{n}.wav" for n in range(5)], CLASSES, chances
        )
    return truth


def write_ablation(folder: Path) -> None:
    """Two rows; the second one lacks a seed."""
    truth, runs = truth_of(24, True), {}
    for name, skill, seeds in (("plain", 1.5, (7, 8)), ("mixed", 2.5, (7,))):
        for seed in (7, 8):
            title = f"{name}-seed{seed}"
            runs[title] = (name, "")
            if seed in seeds:
                runs[title] = (name, digest(write_run(folder / title, seed, truth, 0, skill, (1,))))
    rows = [
        {"name": "plain", "on": "", "set": [], "note": "as it is"},
        {"name": "mixed", "on": "plain", "set": ["mixing.kind=mixup"], "note": ""},
    ]
    about = {"rows": rows, "seeds": [7, 8], "crops": [1, 5], "main_crops": 5, "runs": runs}
    (folder / ABLATION).write_text(json.dumps(about))


def read_table(path: Path) -> list[dict[str, str]]:
    """A CSV file with a header."""
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))
