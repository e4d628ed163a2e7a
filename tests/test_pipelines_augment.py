"""Cutout: its geometry, how often and how large by level, and the same eagerly as through Dataset.map."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import binary_opening

from pipelines import augment
from pipelines.settings import AugmentSettings

Array = NDArray[Any]
DRAWS = 400
SIDE = {0: 2, 1: 4, 2: 4, 3: 8}  # of a hole in an image of 80 bands: REFERENCE section 3


def seeds(count: int = DRAWS, second: int = 7) -> Array:
    return np.stack([np.arange(count), np.full(count, second)], axis=1).astype(np.int32)


def holed(level: int, size: int = 80) -> list[Array]:
    """-> `DRAWS` masks (size, size), True in the holes of a random cutout, through Dataset.map."""
    image = tf.fill((size, size, 3), tf.constant(9, tf.uint8))
    made = tf.data.Dataset.from_tensor_slices(seeds()).map(
        lambda seed: augment.random_cutout(image, level, seed), num_parallel_calls=2, deterministic=True
    )
    images = list(made.as_numpy_iterator())
    for found, seed in zip(images[:20], seeds(), strict=False):
        np.testing.assert_array_equal(augment.random_cutout(image, level, tf.constant(seed)).numpy(), found)
    for found in images:
        assert set(np.unique(found)) <= {0, 9}
        assert (found == found[..., :1]).all()  # the same hole in every channel
    return [found[..., 0] == 0 for found in images]


@given(
    holes=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 13)), min_size=1, max_size=4),
    side=st.integers(1, 8),
)
@settings(max_examples=60, deadline=None)
def test_holes_are_squares_round_their_centres(holes: list[tuple[int, int]], side: int) -> None:
    image = np.random.default_rng(0).integers(1, 256, (10, 14, 3), np.uint8)
    expected = image.copy()
    for row, column in holes:
        top, left = row - side // 2, column - side // 2
        expected[max(top, 0) : top + side, max(left, 0) : left + side] = 0
    rows, columns = np.int32(holes).T
    made = augment.cutout(tf.constant(image), tf.constant(rows), tf.constant(columns), side)
    assert made.dtype == tf.uint8
    np.testing.assert_array_equal(made.numpy(), expected)


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_random_holes_by_level(level: int) -> None:
    side = SIDE[level]
    masks = holed(level)
    cut = [mask for mask in masks if mask.any()]
    assert 0.4 <= len(cut) / len(masks) <= 0.6  # half of the images
    for mask in cut:
        # Whole squares of that side make up the holes, with what lies beyond the border counted as hole.
        wide = np.pad(mask, side, constant_values=True)
        assert (binary_opening(wide, np.ones((side, side))) == wide).all()
        assert mask.sum() <= 8 * side**2
    assert max(mask.sum() for mask in cut) > 6 * side**2  # eight of them, where none overlap
    larger = np.ones((side + 1, side + 1))
    assert any(not binary_opening(np.pad(mask, side), larger).any() for mask in cut)


def test_holes_are_everywhere() -> None:
    reached = np.mean(holed(3), axis=0)
    assert reached.any(axis=0).all()
    assert reached.any(axis=1).all()
    inner = reached[8:-8, 8:-8]
    assert inner.min() > 0
    expected = 0.5 * (1 - (1 - 64 / 80**2) ** 8)  # half of the images, eight holes
    np.testing.assert_allclose(inner.mean(), expected, rtol=0.1)


def test_a_small_image_has_holes_of_one_pixel() -> None:
    sizes = {int(mask.sum()) for mask in holed(0, size=16)}
    assert 0 in sizes
    assert 1 < max(sizes) <= 8


def test_augment_does_what_its_settings_ask() -> None:
    image = tf.fill((40, 40, 3), tf.constant(9, tf.uint8))
    off, on = AugmentSettings(level=3, cutout=False), AugmentSettings(level=3, cutout=True)
    changed = 0
    for seed in map(tf.constant, seeds(30)):
        np.testing.assert_array_equal(augment.augment(image, off, seed).numpy(), image.numpy())
        made = augment.augment(image, on, seed).numpy()
        np.testing.assert_array_equal(made, augment.augment(image, on, seed).numpy())
        changed += bool((made != image.numpy()).any())
    assert 5 < changed < 25


def test_seeds_differ() -> None:
    image = tf.fill((40, 40, 3), tf.constant(9, tf.uint8))
    made = {augment.random_cutout(image, 1, tf.constant(seed)).numpy().tobytes() for seed in seeds(40)}
    assert len(made) > 15  # half of them are untouched, and alike
