"""Starting TensorFlow for a SavedModel alone: what stays out, and what comes back afterwards."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

ALONE = """
import gc, os, sys
from fatk import runtime
runtime.quiet_tensorflow(alone=True)
print(*sorted({"keras", "jax", "scipy", "h5py"} & set(sys.modules)))
import h5py, scipy.sparse  # as anybody may afterwards
print(gc.isenabled(), os.environ["TF_ENABLE_ONEDNN_OPTS"])
"""


def alone(**environment: str) -> list[str]:
    """What the program above prints, a line each."""
    kept = {key: value for key, value in os.environ.items() if key != "TF_ENABLE_ONEDNN_OPTS"}
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        cwd=ROOT,
        env=kept | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stderr
    return done.stdout.splitlines()


def test_what_a_saved_model_does_not_need_is_not_imported_but_can_be_later() -> None:
    assert alone() == ["", "True 1"]


def test_the_choice_of_kernels_is_left_to_whom_it_was_made_by() -> None:
    assert alone(TF_ENABLE_ONEDNN_OPTS="0") == ["", "True 0"]
