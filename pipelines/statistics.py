"""One pass over a set: class envelopes and each band's mean and deviation, kept beside the shards.

The pass is a tf.data graph and sees the images as training does. What it found is stored under a hash of all
that decides it, so another setting, label, clip or recording finds no file and is measured anew.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipelines import domain, formats, ops, reading, records
from pipelines.domain_settings import DomainSettings
from pipelines.settings import FeatureSettings

VERSION = 1  # of what is measured; part of the hash
_BATCH = 64  # clips that leave the graph at once
_LEAST_DEVIATION = 1.0  # levels of 0..255: a band that hardly moves is not blown up

Watch = Callable[[str, int, str], AbstractContextManager[Callable[[], None]]]


@dataclass(frozen=True, eq=False)
class SetStatistics:
    """What the uint8 amplitudes of a set are like; every clip counts the same, however long it is."""

    envelopes: np.ndarray  # (classes, bands) float32, 0..255: mean over the clips that carry the class
    mean: np.ndarray  # (bands,) float32, 0..255: over all clips
    deviation: np.ndarray  # (bands,) float32, levels: over the columns of all clips
    clips: int  # that were measured


@contextmanager
def unwatched(title: str, total: int, unit: str) -> Iterator[Callable[[], None]]:
    """Stands in for a progress bar: (title, total, unit) -> a context that yields what moves it on by one."""
    yield lambda: None


def _carried(examples: reading.Examples) -> np.ndarray:
    """-> (clips, classes) bool. Raises `ValueError` for soft labels: every class would have every clip."""
    if not np.isin(examples.targets, (0, 1)).all():
        value = examples.targets[~np.isin(examples.targets, (0, 1))][0]
        raise ValueError(f"class envelopes need labels that are 0 or 1. Received: a label of {value:g}.")
    return examples.targets > 0


def _each_once(examples: reading.Examples) -> reading.Examples:
    """A set in which clips may stand in several rows -> each clip once, with the labels of all its rows."""
    rows: dict[str, np.ndarray] = {}
    for key, labels in zip(examples.keys, examples.targets, strict=True):
        rows[key] = np.maximum(rows[key], labels) if key in rows else labels
    return reading.Examples(tuple(rows), np.stack(list(rows.values())), examples.shards)


@reading.as_written
def measure(
    examples: reading.Examples,
    features: FeatureSettings,
    settings: DomainSettings,
    transfer: domain.Transfer | None = None,
    watch: Watch = unwatched,
) -> SetStatistics:
    """One pass over the clips of `examples`, whose targets are hard labels -> their statistics.

    `transfer` shows the set as it is after one, by the rows of `examples`; without it a clip in several rows
    counts once. A class that no clip carries has the envelope of all clips. Raises `ValueError` where there is
    no clip, or one is in no shard.
    """
    if not len(examples):
        raise ValueError("there are no clips to be measured.")
    examples = _each_once(examples) if transfer is None else examples
    carried = _carried(examples)
    letters = formats.channels(features)

    def of_clip(row: tf.Tensor, pcm: tf.Tensor) -> tuple[tf.Tensor, ...]:
        picture = domain.whole_image(ops, records.to_float(pcm), features, settings)
        if transfer is not None:
            picture = picture._replace(image=transfer(ops, picture, row))
        return row, *domain.moments(ops, picture, letters)

    feed = (
        reading.joined(tf.data.Dataset.from_tensor_slices(list(examples.shards)), examples, features.rate)
        .map(of_clip, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(_BATCH)
    )
    classes = carried.shape[1]
    sums, counts = np.zeros((classes, features.bands)), np.zeros((classes, 1))
    total, squares = np.zeros(features.bands), np.zeros(features.bands)
    seen = 0
    with watch("measuring", len(examples), "clips") as advance:
        for rows, mean, square in feed.as_numpy_iterator():
            carriers = carried[rows].astype(np.float64)
            sums += carriers.T @ mean
            counts += carriers.sum(0)[:, None]
            total += mean.sum(0, dtype=np.float64)
            squares += square.sum(0, dtype=np.float64)
            seen += len(rows)
            for _ in rows:
                advance()
    if seen != len(examples):
        raise ValueError(f"the shards hold {seen} of the {len(examples)} clips to be measured.")
    middle = total / seen
    deviation = np.sqrt(np.maximum(squares / seen - middle**2, 0))
    envelopes = np.where(counts > 0, sums / np.maximum(counts, 1), middle)
    return SetStatistics(
        envelopes.astype(np.float32), middle.astype(np.float32), deviation.astype(np.float32), seen
    )


def fingerprint(examples: reading.Examples, features: FeatureSettings, settings: DomainSettings) -> str:
    """-> 16 hex digits of all that decides the statistics; the order of the clips does not.

    Shards are named by what is in them, so another recording under an old name changes it too.
    """
    examples = _each_once(examples)
    carried = _carried(examples)
    decides = {
        "version": VERSION,
        "features": features.measured,
        "background": settings.background,
        "shards": sorted(Path(shard).name for shard in examples.shards),
        "classes": carried.shape[1],
        "clips": sorted(
            f"{key} {np.flatnonzero(labels).tolist()}"
            for key, labels in zip(examples.keys, carried, strict=True)
        ),
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def _stored(path: Path, shape: tuple[int, int]) -> SetStatistics | None:
    """A file -> its statistics; None where it is not there, or not whole."""
    try:
        with path.open("rb") as opened, np.load(opened) as file:
            found = SetStatistics(file["envelopes"], file["mean"], file["deviation"], int(file["clips"]))
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    whole = found.envelopes.shape == shape and found.mean.shape == found.deviation.shape == shape[1:]
    return found if whole else None


def kept(
    examples: reading.Examples,
    features: FeatureSettings,
    settings: DomainSettings,
    folder: Path,
    watch: Watch = unwatched,
) -> SetStatistics:
    """The statistics of a set from `folder`, or measured and written there, whole or not at all."""
    path = folder / f"statistics-{fingerprint(examples, features, settings)}.npz"
    found = _stored(path, (examples.targets.shape[1], features.bands))
    if found is not None:
        return found
    found = measure(examples, features, settings, watch=watch)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as file:
            np.savez(file, **asdict(found))
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return found


def build_transfer(
    curated: reading.Examples,
    train: reading.Examples,
    noisy: np.ndarray,
    features: FeatureSettings,
    settings: DomainSettings,
    folder: Path,
    watch: Watch = unwatched,
) -> domain.Transfer | None:
    """What `transfer` asks for, with rows of `train`; None where it is "none" or no clip is noisy.

    `curated` are the clips that show the curated domain, none that is held out among them; `noisy`, (clips,)
    bool, says which of `train` are mapped. Both sets with hard labels, whatever the network is trained on.
    """
    noisy = np.asarray(noisy, bool)
    if noisy.shape != (len(train),):
        raise ValueError(f"`noisy` must have {len(train)} values, one a clip. Received: {noisy.shape}.")
    if settings.transfer == "none" or not noisy.any():
        return None
    if not len(curated):
        raise ValueError(f"`transfer` = {settings.transfer!r} needs curated clips. Received: none.")
    letters = formats.channels(features)
    there = kept(curated, features, settings, folder, watch)
    if settings.transfer == "envelope":
        labels = _carried(train) & noisy[:, None]
        shares = labels / np.maximum(labels.sum(1, keepdims=True), 1)
        return domain.EnvelopeTransfer(letters, shares.astype(np.float32), there.envelopes)
    rows = np.flatnonzero(noisy)
    here = reading.Examples(tuple(train.keys[row] for row in rows), train.targets[rows], train.shards)
    found = kept(here, features, settings, folder, watch)
    gain = there.deviation / np.maximum(found.deviation, _LEAST_DEVIATION)
    return domain.Normalisation(letters, noisy, gain, there.mean - gain * found.mean)
