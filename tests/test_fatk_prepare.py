"""Preparing: sound files of every sort to shards, what is left out, and what is not done twice."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from fatk import audio, prepare, shards
from fatk.config import Config, load_config
from pipelines import records
from pipelines.sources import DataError, read_source

RATE = 16000


def tone(hertz: float, seconds: float = 0.3, rate: int = RATE, level: float = 0.5) -> np.ndarray:
    """(samples,) float64 in -1..1."""
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def put(path: Path, samples: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


class Set:
    """A csv set in the making: clips, table, config."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.rows: dict[str, str] = {}

    def add(self, name: str, labels: str, samples: np.ndarray | None = None, **how: object) -> Path:
        """A row, and its file where there are samples."""
        self.rows[name] = labels
        if samples is not None:
            put(self.folder / "clips" / name, samples, **how)
        return self.folder / "clips" / name

    def fill(self, count: int) -> None:
        """Good clips of two classes."""
        for n in range(count):
            self.add(f"good{n:03d}.wav", "ab"[n % 2], tone(200 + 10 * n, 0.1))

    def config(self, *overrides: str) -> Config:
        with (self.folder / "table.csv").open("w", newline="") as out:
            csv.writer(out).writerows([("fname", "labels"), *self.rows.items()])
        path = self.folder / "set.toml"
        path.write_text(
            '[data]\nkind = "csv"\npath = "clips"\ntable = "table.csv"\nrecords = "shards"\nvalid_per_class = 1\n'
            f"[features]\nrate = {RATE}\nbands = 64\n"
        )
        return load_config(path, overrides)

    @property
    def shards(self) -> dict[str, int]:
        """Name -> time of the last change."""
        return {path.name: path.stat().st_mtime_ns for path in (self.folder / "shards").glob("*.tfrecord")}

    @property
    def manifest(self) -> dict:
        return json.loads((self.folder / "shards" / "manifest.json").read_text())


@pytest.fixture
def made(tmp_path: Path) -> Set:
    return Set(tmp_path)


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "CLIPS_PER_SHARD", 4)


def stored(prepared: prepare.Prepared) -> dict[str, np.ndarray]:
    """Key -> (samples,) int16, as training reads it."""
    paths = [path for pool in prepared.shards.values() for path in pool]
    dataset = tf.data.TFRecordDataset(paths).map(records.parse)
    return {key.decode(): pcm for key, pcm in dataset.as_numpy_iterator()}


# Formats


def test_pcm_of_16_bits_at_the_rate_is_stored_to_the_bit(made: Set) -> None:
    draw = np.random.default_rng(0)
    wanted = {
        "noise.wav": draw.integers(-32768, 32768, 5000).astype(np.int16),
        "ends.wav": np.array([-32768, 32767, 0, 1, -1] * 100, np.int16),
        "noise.flac": draw.integers(-32768, 32768, 3000).astype(np.int16),
        "one.wav": np.array([-7], np.int16),
    }
    for name, samples in wanted.items():
        made.add(name, "a", samples)
    found = stored(prepare.prepare(made.config()))
    assert set(found) == {f"curated/{name}" for name in wanted}
    for name, samples in wanted.items():
        np.testing.assert_array_equal(found[f"curated/{name}"], samples)


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("x.wav", "PCM_U8", 256),
        ("x.wav", "PCM_24", 0.5),
        ("x.wav", "PCM_32", 0.5),
        ("x.wav", "FLOAT", 1.0),
        ("x.wav", "DOUBLE", 1.0),
        ("x.wav", "ULAW", 700),
        ("x.flac", "PCM_24", 0.5),
        ("x.aiff", "PCM_16", 0),
    ],
)
def test_other_widths_become_the_nearest_16_bits(
    name: str, subtype: str, tolerance: float, tmp_path: Path
) -> None:
    wanted = np.rint(32767 * tone(440)) / 32768 if subtype == "PCM_16" else tone(440)
    path = put(tmp_path / name, wanted, subtype=subtype)
    found = audio.read_pcm(path, RATE)
    assert found.dtype == np.int16
    assert len(found) == len(wanted)
    assert np.abs(found - 32768 * wanted).max() <= tolerance + 1e-3


