"""What a run's kept weights are worth: validation and test clips scored, tables written, all in a summary."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fatk import cli, folders, runtime, scoring
from fatk.checkpoint import Progress
from fatk.feeds import Feeds
from models.tagger import Tagger
from pipelines.reading import Examples
from pipelines.sources import TEST


@dataclass(frozen=True, eq=False)
class Verdict:
    """Scores, and what they were made of."""

    summary: dict[str, Any]
    chances: np.ndarray  # (clips, classes) probabilities of the validation clips
    per_class: list[tuple[str, float, float]]  # class, lwlrap, weight


def predict(feeds: Feeds, examples: Examples, network: keras.Model) -> np.ndarray:
    """-> (clips, classes) probabilities, the mean over evenly spaced crops."""
    scorer = Tagger(network)
    chances = np.zeros(examples.targets.shape)  # float32 makes 1 of all logits over 17
    for part in feeds.evaluation(examples, with_rows=True):
        rows = part.pop("row").numpy()
        logits = scorer.predict_on_batch({k: v.numpy() for k, v in part.items()})["logits"]
        seen = rows >= 0
        chances[rows[seen]] = 1 / (1 + np.exp(-logits[seen].astype(np.float64)))
    return chances


def judge(run: folders.Run, feeds: Feeds, network: keras.Model, progress: Progress) -> Verdict:
    """Score the kept weights, write the tables and the summary."""
    config, prepared = feeds.config, feeds.prepared
    names = tuple(clip.name for clip in prepared.split.valid)
    chances = predict(feeds, feeds.valid, network)
    scores = scoring.Scores(names, feeds.valid.targets, chances)
    rows = scores.per_class(prepared.classes)
    scoring.write_per_class(run.per_class, rows)
    same = _are(run.predictions, names, chances)
    scoring.write_predictions(run.predictions, names, prepared.classes, chances)
    if not same:
        _void(run)
    summary = {
        "name": config.name,
        "val_lwlrap": scores.lwlrap,
        "val_accuracy": scores.accuracy,
        "test_lwlrap": _test(run, feeds, network),
        "parameters": network.count_params(),
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "seconds": round(progress.seconds + progress.within, 1),
        "seed": config.seed,
        "fingerprint": prepared.manifest["fingerprint"],
        "versions": runtime.versions(),
        "backend": keras.backend.backend(),
        "device": runtime.device(),
    }
    folders.write_text(run.summary, json.dumps(summary, indent=1) + "\n")
    return Verdict(summary, chances, rows)


def _are(path: Path, names: tuple[str, ...], chances: np.ndarray) -> bool:
    """Whether a table tells these scores, but for digits and for how another device rounds."""
    try:
        known, before = scoring.read_scores(path)
    except (OSError, ValueError):
        return False
    return known == names and before.shape == chances.shape and np.allclose(before, chances, atol=1e-5)


def _void(run: folders.Run) -> None:
    """Remove what was made of the weights before these: a new SavedModel would take their thresholds over."""
    for path in (run.decisions, run.reliability, run.formats):
        if path.exists():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            cli.say(f"{path}: was made of earlier weights and is gone; make it again of these")


def _test(run: folders.Run, feeds: Feeds, network: keras.Model) -> float | None:
    """Write the submission where there are test clips -> lwlrap where their labels are known."""
    clips = feeds.prepared.split.test
    if not clips:
        return None
    examples = feeds.examples(clips)
    chances = predict(feeds, examples, network)
    names = tuple(clip.name for clip in clips)
    scoring.write_predictions(run.submission, names, feeds.prepared.classes, chances)
    if not all(clip.labels for clip in clips if clip.pool == TEST):
        return None
    return scoring.Scores(names, examples.targets, chances).lwlrap
