"""Which clips take part, and their sound out of the shards."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from pipelines import records
from pipelines.cuts import Known
from pipelines.domain import Transfer

# For what makes datasets: their graphs branch and loop in TensorFlow's words, not in Python's over tensors. Looking
# for the latter in all of their functions, and in what those call, took a fifth of the time to a run's first step.
as_written = tf.autograph.experimental.do_not_convert

_READERS = 8  # shards read side by side
_READINGS = 4  # of the shards in an epoch at most: each is of all of them, for some of the repeated rows


@dataclass(frozen=True, eq=False)
class Examples:
    """Which clips take part, and what is wanted of the network for each."""

    keys: tuple[str, ...]
    targets: np.ndarray  # (clips, classes) float32
    shards: tuple[str, ...]  # TFRecord files that hold them, and others maybe
    transfer: Transfer | None = None  # of noisy clips to the curated domain, in training
    known: Known | None = None  # arrays, a row a clip: what training needs to cut before it makes images
    extras: dict[str, np.ndarray] = field(default_factory=dict)  # name -> (clips,) float32, passed on as is

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.keys)


def readings(examples: Examples) -> int:
    """How often an epoch reads the shards: up to four times where clips stand in several rows.

    Read once, all rows of a clip come side by side, and a buffer that holds a part of the epoch leaves them in
    one region of it: a class of a few clips, often repeated, would be missing from the rest.
    """
    return min(max(Counter(examples.keys).values(), default=1), _READINGS)


def found(
    shards: tf.data.Dataset, examples: Examples, stored: records.Stored, times: int = 1
) -> tf.data.Dataset:
    """Shards -> (row of `examples`, () sound as it is encoded), the clips that take part only.

    Shards are paths; read several `times`, (path, number of the reading), and a clip's rows are dealt out to these.
    """
    rows: dict[str, list[int]] = {}
    for row, key in enumerate(examples.keys):
        rows.setdefault(key, []).append(row)
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.constant(list(rows)), tf.range(len(rows), dtype=tf.int32)),
        default_value=-1,
    )
    rows_of = tf.ragged.constant(list(rows.values()), dtype=tf.int32)

    def join(record: tf.Tensor, *number: tf.Tensor) -> tuple[tf.Tensor, ...]:
        key, encoded = stored.split(record)
        return table.lookup(key), encoded, *number

    def read(path: tf.Tensor, *number: tf.Tensor) -> tf.data.Dataset:
        return tf.data.TFRecordDataset(path).map(lambda record: (record, *number))

    clips = (
        shards.interleave(
            read if times > 1 else tf.data.TFRecordDataset,
            cycle_length=_READERS,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .map(join, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .filter(lambda place, *_: place >= 0)
    )
    if len(rows) == len(examples):
        return clips

    # A clip that stands in several rows (one a label, or drawn repeatedly) is used once for each.
    def repeat(place: tf.Tensor, encoded: tf.Tensor, number: tf.Tensor | int = 0) -> tf.data.Dataset:
        own = rows_of[place][number::times]
        return tf.data.Dataset.from_tensor_slices(own).map(lambda row: (row, encoded))

    return clips.flat_map(repeat)


def joined(shards: tf.data.Dataset, examples: Examples, rate: int | None = None) -> tf.data.Dataset:
    """Shards -> (row of `examples`, (samples,) int16 at `rate` Hz), the clips that take part only.

    None: at the rate that the shards have.
    """
    stored = records.stored(examples.shards)

    def sound(row: tf.Tensor, encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return row, stored.sound(encoded, rate)

    return found(shards, examples, stored).map(sound, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