def test_8_bits_are_the_upper_ones(tmp_path: Path) -> None:
    path = put(tmp_path / "x.wav", np.arange(-128, 128) / 128, subtype="PCM_U8")
    np.testing.assert_array_equal(audio.read_pcm(path, RATE), 256 * np.arange(-128, 128))


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_values_beyond_full_scale_are_clipped_and_do_not_wrap(subtype: str, tmp_path: Path) -> None:
    path = put(tmp_path / "x.wav", np.array([1.5, -1.5, 1.0, -1.0, 1e9, 0.25]), subtype=subtype)
    found = audio.read_pcm(path, RATE)
    assert list(found[:3]) == [32767, -32768, 32767]
    assert found[3] in (-32767, -32768)
    assert found[4] == 32767
    assert found[5] in (8191, 8192)


@pytest.mark.parametrize(
    ("name", "format", "subtype"), [("x.ogg", "OGG", "VORBIS"), ("x.mp3", "MP3", "MPEG_LAYER_III")]
)
def test_lossy_files_sound_as_they_were(name: str, format: str, subtype: str, tmp_path: Path) -> None:
    if format not in soundfile.available_formats():
        pytest.skip(f"libsndfile writes no {format} here")
    wanted = tone(440, 1.0)
    path = tmp_path / name
    soundfile.write(path, wanted, RATE, format=format, subtype=subtype)
    found = audio.read_pcm(path, RATE) / 32768
    lags = [
        np.corrcoef(found[lag : lag + 8000], wanted[:8000])[0, 1] for lag in range(0, len(found) - 8000, 5)
    ]
    assert max(lags) > 0.99  # MP3 begins with some silence of its own
    assert np.sqrt(np.mean(found**2)) == pytest.approx(np.sqrt(np.mean(wanted**2)), rel=0.15)


def test_real_ogg_clips_are_what_libsndfile_makes_of_them(shared: Path) -> None:
    clips = sorted((shared / "esc10" / "audio").glob("*.ogg"))[::80]
    assert len(clips) == 5
    for clip in clips:
        wanted, rate = soundfile.read(clip, dtype="int16")
        found = audio.read_pcm(clip, rate)
        held = np.abs(found.astype(int)) < 32767  # libsndfile wraps what goes beyond
        assert held.mean() > 0.9
        np.testing.assert_array_equal(found[held], wanted[held])


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(300, level=0.5), tone(900, level=0.3)
    found = audio.read_pcm(put(tmp_path / "x.wav", np.stack([left, right], 1)), RATE)
    assert np.abs(found - 32768 * (left + right) / 2).max() <= 1.5  # of the file's own rounding
    opposite = audio.read_pcm(put(tmp_path / "y.wav", np.stack([left, -left], 1)), RATE)
    assert np.abs(opposite).max() <= 1


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 96000])
def test_other_rates_are_resampled(rate: int, tmp_path: Path) -> None:
    path = put(tmp_path / "x.wav", tone(1000, 1.0, rate), rate)
    found = audio.read_pcm(path, RATE) / 32768
    assert len(found) == pytest.approx(RATE, abs=1)
    middle = slice(2000, 14000)
    wanted = tone(1000, 1.0)[: len(found)]
    assert np.abs(found[middle] - wanted[middle]).max() < 2e-3


def test_resampling_folds_nothing_back(tmp_path: Path) -> None:
    path = put(tmp_path / "x.wav", tone(15000, 1.0, 44100), 44100)  # above half of the new rate
    found = audio.read_pcm(path, RATE)[2000:14000] / 32768
    assert np.sqrt(np.mean(found**2)) < 1e-3


def test_one_sample_stays_a_clip_at_any_rate(tmp_path: Path) -> None:
    for rate in (1000, 44100, 192000):
        assert len(audio.read_pcm(put(tmp_path / f"{rate}.wav", np.array([0.5]), rate), RATE)) >= 1


# Manifest


