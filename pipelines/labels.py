"""Labels of clips to rows of targets, and what an audit's table makes of the labels."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.label_settings import LabelSettings
from pipelines.tables import CURATED, NOISY, TEST, Clip, DataError, Source, read_rows, split_labels

Array = NDArray[np.float32]


def multi_hot(clips: Sequence[Clip], classes: Sequence[str]) -> Array:
    """-> (clips, classes) of 0 and 1."""
    column = {name: number for number, name in enumerate(classes)}
    rows = np.repeat(np.arange(len(clips)), [len(clip.labels) for clip in clips])
    columns = np.array([column[label] for clip in clips for label in clip.labels], np.intp)
    targets = np.zeros((len(clips), len(classes)), np.float32)
    targets[rows, columns] = 1
    return targets


def cooccurrence(targets: Array) -> NDArray[np.float64]:
    """(clips, classes) of 0 and 1 -> (classes, classes): row i counts every class over the clips of class i."""
    wide = np.asarray(targets, np.float64)
    return wide.T @ wide


def soften(targets: Array, together: NDArray[np.float64], temperature: float = 1.0) -> Array:
    """(clips, classes) of 0 and 1, (classes, classes) counts -> (clips, classes) soft targets, highest 1.

    A target becomes its row times P, divided by the highest value of the result; P is `together` to the power
    1 / temperature, each row with the sum 1. A class that was never counted stands for itself alone; a clip
    without a label stays zeros.
    """
    together = np.where(np.diag(together)[:, None] > 0, together, np.eye(len(together)))
    # The highest value of a row, its diagonal, is taken out first: a sharp power of a large count overflows.
    power = (together / together.max(axis=1, keepdims=True)) ** (1 / temperature)
    soft = np.asarray(targets, np.float64) @ (power / power.sum(axis=1, keepdims=True))
    highest = soft.max(axis=1, keepdims=True, initial=0)
    return np.divide(soft, highest, out=np.zeros_like(soft), where=highest > 0).astype(np.float32)


def targets_of(
    clips: Sequence[Clip], classes: Sequence[str], curated: Sequence[Clip], settings: LabelSettings
) -> Array:
    """-> (clips, classes) training targets: hard, or soft by how classes go together in the `curated` clips."""
    targets = multi_hot(clips, classes)
    if not settings.soft:
        return targets
    soft = soften(targets, cooccurrence(multi_hot(curated, classes)), settings.temperature)
    hard = [clip.pool == NOISY and not settings.soft_noisy for clip in clips]
    return np.where(np.array(hard, bool)[:, None], targets, soft)


def relabel(source: Source, table: Path, settings: LabelSettings) -> Source:
    """A set whose suspected training clips are dropped, or labelled as an audit's table suggests, with a note.

    The table has the columns fname, score (higher is more suspicious) and suggested_labels, and maybe pool.
    Suspected is what scores `relabel_score` or more, else the `relabel_share` of the table with the highest
    scores. A suspected clip without a suggestion is dropped.
    """
    ...
