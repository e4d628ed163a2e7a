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
    backbone: str = ""  # any image backbone of keras-hub instead: a class name, a preset's name or folder
    pretrained: bool = True  # a preset's weights are taken too, not its architecture alone
    head: Literal["reference", "attention"] = "reference"
    noisy_head: bool = False  # a second head answers for noisy labels while training
    coordinates: bool = False  # a fourth channel tells each row's place on the frequency axis
    # Of activations; weights stay float32. No float16: small gradients vanish in it unless the loss is scaled.
    precision: Literal["float32", "bfloat16"] = "float32"
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

    # "mixup": partners from the batch; "noisy": from the union of a curated batch and a noisy draw;
    # "mixmatch": noisy clips take part without their labels, which the network guesses
    kind: Literal["none", "mixup", "noisy", "mixmatch"] = "mixup"
    # noisy, mixmatch: the other set. "noisy": the noisy training clips, and the curated ones make the epoch;
    # "single": a draw of the whole noisy pool, 100 clips a class with one label each, and all training clips
    # make the epoch, as in the reference's final runs
    partners: Literal["noisy", "single"] = "noisy"
    alpha: float = 0.75  # of Beta(alpha, alpha); 0 leaves everything as it is
    rest: int = 0  # last epochs of each stage that do not mix
    views: int = 2  # mixmatch: augmentations of an unlabelled clip, K
    temperature: float = 0.5  # mixmatch: of sharpening, T
    prior: float = 0.0  # mixmatch: share of the given labels in a guess
    weight: float = 10.0  # mixmatch: of the unlabelled term, at the end of the ramp
    ramp: float = 0.4  # mixmatch: share of all steps over which that weight rises

    def __post_init__(self) -> None:
        """Raise `ValueError` where a value cannot be."""
        _check(
            (not 0 <= self.alpha < inf, f"`alpha` must be finite and at least 0. Received: {self.alpha}."),
            (self.rest < 0, f"`rest` must be at least 0. Received: {self.rest}."),
            (self.views < 1, f"`views` must be at least 1. Received: {self.views}."),
            (
                not 0 < self.temperature < inf,
                f"`temperature` must be finite and above 0. Received: {self.temperature}.",
            ),
            (not 0 <= self.prior <= 1, f"`prior` must be from 0 to 1. Received: {self.prior}."),
            (not 0 <= self.weight < inf, f"`weight` must be finite and at least 0. Received: {self.weight}."),
            (not 0 <= self.ramp <= 1, f"`ramp` must be from 0 to 1. Received: {self.ramp}."),
        )


