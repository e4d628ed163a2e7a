"""Sound files to TFRecord shards: which clip goes where, decoding and writing, and what is there already.

A clip's shard follows from its name and a shard's file name from what is in it, so a run that was cut off, or
a set that grew, encodes only what is not there yet.
"""

import hashlib
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fatk import cli, folders
from pipelines.settings import Encoding
from pipelines.sources import Clip, DataError

FORMAT = 1  # of the shards; part of their names
CLIPS_PER_SHARD = 64
PROBED = 400  # clips, about, whose headers are read before a large set is prepared
LEAST_PROBED = 24  # clips, about, of a small one; in between they are one of eight
_LEAST_BYTES = 16  # of a file for each second of sound: digital silence of 8 kHz takes 23 in FLAC

# What compression leaves of the PCM's bytes, rather more than was found on clips of everyday sounds, and the
# bytes that it adds to every clip.
_LEFT = {"pcm16": (1.0, 0), "flac": (0.55, 100), "vorbis": (0.15, 3500)}

# Of a pool's shard, of what vouches for it, and of what is being written of either.
_OURS = re.compile(r"[a-z]+-\d{4,}-of-\d{4,}-[0-9a-f]{12}\.(tfrecord|json)(\.(\d+\.)?tmp)?")

Entry = dict[str, Any]


@dataclass(frozen=True)
class Shard:
    """Clips that share a file, and the name that follows from them."""

    pool: str
    stem: str
    clips: tuple[Clip, ...]
    folder: Path

    @property
    def path(self) -> Path:
        """The TFRecord file."""
        return self.folder / f"{self.stem}.tfrecord"

    @property
    def report(self) -> Path:
        """What is in it and what was left out; written after the records, so it vouches for them."""
        return self.folder / f"{self.stem}.json"

    def finished(self) -> Entry | None:
        """The report, where shard and report are there and agree."""
        try:
            report: Entry = json.loads(self.report.read_text())
            # Reports of earlier versions told no digests.
            return report if self.path.stat().st_size == report["bytes"] and "digests" in report else None
        except (OSError, ValueError, KeyError):
            return None


