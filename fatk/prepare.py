"""`python -m fatk.prepare --config C`: sound files to TFRecord shards and a manifest.

Sound goes into shards once; what the tables say (labels, folds, licences) lies beside them in `clips.csv`, so
a changed label encodes nothing. A clip's shard follows from its name and a shard's file name from what is in
it, so a run that was cut off, or a set that grew, encodes only what is not there yet.
"""

import csv
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fatk import cli, folders
from fatk.config import Config
from pipelines.labels import relabel
from pipelines.selection import roles
from pipelines.settings import Encoding
from pipelines.sources import Clip, DataError, Source, read_source
from pipelines.splits import Split

FORMAT = 1  # of the shards; part of their names
CLIPS_PER_SHARD = 64

# What compression leaves of the PCM's bytes, rather more than was found on clips of everyday sounds, and the
# bytes that it adds to every clip.
_LEFT = {"pcm16": (1.0, 0), "flac": (0.55, 100), "vorbis": (0.15, 3500)}

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
            return report if self.path.stat().st_size == report["bytes"] else None
        except (OSError, ValueError, KeyError):
            return None


@dataclass(frozen=True)
class Prepared:
    """A set ready to be fed: its vocabulary, its usable clips, their roles and shards."""

    source: Source
    split: Split
    shards: dict[str, tuple[str, ...]]  # by pool
    seconds: dict[str, float]  # by key
    manifest: Entry

    @property
    def classes(self) -> tuple[str, ...]:
        """The vocabulary in order."""
        return self.source.classes


def records_folder(config: Config) -> Path:
    """Where the shards of a config lie."""
    return Path(config.data.records or folders.RECORDS / config.name)


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
                content.update(f"\n{clip.name} {_state(clip.path)}".encode())
            stem = f"{pool}-{number:04d}-of-{count:04d}-{content.hexdigest()[:12]}"
            shards.append(Shard(pool, stem, tuple(group), folder))
    return shards


def _state(path: Path) -> str:
    """What changes when a file does."""
    try:
        state = path.stat()
    except OSError:
        return "missing"
    return f"{state.st_size} {state.st_mtime_ns}"


def probe(shards: Iterable[Shard]) -> float:
    """Seconds of sound in the files of some shards, as their headers tell; unreadable ones count nothing."""
    from fatk.audio import UnreadableError, seconds

    def length(clip: Clip) -> float:
        try:
            return seconds(clip.path)
        except UnreadableError:
            return 0.0

    with ThreadPoolExecutor(os.cpu_count()) as workers:
        return sum(workers.map(length, [clip for shard in shards for clip in shard.clips]))


def encode(shard: Shard, rate: int, advance: Any, encoding: Encoding = "pcm16") -> Entry:
    """Decode, resample and write one shard -> its report. One clip is in memory at a time."""
    from fatk.audio import UnreadableError, compress, read_pcm
    from pipelines import records

    frames: dict[str, int] = {}
    left_out: dict[str, str] = {}

    def written() -> Iterator[bytes]:
        for clip in shard.clips:
            try:
                pcm = read_pcm(clip.path, rate)
            except UnreadableError as error:
                left_out[clip.name] = str(error)
            else:
                frames[clip.name] = len(pcm)
                sound = compress(pcm, rate, encoding)
                yield records.example(clip.key, sound, rate, clip.source, clip.license, encoding)
            advance()

    size = records.write_shard(shard.path, written())
    report = {"bytes": size, "frames": frames, "left_out": left_out}
    folders.write_text(shard.report, json.dumps(report, indent=0))
    return report


def _encode_missing(missing: list[Shard], rate: int, folder: Path, encoding: Encoding) -> None:
    """Encode shards on all cores, with a bar; what is whole stays when it is cut off."""
    seconds = probe(missing)
    clips = sum(len(shard.clips) for shard in missing)
    share, overhead = _LEFT[encoding]
    size = int(seconds * rate * 2 * share) + clips * overhead
    free = shutil.disk_usage(folder).free
    cli.say(
        f"{clips} clips, {seconds / 3600:.2f} h: {len(missing)} shards to write, about {size / 1e6:,.0f} MB "
        f"in {folder} ({free / 1e9:,.1f} GB free)"
    )
    if size > free:
        raise DataError(
            f"{folder}: the shards need {size / 1e9:.2f} GB, the disk has {free / 1e9:.2f} GB free."
        )
    from fatk import runtime

    runtime.quiet_tensorflow()
    with cli.progress("preparing", clips, "clips") as advance, ThreadPoolExecutor(os.cpu_count()) as workers:
        # Threads, not processes: libsndfile, soxr and the writer release the interpreter's lock, and a
        # process would import TensorFlow anew.
        running = [workers.submit(encode, shard, rate, advance, encoding) for shard in missing]
        try:
            for done in as_completed(running):
                done.result()
        except BaseException:
            workers.shutdown(wait=True, cancel_futures=True)
            raise


