"""Results that are kept: of one run, a cross-validation or an ablation, what its figures can be traced to.

A folder holds, for all its runs together, `predictions.csv` (held-out clips with their true labels, to as many
digits as the runs wrote), `history.csv` and `summary.json`; `config.toml`, the settings of the first run with
files and folders by name only; and `submission.csv` where a cross-validation has test clips.
"""

import csv
import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from fatk import cli, folders, held, scoring
from fatk.config import Config, from_tree, load_config, to_toml
from fatk.folds import extra
from fatk.scoring import Scores, read_scores

ABLATION = "ablation.json"  # what an ablation's folder says of its rows and runs
# Settings by which clips or labels differ, sections and keys; the demo set is made at the rate of its shards.
_OF_CLIPS = ("data", "labels", "select", "features.rate", "records.rate")
_COLUMNS = ("run", "crops", "fname", "truth")  # of predictions.csv, before a column a class


@dataclass(frozen=True, eq=False)
class KeptRun:
    """One training: what it was, how it went, what it said of the clips that it held out."""

    title: str
    seed: int
    part: str  # the fold, or the ablation's row; empty where there are no parts
    summary: dict[str, Any]
    history: list[dict[str, str]]  # a row an epoch
    scores: dict[int, Scores]  # by crops a clip
    crops: int  # of its settings, by which it is judged


@dataclass(frozen=True, eq=False)
class Kept:
    """Runs that belong to one row of results."""

    kind: str  # "run", "crossval" or "ablation"
    classes: tuple[str, ...]
    runs: tuple[KeptRun, ...]
    config: str  # settings of the first run
    about: dict[str, Any] = field(default_factory=dict)  # of an ablation: rows, seeds, crops
    submission: tuple[tuple[str, ...], np.ndarray] | None = None  # names, (clips, classes) probabilities

    @property
    def seeds(self) -> list[int]:
        """In order."""
        return sorted({run.seed for run in self.runs})

    def of(self, seed: int) -> list[KeptRun]:
        """The runs of a seed, by part: folds as numbers."""
        own = [run for run in self.runs if run.seed == seed]
        return sorted(own, key=lambda run: (int(run.part) if run.part.isdigit() else 0, run.part))


def digest(config: str) -> str:
    """A resolved config -> what changes when a setting does; the remark below it does not count."""
    return hashlib.sha256(config.split("\n# clips:")[0].strip().encode()).hexdigest()[:16]


def gather(folder: Path) -> Kept:
    """The folder of a run, a cross-validation or an ablation -> its finished runs. Raises `UserError`."""
    about: dict[str, Any] = {}
    found: list[tuple[folders.Run, str]] = []  # runs with their parts
    if (folder / ABLATION).is_file():
        kind = "ablation"
        about = json.loads((folder / ABLATION).read_text(encoding="utf-8"))
        for title, (part, settings) in about.pop("runs").items():
            run = folders.Run(folder / title)
            if run.summary.is_file() and digest(run.config.read_text(encoding="utf-8")) == settings:
                found.append((run, part))
    elif (folder / "summary.json").is_file():
        kind, found = "run", [(folders.Run(folder), "")]
    else:
        kind, found = "crossval", _folds(folder)
        _alike([run for run, _ in found])
    if not found:
        raise cli.UserError(f"{folder}: no finished run, cross-validation or ablation is there.")
    # An ablation says which numbers of crops belong to it; of other runs all that were asked for are kept.
    runs = [_read_run(run, part, about["crops"] if about else _counts(run)) for run, part in found]
    classes = held.read(found[0][0]).classes
    _of_same_clips(folder, runs, about.get("rows", ()))
    submission = folder / "submission.csv"
    test = read_scores(submission) if submission.is_file() else None
    return Kept(kind, classes, tuple(runs), _settings(found[0][0]), about, test)


