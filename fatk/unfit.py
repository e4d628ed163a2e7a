"""Which clips were in a training batch: drawn again, as every batch follows from seed, epoch and position."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fatk import device_features, folders
from fatk.feeds import Feeds
from pipelines.reading import Examples

FILE = "nan_batch.csv"  # in a run's folder
COLUMNS = ("clip", "mixed_with", "drawn_as", "labels", "image", "target")
_DRAWS = {"": "training", "noisy_": "noisy", "unlabelled_": "unlabelled"}  # prefixes of a batch's keys
_ROW = "row"

Batch = dict[str, np.ndarray]


class Unfit(Exception):
    """A batch gave a loss or gradients that are not finite; the checkpoints are from before it."""

    def __init__(self, stage: int, epoch: int, batch: int | None):
        super().__init__()
        self.stage = stage  # from 0
        self.epoch = epoch  # from 0, over all stages
        self.batch = batch  # from 0; None: all batches were fine, validation was not


@dataclass(frozen=True)
class Drawn:
    """One clip of a batch."""

    clip: str  # pool and file name
    mixed_with: str  # the clip that was mixed in before the image was made; empty: none
    drawn_as: str  # "training", or which set stood beside it
    labels: tuple[str, ...]  # as the clip has them for training
    image: str  # "finite" or "not finite": what the pipeline gave the network
    target: str  # the same of its labels


def explain(run: folders.Run, feeds: Feeds, found: Unfit) -> str:
    """Write the batch's clips to a table -> one line on what happened and where."""
    where = f"stage {found.stage}, epoch {found.epoch + 1}"
    after = "The last checkpoint is from before it"
    if found.batch is None:
        return f"{run.folder}: the validation loss is not finite in {where}. {after}."
    path = run.folder / FILE
    clips = batch_clips(feeds, found.epoch, found.batch)
    _write(path, clips)
    step = found.epoch * feeds.steps + found.batch + 1
    return (
        f"{run.folder}: the loss or its gradients are not finite in {where}, batch {found.batch + 1} of "
        f"{feeds.steps} (step {step}); {path} lists the batch's {len(clips)} clips. {after}."
    )


def batch_clips(feeds: Feeds, epoch: int, batch: int) -> list[Drawn]:
    """The clips of a batch of an epoch, both from 0, in the batch's order."""
    given = _draw(feeds, epoch, batch)
    own = sums = given
    if feeds.config.augment.mix > 0:
        # Where another clip's sound is mixed in, what a clip has is mixed too, rows in a share that is not
        # told: so once without mixing, and once with the mean of both. The draws stay the same.
        own = _draw(feeds, epoch, batch, mix=0.0)
        sums = _draw(feeds, epoch, batch, mix_labels="or")
    clips = []
    for prefix, meaning in _DRAWS.items():
        examples = feeds.noisy if prefix else feeds.train
        if examples is None or prefix + _ROW not in own:
            continue
        rows = own[prefix + _ROW].astype(int)
        others = (2 * sums[prefix + _ROW]).astype(int) - rows
        for place, (row, other) in enumerate(zip(rows, others, strict=True)):
            target = np.nan_to_num(examples.targets[row]) > 0
            clips.append(
                Drawn(
                    examples.keys[row],
                    examples.keys[other] if other != row else "",
                    meaning,
                    tuple(np.asarray(feeds.prepared.classes)[target]),
                    _finite(given, prefix + "image", place),
                    _finite(given, prefix + "target", place),
                )
            )
    return clips


def _draw(feeds: Feeds, epoch: int, batch: int, **augment: object) -> Batch:
    """A batch whose clips tell their rows, under changed settings of mixing."""
    numbered = copy.copy(feeds)
    numbered.config = replace(feeds.config, augment=replace(feeds.config.augment, **augment))  # type: ignore[arg-type]
    numbered.train = _numbered(feeds.train)
    numbered.noisy = _numbered(feeds.noisy) if feeds.noisy is not None else None
    drawn = next(iter(numbered.training(epoch, batch)))
    shown = device_features.painted(device_features.build(feeds.config), drawn)
    return {name: np.asarray(value) for name, value in shown.items()}


def _numbered(examples: Examples) -> Examples:
    """A set whose batches tell each clip's row; exact up to some eight million clips, in float32."""
    return replace(examples, extras=examples.extras | {_ROW: np.arange(len(examples), dtype=np.float32)})


def _finite(batch: Batch, name: str, place: int) -> str:
    return "finite" if name not in batch or np.isfinite(batch[name][place]).all() else "not finite"


def _write(path: Path, clips: list[Drawn]) -> None:
    """A row a clip, whole or not at all."""
    folders.write_rows(
        path,
        COLUMNS,
        [(c.clip, c.mixed_with, c.drawn_as, ",".join(c.labels), c.image, c.target) for c in clips],
    )