def prepare(config: Config, verbose: bool = True) -> Prepared:
    """Make what is missing of a config's shards; read the rest -> the set, ready to be fed.

    Raises `DataError` for wrong tables, too many unreadable files, or a folder that holds another set's shards.
    """
    rate, encoding = config.records_rate, config.records.encoding
    if config.data.kind == "demo":
        from fatk.demo_set import write_demo_set

        demo = Path(config.data.path) if config.data.path else folders.DEMO_SET
        try:
            write_demo_set(demo, rate=rate)
        except ValueError as error:  # a folder of somebody's, a rate too low for its sounds
            raise DataError(f"demo set: {error}") from None
        config = replace(config, data=replace(config.data, path=str(demo)))
    source = read_source(config.data, config.select.flagged)
    folder = records_folder(config)
    _claim(folder, config)
    shards = plan(source.clips, rate, folder, encoding)
    missing = [shard for shard in shards if shard.finished() is None]
    if missing:
        _encode_missing(missing, rate, folder, encoding)
    reports = {shard.stem: shard.finished() for shard in shards}
    left_out = [
        {
            "fname": clip.name,
            "pool": clip.pool,
            "file": str(clip.path),
            "reason": report["left_out"][clip.name],
        }
        for shard in shards
        if (report := reports[shard.stem])
        for clip in shard.clips
        if clip.name in report["left_out"]
    ]
    _judge(left_out, len(source.clips), config)
    seconds = {
        f"{shard.pool}/{name}": frames / rate
        for shard in shards
        if (report := reports[shard.stem])
        for name, frames in report["frames"].items()
    }
    source = replace(source, clips=tuple(clip for clip in source.clips if clip.key in seconds))
    if config.data.relabel:
        source = relabel(source, Path(config.data.relabel), config.labels)
    split = roles(source, config.data, config.split, config.select, config.seed)
    by_pool: dict[str, list[str]] = {}
    for shard in shards:
        by_pool.setdefault(shard.pool, []).append(str(shard.path))
    manifest = _manifest(config, source, split, seconds, shards, left_out)
    _write_tables(folder, manifest, source, seconds, split)
    _sweep(folder, {shard.stem for shard in shards})
    if verbose:
        for note in source.notes + split.notes:
            cli.say(note)
        total = sum(seconds.values()) / 3600
        cli.say(
            f"{len(seconds)} clips, {total:.2f} h, {len(source.classes)} classes at {rate} Hz "
            f"in {folder}" + ("" if missing else " (nothing to encode)")
        )
        if how := _reading(config):
            cli.say(how)
    return Prepared(source, split, {k: tuple(v) for k, v in by_pool.items()}, seconds, manifest)


def _reading(config: Config) -> str:
    """Which libraries will turn the shards into samples; empty where none is needed for it."""
    encoding, rate, wanted = config.records.encoding, config.records_rate, config.features.rate
    if encoding == "pcm16" and rate == wanted:
        return ""
    from fatk import runtime

    runtime.quiet_tensorflow()
    from pipelines import decode

    steps = [] if encoding == "pcm16" else [f"decoded by {decode.decoder()}"]
    if rate != wanted:
        steps.append(f"resampled to {wanted} Hz by {decode.resampler()}")
    return f"{encoding} shards are {' and '.join(steps)} as they are read"


