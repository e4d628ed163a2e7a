"""Encoded shards: FLAC to the bit, Vorbis nearly, another rate in step; and what prepare makes and says of them."""

import ast
import csv
import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from fatk import prepare
from fatk.audio import compress, read_pcm
from fatk.config import Config, ConfigError, load_config
from fatk.feeds import Feeds
from pipelines import datasets, decode, records
from pipelines.augment_settings import AugmentSettings
from pipelines.reading import Examples
from pipelines.settings import FeatureSettings, FeedSettings
from pipelines.sources import DataError

RATE = 16000
EXTREMES = np.array([-32768, 32767, 0, 1, -1, -32768] * 50, np.int16)


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    """What one test finds out about tensorflow-io is not what the next one knows."""
    decode._tensorflow_io.cache_clear()
    yield
    decode._tensorflow_io.cache_clear()


def tone(hertz: float, seconds: float = 0.5, rate: int = RATE, level: float = 0.5) -> np.ndarray:
    """(samples,) int16."""
    time = np.arange(round(seconds * rate)) / rate
    return np.rint(32767 * level * np.sin(2 * np.pi * hertz * time)).astype(np.int16)


def noise(seed: int, samples: int) -> np.ndarray:
    """(samples,) int16 of all values."""
    return np.random.default_rng(seed).integers(-32768, 32768, samples).astype(np.int16)


def mapped(encoded: bytes, encoding: str) -> np.ndarray:
    """Decoded in a `Dataset.map`, and once outside of one, which must be the same."""
    dataset = tf.data.Dataset.from_tensors(encoded).map(lambda sound: decode.decode(sound, encoding))
    assert dataset.element_spec == tf.TensorSpec([None], tf.int16)
    (made,) = dataset.as_numpy_iterator()
    np.testing.assert_array_equal(decode.decode(tf.constant(encoded), encoding), made)
    return made


# Decoding


@pytest.mark.parametrize("pcm", [EXTREMES, EXTREMES[:1], noise(0, 70000), np.zeros(5000, np.int16)])
@pytest.mark.parametrize("rate", [1000, 22050, 44100, 192000])
def test_flac_is_what_went_in_to_the_bit(pcm: np.ndarray, rate: int) -> None:
    np.testing.assert_array_equal(mapped(compress(pcm, rate, "flac"), "flac"), pcm)


@settings(max_examples=50, deadline=None)
@given(st_numpy.arrays(np.int16, st.integers(1, 9000), elements=st.integers(-32768, 32767)))
def test_flac_loses_nothing_whatever_the_sound(pcm: np.ndarray) -> None:
    np.testing.assert_array_equal(decode.decode(tf.constant(compress(pcm, RATE, "flac")), "flac"), pcm)


def test_vorbis_keeps_length_level_and_place() -> None:
    pcm = tone(440)
    pcm[:2000] = 0
    made = mapped(compress(pcm, RATE, "vorbis"), "vorbis").astype(float)
    assert made.shape == pcm.shape
    lost = made - pcm
    assert np.mean(lost[2500:] ** 2) < np.mean(pcm[2500:].astype(float) ** 2) / 100  # 20 dB under it
    assert np.abs(lost).max() > 0  # it is lossy: were nothing lost, another codec would have been tested


def test_vorbis_that_overshoots_full_scale_is_clipped() -> None:
    square = (np.sign(tone(440)) * 32767).astype(np.int16)
    made = mapped(compress(square, RATE, "vorbis"), "vorbis").astype(int)
    assert made.max() == 32767
    assert made.min() == -32768
    # Whatever wrapped round would be wrong by a whole scale, in the middle of a half wave too.
    middle = np.abs(np.diff(np.sign(square), prepend=0)) == 0
    middle &= np.roll(middle, 3) & np.roll(middle, -3)
    assert (np.sign(made[middle]) == np.sign(square[middle])).mean() > 0.99


def test_minutes_of_vorbis_are_written_in_blocks() -> None:
    pcm = np.tile(
        noise(1, 4410) // 8, 1000
    )  # 4.4 million samples; in one write libsndfile overruns its stack
    assert len(mapped(compress(pcm, 44100, "vorbis"), "vorbis")) == len(pcm)


def test_pcm16_is_not_touched() -> None:
    assert compress(EXTREMES, RATE, "pcm16") is EXTREMES
    np.testing.assert_array_equal(mapped(EXTREMES.tobytes(), "pcm16"), EXTREMES)


def test_size_on_real_recordings(shared: Path) -> None:
    clips = [
        read_pcm(path, 44100) for path in sorted((shared / "fat10" / "train_curated").glob("*.ogg"))[:20]
    ]
    pcm = sum(clip.nbytes for clip in clips)
    assert sum(len(compress(clip, 44100, "flac")) for clip in clips) < 0.55 * pcm
    assert sum(len(compress(clip, 44100, "vorbis")) for clip in clips) < 0.15 * pcm


