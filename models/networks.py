"""From settings to a network: trunks and heads by name, what is frozen, and weights from another run."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops

from models import backbones, densenet, heads, specgram
from models.heads import HEAD
from models.settings import NetworkSettings

TRUNKS: dict[str, Callable[[keras.KerasTensor], keras.KerasTensor]] = {
    "specgram": specgram.trunk,
    "densenet121": densenet.trunk,
}

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def build(
    settings: NetworkSettings, shape: tuple[int, int, int], classes: int, precision: str | None = None
) -> keras.Model:
    """-> a network: (batch, bands, columns, channels) float32 in 0..1 -> (batch, classes) logits, float32.

    `precision` overrides the setting; served and saved networks are always float32. Raises `ValueError` for
    an image too small for the trunk's strides.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(_POLICIES[precision or settings.precision])
    try:
        return assemble(
            shape,
            classes,
            trunk=settings.name,
            backbone=settings.backbone,
            pretrained=settings.pretrained,
            head=settings.head,
            noisy_head=settings.noisy_head,
            coordinates=settings.coordinates,
            dropout=settings.dropout,
        )
    finally:
        keras.config.set_dtype_policy(before)


def assemble(
    shape: tuple[int, int, int],
    classes: int,
    *,
    trunk: str = "specgram",
    backbone: str = "",
    pretrained: bool = True,
    head: str = "reference",
    noisy_head: bool = False,
    coordinates: bool = False,
    dropout: float = 0.5,
) -> keras.Model:
    """-> a network of the current precision, as `build` does.

    `backbone`, where not empty, takes the place of `trunk`: see `backbones.trunk`. `coordinates` adds the
    channel of `heads.FrequencyCoordinate`. With `noisy_head` the output is {"logits", "noisy_logits"}, of two
    heads on one trunk; `served` gives the network without it.
    """
    image = keras.Input(shape, name="image", dtype="float32")
    x = heads.FrequencyCoordinate(name="coordinate")(image) if coordinates else image
    if backbone:
        features = backbones.trunk(x, backbone, pretrained)
    else:
        try:
            features = TRUNKS[trunk](x)
        except ValueError as error:  # Keras' own message is a page on the layer that ran out of pixels
            raise ValueError(
                f"an image of {shape[0]} x {shape[1]} is too small for the strides of {trunk!r}; "
                "`features.bands` or `features.width` must be larger."
            ) from error
    make = functools.partial(heads.HEADS[head], features, classes, dropout)
    output = make()
    if noisy_head:
        output = {"logits": output, "noisy_logits": make(prefix=heads.NOISY_HEAD)}
    return keras.Model(image, output, name=trunk if not backbone else "backbone")


def load(path: str | Path) -> keras.Model:
    """A saved network -> the network. To be used for Keras' `load_model`, which knows no layers of ours.

    It does once this file has been imported, for it imports them all.
    """
    return keras.saving.load_model(path, compile=False)


def mean(paths: Sequence[Path]) -> keras.Model:
    """Saved networks of one architecture -> one of it whose weights are their mean.

    Norms' statistics are averaged with the rest: they belong to the weights.
    """
    network = load(paths[0])
    sums = [np.asarray(weight, np.float64) for weight in network.get_weights()]
    for path in paths[1:]:
        sums = [total + weight for total, weight in zip(sums, load(path).get_weights(), strict=True)]
    network.set_weights([(total / len(paths)).astype(np.float32) for total in sums])
    return network


def served(network: keras.Model) -> keras.Model:
    """-> the network to save and export: the same weights, one output of (batch, classes) logits."""
    if not isinstance(network.output, dict):
        return network
    return keras.Model(network.input, network.output["logits"], name=network.name)


def freeze_trunk(network: keras.Model, frozen: bool, norms: bool = False) -> None:
    """Let the head train alone, or all. To be called before `compile`.

    A frozen batch norm keeps its statistics too (Keras' rule). With `norms` the trunk's batch norms train
    on: their scales, shifts and statistics, as in fast.ai.
    """
    for layer in network.layers:
        free = not frozen or layer.name.startswith(HEAD)
        # Part by part, itself first: it sets all within it, but on TensorFlow only where its own value changes.
        for part in layer._flatten_layers():
            part.trainable = free or (norms and _has_norm(part))


def _has_norm(layer: keras.layers.Layer) -> bool:
    """Whether a layer is a batch norm or holds one. What holds one must be trainable for it to be."""
    return any(isinstance(part, keras.layers.BatchNormalization) for part in layer._flatten_layers())


