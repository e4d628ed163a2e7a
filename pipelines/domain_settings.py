"""Settings of noise and domain: a frozen dataclass that checks itself, on the standard library alone."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from pipelines.settings import Problems

Background = Literal["none", "stationary", "global"]
TransferKind = Literal["none", "envelope", "normalise"]


@dataclass(frozen=True)
class DomainSettings:
    """What is taken out of every clip, and what makes noisy training clips like curated ones."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}

    # Of every clip, in training and in the served model. "stationary": each band's steady power is subtracted
    # before decibels; "global": uint8 amplitudes under the mean of the clip's image become 0.
    background: Background = "none"
    # Of noisy training clips only. "envelope": gain per band towards the mean curated envelope of the clip's
    # classes; "normalise": the noisy domain's mean and deviation per band are taken to the curated ones. What
    # `augment.mix` mixes into a clip goes with it, wherever that is taken.
    transfer: TransferKind = "none"

    def __post_init__(self) -> None:
        """Raise `ValueError` where a value cannot be."""
        problems = Problems()
        for name, kind in (("background", Background), ("transfer", TransferKind)):
            if getattr(self, name) not in get_args(kind):
                problems.append(
                    f"`{name}` must be one of {', '.join(get_args(kind))}. Received: {getattr(self, name)!r}."
                )
        problems.raise_any()


UNCHANGED = DomainSettings()  # clips as they are
