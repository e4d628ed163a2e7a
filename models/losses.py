"""Losses on logits."""

from keras import ops


def binary_crossentropy(target, logits):
    """(batch, classes) targets in 0..1 and logits -> (batch,): mean over classes of the cross-entropy."""
    logits = ops.cast(logits, "float32")
    # max(x, 0) - x z + log(1 + exp(-|x|)): no overflow at either end.
    terms = ops.relu(logits) - logits * target + ops.log1p(ops.exp(-ops.abs(logits)))
    return ops.mean(terms, axis=-1)
