"""Images a second of a whole training step: Keras on JAX against native PyTorch and Keras on TensorFlow.

    python -m benchmarks.train_step [--json FILE] [--case NETWORK:PRECISION ...] [--batch N] [--size N]

A step is forward, binary cross-entropy, backward, and AdamW's update, on one batch that stays where it is; ours
is that of a run, which counts loss and lwlrap too, in a process that keeps its memory as a run's does.
PyTorch runs in its default layout and in channels last, with its own autocast for bfloat16. On a CPU all have
as many threads as there are cores; the goal there is to be ahead of the one and level with the other. On a GPU
it is 1.2 times both. By default a CPU is asked for SpecgramNet in float32 alone, for compiling the rest takes
minutes; what was compiled once is kept. The others by name:

    python -m benchmarks.run_all train_step --case specgram:bfloat16 --case densenet121:float32
"""

import argparse
import importlib.util
import itertools
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # where it is run as a file
WORKER = "--worker"  # a process of our own that trains with Keras, a round for each line it reads
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # a GPU is shared with PyTorch
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.timing import Row, medians, report

NETWORKS = ("specgram", "densenet121")
PRECISIONS = ("float32", "bfloat16")
CLASSES = 80
RATE, DECAY, MOMENTA = 1e-3, 1e-2, (0.9, 0.99)
TENSORFLOW = "Keras on TensorFlow"
# Nothing was aimed at with TensorFlow: it is what a user may choose instead.
GOALS = {"PyTorch": 1.0, "PyTorch, channels last": 1.0, TENSORFLOW: 0.0}
GPU_GOAL = 1.2


def batch_of(batch, size):
    random = np.random.default_rng(0)
    image = random.random((batch, size, size, 3), dtype=np.float32)
    return image, (random.random((batch, CLASSES)) < 0.05).astype(np.float32)


def by_keras(name, precision, batch, size, steps):
    """-> a round of `steps` steps, and the number of weights that it trains."""
    import keras

    from models import networks, schedules
    from models.settings import NetworkSettings
    from models.tagger import Tagger

    network = networks.build(NetworkSettings(name=name, precision=precision), (size, size, 3), CLASSES)
    tagger = Tagger(network)
    tagger.compile(schedules.optimizer("constant", RATE, 1, DECAY, MOMENTA[1]), loss=None)
    image, target = (keras.ops.convert_to_tensor(array) for array in batch_of(batch, size))
    data = ({"image": image, "target": target},)

    def step_by_step():
        tagger.fit((data for _ in itertools.count()), steps_per_epoch=steps, shuffle=False, verbose=0)

    return step_by_step, sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)


def by_torch(name, precision, batch, size, steps, channels_last):
    """-> a round of `steps` steps, and the number of weights that it trains."""
    import torch
    from torch import nn

    from benchmarks.reference import Network

    torch.set_num_threads(os.cpu_count() or 1)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True  # as JAX does by itself
    device = "cuda" if torch.cuda.is_available() else "cpu"
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = Network(name, CLASSES).to(device, memory_format=layout)
    image, target = (torch.from_numpy(array).to(device) for array in batch_of(batch, size))
    image = image.permute(0, 3, 1, 2).contiguous(memory_format=layout)
    optimizer = torch.optim.AdamW(
        network.parameters(), RATE, MOMENTA, weight_decay=DECAY, fused=device == "cuda" or None
    )
    loss_of = nn.BCEWithLogitsLoss()

    def step_by_step():
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
                logits = network(image)
            loss = loss_of(logits.float(), target)
            loss.backward()
            optimizer.step()
        loss.item()  # waits for the device

    return step_by_step, sum(weight.numel() for weight in network.parameters())


