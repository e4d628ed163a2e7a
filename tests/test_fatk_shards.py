"""What shards of a set will hold, before they are written."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from fatk import shards
from pipelines.sources import Clip

RATE = 8000


def flac(path: Path, seconds: float, loud: float = 0.3) -> Clip:
    time = np.arange(round(seconds * RATE)) / RATE
    soundfile.write(path, loud * np.sin(2 * np.pi * 440 * time), RATE)
    return Clip("curated", path.name, path, ("a",))


def test_a_header_that_claims_days_does_not_count_for_them(tmp_path: Path) -> None:
    clips = [flac(tmp_path / f"{n}.flac", 1.0) for n in range(5)]
    whole = bytearray(clips[0].path.read_bytes())
    whole[21:26] = bytes(
        [whole[21] | 0x0F, 255, 255, 255, 255]
    )  # of STREAMINFO: 2 to the 36th samples, less one
    clips[0].path.write_bytes(whole)
    assert soundfile.info(clips[0].path).duration > 1e6
    planned = shards.plan(clips, RATE, tmp_path)
    told = shards.probe(planned)
    assert 4 < told < 4 + len(whole) / 16 + 1


def test_silence_counts_for_its_length(tmp_path: Path) -> None:
    planned = shards.plan([flac(tmp_path / "silent.flac", 60.0, 0.0)], 44100, tmp_path)
    assert shards.probe(planned) == pytest.approx(60.0)
