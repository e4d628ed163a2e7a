"""Draws from a stateless seed, and changes that happen by chance."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def uniform(seed: tf.Tensor, limits: tuple[float, float]) -> tf.Tensor:
    """(2,) seed -> () float32, evenly from the lowest to the highest."""
    low, high = limits
    return low + (high - low) * tf.random.stateless_uniform([], seed)


def log_uniform(seed: tf.Tensor, limits: tuple[float, float]) -> tf.Tensor:
    """(2,) seed -> () float32, evenly in its logarithm from the lowest to the highest, both over 0."""
    low, high = limits
    return low * (high / low) ** tf.random.stateless_uniform([], seed)


def whole(seed: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """(2,) seed -> () int32 from `low` to `high`, both included."""
    return tf.random.stateless_uniform([], seed, low, high + 1, tf.int32)


def happens(chance: float, seed: tf.Tensor) -> tf.Tensor:
    """() bool: whether `sometimes` changes anything by this chance and (2,) seed."""
    if chance <= 0 or chance >= 1:
        return tf.constant(chance >= 1)
    return tf.random.stateless_uniform([], tf.random.split(seed, 2)[0]) < chance


def sometimes(chance: float, seed: tf.Tensor, value: Any, change: Callable[[Any, tf.Tensor], Any]) -> Any:
    """`change(value, seed)` by a chance, else `value`; both are tensors of one kind, or nests of them.

    Only the branch that is taken is computed, and at a chance of 0 or 1 there is no other in the graph.
    """
    if chance <= 0:
        return value
    own = tf.random.split(seed, 2)[1]
    if chance >= 1:
        return change(value, own)
    return tf.cond(happens(chance, seed), lambda: change(value, own), lambda: value)