# Another rate


@pytest.mark.parametrize(("rate", "wanted"), [(44100, 22050), (22050, 44100), (44100, 16000), (48000, 44100)])
def test_resampling_keeps_tones_where_they_are(rate: int, wanted: int) -> None:
    dataset = tf.data.Dataset.from_tensors(tone(440, rate=rate))
    (made,) = dataset.map(lambda pcm: decode.resample(pcm, rate, wanted)).as_numpy_iterator()
    assert made.dtype == np.int16
    assert len(made) == wanted // 2
    away = made.astype(float) - tone(440, rate=wanted)
    assert np.abs(away[wanted // 20 : -wanted // 20]).max() < 60  # of 16384: not one sample late


@pytest.mark.parametrize("samples", [1, 2, 3, 100, 1001])
def test_resampled_clips_have_the_nearest_length(samples: int) -> None:
    for rate, wanted in ((44100, 16000), (22050, 44100), (48000, 44100)):
        made = decode.resample(tf.constant(tone(440)[:samples]), rate, wanted)
        assert abs(len(made) - samples * wanted / rate) <= 1
        assert len(made) > 0


def test_resampling_to_the_same_rate_does_nothing() -> None:
    pcm = tf.constant(EXTREMES)
    assert decode.resample(pcm, 8000, 8000) is pcm


def test_resampling_clips_what_overshoots() -> None:
    square = (np.sign(tone(300, rate=44100)) * 32767).astype(np.int16)
    made = decode.resample(tf.constant(square), 44100, 22050).numpy()
    assert made.max() == 32767
    assert made.min() <= -32767


# Which library


CANNOT = (
    'class Ops:\n    def __getattr__(self, name):\n        raise NotImplementedError("unable to open file")\n'
)
HEARS_WRONG = (
    "import tensorflow as tf\nclass Ops:\n"
    "    def io_audio_decode_flac(self, sound, shape, dtype):\n        return tf.zeros([2, 1], dtype)\n"
)


@pytest.mark.parametrize(
    ("package", "operations"),
    [
        ('raise ImportError("not for this TensorFlow")', ""),
        ('import warnings\nwarnings.warn("unable to load libtensorflow_io_plugins.so")', CANNOT),
        ("", HEARS_WRONG),
    ],
)
def test_a_tensorflow_io_that_does_not_work_is_passed_over_in_silence(
    package: str,
    operations: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture,
) -> None:
    ops = tmp_path / "tensorflow_io" / "python" / "ops"
    ops.mkdir(parents=True)
    for folder in (ops.parent.parent, ops.parent, ops):
        (folder / "__init__.py").write_text("")
    (ops.parent.parent / "__init__.py").write_text(package)
    (ops / "__init__.py").write_text(f"{operations}\ncore_ops = Ops()\n" if operations else "")
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorflow_io"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert decode.decoder() == "soundfile"
        assert decode.resampler() == "soxr"
    assert "tensorflow_io" in sys.modules or "ImportError" in package  # it was this one that was tried
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorflow_io"]:
        monkeypatch.delitem(sys.modules, name)
    assert told == []
    assert capfd.readouterr() == ("", "")
    np.testing.assert_array_equal(mapped(compress(EXTREMES, 8000, "flac"), "flac"), EXTREMES)


def test_what_few_shards_need_is_not_imported_by_all() -> None:
    tree = ast.parse(Path(decode.__file__).read_text(encoding="utf-8"))
    lines = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert "import tensorflow as tf" in lines
    assert not [line for line in lines if re.search("tensorflow_io|soundfile|soxr", line)]


def test_the_two_samples_of_the_probe_are_flac() -> None:
    np.testing.assert_array_equal(
        decode._decode_by_soundfile(decode._TWO_SAMPLES, "flac"), np.array([100, -100], np.int16)
    )


# Shards


def shard(path: Path, encoding: str, rate: int = 2000, extra: tuple[bytes, ...] = ()) -> str:
    """Eight clips of half a second to two, as sounds of 2 kHz."""
    clips = {f"curated/{n}.wav": noise(n, 1000 + 500 * n)[: 4000 if n else 1] // 3 for n in range(8)}
    made = [
        records.example(
            key, compress(np.array(decode.resample(pcm, 2000, rate)), rate, encoding), rate, encoding=encoding
        )
        for key, pcm in clips.items()
    ]
    records.write_shard(path, [*extra, *made])
    return str(path)


def feed_of(shards: tuple[str, ...], train: bool) -> list[dict[str, np.ndarray]]:
    examples = Examples(tuple(f"curated/{n}.wav" for n in range(8)), np.eye(8, dtype=np.float32), shards)
    features, feed = FeatureSettings(rate=2000, bands=16), FeedSettings(batch=4, shuffle=8, crops=2, seed=3)
    if train:
        made = datasets.training(examples, features, AugmentSettings(level=1), feed)
        return list(islice(made.as_numpy_iterator(), 4))
    return list(datasets.evaluation(examples, features, feed).as_numpy_iterator())


@pytest.mark.parametrize("train", [True, False])
def test_batches_from_flac_are_those_from_pcm(tmp_path: Path, train: bool) -> None:
    pcm = feed_of((shard(tmp_path / "a.tfrecord", "pcm16"),), train)
    flac = feed_of((shard(tmp_path / "b.tfrecord", "flac"),), train)
    assert len(pcm) == len(flac) == (4 if train else 2)
    for one, other in zip(pcm, flac, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_batches_from_vorbis_and_from_another_rate_are_much_the_same(tmp_path: Path) -> None:
    wanted = feed_of((shard(tmp_path / "a.tfrecord", "pcm16"),), False)
    for name, encoding, rate in (("v", "vorbis", 2000), ("p", "pcm16", 6000), ("f", "flac", 6000)):
        made = feed_of((shard(tmp_path / f"{name}.tfrecord", encoding, rate),), False)
        for one, other in zip(wanted, made, strict=True):
            assert one["image"].shape == other["image"].shape
            np.testing.assert_array_equal(one["target"], other["target"])
            longer = one["target"].argmax(1) > 0  # clip 0 is one sample
            away = np.abs(one["image"] - other["image"])[longer]
            assert np.median(away[..., 0]) < 0.06, name  # amplitude


def test_clips_that_take_no_part_are_not_decoded(tmp_path: Path) -> None:
    broken = records.example("test/x.wav", b"no FLAC at all", 2000, encoding="flac")
    plain = feed_of((shard(tmp_path / "a.tfrecord", "flac"),), False)
    beside = feed_of((shard(tmp_path / "b.tfrecord", "flac", extra=(broken,)),), False)
    for one, other in zip(plain, beside, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])


def test_a_shard_says_how_it_is_encoded(tmp_path: Path) -> None:
    empty = tmp_path / "empty.tfrecord"
    records.write_shard(empty, [])
    for encoding in ("pcm16", "flac", "vorbis"):
        there = shard(tmp_path / f"{encoding}.tfrecord", encoding, 8000)
        for shards in ((there,), (str(tmp_path / "gone"), str(empty), there)):
            assert records.stored(shards) == records.Stored(encoding, 8000)
    assert records.stored((str(empty),)) == records.Stored("pcm16", None)


def test_a_shard_is_asked_within_a_graph_too(tmp_path: Path) -> None:
    there = shard(tmp_path / "f.tfrecord", "flac", 8000)

    @tf.function
    def traced() -> tf.Tensor:
        assert records.stored((there,)) == records.Stored("flac", 8000)
        return tf.constant(True)

    assert traced()


def test_samples_and_bytes_are_not_mistaken_for_one_another() -> None:
    for sound, encoding in ((EXTREMES, "flac"), (b"fLaC", "pcm16")):
        with pytest.raises(ValueError, match=rf"Received: '{encoding}'"):
            records.example("k", sound, 8000, encoding=encoding)


# prepare


class Set:
    """Twelve clips of two classes, as a csv set."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "clips").mkdir()
        with (folder / "t.csv").open("w", newline="") as out:
            table = csv.writer(out)
            table.writerow(("fname", "labels"))
            for n in range(12):
                name = f"{n}.flac"
                sound = tone(300 + 40 * n, 2.0) + noise(n, 2 * RATE) // 64
                (folder / "clips" / name).write_bytes(compress(sound, RATE, "flac"))
                table.writerow((name, "ab"[n % 2]))
        (folder / "set.toml").write_text(
            '[data]\nkind = "csv"\npath = "clips"\ntable = "t.csv"\nrecords = "shards"\n'
            f"[features]\nrate = {RATE}\nbands = 64\n"
        )

    def config(self, *overrides: str) -> Config:
        return load_config(self.folder / "set.toml", overrides)

    def sounds(self, prepared: prepare.Prepared) -> dict[str, np.ndarray]:
        """Key -> (samples,) int16."""
        shards = [path for paths in prepared.shards.values() for path in paths]
        stored = records.stored(shards)
        dataset = tf.data.TFRecordDataset(shards).map(stored.parse)
        return {key.decode(): pcm for key, pcm in dataset.as_numpy_iterator()}

    def bytes(self) -> int:
        return sum(path.stat().st_size for path in (self.folder / "shards").glob("*.tfrecord"))

    def names(self) -> set[str]:
        return {path.name for path in (self.folder / "shards").glob("*.tfrecord")}


@pytest.fixture
def made(tmp_path: Path) -> Set:
    return Set(tmp_path)


def test_another_encoding_encodes_anew(made: Set, capsys: pytest.CaptureFixture) -> None:
    plain = made.sounds(prepare.prepare(made.config()))
    size, names = {"pcm16": made.bytes()}, {"pcm16": made.names()}
    told = {"pcm16": capsys.readouterr().out}
    for encoding in ("flac", "vorbis"):
        prepared = prepare.prepare(made.config(f"records.encoding={encoding}"))
        assert prepared.manifest["encoding"] == encoding
        sounds = made.sounds(prepared)
        assert sounds.keys() == plain.keys()
        for key, pcm in plain.items():
            assert sounds[key].shape == pcm.shape
            if encoding == "flac":
                np.testing.assert_array_equal(sounds[key], pcm)
        size[encoding], names[encoding] = made.bytes(), made.names()
        told[encoding] = capsys.readouterr().out
        del prepared  # shards of a set in hand stay
    assert not names["pcm16"] & names["flac"] | names["flac"] & names["vorbis"]
    assert size["vorbis"] < size["flac"] < size["pcm16"]
    for encoding in ("flac", "vorbis"):
        assert f"{encoding} shards are decoded by {decode.decoder()} as they are read" in told[encoding]
    assert "decoded" not in told["pcm16"]
    # Back again: the same names as at first, and nothing of the others is left.
    assert prepare.prepare(made.config()).manifest["encoding"] == "pcm16"
    assert made.names() == names["pcm16"]


def test_crops_from_flac_are_those_from_pcm(made: Set) -> None:
    """Of PCM the samples of a crop alone are read: another graph, which may not be optimised to other roundings."""
    images = []
    for encoding in ("pcm16", "flac"):
        config = made.config(f"records.encoding={encoding}", "train.batch=4")
        feed = Feeds(config, prepare.prepare(config, verbose=False)).training()
        images.append(np.stack([batch["image"] for batch in islice(feed.as_numpy_iterator(), 40)]))
    np.testing.assert_array_equal(*images)


def test_a_second_run_encodes_nothing_and_still_says_who_decodes(
    made: Set, capsys: pytest.CaptureFixture
) -> None:
    prepare.prepare(made.config("records.encoding=flac"))
    capsys.readouterr()
    prepare.prepare(made.config("records.encoding=flac"))
    told = capsys.readouterr().out
    assert "(nothing to encode)" in told
    assert f"decoded by {decode.decoder()}" in told


def test_shards_of_another_rate(made: Set, capsys: pytest.CaptureFixture) -> None:
    own = prepare.prepare(made.config())
    prepared = prepare.prepare(
        made.config("records.encoding=flac", "features.rate=8000", f"records.rate={RATE}")
    )
    assert prepared.manifest["sampling_rate"] == RATE
    assert prepared.seconds == own.seconds
    assert {len(pcm) for pcm in made.sounds(prepared).values()} == {2 * RATE}
    told = capsys.readouterr().out
    assert (
        f"flac shards are decoded by {decode.decoder()} and resampled to 8000 Hz by {decode.resampler()} "
        "as they are read"
    ) in told
    names = made.names()
    prepare.prepare(made.config("records.encoding=flac", "features.rate=4000", f"records.rate={RATE}"))
    assert made.names() == names  # one set of shards for every rate that is wanted of it


def test_the_disk_that_is_asked_for_follows_the_encoding(made: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    pcm = 12 * 2 * RATE * 2
    full = shutil.disk_usage(made.folder)._replace(free=pcm // 2)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    for encoding in ("pcm16", "flac"):
        with pytest.raises(DataError, match="disk has"):
            prepare.prepare(made.config(f"records.encoding={encoding}"))
    assert prepare.prepare(made.config("records.encoding=vorbis")).manifest["clips"] == 12


def test_settings_that_cannot_be(made: Set) -> None:
    for overrides, told in (
        (
            ["records.encoding=mp3"],
            r"`records\.encoding` must be one of pcm16, flac, vorbis\. Received: 'mp3'",
        ),
        (["records.rate=10"], r"`records\.rate` must be from 1000 to 384000\. Received: 10"),
        (["records.encoding=vorbis", "records.rate=200000"], "takes at most 192000 Hz. Received: 200000"),
        (["records.encoding=flac", "features.rate=65537"], "in tens only. Received: 65537"),
    ):
        with pytest.raises(ConfigError, match=told):
            made.config(*overrides)
    made.config("records.encoding=flac", "features.rate=96000")
