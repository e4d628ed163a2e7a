"""Images that the accelerator makes: the host's, and a run that trains on them."""

import csv
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from fatk import device_features, unfit
from fatk.config import Config, ConfigError, from_tree, load_config
from fatk.feeds import Feeds
from fatk.prepare import prepare
from fatk.train import train
from models import mixup
from models.tagger import Tagger
from pipelines import datasets, extremes, records, statistics
from pipelines.augment_settings import AugmentSettings
from pipelines.domain_settings import UNCHANGED, DomainSettings
from pipelines.reading import Examples
from pipelines.settings import FeatureSettings, FeedSettings
from tests.small_runs import BATCH, quick, write_beeps

FEATURES = FeatureSettings(rate=8000, bands=32)
FEED = FeedSettings(batch=6, shuffle=5, seed=3)
CLIPS = 12
# What comes after the crop, all of it off.
BARE = AugmentSettings(warp=False, brightness=False, cutout=False)
EVERYTHING = AugmentSettings(level=3, time_masks=2, band_masks=1)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    """Glides in noise, of a tenth of a second to six, and a clip of silence."""
    chance = np.random.default_rng(4)
    path = tmp_path_factory.mktemp("shards") / "sounds.tfrecord"
    sounds = []
    for number in range(CLIPS):
        time = np.arange(800 + 47200 * number // CLIPS + number) / 8000
        sound = np.sin(2 * np.pi * (300 + 90 * number + 200 * time) * time)
        sound = (sound + chance.normal(0, 0.1, len(time))) * (number != 7)
        sounds.append((6000 * sound).astype(np.int16))
    records.write_shard(path, [records.example(f"curated/{n}.wav", sounds[n], 8000) for n in range(CLIPS)])
    keys = tuple(f"curated/{n}.wav" for n in range(CLIPS))
    return Examples(keys, np.eye(CLIPS, dtype=np.float32), (str(path),))


def both(
    examples: Examples,
    features: FeatureSettings,
    augment: AugmentSettings,
    domain: DomainSettings = UNCHANGED,
    views: int = 0,
    batches: int = 3,
) -> tuple[np.ndarray, np.ndarray]:
    """-> the same images, (clips, ..., bands, columns, channels) in levels, of host and device."""
    known = extremes.kept(examples, features, domain, Path(examples.shards[0]).parent)
    examples = replace(examples, known=known)
    front = device_features.DeviceFeatures(features, domain)
    images = []
    for where in ("host", "device"):
        own = replace(features, where=where)  # type: ignore[arg-type]
        made = datasets.training(examples, own, augment, FEED, domain=domain, views=views)
        drawn = [
            device_features.painted(front if where == "device" else None, batch)
            for batch in islice(made, batches)
        ]
        images.append(np.concatenate([np.asarray(batch["image"]) for batch in drawn]))
    host, device = (255 * own for own in images)
    assert host.dtype == device.dtype == np.float32
    return host, device


def assert_alike(
    host: np.ndarray, device: np.ndarray, letters: str, most: float = 1.0, share: float = 0.0
) -> None:
    """Equal within `most` levels, but for a `share`, and in a phase, which may flip at pi, for a hundredth."""
    assert host.shape == device.shape
    assert host.std() > 20  # levels
    apart = np.abs(host - device)
    assert (apart > 0.5).mean() < 0.02
    for number, letter in enumerate(letters):
        over = (apart[..., number] > most + 0.01).mean()
        assert over <= (0.01 if letter in "PX" else share), (letter, over, apart[..., number].max())


# --- the host's image ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "stretch", "seconds", "width"),
    [
        ("APD", "resize", 1, None),
        ("APX", "resize", 2.2, None),
        ("APD", "resize", 2, None),
        ("APD", "mean", 2.2, None),
        ("AHL", "mean", 2.2, None),
        ("AHL", "mean", 3, 80),
        ("AAP", "hop", 2, None),
        ("AAA", "hop", 3, None),
    ],
)
def test_formats_and_durations(
    examples: Examples, kind: Any, stretch: Any, seconds: float, width: int | None
) -> None:
    features = replace(FEATURES, format=kind, stretch=stretch, seconds=seconds, width=width)
    assert_alike(*both(examples, features, BARE), kind)


@pytest.mark.parametrize("background", ["stationary", "global"])
def test_backgrounds(examples: Examples, background: Any) -> None:
    # An amplitude that is a level apart may be under the mean here, and so 0, and not there.
    share = 0.001 if background == "global" else 0
    made = both(examples, FEATURES, BARE, DomainSettings(background=background))
    assert_alike(*made, "APD", share=share)


@pytest.mark.parametrize("augment", [replace(AugmentSettings(), level=1), EVERYTHING], ids=["default", "all"])
def test_augmentation_is_drawn_as_on_the_host(examples: Examples, augment: AugmentSettings) -> None:
    # Contrast makes up to two levels of one.
    host, device = both(examples, FEATURES, augment, batches=6)
    assert_alike(host, device, "APD", most=2)
    holes = host == 0
    assert (holes == (device == 0)).mean() > 0.999


@pytest.mark.parametrize("kind", ["envelope", "normalise"])
def test_transfers(examples: Examples, kind: Any, tmp_path: Path) -> None:
    noisy = np.arange(CLIPS) % 2 == 0
    choice = DomainSettings(transfer=kind)
    rows = np.flatnonzero(~noisy)
    curated = Examples(tuple(examples.keys[row] for row in rows), examples.targets[rows], examples.shards)
    moved = statistics.build_transfer(curated, examples, noisy, FEATURES, choice, tmp_path)
    # A gain is up to some levels of one.
    host, device = both(replace(examples, transfer=moved), FEATURES, BARE, choice)
    assert_alike(host, device, "APD", share=0.01)


