"""What is known of published sets: how much should be in them, and which of their clips are wrong."""

from dataclasses import replace

from pipelines.tables import CURATED, NOISY, TEST, Source

# What the published sets hold, by what is counted.
EXPECTED: dict[str, dict[str, int]] = {
    "FSDKaggle2019 (Kaggle)": {
        "curated clips": 4970,
        "noisy clips": 19815,
        "test clips": 3361,
        "classes": 80,
    },
    "FSDKaggle2019 (Zenodo)": {
        "curated clips": 4970,
        "noisy clips": 19815,
        "test clips": 4481,
        "classes": 80,
    },
    "FSD50K": {"training clips": 36796, "validation clips": 4170, "test clips": 10231, "classes": 200},
    "ESC-50": {"curated clips": 2000, "classes": 50} | {f"clips of fold {fold}": 400 for fold in range(1, 6)},
    "ESC-10": {"curated clips": 400, "classes": 10} | {f"clips of fold {fold}": 80 for fold in range(1, 6)},
    "FSDnoisy18k": {"curated clips": 1772, "noisy clips": 15813, "test clips": 947, "classes": 20},
}

# Curated clips that a set's organisers flagged, by kind: five with another clip's label, one without a signal.
FLAGGED: dict[str, tuple[str, ...]] = {
    "fat2019": (
        "f76181c4.wav",
        "77b925c2.wav",
        "6a1f682a.wav",
        "c7db12aa.wav",
        "7752cc8a.wav",
        "1d44b0bd.wav",
    )
}


def counts(source: Source) -> dict[str, int]:
    """How much of each thing that `EXPECTED` counts is in a set."""
    curated = source.pool(CURATED)
    found = {
        "curated clips": len(curated),
        "training clips": sum(clip.valid is False for clip in curated),
        "validation clips": sum(clip.valid is True for clip in curated),
        "noisy clips": len(source.pool(NOISY)),
        "test clips": len(source.pool(TEST)),
        "classes": len(source.classes),
    }
    folds = {clip.fold for clip in curated if clip.fold is not None} | set(range(1, 6))
    return found | {f"clips of fold {fold}": sum(c.fold == fold for c in curated) for fold in sorted(folds)}


def compare(name: str, source: Source) -> list[str]:
    """-> a note where a set's counts are not the published ones. Never an error: people have subsets."""
    found = counts(source)
    other = [
        f"{found[what]:,} {what} instead of {wanted:,}"
        for what, wanted in EXPECTED[name].items()
        if found[what] != wanted
    ]
    return [f"not the whole of {name}: {', '.join(other)}."] if other else []


def drop_flagged(source: Source, kind: str) -> Source:
    """A set without its flagged curated clips, and with a note that names them."""
    gone = {clip.key: clip.name for clip in source.pool(CURATED) if clip.name in FLAGGED.get(kind, ())}
    if not gone:
        return source
    note = (
        f"{len(gone)} curated clips flagged by the set's organisers are left out: {', '.join(gone.values())}."
    )
    clips = tuple(clip for clip in source.clips if clip.key not in gone)
    return replace(source, clips=clips, notes=(*source.notes, note))
