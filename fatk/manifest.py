"""What is told of a set beside its shards: `manifest.json` and `clips.csv`."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from fatk import folders
from fatk.config import Config
from fatk.shards import FORMAT, Entry, Shard
from pipelines.splits import Split
from pipelines.tables import Clip, Source

MANIFEST, TABLE = "manifest.json", "clips.csv"


def fingerprint(clips: Iterable[Clip], digests: Mapping[str, str]) -> str:
    """Changes when a clip joins, leaves, sounds or is labelled otherwise. `digests`: {key of a clip: its file's}.

    Not when files are copied or touched: runs of the same clips are known again on another machine.
    """
    content = hashlib.sha256()
    for line in sorted(f"{clip.key} {digests[clip.key]} {','.join(clip.labels)}" for clip in clips):
        content.update(line.encode() + b"\n")
    return content.hexdigest()[:16]


def describe(
    config: Config,
    source: Source,
    split: Split,
    seconds: dict[str, float],
    digests: dict[str, str],
    shards: list[Shard],
    left_out: list[Entry],
) -> Entry:
    """What `manifest.json` holds. `seconds`, `digests`: by key of a clip; `left_out`: files that cannot be read."""

    def summary(clips: Sequence[Clip]) -> Entry:
        return {
            "clips": len(clips),
            "hours": round(sum(seconds[clip.key] for clip in clips) / 3600, 4),
            "fingerprint": fingerprint(clips, digests),
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
        "fingerprint": fingerprint(source.clips, digests),
        "pools": {
            pool: summary(source.pool(pool)) | {"shards": [s.path.name for s in shards if s.pool == pool]}
            for pool in dict.fromkeys(clip.pool for clip in source.clips)
        },
        "splits": {role: summary(getattr(split, role)) for role in ("train", "valid", "test")},
        "left_out": left_out,
    }


def write(folder: Path, manifest: Entry, source: Source, seconds: dict[str, float], split: Split) -> None:
    """`manifest.json` and `clips.csv`, whole or not at all."""
    role = {clip.key: name for name in ("train", "valid", "test") for clip in getattr(split, name)}
    folders.write_text(folder / MANIFEST, json.dumps(manifest, indent=1))
    rows = (
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
    header = ("pool", "fname", "labels", "split", "fold", "source", "license", "seconds")
    folders.write_rows(folder / TABLE, header, rows)
