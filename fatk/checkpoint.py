"""The whole state of a training, exact to the bit, in one file that is there or not.

Keras' own ways (`BackupAndRestore`, `.keras`, `get_state_tree`) lose the state of seed generators or skip
names that do not match in silence. Here every variable of model and optimiser is written in the order of its
making, and a file that does not fit is refused.
"""

import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

KEPT = 2  # the last checkpoints that stay


@dataclass
class Progress:
    """How far a run has come, beside its weights."""

    epoch: int = 0  # finished epochs, over all stages
    batch: int = 0  # finished batches of the epoch after them
    best: float | None = None  # validation lwlrap of the kept weights
    best_epoch: int = 0  # counted from 1; 0: none yet
    seconds: float = 0.0  # of training and validation, in finished epochs
    within: float = 0.0  # seconds of the batches after them
    history: list[dict[str, Any]] = field(default_factory=list)


def variables(tagger: Any) -> list[Any]:
    """Every variable that training changes: weights, seeds, metric sums, optimiser slots."""
    found = [*tagger.variables, *tagger.metrics_variables, *tagger.optimizer.variables]
    return list({id(variable): variable for variable in found}.values())


def save(folder: Path, tagger: Any, progress: Progress) -> Path:
    """Write a checkpoint, whole or not at all, and delete all but the last two -> its path."""
    from keras import ops

    folder.mkdir(parents=True, exist_ok=True)
    arrays = {f"v{n}": ops.convert_to_numpy(v.value) for n, v in enumerate(variables(tagger))}
    path = folder / f"state-{progress.epoch:05d}-{progress.batch:07d}.npz"
    unfinished = path.with_suffix(".tmp")
    try:
        with unfinished.open("wb") as out:
            np.savez(out, progress=np.array(json.dumps(asdict(progress))), **arrays)
            out.flush()
            os.fsync(out.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)  # on a full disk it would take the place of what can be written
    for old in sorted(folder.glob("state-*.npz"))[:-KEPT]:
        old.unlink()
    return path


def latest(folder: Path) -> tuple[Progress, list[np.ndarray]] | None:
    """The newest checkpoint that can be read -> (progress, arrays), None where there is none."""
    for path in sorted(folder.glob("state-*.npz"), reverse=True):
        try:
            # Opened here: where a file is torn, np.load leaves the one that it opened itself open.
            with path.open("rb") as file, np.load(file) as stored:
                progress = Progress(**json.loads(str(stored["progress"])))
                return progress, [stored[f"v{n}"] for n in range(len(stored.files) - 1)]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            continue  # the one before it is whole: it was there when this one was being written
    return None


def restore(tagger: Any, arrays: Sequence[np.ndarray]) -> None:
    """Put a checkpoint's arrays into a model that is built. Raises `ValueError` where they do not fit."""
    targets = variables(tagger)
    if len(targets) != len(arrays) or any(
        tuple(v.shape) != a.shape for v, a in zip(targets, arrays, strict=True)
    ):
        raise ValueError(
            f"the checkpoint does not fit the network: {len(arrays)} arrays for {len(targets)} variables."
        )
    for variable, array in zip(targets, arrays, strict=True):
        variable.assign(array)
