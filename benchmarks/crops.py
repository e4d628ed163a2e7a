"""Training images a second, and memory, of feeds that crop in the waveform: as clips and sets grow longer.

    python -m benchmarks.crops [--json FILE]

Images of one second, augmented as by default, out of clips of one second and of ten; beside it the reference's
order, which makes the whole clip's image and crops that. Peak memory is of processes that draw the same number
of batches of a set of 400 clips and of one of FSDKaggle2019's size, 24,785 clips of 80 classes.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where it is run as a file

from fatk import runtime

runtime.quiet_tensorflow()  # before anything else imports TensorFlow

import numpy as np

from benchmarks.timing import Row, arguments, medians, report
from fatk.shards import CLIPS_PER_SHARD
from pipelines import datasets, extremes, records
from pipelines.augment_settings import AugmentSettings
from pipelines.domain_settings import UNCHANGED
from pipelines.reading import Examples
from pipelines.settings import FeatureSettings, FeedSettings

DRAW = "--draw"  # a process of our own, whose memory is asked
BATCH, BATCHES, SLOW_BATCHES = 32, 12, 3
SMALL, LARGE = 400, 24_785
SMALL_RATE, CLASSES, DRAWN = 4000, 80, 60  # of the sets whose memory is compared


def make_set(folder, clips, seconds, rate, classes=10):
    """-> a set of noise of an amplitude that glides, in shards as `fatk.prepare` makes them."""
    folder.mkdir()
    random = np.random.default_rng(0)
    samples = round(seconds * rate)
    sound = np.linspace(200, 9000, samples) * random.standard_normal(samples).clip(-3, 3)
    sound = sound.astype(np.int16)
    shards = []
    for first in range(0, clips, CLIPS_PER_SHARD):
        path = folder / f"{first:06d}.tfrecord"
        made = (
            records.example(f"curated/{n}.wav", np.roll(sound, 37 * n), rate)
            for n in range(first, min(first + CLIPS_PER_SHARD, clips))
        )
        records.write_shard(path, made)
        shards.append(str(path))
    targets = np.eye(classes, dtype=np.float32)[np.arange(clips) % classes]
    return Examples(tuple(f"curated/{n}.wav" for n in range(clips)), targets, tuple(shards))


def feed(examples, features, batch=BATCH):
    return datasets.training(examples, features, AugmentSettings(), FeedSettings(batch=batch))


def draws(examples, features, batches=BATCHES):
    """-> a call that gives the seconds of `BATCHES` of a feed of its own, once that runs, by so many of them.

    A feed that waits for its turn would fill its buffers meanwhile, and hand them out for nothing.
    """

    def drawn():
        made = feed(examples, features).as_numpy_iterator()
        next(made)
        began = time.perf_counter()
        for _ in range(batches):
            next(made)
        return (time.perf_counter() - began) * BATCHES / batches

    return drawn


def rates(folder, seconds):
    """-> the rows of images a second."""
    features = FeatureSettings()
    sets = {length: make_set(folder / f"{length}s", 320, length, features.rate) for length in (1, 10)}
    known = {
        length: replace(own, known=extremes.kept(own, features, UNCHANGED, folder / f"{length}s"))
        for length, own in sets.items()
    }
    took = medians(
        {
            "10 s": draws(known[10], features),
            "1 s": draws(known[1], features),
            "10 s, crop last": draws(sets[10], features, SLOW_BATCHES),
        },
        seconds,
        least=3,
        ready=True,  # each leaves out how its feed begins
    )
    print(", ".join(f"{name} {BATCH * BATCHES / own:.0f} images/s" for name, own in took.items()), flush=True)
    case = "1 s crops of 10 s clips"
    return [
        Row(case, "of 1 s clips", took["1 s"] / took["10 s"], 0.8),
        Row(case, "whole image first", took["10 s, crop last"] / took["10 s"], 1.0),
    ]


def draw(folder, clips):
    """What the process does whose memory is asked: measures the set's extremes, then draws batches."""
    features = FeatureSettings(rate=SMALL_RATE, bands=16)
    shards = sorted(str(path) for path in Path(folder).glob("*.tfrecord"))
    clips = int(clips)
    keys = tuple(f"curated/{n}.wav" for n in range(clips))
    examples = Examples(keys, np.eye(CLASSES, dtype=np.float32)[np.arange(clips) % CLASSES], tuple(shards))
    known = extremes.kept(examples, features, UNCHANGED, Path(folder))
    for _ in islice(feed(replace(examples, known=known), features).as_numpy_iterator(), DRAWN):
        pass
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def memory(folder):
    """-> the row of peak memory."""
    peaks = {}
    for clips in (SMALL, LARGE):
        make_set(folder / str(clips), clips, 1.2, SMALL_RATE, CLASSES)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.crops", DRAW, str(folder / str(clips)), str(clips)],
            cwd=Path(__file__).resolve().parents[1],
            env=os.environ,
            capture_output=True,
            text=True,
            check=True,
        )
        peaks[clips] = float(done.stdout.split()[-1])
    print(", ".join(f"{clips} clips: {peak:.0f} MiB" for clips, peak in peaks.items()), flush=True)
    return [Row(f"peak memory, {LARGE} clips", f"{SMALL} clips", peaks[SMALL] / peaks[LARGE], 0.9)]


def main():
    asked = arguments(__doc__)
    with tempfile.TemporaryDirectory() as name:
        rows = rates(Path(name), asked.seconds) + memory(Path(name))
    report(rows, asked.json)


if __name__ == "__main__":
    if DRAW in sys.argv:
        draw(*sys.argv[sys.argv.index(DRAW) + 1 :])
    else:
        main()
