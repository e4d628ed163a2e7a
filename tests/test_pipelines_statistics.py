"""The pass over a set against plain loops, its file, and what the transfers do to the real noisy clips."""

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from fatk.audio import read_pcm
from pipelines import domain, ops, reading, records, statistics
from pipelines.clips import image_of
from pipelines.domain_settings import DomainSettings
from pipelines.reading import Examples
from pipelines.settings import FeatureSettings

PLAIN = DomainSettings()
ENVELOPE, NORMALISE = DomainSettings(transfer="envelope"), DomainSettings(transfer="normalise")
FEATURES = FeatureSettings(rate=8000, bands=32, format="APD")
CLASSES = 4
LABELS = {  # of made clips: the curated ones, then two noisy ones
    "curated/a": (0,),
    "curated/b": (0, 1),
    "curated/c": (1,),
    "curated/d": (2,),
    "noisy/e": (0,),
    "noisy/f": (1, 2),
}


def targets_of(labels: list[tuple[int, ...]]) -> NDArray[np.float32]:
    made = np.zeros((len(labels), CLASSES), np.float32)
    for row, classes in enumerate(labels):
        made[row, list(classes)] = 1
    return made


@pytest.fixture(scope="module")
def sounds() -> dict[str, NDArray[np.int16]]:
    """Coloured noise of 0.4 to 1.5 s, another colour for every clip, int16 at 8 kHz."""
    made = {}
    for number, key in enumerate(LABELS):
        draw = np.random.default_rng(number)
        noise = draw.standard_normal(3200 + 1800 * number)
        smooth = np.convolve(noise, np.ones(1 + 2 * number), "same")
        made[key] = (smooth * 20000 / np.abs(smooth).max()).astype(np.int16)
    return made


