"""Names of files and folders, in one place, and writing that is whole or not at all."""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

RUNS = Path("runs")
RECORDS = Path("records")
DEMO_SET = Path("demo_set")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """-> a name of this process to write under; the file is moved into place when the block is over."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    with whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """A CSV table, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


@dataclass(frozen=True)
class Run:
    """`runs/<name>/` and what lies in it."""

    folder: Path

    @property
    def config(self) -> Path:
        """The resolved settings; evaluation and export read these."""
        return self.folder / "config.toml"

    @property
    def history(self) -> Path:
        """One row an epoch."""
        return self.folder / "history.csv"

    @property
    def summary(self) -> Path:
        """The run in one JSON object."""
        return self.folder / "summary.json"

    @property
    def per_class(self) -> Path:
        """class, lwlrap, weight on the validation clips."""
        return self.folder / "per_class.csv"

    @property
    def predictions(self) -> Path:
        """fname and a probability a class, for the validation clips."""
        return self.folder / "predictions.csv"

    @property
    def submission(self) -> Path:
        """fname and a probability a class, for the test clips."""
        return self.folder / "submission.csv"

    @property
    def network(self) -> Path:
        """The kept weights and architecture, in Keras' format."""
        return self.folder / "best.keras"

    @property
    def averaged(self) -> Path:
        """Networks of the last epochs, whose mean is kept, where `train.keep` is "average"."""
        return self.folder / "averaged"

    @property
    def checkpoints(self) -> Path:
        """What `--resume` goes on from."""
        return self.folder / "checkpoints"

    @property
    def saved_model(self) -> Path:
        """The served tagger."""
        return self.folder / "saved_model"

    @property
    def decisions(self) -> Path:
        """Thresholds that were chosen by the scores, where they were."""
        return self.folder / "decisions.json"

    @property
    def reliability(self) -> Path:
        """A picture of how far probabilities are to be believed, where thresholds were chosen."""
        return self.folder / "reliability.png"

    @property
    def formats(self) -> Path:
        """The network for other runtimes, where they were asked for."""
        return self.folder / "formats"

    @property
    def tensorboard(self) -> Path:
        """Logs for `tensorboard --logdir runs`."""
        return self.folder / "tensorboard"

    @property
    def splits(self) -> Path:
        """fname, pool, split, labels: what trained, validated and was tested on."""
        return self.folder / "splits.csv"

    @property
    def classes(self) -> Path:
        """The vocabulary, a class a line."""
        return self.folder / "classes.txt"
