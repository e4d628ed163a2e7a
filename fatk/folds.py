"""Runs that belong together: what each holds out, each trained once, its predictions read back."""

import csv
import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from fatk import cli, folders, scoring
from fatk.config import Config, to_toml
from fatk.prepare import Prepared
from pipelines.draws import kfold
from pipelines.selection import roles
from pipelines.sources import CURATED


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


def fold_numbers(config: Config, prepared: Prepared) -> dict[str, int]:
    """-> {key of a curated clip: its fold}. Raises `UserError` where the settings name no folds."""
    clips = prepared.source.pool(CURATED)
    if config.data.fold is not None:
        return {clip.key: clip.fold for clip in clips if clip.fold is not None}
    if config.split.kind == "kfold":
        return kfold(clips, config.split.count, config.seed)
    raise cli.UserError(
        "a config to cross-validate must name a fold of its table (`data.fold`), or set `split.kind` to 'kfold' "
        f"and `split.count` to the number of folds. Received: `split.kind` = {config.split.kind!r}."
    )


def holding(config: Config, prepared: Prepared, keys: Collection[str]) -> Prepared:
    """The set with those curated clips held out, and what is trained on chosen without them."""
    held = frozenset(keys)
    clips = tuple(
        replace(clip, valid=clip.key in held) if clip.pool == CURATED else clip
        for clip in prepared.source.clips
    )
    split = roles(
        replace(prepared.source, clips=clips),
        replace(config.data, fold=None),
        replace(config.split, kind="auto", count=1, number=0),
        config.select,
        config.seed,
    )
    return replace(prepared, split=split)


def run_fold(
    run: folders.Run, config: Config, prepared: Prepared, told: str, mark: str = "", exported: bool = False
) -> np.ndarray:
    """One run of several -> (validation clips, classes) probabilities.

    One that is finished is not trained again, one that was stopped goes on. `told` is said before training.
    Settings, clips and `mark`, in which runs of one name may differ, are kept with the run; what lies there
    of others is deleted. Raises `KeyboardInterrupt` where the user stops it.
    """
    import keras

    from fatk.sweep_run import forget
    from fatk.trainer import Trainer

    resolved = f"{to_toml(config)}\n# clips: {prepared.manifest['fingerprint']} {mark}\n"
    before = run.config.read_text(encoding="utf-8") if run.config.exists() else ""
    if before != resolved:
        shutil.rmtree(run.folder, ignore_errors=True)
    if not run.summary.exists() or (exported and not run.saved_model.exists()):
        cli.say(told)
        run.folder.mkdir(parents=True, exist_ok=True)
        folders.write_text(run.config, resolved)
        # As a run of its own would begin, whichever others this process has trained.
        forget()
        keras.utils.set_random_seed(config.seed)
        if Trainer(run, config, prepared).go(exported=exported).interrupted:
            raise KeyboardInterrupt
    return read_scores(run.predictions)[1]


def extra(run: folders.Run, crops: int) -> Path:
    """Predictions of a run with another number of crops than its config's."""
    return run.folder / f"predictions-{crops}.csv"


def predict_again(run: folders.Run, config: Config, prepared: Prepared, counts: Collection[int]) -> None:
    """Held-out clips by the network that a finished run kept, with so many crops a clip; what is there stays."""
    from fatk import verdict
    from fatk.feeds import Feeds
    from models import networks

    for crops in counts:
        if crops == config.evaluate.crops or extra(run, crops).exists():
            continue
        # What is only done to training clips is left out.
        plain = replace(
            config,
            evaluate=replace(config.evaluate, crops=crops),
            mixing=replace(config.mixing, kind="none"),
            domain=replace(config.domain, transfer="none"),
        )
        feeds = Feeds(plain, prepared)
        chances = verdict.predict(feeds, feeds.valid, networks.load(run.network))
        names = [clip.name for clip in prepared.split.valid]
        scoring.write_predictions(extra(run, crops), names, prepared.classes, chances)
