"""Each word of pipelines/ops.py against its namesake in keras.ops, eagerly and in a graph of unknown shapes."""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines import ops

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(2, 5, 4)).astype(np.float32)
Y = RANDOM.normal(size=(2, 5, 4)).astype(np.float32)
POSITIVE = np.abs(X) + np.float32(1e-10)
SIGNED_ZEROS = np.array([0.0, -0.0, 1.0, -1.0], np.float32)
FLOATS = np.array([0.0, 0.4, 0.9999, 1.5, 254.999, 255.0], np.float32)
WHOLE = np.arange(24).reshape(2, 3, 4).astype(np.int32)

# word -> calls of it, each with the namespace as first argument; arrays come after.
Call = tuple[Callable[..., Any], tuple[np.ndarray, ...]]
CALLS: dict[str, list[Call]] = {
    "abs": [(lambda o, x: o.abs(x), (X,))],
    "any": [(lambda o, x: o.any(x > 1, axis=0), (X,)), (lambda o, x: o.any(x > 1, axis=-1), (X,))],
    "arange": [(lambda o: o.arange(7), ()), (lambda o: o.arange(0), ())],
    "arctan2": [
        (lambda o, y, x: o.arctan2(y, x), (Y, X)),
        (lambda o, y, x: o.arctan2(y, x), (SIGNED_ZEROS[:, None], SIGNED_ZEROS[None])),
    ],
    "cast": [
        (lambda o, x: o.cast(x, "uint8"), (FLOATS,)),
        (lambda o, x: o.cast(x, "int32"), (10 * X,)),
        (lambda o, x: o.cast(x, "float32"), (WHOLE,)),
        (lambda o, x: o.cast(x, "int32"), (WHOLE.astype(np.uint8),)),
    ],
    "concatenate": [
        (lambda o, x, y: o.concatenate([x, y], axis=-1), (X, Y)),
        (lambda o, x, y: o.concatenate([x, y], axis=1), (X, Y)),
    ],
    "cos": [(lambda o, x: o.cos(x), (X,))],
    "floor": [(lambda o, x: o.floor(3 * x), (X,))],
    "log10": [
        (lambda o, x: o.log10(x), (POSITIVE,)),
        (lambda o, x: o.log10(x), (np.float32([1e-10, 1, 1e10]),)),
    ],
    "matmul": [
        (lambda o, x, y: o.matmul(x, y), (X, Y[0].T)),
        (lambda o, x, y: o.matmul(x, y), (X[0], Y[1].T)),
    ],
    "max": [
        (lambda o, x: o.max(x, axis=(-2, -1), keepdims=True), (X,)),
        (lambda o, x: o.max(x, axis=(0,)), (X,)),
    ],
    "maximum": [(lambda o, x: o.maximum(x, 0.1), (X,)), (lambda o, x, y: o.maximum(x, y), (X, Y))],
    "min": [
        (lambda o, x: o.min(x, axis=(-2, -1), keepdims=True), (X,)),
        (lambda o, x: o.min(x, axis=(0,)), (X,)),
    ],
    "minimum": [(lambda o, x: o.minimum(x, 0.1), (X,)), (lambda o, x, y: o.minimum(x, y), (X, Y))],
    "pad": [
        (lambda o, x: o.pad(x, [(0, 0), (1, 2), (0, 3)]), (X,)),
        (lambda o, x: o.pad(x, [(0, 0), (4, 3), (0, 0)], mode="reflect"), (X,)),
    ],
    "reshape": [(lambda o, x: o.reshape(x, (5, 8)), (X,)), (lambda o, x: o.reshape(x, (-1, 1, 4)), (X,))],
    "rfft": [
        (lambda o, x: o.rfft(x, 4), (X,)),
        (lambda o, x: o.rfft(x, 2), (X,)),  # of the first two
        (lambda o, x: o.rfft(x, 320), (RANDOM.normal(size=(3, 320)),)),
    ],
    "shape": [(lambda o, x: o.shape(x), (X,)), (lambda o, x: o.shape(x)[-2], (X,))],
    "sin": [(lambda o, x: o.sin(x), (X,))],
    "sort": [(lambda o, x: o.sort(x, axis=-1), (X,)), (lambda o, x: o.sort(x, axis=-2), (X,))],
    "stack": [
        (lambda o, x, y: o.stack([x, y], axis=-1), (X, Y)),
        (lambda o, x, y: o.stack([x, y], axis=0), (X, Y)),
    ],
    "sum": [
        (lambda o, x: o.sum(x, axis=-2, keepdims=True), (X,)),
        (lambda o, x: o.sum(x, axis=-1), (X,)),
        (lambda o, x: o.sum(x, axis=(0, 1, 2)), (WHOLE,)),
    ],
    "take": [
        (lambda o, x: o.take(x, np.int32([4, 0, 0, 2]), axis=-2), (X,)),
        (lambda o, x: o.take(x, np.int32([1]), axis=0), (X,)),
        (lambda o, x: o.take(x, np.int32([[0, 1, 2], [1, 2, 3]]), axis=-2), (X,)),
    ],
    "transpose": [
        (lambda o, x: o.transpose(x, [0, 2, 1]), (X,)),
        (lambda o, x: o.transpose(x, [2, 0, 1]), (X,)),
    ],
    "where": [
        (lambda o, x, y: o.where(x > y, x, o.zeros_like(x)), (X, Y)),
        (lambda o, x: o.where(x > 0, x, 1.0), (X,)),
        (lambda o: o.where(7 % 3 == 0, 1, 0), ()),
    ],
    "zeros_like": [(lambda o, x: o.zeros_like(x), (X,)), (lambda o, x: o.zeros_like(x), (WHOLE,))],
}
EVERY = [(word, number) for word, calls in CALLS.items() for number in range(len(calls))]


