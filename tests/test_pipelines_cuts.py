"""Cropping first: the pixels of the whole image's part, and what the whole must tell for it."""

import random
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf

from pipelines import clips, crops, cuts, datasets, domain, extremes, ops, records, statistics
from pipelines.augment_settings import AugmentSettings
from pipelines.domain_settings import UNCHANGED, DomainSettings
from pipelines.reading import Examples
from pipelines.settings import FeatureSettings, FeedSettings

FORMATS = ("APD", "APX", "AAA", "AAP")
BACKGROUNDS = ("none", "stationary", "global")


@pytest.fixture(scope="module")
def recordings(shared: Path) -> list[np.ndarray]:
    """Real clips, (samples,) int16 at 44.1 kHz, from one under a second to one of ten."""
    files = sorted((shared / "fat10").rglob("*.ogg"))[:40]
    sounds = sorted((soundfile.read(file, dtype="int16")[0] for file in files), key=len)
    return [sounds[0], sounds[13], sounds[-1]]


def as_float(pcm: np.ndarray) -> tf.Tensor:
    return records.to_float(tf.constant(pcm))


def part(
    pcm: np.ndarray, start: int, columns: int, settings: FeatureSettings, background: DomainSettings
) -> np.ndarray:
    """(samples,) int16 -> the image's columns from `start` on, as training makes them."""
    known = cuts.know(ops, as_float(pcm), settings, background)
    samples = tf.constant(len(pcm))
    read: list[int] = []

    def reader(first: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
        read.append(int(end - first))
        return tf.constant(pcm)[first:end]

    sound = clips.cut_sound(reader, samples, tf.constant(start), columns, settings)
    assert read == [min(read[0], cuts.samples_for(columns, settings))]  # no more than the part needs
    padded = cuts.padded_samples(ops, samples, settings)
    return cuts.part(
        ops, sound, padded, tf.constant(start), columns, known, settings, background
    ).image.numpy()


# --- the part is the whole's -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "stretch", "seconds", "width"),
    [
        ("APD", "resize", 1, None),
        ("APX", "resize", 2.2, None),
        ("AAP", "resize", 5, None),
        ("AAP", "resize", 5, 100),
        ("APD", "mean", 2.2, None),
        ("APX", "mean", 5, None),
        ("AHL", "mean", 2.2, None),
        ("AHL", "mean", 5, None),
        ("AHL", "mean", 5, 64),
        ("APD", "mean", 2, 64),  # a column a frame
        ("APD", "hop", 2, None),
        ("AAA", "hop", 5, None),
        ("APD", "hop", 5, 48),
    ],
)
def test_crop_first_is_crop_last(
    recordings: list[np.ndarray], kind: Any, stretch: Any, seconds: float, width: int | None
) -> None:
    settings = FeatureSettings(bands=32, seconds=seconds, format=kind, stretch=stretch, width=width)
    columns = width or 32
    for pcm in recordings:
        whole = domain.whole_image(ops, as_float(pcm), settings).image
        made = int(cuts.columns_of(ops, tf.constant(len(pcm)), settings))
        assert made == whole.shape[1]
        last = max(made - columns, 0)
        for start in {-3, 0, 1, last // 2, last}:  # before the clip, at its edges, within
            wanted = crops.crop(whole, start, columns).numpy()
            np.testing.assert_array_equal(part(pcm, start, columns, settings, UNCHANGED), wanted)


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("samples", [1, 8000, 8000 + 17 * 250 + 1, 40000])
def test_short_clips_silence_and_backgrounds(samples: int, background: Any) -> None:
    settings = FeatureSettings(rate=8000, bands=32)
    choice = DomainSettings(background=background)
    noise = np.random.default_rng(samples).normal(0, 3000, samples).astype(np.int16)
    for pcm in (noise, np.zeros(samples, np.int16)):
        whole = domain.whole_image(ops, as_float(pcm), settings, choice).image
        for start in (-2, max(whole.shape[1] - 32, 0)):
            wanted = crops.crop(whole, start, 32).numpy()
            np.testing.assert_array_equal(part(pcm, start, 32, settings, choice), wanted)


def test_any_part_of_any_clip_at_160_bands(recordings: list[np.ndarray]) -> None:
    drawn = random.Random(5)
    for _ in range(8):
        settings = FeatureSettings(format=drawn.choice(FORMATS), seconds=drawn.choice([1, 1, 2, 4]))
        choice = DomainSettings(background=drawn.choice(BACKGROUNDS))
        pcm = drawn.choice(recordings)
        pcm = pcm[: drawn.randint(1, len(pcm))]
        columns = drawn.choice([160, 160, 40, 111])
        whole = domain.whole_image(ops, as_float(pcm), settings, choice).image
        start = drawn.randint(-5, max(whole.shape[1] - columns, 0))
        wanted = crops.crop(whole, start, columns).numpy()
        np.testing.assert_array_equal(part(pcm, start, columns, settings, choice), wanted)


# --- through the feed ------------------------------------------------------------------------------------------

FEATURES = FeatureSettings(rate=8000, bands=32, seconds=2)
FEED = FeedSettings(batch=4, shuffle=5, seed=3)
CLIPS = 9
# What comes after the crop is the same whichever way it was made, and slow to build.
BARE = AugmentSettings(warp=False, brightness=False, cutout=False)


def tone(number: int) -> np.ndarray:
    """(samples,) int16: a glide in noise, of a fifth of a second to seven."""
    chance = np.random.default_rng(number)
    time = np.arange(chance.integers(1600, 56000)) / 8000
    sound = np.sin(2 * np.pi * (300 + 90 * number + 200 * time) * time) + chance.normal(0, 0.1, len(time))
    return (6000 * sound).astype(np.int16)


def make_set(folder: Path, encoding: Any, rate: int = 8000) -> Examples:
    from fatk.audio import compress

    shards = []
    for shard in range(2):
        path = folder / f"{encoding}-{rate}-{shard}.tfrecord"
        records.write_shard(
            path,
            [
                records.example(
                    f"curated/{n}.wav", compress(tone(n), rate, encoding), rate, encoding=encoding
                )
                for n in range(shard, CLIPS, 2)
            ],
        )
        shards.append(str(path))
    keys = tuple(f"curated/{n}.wav" for n in range(CLIPS))
    return Examples(keys, np.eye(CLIPS, dtype=np.float32), tuple(shards))


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    return make_set(tmp_path_factory.mktemp("shards"), "pcm16")


def batches(examples: Examples, augment: AugmentSettings, **others: Any) -> list[dict[str, np.ndarray]]:
    made = datasets.training(examples, FEATURES, augment, FEED, **others)
    return list(islice(made.as_numpy_iterator(), 4))


def assert_crop_first_changes_nothing(
    examples: Examples, augment: AugmentSettings, share: float = 0, **others: Any
) -> None:
    """`share`: of the pixels, that may differ by a level."""
    choice = others.get("domain", UNCHANGED)
    known = extremes.kept(examples, FEATURES, choice, Path(examples.shards[0]).parent)
    for first, last in zip(
        batches(replace(examples, known=known), augment, **others),
        batches(examples, augment, **others),
        strict=True,
    ):
        assert first.keys() == last.keys()
        for name in first:
            apart = np.abs(255 * (first[name] - last[name]))
            assert apart.max() < 1.5
            assert (apart > 0.5).mean() <= share, name


@pytest.mark.parametrize(
    "augment",
    [
        AugmentSettings(level=3),
        replace(BARE, crop_columns=(0.5, 1.5), crop_bands=(0.7, 1)),
        replace(BARE, mix=0.3, noise=0.3, background=0.3),
        replace(BARE, gain=1.0),
    ],
    ids=["images", "sizes", "effects", "always"],
)
def test_a_feed_gives_the_same_either_way(examples: Examples, augment: AugmentSettings) -> None:
    assert_crop_first_changes_nothing(examples, augment)


def test_views_and_backgrounds_are_the_same_either_way(examples: Examples) -> None:
    assert_crop_first_changes_nothing(
        examples,
        replace(BARE, noise=0.3),
        0.001,  # the steady power's sums are rounded otherwise in another graph
        views=2,
        domain=DomainSettings(background="stationary"),
    )


@pytest.mark.parametrize(("encoding", "rate"), [("flac", 8000), ("pcm16", 16000)])
def test_other_shards_are_cut_as_well(encoding: str, rate: int, tmp_path: Path) -> None:
    assert_crop_first_changes_nothing(make_set(tmp_path, encoding, rate), BARE)


@pytest.mark.parametrize("kind", ["envelope", "normalise"])
def test_a_transfer_is_the_same_either_way(examples: Examples, kind: Any, tmp_path: Path) -> None:
    noisy = np.arange(CLIPS) % 2 == 0
    choice = DomainSettings(transfer=kind)
    rows = np.flatnonzero(~noisy)
    curated = Examples(tuple(examples.keys[row] for row in rows), examples.targets[rows], examples.shards)
    moved = statistics.build_transfer(curated, examples, noisy, FEATURES, choice, tmp_path)
    assert_crop_first_changes_nothing(replace(examples, transfer=moved), BARE, domain=choice)


# --- what is known ---------------------------------------------------------------------------------------------


def test_what_is_known_is_measured_once_and_read_back(
    examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = extremes.kept(examples, FEATURES, UNCHANGED, tmp_path)
    (file,) = tmp_path.iterdir()
    monkeypatch.setattr(extremes, "measure", None)  # is not called again
    some = Examples(
        examples.keys[3:5], examples.targets[3:5], examples.shards
    )  # another fold, the same shards
    again = extremes.kept(some, FEATURES, UNCHANGED, tmp_path)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one[3:5], other)
    monkeypatch.undo()
    file.write_bytes(file.read_bytes()[:100])  # a file that was cut off is measured anew
    for one, other in zip(first, extremes.kept(examples, FEATURES, UNCHANGED, tmp_path), strict=True):
        np.testing.assert_array_equal(one, other)
    extremes.kept(examples, replace(FEATURES, fmin=50), UNCHANGED, tmp_path)
    extremes.kept(examples, FEATURES, DomainSettings(background="stationary"), tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_the_extremes_are_those_of_the_maps(examples: Examples, tmp_path: Path) -> None:
    known = extremes.kept(examples, FEATURES, UNCHANGED, tmp_path)
    level = known.high[:, 0] - known.low[:, 0]
    assert ((level > 20) & (level <= 80)).all()  # decibels
    assert (known.low[:, 1] < 0).all()  # radians
    assert (known.high[:, 1] > 0).all()
    assert (known.low[:, 2] < known.high[:, 2]).all()


def test_a_clip_that_no_shard_holds_is_named(examples: Examples, tmp_path: Path) -> None:
    more = Examples((*examples.keys, "curated/gone.wav"), np.eye(CLIPS + 1), examples.shards)
    with pytest.raises(ValueError, match=r"no clip 'curated/gone\.wav', and lack 1 in all"):
        extremes.kept(more, FEATURES, UNCHANGED, tmp_path)


def test_a_part_on_the_accelerator_differs_by_a_level_at_most(recordings: list[np.ndarray]) -> None:
    settings = FeatureSettings(bands=64)
    pcm = recordings[-1]
    known = cuts.know(ops, as_float(pcm), settings, UNCHANGED)
    sound = clips.cut_sound(
        lambda first, end: tf.constant(pcm)[first:end], tf.constant(len(pcm)), tf.constant(90), 64, settings
    )
    made = cuts.part(
        keras.ops,
        keras.ops.convert_to_tensor(sound.numpy()),
        len(pcm),
        90,
        64,
        cuts.Known(*(keras.ops.convert_to_tensor(value.numpy()) for value in known)),
        settings,
        UNCHANGED,
    ).image
    wanted = part(pcm, 90, 64, settings, UNCHANGED)
    apart = np.abs(np.asarray(made).astype(int) - wanted)
    assert apart[..., [0, 2]].max() <= 1
    assert (apart[..., 1] > 1).mean() < 0.01  # a bin at pi may flip
