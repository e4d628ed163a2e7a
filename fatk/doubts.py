"""Settings that are allowed, and surely not meant: said beside the set, before the work begins."""

from fatk.config import Config
from pipelines.filterbank import mel_filterbank
from pipelines.splits import Split
from pipelines.tables import NOISY


def doubts(config: Config, split: Split) -> list[str]:
    """-> a line for each setting that does nothing with these features and clips."""
    features, found = config.features, []
    bank = mel_filterbank(
        features.rate, features.n_fft, features.bands, float(features.fmin), features.highest
    )
    if empty := int((bank.sum(axis=0) == 0).sum()):
        found.append(
            f"{empty} of {features.bands} bands from {features.fmin:g} to {features.highest:g} Hz are narrower "
            "than a bin of the transform, and show nothing: fewer `features.bands`, or a wider range."
        )
    drawn = (
        config.mixing.kind in ("noisy", "mixmatch") and config.mixing.partners == "single"
    )  # of all noisy clips
    if config.domain.transfer != "none" and not drawn and not any(clip.pool == NOISY for clip in split.train):
        found.append(
            f"`domain.transfer` = {config.domain.transfer!r} does nothing: no noisy clip is trained on."
        )
    return found