def _settings(run: folders.Run) -> str:
    """A run's resolved config, of paths the last part only: where its files lay is nobody's concern."""
    config = load_config(run.config)
    data, train = config.data, config.train
    short = replace(
        data,
        path=Path(data.path).name,
        table=Path(data.table).name,
        relabel=Path(data.relabel).name,
        records=Path(data.records).name,
    )
    return to_toml(replace(config, data=short, train=replace(train, init=Path(train.init).name)))


def _folds(folder: Path) -> list[tuple[folders.Run, str]]:
    """The runs of a cross-validation that came to its end, and their folds; none where it did not."""
    if not (folder / "crossval.csv").is_file():
        return []
    table = _rows(folder / "crossval.csv")
    seeds = sorted({int(seed) for name in table[0] for seed in re.findall(r"seed (\d+)$", name)})
    folds = [named[1] for row in table if (named := re.fullmatch(r"fold (\d+)", row["held out"]))]
    return [(folders.Run(folder / f"seed{seed}-fold{fold}"), fold) for seed in seeds for fold in folds]


def _plain(config: Config) -> str:
    """Settings without name, seed and fold."""
    data, split = replace(config.data, fold=None), replace(config.split, number=0)
    return to_toml(replace(config, name="any", seed=0, data=data, split=split))


def _alike(runs: Sequence[folders.Run]) -> None:
    """Refuse runs that differ in more than name, seed and fold: seeds of an earlier try."""
    plain = {run.folder.name: _plain(load_config(run.config)) for run in runs}
    if len(set(plain.values())) > 1:
        first = next(iter(plain))
        other = next(name for name, text in plain.items() if text != plain[first])
        raise cli.UserError(f"{runs[0].folder.parent}: {first} and {other} were run with other settings.")


def _of_same_clips(folder: Path, runs: Sequence[KeptRun], rows: Sequence[Mapping[str, Any]]) -> None:
    """Refuse runs of a set whose clips or labels changed between them, unless by what an ablation's row sets."""
    by_row: dict[str, tuple[str, ...]] = {}
    for row in rows:
        last = dict(setting.split("=", 1) for setting in row["set"])
        by_row[row["name"]] = tuple(
            sorted(f"{k}={value}" for k, value in last.items() if {k, k.split(".")[0]} & {*_OF_CLIPS})
        )
    first: dict[tuple[str, ...], KeptRun] = {}
    for run in runs:
        other = first.setdefault(by_row.get(run.part, ()), run)
        if run.summary.get("fingerprint") != other.summary.get("fingerprint"):
            raise cli.UserError(
                f"{folder}: {other.title} and {run.title} are of other clips or labels: the set changed between "
                "them. Run all of it again; what is still right is not trained anew."
            )


def joined(before: Kept, more: Kept, where: Path) -> Kept:
    """What is kept in the folder `where`, with a cross-validation's further seeds. Raises `UserError`."""
    if before.kind != "crossval" or more.kind != "crossval":
        kinds = f"{before.kind} and {more.kind}"
        raise cli.UserError(f"{where}: only seeds of cross-validations can be joined. Received: {kinds}.")
    if both := sorted({*before.seeds} & {*more.seeds}):
        raise cli.UserError(f"{where}: seed {both[0]} is kept there already.")
    had, have = (_plain(from_tree(tomllib.loads(own.config))).splitlines() for own in (before, more))
    for old, new in zip_longest(had, have):
        if old != new:
            raise cli.UserError(f"{where}: its runs had other settings: `{old}`, and these have `{new}`.")
    if before.classes != more.classes:
        raise cli.UserError(f"{where}: its classes are others.")
    held_out = {run.part: set(run.scores[run.crops].names) for run in before.runs}
    for seed in more.seeds:
        parts = {run.part: set(run.scores[run.crops].names) for run in more.of(seed)}
        if parts != held_out:
            fold = next(part for part in held_out | parts if parts.get(part) != held_out.get(part))
            raise cli.UserError(f"{where}: fold {fold} of seed {seed} held out other clips than there.")
    test = before.submission
    if (test and test[0]) != (more.submission and more.submission[0]):
        raise cli.UserError(f"{where}: its test clips are others.")
    if test and more.submission:
        counts = len(before.runs), len(more.runs)
        test = test[0], np.average([test[1], more.submission[1]], axis=0, weights=counts)
    return replace(before, runs=before.runs + more.runs, submission=test)


