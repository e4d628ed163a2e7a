"""How long one waits: for help, for a wrong config to be refused, for the first training step to be over.

    python -m benchmarks.start [--json FILE]

Times are of whole processes. The step is of `python -m fatk.train`: SpecgramNet, 160 bands, 32 images, on the
embedded demo set whose shards are there; once with an empty compilation cache, then with what that left. The
goal is for the second.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # where it is run as a file

from benchmarks.timing import Row, arguments, medians, report

DEMO = ROOT / "fatk" / "configs" / "demo.toml"
HELP, REFUSAL, STEP = 0.3, 0.5, 20.0  # seconds
WARM = 2  # runs
PYTHON = (sys.executable,)

# What follows `python -c`: training as it is, but that it ends with its first step, whose loss has arrived.
FIRST_STEP = """
import os, runpy
from fatk import runtime

start = runtime.start

def start_and_watch(config):
    start(config)
    from fatk.callbacks import Keeper

    def leave(self, batch, logs=None):
        print("loss", float(logs["loss"]), flush=True)
        os._exit(0)

    Keeper.on_train_batch_end = leave

runtime.start = start_and_watch
runpy.run_module("fatk.train", run_name="__main__")
"""


def process(*command, folder=ROOT, code=0, **environment):
    """Run to the end -> what was printed. Raises where it does not end with `code`."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != code:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def short():
    """-> rows of what needs no framework."""
    train = (*PYTHON, "-m", "fatk.train")
    took = medians(
        {
            "bare Python": lambda: process(*PYTHON, "-c", "pass"),
            "help": lambda: process(*train, "--help"),
            "refusal": lambda: process(*train, "--config", str(DEMO), "mixng.alpha=0.4", code=2),
        },
        1.0,
    )
    print(", ".join(f"{name} {seconds:.2f} s" for name, seconds in took.items()))
    return [
        Row("fatk.train --help", f"{HELP} seconds", HELP / took["help"], 1.0),
        Row("a bad config refused", f"{REFUSAL} seconds", REFUSAL / took["refusal"], 1.0),
    ]


def first_step(folder):
    """-> rows of the first step; what is compiled is kept in the folder."""
    given = ("--config", str(DEMO), "data.path=demo_set", "data.records=records", "name=run")
    given += ("features.bands=160", "network.name=specgram", "train.batch=32")
    process(*PYTHON, "-m", "fatk.prepare", *given, folder=folder)

    def seconds():
        shutil.rmtree(folder / "runs", ignore_errors=True)
        began = time.perf_counter()
        told = process(
            *PYTHON,
            "-c",
            FIRST_STEP,
            *given,
            folder=folder,
            JAX_COMPILATION_CACHE_DIR=str(folder / "kept"),
        )
        taken = time.perf_counter() - began
        if not told.splitlines()[-1].startswith("loss"):
            raise RuntimeError(f"no step was seen: {told}")
        return taken

    cold = seconds()
    warm = statistics.median(seconds() for _ in range(WARM))
    began = time.perf_counter()
    process(*PYTHON, "-c", "import tensorflow, keras", KERAS_BACKEND="jax")
    imports = time.perf_counter() - began
    print(
        f"first step: {cold:.1f} s with nothing compiled, {warm:.1f} s with what that left; "
        f"{imports:.1f} s to import TensorFlow, Keras and JAX alone"
    )
    peer = f"{STEP:g} seconds"
    return [
        Row("first step, cache filled", peer, STEP / warm, 1.0),
        Row("first step, cache empty", peer, STEP / cold, 0.0),
    ]


def main():
    asked = arguments(__doc__)
    rows = short()
    with tempfile.TemporaryDirectory() as folder:
        rows += first_step(Path(folder))
    report(rows, asked.json)


if __name__ == "__main__":
    main()
