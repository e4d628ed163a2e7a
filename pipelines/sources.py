"""Tables and folders on disk to a list of clips: the layouts that fatk reads.

Reading is by the standard `csv` module, because a row that is wrong must be named with its line. A layout is
one function and one line of `READERS`.
"""

import csv
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pipelines.settings import DataSettings

CURATED, NOISY, TEST = "curated", "noisy", "test"
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64")

_SHOWN = 5  # problems of one table that are spelled out


class DataError(ValueError):
    """Something is wrong with a table or folder; the message names the file and the line."""


@dataclass(frozen=True)
class Clip:
    """One sound file and what its table says of it."""

    name: str  # as in the table, with forward slashes
    pool: str  # "curated", "noisy" or "test"
    path: Path
    labels: tuple[str, ...] = ()
    fold: int | None = None
    valid: bool | None = None  # given by the table: held out for validation or not
    source: str = ""  # the recording that it was cut from
    license: str = ""
    line: int = 0  # in its table; 0 where there is none

    @property
    def key(self) -> str:
        """Unique in a set: names repeat between folders."""
        return f"{self.pool}/{self.name}"


@dataclass(frozen=True)
class Source:
    """A set: its vocabulary in order, and its clips."""

    classes: tuple[str, ...]
    clips: tuple[Clip, ...]
    notes: tuple[str, ...] = ()  # what was repaired on the way, for the report
    template: Path | None = None  # the submission's model: names and order of the test clips

    def pool(self, *names: str) -> tuple[Clip, ...]:
        """The clips of some pools."""
        return tuple(clip for clip in self.clips if clip.pool in names)


def split_labels(text: str) -> tuple[str, ...]:
    """'Bark, Rain' -> ('Bark', 'Rain'): whole comma-separated tokens, each once, in order."""
    return tuple(dict.fromkeys(token.strip() for token in text.split(",") if token.strip()))


def read_rows(table: Path, needed: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """-> [(line, {column: cell})]. Copes with a byte order mark, CRLF and quotes.

    Raises `DataError` for a table that is missing, empty, not text, or lacks a column of `needed`.
    """
    if not table.is_file():
        raise DataError(f"{table}: no such table.")
    try:
        with table.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, restkey="", restval="", skipinitialspace=True)
            header = [column.strip() for column in reader.fieldnames or []]
            missing = [column for column in needed if column not in header]
            if missing:
                raise DataError(
                    f"{table}: no column {' nor '.join(map(repr, missing))}. "
                    f"Its columns are: {', '.join(header) or 'none'}."
                )
            reader.fieldnames = header
            rows = []
            for row in reader:
                if row.get(""):
                    raise DataError(
                        f"{table}, line {reader.line_num}: more cells than the header has columns. "
                        'Several labels of one clip must be quoted, as in a.wav,"Bark,Rain".'
                    )
                rows.append((reader.line_num, {k: (v or "").strip() for k, v in row.items() if k}))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: not a CSV table in UTF-8 ({error}).") from None
    if not rows:
        raise DataError(f"{table}: the table has no rows.")
    return rows


def clean_name(text: str, where: str) -> str:
    """A table's file name -> the same with forward slashes. Raises `DataError` where it leaves the set."""
    name = PurePosixPath(text.replace("\\", "/"))
    if not text or name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
        raise DataError(f"{where}: `fname` must name a file inside the audio folder. Received: {text!r}.")
    return str(name)


def _whole(cell: str, column: str, where: str) -> int | None:
    """A cell that holds a whole number, or nothing."""
    if cell == "":
        return None
    try:
        return int(float(cell))
    except ValueError:
        raise DataError(f"{where}: `{column}` must be a whole number. Received: {cell!r}.") from None


def _flag(cell: str, where: str) -> bool | None:
    """A `valid` cell: 1 or true is held out, 0 or false is not; the reference writes -1 for no."""
    if cell == "":
        return None
    known = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "-1": False}
    if cell.lower() not in known:
        raise DataError(f"{where}: `valid` must be 1 or 0. Received: {cell!r}.")
    return known[cell.lower()]


def find_audio(folder: Path, name: str) -> Path:
    """Where a table's file lies: in the folder, or in its `audio/` as several published sets have it."""
    path = folder / name
    nested = folder / "audio" / name
    return nested if not path.exists() and nested.exists() else path


def read_table(table: Path, folder: Path, pool: str, labelled: bool = True) -> tuple[list[Clip], list[str]]:
    """One table -> (its clips, notes). A row that stands twice counts once; contradicting ones are refused."""
    clips: dict[str, Clip] = {}
    notes = []
    for line, row in read_rows(table, ("fname", "labels") if labelled else ("fname",)):
        where = f"{table}, line {line}"
        name = clean_name(row["fname"], where)
        clip = Clip(
            name=name,
            pool=pool,
            path=find_audio(folder, name),
            labels=split_labels(row["labels"]) if labelled else (),
            fold=_whole(row.get("fold", ""), "fold", where),
            valid=_flag(row.get("valid", ""), where),
            source=row.get("source", "") or row.get("freesound_id", "") or row.get("flickr_video_URL", ""),
            license=row.get("license", "") or row.get("licence", ""),
            line=line,
        )
        if labelled and not clip.labels:
            raise DataError(f"{where}: {name} has no label.")
        if name in clips:
            if replace(clip, line=clips[name].line) != clips[name]:
                raise DataError(
                    f"{where}: {name} stands already in line {clips[name].line}, with another content."
                )
            notes.append(f"{where}: {name} stands twice; taken once.")
            continue
        clips[name] = clip
    return list(clips.values()), notes