def _counts(run: folders.Run) -> list[int]:
    names = [re.fullmatch(r"predictions-(\d+)\.csv", path.name) for path in run.folder.iterdir()]
    return sorted(int(name[1]) for name in names if name)


def _read_run(run: folders.Run, part: str, crops: Sequence[int]) -> KeptRun:
    own = held.read(run)
    settings = load_config(run.config)
    main = settings.evaluate.crops
    scores = {main: Scores(own.names, own.truth, own.chances)}
    for count in crops:
        if extra(run, count).is_file():
            scores[count] = Scores(own.names, own.truth, read_scores(extra(run, count))[1])
    summary = json.loads(run.summary.read_text(encoding="utf-8"))
    epochs = sum(stage.epochs for stage in settings.stage)
    if summary["epochs"] != epochs:
        raise cli.UserError(f"{run.folder}: was stopped, at epoch {summary['epochs']} of {epochs}.")
    return KeptRun(run.folder.name, int(summary["seed"]), part, summary, _rows(run.history), scores, main)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def write(kept: Kept, folder: Path) -> None:
    """Make or renew a folder of results."""
    folder.mkdir(parents=True, exist_ok=True)
    said = []
    for run in kept.runs:
        for crops, scores in sorted(run.scores.items()):
            for name, truth, chances in zip(scores.names, scores.truth, scores.chances, strict=True):
                labels = ",".join(name for name, on in zip(kept.classes, truth, strict=True) if on)
                cells = [scoring.cell(chance) for chance in chances]
                said.append([run.title, crops, name, labels, *cells])
    folders.write_rows(folder / "predictions.csv", [*_COLUMNS, *kept.classes], said)
    keys = list(dict.fromkeys(key for run in kept.runs for row in run.history for key in row))
    epochs = [[run.title, *(row.get(key, "") for key in keys)] for run in kept.runs for row in run.history]
    folders.write_rows(folder / "history.csv", ["run", *keys], epochs)
    runs = {run.title: {"part": run.part, **run.summary} for run in kept.runs}
    summary = {"kind": kept.kind, **kept.about, "runs": runs}
    folders.write_text(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    folders.write_text(folder / "config.toml", kept.config)
    if kept.submission is not None:
        names, chances = kept.submission
        scoring.write_predictions(folder / "submission.csv", names, kept.classes, chances)


def read(folder: Path) -> Kept:
    """What `write` wrote. Raises `UserError` where it is not whole."""
    try:
        about = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        said, epochs = _rows(folder / "predictions.csv"), _rows(folder / "history.csv")
        kind, runs = about.pop("kind"), about.pop("runs")
        config = (folder / "config.toml").read_text(encoding="utf-8")
        main = tomllib.loads(config)["evaluate"]["crops"]
    except (OSError, ValueError, KeyError) as error:
        raise cli.UserError(f"{folder}: not a folder of kept results ({error}).") from None
    classes = tuple(name for name in said[0] if name not in _COLUMNS) if said else ()
    found = []
    for title, summary in runs.items():
        own = [row for row in said if row["run"] == title]
        scores = {}
        for crops in sorted({int(row["crops"]) for row in own}):
            rows = [row for row in own if int(row["crops"]) == crops]
            labels = [frozenset(row["truth"].split(",")) for row in rows]
            truth = np.array([[float(name in on) for name in classes] for on in labels])
            chances = np.array([[float(row[name]) for name in classes] for row in rows])
            scores[crops] = Scores(tuple(row["fname"] for row in rows), truth, chances)
        history = [
            {key: cell for key, cell in row.items() if key != "run"} for row in epochs if row["run"] == title
        ]
        part = summary.pop("part")
        found.append(KeptRun(title, int(summary["seed"]), part, summary, history, scores, main))
    test = read_scores(folder / "submission.csv") if (folder / "submission.csv").is_file() else None
    return Kept(kind, classes, tuple(found), config, about, test)