def layer_groups(network: keras.Model, number: int) -> tuple[tuple[str, ...], ...]:
    """-> the paths of all weights in groups, first layers first; the last group is the head.

    The trunk's layers that have weights are dealt out in their order, as evenly as their count allows. One
    group holds all. Raises `ValueError` where there are more groups than layers.
    """
    paths = [weight.path for weight in network.weights]
    if number == 1:
        return (tuple(paths),)
    trunk = list(dict.fromkeys(_owner(path) for path in paths if not path.startswith(HEAD)))
    if not 1 <= number <= len(trunk) + 1:
        raise ValueError(f"`groups` must be from 1 to {len(trunk) + 1}, layers and head. Received: {number}.")
    place = {owner: at * (number - 1) // len(trunk) for at, owner in enumerate(trunk)}
    groups: list[list[str]] = [[] for _ in range(number)]
    for path in paths:
        groups[place.get(_owner(path), number - 1)].append(path)
    return tuple(tuple(group) for group in groups)


def _owner(path: str) -> str:
    """A weight's path -> its layer's."""
    return path.rpartition("/")[0]


@dataclass(frozen=True)
class Transfer:
    """What became of each weight when another run's were loaded: paths, and shapes where they differ."""

    matched: tuple[str, ...]
    shapes: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]  # path, the file's, the network's
    missing: tuple[str, ...]  # of the network; not in the file, so left as they were
    unexpected: tuple[str, ...]  # of the file; not in the network

    def __str__(self) -> str:
        """A line for each kind that occurs."""
        found = len(self.matched)
        lines = [f"{found} of {found + len(self.shapes) + len(self.missing)} weights taken over"]
        lines += [
            f"{path}: left as it was, {theirs} in the file but {ours} here"
            for path, theirs, ours in self.shapes
        ]
        for paths, words in (
            (self.missing, "left as they were, not in the file"),
            (self.unexpected, "not used"),
        ):
            if paths:
                lines.append(f"{words}: {', '.join(paths)}")
        return "\n".join(lines)


def load_by_name(network: keras.Model, path: str | Path) -> Transfer:
    """Take over the weights of a saved network whose paths and shapes fit -> what matched and what did not.

    The classes may differ: then the last layer stays as it was. Raises `ValueError` where nothing fits.
    """
    try:
        saved = load(path)
    except (OSError, ValueError, TypeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path}: no network of fatk's ({reason})") from error
    theirs = {weight.path: weight for weight in saved.weights}
    ours = {weight.path: weight for weight in network.weights}
    common = [name for name in ours if name in theirs]
    shapes = tuple(
        (name, tuple(theirs[name].shape), tuple(ours[name].shape))
        for name in common
        if tuple(theirs[name].shape) != tuple(ours[name].shape)
    )
    wrong = {name for name, _, _ in shapes}
    matched = tuple(name for name in common if name not in wrong)
    if not matched:
        raise ValueError(f"{path}: none of its {len(theirs)} weights fits the network, by name and shape")
    for name in matched:
        ours[name].assign(ops.convert_to_numpy(theirs[name]))
    return Transfer(
        matched,
        shapes,
        missing=tuple(name for name in ours if name not in theirs),
        unexpected=tuple(name for name in theirs if name not in ours),
    )


class Average(keras.layers.Layer):
    """A twin whose weights are a running mean of a network's: (batch, ...) -> the network's output, as served.

    `update` is called once a training step and takes everything: norms' statistics are averaged too, as they
    belong to the weights. (Keras' `use_ema` averages what is trained alone, starts anew with each optimiser,
    and overwrites the network's own weights at the end of each `fit`.) The share of the old mean is
    `momentum`, and less in the first steps, (1 + step) / (10 + step), so that a short run's mean is not of its
    random start. `network` is the twin, to be saved like any other.
    """

    def __init__(self, network: keras.Model, momentum: float = 0.999, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= momentum < 1:
            raise ValueError(f"`momentum` must be from 0 to under 1. Received: {momentum}.")
        self.momentum = momentum
        self.network = keras.models.clone_model(network)
        self.network.set_weights(network.get_weights())
        self.network.trainable = False
        self.steps = self.add_weight(
            shape=(), initializer="zeros", dtype="int32", trainable=False, name="steps"
        )

    def call(self, image):
        """What the twin says."""
        return self.network(image, training=False)

    def update(self, network: keras.Model) -> None:
        """Move the mean towards a network's present weights; the first time, on to them."""
        step = ops.cast(self.steps, "float32")
        old = ops.minimum(self.momentum, (1 + step) / (10 + step)) * ops.cast(step > 0, "float32")
        for mean, weight in zip(self.network.weights, network.weights, strict=True):
            share = ops.cast(old, mean.dtype)
            mean.assign(share * mean + (1 - share) * ops.stop_gradient(weight))
        self.steps.assign_add(1)