@pytest.fixture(scope="module")
def shards(sounds: dict[str, NDArray[np.int16]], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("shards")
    for pool in ("curated", "noisy"):
        clips = [records.example(key, pcm, 8000) for key, pcm in sounds.items() if key.startswith(pool)]
        records.write_shard(folder / f"{pool}.tfrecord", clips)
    return str(folder / "curated.tfrecord"), str(folder / "noisy.tfrecord")


@pytest.fixture(scope="module")
def curated(shards: tuple[str, str]) -> Examples:
    keys = tuple(key for key in LABELS if key.startswith("curated"))
    return Examples(keys, targets_of([LABELS[key] for key in keys]), shards[:1])


@pytest.fixture(scope="module")
def train(shards: tuple[str, str]) -> Examples:
    return Examples(tuple(LABELS), targets_of(list(LABELS.values())), shards)


NOISY = np.array([key.startswith("noisy") for key in LABELS])


def amplitude(
    pcm: NDArray[np.int16], features: FeatureSettings = FEATURES, settings: DomainSettings = PLAIN
) -> NDArray[np.float64]:
    """-> (bands, frames), 0..255."""
    audio = tf.constant(pcm.astype(np.float32) / 32768)
    return domain.whole_image(ops, audio, features, settings).image.numpy()[..., 0].astype(np.float64)


class Watch:
    """A progress bar's stand-in that remembers what it was told."""

    def __init__(self) -> None:
        self.bars: list[list[int]] = []  # [total, steps]

    @contextmanager
    def __call__(self, title: str, total: int, unit: str) -> Iterator[Callable[[], None]]:
        bar = [total, 0]
        self.bars.append(bar)

        def advance() -> None:
            bar[1] += 1

        yield advance


# ---- the numbers


@pytest.mark.parametrize("background", ["none", "stationary", "global"])
def test_one_pass_finds_what_plain_loops_find(
    curated: Examples, sounds: dict[str, NDArray[np.int16]], background: str
) -> None:
    settings = DomainSettings(background=background)  # type: ignore[arg-type]
    images = {key: amplitude(sounds[key], settings=settings) for key in curated.keys}
    envelopes = {key: image.mean(1) for key, image in images.items()}
    found = statistics.measure(curated, FEATURES, settings)
    wanted = [
        (envelopes["curated/a"] + envelopes["curated/b"]) / 2,
        (envelopes["curated/b"] + envelopes["curated/c"]) / 2,
        envelopes["curated/d"],
        sum(envelopes.values()) / 4,  # no clip carries the last class
    ]
    np.testing.assert_allclose(found.envelopes, wanted, rtol=1e-4, atol=1e-3)
    middle = sum(envelopes.values()) / 4
    np.testing.assert_allclose(found.mean, middle, rtol=1e-4, atol=1e-3)
    spread = sum(((image - middle[:, None]) ** 2).mean(1) for image in images.values()) / 4
    np.testing.assert_allclose(found.deviation, np.sqrt(spread), rtol=1e-3, atol=1e-2)
    assert found.clips == 4


def test_the_fill_of_short_clips_does_not_sink_their_envelope(
    curated: Examples, sounds: dict[str, NDArray[np.int16]]
) -> None:
    long = replace(FEATURES, seconds=3)
    found = statistics.measure(curated, long, PLAIN)
    whole = statistics.measure(curated, FEATURES, PLAIN)
    assert np.abs(found.envelopes - whole.envelopes).mean() < 8  # levels: the last column is half a fill
    assert amplitude(sounds["curated/d"], long).mean() < 0.5 * whole.envelopes[2].mean()  # fill and all


def test_a_clip_in_several_rows_counts_once_with_all_their_labels(curated: Examples) -> None:
    flat = Examples(
        ("curated/a", "curated/b", "curated/b", "curated/c", "curated/d"),
        targets_of([(0,), (0,), (1,), (1,), (2,)]),
        curated.shards,
    )
    once, twice = (statistics.measure(examples, FEATURES, PLAIN) for examples in (curated, flat))
    np.testing.assert_array_equal(once.envelopes, twice.envelopes)
    np.testing.assert_array_equal(once.deviation, twice.deviation)
    assert statistics.fingerprint(curated, FEATURES, PLAIN) == statistics.fingerprint(flat, FEATURES, PLAIN)


def test_what_cannot_be_measured_is_said(curated: Examples) -> None:
    soft = np.where(curated.targets > 0, 1, 0.3).astype(np.float32)
    more = Examples((*curated.keys, "curated/z"), targets_of([(0,)] * 5), curated.shards)
    for examples, said in (
        (replace(curated, targets=soft), r"labels that are 0 or 1\. Received: a label of 0\.3"),
        (more, "the shards hold 4 of the 5 clips"),
        (Examples((), targets_of([]), curated.shards), "no clips to be measured"),
    ):
        with pytest.raises(ValueError, match=said):
            statistics.measure(examples, FEATURES, PLAIN)


# ---- the file


def test_a_set_is_measured_once(curated: Examples, tmp_path: Path) -> None:
    watch = Watch()
    first = statistics.kept(curated, FEATURES, PLAIN, tmp_path, watch)
    second = statistics.kept(curated, FEATURES, PLAIN, tmp_path, watch)
    assert len(watch.bars) == 1
    for name in ("envelopes", "mean", "deviation", "clips"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    (file,) = tmp_path.iterdir()  # nothing unfinished is left
    assert file.name == f"statistics-{statistics.fingerprint(curated, FEATURES, PLAIN)}.npz"
    file.write_bytes(file.read_bytes()[:100])  # cut off
    third = statistics.kept(curated, FEATURES, PLAIN, tmp_path, watch)
    assert len(watch.bars) == 2
    np.testing.assert_array_equal(first.envelopes, third.envelopes)
    assert statistics.kept(curated, FEATURES, PLAIN, tmp_path, watch).clips == 4
    assert len(watch.bars) == 2


def test_a_pass_that_fails_leaves_nothing(curated: Examples, tmp_path: Path) -> None:
    absent = replace(curated, keys=("curated/z", *curated.keys[1:]))
    with pytest.raises(ValueError, match="3 of the 4 clips"):
        statistics.kept(absent, FEATURES, PLAIN, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_hash_follows_what_decides_and_nothing_else(curated: Examples) -> None:
    def of(
        examples: Examples = curated, features: FeatureSettings = FEATURES, settings: DomainSettings = PLAIN
    ) -> str:
        return statistics.fingerprint(examples, features, settings)

    order = [2, 0, 3, 1]
    shuffled = Examples(tuple(curated.keys[row] for row in order), curated.targets[order], curated.shards)
    elsewhere = replace(curated, shards=tuple(f"/elsewhere/{Path(s).name}" for s in curated.shards))
    assert of(shuffled) == of(elsewhere) == of(settings=ENVELOPE) == of()
    others = [
        of(replace(curated, targets=targets_of([(0,), (0,), (1,), (2,)]))),
        of(Examples(curated.keys[:3], curated.targets[:3], curated.shards)),
        of(replace(curated, shards=("other.tfrecord",))),
        of(replace(curated, targets=curated.targets[:, :3])),
        of(features=replace(FEATURES, seconds=2)),
        of(features=replace(FEATURES, format="AAA")),
        of(settings=DomainSettings(background="stationary")),
        of(settings=DomainSettings(background="global")),
    ]
    assert len({of(), *others}) == 9


# ---- transfers


def test_destinations_are_the_means_of_a_clips_classes(
    curated: Examples, train: Examples, tmp_path: Path
) -> None:
    made = statistics.build_transfer(curated, train, NOISY, FEATURES, ENVELOPE, tmp_path)
    assert isinstance(made, domain.EnvelopeTransfer)
    np.testing.assert_array_equal(made.shares[:4], np.zeros((4, CLASSES)))
    np.testing.assert_array_equal(made.shares[4:], [[1, 0, 0, 0], [0, 0.5, 0.5, 0]])
    np.testing.assert_array_equal(made.envelopes, statistics.measure(curated, FEATURES, PLAIN).envelopes)
    assert made.letters == "APD"


def test_normalisation_takes_the_noisy_moments_to_the_curated_ones(
    curated: Examples, train: Examples, tmp_path: Path
) -> None:
    watch = Watch()
    made = statistics.build_transfer(curated, train, NOISY, FEATURES, NORMALISE, tmp_path, watch)
    assert isinstance(made, domain.Normalisation)
    assert watch.bars == [[4, 4], [2, 2]]  # both sets, a step a clip
    noisy = Examples(train.keys[4:], train.targets[4:], train.shards)
    moved = replace(made, noisy=np.ones(2, bool))
    there = statistics.measure(curated, FEATURES, PLAIN)
    here = statistics.measure(noisy, FEATURES, PLAIN, moved)
    before = statistics.measure(noisy, FEATURES, PLAIN)
    # Saturation keeps it from being exact.
    assert np.abs(here.mean - there.mean).mean() < 0.2 * np.abs(before.mean - there.mean).mean()
    left = np.abs(here.deviation - there.deviation).mean()
    assert left < 0.5 * np.abs(before.deviation - there.deviation).mean()


def test_nothing_to_transfer_measures_nothing(curated: Examples, train: Examples, tmp_path: Path) -> None:
    assert statistics.build_transfer(curated, train, NOISY, FEATURES, PLAIN, tmp_path) is None
    assert statistics.build_transfer(curated, train, ~NOISY & False, FEATURES, ENVELOPE, tmp_path) is None
    assert not list(tmp_path.iterdir())
    none = Examples((), targets_of([]), curated.shards)
    with pytest.raises(ValueError, match=r"`transfer` = 'envelope' needs curated clips"):
        statistics.build_transfer(none, train, NOISY, FEATURES, ENVELOPE, tmp_path)
    with pytest.raises(ValueError, match=r"`noisy` must have 6 values, one a clip\. Received: \(2,\)"):
        statistics.build_transfer(curated, train, NOISY[:2], FEATURES, ENVELOPE, tmp_path)


def test_only_noisy_clips_change_in_the_graph(
    curated: Examples, train: Examples, sounds: dict[str, NDArray[np.int16]], tmp_path: Path
) -> None:
    made = statistics.build_transfer(curated, train, NOISY, FEATURES, ENVELOPE, tmp_path)

    def of_clip(row: tf.Tensor, pcm: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return row, image_of(pcm, FEATURES, PLAIN, made, row)

    feed = reading.joined(tf.data.Dataset.from_tensor_slices(list(train.shards)), train)
    seen = 0
    for row, image in feed.map(of_clip).as_numpy_iterator():
        plain = image_of(tf.constant(sounds[train.keys[row]]), FEATURES).numpy()
        assert (image != plain).any() == NOISY[row]
        np.testing.assert_array_equal(image[..., 1], plain[..., 1])  # phase
        seen += 1
    assert seen == 6


# ---- the real noisy set


def fat10(shared: Path, folder: Path, pool: str, every: int) -> tuple[Examples, list[str]]:
    """A part of a pool of `fat10`, in a shard of its own at 22050 Hz -> (examples, classes)."""
    with (shared / "fat10" / "sample_submission.csv").open(newline="") as table:
        classes = next(csv.reader(table))[1:]
    with (shared / "fat10" / f"train_{pool}.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))[::every]
    names = tuple(row["fname"] for row in rows)
    targets = np.array([[name in row["labels"].split(",") for name in classes] for row in rows], np.float32)
    shard, audio = folder / f"{pool}.tfrecord", shared / "fat10" / f"train_{pool}"
    records.write_shard(
        shard, (records.example(name, read_pcm(audio / name, 22050), 22050) for name in names)
    )
    return Examples(names, targets, (str(shard),)), classes


def distances(noisy: NDArray[np.float32], curated: NDArray[np.float32]) -> NDArray[np.float32]:
    """(classes, bands) twice -> (classes,): root mean square over bands, in levels of 0..255."""
    return np.sqrt(((noisy - curated) ** 2).mean(1))


def test_transfer_halves_the_distance_of_noisy_to_curated_envelopes(shared: Path, tmp_path: Path) -> None:
    features = FeatureSettings(rate=22050, bands=64)
    curated, classes = fat10(shared, tmp_path, "curated", 4)
    noisy, _ = fat10(shared, tmp_path, "noisy", 5)
    flags = np.ones(len(noisy), bool)
    wanted = statistics.measure(curated, features, PLAIN).envelopes
    before = distances(statistics.measure(noisy, features, PLAIN).envelopes, wanted)
    assert len(before) == len(classes) == 10
    after = {}
    for settings in (ENVELOPE, NORMALISE):
        made = statistics.build_transfer(curated, noisy, flags, features, settings, tmp_path)
        moved = statistics.measure(noisy, features, PLAIN, made).envelopes
        after[settings.transfer] = distances(moved, wanted)
    assert after["envelope"].mean() < 0.5 * before.mean()
    assert (after["envelope"] < before).all()
    assert after["normalise"].mean() < 0.8 * before.mean()
