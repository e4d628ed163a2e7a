"""Settings that are allowed, and surely not meant: said beside the set, before the work begins."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fatk.config import Config
from pipelines.filterbank import mel_filterbank
from pipelines.settings import FeatureSettings
from pipelines.splits import Split
from pipelines.tables import NOISY


def doubts(config: Config, split: Split) -> list[str]:
    """-> a line for each setting that does nothing with these features and clips."""
    features, found = config.features, []
    if empty := int((~_shown(features).any(axis=0)).sum()):
        found.append(
            f"{empty} of {features.bands} bands from {features.fmin:g} to {features.highest:g} Hz are narrower "
            "than a bin of the transform, and show nothing: fewer `features.bands`, or a wider range."
        )
    # Partners of all noisy clips.
    drawn = config.mixing.kind in ("noisy", "mixmatch") and config.mixing.partners == "single"
    if config.domain.transfer != "none" and not drawn and not any(clip.pool == NOISY for clip in split.train):
        found.append(
            f"`domain.transfer` = {config.domain.transfer!r} does nothing: no noisy clip is trained on."
        )
    if config.mixing.kind == "noisy" and config.mixing.alpha == 0:
        found.append(
            "`mixing.alpha` = 0 mixes nothing: the noisy clips that `mixing.kind` = 'noisy' draws are unheard."
        )
    return found


def narrow(config: Config, low: Sequence[int], clips: int) -> list[str]:
    """The Hz of clips that were recorded at less than the shards', of all clips -> a line, if bands stay empty.

    Above half of its rate a recording holds nothing, whatever it is resampled to.
    """
    features = config.features
    shown = _shown(features)

    def unheard(hertz: int) -> int:
        """Bands of which no bin is under half of a rate."""
        held = shown[: -(-hertz * features.n_fft // (2 * features.rate))]
        return int((shown.any(axis=0) & ~held.any(axis=0)).sum())

    lacking = {hertz: unheard(hertz) for hertz in set(low)}
    rates = sorted(hertz for hertz in low if lacking[hertz])
    if not rates:
        return []
    span = f"{rates[0]} Hz" if rates[0] == rates[-1] else f"{rates[0]} to {rates[-1]} Hz"
    return [
        f"{len(rates)} of {clips} clips were recorded at {span}, and have nothing in up to {lacking[rates[0]]} of "
        f"{features.bands} bands. If some classes are recorded so more than others, a network hears that; "
        "`features.fmax` bounds the bands."
    ]


def _shown(features: FeatureSettings) -> NDArray[np.bool_]:
    """-> (bins, bands): which bin of the transform a band shows."""
    low, high = float(features.fmin), features.highest
    return mel_filterbank(features.rate, features.n_fft, features.bands, low, high) > 0
