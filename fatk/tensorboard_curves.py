"""A precision-recall curve a class, and a run's settings beside its score, for TensorBoard's own tabs."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import tensorflow as tf

from fatk.config import Config
from fatk.tensorboard_words import tags
from models.settings import StageSettings

THRESHOLDS = 101  # evenly spaced, 0..1
SCORES = ("val_lwlrap", "val_accuracy", "test_lwlrap")  # of a summary

# Settings that are always shown beside the score; others are where they are not what they are by default.
# TensorBoard ticks the first five, those that differ between runs before others.
_ALWAYS = ("features.format", "mixing.kind", "network.name", "seed", "stage.0.epochs", "stage.0.rate")
_NEVER = ("name", "data", "records", "evaluate", "log")  # where things lie and what is shown


def curve(truth: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """(clips,) 0/1 and chances -> (6, thresholds) float32.

    Rows: true positives, false positives, true negatives, false negatives, precision, recall of the clips
    whose chance is at least the threshold.
    """
    truth = np.asarray(truth) > 0
    # Compared as integers, so that 0.3 is not under 30 / 100; the way of TensorBoard's own summary.
    step = np.floor(np.asarray(chances, np.float32) * (THRESHOLDS - 1)).astype(int)
    called = step[None, :] >= np.arange(THRESHOLDS)[:, None]
    true, false = (called & truth).sum(1), (called & ~truth).sum(1)
    precision = true / np.maximum(true + false, 1)
    recall = true / max(int(truth.sum()), 1)
    return np.stack([true, false, (~truth).sum() - false, truth.sum() - true, precision, recall]).astype(
        np.float32
    )


def write_curves(truth: np.ndarray, chances: np.ndarray, classes: Sequence[str], epoch: int) -> None:
    """A curve for each class that a validation clip has, into the default writer."""
    from tensorboard.plugins.pr_curve import metadata

    for number, (name, safe) in enumerate(zip(classes, tags(classes), strict=True)):
        positives = int((truth[:, number] > 0).sum())
        if not positives:
            continue
        about = metadata.create_summary_metadata(
            display_name=name,
            description=f"{name}: {positives} of {len(truth)} validation clips.",
            num_thresholds=THRESHOLDS,
        )
        made = tf.compat.v1.SummaryMetadata.FromString(about.SerializeToString())
        tf.summary.write(f"pr_curve/{safe}", curve(truth[:, number], chances[:, number]), epoch, made)


def flat(config: Config) -> dict[str, Any]:
    """Every setting that shapes a result, by its dotted key, as override lines have it."""
    found: dict[str, Any] = {}

    def put(key: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, entry in value.items():
                put(f"{key}.{name}", entry)
        elif value is not None:
            found[key] = value if isinstance(value, bool | int | float | str) else str(list(value))

    for field in fields(config):
        if field.name == "stage":
            for number, stage in enumerate(config.stage):
                put(f"stage.{number}", asdict(stage))
        elif field.name not in _NEVER:
            value = getattr(config, field.name)
            put(field.name, value if isinstance(value, int) else asdict(value))
    return found


def shown(config: Config, also: Sequence[str] = ()) -> dict[str, Any]:
    """The settings that tell this run from others: a few always, `also`, and what is not as by default."""
    usual = flat(Config(name="usual", stage=tuple(StageSettings() for _ in config.stage)))
    return {
        key: value
        for key, value in flat(config).items()
        if key in _ALWAYS or key in also or usual.get(key) != value
    }


def write_session(config: Config, also: Sequence[str] = ()) -> None:
    """What the HParams tab knows of a run from its start."""
    from tensorboard.plugins.hparams import api

    made = api.hparams_pb(shown(config, also), trial_id=config.name)
    tf.summary.experimental.write_raw_pb(made.SerializeToString(), 0)


def write_scores(summary: dict[str, Any], epoch: int) -> None:
    """What the HParams tab shows beside the settings: the scores of the kept weights."""
    for name in SCORES:
        if summary.get(name) is not None:
            tf.summary.scalar(f"final/{name}", float(summary[name]), epoch)
