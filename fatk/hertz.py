"""Where frequencies lie among an image's bands."""

from collections.abc import Sequence

import numpy as np

from pipelines.filterbank import band_edges
from pipelines.settings import FeatureSettings

TICKS = (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000)  # Hz


def places(settings: FeatureSettings, ticks: Sequence[int] = TICKS) -> list[tuple[int, float]]:
    """-> (Hz, the band of that centre, a part of one between two), rising: those of `ticks` within the image."""
    centres = band_edges(settings.bands, float(settings.fmin), settings.highest)[1:-1]
    numbers = np.arange(settings.bands)
    return [
        (tick, float(np.interp(tick, centres, numbers)))
        for tick in ticks
        if centres[0] <= tick <= centres[-1]
    ]
