"""Where an image's columns and windows lie in seconds, and its bands in hertz, by a SavedModel's own settings."""

import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from pipelines.filterbank import band_edges
from pipelines.settings import FeatureSettings

_TICKS = (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000)  # hertz


@dataclass(frozen=True)
class Axes:
    """What the columns, bands and windows of a model stand for."""

    look: FeatureSettings  # of the first member: its image is the one that is drawn
    window: float  # seconds: the longest member's

    @classmethod
    def of(cls, folder: Path) -> "Axes | None":
        """As the settings in a SavedModel's assets tell, or those of its run; None where there are none to read."""
        files = sorted((folder / "assets").glob("config*.toml")) or [folder.parent / "config.toml"]
        try:
            trees = [tomllib.loads(path.read_text(encoding="utf-8")) for path in files]
            looks = [FeatureSettings(**tree.get("features", {})) for tree in trees]
        except (OSError, TypeError, ValueError):
            return None
        return cls(looks[0], max(look.seconds for look in looks))

    def extent(self, columns: int, seconds: float) -> tuple[float, float]:
        """Seconds at the left and right edge of a clip's image.

        A short clip is padded evenly on both sides, to `shortest`; what fills a narrow image up is on its right.
        """
        lead = max(self.look.shortest / self.look.rate - seconds, 0.0) / 2
        return 0.0 - lead, columns * self.look.column_seconds - lead

    @cached_property
    def hertz(self) -> tuple[tuple[int, float], ...]:
        """(Hz, the band at which it lies), rising."""
        look = self.look
        centres = band_edges(look.bands, float(look.fmin), look.highest)[1:-1]
        numbers = np.arange(look.bands)
        shown = (tick for tick in _TICKS if centres[0] <= tick <= centres[-1])
        return tuple((tick, round(float(np.interp(tick, centres, numbers)), 2)) for tick in shown)
