"""Where an image's columns and windows lie in seconds, and its bands in hertz, by a SavedModel's own settings."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fatk import hertz
from fatk.tagger import read_settings
from pipelines.settings import FeatureSettings


def window_seconds(folder: Path) -> float | None:
    """What one window spans, as a SavedModel's settings tell: the longest member's; None where they do not.

    One key is asked for, so that settings of a version with others do as well.
    """
    try:
        trees = read_settings(folder)
        spans = [float(tree.get("features", {}).get("seconds", FeatureSettings.seconds)) for tree in trees]
    except (OSError, AttributeError, TypeError, ValueError):
        return None
    return max(spans) if all(0 < span < math.inf for span in spans) else None


@dataclass(frozen=True)
class Axes:
    """What the columns and bands of a model's image stand for."""

    look: FeatureSettings  # of the first member: its image is the one that is drawn

    @classmethod
    def of(cls, folder: Path) -> "Axes | None":
        """As the settings in a SavedModel's assets tell, or those of its run; None where there are none to read.

        None, too, where they have a key that is unknown here: it may say that the image is another.
        """
        try:
            looks = [FeatureSettings(**tree.get("features", {})) for tree in read_settings(folder)]
        except (OSError, TypeError, ValueError):
            return None
        return cls(looks[0])

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