def test_views_of_a_clip(examples: Examples) -> None:
    host, device = both(examples, FEATURES, AugmentSettings(), views=2)
    assert host.shape[1:] == (2, *FEATURES.shape)
    assert_alike(host, device, "APD", most=2)
    assert np.abs(host[:, 0] - host[:, 1]).mean() > 1


def test_an_epoch_is_entered_at_any_batch(examples: Examples) -> None:
    known = extremes.kept(examples, FEATURES, UNCHANGED, Path(examples.shards[0]).parent)
    examples, features = replace(examples, known=known), replace(FEATURES, where="device")

    def drawn(epoch: int, batch: int) -> Iterator[dict[str, Any]]:
        return datasets.training(examples, features, EVERYTHING, FEED, epoch, batch).as_numpy_iterator()

    third = next(islice(drawn(0, 0), 3, None))
    entered = next(drawn(1, 1))
    keras.tree.map_structure(np.testing.assert_array_equal, third, entered)


def test_sound_is_what_is_sent(examples: Examples) -> None:
    known = extremes.kept(examples, FEATURES, UNCHANGED, Path(examples.shards[0]).parent)
    features = replace(FEATURES, where="device")
    made = datasets.training(replace(examples, known=known), features, AugmentSettings(), FEED)
    image = made.element_spec["image"]
    assert image["sound"].dtype.name == "int16"
    assert all(None not in spec.shape for spec in keras.tree.flatten(image))  # nothing to compile anew
    with pytest.raises(ValueError, match="needs the extremes of every clip"):
        datasets.training(examples, features, AugmentSettings(), FEED)


# --- settings --------------------------------------------------------------------------------------------------


def test_where_changes_nothing_that_is_measured(examples: Examples) -> None:
    device = replace(FEATURES, where="device")
    assert statistics.fingerprint(examples, FEATURES, UNCHANGED) == statistics.fingerprint(
        examples, device, UNCHANGED
    )
    assert extremes.fingerprint(examples.shards, FEATURES, UNCHANGED, False) == extremes.fingerprint(
        examples.shards, device, UNCHANGED, False
    )


def test_what_the_device_cannot_do_is_refused_in_a_line() -> None:
    asked = {"name": "a", "features": {"where": "device"}, "augment": {"noise": 0.1, "crop_bands": [0.5, 1]}}
    with pytest.raises(ConfigError) as refused:
        from_tree(asked)
    (line,) = str(refused.value).splitlines()
    assert "`features.where` must be host with augment.crop_bands, augment.noise" in line
    with pytest.raises(ConfigError, match="where"):
        from_tree({"name": "a", "features": {"where": "gpu"}})
    for kind in ("none", "mixup", "noisy", "mixmatch"):
        made = from_tree({"name": "a", "features": {"where": "device"}, "mixing": {"kind": kind}})
        assert made.features.where == "device"


# --- a run -----------------------------------------------------------------------------------------------------


@pytest.fixture
def beeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Config]:
    monkeypatch.chdir(tmp_path)
    path = write_beeps(tmp_path, "[[stage]]\nepochs = 2\n")
    with quick():
        yield load_config(path, ["features.where=device", "augment.level=2"])


@pytest.mark.slow
def test_a_run_trains_on_them(beeps: Config) -> None:
    seen = []
    made = device_features.DeviceFeatures.call

    def call(self: Any, clips: Any) -> Any:
        images = made(self, clips)
        seen.append(tuple(images.shape))
        return images

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device_features.DeviceFeatures, "call", call)
        device = train(beeps)
    assert set(seen) == {(BATCH, 16, 16, 3)}  # traced, for the picture of a batch and for a step
    host = train(replace(beeps, name="host", features=replace(beeps.features, where="host")))
    losses = [
        [
            float(row["loss"])
            for row in csv.DictReader(outcome.run.history.read_text(encoding="utf-8").splitlines())
        ]
        for outcome in (device, host)
    ]
    assert len(losses[0]) == 2
    # The same draws, or the losses would be tenths apart; steps enlarge what a phase at pi makes of them.
    np.testing.assert_allclose(*losses, rtol=0.05)
    network = keras.models.load_model(device.run.network, compile=False)
    assert not any(isinstance(layer, device_features.DeviceFeatures) for layer in network.layers)


def test_the_clips_of_a_batch_are_told(beeps: Config) -> None:
    feeds = Feeds(beeps, prepare(beeps))
    found = unfit.batch_clips(feeds, 1, 2)
    assert len(found) == BATCH
    assert all(clip.image == "finite" for clip in found)


def test_clips_that_stand_beside_a_batch_are_made_too(examples: Examples) -> None:
    features = replace(FEATURES, where="device")
    known = extremes.kept(examples, FEATURES, UNCHANGED, Path(examples.shards[0]).parent)
    sets = [
        datasets.training(replace(examples, known=known), features, BARE, FEED, views=views)
        for views in (0, 2)
    ]
    own, beside = (next(drawn.as_numpy_iterator()) for drawn in sets)
    batch = own | {"unlabelled_" + name: value for name, value in beside.items()}
    image = keras.Input(FEATURES.shape)
    network = keras.Model(image, keras.layers.Dense(CLIPS)(keras.layers.Flatten()(image)))
    front = device_features.DeviceFeatures(FEATURES)
    tagger = Tagger(network, mixup.build("mixmatch", 0.75, 1), front=front)
    tagger.compile(keras.optimizers.SGD(0.001))
    assert np.isfinite(tagger.train_on_batch(batch, return_dict=True)["loss"])
    assert len(tagger.trainable_variables) == 2  # the network's
