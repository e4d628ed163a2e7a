"""Crops: what the cores cut, what the draws reach, and the same eagerly as through Dataset.map."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines import crops
from pipelines.augment_settings import AugmentSettings

Array = NDArray[Any]
DRAWS = 500
# Share of the size by which a crop may start early and be shifted, by level: REFERENCE section 3.
EARLY = {0: 1 / 40, 1: 1 / 20, 2: 1 / 10, 3: 1 / 10}
SHIFT = {0: 1 / 40, 1: 1 / 10, 2: 1 / 3, 3: 1 / 3}


def numbered(bands: int, frames: int) -> Array:
    """-> (bands, frames, 3) int32: every pixel tells its row and column, and none is 0."""
    rows, columns = np.meshgrid(np.arange(bands), np.arange(frames), indexing="ij")
    return np.repeat((1 + rows * 10000 + columns)[..., None], 3, axis=-1).astype(np.int32)


def cut(image: Array, start: int, columns: int, shift: int) -> Array:
    """The same crop, pixel by pixel."""
    bands, frames, channels = image.shape
    made = np.zeros((bands, columns, channels), image.dtype)
    for row in range(bands):
        for column in range(columns):
            if row - shift >= 0 and 0 <= column + start < frames:
                made[row, column] = image[row - shift, column + start]
    return made


def mapped(function: Any, image: Array, *elements: Array) -> list[Any]:
    """function(image, element...) in a graph that does not know the number of frames, one result an element."""
    dataset = tf.data.Dataset.from_tensor_slices(elements).map(
        lambda *each: function(tf.ensure_shape(tf.identity(image), (None, None, 3)), *each),
        num_parallel_calls=2,
        deterministic=True,
    )
    return list(dataset.as_numpy_iterator())


@given(
    bands=st.integers(1, 6),
    frames=st.integers(0, 12),
    start=st.integers(-4, 14),
    columns=st.integers(1, 8),
    shift=st.integers(0, 6),
)
@settings(max_examples=100, deadline=None)
def test_crop_and_its_zeros(bands: int, frames: int, start: int, columns: int, shift: int) -> None:
    if start > frames:  # nothing is cropped from beyond the end
        start = frames
    image = numbered(bands, frames)
    shift = min(shift, bands)
    made = crops.crop(tf.constant(image), tf.constant(start), columns, tf.constant(shift)).numpy()
    np.testing.assert_array_equal(made, cut(image, start, columns, shift))


@pytest.mark.parametrize("frames", [5, 16, 40])
def test_crop_through_a_dataset(frames: int) -> None:
    image = numbered(8, frames)
    starts, shifts = np.int32([-3, 0, 2, max(frames - 10, 0)]), np.int32([0, 2, 8, 1])
    made = mapped(
        lambda x, start, shift: crops.crop(tf.ensure_shape(x, (8, None, 3)), start, 10, shift),
        image,
        starts,
        shifts,
    )
    for found, start, shift in zip(made, starts, shifts, strict=True):
        np.testing.assert_array_equal(found, cut(image, start, 10, shift))


def test_a_crop_keeps_type_and_knows_its_shape() -> None:
    images = tf.data.Dataset.from_tensors(np.ones((8, 30, 3), np.uint8))
    spec = images.map(
        lambda x: crops.random_crop(
            tf.ensure_shape(tf.identity(x), (8, None, 3)), 10, AugmentSettings(), tf.constant([1, 2])
        )
    ).element_spec
    assert spec == tf.TensorSpec((8, 10, 3), tf.uint8)


def drawn(
    bands: int, frames: int, columns: int, level: int, **changed: Any
) -> tuple[Array, Array, list[Array]]:
    """-> (starts, shifts, crops) of `DRAWS` random crops, read off the pixels."""
    seeds = np.stack([np.arange(DRAWS), np.full(DRAWS, level)], axis=1).astype(np.int32)
    asked = AugmentSettings(level=level, **changed)

    def make(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return crops.random_crop(tf.ensure_shape(image, (bands, None, 3)), columns, asked, seed)

    made = mapped(make, numbered(bands, frames), seeds)
    for seed, found in zip(seeds[:20], made, strict=False):
        image = tf.constant(numbered(bands, frames))
        eager = crops.random_crop(image, columns, asked, tf.constant(seed))
        np.testing.assert_array_equal(eager.numpy(), found)
    middle = [found[-1, columns // 2, 0] - 1 for found in made]  # the top row is never a zero
    starts = np.array([pixel % 10000 - columns // 2 for pixel in middle])
    shifts = np.array([bands - 1 - pixel // 10000 for pixel in middle])
    for found, start, shift in zip(made[:50], starts, shifts, strict=False):
        np.testing.assert_array_equal(found, cut(numbered(bands, frames), start, columns, shift))
    return starts, shifts, made


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_draws_reach_all_of_their_range_and_nothing_else(level: int) -> None:
    size, frames = 40, 52
    starts, shifts, _ = drawn(size, frames, size, level)
    assert set(starts) == set(range(-int(size * EARLY[level]), frames - size + 1))
    assert set(shifts) == set(range(int(size * SHIFT[level] + 1e-9) + 1))
    assert abs(np.corrcoef(starts, shifts)[0, 1]) < 0.15  # drawn apart


@pytest.mark.parametrize("level", [0, 3])
def test_an_image_no_wider_than_the_crop_starts_at_its_first_column_or_early(level: int) -> None:
    for frames in (30, 40):
        starts, _, made = drawn(40, frames, 40, level)
        assert set(starts) == set(range(-int(40 * EARLY[level]), 1))
        assert all(not found[:, frames + 4 :].any() for found in made)


def test_early_starts_and_shifts_can_be_switched_off() -> None:
    starts, shifts, _ = drawn(40, 52, 40, 3, early=False)
    assert set(starts) == set(range(13))
    assert set(shifts) == set(range(14))
    starts, shifts, _ = drawn(40, 52, 40, 3, band_shift=False)
    assert set(starts) == set(range(-4, 13))
    assert set(shifts) == {0}


# --- crops of random size --------------------------------------------------------------------------------------


def bilinear(image: Array, bands: int, columns: int) -> Array:
    """Resized one axis after the other, pixel centres at halves, the last pixels going on beyond the border."""

    def along(values: Array, axis: int, size: int) -> Array:
        centres = (np.arange(size) + 0.5) * values.shape[axis] / size - 0.5
        pixels = np.arange(values.shape[axis])
        return np.apply_along_axis(lambda line: np.interp(centres, pixels, line), axis, values)

    return along(along(image.astype(float), 0, bands), 1, columns)


@given(rows=st.integers(2, 16), width=st.integers(2, 24), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_resized_is_bilinear_and_rounded(rows: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (rows, width, 3), np.uint8)
    made = crops.resized(tf.constant(image), 10, 12).numpy()
    assert made.dtype == np.uint8
    assert made.shape == (10, 12, 3)
    assert np.abs(made - bilinear(image, 10, 12)).max() <= 0.501


def sized(image: Array, count: int = 200, **changed: Any) -> list[Array]:
    """Crops of 20 x 20 of an image (20, frames, 3) uint8, nothing but their size drawn."""
    asked = AugmentSettings(level=0, early=False, band_shift=False, **changed)
    seeds = np.stack([np.arange(count), np.full(count, 5)], axis=1).astype(np.int32)

    def make(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return crops.random_crop(tf.ensure_shape(image, (20, None, 3)), 20, asked, seed)

    made = mapped(make, image, seeds)
    for seed, found in zip(seeds[:5], made, strict=False):
        np.testing.assert_array_equal(make(tf.constant(image), tf.constant(seed)).numpy(), found)
    return made


def test_a_crop_of_random_width_shows_that_much_of_the_clip() -> None:
    slope = np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 20, axis=0).repeat(3, axis=2)
    made = sized(slope, crop_columns=(0.5, 2.0))
    steps = np.array(
        [(float(x[0, 17, 0]) - float(x[0, 2, 0])) / 15 for x in made]
    )  # columns of the clip for one
    assert steps.min() >= 0.5 - 0.1
    assert steps.max() <= 2 + 0.1
    assert steps.min() < 0.6
    assert steps.max() > 1.9
    assert abs(np.mean(steps) - 1.25) < 0.1
    assert all((x == x[:1]).all() for x in made)  # the bands are not resized
    firsts = [int(x[0, 0, 0]) for x in made]
    assert min(firsts) < 10
    assert max(firsts) > 150


def test_a_wide_crop_of_a_short_clip_ends_in_zeros() -> None:
    for found in sized(np.full((20, 20, 3), 200, np.uint8), 20, crop_columns=(2.0, 2.0)):
        assert (found[:, :9] == 200).all()
        assert (found[:, 11:] == 0).all()


def test_a_crop_of_random_height_shows_that_share_of_the_bands() -> None:
    slope = np.repeat(np.arange(0, 200, 10, dtype=np.uint8)[:, None, None], 30, axis=1).repeat(3, axis=2)
    made = sized(slope, crop_bands=(0.5, 1.0))
    steps = np.array([(float(x[15, 0, 0]) - float(x[4, 0, 0])) / 110 for x in made])
    assert steps.min() >= 0.45
    assert steps.min() < 0.55
    assert steps.max() > 0.95
    lowest = {int(x[0, 0, 0]) for x in made}
    assert 0 in lowest
    assert max(lowest) > 50
    assert max(int(x[-1, 0, 0]) for x in made) == 190


# --- evenly spaced crops --------------------------------------------------------------------------------------


@given(frames=st.integers(1, 5000), columns=st.integers(1, 400), count=st.integers(2, 50))
@settings(max_examples=100, deadline=None)
def test_even_starts_go_from_the_first_column_to_the_last_possible(
    frames: int, columns: int, count: int
) -> None:
    starts = crops.even_starts(tf.constant(frames), columns, tf.constant(count)).numpy()
    assert starts.shape == (count,)
    assert starts[0] == 0
    assert starts[-1] == max(frames - columns, 0)
    steps = np.diff(starts)
    assert steps.min() >= 0
    assert steps.max() - steps.min() <= 1


@pytest.mark.parametrize(("frames", "expected"), [(100, 30), (101, 30), (40, 0), (10, 0)])
def test_one_crop_is_the_middle(frames: int, expected: int) -> None:
    np.testing.assert_array_equal(
        crops.even_starts(tf.constant(frames), 40, tf.constant(1)).numpy(), [expected]
    )


@given(frames=st.integers(1, 5000), columns=st.integers(1, 400), count=st.integers(2, 50))
@settings(max_examples=100, deadline=None)
def test_starts_around_a_clip_leave_the_same_way_from_the_last_to_the_first(
    frames: int, columns: int, count: int
) -> None:
    starts = crops.even_starts(tf.constant(frames), columns, tf.constant(count), around=True).numpy()
    assert starts[0] == 0
    steps = np.diff([*starts, max(frames, columns)])
    assert steps.min() >= 0
    assert steps.max() - steps.min() <= 1


@pytest.mark.parametrize("frames", [3, 8, 31])
def test_crops_around_a_clip_go_on_at_its_beginning(frames: int) -> None:
    image = numbered(4, frames)
    found = crops.even_crops(tf.constant(image), 8, tf.constant(4), around=True).numpy()
    padded = np.pad(image, [(0, 0), (0, max(8 - frames, 0)), (0, 0)])
    width = padded.shape[1]
    wanted = [np.roll(padded, -(number * width // 4), axis=1)[:, :8] for number in range(4)]
    np.testing.assert_array_equal(found, wanted)
    (graph,) = mapped(lambda x, n: crops.even_crops(x, 8, n, True), image, np.int32([4]))
    np.testing.assert_array_equal(graph, wanted)
    one = crops.even_crops(tf.constant(image), 8, tf.constant(1), around=True).numpy()
    np.testing.assert_array_equal(one, crops.even_crops(tf.constant(image), 8, tf.constant(1)).numpy())


@pytest.mark.parametrize("count", [1, 2, 3, 10])
@pytest.mark.parametrize("frames", [3, 8, 9, 31])
def test_even_crops_are_crops_at_even_starts(frames: int, count: int) -> None:
    image = numbered(4, frames)
    starts = crops.even_starts(tf.constant(frames), 8, tf.constant(count)).numpy()
    expected = np.stack([cut(image, start, 8, 0) for start in starts])
    eager = crops.even_crops(tf.constant(image), 8, tf.constant(count)).numpy()
    (graph,) = mapped(lambda x, n: crops.even_crops(x, 8, n), image, np.int32([count]))
    np.testing.assert_array_equal(eager, expected)
    np.testing.assert_array_equal(graph, expected)
