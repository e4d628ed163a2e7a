"""What several rows of results say of the test clips, together: a file that is checked as the tables are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fatk import scoring
from fatk.kept import Kept
from fatk.scoring import read_scores


@dataclass(frozen=True, eq=False)
class Submission:
    """Probabilities of the test clips, and the file that they belong in."""

    path: Path
    names: tuple[str, ...]
    classes: tuple[str, ...]
    chances: np.ndarray  # (clips, classes) probabilities, the mean over rows

    @property
    def is_there(self) -> bool:
        """Whether the file says the same, but for rounding."""
        if not self.path.is_file():
            return False
        names, chances = read_scores(self.path)
        return names == self.names and np.allclose(chances, self.chances, rtol=0, atol=1e-6)

    def write(self) -> None:
        """Renew the file."""
        scoring.write_predictions(self.path, self.names, self.classes, self.chances)


def mean_of(rows: Sequence[Kept], path: Path) -> Submission:
    """The mean of what rows left, each as much as another.

    Raises `ValueError` where one left none, or their test clips or classes differ.
    """
    tests = [row.submission for row in rows if row.submission is not None]
    alike = len({names for names, _ in tests}) == 1 and len({row.classes for row in rows}) == 1
    if len(tests) < len(rows) or not alike:
        raise ValueError("its rows have not the same test clips and classes.")
    return Submission(path, tests[0][0], rows[0].classes, np.mean([chances for _, chances in tests], axis=0))
