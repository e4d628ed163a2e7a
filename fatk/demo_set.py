"""The demo set: clips mixed from synthesised sounds, on disk in the layout of Kaggle's FSDKaggle2019.

A clip is planned (what sounds when and how loud, and which labels its table gives it), then rendered.
Both depend on seed, pool and index alone: a clip stays the same however many others are asked for.
"""

import csv
import io
import json
import wave
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fatk.demo_sounds import CLASSES, LOWEST_RATE, Sound, between, phone, render_sound, room, stream
from fatk.folders import whole

__all__ = ["CLASSES", "POOLS", "Clip", "Sound", "plan_clip", "render_clip", "write_demo_set"]

POOLS = ("train_curated", "train_noisy", "test")  # the order is part of the seed
FORMAT = 1  # goes up whenever the same parameters would give other files


@dataclass(frozen=True)
class Clip:
    """The recipe of a clip: what is heard in it (`truth`) and what its table says (`given`)."""

    key: tuple[int, int, int]  # seed, place in POOLS, index in the pool
    name: str  # 8 hex digits and .wav
    seconds: float
    peak: float  # decibels re full scale
    background: float  # decibels re the sounds
    sounds: tuple[Sound, ...]
    given: tuple[str, ...]

    @property
    def truth(self) -> tuple[str, ...]:
        """The labels of the sounds, in alphabetical order."""
        return tuple(sorted(sound.label for sound in self.sounds))


def plan_clip(seed: int, pool: str, index: int) -> Clip:
    """The recipe of one clip: 0.7 to 3 s, one to three classes, overlapping or one after the other.

    The first class is `CLASSES[index % 10]`: a pool of ten clips or more has them all.
    """
    key = (seed, POOLS.index(pool), index)
    rng = stream(*key, 0)
    count = 1 + int(np.searchsorted((0.55, 0.9), rng.random(), side="right"))
    order = [0, *(1 + np.argsort(rng.random(len(CLASSES) - 1)))]
    first, *others = (CLASSES[(index + step) % len(CLASSES)] for step in order)
    labels = [first, *others[: count - 1]]
    seconds = between(rng, 0.7 + 0.4 * (count - 1), 3)
    in_turn = rng.random() < 0.35
    sounds = []
    for turn, place in enumerate(np.argsort(rng.random(count))):
        length = seconds / count if in_turn else seconds * between(rng, 0.7, 1)
        start = turn * length if in_turn else (seconds - length) * rng.random()
        sounds.append(Sound(labels[place], start, length, between(rng, -8, 0)))
    given = set(labels)
    error = rng.random() if pool == "train_noisy" else 1.0
    if error < 0.38:  # one label stands for another, or is left out where there are more
        given.remove(first)
    if error < 0.25 or 0.38 <= error < 0.5 or not given:
        given.add(others[-1])
    # An odd multiplier permutes the 32-bit numbers: names look random and never meet.
    number = ((index * len(POOLS) + key[1]) * 2_654_435_761 + seed * 40_503) % 2**32
    peak, background = between(rng, -15, -1), between(rng, -50, -30)
    return Clip(key, f"{number:08x}.wav", seconds, peak, background, tuple(sounds), tuple(sorted(given)))


def render_clip(clip: Clip, rate: int) -> NDArray[np.int16]:
    """`(samples,)` int16, the clip at `rate` Hz; the noisy pool through a phone."""
    mixed = np.zeros(round(clip.seconds * rate))
    for number, sound in enumerate(clip.sounds):
        heard, first = render_sound(sound, stream(*clip.key, 1 + number), rate), int(sound.start * rate)
        mixed[first : first + heard.size] += heard[: mixed.size - first]
    rng = stream(*clip.key, 1 + len(clip.sounds))
    mixed += 10 ** (clip.background / 20) * room(rng, mixed.size, rate)
    if POOLS[clip.key[1]] == "train_noisy":
        mixed = phone(rng, mixed, rate)
    scale = 32767 * 10 ** (clip.peak / 20) / float(np.abs(mixed).max())
    return np.rint(scale * mixed).astype(np.int16)


def _put(path: Path, content: bytes) -> None:
    """No reader meets half a file."""
    with whole(path) as unfinished:
        unfinished.write_bytes(content)


def _wav(audio: NDArray[np.int16], rate: int) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", "not compressed"))
        file.writeframes(audio.astype("<i2").tobytes())
    return content.getvalue()


def _table(*rows: Iterable[str]) -> bytes:
    content = io.StringIO()
    csv.writer(content, lineterminator="\n").writerows(rows)
    return content.getvalue().encode()


def write_demo_set(
    folder: Path, seed: int = 2019, curated: int = 240, noisy: int = 240, test: int = 120, rate: int = 22050
) -> None:
    """Writes so many clips of each pool at `rate` Hz, their tables and the true labels of the test clips.

    Does nothing where the same set is complete already, and completes or replaces one that is not. A folder
    that holds anything else is refused, so that no real data set is written over.
    """
    wanted = {"format": FORMAT, "seed": seed, "curated": curated, "noisy": noisy, "test": test, "rate": rate}
    if rate < LOWEST_RATE or min(wanted.values()) < 0:
        raise ValueError(
            f"`rate` must be at least {LOWEST_RATE} Hz, the rest at least 0. Received: {wanted}."
        )
    marker, claim = folder / "demo_set.json", folder / "demo_set.writing"
    parameters = json.dumps(wanted, indent=1) + "\n"
    if marker.is_file() and marker.read_text(encoding="utf-8") == parameters:
        return
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not claim.is_file() and not marker.is_file():
        raise ValueError(f"`folder` must be empty or a demo set. Received: '{folder}' with other files.")
    claim.touch()  # before the marker goes: an interrupted writing is recognised as ours
    marker.unlink(missing_ok=True)
    for pool, count in zip(POOLS, (curated, noisy, test), strict=True):
        clips = sorted((plan_clip(seed, pool, index) for index in range(count)), key=lambda clip: clip.name)
        audio = folder / pool
        audio.mkdir(exist_ok=True)
        for stale in {path.name for path in audio.glob("*.wav")} - {clip.name for clip in clips}:
            (audio / stale).unlink(missing_ok=True)
        for clip in clips:
            _put(audio / clip.name, _wav(render_clip(clip, rate), rate))
        labels = _table(("fname", "labels"), *((clip.name, ",".join(clip.given)) for clip in clips))
        _put(folder / ("test_labels.csv" if pool == "test" else f"{pool}.csv"), labels)
        if pool == "test":
            zeros = ((clip.name, *"0" * len(CLASSES)) for clip in clips)
            _put(folder / "sample_submission.csv", _table(("fname", *CLASSES), *zeros))
    _put(marker, parameters.encode())
    claim.unlink(missing_ok=True)
