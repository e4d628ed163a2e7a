"""What is done to an image, how often, by which settings; settings that cannot be."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from pipelines import augment, levels, masks, warps
from pipelines.augment_settings import EFFECTS, AugmentSettings
from pipelines.chance import sometimes

Array = NDArray[Any]
OFF = {"warp": False, "brightness": False, "cutout": False}
IMAGE = np.random.default_rng(3).integers(1, 256, (40, 40, 3), np.uint8)


def seeds(count: int) -> Array:
    return np.stack([np.arange(count), np.full(count, 7)], axis=1).astype(np.int32)


def assert_alike(one: Array, other: Array) -> None:
    """Equal but for a level here and there: a graph's arithmetic may be rounded otherwise than an eager one's."""
    difference = np.abs(one.astype(int) - other)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.005


def drawn(asked: AugmentSettings, count: int = 300) -> list[Array]:
    """Images through Dataset.map; the first few are held against eager ones."""
    made = list(
        tf.data.Dataset.from_tensor_slices(seeds(count))
        .map(lambda seed: augment.augment(tf.constant(IMAGE), asked, seed), num_parallel_calls=2)
        .as_numpy_iterator()
    )
    for found, seed in zip(made[:8], seeds(count), strict=False):
        assert_alike(augment.augment(tf.constant(IMAGE), asked, seed).numpy(), found)
        assert found.dtype == np.uint8
    return made


def changed(images: list[Array]) -> float:
    return float(np.mean([(image != IMAGE).any() for image in images]))


def test_nothing_asked_is_nothing_done() -> None:
    image = tf.constant(IMAGE)
    assert augment.augment(image, AugmentSettings(level=3, **OFF), tf.constant([1, 2])) is image


@pytest.mark.parametrize(("part", "chance"), [("warp", 0.75), ("brightness", 0.5), ("cutout", 0.5)])
def test_each_part_of_the_reference_by_itself_and_its_chance(part: str, chance: float) -> None:
    images = drawn(AugmentSettings(level=3, **OFF | {part: True}))
    assert abs(changed(images) - chance) < 0.08
    assert len({image.tobytes() for image in images}) > 0.9 * chance * len(images)


def test_the_parts_are_drawn_apart() -> None:
    """Of all images as many are untouched as four coins leave: a warp's, a light's, a hole's."""
    untouched = 1 - changed(drawn(AugmentSettings(level=3), 800))
    assert abs(untouched - 0.25 * 0.5 * 0.5) < 0.03


def test_level_0_has_no_warp_and_mild_holes_and_light() -> None:
    images = drawn(AugmentSettings(level=0))
    assert abs(changed(images) - 0.75) < 0.08
    kept = [image for image in images if (image != 0).all()]
    assert max(np.abs(image.astype(int) - IMAGE).max() for image in kept) <= 255 * 0.04 + 1
    assert changed(drawn(AugmentSettings(level=0, brightness=False, cutout=False), 50)) == 0


def test_the_order_is_the_references() -> None:
    """Holes last and over what was warped and lightened: they stay 0, and the rest is as without them."""
    whole = drawn(AugmentSettings(level=3, cutout=False))
    cut = drawn(AugmentSettings(level=3, time_masks=2, band_masks=1))
    for one, other in zip(whole, cut, strict=True):
        np.testing.assert_array_equal(other, np.where(other == 0, 0, one))
    seed = next(s for s, x in zip(seeds(300), whole, strict=True) if (x != IMAGE).mean() > 0.9)
    warp_seed, light_seed = tf.unstack(tf.random.split(tf.constant(seed), 5))[:2]
    own = [tf.unstack(tf.random.split(s, 2)) for s in (warp_seed, light_seed)]
    expected = tf.constant(IMAGE)
    if tf.random.stateless_uniform([], own[0][0]) < warps.CHANCE:
        expected = warps.random_warp(expected, 3, own[0][1])
    if tf.random.stateless_uniform([], own[1][0]) < levels.CHANCE:
        expected = levels.random_brightness_contrast(expected, 3, own[1][1])
    made = augment.augment(tf.constant(IMAGE), AugmentSettings(level=3, cutout=False), tf.constant(seed))
    np.testing.assert_array_equal(made.numpy(), expected.numpy())