def test_the_manifest_counts(made: Set) -> None:
    made.add("a.wav", "Bark", tone(300, 1.5))
    made.add("b.wav", "Rain,Bark", tone(300, 0.5, 44100), rate=44100)
    made.add("c.wav", "Rain", tone(300, 1.0))
    prepared = prepare.prepare(made.config())
    manifest = made.manifest
    assert manifest == prepared.manifest
    assert manifest["classes"] == ["Bark", "Rain"]
    assert manifest["sampling_rate"] == RATE
    assert manifest["clips"] == 3
    assert manifest["hours"] == pytest.approx(3 / 3600, abs=1e-4)
    assert manifest["left_out"] == []
    assert manifest["splits"]["train"]["clips"] + manifest["splits"]["valid"]["clips"] == 3
    assert manifest["splits"]["test"]["clips"] == 0
    names = manifest["pools"]["curated"]["shards"]
    assert sorted(names) == sorted(made.shards)
    assert sum(prepared.seconds.values()) == pytest.approx(3, abs=1e-3)
    with (made.folder / "shards" / "clips.csv").open(newline="") as lines:
        rows = {row["fname"]: row for row in csv.DictReader(lines)}
    assert rows["b.wav"]["labels"] == "Rain,Bark"
    assert float(rows["a.wav"]["seconds"]) == 1.5


def test_one_folder_a_class(tmp_path: Path) -> None:
    for label in ("Dog", "Sea waves"):
        for n in range(3):
            put(tmp_path / "sounds" / label / f"{n}.wav", tone(300 + n))
    put(tmp_path / "sounds" / "Dog" / "deep" / "4.flac", tone(400))
    (tmp_path / "sounds" / "Dog" / "notes.txt").write_text("no sound")
    path = tmp_path / "folders.toml"
    path.write_text(
        f'[data]\nkind = "folders"\npath = "sounds"\nrecords = "shards"\n[features]\nrate = {RATE}\n'
    )
    prepared = prepare.prepare(load_config(path))
    assert prepared.classes == ("Dog", "Sea waves")
    assert set(stored(prepared)) == {f"curated/{c}/{n}.wav" for c in prepared.classes for n in range(3)} | {
        "curated/Dog/deep/4.flac"
    }
    assert {clip.labels for clip in prepared.source.clips} == {("Dog",), ("Sea waves",)}


# What cannot be read


def spoil(made: Set) -> dict[str, Path]:
    """Three files that are no sound, and one that is not there."""
    bad = {
        name: made.add(name, "a") for name in ("empty.wav", "text.wav", "nan.wav", "gone.wav", "header.wav")
    }
    bad["empty.wav"].write_bytes(b"")
    bad["text.wav"].write_text("this is no sound\n" * 20)
    put(bad["nan.wav"], np.full(800, np.nan), subtype="FLOAT")
    put(bad["header.wav"], np.zeros(0))
    return bad


def test_bad_files_among_good_ones_are_named_and_left_out(made: Set, capsys: pytest.CaptureFixture) -> None:
    made.fill(20)
    bad = spoil(made)
    prepared = prepare.prepare(made.config("data.unreadable=0.5"))
    told = capsys.readouterr().out
    for path in bad.values():
        assert f"left out: {path}: " in told
    for word in ("0 bytes", "not a sound file", "not numbers", "no such file", "no samples"):
        assert word in told
    assert {entry["fname"] for entry in made.manifest["left_out"]} == set(bad)
    assert {Path(entry["file"]) for entry in made.manifest["left_out"]} == set(bad.values())
    assert all(entry["reason"] for entry in made.manifest["left_out"])
    assert made.manifest["clips"] == 20
    assert set(stored(prepared)) == {clip.key for clip in prepared.source.clips}
    used = {clip.name for role in ("train", "valid", "test") for clip in getattr(prepared.split, role)}
    assert used == {name for name in made.rows if name.startswith("good")}


def test_they_are_named_again_the_next_time(made: Set, capsys: pytest.CaptureFixture) -> None:
    made.fill(8)
    spoil(made)
    config = made.config("data.unreadable=0.5")
    prepare.prepare(config)
    capsys.readouterr()
    before = made.shards
    prepare.prepare(config)
    assert capsys.readouterr().out.count("left out: ") == 5
    assert made.shards == before


