"""Hours of sound that one core prepares in a minute, against soundfile and soxr alone; memory for many clips.

    python -m benchmarks.prepare [--json FILE]

Preparing is `fatk.prepare.prepare`, from a table to shards and a manifest that are not there yet. Its peers decode
and resample the same files, and leave it at that. librosa.load is soundfile and soxr too, by now, so on one core
nothing that decodes with them can be much faster than it is.

Memory is the peak of a whole `python -m fatk.prepare`, imports and all, with as many clips as the table has rows.
"""

import contextlib
import csv
import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # where it is run as a file

import librosa
import numpy as np
import soundfile
import soxr

from benchmarks.timing import Row, arguments, medians, report
from fatk import prepare
from fatk.config import load_config

RATE, OTHER_RATE = 44100, 48000  # Hz
CLIPS = 80  # of each set that is timed
ALONE = "soundfile + soxr"
GOALS = {ALONE: 1 / 1.3, "librosa.load": 3.0}
FEW, MANY = 400, 20_000  # clips whose preparing takes the same memory
SHORT = 0.1  # seconds

# What follows `python -c`: the command, and then the most memory that it had.
PEAK = """
import atexit, runpy
from pathlib import Path

def tell():
    lines = Path("/proc/self/status").read_text().splitlines()
    print(next(line for line in lines if line.startswith("VmHWM")).split()[1])

atexit.register(tell)
runpy.run_module("fatk.prepare", run_name="__main__")
"""


def noise(path, seconds, rate, seed):
    """Write a WAV file."""
    samples = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path


def write_set(folder, audio, names):
    """-> the config of a set of given files, ten classes by turns."""
    folder.mkdir(exist_ok=True)
    with (folder / "table.csv").open("w", newline="") as out:
        rows = [(name, f"class{number % 10}", "CC0") for number, name in enumerate(names)]
        csv.writer(out).writerows([("fname", "labels", "license"), *rows])
    config = folder / "set.toml"
    config.write_text(
        f'[data]\nkind = "csv"\npath = "{audio}"\ntable = "table.csv"\nrecords = "shards"\n'
        f"[features]\nrate = {RATE}\n"
    )
    return config


def compare(case, config, seconds):
    """-> one set's rows."""
    settings = load_config(config)
    shards = Path(settings.data.records)
    with Path(settings.data.table).open(newline="") as lines:
        files = [Path(settings.data.path) / row["fname"] for row in csv.DictReader(lines)]

    def ours():
        shutil.rmtree(shards, ignore_errors=True)
        with contextlib.redirect_stdout(io.StringIO()):
            prepare.prepare(settings)

    def alone():
        for file in files:
            samples, rate = soundfile.read(file, dtype="float32")
            if rate != RATE:
                soxr.resample(samples, rate, RATE)

    def by_librosa():
        for file in files:
            librosa.load(file, sr=RATE)

    took = medians({"fatk": ours, ALONE: alone, "librosa.load": by_librosa}, seconds)
    hours = sum(soundfile.info(file).duration for file in files) / 3600
    print(f"{case}: " + ", ".join(f"{name} {60 * hours / t:.1f} hours/minute" for name, t in took.items()))
    return [Row(f"{case}, one core", peer, took[peer] / took["fatk"], goal) for peer, goal in GOALS.items()]


def peak(folder, clips):
    """-> MB at the most while so many short clips are prepared."""
    audio = folder / f"clips{clips}"
    audio.mkdir()
    sounds = [noise(folder / f"{number}.wav", SHORT, RATE, number) for number in range(50)]
    names = [f"{number:05d}.wav" for number in range(clips)]
    for number, name in enumerate(names):
        os.link(sounds[number % len(sounds)], audio / name)
    config = write_set(folder / f"set{clips}", audio, names)
    command = [sys.executable, "-c", PEAK, "--config", str(config)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return int(done.stdout.splitlines()[-1]) / 1024


def memory(folder):
    """-> the row of memory; none where the system does not tell it."""
    if not Path("/proc/self/status").exists():
        print("memory is left out: it is read from /proc, which this system has not")
        return []
    few, many = peak(folder, FEW), peak(folder, MANY)
    print(f"peak memory: {few:.0f} MB for {FEW} clips, {many:.0f} MB for {MANY}")
    return [Row(f"peak memory, {FEW} against {MANY} clips", f"{FEW} clips", few / many, 1 / 1.1)]


def main():
    asked = arguments(__doc__)
    shared = Path(os.environ.get("FATK_SHARED", ROOT.parent / "shared")) / "data" / "esc10" / "audio"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = memory(folder)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        else:
            print("all cores are used: this system binds no process to one")
        recordings = sorted(file.name for file in shared.glob("*.ogg"))[:: 400 // CLIPS]
        if recordings:
            config = write_set(folder / "esc10", shared, recordings)
            rows += compare("ESC-10, Ogg", config, asked.seconds)
        else:
            print(f"ESC-10 is left out: no recordings in {shared} (or set FATK_SHARED)")
        made = folder / "made"
        made.mkdir()
        names = [noise(made / f"{n}.wav", 5, OTHER_RATE, n).name for n in range(CLIPS)]
        rows += compare("WAV, 48 to 44.1 kHz", write_set(folder / "wav", made, names), asked.seconds)
    report(rows, asked.json)


if __name__ == "__main__":
    main()
