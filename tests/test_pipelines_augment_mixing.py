"""Two clips in one: levels, labels, and the feed with everything on: partners, seeds, entering anywhere."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from pipelines import datasets, records, sound_mixing
from pipelines.augment_settings import EFFECTS, AugmentSettings
from pipelines.reading import Examples
from pipelines.settings import FeatureSettings, FeedSettings

Array = NDArray[Any]
Batch = dict[str, Array]
RATE = 2000
CLIPS, BATCH = 20, 4
STEPS = CLIPS // BATCH
FEATURES = FeatureSettings(rate=RATE, bands=16)
FEED = FeedSettings(batch=BATCH, shuffle=CLIPS, seed=11)
PLAIN = {"early": False, "band_shift": False, "warp": False, "brightness": False, "cutout": False}


def noise(samples: int, seed: int, level: float = 0.1) -> Array:
    return (np.random.default_rng(seed).normal(size=samples) * level).astype(np.float32)


# --- levels ----------------------------------------------------------------------------------------------------


def test_loudness_is_that_of_the_loudest_tenth_of_a_second() -> None:
    sound = np.zeros(1000, np.float32)
    sound[400:600] = 0.25
    sound[800:900] = 0.1
    assert float(sound_mixing.loudness(tf.constant(sound), RATE)) == pytest.approx(0.25, rel=1e-5)
    short = np.full(50, 0.5, np.float32)  # a quarter of a window
    assert float(sound_mixing.loudness(tf.constant(short), RATE)) == pytest.approx(0.25, rel=1e-5)
    assert float(sound_mixing.loudness(tf.zeros(0), RATE)) == 0


@pytest.mark.parametrize("gain", [-6.0, 0.0, 4.5])
def test_the_clip_that_is_added_is_louder_by_its_gain(gain: float) -> None:
    own, other = noise(3000, 1), noise(3000, 2, 0.003)
    levels = [sound_mixing.loudness(tf.constant(x), RATE) for x in (own, other)]
    made = sound_mixing.add(tf.constant(own), tf.constant(other), (levels[0], levels[1]), tf.constant(gain))
    added = sound_mixing.loudness(made - own, RATE)
    assert 20 * np.log10(added / levels[0]) == pytest.approx(gain, abs=1e-3)


@pytest.mark.parametrize("part", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_shares_are_heard_as_between_class_learning_has_them(part: float) -> None:
    """p = 1 / (1 + 10^((G1 - G2) / 20) (1 - r) / r), and (p x1 + (1 - p) x2) / sqrt(p^2 + (1 - p)^2)."""
    own, other = noise(3000, 1), noise(3000, 2, 0.02)
    first, second = (sound_mixing.loudness(tf.constant(x), RATE) for x in (own, other))
    made = sound_mixing.share(
        tf.constant(own), tf.constant(other), (first, second), tf.constant(part)
    ).numpy()
    louder = 20 * np.log10(float(first) / float(second))
    p = 1 / (1 + 10 ** (louder / 20) * (1 - part) / part) if part else 0
    np.testing.assert_allclose(made, (p * own + (1 - p) * other) / np.hypot(p, 1 - p), atol=1e-6)
    if part == 0.5:  # both are heard alike, though one was 14 dB louder
        assert p * float(first) == pytest.approx((1 - p) * float(second), rel=1e-4)


def test_silence_on_either_side_leaves_what_sounds() -> None:
    sound, silence = tf.constant(noise(500, 3)), tf.zeros(500)
    loud, none = sound_mixing.loudness(sound, RATE), tf.constant(0.0)
    np.testing.assert_array_equal(sound_mixing.add(sound, silence, (loud, none), tf.constant(6.0)), sound)
    for own, other, levels in ((sound, silence, (loud, none)), (silence, sound, (none, loud))):
        made = sound_mixing.share(own, other, levels, tf.constant(0.5)).numpy()
        assert np.corrcoef(made, sound)[0, 1] == pytest.approx(1, abs=1e-6)


def test_what_is_mixed_into_silence_is_heard() -> None:
    """Its label is the mixture's too: a digitally silent clip would be given it otherwise."""
    sound, silence = tf.constant(noise(500, 3)), tf.zeros(500)
    levels = tf.constant(0.0), sound_mixing.loudness(sound, RATE)
    np.testing.assert_allclose(sound_mixing.add(silence, sound, levels, tf.constant(0.0)), sound, rtol=1e-6)
    made = sound_mixing.share(silence, sound, levels, tf.constant(0.5)).numpy()
    np.testing.assert_allclose(made, sound / np.sqrt(2), rtol=1e-6)
    both = sound_mixing.share(silence, silence, (levels[0], levels[0]), tf.constant(0.3)).numpy()
    np.testing.assert_array_equal(both, silence)


# --- labels ----------------------------------------------------------------------------------------------------