def plan(clips: Sequence[Clip], rate: int, folder: Path, encoding: Encoding = "pcm16") -> list[Shard]:
    """Clips -> shards. A clip keeps its shard while the number of shards stays."""
    shards = []
    made = f"{FORMAT} {rate}" + ("" if encoding == "pcm16" else f" {encoding}")
    for pool in dict.fromkeys(clip.pool for clip in clips):
        members = [clip for clip in clips if clip.pool == pool]
        count = -(-len(members) // CLIPS_PER_SHARD)
        groups: list[list[Clip]] = [[] for _ in range(count)]
        for clip in members:
            groups[int(hashlib.sha256(clip.name.encode()).hexdigest()[:8], 16) % count].append(clip)
        for number, group in enumerate(groups):
            content = hashlib.sha256(made.encode())
            for clip in group:
                content.update(f"\n{clip.name} {state(clip.path)}".encode())
            stem = f"{pool}-{number:04d}-of-{count:04d}-{content.hexdigest()[:12]}"
            shards.append(Shard(pool, stem, tuple(group), folder))
    return shards


def state(path: Path) -> str:
    """What changes when a file does."""
    try:
        state = path.stat()
    except OSError:
        return "missing"
    return f"{state.st_size} {state.st_mtime_ns}"


def digest(path: Path) -> str:
    """What changes when the bytes of a file do, wherever it lies and whenever it was written."""
    # CRC-32: SHA-256 took a tenth of the time of preparing WAV files, and nobody is to be fooled here.
    size = value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            size, value = size + len(block), zlib.crc32(block, value)
    return f"{size:x}-{value:08x}"


def size_of(path: Path) -> int:
    """Bytes of a file; of one that is missing, none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def cores() -> int:
    """How many this process may use, which is fewer than there are where it was bound to some."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def probe(shards: Iterable[Shard]) -> float:
    """Seconds of sound in the files of some shards, about: what the headers of evenly spaced ones tell a byte.

    Unreadable ones count nothing. Opening an Ogg file takes a tenth of the time of decoding it, so of small sets
    not every file is opened.
    """
    from fatk.audio import UnreadableError, seconds

    def length(clip: Clip) -> float:
        try:
            # A broken header may claim days: such a file is left out later, and must not stop the others.
            return min(seconds(clip.path), size_of(clip.path) / _LEAST_BYTES)
        except UnreadableError:
            return 0.0

    clips = [clip for shard in shards for clip in shard.clips]
    sizes = [size_of(clip.path) for clip in clips]
    step = max(1, len(clips) // PROBED, min(8, len(clips) // LEAST_PROBED))
    with ThreadPoolExecutor(cores()) as workers:
        found = sum(workers.map(length, clips[::step]))
    return found * sum(sizes) / max(sum(sizes[::step]), 1)


def encode(shard: Shard, rate: int, advance: Any, encoding: Encoding = "pcm16") -> Entry:
    """Decode, resample and write one shard -> its report. One clip is in memory at a time."""
    from fatk.audio import UnreadableError, compress, cut_short, read_told
    from pipelines import records

    frames: dict[str, int] = {}
    short: dict[str, str] = {}
    low: dict[str, int] = {}  # Hz of files that were recorded at less than the shards'
    digests: dict[str, str] = {}
    left_out: dict[str, str] = {}

    def written() -> Iterator[bytes]:
        for clip in shard.clips:
            try:
                pcm, own_rate = read_told(clip.path, rate)
                digests[clip.name] = digest(clip.path)
            except (UnreadableError, OSError) as error:
                left_out[clip.name] = str(error)
            else:
                frames[clip.name] = len(pcm)
                if told := cut_short(clip.path, len(pcm) / rate):
                    short[clip.name] = told
                if own_rate < rate:
                    low[clip.name] = own_rate
                sound = compress(pcm, rate, encoding)
                yield records.example(clip.key, sound, rate, clip.source, clip.license, encoding)
            advance()

    size = records.write_shard(shard.path, written())
    report: Entry = {"bytes": size, "frames": frames, "digests": digests, "left_out": left_out}
    report |= {"short": short, "low": low}
    folders.write_text(shard.report, json.dumps(report, indent=0))
    return report


def encode_all(
    missing: list[Shard], rate: int, folder: Path, encoding: Encoding, alone: bool = False
) -> None:
    """Encode shards on all cores, with a bar; what is whole stays when it is cut off.

    `alone`: the process does nothing else, so TensorFlow may come as `runtime.quiet_tensorflow` has it then. A
    run must not train differently for having encoded first.
    """
    seconds = probe(missing)
    clips = sum(len(shard.clips) for shard in missing)
    share, overhead = _LEFT[encoding]
    size = int(seconds * rate * 2 * share) + clips * overhead
    free = shutil.disk_usage(folder).free
    cli.say(
        f"{clips} clips, about {seconds / 3600:.2f} h: {len(missing)} shards to write, about {size / 1e6:,.0f} MB "
        f"in {folder} ({free / 1e9:,.1f} GB free)"
    )
    if size > free:
        raise DataError(
            f"{folder}: the shards need {size / 1e9:.2f} GB, the disk has {free / 1e9:.2f} GB free."
        )
    from fatk import runtime

    runtime.quiet_tensorflow(alone)
    with cli.progress("preparing", clips, "clips") as advance, ThreadPoolExecutor(cores()) as workers:
        # Threads, not processes: libsndfile, soxr and the writer release the interpreter's lock, and a
        # process would import TensorFlow anew.
        running = [workers.submit(encode, shard, rate, advance, encoding) for shard in missing]
        try:
            for done in as_completed(running):
                done.result()
        except BaseException:
            workers.shutdown(wait=True, cancel_futures=True)
            raise


def sweep(folder: Path, stems: set[str]) -> None:
    """Delete shards that no longer belong to the set, and what an interrupted run left behind; nothing else."""
    for path in folder.iterdir():
        ours = _OURS.fullmatch(path.name) and path.is_file()
        if ours and (path.name.split(".")[0] not in stems or path.suffix == ".tmp"):
            path.unlink()


def mended(shard: Shard, report: Entry, rate: int) -> bool:
    """Whether a file that was left out of a finished shard can be read now.

    What failed may have been the disk's, or the permissions', of which its name, size and time tell nothing.
    """
    from fatk.audio import UnreadableError, read_pcm

    for clip in shard.clips:
        if clip.name in report["left_out"]:
            try:
                read_pcm(clip.path, rate)
            except (UnreadableError, OSError):
                continue
            return True
    return False
