"""What a run logs: a frozen dataclass that checks itself."""

from dataclasses import dataclass
from typing import Any, ClassVar

_STRICT: dict[str, Any] = {"extra": "forbid", "strict": True}  # see pipelines/settings.py


@dataclass(frozen=True)
class LogSettings:
    """What a run shows in TensorBoard."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    images: int = 8  # training images, before and after mixing
    clips: int = 6  # validation clips with their sound, of the worst and of the best so many
    every: int = 5  # epochs between values a class, first-layer filters and histograms
    histograms: bool = True  # of each layer's weights

    def __post_init__(self) -> None:
        """Raise `ValueError` where a value cannot be."""
        numbers = ("images", "clips", "every")
        low = [f"`{name}` must be at least 1." for name in numbers if getattr(self, name) < 1]
        if low:
            raise ValueError("\n".join(low))
