"""Labels of clips to rows of targets."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.sources import Clip


def multi_hot(clips: Sequence[Clip], classes: Sequence[str]) -> NDArray[np.float32]:
    """-> (clips, classes) of 0 and 1."""
    column = {name: number for number, name in enumerate(classes)}
    targets = np.zeros((len(clips), len(classes)), np.float32)
    for row, clip in enumerate(clips):
        for label in clip.labels:
            targets[row, column[label]] = 1
    return targets
