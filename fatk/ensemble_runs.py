"""Runs that are to answer together: whether they can, and what they said of their validation clips."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fatk import cli, folders
from fatk.config import Config, load_config
from fatk.folds import valid_labels
from fatk.scoring import read_scores


@dataclass(frozen=True)
class Trained:
    """A finished run as a member. Arrays and `order` are in the order of the classes of the whole ensemble."""

    run: folders.Run
    config: Config
    order: tuple[int, ...]  # the place of each class of the answer among the run's own
    classes: tuple[str, ...]  # of the answer

    @cached_property
    def per_class(self) -> np.ndarray:
        """(classes,) validation lwlrap, matched by name; NaN where there is none."""
        found = {}
        if self.run.per_class.exists():
            with self.run.per_class.open(newline="", encoding="utf-8") as lines:
                found = {row["class"]: row["lwlrap"] for row in csv.DictReader(lines)}
        return np.array([float(found.get(name) or "nan") for name in self.classes])

    @cached_property
    def predictions(self) -> dict[str, np.ndarray]:
        """{fname: (classes,) probabilities} of the validation clips; empty where the run has none."""
        if not self.run.predictions.exists():
            return {}
        names, chances = read_scores(self.run.predictions)
        return dict(zip(names, chances[:, list(self.order)], strict=True))

    @cached_property
    def truth(self) -> dict[str, frozenset[str]]:
        """{fname: labels} of the validation clips; empty where the run has no table of them."""
        return valid_labels(self.run)

    @property
    def lwlrap(self) -> float | None:
        """Of all its validation clips, as its summary has it."""
        if not self.run.summary.exists():
            return None
        return json.loads(self.run.summary.read_text(encoding="utf-8")).get("val_lwlrap")

    def told(self) -> dict[str, Any]:
        """Who it is and what it scored, for JSON."""
        network, features = self.config.network, self.config.features
        scores = zip(self.classes, self.per_class, strict=True)
        return {
            "run": self.run.folder.name,
            "name": self.config.name,
            "network": network.backbone or network.name,
            "format": features.format,
            "bands": features.bands,
            "width": features.columns,
            "seconds": features.seconds,
            "crops": self.config.evaluate.crops,
            "val_lwlrap": self.lwlrap,
            "per_class": {name: None if np.isnan(v) else round(float(v), 6) for name, v in scores},
        }


def read_classes(run: folders.Run) -> tuple[str, ...]:
    """A run's vocabulary, in its own order."""
    return tuple(run.classes.read_text(encoding="utf-8").splitlines())


def read_members(paths: Sequence[str | Path]) -> tuple[Trained, ...]:
    """Folders of runs -> members, in the classes' order of the first.

    Raises `UserError` for a folder that is no finished run, one that is named twice, and runs of other classes
    or another rate than the first.
    """
    members: list[Trained] = []
    seen: set[Path] = set()
    for path in paths:
        run = folders.Run(Path(path))
        if not run.network.exists():
            raise cli.UserError(
                f"{run.folder}: no run, or one that has kept no network yet ({run.network.name})."
            )
        if run.folder.resolve() in seen:
            raise cli.UserError(f"{run.folder}: the run is named twice.")
        seen.add(run.folder.resolve())
        config, own = load_config(run.config), read_classes(run)
        first = members[0] if members else None
        classes = first.classes if first else own
        if first:
            _agree(first, run, config, own)
        members.append(Trained(run, config, tuple(own.index(name) for name in classes), classes))
    return tuple(members)


def _agree(first: Trained, run: folders.Run, config: Config, own: Sequence[str]) -> None:
    """Raise `UserError` where a run cannot join the first."""
    differences = [
        f"{word} {', '.join(names)}"
        for word, names in (
            ("without", [name for name in first.classes if name not in own]),
            ("with", [name for name in own if name not in first.classes]),
        )
        if names
    ]
    if differences:
        raise cli.UserError(
            f"{run.folder}: its classes are not those of {first.run.folder} but {'; '.join(differences)}."
        )
    here, there = config.features.rate, first.config.features.rate
    if here != there:
        raise cli.UserError(
            f"{run.folder} takes {here} Hz and {first.run.folder} {there} Hz: members must share one rate "
            "(`features.rate`), for one waveform goes into all."
        )


@dataclass(frozen=True, eq=False)
class Held:
    """Clips that all members held out, what they said of them, and what is true."""

    names: tuple[str, ...]
    chances: np.ndarray  # (members, clips, classes)
    truth: np.ndarray  # (clips, classes) 0/1


def held_out(members: Sequence[Trained]) -> Held | None:
    """-> what the members' validation sets have in common; None where that is nothing."""
    first = members[0]
    names = tuple(
        name
        for name in first.predictions
        if name in first.truth and all(name in m.predictions for m in members)
    )
    if not names:
        return None
    return Held(
        names,
        np.stack([[member.predictions[name] for name in names] for member in members]),
        np.array([[label in first.truth[name] for label in first.classes] for name in names], np.float64),
    )
