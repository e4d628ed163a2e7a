"""The clips that a run held out: what it said of them, what is true, where their sounds lie."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fatk import cli, folders
from fatk.folds import valid_labels


@dataclass(frozen=True, eq=False)
class Held:
    """Validation clips in the order of `predictions.csv`."""

    names: tuple[str, ...]
    classes: tuple[str, ...]
    chances: np.ndarray  # (clips, classes) probabilities
    truth: np.ndarray  # (clips, classes) 0/1

    @property
    def lwlrap(self) -> float:
        """Over all true labels."""
        from models.ranking import lwlrap

        return lwlrap(self.truth, self.chances)


def read(run: folders.Run) -> Held:
    """A run's folder -> its validation clips. Raises `UserError` for tables that are missing or do not fit."""
    for path, what in ((run.predictions, "the validation scores"), (run.classes, "the classes")):
        if not path.is_file():
            raise cli.UserError(f"{path}: {what} are needed and the file is missing.")
    classes = tuple(run.classes.read_text(encoding="utf-8").splitlines())
    with run.predictions.open(newline="", encoding="utf-8") as lines:
        header, *rows = list(csv.reader(lines)) or [[]]
    if sorted(header[1:]) != sorted(classes):
        raise cli.UserError(f"{run.predictions}: its columns are not the classes of {run.classes}.")
    if not rows:
        raise cli.UserError(f"{run.predictions}: there are no clips in it.")
    try:
        scores = np.array([[float(cell) for cell in row[1:]] for row in rows])
    except ValueError as error:
        raise cli.UserError(f"{run.predictions}: not a table of numbers ({error}).") from None
    chances = scores[:, [header.index(name) - 1 for name in classes]]
    labels = _labels(run)
    names = tuple(row[0] for row in rows)
    missing = [name for name in names if name not in labels]
    if missing:
        raise cli.UserError(f"{run.folder}: no labels of the validation clip {missing[0]}.")
    truth = np.array([[name in labels[clip] for name in classes] for clip in names], np.float64)
    if not truth.any():
        raise cli.UserError(f"{run.folder}: none of the validation clips has a label of {run.classes}.")
    return Held(names, classes, chances, truth)


def _labels(run: folders.Run) -> dict[str, frozenset[str]]:
    """{fname: labels} by the run's own table, or by the tables of its data where it has none."""
    from pipelines.sources import TEST

    if run.splits.is_file():
        return valid_labels(run)
    return {clip.name: frozenset(clip.labels) for clip in _source(run) if clip.pool != TEST}


def _source(run: folders.Run) -> tuple:
    """The clips of the set that a run was trained on."""
    from fatk.config import load_config
    from pipelines.sources import read_source

    data = load_config(run.config).data
    if data.kind == "demo" and not data.path:
        from dataclasses import replace

        data = replace(data, path=str(folders.DEMO_SET))
    return read_source(data).clips


def sounds(run: folders.Run) -> dict[str, Path]:
    """{fname: sound file} of the validation clips whose files are still where they were; it may be empty."""
    from pipelines.sources import TEST, DataError

    try:
        wanted = set(read(run).names)
        clips = _source(run)
    except (cli.UserError, DataError):
        return {}
    return {
        clip.name: clip.path
        for clip in clips
        if clip.name in wanted and clip.pool != TEST and clip.path.is_file()
    }
