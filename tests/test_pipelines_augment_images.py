"""The parts that change images: each core against another's arithmetic, and what the draws reach by level."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, binary_opening

from pipelines import levels, masks, ops, warps

Array = NDArray[Any]
DRAWS = 400
# REFERENCE section 3, by level.
SIDE = {0: 2, 1: 4, 2: 4, 3: 8}  # of a hole in an image of 80 bands
WARP = {0: (0, 0, 0), 1: (0.1, 0.1, 1), 2: (0.2, 0.1, 2), 3: (0.2, 0.2, 2)}  # shift, scale, degrees
LIGHT = {0: 0.02, 1: 0.05, 2: 0.1, 3: 0.2}


def seeds(count: int = DRAWS, second: int = 7) -> Array:
    return np.stack([np.arange(count), np.full(count, second)], axis=1).astype(np.int32)


def mapped(function: Any, count: int = DRAWS) -> list[Array]:
    """function(seed) through Dataset.map; the first few are held against eager ones."""
    made = tf.data.Dataset.from_tensor_slices(seeds(count)).map(
        function, num_parallel_calls=2, deterministic=True
    )
    found = list(made.as_numpy_iterator())
    for image, seed in zip(found[:5], seeds(count), strict=False):
        # A graph's arithmetic may be rounded otherwise than an eager one's.
        difference = np.abs(function(tf.constant(seed)).numpy().astype(int) - image)
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.005
    return found


def picture(rows: int, width: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (rows, width, 3), np.uint8)


# --- warp ------------------------------------------------------------------------------------------------------


def warped(image: Array, bands: float, columns: float, scale: float, degrees: float) -> Array:
    values = (tf.constant(value, tf.float32) for value in (bands, columns, scale, degrees))
    return warps.warp(ops, tf.constant(image), *values).numpy()


@pytest.mark.parametrize(("bands", "columns"), [(0, 0), (3, 0), (0, -5), (-4, 6)])
def test_a_shift_by_whole_pixels_moves_them_and_mirrors_what_enters(bands: int, columns: int) -> None:
    image = picture(20, 24)
    wide = np.pad(image, ((8, 8), (8, 8), (0, 0)), mode="reflect")  # the border itself is not repeated
    expected = wide[8 - bands : 28 - bands, 8 - columns : 32 - columns]
    np.testing.assert_array_equal(warped(image, bands, columns, 1, 0), expected)


@given(
    bands=st.floats(-0.2, 0.2),
    columns=st.floats(-0.2, 0.2),
    scale=st.floats(0.8, 1.2),
    degrees=st.floats(-45, 45),
    seed=st.integers(0, 9),
)
@settings(max_examples=40, deadline=None)
def test_warp_is_the_affine_transform_of_scipy(
    bands: float, columns: float, scale: float, degrees: float, seed: int
) -> None:
    # Smooth, so that float32's rounding of a place in the image does not move a pixel by more than a level.
    grid = np.add.outer(np.sin(np.arange(33) / (3 + seed)), np.cos(np.arange(27) / 4))
    image = np.stack([60 * grid + 128, 120 - 50 * grid, np.full_like(grid, 7)], -1).astype(np.uint8)
    size, turn = np.array([33, 27]), np.deg2rad(degrees)
    # From a place in the result to one in the image, (row, column).
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) / scale
    middle, moved = (size - 1) / 2, np.array([bands, columns]) * size
    offset = middle - matrix @ (middle + moved)
    expected = np.stack(
        [
            affine_transform(image[..., k].astype(float), matrix, offset, order=1, mode="mirror")
            for k in range(3)
        ],
        axis=-1,
    )
    made = warped(image, bands * 33, columns * 27, scale, degrees)
    assert made.dtype == np.uint8
    assert np.abs(made - expected).max() < 0.51


def test_enlarging_about_the_centre() -> None:
    image = np.zeros((41, 41, 3), np.uint8)
    image[15:26, 15:26] = 255  # 11 wide
    assert abs((warped(image, 0, 0, 1.5, 0)[20, :, 0] / 255).sum() - 16.5) < 0.6
    np.testing.assert_array_equal(warped(image, 0, 0, 0.75, 0), warped(image, 0, 0, 0.75, 0)[::-1, ::-1])


@pytest.mark.parametrize("level", [1, 2, 3])
def test_random_warps_reach_what_their_level_allows(level: int) -> None:
    shift, scale, degrees = WARP[level]
    size = 61
    row, column = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    # Far from the borders a plane stays a plane, and tells the transform: 4 levels a pixel, about 128.
    plane = np.stack([128 + 4 * (row - 30), 128 + 4 * (column - 30), 0 * row], -1).astype(np.uint8)
    moved, zooms, turns = [], [], []
    for found in mapped(lambda seed: warps.random_warp(tf.constant(plane), level, seed)):
        middle = found[22:39, 22:39].astype(float)

        def slope(channel: int, axis: int, middle: Array = middle) -> float:
            return float(np.polyfit(range(17), middle[..., channel].mean(axis=1 - axis), 1)[0]) / 4

        along = (slope(0, 0) + slope(1, 1)) / 2
        zooms.append(1 / along)
        turns.append(np.rad2deg(slope(0, 1) / along))
        moved.append((128 - middle[8, 8, :2]) / 4 * zooms[-1] / size)
    for values, most, slack in (
        (np.array(moved).ravel(), shift, 0.02),
        (np.array(zooms) - 1, scale, 0.02),
        (np.array(turns), degrees, 0.6),
    ):
        assert values.max() <= most + slack
        assert values.min() >= -most - slack
        assert values.max() >= 0.85 * most
        assert values.min() <= -0.85 * most
        assert abs(values.mean()) < 0.12 * most
    assert abs(np.corrcoef(np.array(moved).T)[0, 1]) < 0.2


def test_there_is_no_warp_at_level_0() -> None:
    assert warps.LIMITS[0] == (0, 0, 0)
    assert warps.CHANCE == 0.75


# --- brightness and contrast -----------------------------------------------------------------------------------


@given(brightness=st.sampled_from([-0.25, 0, 0.125, 0.5]), contrast=st.sampled_from([-0.5, 0, 0.25, 1]))
@settings(deadline=None)
def test_brightness_and_contrast_by_their_formula(brightness: float, contrast: float) -> None:
    image = picture(16, 16)
    scaled = (1 + contrast) * image.astype(np.float64)
    expected = np.clip(scaled + brightness * scaled.mean(), 0, 255)
    made = levels.brightness_contrast(
        ops, tf.constant(image), tf.constant(brightness, tf.float32), tf.constant(contrast, tf.float32)
    ).numpy()
    assert made.dtype == np.uint8
    differing = made != np.floor(expected)
    # Truncation may go either way where the exact value is a whole number.
    assert np.abs(expected[differing] - np.rint(expected[differing])).max(initial=0) < 1e-4


def test_worked_by_hand() -> None:
    image = np.array([[[0, 100, 200]]], np.uint8)  # mean 100
    up = levels.brightness_contrast(ops, tf.constant(image), tf.constant(0.1), tf.constant(0.5)).numpy()
    np.testing.assert_array_equal(up, [[[15, 165, 255]]])  # x 1.5, plus a tenth of the mean 150; saturated
    down = levels.brightness_contrast(ops, tf.constant(image), tf.constant(-0.5), tf.constant(0.0)).numpy()
    np.testing.assert_array_equal(down, [[[0, 50, 150]]])


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_random_light_reaches_what_its_level_allows(level: int) -> None:
    image = np.zeros((10, 10, 3), np.uint8)
    image[:5] = 200  # mean 100
    contrasts, brightnesses = [], []
    for found in mapped(lambda seed: levels.random_brightness_contrast(tf.constant(image), level, seed)):
        top, bottom = float(found[0, 0, 0]), float(found[9, 0, 0])
        if bottom:  # not cut off at 0
            contrasts.append((top - bottom) / 200 - 1)
            brightnesses.append(bottom / 100 / (1 + contrasts[-1]))
    most, slack = LIGHT[level], 0.012
    assert 0.2 < len(contrasts) / DRAWS < 0.6
    assert -most - slack <= min(contrasts) <= -0.8 * most + slack
    assert 0.8 * most - slack <= max(contrasts) <= most + slack
    assert 0.8 * most - slack <= max(brightnesses) <= most + slack


# --- holes -----------------------------------------------------------------------------------------------------


def holed(level: int, size: int = 80) -> list[Array]:
    """-> `DRAWS` masks (size, size), True in the holes of a random cutout."""
    image = tf.fill((size, size, 3), tf.constant(9, tf.uint8))
    images = mapped(lambda seed: masks.random_cutout(image, level, seed))
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
    made = masks.cutout(ops, tf.constant(image), tf.constant(rows), tf.constant(columns), side)
    assert made.dtype == tf.uint8
    np.testing.assert_array_equal(made.numpy(), expected)


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_random_holes_by_level(level: int) -> None:
    side = SIDE[level]
    for mask in (cut := holed(level)):
        # Whole squares of that side make up the holes, with what lies beyond the border counted as hole.
        wide = np.pad(mask, side, constant_values=True)
        assert (binary_opening(wide, np.ones((side, side))) == wide).all()
        assert 0 < mask.sum() <= 8 * side**2
    assert max(mask.sum() for mask in cut) > 6 * side**2  # eight of them, where none overlap
    larger = np.ones((side + 1, side + 1))
    assert any(not binary_opening(np.pad(mask, side), larger).any() for mask in cut)
    assert len({mask.tobytes() for mask in cut}) == len(cut)


def test_holes_are_everywhere() -> None:
    reached = np.mean(holed(3), axis=0)
    assert reached.any(axis=0).all()
    assert reached.any(axis=1).all()
    inner = reached[8:-8, 8:-8]
    assert inner.min() > 0
    np.testing.assert_allclose(inner.mean(), 1 - (1 - 64 / 80**2) ** 8, rtol=0.1)


def test_a_small_image_has_holes_of_one_pixel() -> None:
    assert {int(mask.sum()) for mask in holed(0, size=16)} <= set(range(1, 9))


# --- stripes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1])
def test_stripes_are_zeros_where_they_were_put(axis: int) -> None:
    image = np.maximum(picture(12, 15), 1)
    made = masks.stripes(
        ops, tf.constant(image), tf.constant([2, 3, 9]), tf.constant([3, 2, 0]), axis
    ).numpy()
    expected = image.copy()
    (expected if axis == 0 else expected.swapaxes(0, 1))[2:5] = 0
    np.testing.assert_array_equal(made, expected)


@pytest.mark.parametrize("axis", [0, 1])
def test_random_stripes_keep_to_their_number_and_width(axis: int) -> None:
    image = tf.fill((40, 60, 3), tf.constant(9, tf.uint8))
    size, widest = (40, 60)[axis], (8, 12)[axis]
    covered = np.zeros(size)
    seen = []
    for found in mapped(lambda seed: masks.random_stripes(image, 1, 0.2, axis, seed)):
        line = (found[..., 0] == 0).all(axis=1 - axis)
        assert (found[..., 0] == 0).sum() == line.sum() * found[..., 0].size // size  # whole lines only
        assert np.abs(np.diff(np.concatenate([[0], line, [0]]))).sum() == 2 * bool(line.any())  # one piece
        covered += line
        seen.append(int(line.sum()))
    assert set(seen) == set(range(widest + 1))
    assert covered.min() > 0  # up to both borders
    np.testing.assert_allclose(np.mean(seen), widest / 2, rtol=0.15)
    three = mapped(lambda seed: masks.random_stripes(image, 3, 0.2, axis, seed))
    pieces = [
        int(np.abs(np.diff(np.concatenate([[0], (x[..., 0] == 0).all(axis=1 - axis), [0]]))).sum()) // 2
        for x in three
    ]
    assert max(pieces) == 3
