"""Runs that belong together: each trained once, its predictions read back."""

import csv
import shutil
from pathlib import Path

import numpy as np

from fatk import cli, folders
from fatk.config import Config, to_toml
from fatk.prepare import Prepared


def read_scores(path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """A table `fname` and a column a class -> (names, (clips, classes) probabilities)."""
    with path.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.reader(lines))[1:]
    return tuple(row[0] for row in rows), np.array([[float(cell) for cell in row[1:]] for row in rows])


def valid_labels(run: folders.Run) -> dict[str, frozenset[str]]:
    """-> {fname: labels} of a run's validation clips, by its `splits.csv`; empty where it has none."""
    if not run.splits.is_file():
        return {}
    with run.splits.open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["split"] == "valid"]
    return {row["fname"]: frozenset(filter(None, row["labels"].split(","))) for row in rows}


def run_fold(
    run: folders.Run, config: Config, prepared: Prepared, told: str, mark: str = "", exported: bool = False
) -> np.ndarray:
    """One run of several -> (validation clips, classes) probabilities.

    One that is finished is not trained again, one that was stopped goes on. `told` is said before training.
    Settings, clips and `mark`, in which runs of one name may differ, are kept with the run; what lies there
    of others is deleted. Raises `KeyboardInterrupt` where the user stops it.
    """
    from fatk.trainer import Trainer

    resolved = f"{to_toml(config)}\n# clips: {prepared.manifest['fingerprint']} {mark}\n"
    before = run.config.read_text(encoding="utf-8") if run.config.exists() else ""
    if before != resolved:
        shutil.rmtree(run.folder, ignore_errors=True)
    if not run.summary.exists() or (exported and not run.saved_model.exists()):
        cli.say(told)
        run.folder.mkdir(parents=True, exist_ok=True)
        folders.write_text(run.config, resolved)
        if Trainer(run, config, prepared).go(exported=exported).interrupted:
            raise KeyboardInterrupt
    return read_scores(run.predictions)[1]
