"""Clips in TFRecord shards: 16-bit PCM under a key. Labels are joined when they are read.

A shard holds sound only, because tables change far more often than recordings: labels, folds and splits are
looked up by key in the feed, so a changed table costs nothing here.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf

_FEATURES = {
    "key": tf.io.FixedLenFeature([], tf.string),
    "pcm": tf.io.FixedLenFeature([], tf.string),
}


def example(key: str, pcm: np.ndarray, rate: int, source: str = "", license: str = "") -> bytes:
    """One record: (samples,) int16 at `rate` Hz under a key, with what the table says of its origin."""

    def text(value: str) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))

    record = tf.train.Example(
        features=tf.train.Features(
            feature={
                "key": text(key),
                "source": text(source),
                "license": text(license),
                "rate": tf.train.Feature(int64_list=tf.train.Int64List(value=[rate])),
                "pcm": tf.train.Feature(bytes_list=tf.train.BytesList(value=[pcm.astype("<i2").tobytes()])),
            }
        )
    )
    return record.SerializeToString()


def write_shard(path: Path, records: Iterable[bytes]) -> int:
    """Write records, and give the file its name only when it is whole -> its size in bytes."""
    unfinished = path.with_name(path.name + ".tmp")
    with tf.io.TFRecordWriter(str(unfinished)) as writer:
        for record in records:
            writer.write(record)
    os.replace(unfinished, path)
    return path.stat().st_size


def parse(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """() serialised record -> (() key, (samples,) int16)."""
    fields = tf.io.parse_single_example(record, _FEATURES)
    return fields["key"], tf.io.decode_raw(fields["pcm"], tf.int16)


def to_float(pcm: tf.Tensor) -> tf.Tensor:
    """(samples,) int16 -> (samples,) float32 in -1..1."""
    return tf.cast(pcm, tf.float32) / 32768.0
