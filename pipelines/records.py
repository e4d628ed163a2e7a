"""Clips in TFRecord shards: 16-bit sound under a key. Labels are joined when they are read.

A shard holds sound only, because tables change far more often than recordings: labels, folds and splits are
looked up by key in the feed, so a changed table costs nothing here. How the sound is encoded, and at what
rate, a shard says itself.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipelines.decode import decode, resample
from pipelines.settings import Encoding

# Where a record keeps its sound; the name of the field is all that tells the encoding.
_FIELDS: dict[Encoding, str] = {"pcm16": "pcm", "flac": "flac", "vorbis": "vorbis"}


def example(
    key: str,
    sound: np.ndarray | bytes,
    rate: int,
    source: str = "",
    license: str = "",
    encoding: Encoding = "pcm16",
) -> bytes:
    """One record: sound at `rate` Hz under a key, with what the table says of its origin.

    `sound` is (samples,) int16, or the bytes of a mono FLAC or Ogg Vorbis file where `encoding` says so.
    """
    if isinstance(sound, bytes) == (encoding == "pcm16"):
        raise ValueError(f"`sound` must be samples for pcm16, bytes for others. Received: {encoding!r}.")
    encoded = sound if isinstance(sound, bytes) else sound.astype("<i2", copy=False).tobytes()
    # Filled in place: messages that are given to constructors of messages are copied at every level.
    record = tf.train.Example()
    feature = record.features.feature
    for name, value in (("key", key), ("source", source), ("license", license)):
        feature[name].bytes_list.value.append(value.encode())
    feature["rate"].int64_list.value.append(rate)
    feature[_FIELDS[encoding]].bytes_list.value.append(encoded)
    return record.SerializeToString()


def write_shard(path: Path, records: Iterable[bytes]) -> int:
    """Write records, and give the file its name only when it is whole -> its size in bytes."""
    unfinished = path.with_name(path.name + ".tmp")
    try:
        with tf.io.TFRecordWriter(str(unfinished)) as writer:
            for record in records:
                writer.write(record)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)  # on a full disk it would take the place of what can be written
    return path.stat().st_size


@dataclass(frozen=True)
class Stored:
    """How sound lies in the shards of one set, which are all alike."""

    encoding: Encoding
    rate: int | None  # Hz; None: there is no record that tells

    def split(self, record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """() serialised record -> (() key, () sound as it is encoded)."""
        field = _FIELDS[self.encoding]
        wanted = {name: tf.io.FixedLenFeature([], tf.string) for name in ("key", field)}
        fields = tf.io.parse_single_example(record, wanted)
        return fields["key"], fields[field]

    def sound(self, encoded: tf.Tensor, rate: int | None = None) -> tf.Tensor:
        """() sound as it is encoded -> (samples,) int16 at `rate` Hz; None: at the shards' own rate."""
        pcm = decode(encoded, self.encoding)
        return pcm if rate is None or self.rate is None else resample(pcm, self.rate, rate)

    def cuttable(self, encoded: tf.Tensor, rate: int) -> tuple[tf.Tensor, Callable[..., tf.Tensor]]:
        """() sound as it is encoded -> its samples at `rate` Hz, and (first, end) -> (end - first,) int16 of them.

        Of PCM at the wanted rate no more is read than is asked for; all else is decoded whole.
        """
        if self.encoding == "pcm16" and self.rate in (None, rate):

            def read(first: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
                return tf.io.decode_raw(tf.strings.substr(encoded, 2 * first, 2 * (end - first)), tf.int16)

            return tf.strings.length(encoded) // 2, read
        pcm = self.sound(encoded, rate)
        return tf.shape(pcm)[0], lambda first, end: pcm[first:end]

    def parse(self, record: tf.Tensor, rate: int | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """() serialised record -> (() key, (samples,) int16 at `rate` Hz; None: at the shards' own rate)."""
        key, encoded = self.split(record)
        return key, self.sound(encoded, rate)


def parse(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """() serialised record of PCM -> (() key, (samples,) int16)."""
    return Stored("pcm16", None).parse(record)


def stored(shards: Sequence[str]) -> Stored:
    """How sound lies in the shards of a set, as the first record tells.

    A shard that cannot be read is passed over: whoever reads all of it will say so.
    """
    with tf.init_scope():  # a dataset of datasets asks from within a graph
        for shard in shards:
            try:
                for record in tf.data.TFRecordDataset(shard).take(1).as_numpy_iterator():
                    fields = tf.train.Example.FromString(record).features.feature
                    encodings = (encoding for encoding, name in _FIELDS.items() if name in fields)
                    return Stored(next(encodings), fields["rate"].int64_list.value[0])
            except tf.errors.OpError:
                continue
    return Stored("pcm16", None)


def to_float(pcm: tf.Tensor) -> tf.Tensor:
    """(samples,) int16 -> (samples,) float32 in -1..1."""
    return tf.cast(pcm, tf.float32) / 32768.0