def labels(target: list[float], weight: float, domain: float) -> sound_mixing.Labels:
    told = {"target": target, "weight": weight, "domain": domain}
    return {name: tf.constant(value, tf.float32) for name, value in told.items()}


def test_labels_are_or_ed_and_the_rest_is_meant() -> None:
    made = sound_mixing.mix_labels(labels([1, 0, 1, 0.3], 1, 0), labels([0, 0, 1, 0.6], 0.5, 1), None)
    np.testing.assert_allclose(made["target"], [1, 0, 1, 0.6])
    assert float(made["weight"]) == 0.75
    assert float(made["domain"]) == 0.5


def test_labels_are_shared() -> None:
    made = sound_mixing.mix_labels(
        labels([1, 0, 1, 0], 1, 0), labels([0, 0, 1, 1], 0.5, 1), tf.constant(0.25)
    )
    np.testing.assert_allclose(made["target"], [0.25, 0, 1, 0.75])
    assert float(made["weight"]) == 0.625
    assert float(made["domain"]) == 0.75


def test_random_mixes_by_their_chance() -> None:
    own, other = noise(1200, 1), noise(500, 2)
    asked = AugmentSettings(mix=0.5, mix_gain=(-3, 3))
    seeds = np.stack([np.arange(80), np.full(80, 3)], axis=1).astype(np.int32)

    def make(seed: tf.Tensor) -> tuple[tf.Tensor, sound_mixing.Labels]:
        return sound_mixing.random_mix(
            tf.constant(own),
            labels([1, 0], 1, 0),
            lambda: (tf.constant(other), labels([0, 1], 1, 1)),
            asked,
            RATE,
            seed,
        )

    dataset = tf.data.Dataset.from_tensor_slices(seeds).map(make, num_parallel_calls=2, deterministic=True)
    mixed = 0
    for seed, (sound, told) in zip(seeds, dataset.as_numpy_iterator(), strict=True):
        if (sound == own).all():
            np.testing.assert_array_equal(told["target"], [1, 0])
            assert told["domain"] == 0
            continue
        mixed += 1
        np.testing.assert_array_equal(told["target"], [1, 1])
        assert told["domain"] == 0.5
        gain = 20 * np.log10(np.std(sound - own) / np.std(own))
        assert -3.5 < gain < 3.5
        if mixed < 4:
            eager, _ = make(tf.constant(seed))
            np.testing.assert_allclose(eager.numpy(), sound, atol=1e-6)
    assert 26 < mixed < 54


# --- in the feed -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    """20 clips, each of a class of its own, in four shards; half of them are noisy and weigh less."""
    folder: Path = tmp_path_factory.mktemp("shards")
    shards = []
    for shard in range(4):
        path = folder / f"{shard}.tfrecord"
        sounds = ((n, (noise(900 + 200 * n, n) * 32767).astype(np.int16)) for n in range(shard, CLIPS, 4))
        records.write_shard(path, [records.example(f"curated/{n}.wav", pcm, RATE) for n, pcm in sounds])
        shards.append(str(path))
    noisy = np.arange(CLIPS) % 2
    return Examples(
        tuple(f"curated/{n}.wav" for n in range(CLIPS)),
        np.eye(CLIPS, dtype=np.float32),
        tuple(shards),
        extras={"weight": 1 - 0.5 * noisy.astype(np.float32), "domain": noisy.astype(np.float32)},
    )


def draw(examples: Examples, asked: AugmentSettings, count: int, **others: Any) -> list[Batch]:
    made = datasets.training(examples, FEATURES, asked, others.pop("feed", FEED), **others)
    return list(islice(made.as_numpy_iterator(), count))


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def joined(batches: list[Batch], name: str) -> Array:
    return np.concatenate([batch[name] for batch in batches])


def test_a_mixed_clip_has_the_labels_of_two_and_the_others_have_their_own(examples: Examples) -> None:
    plain = draw(examples, AugmentSettings(**PLAIN), 3 * STEPS)
    mixed = draw(examples, AugmentSettings(**PLAIN, mix=0.5), 3 * STEPS)
    own, target = joined(plain, "target"), joined(mixed, "target")
    assert set(np.unique(target)) == {0, 1}
    assert (target >= own).all()  # the order of the clips is as without
    two = target.sum(axis=1) == 2
    assert 0.3 < two.mean() < 0.65
    assert (target.sum(axis=1)[~two] == 1).all()
    images, before = joined(mixed, "image"), joined(plain, "image")
    for touched, one, other in zip(two, images, before, strict=True):
        assert touched or (one == other).all()
    assert np.mean([(a != b).any() for a, b in zip(images[two], before[two], strict=True)]) == 1
    # Weight and domain are the mean of both clips'.
    noisy = np.arange(CLIPS) % 2
    expected = (target @ noisy) / target.sum(axis=1)
    np.testing.assert_allclose(joined(mixed, "domain"), expected)
    np.testing.assert_allclose(joined(mixed, "weight"), 1 - 0.5 * expected)


