"""What the feed costs: training on crops of whole clips against the same steps on one batch that stays.

    python -m benchmarks.epoch [--json FILE] [--steps N] [--device]

SpecgramNet on images of one second, made and augmented by tf.data out of clips of 1, 5 and 10 seconds while it
trains: on a CPU they share the cores. On a GPU, or with --device, also with the features made where the network
is (`features.where = "device"`), and there of one batch of sound that stays: what they cost by themselves.
Ratios are of images a second, so 1 is a feed that costs nothing.
"""

import argparse
import itertools
import os
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where it is run as a file
os.environ["KERAS_BACKEND"] = "jax"

from fatk import runtime

runtime.keep_memory()  # as a run does
runtime.quiet_tensorflow()  # before anything else imports TensorFlow
runtime.set_up_jax()

import jax
import keras

from benchmarks.crops import make_set
from benchmarks.timing import Row, medians, report
from fatk import device_features
from models import networks, schedules
from models.settings import NetworkSettings
from models.tagger import Tagger
from pipelines import datasets, extremes
from pipelines.augment_settings import AugmentSettings
from pipelines.domain_settings import UNCHANGED
from pipelines.settings import FeatureSettings, FeedSettings

CLASSES, LENGTHS = 80, (1, 5, 10)  # s, of the clips
BATCHES = 20  # in a set for a GPU, lest epochs be nothing but starts
FIXED, SOUND = "one batch", "one batch of sound, device"
CPU_GOAL, GPU_GOAL = 0.95, 0.90
IDLE, PATIENCE = 0.01, 5.0  # s of processor in a tenth of a second; s until what never falls idle is let be


def settle():
    """Wait until a feed that nobody takes from has filled what it keeps ahead -> seconds of processor till then.

    None where the process does not fall idle: what the feed used cannot be told then.
    """
    began = used = time.process_time()
    until = time.perf_counter() + PATIENCE
    while time.sleep(0.1) or (now := time.process_time()) - used > IDLE:
        used = now
        if time.perf_counter() > until:
            return None
    return used - began


def steps_on(tagger, feed, steps, behind):
    """-> a call that gives the seconds of some steps, as in the middle of an epoch.

    A feed works ahead. In few steps after its start it would be seen to make, beside their batches, those that it
    keeps ready, which a whole epoch pays for once. So it is let fill up before, and where it shares the cores with
    the steps what it still lacks after them (`behind`) is counted as if nothing else ran meanwhile.
    """

    def trained():
        batches = iter(feed())
        next(batches)
        settle()
        every = (batch for batch in batches)  # Keras takes a generator, no iterator
        began = time.perf_counter()
        tagger.fit(every, steps_per_epoch=steps, shuffle=False, verbose=0)
        took = time.perf_counter() - began
        # On a GPU steps are many, and the feed has cores of its own.
        return took + (settle() or 0.0) if behind else took

    return trained


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--json", metavar="FILE", help="write the rows as a list of objects")
    parser.add_argument("--seconds", type=float, default=8.0, help="measured for each feed")
    parser.add_argument("--steps", type=int, help="in a round; otherwise 2, and 60 on a GPU")
    parser.add_argument("--device", action="store_true", help="on a CPU too: features where the network is")
    asked = parser.parse_args()
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):  # where the commands keep theirs
        jax.config.update("jax_compilation_cache_dir", str(Path.home() / ".cache" / "fatk" / "jax"))
    on_gpu = jax.default_backend() == "gpu"
    batch, steps = (128, asked.steps or 60) if on_gpu else (32, asked.steps or 2)
    precision = "bfloat16" if on_gpu else "float32"

    def tagger_of(features):
        network = networks.build(NetworkSettings(precision=precision), features.shape, CLASSES)
        front = device_features.DeviceFeatures(features) if features.where == "device" else None
        made = Tagger(network, front=front)
        made.compile(schedules.optimizer("constant", 1e-3, 1, 1e-2, 0.99), loss=None)
        return made

    def feed_of(examples, features):
        made = datasets.training(examples, features, AugmentSettings(), FeedSettings(batch=batch))
        # Keras takes tuples of a batch from what is no tf.data.Dataset.
        return zip(made.as_numpy_iterator(), strict=True)

    def steps_of(tagger, feed):
        return steps_on(tagger, feed, steps, not on_gpu)

    def same(drawn):
        fixed = keras.tree.map_structure(keras.ops.convert_to_tensor, drawn)
        return partial(itertools.repeat, (fixed,))

    ways = ("host", "device") if on_gpu or asked.device else ("host",)
    clips = BATCHES * batch if on_gpu else max(batch, 160)
    contestants = {}
    with tempfile.TemporaryDirectory() as name:
        sets = {}
        for length in LENGTHS:
            folder = Path(name) / f"{length}s"
            examples = make_set(folder, clips, length, FeatureSettings().rate, CLASSES)
            known = extremes.kept(examples, FeatureSettings(), UNCHANGED, folder)
            sets[length] = replace(examples, known=known)
        for where in ways:
            features = FeatureSettings(where=where)
            tagger = tagger_of(features)
            feeds = {length: partial(feed_of, examples, features) for length, examples in sets.items()}
            (drawn,) = next(feeds[LENGTHS[0]]())
            contestants[FIXED if where == "host" else SOUND] = steps_of(tagger, same(drawn))
            for length, feed in feeds.items():
                contestants[f"1 s crops of {length} s clips, {where}"] = steps_of(tagger, feed)
        for case in {FIXED, SOUND} & contestants.keys():
            contestants[case]()  # compiles what the feeds' steps are too
        took = medians(contestants, asked.seconds, least=3, ready=True)
    rates = ", ".join(f"{name} {batch * steps / own:.1f}" for name, own in took.items())
    print(f"specgram, {precision}, batch {batch}, images a second: {rates}", flush=True)
    goal = GPU_GOAL if on_gpu else CPU_GOAL
    rows = [
        Row(case, FIXED, took[FIXED] / own, 0.0 if case == SOUND else goal)
        for case, own in took.items()
        if case != FIXED
    ]
    report(rows, asked.json)


if __name__ == "__main__":
    main()