@dataclass(frozen=True)
class LossSettings:
    """What is made small."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    name: Literal["bce", "focal", "lsep", "lq"] = "bce"
    gamma: float = 2.0  # focal: how much less easy labels count
    q: float = 0.7  # lq: towards 0 cross-entropy, 1 the error that noise moves least
    smoothing: float = 0.0  # targets are drawn towards 0.5 by this share; not for lsep
    noisy_weight: float = 1.0  # of a noisy clip against a curated one; mixmatch: in the labelled term alone

    def __post_init__(self) -> None:
        """Raise `ValueError` where a value cannot be."""
        _check(
            (not 0 <= self.gamma < inf, f"`gamma` must be finite and at least 0. Received: {self.gamma}."),
            (not 0 < self.q <= 1, f"`q` must be above 0 and at most 1. Received: {self.q}."),
            (
                not 0 <= self.smoothing < 1,
                f"`smoothing` must be from 0 to under 1. Received: {self.smoothing}.",
            ),
            (
                bool(self.smoothing) and self.name == "lsep",
                "`smoothing` must be 0 with 'lsep', which ranks and sees no distance from 0 and 1. "
                f"Received: {self.smoothing}.",
            ),
            (
                not 0 <= self.noisy_weight < inf,
                f"`noisy_weight` must be finite and at least 0. Received: {self.noisy_weight}.",
            ),
        )

    @property
    def parameters(self) -> dict[str, float]:
        """What the loss of this name takes."""
        own = {"focal": {"gamma": self.gamma}, "lq": {"q": self.q}}.get(self.name, {})
        return own | ({"smoothing": self.smoothing} if self.smoothing else {})


@dataclass(frozen=True)
class StageSettings:
    """One stretch of training with a schedule of its own."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    epochs: int = 20
    rate: float = 1e-2  # peak learning rate, of the head where groups differ
    first_rate: float | None = None  # of the first layers; between them a geometric spread. None: as `rate`
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    freeze: bool = False  # train the head alone
    freeze_norms: bool = True  # a frozen trunk's batch norms keep scale and statistics too; fast.ai: false

    def __post_init__(self) -> None:
        """Raise `ValueError` where a value cannot be."""
        # A wrong rate is one problem, not two.
        first = self.rate if self.first_rate is None else self.first_rate
        first_wrong = self.first_rate is not None and not 0 < first <= self.rate
        _check(
            (self.epochs < 1, f"`epochs` must be at least 1. Received: {self.epochs}."),
            (not 0 < self.rate < inf, f"`rate` must be finite and above 0. Received: {self.rate}."),
            (
                first_wrong,
                f"`first_rate` must be above 0 and at most `rate`. Received: {first}.",
            ),
        )


@dataclass(frozen=True)
class TrainSettings:
    """Batches, optimiser, and which weights are kept."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    batch: int = 128  # clips
    # weights of the best validation lwlrap, of the last epoch, or the mean of the last `average` epochs'
    keep: Literal["best", "last", "average"] = "best"
    average: int = 5  # epochs whose weights are averaged where `keep` is "average"
    validate_every: int = 1  # epochs; the last one of a stage validates in any case
    init: str = ""  # a run's folder or .keras file whose weights are taken over by name
    weight_decay: float = 0.01  # decoupled
    beta_2: float = 0.99  # of Adam's second moment, as fast.ai has it
    groups: int = 3  # of layers, whose rates differ where a stage has a `first_rate`
    clip: float = 0.0  # largest norm of all gradients together; 0: any
    accumulate: int = 1  # batches whose mean gradient makes one step; a stage's remainder is dropped
    ema: float = 0.0  # momentum of a running mean of the weights, which is judged and kept; 0: none
    shuffle: int = 512  # clips in the shuffle buffer
    checkpoint_minutes: float = 10.0  # between checkpoints within an epoch; each epoch ends with one

    def __post_init__(self) -> None:
        """Raise `ValueError` where a value cannot be."""
        _check(
            (self.batch < 2, f"`batch` must be at least 2. Received: {self.batch}."),
            (self.average < 1, f"`average` must be at least 1. Received: {self.average}."),
            (
                self.validate_every < 1,
                f"`validate_every` must be at least 1. Received: {self.validate_every}.",
            ),
            (
                not 0 <= self.weight_decay < inf,
                f"`weight_decay` must be finite and at least 0. Received: {self.weight_decay}.",
            ),
            (not 0 < self.beta_2 < 1, f"`beta_2` must be between 0 and 1. Received: {self.beta_2}."),
            (self.groups < 2, f"`groups` must be at least 2. Received: {self.groups}."),
            (not 0 <= self.clip < inf, f"`clip` must be finite and at least 0. Received: {self.clip}."),
            (self.accumulate < 1, f"`accumulate` must be at least 1. Received: {self.accumulate}."),
            (not 0 <= self.ema < 1, f"`ema` must be from 0 to under 1. Received: {self.ema}."),
            (self.shuffle < 1, f"`shuffle` must be at least 1. Received: {self.shuffle}."),
            (
                not self.checkpoint_minutes > 0,
                f"`checkpoint_minutes` must be above 0. Received: {self.checkpoint_minutes}.",
            ),
        )
