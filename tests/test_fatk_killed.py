"""Kill -9 at any moment, then `--resume`: history and weights are those of a run that nobody touched.

The long form, twelve epochs killed ten times by the clock and in each kind of writing, takes minutes:
FATK_KILLS=10 python -m pytest tests/test_fatk_killed.py.
"""

import csv
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from fatk import checkpoint
from fatk.callbacks import UNFINISHED
from fatk.config import load_config
from fatk.folders import Run
from fatk.train import train
from tests import small_runs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
KILLS = int(os.environ.get("FATK_KILLS", "1"))  # by the clock
EPOCHS, BATCH = (12, 2) if KILLS > 1 else (3, 4)
STEPS = (small_runs.CLIPS - small_runs.VALID) // BATCH
MIXING = "mixup" if KILLS > 1 else "none"  # the latter compiles in half the time
# A checkpoint after each batch; in the long form by the clock, so that some batches are trained again.
GIVEN = [
    f"train.batch={BATCH}",
    f"train.checkpoint_minutes={0.004 if KILLS > 1 else 1e-9}",
    f"mixing.kind={MIXING}",
    "train.keep=last",  # written each epoch
]
FROZEN = "[[stage]]\nepochs = 1\nfreeze = true\n" if KILLS > 1 else ""
STAGES = f"{FROZEN}[[stage]]\nepochs = {EPOCHS - bool(FROZEN)}\n"


@pytest.fixture(scope="module")
def beeps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_runs.write_beeps(tmp_path_factory.mktemp("beeps") / "set", STAGES)


@pytest.fixture(scope="module")
def undisturbed(beeps: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    place = tmp_path_factory.mktemp("undisturbed")
    with small_runs.quick(), pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        return Run(place / train(load_config(beeps, GIVEN)).run.folder)


class Killed:
    """A run that is started, killed and resumed in processes of its own."""

    def __init__(self, place: Path, config: Path):
        self.place, self.config = place, config
        self.run = Run(place / "runs" / "beeps")

    def start(self, where: str = "-") -> subprocess.Popen:
        arguments = ["--config", str(self.config), *GIVEN]
        arguments += ["--resume"] if self.run.config.exists() else []
        return subprocess.Popen(
            [sys.executable, "-m", "tests.killed_run", where, *arguments],
            cwd=self.place,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def progress(self) -> tuple[int, int]:
        """(finished epochs, batches after them) of the newest checkpoint's name."""
        names = sorted(path.stem for path in self.run.checkpoints.glob("state-*.npz"))
        return (int(names[-1].split("-")[1]), int(names[-1].split("-")[2])) if names else (0, 0)

    def dies(self, where: str) -> None:
        """Run until it kills itself in the writing of a file."""
        process = self.start(where)
        told, _ = process.communicate(timeout=300)
        assert process.returncode == -signal.SIGKILL, told

    def killed(self, after: tuple[int, int], wait: float) -> bool:
        """Run until a checkpoint is at least so far, and a moment more -> whether it was still running then."""
        process = self.start()
        try:
            while process.poll() is None and self.progress() < after:
                time.sleep(0.005)
            time.sleep(wait)
            running = process.poll() is None
        finally:
            process.kill()
            told, _ = process.communicate()
        assert running or process.returncode == 0, told
        return running

    def ends(self) -> str:
        """Run to the end -> what it said."""
        process = self.start()
        told, _ = process.communicate(timeout=300)
        assert process.returncode == 0, told
        return told


@pytest.fixture
def killed(tmp_path: Path, beeps: Path, undisturbed: Run) -> Killed:
    return Killed(tmp_path, beeps)


def history(run: Run) -> list[dict[str, str]]:
    """The rows, timing aside."""
    with run.history.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return [{k: v for k, v in row.items() if k not in ("seconds", "examples_per_second")} for row in rows]


def same(one: Run, two: Run) -> None:
    """History, scores, kept weights, and every variable of the last checkpoint."""
    assert history(one) == history(two)
    assert len(history(one)) == EPOCHS
    for name in ("predictions.csv", "per_class.csv", "splits.csv"):
        assert (one.folder / name).read_text() == (two.folder / name).read_text()
    weights = [keras.saving.load_model(run.network, compile=False).get_weights() for run in (one, two)]
    states = [checkpoint.latest(run.checkpoints)[1] for run in (one, two)]
    for ours, theirs in (weights, states):
        assert len(ours) == len(theirs)
        for first, second in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(first, second)


def test_a_run_that_is_killed_ends_like_one_that_never_was(killed: Killed, undisturbed: Run) -> None:
    draw = random.Random(5)
    run = killed.run
    if KILLS > 1:
        killed.dies("state-:2")
        assert len(list(run.checkpoints.glob("*.tmp"))) == 1
    killed.dies("best.keras:1")
    assert (run.folder / UNFINISHED).exists()
    if KILLS == 1:
        assert not run.network.exists()
        stored = checkpoint.latest(run.checkpoints)
        assert stored is not None
        assert (stored[0].epoch, stored[0].batch) == (0, STEPS - 1)  # in the middle of an epoch

    steps = EPOCHS * STEPS
    moments = sorted(draw.sample(range(STEPS // 2, steps - STEPS // 2), KILLS))
    counted = 0
    for number, moment in enumerate(moments):
        if number == KILLS // 2 and KILLS > 1:
            killed.dies("history.csv:2")
        counted += killed.killed(divmod(moment, STEPS), draw.random() * 0.3)
    assert counted == KILLS
    killed.ends()
    assert not list(run.folder.rglob("*.tmp"))
    assert not (run.folder / UNFINISHED).exists()
    same(run, undisturbed)