def test_stripes_by_their_settings() -> None:
    for axis, name in enumerate(("band", "time")):
        asked = AugmentSettings(**OFF, **{f"{name}_masks": 2, f"{name}_mask": 0.25})
        widths = [(image == 0).all(axis=(1 - axis, 2)).sum() for image in drawn(asked)]
        assert 15 < max(widths) <= 20  # two of at most ten
        assert all(((image == 0) | (image == IMAGE)).all() for image in drawn(asked, 20))


def test_a_seed_gives_one_image() -> None:
    asked = AugmentSettings(level=3, time_masks=1)
    first, second = drawn(asked, 40), drawn(asked, 40)
    np.testing.assert_array_equal(np.stack(first), np.stack(second))
    assert len({image.tobytes() for image in first}) > 35


# --- chance ----------------------------------------------------------------------------------------------------


def test_sometimes() -> None:
    def change(value: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return value + 1

    never = tf.constant(0.0)
    assert sometimes(0, tf.constant([1, 2]), never, change) is never
    made = [float(sometimes(0.3, tf.constant(seed), never, change)) for seed in seeds(400)]
    assert set(made) == {0, 1}
    assert abs(np.mean(made) - 0.3) < 0.07
    assert all(float(sometimes(1, tf.constant(seed), never, change)) == 1 for seed in seeds(5))


# --- settings --------------------------------------------------------------------------------------------------


def test_by_default_only_what_the_reference_did() -> None:
    asked = AugmentSettings()
    assert (asked.level, asked.early, asked.band_shift, asked.warp, asked.brightness, asked.cutout) == (
        1,
        True,
        True,
        True,
        True,
        True,
    )
    assert (asked.time_masks, asked.band_masks, asked.mix) == (0, 0, 0)
    assert asked.crop_columns == asked.crop_bands == (1, 1)
    assert not asked.changes_sound
    assert masks.CHANCE == 0.5


@pytest.mark.parametrize("name", EFFECTS)
def test_any_effect_changes_sound(name: str) -> None:
    asked = AugmentSettings(**{name: 0.5})
    assert asked.has_effects
    assert asked.changes_sound
    assert not asked.always_changes_sound
    assert AugmentSettings(**{name: 1.0}).always_changes_sound
    assert AugmentSettings(mix=0.1).changes_sound
    assert AugmentSettings(mix=1.0).always_changes_sound
    assert not AugmentSettings(mix=0.1).has_effects


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"level": 4}, r"^`level` must be from 0 to 3\. Received: 4\.$"),
        ({"pitch": 1.5}, r"^`pitch` must be from 0 to 1\. Received: 1\.5\.$"),
        ({"time_masks": -1}, r"^`time_masks` must be from 0 to 20\. Received: -1\.$"),
        (
            {"speed_range": (1.1, 0.9)},
            r"^`speed_range` must be two numbers from 0\.5 to 2, the lower one first\. Received: \[1\.1, 0\.9\]\.$",
        ),
        ({"crop_bands": (0.5, 1.5)}, r"^`crop_bands` must be two numbers from 0\.1 to 1, the lower"),
        ({"noise_snr": (float("nan"), 3.0)}, "`noise_snr` must be two numbers"),
        ({"shift_fill": "noise"}, r"^`shift_fill` must be one of around, zeros\. Received: 'noise'\.$"),
        ({"mix_labels": "and"}, r"^`mix_labels` must be one of or, share\. Received: 'and'\.$"),
        ({"level": 9, "mix": 2.0}, r"`level` must .*\n`mix` must"),
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AugmentSettings(**wrong)