def test_partners_are_drawn_anew_each_epoch_and_are_everyone(examples: Examples) -> None:
    target = joined(draw(examples, AugmentSettings(mix=1.0), 6 * STEPS), "target")
    own = joined(draw(examples, AugmentSettings(), 6 * STEPS), "target").argmax(axis=1)
    partners = target.copy()
    partners[np.arange(len(own)), own] = 0
    pairs = {}
    for clip, partner in zip(own, partners, strict=True):
        pairs.setdefault(int(clip), []).append(int(partner.argmax()) if partner.any() else int(clip))
    assert all(len(set(met)) >= 4 for met in pairs.values())
    counts = np.bincount([partner for met in pairs.values() for partner in met], minlength=CLIPS)
    np.testing.assert_array_equal(counts, 6)  # each once an epoch


def test_shares_sum_to_one(examples: Examples) -> None:
    target = joined(draw(examples, AugmentSettings(mix=1.0, mix_labels="share"), 2 * STEPS), "target")
    np.testing.assert_allclose(target.sum(axis=1), 1, rtol=1e-6)
    largest = target.max(axis=1)
    assert len(set(largest.tolist())) > 30
    assert largest.min() < 0.65


def test_a_background_has_no_label_and_changes_the_image(examples: Examples) -> None:
    plain = draw(examples, AugmentSettings(**PLAIN), STEPS)
    behind = draw(examples, AugmentSettings(**PLAIN, background=1.0, background_snr=(0, 3)), STEPS)
    np.testing.assert_array_equal(joined(plain, "target"), joined(behind, "target"))
    changed = [(a != b).any() for a, b in zip(joined(plain, "image"), joined(behind, "image"), strict=True)]
    assert np.mean(changed) > 0.9  # a clip may meet itself


ALL = AugmentSettings(
    level=3,
    mix=0.7,
    **dict.fromkeys(EFFECTS, 0.6),
    reverb_seconds=(0.1, 0.2),
    time_masks=1,
    band_masks=1,
    crop_columns=(0.7, 1.4),
    crop_bands=(0.8, 1),
)


@pytest.fixture(scope="module")
def two_epochs(examples: Examples) -> list[Batch]:
    return draw(examples, ALL, 2 * STEPS)


def test_everything_on_is_reproducible_and_another_seed_is_another(
    examples: Examples, two_epochs: list[Batch]
) -> None:
    spec = datasets.training(examples, FEATURES, ALL, FEED).element_spec
    assert spec["image"] == tf.TensorSpec((BATCH, 16, 16, 3), tf.float32)
    assert spec["target"] == tf.TensorSpec((BATCH, CLIPS), tf.float32)
    assert_same(draw(examples, ALL, STEPS), two_epochs[:STEPS])
    other = draw(examples, ALL, STEPS, feed=FeedSettings(batch=BATCH, shuffle=CLIPS, seed=12))
    assert not (joined(other, "image") == joined(two_epochs[:STEPS], "image")).all()
    images = joined(two_epochs, "image")
    assert np.isfinite(images).all()
    assert images.min() >= 0
    assert images.max() <= 1
    assert len({image.tobytes() for image in images}) == len(images)  # by epoch and position


@pytest.mark.parametrize(("epoch", "batch"), [(0, 2), (1, 3)])
def test_everything_on_is_entered_anywhere(
    examples: Examples, two_epochs: list[Batch], epoch: int, batch: int
) -> None:
    begun = STEPS * epoch + batch
    entered = draw(examples, ALL, 2 * STEPS - begun, first_epoch=epoch, first_batch=batch)
    assert_same(entered, two_epochs[begun:])


def test_views_share_what_is_mixed_in_and_draw_the_rest(examples: Examples) -> None:
    own = joined(draw(examples, AugmentSettings(**PLAIN), 3), "target").argmax(axis=1)
    short = own <= 5  # of a second at most: their images have 17 columns, and a view shows 16 of them
    assert short.any()
    for noise_chance in (0.0, 1.0):
        asked = AugmentSettings(**PLAIN, mix=1.0, noise=noise_chance, noise_snr=(0, 5))
        batches = draw(examples, asked, 3, views=2)
        image = joined(batches, "image")
        assert image.shape == (3 * BATCH, 2, 16, 16, 3)
        assert joined(batches, "target").shape == (3 * BATCH, CLIPS)
        for one, other in image[short]:
            places = ((one, other), (one[:, 1:], other[:, :-1]), (one[:, :-1], other[:, 1:]))
            assert any((a == b).all() for a, b in places) == (noise_chance == 0)
