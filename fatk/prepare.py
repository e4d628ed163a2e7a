"""`python -m fatk.prepare --config C`: sound files to TFRecord shards and a manifest.

Sound goes into shards once; what the tables say (labels, folds, licences) lies beside them in `clips.csv`, so
a changed label encodes nothing (`fatk/shards.py`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from weakref import WeakValueDictionary

from fatk import cli, folders, locks
from fatk.config import Config, shared_hint
from fatk.doubts import doubts, narrow
from fatk.manifest import MANIFEST, TABLE, describe, write
from fatk.shards import Entry, Shard, encode_all, mended, plan, sweep
from pipelines.copies import copies_together
from pipelines.labels import relabel
from pipelines.selection import roles
from pipelines.sources import DataError, Source, read_source
from pipelines.splits import Split

OWNER = "owner.json"  # beside the shards

_held: "WeakValueDictionary[int, Prepared]" = WeakValueDictionary()  # sets that this process has in hand


@dataclass(frozen=True)
class Prepared:
    """A set ready to be fed: its vocabulary, its usable clips, their roles and shards."""

    source: Source
    split: Split
    shards: dict[str, tuple[str, ...]]  # by pool
    seconds: dict[str, float]  # by key
    manifest: Entry

    def __post_init__(self) -> None:
        """Its shards stay where they are for as long as it lives, and whatever `replace` makes of it."""
        _held[id(self)] = self

    @property
    def classes(self) -> tuple[str, ...]:
        """The vocabulary in order."""
        return self.source.classes


def records_folder(config: Config) -> Path:
    """Where the shards of a config lie."""
    return Path(config.data.records or folders.RECORDS / config.name)


def with_records(config: Config) -> Config:
    """Settings that name their folder of shards, and so find it under another name too; named ones stay."""
    if config.data.records:
        return config
    return replace(config, data=replace(config.data, records=str(records_folder(config).absolute())))


def prepare(config: Config, verbose: bool = True, alone: bool = False) -> Prepared:
    """Make what is missing of a config's shards; read the rest -> the set, ready to be fed.

    `alone`: nothing is done with it in this process, which then does without Keras and JAX: 250 MB less.
    Raises `DataError` for wrong tables, too many unreadable files, or a folder that holds another set's shards.
    """
    if config.data.kind == "demo":
        from fatk.demo_set import write_demo_set

        demo = Path(config.data.path) if config.data.path else folders.DEMO_SET
        try:
            with locks.hold(demo):
                write_demo_set(demo, rate=config.records_rate)
        except ValueError as error:  # a folder of somebody's, a rate too low for its sounds
            raise DataError(f"demo set: {error}") from None
        config = replace(config, data=replace(config.data, path=str(demo)))
    try:
        source = read_source(config.data, config.select.flagged)
    except DataError as error:
        raise DataError(f"{error}{shared_hint(config.data.path)}") from None
    # Inside: the folder may be a disk of its own, beside which one may not write.
    with locks.hold(records_folder(config), inside=True):
        return _prepare(config, source, verbose, alone)


def _prepare(config: Config, source: Source, verbose: bool, alone: bool) -> Prepared:
    """`prepare` while nobody else writes in the folder."""
    rate, encoding, folder = config.records_rate, config.records.encoding, records_folder(config)
    _claim(folder, config)
    shards = plan(source.clips, rate, folder, encoding)
    missing = [
        shard for shard in shards if (report := shard.finished()) is None or mended(shard, report, rate)
    ]
    if missing:
        encode_all(missing, rate, folder, encoding, alone)
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
    digests = {
        f"{shard.pool}/{name}": digest
        for shard in shards
        if (report := reports[shard.stem])
        for name, digest in report["digests"].items()
    }
    source = replace(source, clips=tuple(clip for clip in source.clips if clip.key in seconds))
    source = copies_together(source, digests)
    if config.data.relabel:
        source = relabel(source, Path(config.data.relabel), config.labels)
    split = roles(source, config.data, config.split, config.select, config.seed)
    by_pool: dict[str, list[str]] = {}
    for shard in shards:
        by_pool.setdefault(shard.pool, []).append(str(shard.path))
    manifest = describe(config, source, split, seconds, digests, shards, left_out)
    write(folder, manifest, source, seconds, split)
    if not locks.others_read(folder):  # or a training that began before the set changed would lose its shards
        sweep(folder, {shard.stem for shard in shards} | _stems_held())
    locks.read(folder)
    if verbose:
        # As for what is short, reports of earlier versions do not tell.
        low = [hertz for report in reports.values() if report for hertz in report.get("low", {}).values()]
        for note in (*source.notes, *split.notes, *doubts(config, split), *narrow(config, low, len(seconds))):
            cli.say(note)
        _tell_short(shards, reports, len(source.clips))
        total = sum(seconds.values()) / 3600
        cli.say(
            f"{len(seconds)} clips, {total:.2f} h, {len(source.classes)} classes at {rate} Hz "
            f"in {folder}" + ("" if missing else " (nothing to encode)")
        )
        if how := _reading(config):
            cli.say(how)
    return Prepared(source, split, {k: tuple(v) for k, v in by_pool.items()}, seconds, manifest)


def _tell_short(shards: Sequence[Shard], reports: Mapping[str, Entry | None], clips: int) -> None:
    """Name files that end before their headers say so, as half a copy does."""
    short = [
        f"{clip.path}: {report['short'][clip.name]}"
        for shard in shards
        if (report := reports[shard.stem])
        for clip in shard.clips
        if clip.name in report.get("short", ())  # reports of earlier versions do not tell
    ]
    for line in short[:5]:
        cli.say(line, style="yellow")
    if short:
        cli.say(f"{len(short)} of {clips} files end before their headers say so, and are taken as they are")


def _stems_held() -> set[str]:
    """Of the shards, in any folder, of all sets in hand: a row of an ablation waits for its next seed."""
    return {Path(path).stem for own in _held.values() for paths in own.shards.values() for path in paths}


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
    """Make the folder, and refuse one that holds shards of another set, or tables that are not ours."""
    mine = {"kind": config.data.kind, "path": str(Path(config.data.path).resolve())}
    owner = folder / OWNER
    if owner.exists():
        try:
            theirs = json.loads(owner.read_text(encoding="utf-8"))
            told = f"{theirs['path']} (kind {theirs['kind']!r})"
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{owner}: not a file of ours. Choose another `data.records`.") from None
        if theirs != mine:
            raise DataError(
                f"{folder}: holds the shards of {told}, not of "
                f"{mine['path']}. Choose another `data.records`, or delete the folder."
            )
        return
    for path in (folder / TABLE, folder / MANIFEST):  # we leave none without an owner
        if path.exists():
            raise DataError(f"{path}: not a file of ours. Choose another `data.records`.")
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


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = cli.parser("fatk.prepare", __doc__)
    config, _ = cli.parse_config(parser, argv)
    made = prepare(config, alone=True)
    cli.table(
        f"{records_folder(config) / MANIFEST}",
        ("split", "clips", "hours", "fingerprint"),
        [
            (role, summary["clips"], summary["hours"], summary["fingerprint"])
            for role, summary in made.manifest["splits"].items()
        ],
    )
    return 0


if __name__ == "__main__":
    cli.run(main)
