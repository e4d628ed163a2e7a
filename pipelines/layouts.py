"""Published sets as they lie on disk: a layout is one function and one line of `LAYOUTS`."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pipelines.published import compare
from pipelines.settings import DataSettings
from pipelines.table_checks import check_fold, check_labels, check_pools, need_folder
from pipelines.tables import (
    CURATED,
    NOISY,
    TEST,
    Clip,
    DataError,
    Row,
    Source,
    clips_of,
    flag,
    read_rows,
    read_table,
)
from pipelines.vocabulary import read_vocabulary, subset, vocabulary


def _finish(
    name: str,
    settings: DataSettings,
    classes: tuple[str, ...],
    pools: Mapping[Path, Sequence[Clip]],
    notes: Iterable[str],
) -> Source:
    """Tables and their clips -> the set: labels and pools checked, counts compared, classes cut as wanted."""
    tables: dict[str, Path] = {}
    for table, clips in pools.items():
        check_labels(clips, classes, table)
        tables |= {clip.pool: table for clip in clips}
    everything = tuple(clip for clips in pools.values() for clip in clips)
    whole = Source(classes, everything)
    notes = (*notes, *check_pools(everything, tables), *(compare(name, whole) if name else ()))
    return Source(*subset(classes, everything, settings.classes, Path(settings.path)), notes)


def read_fat2019(settings: DataSettings) -> Source:
    """FSDKaggle2019, in Kaggle's layout or Zenodo's: whichever lies in the folder."""
    root = Path(settings.path)
    need_folder(root)
    if (root / "FSDKaggle2019.meta").is_dir():
        return _read_zenodo(settings)
    if not (root / "train_curated.csv").exists() and not (root / "sample_submission.csv").exists():
        found = sorted(path.name for path in root.iterdir())
        raise DataError(
            f"{root}: neither Kaggle's layout of FSDKaggle2019 (train_curated.csv, train_curated/) nor Zenodo's "
            f"(FSDKaggle2019.meta/, FSDKaggle2019.audio_train_curated/). It holds: {', '.join(found[:10])}."
        )
    return _read_kaggle(settings, "FSDKaggle2019 (Kaggle)")


def read_demo(settings: DataSettings) -> Source:
    """The embedded set, which is in Kaggle's layout."""
    return _read_kaggle(settings, "")


def _read_kaggle(settings: DataSettings, name: str) -> Source:
    """Kaggle's layout; a `test_labels.csv` beside it gives the test clips' true labels.

    A column `fold` of the curated table says where curated clips are held out together.
    """
    root = Path(settings.path)
    need_folder(root)
    template = root / "sample_submission.csv"
    columns = list(read_rows(template, ("fname",))[0][1])
    classes = tuple(column for column in columns if column != "fname")
    pools: dict[Path, Sequence[Clip]] = {}
    notes: list[str] = []
    for pool in (CURATED, NOISY):
        table, folder = root / f"train_{pool}.csv", root / f"train_{pool}"
        # Sets of one's own have no noisy table; Kaggle's noisy archives are the large ones, and may be left there.
        if (pool == NOISY and not table.exists()) or _absent(pool, table, folder, notes):
            continue
        pools[table], repaired = read_table(table, folder, pool)
        if pool == CURATED:
            check_fold(pools[table], settings.fold, table)
        notes += repaired
    if _absent(TEST, template, root / "test", notes):
        return _finish(name, settings, classes, pools, notes)
    test, repaired = read_table(template, root / "test", TEST, labelled=False)
    notes += repaired
    truth = root / "test_labels.csv"
    if truth.exists():
        labelled, _ = read_table(truth, root / "test", TEST)
        check_labels(labelled, classes, truth)
        by_name = {clip.name: clip.labels for clip in labelled}
        test = [replace(clip, labels=by_name.get(clip.name, ())) for clip in test]
    pools[template] = test
    return _finish(name, settings, classes, pools, notes)


def _read_zenodo(settings: DataSettings) -> Source:
    """Zenodo's layout: origin and licence of every clip, and labels of the test clips."""
    root = Path(settings.path)
    meta = root / "FSDKaggle2019.meta"
    pools: dict[Path, Sequence[Clip]] = {}
    notes: list[str] = []
    for pool, part in ((CURATED, "train_curated"), (NOISY, "train_noisy"), (TEST, "test")):
        table, folder = meta / f"{part}_post_competition.csv", root / f"FSDKaggle2019.audio_{part}"
        if _absent(pool, table, folder, notes):
            continue
        pools[table], repaired = read_table(table, folder, pool)
        if pool == CURATED:
            check_fold(pools[table], settings.fold, table)
        notes += repaired
    words = meta / "vocabulary.csv"
    found = vocabulary(clip for clips in pools.values() for clip in clips)
    classes = read_vocabulary(words) if words.exists() else found
    return _finish("FSDKaggle2019 (Zenodo)", settings, classes, pools, notes)


def _absent(pool: str, table: Path, folder: Path, notes: list[str]) -> bool:
    """Whether a pool was not downloaded, which is noted; the curated one must be there."""
    if pool == CURATED:
        need_folder(folder)
    if pool == CURATED or (table.exists() and folder.is_dir()):
        return False
    notes.append(f"{folder if table.exists() else table} is missing: no {pool} clips.")
    return True


