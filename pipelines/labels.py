"""Labels of clips to rows of targets, and what an audit's table makes of the labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.label_settings import LabelSettings
from pipelines.tables import CURATED, NOISY, Clip, DataError, Source, clean_name, read_rows, split_labels

Array = NDArray[np.float32]


def multi_hot(clips: Sequence[Clip], classes: Sequence[str]) -> Array:
    """-> (clips, classes) of 0 and 1."""
    return _rows([clip.labels for clip in clips], classes)


def _rows(labels: Sequence[Sequence[str]], classes: Sequence[str]) -> Array:
    column = {name: number for number, name in enumerate(classes)}
    rows = np.repeat(np.arange(len(labels)), [len(own) for own in labels])
    targets = np.zeros((len(labels), len(classes)), np.float32)
    targets[rows, np.array([column[label] for own in labels for label in own], np.intp)] = 1
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
    made: Array = np.divide(soft, highest, out=np.zeros_like(soft), where=highest > 0).astype(np.float32)
    return made


def targets_of(
    clips: Sequence[Clip], classes: Sequence[str], curated: Sequence[Clip], settings: LabelSettings
) -> Array:
    """-> (clips, classes) training targets: hard, or soft by how classes go together in the `curated` clips."""
    if not settings.soft:
        return multi_hot(clips, classes)
    # Softened once for each set of labels: there are far fewer of them than clips.
    alike: dict[tuple[tuple[str, ...], bool], int] = {}
    row_of = [
        alike.setdefault((clip.labels, settings.soft_noisy or clip.pool != NOISY), len(alike))
        for clip in clips
    ]
    hard = _rows([labels for labels, _ in alike], classes)
    soft = soften(hard, cooccurrence(multi_hot(curated, classes)), settings.temperature)
    chosen = np.array([softened for _, softened in alike], bool)[:, None]
    made: Array = np.where(chosen, soft, hard)[row_of]
    return made


@dataclass(frozen=True)
class Suspect:
    """A row of an audit's table."""

    key: str  # of the clip
    score: float  # higher is more suspicious
    suggested: tuple[str, ...]


def read_audit(table: Path, source: Source) -> tuple[list[Suspect], int]:
    """A table fname, score, suggested_labels, maybe pool -> (rows, most suspicious first; rows of no clip).

    Raises `DataError` naming the line of what cannot be, and where no row is of a training clip.
    """
    by_name: dict[str, list[Clip]] = {}
    for clip in source.pool(CURATED, NOISY):
        by_name.setdefault(clip.name, []).append(clip)
    known, lines, strangers = set(source.classes), dict[str, int](), 0
    suspects = []
    for line, row in read_rows(table, ("fname", "score", "suggested_labels")):
        where = f"{table}, line {line}"
        name = clean_name(row["fname"], where)
        clips = [clip for clip in by_name.get(name, []) if row.get("pool", "") in ("", clip.pool)]
        if not clips:
            strangers += 1
            continue
        if len(clips) > 1:
            pools = ", ".join(clip.pool for clip in clips)
            raise DataError(
                f"{where}: {name} is in the pools {pools}; a column `pool` must say which is meant."
            )
        key = clips[0].key
        if key in lines:
            raise DataError(f"{where}: {name} stands already in line {lines[key]}.")
        lines[key] = line
        try:
            score = float(row["score"])
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise DataError(f"{where}: `score` must be a number. Received: {row['score']!r}.")
        labels = split_labels(row["suggested_labels"])
        wrong = [label for label in labels if label not in known]
        if wrong:
            raise DataError(f"{where}: {name} has the unknown class {wrong[0]!r}.")
        suspects.append(Suspect(key, score, labels))
    if not suspects:
        raise DataError(f"{table}: none of its {strangers} rows names a training clip.")
    return sorted(suspects, key=lambda suspect: -suspect.score), strangers


def relabel(source: Source, table: Path, settings: LabelSettings) -> Source:
    """A set whose suspected training clips are dropped, or labelled as an audit's table suggests, with a note.

    Suspected is what scores `relabel_score` or more; where that is None, the `relabel_share` of the table's
    clips with the highest scores. A suspected clip without a suggestion is dropped in either mode.
    """
    suspects, strangers = read_audit(table, source)
    if settings.relabel_score is None:
        chosen = suspects[: round(settings.relabel_share * len(suspects))]
    else:
        chosen = [suspect for suspect in suspects if suspect.score >= settings.relabel_score]
    better = {suspect.key: suspect.suggested if settings.relabel == "apply" else () for suspect in chosen}
    clips, dropped, changed = [], 0, 0
    for clip in source.clips:
        labels = better.get(clip.key, clip.labels)
        if clip.key in better and not labels:
            dropped += 1
            continue
        changed += set(labels) != set(clip.labels)
        clips.append(replace(clip, labels=labels))
    note = f"{table}: {dropped} of {len(suspects)} clips are left out, {changed} have other labels."
    unknown = [f"{table}: {strangers} rows name no training clip of the set."] if strangers else []
    given = source.given or source.clips
    return replace(source, clips=tuple(clips), notes=(*source.notes, note, *unknown), given=given)
