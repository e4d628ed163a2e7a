"""Where an image's columns and windows lie in seconds, and its bands in hertz, by a SavedModel's own settings."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fatk import hertz
from fatk.tagger import read_settings
from pipelines.settings import FeatureSettings


@dataclass(frozen=True)
class Axes:
    """What the columns, bands and windows of a model stand for."""

    look: FeatureSettings  # of the first member: its image is the one that is drawn
    window: float  # seconds: the longest member's

    @classmethod
    def of(cls, folder: Path) -> "Axes | None":
        """As the settings in a SavedModel's assets tell, or those of its run; None where there are none to read."""
        try:
            looks = [FeatureSettings(**tree.get("features", {})) for tree in read_settings(folder)]
        except (OSError, TypeError, ValueError):
            return None
        return cls(looks[0], max(look.seconds for look in looks))

    def extent(self, columns: int, seconds: float) -> tuple[float, float]:
        """Seconds at the left and right edge of a clip's image.

        A short clip is padded evenly on both sides, to `shortest`; what fills a narrow image up is on its right.
        """
        lead = self.look.lead(seconds)
        return 0.0 - lead, columns * self.look.column_seconds - lead

    @cached_property
    def hertz(self) -> tuple[tuple[int, float], ...]:
        """(Hz, the band at which it lies), rising."""
        return tuple((tick, round(place, 2)) for tick, place in hertz.places(self.look))