class Worker:
    """Keras on a backend: a call trains a round in a process of its own, which waits between calls."""

    def __init__(self, backend, *arguments):
        self.backend = backend
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.train_step", WORKER, *map(str, arguments)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"KERAS_BACKEND": backend},
            text=True,
        )
        self.count = int(self.answer())  # weights that it trains

    def __call__(self):
        """A round."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self.answer()

    def answer(self):
        """-> the next line that it prints."""
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"Keras on {self.backend}: its process ended with {self.process.wait()}")
        return line

    def close(self):
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def work(name, precision, batch, size, steps):
    """A worker's life."""
    from fatk import runtime

    runtime.keep_memory()
    if os.environ["KERAS_BACKEND"] == "jax":
        runtime.set_up_jax()
    else:
        runtime.quiet_tensorflow()
    step_by_step, count = by_keras(name, precision, int(batch), int(size), int(steps))
    print(count, flush=True)
    for _ in sys.stdin:
        step_by_step()
        print("done", flush=True)


def missing(name, on_gpu):
    """-> what keeps a contestant from running, in words; empty where it can run."""
    if name == TENSORFLOW and on_gpu:
        return "would run on the CPU"
    needs = {TENSORFLOW: "tensorflow", "densenet121": "keras_hub"}.get(name, "keras")
    return "" if importlib.util.find_spec(needs) else f"{needs} is not installed"


def compare(case, asked, on_gpu):
    """-> one case's rows."""
    name, precision = case
    batch = asked.batch or (32 if on_gpu or name == "specgram" else 8)
    steps = 20 if on_gpu else 1
    given = (name, precision, batch, asked.size, steps)
    default, theirs = by_torch(*given, channels_last=False)
    workers = [ours := Worker("jax", *given)]
    try:
        if ours.count != theirs:
            raise RuntimeError(f"{name}: {ours.count} weights in Keras, {theirs} in PyTorch")
        contestants = {
            "fatk": ours,
            "PyTorch": default,
            "PyTorch, channels last": by_torch(*given, channels_last=True)[0],
        }
        if reason := missing(TENSORFLOW, on_gpu):
            print(f"{TENSORFLOW}: left out, {reason}")
        else:
            workers.append(Worker("tensorflow", *given))
            contestants[TENSORFLOW] = workers[-1]
        took = medians(contestants, asked.seconds, least=3)
    finally:
        for worker in workers:
            worker.close()
    title = f"{name}, {precision}, batch {batch}"
    rates = ", ".join(f"{peer} {batch * steps / seconds:.1f}" for peer, seconds in took.items())
    print(f"{title}, images a second: {rates}", flush=True)
    return [
        Row(title, peer, took[peer] / took["fatk"], GPU_GOAL if on_gpu else GOALS[peer])
        for peer in took
        if peer != "fatk"
    ]


def case_of(text):
    """`NETWORK:PRECISION` -> both."""
    name, _, precision = text.partition(":")
    if name not in NETWORKS or precision not in PRECISIONS:
        known = ", ".join(f"{a}:{b}" for a in NETWORKS for b in PRECISIONS)
        raise argparse.ArgumentTypeError(f"must be one of {known}. Received: {text!r}.")
    return name, precision


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--json", metavar="FILE", help="write the rows as a list of objects")
    parser.add_argument("--seconds", type=float, default=2.0, help="measured for each peer of each case")
    parser.add_argument("--case", type=case_of, action="append", metavar="NETWORK:PRECISION")
    parser.add_argument("--batch", type=int, help="images; otherwise 32, and 8 for DenseNet121 on a CPU")
    parser.add_argument("--size", type=int, default=160, help="rows and columns of an image")
    asked = parser.parse_args()

    import torch

    on_gpu = torch.cuda.is_available()
    every = [(name, precision) for name in NETWORKS for precision in PRECISIONS]
    rows = []
    for case in asked.case or (every if on_gpu else every[:1]):
        if reason := missing(case[0], on_gpu):
            print(f"{case[0]}: left out, {reason}")
            continue
        rows += compare(case, asked, on_gpu)
    report(rows, asked.json)


if __name__ == "__main__":
    if WORKER in sys.argv:
        work(*sys.argv[sys.argv.index(WORKER) + 1 :])
    else:
        main()