def arrays(made: Any) -> list[np.ndarray]:
    """One result or several -> arrays."""
    return [np.asarray(x) for x in (made if isinstance(made, tuple | list) else [made])]


def test_every_word_is_held_against_its_namesake() -> None:
    words = {
        name
        for name, value in vars(ops).items()
        if callable(value) and not name.startswith("_") and not inspect.ismodule(value)
    }
    words.remove("over_frames")  # the one that is TensorFlow's alone; see tests of features
    assert words == set(CALLS)
    assert all(hasattr(keras.ops, word) for word in words)


@pytest.mark.parametrize(("word", "number"), EVERY)
def test_word_equals_its_namesake(word: str, number: int) -> None:
    call, given = CALLS[word][number]
    given = tuple(x.astype(np.float32) if x.dtype == np.float64 else x for x in given)
    mine = arrays(call(ops, *map(tf.constant, given)))
    theirs = arrays(call(keras.ops, *map(keras.ops.convert_to_tensor, given)))
    assert len(mine) == len(theirs)
    for ours, other in zip(mine, theirs, strict=True):
        assert ours.shape == other.shape
        if word != "shape":  # plain numbers in both
            assert ours.dtype == other.dtype
        np.testing.assert_allclose(ours, other, rtol=2e-6, atol=2e-6 if word in ("matmul", "rfft") else 1e-7)


@pytest.mark.parametrize(("word", "number"), EVERY)
def test_word_in_a_graph_that_does_not_know_its_shapes(word: str, number: int) -> None:
    call, given = CALLS[word][number]
    given = tuple(x.astype(np.float32) if x.dtype == np.float64 else x for x in given)
    unknown = [tf.TensorSpec([None] * x.ndim, x.dtype) for x in given]
    graph = tf.function(lambda *x: tf.nest.map_structure(tf.convert_to_tensor, call(ops, *x)), unknown)
    for eager, traced in zip(arrays(call(ops, *map(tf.constant, given))), arrays(graph(*given)), strict=True):
        np.testing.assert_allclose(traced, eager, rtol=1e-6, atol=1e-6)


def test_shape_gives_numbers_where_they_are_known() -> None:
    seen: list[tuple] = []

    @tf.function(input_signature=[tf.TensorSpec([None, 5, None], tf.float32)])
    def look(x: tf.Tensor) -> tf.Tensor:
        seen.append(ops.shape(x))
        return x

    look.get_concrete_function()
    first, second, third = seen[0]
    assert second == 5
    assert isinstance(first, tf.Tensor)
    assert isinstance(third, tf.Tensor)
    assert ops.shape(tf.zeros((2, 5, 4))) == (2, 5, 4)
