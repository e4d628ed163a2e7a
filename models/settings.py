"""Settings of networks, mixing and optimisation: frozen dataclasses that check themselves."""

from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar, Literal

_STRICT: dict[str, Any] = {"extra": "forbid", "strict": True}  # see pipelines/settings.py


def _check(*wrong: tuple[bool, str]) -> None:
    """Raise one `ValueError` with every message whose condition holds."""
    lines = [message for condition, message in wrong if condition]
    if lines:
        raise ValueError("\n".join(lines))


@dataclass(frozen=True)
class NetworkSettings:
    """What maps an image to a score a class."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    name: Literal["specgram", "densenet121"] = "specgram"
    precision: Literal["float32", "bfloat16", "float16"] = "float32"  # of activations; weights stay float32
    dropout: float = 0.5  # before the last dense layer; half of it before the first

    def __post_init__(self) -> None:
        """Raise `ValueError` where a value cannot be."""
        _check(
            (not 0 <= self.dropout < 1, f"`dropout` must be from 0 to under 1. Received: {self.dropout}."),
        )


@dataclass(frozen=True)
class MixingSettings:
    """Mixing of images and targets on the device."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    kind: Literal["none", "mixup"] = "mixup"
    alpha: float = 0.75  # of Beta(alpha, alpha); 0 leaves everything as it is

    def __post_init__(self) -> None:
        """Raise `ValueError` where a value cannot be."""
        _check((not 0 <= self.alpha < inf, f"`alpha` must be finite and at least 0. Received: {self.alpha}."))


@dataclass(frozen=True)
class StageSettings:
    """One stretch of training with a schedule of its own."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    epochs: int = 20
    rate: float = 1e-2  # peak learning rate
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    freeze: bool = False  # train the head alone

    def __post_init__(self) -> None:
        """Raise `ValueError` where a value cannot be."""
        _check(
            (self.epochs < 1, f"`epochs` must be at least 1. Received: {self.epochs}."),
            (not 0 < self.rate < inf, f"`rate` must be finite and above 0. Received: {self.rate}."),
        )


@dataclass(frozen=True)
class TrainSettings:
    """Batches, optimiser, and which weights are kept."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    batch: int = 128  # clips
    keep: Literal["best", "last"] = "best"  # weights of the best validation lwlrap, or of the last epoch
    weight_decay: float = 0.01  # decoupled
    beta_2: float = 0.99  # of Adam's second moment, as fast.ai has it
    shuffle: int = 512  # clips in the shuffle buffer
    checkpoint_minutes: float = 10.0  # between checkpoints within an epoch; each epoch ends with one

    def __post_init__(self) -> None:
        """Raise `ValueError` where a value cannot be."""
        _check(
            (self.batch < 2, f"`batch` must be at least 2. Received: {self.batch}."),
            (
                not 0 <= self.weight_decay < inf,
                f"`weight_decay` must be finite and at least 0. Received: {self.weight_decay}.",
            ),
            (not 0 < self.beta_2 < 1, f"`beta_2` must be between 0 and 1. Received: {self.beta_2}."),
            (self.shuffle < 1, f"`shuffle` must be at least 1. Received: {self.shuffle}."),
            (
                not self.checkpoint_minutes > 0,
                f"`checkpoint_minutes` must be above 0. Received: {self.checkpoint_minutes}.",
            ),
        )
