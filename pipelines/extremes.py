"""What cropping in the waveform must know of every clip, measured once and kept beside the shards.

A file a set of shards and settings: another fold, split, seed or label finds it, another recording or setting
does not.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipelines import cuts, ops, records
from pipelines.domain_settings import DomainSettings
from pipelines.reading import Examples, as_written
from pipelines.settings import FeatureSettings
from pipelines.statistics import Watch, unwatched

VERSION = 3  # of what is measured; part of the hash
_BATCH = 64  # clips that leave the graph at once
_READERS = 4  # shards read side by side

Table = tuple[dict[str, int], cuts.Known]  # key of a clip -> row, and arrays of (clips, ...)


@as_written
def measure(
    shards: Sequence[str],
    features: FeatureSettings,
    settings: DomainSettings,
    envelope: bool = False,
    clips: int = 0,
    watch: Watch = unwatched,
) -> Table:
    """One pass over all clips of some shards. `envelope`: their envelopes too; `clips`: how many, for `watch`."""
    stored = records.stored(shards)

    def of_record(record: tf.Tensor) -> tuple[tf.Tensor, cuts.Known]:
        key, pcm = stored.parse(record, features.rate)
        return key, cuts.know(ops, records.to_float(pcm), features, settings, envelope)

    feed = (
        tf.data.Dataset.from_tensor_slices(list(shards))
        .interleave(tf.data.TFRecordDataset, cycle_length=_READERS, num_parallel_calls=tf.data.AUTOTUNE)
        .map(of_record, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(_BATCH)
    )
    keys: list[str] = []
    parts: list[cuts.Known] = []
    with watch("measuring", clips, "clips") as advance:
        for some, known in feed.as_numpy_iterator():
            keys += [key.decode() for key in some]
            parts.append(known)
            for _ in some:
                advance()
    if not keys:
        raise ValueError("there are no clips to be measured.")
    arrays = cuts.Known(*(np.concatenate(own) for own in zip(*parts, strict=True)))
    return {key: row for row, key in enumerate(keys)}, arrays


def fingerprint(
    shards: Sequence[str], features: FeatureSettings, settings: DomainSettings, envelope: bool
) -> str:
    """-> 16 hex digits of all that decides what is measured. Shards are named by what is in them."""
    decides = {
        "version": VERSION,
        "features": features.measured,
        "background": settings.background,
        "envelope": envelope,
        "shards": sorted(Path(shard).name for shard in shards),
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def _stored(path: Path) -> Table | None:
    """A file -> its table; None where it is not there, or not whole."""
    try:
        with path.open("rb") as opened, np.load(opened) as file:
            known = cuts.Known(*(file[name] for name in cuts.Known._fields))
            keys = file["keys"].tolist()
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    whole = all(len(array) == len(keys) for array in known)
    return ({key: row for row, key in enumerate(keys)}, known) if whole else None


def kept(
    examples: Examples,
    features: FeatureSettings,
    settings: DomainSettings,
    folder: Path,
    clips: int = 0,
    watch: Watch = unwatched,
) -> cuts.Known:
    """-> what must be known of each of `examples`, from `folder`, or measured and written there."""
    envelope = settings.transfer == "envelope"
    path = folder / f"extremes-{fingerprint(examples.shards, features, settings, envelope)}.npz"
    table = _stored(path)
    if table is None or not set(examples.keys) <= table[0].keys():
        table = measure(examples.shards, features, settings, envelope, clips, watch)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            with unfinished.open("wb") as file:
                np.savez(file, keys=np.array(list(table[0])), **table[1]._asdict())
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
    rows, known = table
    missing = [key for key in examples.keys if key not in rows]
    if missing:
        raise ValueError(f"the shards hold no clip {missing[0]!r}, and lack {len(missing)} in all.")
    order = np.array([rows[key] for key in examples.keys], np.int64)
    return cuts.Known(*(array[order] for array in known))
