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


def sometimes(chance: float, seed: tf.Tensor, value: Any, change: Callable[[Any, tf.Tensor], Any]) -> Any:
    """`change(value, seed)` by a chance, else `value`; both are tensors of one kind, or nests of them.

    Only the branch that is taken is computed, and at a chance of 0 or 1 there is no other in the graph.
    """
    if chance <= 0:
        return value
    coin, own = tf.unstack(tf.random.split(seed, 2))
    if chance >= 1:
        return change(value, own)
    return tf.cond(tf.random.stateless_uniform([], coin) < chance, lambda: change(value, own), lambda: value)
