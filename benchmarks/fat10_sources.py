r"""fat10 as two folds of its curated clips that share no recording: how a recipe does on sounds it has not heard.

    python -m benchmarks.fat10_sources --out records/fat10_by_source
    python -m fatk.crossval --config C data.path=records/fat10_by_source data.records=records/fat10_unheard \
      data.fold=1 split.kind=auto name=NAME

fat10's curated clips are mixed from folds 1 and 2 of ESC-10, its test clips from fold 5. A plain split of the
curated clips puts the same recordings on both sides and so flatters; the test clips know no such help. Here a clip
whose recordings are all of fold 1, or all of fold 2, keeps that fold; one of both, or with a recording that is not
clearly told, is left out. Nothing of ESC-10 is trained on: it only tells which clips belong together.

A recording is found by phase correlation (Knapp & Carter 1976, PHAT weighting): a clip that contains it has one
sharp peak at the shift between both.
"""

import argparse
import csv
import os
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # where it is run as a file

import numpy as np
import soundfile
import soxr

RATE = 8820  # Hz: a fifth of the clips' own, enough to tell recordings apart
SIZE = 1 << 18  # samples of a transform: longer than two clips of 10 s, so that shifts do not wrap around
CLEAR = 1.5  # times the highest peak of the other fold's recordings: less is no find
FOLDS = (1, 2)
LINKED = ("train_curated", "train_noisy", "test", "train_noisy.csv", "sample_submission.csv")


def spectrum(path):
    """-> (SIZE / 2 + 1,) complex64: of the first difference, as low notes alone would correlate with anything."""
    wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    wave = soxr.resample(wave.mean(axis=1), rate, RATE)
    return np.fft.rfft(np.diff(wave), SIZE).astype(np.complex64)


def peak(one, other):
    """-> the highest phase correlation over all shifts, in standard deviations."""
    product = one * np.conj(other)
    correlation = np.fft.irfft(product / (np.abs(product) + 1e-9), SIZE)
    return float(correlation.max() / correlation.std())


def folds_of(clip, labels, recordings):
    """-> the fold of each label's recording, None where it is not clear. `recordings`: {(label, fold): spectra}."""
    own = spectrum(clip)
    found = []
    for label in labels:
        heights = {fold: max(peak(own, other) for other in recordings[label, fold]) for fold in FOLDS}
        lower, higher = sorted(FOLDS, key=heights.__getitem__)
        found.append(higher if heights[higher] >= CLEAR * heights[lower] else None)
    return found


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def main():
    parser = argparse.ArgumentParser(prog="benchmarks.fat10_sources", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a folder to make")
    out = parser.parse_args().out
    data = Path(os.environ.get("FATK_SHARED", ROOT.parent / "shared")) / "data"
    if not (data / "fat10").is_dir() or not (data / "esc10").is_dir():
        sys.exit(f"fat10_sources: {data} must hold fat10 and esc10. FATK_SHARED names another folder.")
    if out.exists():
        sys.exit(f"fat10_sources: {out} is there already.")
    recordings = {}
    for row in rows_of(data / "esc10/esc10.csv"):
        if int(row["fold"]) in FOLDS:
            own = recordings.setdefault((row["labels"], int(row["fold"])), [])
            own.append(spectrum(data / "esc10/audio" / row["fname"]))
    kept, counts = [], Counter()
    for row in rows_of(data / "fat10/train_curated.csv"):
        found = set(
            folds_of(data / "fat10/train_curated" / row["fname"], row["labels"].split(","), recordings)
        )
        told = found.pop() if len(found) == 1 else None
        counts[told] += 1
        if told is not None:
            kept.append((row["fname"], row["labels"], told))
    out.mkdir(parents=True)
    for name in LINKED:
        (out / name).symlink_to((data / "fat10" / name).resolve())
    with (out / "train_curated.csv").open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows([("fname", "labels", "fold"), *kept])
    print(f"{out}: {counts[1]} clips of fold 1, {counts[2]} of fold 2; {counts[None]} left out")


if __name__ == "__main__":
    main()
