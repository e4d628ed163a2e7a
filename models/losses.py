"""Losses on logits, (batch, classes) targets in 0..1 and logits -> (batch,), and the table that names them."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from keras import ops

_ABSENT = -1e30  # stands for minus infinity in a log-sum-exp: its exponential is 0, its gradient no NaN


def binary_crossentropy(target, logits):
    """(batch, classes) targets in 0..1 and logits -> (batch,): mean over classes of the cross-entropy."""
    return ops.mean(_crossentropies(target, ops.cast(logits, "float32")), axis=-1)


def focal(target, logits, gamma: float = 2.0, alpha: float | None = None):
    """Cross-entropy of each class times (1 - chance of the given label) ** gamma (arXiv:1708.02002) -> (batch,).

    `alpha`, 0..1, weighs what is present against what is absent by alpha to 1 - alpha; None: both alike.
    """
    logits = ops.cast(logits, "float32")
    # Chance of the label that is not the given one; a floor, as powers under 1 have no slope at 0.
    missed = target * ops.sigmoid(-logits) + (1 - target) * ops.sigmoid(logits)
    terms = ops.power(ops.maximum(missed, 1e-12), gamma) * _crossentropies(target, logits)
    if alpha is not None:
        terms = terms * (target * alpha + (1 - target) * (1 - alpha))
    return ops.mean(terms, axis=-1)


def lsep(target, logits):
    """Log-sum-exp pairwise ranking (Li, Song and Luo, 2017) -> (batch,): log(1 + sum exp(f_v - f_u)).

    Over all pairs of a class u that is present and a class v that is not. Present is a target of at least
    0.5, and where none is, as in a mix of mixes, the largest: of a mixed clip, the labels of the clip that
    prevails. No pair, no loss.
    """
    logits = ops.cast(logits, "float32")
    least = ops.minimum(ops.max(target, axis=-1, keepdims=True), 0.5)
    present = ops.logical_and(ops.greater_equal(target, least), ops.greater(target, 0))
    # The double sum is a product of two sums, so two log-sum-exps and one softplus are all.
    absent_sum = ops.logsumexp(ops.where(present, _ABSENT, logits), axis=-1)
    present_sum = ops.logsumexp(ops.where(present, -logits, _ABSENT), axis=-1)
    return ops.softplus(absent_sum + present_sum)


def lq(target, logits, q: float = 0.7):
    """Generalised cross-entropy (Zhang and Sabuncu, arXiv:1805.07836) -> (batch,): mean of (1 - p ** q) / q.

    p is the sigmoid's chance of the given label, present or absent, class by class; a soft target weighs the
    two. Near q = 0 it is the cross-entropy, at q = 1 the absolute error, which forgives wrong labels most.
    """
    logits = ops.cast(logits, "float32")
    if_present = -ops.expm1(q * ops.log_sigmoid(logits)) / q
    if_absent = -ops.expm1(q * ops.log_sigmoid(-logits)) / q
    return ops.mean(target * if_present + (1 - target) * if_absent, axis=-1)


def smoothed(target, smoothing: float):
    """(batch, classes) in 0..1 -> the same, drawn towards 0.5 by a share of `smoothing`."""
    return target * (1 - smoothing) + 0.5 * smoothing


def weighted_mean(each, labelled, weight=None):
    """(batch,) losses, 1 where a clip has labels, weights of clips (None: 1) -> () mean over labelled clips.

    The sum of weights does not divide: in a batch of clips that count half, each still counts half.
    """
    counted = labelled if weight is None else labelled * weight
    return ops.sum(each * counted) / ops.maximum(ops.sum(labelled), 1.0)


def two_headed(loss, target, logits, noisy_logits, domain):
    """The loss of two heads -> (batch,): the noisy one answers for a clip's share of noisy labels.

    `loss` as of this file; `domain` (batch,) is 0 for a curated clip, 1 for a noisy one, and a mixed clip's
    share of the noisy partner between.
    """
    return (1 - domain) * loss(target, logits) + domain * loss(target, noisy_logits)


LOSSES: dict[str, Callable[..., Any]] = {
    "bce": binary_crossentropy,
    "focal": focal,
    "lsep": lsep,
    "lq": lq,
}

# What each parameter may be, and the words for it.
_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "gamma": (lambda value: value >= 0, "at least 0"),
    "alpha": (lambda value: value is None or 0 <= value <= 1, "from 0 to 1"),
    "q": (lambda value: 0 < value <= 1, "above 0 and at most 1"),
    "smoothing": (lambda value: 0 <= value < 1, "from 0 to under 1"),
}


def parameters(name: str) -> tuple[str, ...]:
    """-> the parameters that the loss of a name takes. Raises `ValueError` for a name that is not there."""
    if name not in LOSSES:
        raise ValueError(f"`loss` must be one of {', '.join(LOSSES)}. Received: {name!r}.")
    own = tuple(inspect.signature(LOSSES[name]).parameters)[2:]
    # A ranking of present over absent does not see how far targets are from 0 and 1.
    return own if name == "lsep" else (*own, "smoothing")


def build(name: str, **given: Any) -> Callable[[Any, Any], Any]:
    """-> the loss of a name with its parameters set: (target, logits) -> (batch,)."""
    known = parameters(name)
    for key, value in given.items():
        if key not in known:
            raise ValueError(f"{name!r} takes {', '.join(known) or 'no parameter'}. Received: {key!r}.")
        fits, words = _RANGES[key]
        if not fits(value):
            raise ValueError(f"`{key}` must be {words}. Received: {value!r}.")
    smoothing = given.pop("smoothing", 0.0)
    chosen = functools.partial(LOSSES[name], **given)
    if not smoothing:
        return chosen
    return lambda target, logits: chosen(smoothed(target, smoothing), logits)


def _crossentropies(target, logits):
    """(batch, classes) -> the same: each class's cross-entropy."""
    # Softplus neither overflows nor cancels, and its slope is right at 0 too, where those of |x| and relu are not.
    return target * ops.softplus(-logits) + (1 - target) * ops.softplus(logits)
