"""Clips a second of a SavedModel, and its first answer after the process began, against the reference's way.

    python -m benchmarks.serve [--json FILE]

One SpecgramNet of random weights (80 classes, APD, 160 bands, D = 1) answers for clips of 5 s, 10 windows each:
exported by our own code, and in PyTorch behind librosa's images. All cores, from waveforms in memory. PyTorch
runs in its default layout, which is the reference's, and in channels last, with which nothing was aimed at. In a
batch it is given six clips at a time, about the 64 images of fast.ai's batches: with more it is slower.

On a processor with AMX the same SavedModel answers in bfloat16 too (`fatk.load(..., precision="bfloat16")`), in a
process of its own that takes turns with the others, beside PyTorch's autocast in channels last.

First answers are those of whole processes that read a WAV file and print what is heard. What they import has been
read from the disk by then.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # where it is run as a file
BUILD = "--build"  # a process of our own that exports, with Keras on TensorFlow
ANSWER = "--answer"  # another that answers in bfloat16

import numpy as np

from benchmarks.timing import Row, arguments, medians, report

CLASSES, CROPS, SECONDS, RATE = 80, 10, 5, 44100
BATCH, PORTION = 32, 6  # clips
REFERENCE, CHANNELS_LAST = "librosa and PyTorch", "the same, channels last"
AUTOCAST = "the same, channels last, bfloat16"
GOALS = {
    "": {REFERENCE: 3.0, CHANNELS_LAST: 0.0},
    ", bfloat16": {REFERENCE: 3.0, CHANNELS_LAST: 0.0, AUTOCAST: 0.0},
}
FIRST, LAUNCHES = 4.0, 3  # seconds, and processes of which the median is taken


def build(folder):
    """Write a run as training leaves it, export it, and write its network for PyTorch."""
    from fatk import runtime

    runtime.quiet_tensorflow()
    import keras
    import torch

    from benchmarks.reference import Network
    from fatk import export, folders
    from fatk.config import load_config
    from fatk.ensemble_runs import read_members
    from models import networks

    run = folders.Run(folder)
    run.config.write_text(f'name = "served"\n[data]\nkind = "demo"\n[evaluate]\ncrops = {CROPS}\n')
    run.classes.write_text("".join(f"class {number}\n" for number in range(CLASSES)))
    config = load_config(run.config)
    keras.utils.set_random_seed(0)
    network = networks.build(config.network, config.features.shape, CLASSES)
    network.save(run.network)
    theirs = Network("specgram", CLASSES)
    count = sum(weight.numel() for weight in theirs.parameters())
    if count != sum(int(np.prod(weight.shape)) for weight in network.trainable_weights):
        raise RuntimeError("the networks differ in size")
    torch.save(theirs.state_dict(), folder / "network.pth")
    export.lay_out(export.Plan(read_members([folder])), {"config.toml": run.config.read_text()}, folder)
    export.build(folder)


def prepare(folder):
    """The same in a process of its own, and a clip to read."""
    subprocess.run(
        [sys.executable, "-m", "benchmarks.serve", BUILD, str(folder)],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": "tensorflow"},
        check=True,
    )
    import soundfile

    clips = sounds()
    soundfile.write(folder / "clip.wav", clips[0], RATE)
    return clips


def sounds():
    """-> clips in memory, the same in each process."""
    at = np.arange(SECONDS * RATE) / RATE
    noise = np.random.default_rng(0).standard_normal((BATCH, len(at)))
    return list((0.3 * np.sin(2 * np.pi * (300 + 100 * at) * at) + 0.05 * noise).astype(np.float32))


def answer(folder):
    """Answer so many clips in bfloat16 as each line asks for, until there are no more lines."""
    import fatk

    tagger, clips = fatk.load(folder, precision="bfloat16"), sounds()
    for line in sys.stdin:
        tagger.predict_batch(clips[: int(line)])
        print("done", flush=True)


@contextmanager
def halves(folder):
    """-> {", bfloat16": what answers so many clips in it}; empty where the processor has no AMX."""
    from fatk.convolutions import has_amx

    if not has_amx():
        print("no AMX here: bfloat16 is not measured", flush=True)
        yield {}
        return
    command = [sys.executable, "-m", "benchmarks.serve", ANSWER, str(folder)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def call(count):
            process.stdin.write(f"{count}\n")
            process.stdin.flush()
            if process.stdout.readline() != "done\n":
                raise RuntimeError("the process that answers in bfloat16 ended")

        yield {", bfloat16": call}
        process.stdin.close()


def throughput(folder, clips, seconds):
    """-> rows of batches of one and of many."""
    import fatk

    tagger = fatk.load(folder)  # before PyTorch, for it decides what TensorFlow brings along
    import torch

    from benchmarks.reference import Tagger

    weights = folder / "network.pth"
    peers = {REFERENCE: Tagger(weights), CHANNELS_LAST: Tagger(weights, torch.channels_last)}
    rows = []
    with halves(folder) as ours:
        if ours:
            peers[AUTOCAST] = Tagger(weights, torch.channels_last, torch.bfloat16)
        ours[""] = lambda count: tagger.predict_batch(clips[:count])
        for batch in (1, BATCH):
            portion = min(batch, PORTION)
            calls = {name: lambda p=peer, n=portion: p.predict(clips[:n]) for name, peer in peers.items()}
            calls |= {f"fatk{name}": lambda c=call, n=batch: c(n) for name, call in ours.items()}
            took = medians(calls, seconds, least=2)
            rates = {name: (portion if name in peers else batch) / spent for name, spent in took.items()}
            told = ", ".join(f"{name} {rate:.2f}" for name, rate in rates.items())
            print(f"batch {batch}, clips a second: {told}", flush=True)
            rows += [
                Row(f"clips a second, batch {batch}{name}", peer, rates[f"fatk{name}"] / rates[peer], goal)
                for name in sorted(ours)
                for peer, goal in GOALS[name].items()
            ]
    return rows


def first_answers(folder):
    """-> rows of processes, from their start to the line that they print."""

    def launch(module, *given):
        command = [sys.executable, "-m", module, *map(str, given)]
        began = time.perf_counter()
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
            line = process.stdout.readline()
            seconds = time.perf_counter() - began
        if process.returncode or not line:
            raise RuntimeError(f"{module} ended with {process.returncode}")
        return seconds

    clip = folder / "clip.wav"
    contestants = {
        "fatk": ("fatk.predict", "--model", folder, clip),
        REFERENCE: ("benchmarks.reference", folder / "network.pth", clip),
    }
    taken = [{name: launch(*given) for name, given in contestants.items()} for _ in range(LAUNCHES)]
    took = {name: statistics.median(one[name] for one in taken) for name in contestants}
    print("first answer, seconds: " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in took.items()))
    case = "first answer after process start"
    return [
        Row(case, f"{FIRST:.0f} seconds", FIRST / took["fatk"], 1.0),
        Row(case, REFERENCE, took[REFERENCE] / took["fatk"], 1.0),
    ]


def main():
    asked = arguments(__doc__)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = prepare(folder)
        rows = throughput(folder, clips, asked.seconds)
        rows += first_answers(folder)
    report(rows, asked.json)


if __name__ == "__main__":
    if BUILD in sys.argv:
        build(Path(sys.argv[sys.argv.index(BUILD) + 1]))
    elif ANSWER in sys.argv:
        answer(Path(sys.argv[sys.argv.index(ANSWER) + 1]))
    else:
        main()