def test_a_file_that_failed_for_a_while_is_taken_up(made: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a disk that was away: the file itself is as it was."""
    made.fill(8)
    read = audio.read_told

    def failing(path: Path, rate: int) -> tuple[np.ndarray, int]:
        if path.name == "good003.wav":
            raise OSError(5, "Input/output error", str(path))
        return read(path, rate)

    config = made.config("data.unreadable=0.5")
    with monkeypatch.context() as patch:
        patch.setattr(audio, "read_told", failing)
        assert prepare.prepare(config).manifest["clips"] == 7
        before = made.shards
        assert prepare.prepare(config).manifest["left_out"][0]["fname"] == "good003.wav"
        assert made.shards == before
    prepared = prepare.prepare(config)
    assert prepared.manifest["left_out"] == []
    assert stored(prepared)["curated/good003.wav"].shape == (1600,)


def test_less_than_one_in_a_hundred_is_let_pass(made: Set) -> None:
    made.fill(120)
    made.add("empty.wav", "a").write_bytes(b"")
    assert prepare.prepare(made.config()).manifest["clips"] == 120


def test_more_than_one_in_a_hundred_stops(made: Set) -> None:
    made.fill(50)
    made.add("empty.wav", "a").write_bytes(b"")
    with pytest.raises(DataError, match=r"1 of 51 files cannot be read, more than .* 0\.01 .*empty\.wav\.$"):
        prepare.prepare(made.config())
    assert not (made.folder / "shards" / "manifest.json").exists()


def test_strict_stops_at_one(made: Set) -> None:
    made.fill(120)
    made.add("empty.wav", "a").write_bytes(b"")
    with pytest.raises(DataError, match=r"1 of 121 files cannot be read, and `data\.strict` is set"):
        prepare.prepare(made.config("data.strict=true"))


def test_a_mended_file_is_taken_up(made: Set) -> None:
    made.fill(9)
    path = made.add("late.wav", "a")
    path.write_bytes(b"")
    assert prepare.prepare(made.config("data.unreadable=0.5")).manifest["clips"] == 9
    put(path, tone(500))
    prepared = prepare.prepare(made.config())
    assert prepared.manifest["clips"] == 10
    assert prepared.manifest["left_out"] == []


def test_the_length_of_a_large_set_is_told_by_some_of_its_clips(
    made: Set, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.fill(30)
    config = made.config()
    planned = shards.plan(read_source(config.data).clips, RATE, made.folder)
    assert shards.probe(planned) == pytest.approx(3.0)
    monkeypatch.setattr(shards, "PROBED", 7)
    opened = []
    monkeypatch.setattr(audio, "seconds", lambda path: opened.append(path) or 0.1)
    assert shards.probe(planned) == pytest.approx(3.0)
    assert 7 <= len(set(opened)) == len(opened) < 14
    assert shards.probe([]) == 0


def test_clips_that_are_not_opened_count_by_their_bytes(made: Set) -> None:
    for n in range(96):  # one of eight is long
        made.add(f"{n:03d}.wav", "ab"[n % 2], tone(300, 2.0 if n % 8 == 1 else 0.5))
    planned = shards.plan(read_source(made.config().data).clips, RATE, made.folder)
    ordered = [clip.path.name for shard in planned for clip in shard.clips]
    made.folder.joinpath("clips", ordered[0]).unlink()
    told = 0.5 * 84 + 2.0 * 12 - (2.0 if int(ordered[0][:3]) % 8 == 1 else 0.5)
    assert shards.probe(planned) == pytest.approx(told, rel=0.05)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no process is bound to a core here")
def test_a_process_bound_to_one_core_counts_one() -> None:
    before = os.sched_getaffinity(0)
    assert shards.cores() == len(before)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert shards.cores() == 1
    finally:
        os.sched_setaffinity(0, before)


# What is not done twice


@pytest.mark.usefixtures("small_shards")
def test_the_second_time_nothing_is_encoded(made: Set, capsys: pytest.CaptureFixture) -> None:
    made.fill(20)
    config = made.config()
    first = prepare.prepare(config)
    assert "shards to write, about " in capsys.readouterr().out
    before = made.shards
    assert len(before) == 5
    second = prepare.prepare(config)
    assert "(nothing to encode)" in capsys.readouterr().out
    assert made.shards == before
    assert second.manifest | {"made": ""} == first.manifest | {"made": ""}


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("damage", ["deleted", "cut", "no report"])
def test_an_interrupted_run_goes_on_with_what_is_missing(made: Set, damage: str) -> None:
    made.fill(20)
    config = made.config()
    whole = stored(prepare.prepare(config))
    before = made.shards
    victim = (
        made.folder
        / "shards"
        / sorted(before, key=lambda name: (made.folder / "shards" / name).stat().st_size)[-1]
    )
    if damage == "deleted":
        victim.rename(victim.with_name(victim.name + ".tmp"))
    elif damage == "cut":
        victim.write_bytes(victim.read_bytes()[:-100])
    else:
        victim.with_suffix(".json").unlink()
    (made.folder / "shards" / "manifest.json").unlink()
    again = stored(prepare.prepare(config))
    after = made.shards
    assert set(after) == set(before)
    assert {name for name in before if after[name] != before[name]} == {victim.name}
    assert not list((made.folder / "shards").glob("*.tmp"))
    assert set(again) == set(whole)
    for key in whole:
        np.testing.assert_array_equal(again[key], whole[key])


@pytest.mark.usefixtures("small_shards")
def test_stopping_midway_leaves_whole_shards_only(made: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    made.fill(20)
    config = made.config()
    count = []

    def read_some(path: Path, rate: int) -> tuple[np.ndarray, int]:
        count.append(path)
        if len(count) == 12:
            raise KeyboardInterrupt
        return read_told(path, rate)

    read_told = audio.read_told
    with monkeypatch.context() as patch:
        patch.setattr(audio, "read_told", read_some)
        with pytest.raises(KeyboardInterrupt):
            prepare.prepare(config)
    kept = made.shards
    assert 0 < len(kept) < 5
    assert not (made.folder / "shards" / "manifest.json").exists()
    assert len(stored(prepare.prepare(config))) == 20
    assert {name: made.shards[name] for name in kept} == kept


def test_other_labels_encode_nothing_and_change_the_manifest(made: Set) -> None:
    made.fill(20)
    first = prepare.prepare(made.config())
    before = made.shards
    made.rows["good000.wav"] = "a,c"
    second = prepare.prepare(made.config())
    assert made.shards == before
    assert second.classes == ("a", "b", "c")
    assert second.manifest["classes"] == ["a", "b", "c"]
    assert second.manifest["fingerprint"] != first.manifest["fingerprint"]


@pytest.mark.usefixtures("small_shards")
def test_one_more_clip_encodes_one_shard(made: Set) -> None:
    made.fill(19)
    prepare.prepare(made.config())
    before = made.shards
    made.add("new.wav", "a", tone(700))
    assert len(stored(prepare.prepare(made.config()))) == 20
    after = made.shards
    assert len(after) == len(before) == 5
    assert sum(after.get(name) == time for name, time in before.items()) == 4  # the old fifth is swept away


def test_another_rate_encodes_anew(made: Set) -> None:
    made.fill(6)
    prepare.prepare(made.config())
    found = stored(prepare.prepare(made.config("features.rate=8000")))
    assert {len(pcm) for pcm in found.values()} == {800}
    assert made.manifest["sampling_rate"] == 8000


def test_shards_of_a_set_in_hand_stay(made: Set) -> None:
    """An ablation has a row's set, and what it made of it, until the row's last seed has run."""
    made.fill(6)
    config = made.config()
    first = prepare.prepare(config)
    shards_of_it, own = set(made.shards), replace(first, split=first.split)
    del first
    low = made.config("features.rate=8000")
    prepare.prepare(low)
    assert len(made.shards) == 2
    assert {len(pcm) for pcm in stored(own).values()} == {1600}
    del own
    prepare.prepare(low)
    assert len(made.shards) == 1
    assert not shards_of_it & set(made.shards)


def test_settings_that_name_their_records_find_them_under_another_name(
    made: Set, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.fill(6)
    monkeypatch.chdir(made.folder)
    named = made.config()
    assert prepare.with_records(named) is named  # digests of what ran stay
    unnamed = made.config("data.records=", "name=base")
    found = prepare.with_records(unnamed)
    assert prepare.records_folder(replace(found, name="other")) == made.folder / "records" / "base"
    prepare.prepare(unnamed)
    prepare.prepare(replace(found, name="other"))
    assert [path.name for path in (made.folder / "records").iterdir()] == ["base"]


def test_the_folder_of_another_set_is_refused(made: Set, tmp_path: Path) -> None:
    made.fill(6)
    prepare.prepare(made.config())
    before = made.shards
    other = Set(tmp_path / "other")
    other.folder.mkdir()
    other.fill(6)
    with pytest.raises(
        DataError, match=r"holds the shards of .*clips.*other.*Choose another `data\.records`"
    ):
        prepare.prepare(other.config(f"data.records={made.folder / 'shards'}"))
    assert made.shards == before


def test_files_that_are_not_ours_stay(made: Set) -> None:
    """Whatever their names look like: somebody may keep sounds where the shards go."""
    made.fill(6)
    names = ("sound-of-rain.wav", "best-of-2023.flac", "curated-0001-of-0002-notes.json", "b-of-c.tmp")
    for name in names:
        made.folder.joinpath("shards").mkdir(exist_ok=True)
        (made.folder / "shards" / name).write_text("mine")
    (made.folder / "shards" / "curated-0000-of-0001-0123456789ab.json").mkdir()
    prepare.prepare(made.config())
    made.rows.pop("good005.wav")
    prepare.prepare(made.config())
    assert len(made.shards) == 1  # the one of six clips is gone
    for name in names:
        assert (made.folder / "shards" / name).read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "text"),
    [("clips.csv", "a,b\n"), ("manifest.json", "{}"), ("owner.json", "[1]"), ("owner.json", "no")],
)
def test_a_folder_with_files_of_our_names_is_refused(made: Set, name: str, text: str) -> None:
    made.fill(6)
    path = made.folder / "shards" / name
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(DataError, match=rf"{name}: not a file of ours\. Choose another `data\.records`\.$"):
        prepare.prepare(made.config())
    assert path.read_text() == text
    assert made.shards == {}


def test_files_that_end_before_their_headers_say_so_are_named(
    made: Set, capsys: pytest.CaptureFixture
) -> None:
    made.fill(6)
    path = made.add("half.wav", "a", tone(500, 2.0))
    path.write_bytes(path.read_bytes()[: 44 + RATE])  # half a second
    for _ in range(2):  # what is encoded already is told of too
        prepare.prepare(made.config())
        told = capsys.readouterr().out
        assert "half.wav: the file ends after 0.50 of 2.00 s" in told.replace("\n", "")
        assert "1 of 7 files end before their headers say so" in told.replace("\n", " ")


def test_copies_are_told_of_and_held_out_together(made: Set, capsys: pytest.CaptureFixture) -> None:
    made.fill(8)
    for n in range(3):
        made.add(f"copy{n}.wav", "b", tone(200, 0.1))  # of good000.wav
    before = prepare.prepare(made.config(), verbose=False).manifest["pools"]["curated"]["shards"]
    for seed in range(4):
        split = prepare.prepare(made.config(f"seed={seed}")).split
        sides = [{clip.name[:4] for clip in clips if clip.source} for clips in (split.train, split.valid)]
        assert sorted(sides, key=len) == [set(), {"copy", "good"}]
    told = capsys.readouterr().out
    assert "3 clips are copies of others, as curated/copy0.wav of curated/good000.wav" in told
    assert "3 have other labels, as curated/copy0.wav (b) of curated/good000.wav (a)." in told
    assert sorted(made.shards) == sorted(before)


def test_the_command_prints_the_splits(made: Set, capsys: pytest.CaptureFixture) -> None:
    made.fill(12)
    made.config()
    assert prepare.main(["--config", str(made.folder / "set.toml"), "name=try"]) == 0
    told = capsys.readouterr().out
    for word in ("12 clips", "train", "valid", "10", "fingerprint"):
        assert word in told


def test_preparing_alone_loads_no_network_library(made: Set) -> None:
    made.fill(6)
    made.config()
    code = (
        "import sys; from fatk import prepare; prepare.main(sys.argv[1:]); "
        "print('loaded:', *sorted({'jax', 'keras', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--config", str(made.folder / "set.toml")],
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded: tensorflow"
