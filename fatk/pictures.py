"""Pictures of images that the network sees, with axes in seconds and hertz."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no screen is needed, nor asked for

import matplotlib.pyplot as plt
import numpy as np

from fatk import hertz
from pipelines.formats import CHANNELS, MEANINGS
from pipelines.settings import FeatureSettings

_APART = 0.07  # share of the height that two labels need between them


def hertz_axis(axis: plt.Axes, settings: FeatureSettings) -> None:
    """Label the vertical axis of an image of bands in hertz, at the bands' centres."""
    shown: list[tuple[float, int]] = []
    for tick, row in reversed(hertz.places(settings)):
        if not shown or shown[-1][0] - row >= _APART * settings.bands:
            shown.append((row, tick))
    axis.set_yticks([row for row, _ in shown])
    axis.set_yticklabels([f"{tick / 1000:g} kHz" if tick >= 1000 else f"{tick} Hz" for _, tick in shown])


def draw_image(image: np.ndarray, settings: FeatureSettings, seconds: float, title: str, path: Path) -> None:
    """(bands, frames, channels) uint8 -> a PNG with a panel for each distinct channel.

    Column 0 of a padded short clip stands before the clip's own beginning; the axis counts from the clip's.
    """
    letters = list(dict.fromkeys(CHANNELS[settings.format]))
    step = settings.column_seconds
    lead = settings.lead(seconds)
    extent = (-lead, image.shape[1] * step - lead, -0.5, image.shape[0] - 0.5)
    figure, axes = plt.subplots(
        len(letters),
        1,
        figsize=(9, 0.7 + 2.3 * len(letters)),
        sharex=True,
        layout="constrained",
        squeeze=False,
    )
    for axis, letter in zip(axes[:, 0], letters, strict=True):
        channel = image[..., CHANNELS[settings.format].index(letter)]
        drawn = axis.imshow(
            channel, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=0, vmax=255
        )
        hertz_axis(axis, settings)
        axis.set_title(MEANINGS[letter], loc="left", fontsize=10)
        axis.set_ylabel("frequency")
        figure.colorbar(drawn, ax=axis, pad=0.01, label="level, 0 to 255")
    axes[-1, 0].set_xlabel("time (s)")
    figure.suptitle(title, parse_math=False)  # a file may be called $1_$2.wav
    figure.savefig(path, dpi=110, format="png")
    plt.close(figure)