def check_labels(clips: Iterable[Clip], classes: Sequence[str], table: Path) -> None:
    """Raise `DataError` naming the lines whose label is not a class."""
    known = set(classes)
    wrong = [
        f"{table}, line {clip.line}: {clip.name} has the unknown class {label!r}"
        for clip in clips
        for label in clip.labels
        if label not in known
    ]
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise DataError(f"{'; '.join(wrong[:_SHOWN])}{more}. The classes are: {', '.join(classes)}.")


def _vocabulary(clips: Iterable[Clip]) -> tuple[str, ...]:
    return tuple(sorted({label for clip in clips for label in clip.labels}))


def read_csv(settings: DataSettings) -> Source:
    """Any folder and a table with the columns `fname` and `labels`."""
    table, folder = Path(settings.table), Path(settings.path)
    _need_folder(folder)
    clips, notes = read_table(table, folder, CURATED)
    classes = settings.classes or _vocabulary(clips)
    check_labels(clips, classes, table)
    if settings.fold is not None:
        folds = sorted({clip.fold for clip in clips if clip.fold is not None})
        if settings.fold not in folds:
            raise DataError(
                f"{table}: no clip of fold {settings.fold}. "
                + (f"Its folds are: {', '.join(map(str, folds))}." if folds else "It has no column 'fold'.")
            )
        unfolded = next((clip for clip in clips if clip.fold is None), None)
        if unfolded:
            raise DataError(f"{table}, line {unfolded.line}: {unfolded.name} has no fold.")
    return Source(classes, tuple(clips), tuple(notes))


def read_folders(settings: DataSettings) -> Source:
    """One folder a class, audio files inside."""
    root = Path(settings.path)
    _need_folder(root)
    found = sorted(
        entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")
    )
    classes = settings.classes or tuple(found)
    clips = [
        Clip(f"{label}/{path.relative_to(root / label).as_posix()}", CURATED, path, (label,))
        for label in classes
        if (root / label).is_dir()
        for path in sorted((root / label).rglob("*"))
        if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()
    ]
    if not clips:
        raise DataError(
            f"{root}: no audio files in folders of classes. One folder a class is expected, with files in "
            f"{', '.join(AUDIO_SUFFIXES)}."
        )
    empty = sorted(set(classes) - {clip.labels[0] for clip in clips})
    if empty:
        raise DataError(f"{root}: no audio files for the class {', '.join(map(repr, empty))}.")
    return Source(classes, tuple(clips))


def read_fat2019(settings: DataSettings) -> Source:
    """Kaggle's layout of FSDKaggle2019; a `test_labels.csv` beside it gives the test clips' true labels."""
    root = Path(settings.path)
    _need_folder(root)
    template = root / "sample_submission.csv"
    columns = list(read_rows(template, ("fname",))[0][1])
    classes = tuple(column for column in columns if column != "fname")
    clips: list[Clip] = []
    notes: list[str] = []
    for pool in (CURATED, NOISY):
        table, folder = root / f"train_{pool}.csv", root / f"train_{pool}"
        if pool == NOISY and not table.exists():
            continue
        _need_folder(folder)
        found, repaired = read_table(table, folder, pool)
        check_labels(found, classes, table)
        clips += found
        notes += repaired
    test, repaired = read_table(template, root / "test", TEST, labelled=False)
    truth = root / "test_labels.csv"
    if truth.exists():
        labelled, _ = read_table(truth, root / "test", TEST)
        check_labels(labelled, classes, truth)
        by_name = {clip.name: clip.labels for clip in labelled}
        test = [replace(clip, labels=by_name.get(clip.name, ())) for clip in test]
    return Source(*_subset(classes, clips + test, settings.classes, root), tuple(notes + repaired), template)


def _subset(
    classes: tuple[str, ...], clips: Sequence[Clip], wanted: tuple[str, ...], root: Path
) -> tuple[tuple[str, ...], tuple[Clip, ...]]:
    """Keep the wanted classes, in the wanted order, and the clips that still have a label or need none."""
    unknown = [name for name in wanted if name not in classes]
    if unknown:
        raise DataError(f"{root}: `classes` names {unknown[0]!r}. The set has: {', '.join(classes)}.")
    if not wanted:
        return classes, tuple(clips)
    cut = (replace(clip, labels=tuple(x for x in clip.labels if x in wanted)) for clip in clips)
    return wanted, tuple(clip for clip in cut if clip.labels or clip.pool == TEST)


def _need_folder(folder: Path) -> None:
    """Raise `DataError` where a folder is missing or has nothing in it."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder.")
    if not any(os.scandir(folder)):
        raise DataError(f"{folder}: the folder is empty.")


READERS: dict[str, Callable[[DataSettings], Source]] = {
    "csv": read_csv,
    "folders": read_folders,
    "fat2019": read_fat2019,
    "demo": read_fat2019,  # fatk.demo_set writes that layout
}


def read_source(settings: DataSettings) -> Source:
    """The clips of a data set. Raises `DataError` naming file and line."""
    return READERS[settings.kind](settings)