def read_fsd50k(settings: DataSettings) -> Source:
    """FSD50K: dev clips train or validate as its split column says, eval clips test."""
    root = Path(settings.path)
    need_folder(root)
    pools: dict[Path, Sequence[Clip]] = {}
    notes: list[str] = []
    for pool, part in ((CURATED, "dev"), (TEST, "eval")):
        table, folder = root / "FSD50K.ground_truth" / f"{part}.csv", root / f"FSD50K.{part}_audio"
        if _absent(pool, table, folder, notes):
            continue
        needed = ("fname", "labels", "split") if pool == CURATED else ("fname", "labels")
        licences = _licences(root / "FSD50K.metadata" / f"{part}_clips_info_FSD50K.json")
        rows: list[Row] = []
        for line, row in read_rows(table, needed):
            own = Path(row["fname"]).stem  # a Freesound id
            standard = {
                "fname": own and f"{own}.wav",
                "labels": row["labels"],
                "source": own,
                "license": licences.get(own, ""),
            }
            if pool == CURATED:
                if row["split"] not in ("train", "val"):
                    raise DataError(
                        f"{table}, line {line}: `split` must be one of train, val. Received: {row['split']!r}."
                    )
                standard["valid"] = str(int(row["split"] == "val"))
            rows.append((line, standard))
        pools[table], repaired = clips_of(rows, table, folder, pool)
        notes += repaired
    classes = read_vocabulary(root / "FSD50K.ground_truth" / "vocabulary.csv")
    return _finish("FSD50K", settings, classes, pools, notes)


def _licences(table: Path) -> dict[str, str]:
    """FSD50K's metadata, where it was unpacked: {Freesound id: licence}."""
    if not table.exists():
        return {}
    try:
        return {
            name: str(clip.get("license", "")) for name, clip in json.loads(table.read_text("utf-8")).items()
        }
    except (ValueError, AttributeError) as error:
        raise DataError(f"{table}: not the JSON of FSD50K's clips ({error}).") from None


def read_esc50(settings: DataSettings) -> Source:
    """ESC-50: classes in the order of its target numbers, five folds."""
    return _read_esc("ESC-50", settings)


def read_esc10(settings: DataSettings) -> Source:
    """The ten classes of ESC-50 that are ESC-10."""
    return _read_esc("ESC-10", settings)


def _read_esc(name: str, settings: DataSettings) -> Source:
    root = Path(settings.path)
    need_folder(root)
    table = root / "meta" / "esc50.csv"
    rows: list[Row] = []
    numbers: dict[str, int] = {}
    for line, row in read_rows(table, ("filename", "fold", "target", "category", "esc10", "src_file")):
        where = f"{table}, line {line}"
        ten = flag(row["esc10"], "esc10", where)
        if name == "ESC-10" and not ten:
            continue
        number = int(row["target"]) if row["target"].isdigit() else -1
        if number < 0 or numbers.setdefault(row["category"], number) != number:
            raise DataError(
                f"{where}: `target` must be the number of {row['category']!r}. Received: {row['target']!r}."
            )
        standard = {"fname": row["filename"], "labels": row["category"], "fold": row["fold"]}
        # The set is under a non-commercial licence, its ESC-10 part under one that asks for attribution only.
        rows.append((line, standard | {"source": row["src_file"], "license": "CC BY" if ten else "CC BY-NC"}))
    if not rows:
        raise DataError(f"{table}: no clip of {name}.")
    clips, notes = clips_of(rows, table, root / "audio", CURATED)
    check_fold(clips, settings.fold, table)
    classes = tuple(sorted(numbers, key=lambda label: (numbers[label], label)))
    return _finish(name, settings, classes, {table: clips}, notes)


def read_fsdnoisy18k(settings: DataSettings) -> Source:
    """FSDnoisy18k: verified clips are the curated pool, the others the noisy one."""
    root = Path(settings.path)
    need_folder(root)
    pools: dict[Path, Sequence[Clip]] = {}
    notes: list[str] = []
    for pool, part in ((CURATED, "train"), (TEST, "test")):
        table, folder = root / "FSDnoisy18k.meta" / f"{part}.csv", root / f"FSDnoisy18k.audio_{part}"
        if _absent(pool, table, folder, notes):
            continue
        needed = ("fname", "label", "manually_verified") if pool == CURATED else ("fname", "label")
        rows: dict[str, list[Row]] = {}
        for line, row in read_rows(table, needed):
            verified = pool == TEST or flag(
                row["manually_verified"], "manually_verified", f"{table}, line {line}"
            )
            standard = {"fname": row["fname"], "labels": row["label"]}
            rows.setdefault(pool if verified else NOISY, []).append((line, standard))
        clips: list[Clip] = []
        for own, members in rows.items():
            found, repaired = clips_of(members, table, folder, own)
            clips += found
            notes += repaired
        pools[table] = clips
    classes = vocabulary(clip for clips in pools.values() for clip in clips)
    return _finish("FSDnoisy18k", settings, classes, pools, notes)


LAYOUTS: dict[str, Callable[[DataSettings], Source]] = {
    "fat2019": read_fat2019,
    "demo": read_demo,  # fatk.demo_set writes Kaggle's layout
    "fsd50k": read_fsd50k,
    "esc50": read_esc50,
    "esc10": read_esc10,
    "fsdnoisy18k": read_fsdnoisy18k,
}
