"""Shards: what is written is read, and a shard has its name only when it is whole."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pipelines import records

EXTREMES = np.array([-32768, -1, 0, 1, 32767, -12345], np.int16)


def read(path: Path) -> list[tuple[str, np.ndarray]]:
    """(key, samples) of every record, through Dataset.map."""
    dataset = tf.data.TFRecordDataset(str(path)).map(records.parse, num_parallel_calls=2, deterministic=True)
    return [(key.decode(), pcm) for key, pcm in dataset.as_numpy_iterator()]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    clips = {
        "curated/a.wav": EXTREMES,
        "noisy/a.wav": random.integers(-32768, 32768, 5000).astype(np.int16),
        "test/Bathtub_(filling)/ä.ogg": EXTREMES[:1],
        "empty": EXTREMES[:0],
    }
    size = records.write_shard(
        tmp_path / "s.tfrecord", (records.example(key, pcm, 44100) for key, pcm in clips.items())
    )
    assert size == (tmp_path / "s.tfrecord").stat().st_size > 10000
    assert [path.name for path in tmp_path.iterdir()] == ["s.tfrecord"]
    found = read(tmp_path / "s.tfrecord")
    assert [key for key, _ in found] == list(clips)
    for key, pcm in found:
        assert pcm.dtype == np.int16
        np.testing.assert_array_equal(pcm, clips[key])


def test_eager_parsing_is_the_same() -> None:
    key, pcm = records.parse(tf.constant(records.example("k", EXTREMES, 8000)))
    assert key.numpy() == b"k"
    np.testing.assert_array_equal(pcm.numpy(), EXTREMES)


def test_a_record_tells_rate_source_and_licence() -> None:
    record = tf.train.Example.FromString(records.example("k", EXTREMES, 22050, "sound 77", "CC BY 4.0"))
    fields = record.features.feature
    assert fields["rate"].int64_list.value == [22050]
    assert fields["source"].bytes_list.value == [b"sound 77"]
    assert fields["license"].bytes_list.value == [b"CC BY 4.0"]


def test_samples_of_another_byte_order_are_stored_alike() -> None:
    assert records.example("k", EXTREMES.astype(">i2"), 8000) == records.example("k", EXTREMES, 8000)


def test_a_shard_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "s.tfrecord"

    def interrupted() -> Iterator[bytes]:
        yield records.example("a", EXTREMES, 8000)
        assert not path.exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        records.write_shard(path, interrupted())
    assert not path.exists()
    assert not list(tmp_path.iterdir())
    path.with_name("s.tfrecord.tmp").write_bytes(b"of a process that was killed")
    records.write_shard(path, [records.example("b", EXTREMES, 8000)])
    assert [key for key, _ in read(path)] == ["b"]


def test_an_interruption_leaves_the_old_shard(tmp_path: Path) -> None:
    path = tmp_path / "s.tfrecord"
    records.write_shard(path, [records.example("old", EXTREMES, 8000)])

    def interrupted() -> Iterator[bytes]:
        yield records.example("new", EXTREMES, 8000)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        records.write_shard(path, interrupted())
    assert [key for key, _ in read(path)] == ["old"]


def test_to_float_divides_by_32768() -> None:
    made = records.to_float(tf.constant(EXTREMES))
    assert made.dtype == tf.float32
    np.testing.assert_array_equal(made.numpy() * 32768, EXTREMES)
    assert made.numpy().min() == -1