def _claim(folder: Path, config: Config) -> None:
    """Make the folder, and refuse one that holds shards of another set."""
    mine = {"kind": config.data.kind, "path": str(Path(config.data.path).resolve())}
    owner = folder / "owner.json"
    if owner.exists():
        theirs = json.loads(owner.read_text())
        if theirs != mine:
            raise DataError(
                f"{folder}: holds the shards of {theirs['path']} (kind {theirs['kind']!r}), not of "
                f"{mine['path']}. Choose another `data.records`, or delete the folder."
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    folders.write_text(owner, json.dumps(mine))


def _judge(left_out: list[Entry], clips: int, config: Config) -> None:
    """Name the files that could not be read; stop where there are too many."""
    for entry in left_out:
        cli.say(f"left out: {entry['file']}: {entry['reason']}", style="yellow")
    if left_out and config.data.strict:
        raise DataError(f"{len(left_out)} of {clips} files cannot be read, and `data.strict` is set.")
    if len(left_out) > config.data.unreadable * clips:
        raise DataError(
            f"{len(left_out)} of {clips} files cannot be read, more than `data.unreadable` = "
            f"{config.data.unreadable:g} of them: {', '.join(entry['file'] for entry in left_out[:5])}"
            + ("." if len(left_out) <= 5 else f" and {len(left_out) - 5} more.")
        )


def fingerprint(clips: Iterable[Clip]) -> str:
    """Changes when a clip joins, leaves, or is labelled otherwise."""
    content = hashlib.sha256()
    for line in sorted(f"{clip.key} {_state(clip.path)} {','.join(clip.labels)}" for clip in clips):
        content.update(line.encode() + b"\n")
    return content.hexdigest()[:16]


def _manifest(
    config: Config,
    source: Source,
    split: Split,
    seconds: dict[str, float],
    shards: list[Shard],
    left_out: list[Entry],
) -> Entry:
    def summary(clips: Sequence[Clip]) -> Entry:
        return {
            "clips": len(clips),
            "hours": round(sum(seconds[clip.key] for clip in clips) / 3600, 4),
            "fingerprint": fingerprint(clips),
            "licences": dict(Counter(clip.license for clip in clips if clip.license)),
        }

    return {
        "format": FORMAT,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "kind": config.data.kind,
        "sampling_rate": config.records_rate,
        "encoding": config.records.encoding,
        "clips": len(source.clips),
        "hours": round(sum(seconds.values()) / 3600, 4),
        "classes": list(source.classes),
        "fingerprint": fingerprint(source.clips),
        "pools": {
            pool: summary(source.pool(pool)) | {"shards": [s.path.name for s in shards if s.pool == pool]}
            for pool in dict.fromkeys(clip.pool for clip in source.clips)
        },
        "splits": {role: summary(getattr(split, role)) for role in ("train", "valid", "test")},
        "left_out": left_out,
    }


def _write_tables(
    folder: Path, manifest: Entry, source: Source, seconds: dict[str, float], split: Split
) -> None:
    """`manifest.json` and `clips.csv`, whole or not at all."""
    role = {clip.key: name for name in ("train", "valid", "test") for clip in getattr(split, name)}
    folders.write_text(folder / "manifest.json", json.dumps(manifest, indent=1))
    unfinished = folder / "clips.csv.tmp"
    with unfinished.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines)
        writer.writerow(["pool", "fname", "labels", "split", "fold", "source", "license", "seconds"])
        writer.writerows(
            [
                clip.pool,
                clip.name,
                ",".join(clip.labels),
                role.get(clip.key, ""),
                "" if clip.fold is None else clip.fold,
                clip.source,
                clip.license,
                f"{seconds[clip.key]:.3f}",
            ]
            for clip in source.clips
        )
    os.replace(unfinished, folder / "clips.csv")


def _sweep(folder: Path, stems: set[str]) -> None:
    """Delete shards that no longer belong to the set, and what an interrupted run left behind."""
    for path in folder.iterdir():
        stem = path.name.split(".")[0]
        if "-of-" in stem and (stem not in stems or path.suffix == ".tmp"):
            path.unlink()


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = cli.parser("fatk.prepare", __doc__)
    config, _ = cli.parse_config(parser, argv)
    made = prepare(config)
    cli.table(
        f"{records_folder(config) / 'manifest.json'}",
        ("split", "clips", "hours", "fingerprint"),
        [
            (role, summary["clips"], summary["hours"], summary["fingerprint"])
            for role, summary in made.manifest["splits"].items()
        ],
    )
    return 0


if __name__ == "__main__":
    cli.run(main)
