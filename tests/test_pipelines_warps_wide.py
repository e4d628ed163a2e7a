"""Warps of images that are much wider than high, as of a minute in fine columns."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines import ops, warps

HEIGHT, WIDTH = 16, 960


@pytest.mark.parametrize(("namespace", "array"), [(ops, tf.constant), (keras.ops, keras.ops.array)])
@pytest.mark.parametrize("degrees", [-2.0, 2.0, 30.0])
def test_ends_that_turn_far_beyond_a_border_are_mirrored_again(
    namespace: Any, array: Any, degrees: float
) -> None:
    rows = np.repeat(np.arange(HEIGHT, dtype=np.uint8)[:, None], WIDTH, axis=1)
    image = np.repeat(10 * rows[..., None], 3, axis=-1)
    asked = [np.float32(value) for value in (1.5, -40.0, 0.8, degrees)]
    made = np.asarray(warps.warp(namespace, array(image), *asked))[..., 0] / 10

    # NumPy's pad by "reflect" knows any number of mirrorings.
    mirrored = np.pad(np.arange(HEIGHT, dtype=float), 3000, mode="reflect")
    turn, (bands, columns, scale, _) = np.deg2rad(degrees), asked
    row = np.arange(HEIGHT)[:, None] - (HEIGHT - 1) / 2 - bands
    column = np.arange(WIDTH)[None] - (WIDTH - 1) / 2 - columns
    source = np.sin(turn) / scale * column + np.cos(turn) / scale * row + (HEIGHT - 1) / 2
    wanted = np.interp(source + 3000, np.arange(len(mirrored)), mirrored)
    assert source.min() < -HEIGHT
    assert source.max() > 2 * HEIGHT
    np.testing.assert_allclose(made, wanted, atol=0.08)
