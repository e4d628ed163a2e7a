"""One table to a list of clips, and what is said of a table that is wrong.

Reading is by the standard `csv` module, because a row that is wrong must be named with its line.
"""

import csv
import filecmp
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

CURATED, NOISY, TEST = "curated", "noisy", "test"

Row = tuple[int, dict[str, str]]  # line of the table, cell by column

_PLAIN = re.compile(r"[^/\\:.][^/\\:]*")  # names that need no second look
_DRIVE = re.compile(r"[A-Za-z]:")
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
    usage: str = ""  # of a test clip: "Public" or "Private", where the table tells

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
    given: tuple[Clip, ...] = ()  # clips as the tables have them, where `clips` are relabelled

    def pool(self, *names: str) -> tuple[Clip, ...]:
        """The clips of some pools."""
        return tuple(clip for clip in self.clips if clip.pool in names)

    def as_given(self, *names: str) -> tuple[Clip, ...]:
        """The clips of some pools before a relabelling: what is drawn to be held out is drawn from these.

        So a run with corrected labels is judged on the clips that one without them is judged on, but for those
        that the correction leaves out.
        """
        return tuple(clip for clip in self.given or self.clips if clip.pool in names)


def split_labels(text: str) -> tuple[str, ...]:
    """'Bark, Rain' -> ('Bark', 'Rain'): whole comma-separated tokens, each once, in order."""
    tokens = (token.strip() for token in text.split(","))
    return tuple(dict.fromkeys(token for token in tokens if token))


def read_rows(table: Path, needed: Sequence[str]) -> list[Row]:
    """-> [(line, {column: cell})]. Copes with a byte order mark, CRLF and quotes.

    Raises `DataError` for a table that is missing, empty, not text, or lacks a column of `needed`.
    """
    if not table.is_file():
        raise DataError(f"{table}: no such table.")
    try:
        with table.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, restval="", skipinitialspace=True)
            header = [column.strip() for column in reader.fieldnames or []]
            twice = [column for place, column in enumerate(header) if column and column in header[:place]]
            if twice:
                raise DataError(f"{table}: the column {twice[0]!r} stands twice.")
            missing = [column for column in needed if column not in header]
            if missing:
                raise DataError(
                    f"{table}: no column {' nor '.join(map(repr, missing))}. "
                    f"Its columns are: {', '.join(header) or 'none'}.{_hint(header, missing)}"
                )
            reader.fieldnames = header
            rows = []
            for row in reader:
                if any(row.pop(None, ())):
                    raise DataError(
                        f"{table}, line {reader.line_num}: more cells than the header has columns. "
                        'Several labels of one clip must be quoted, as in a.wav,"Bark,Rain".'
                    )
                cells = {column: (cell or "").strip() for column, cell in row.items()}
                if not any(cells.values()):
                    continue  # what spreadsheets write below the last row
                for column in needed:
                    first, *others = cells[column].splitlines() or [""]
                    if others:
                        raise DataError(
                            f"{table}, line {reader.line_num - len(others)}: a quote is opened and not closed. "
                            f'Received: "{first}.'
                        )
                rows.append((reader.line_num, cells))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: not a CSV table in UTF-8 ({error}).") from None
    if not rows:
        raise DataError(f"{table}: the table has no rows.")
    return rows


def _hint(header: Sequence[str], missing: Sequence[str]) -> str:
    """What is wrong with a header that lacks columns, where that can be guessed."""
    for mark in (";", "\t", "|"):
        if len(header) == 1 and mark in header[0]:
            return f" They are to be separated by commas, not by {mark!r}."
    near = [column for column in header if column.lower() in missing]
    return f" Write {near[0].lower()!r} for {near[0]!r}." if near else ""


def clean_name(text: str, where: str) -> str:
    """A table's file name -> the same with forward slashes. Raises `DataError` where it leaves the set."""
    if _PLAIN.fullmatch(text):
        return text
    name = PurePosixPath(text.replace("\\", "/"))
    if not name.parts or name.is_absolute() or ".." in name.parts or _DRIVE.match(name.parts[0]):
        raise DataError(f"{where}: `fname` must name a file inside the audio folder. Received: {text!r}.")
    return str(name)


def _whole(cell: str, column: str, where: str) -> int | None:
    """A cell that holds a whole number, or nothing."""
    if cell == "":
        return None
    try:
        number = float(cell)
        if not number.is_integer():
            raise ValueError
        return int(number)
    except ValueError:
        raise DataError(f"{where}: `{column}` must be a whole number. Received: {cell!r}.") from None


def flag(cell: str, column: str, where: str) -> bool | None:
    """A yes-or-no cell: 1 or true, 0 or false; the reference writes -1 for no. Empty is neither."""
    if cell == "":
        return None
    known = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "-1": False}
    if cell.lower() not in known:
        raise DataError(f"{where}: `{column}` must be 1 or 0. Received: {cell!r}.")
    return known[cell.lower()]


def find_audio(folder: Path, name: str) -> Path:
    """Where a table's file lies: in the folder, or in its `audio/` as several published sets have it."""
    path = folder / name
    nested = folder / "audio" / name
    return nested if not path.exists() and nested.exists() else path


def read_table(table: Path, folder: Path, pool: str, labelled: bool = True) -> tuple[list[Clip], list[str]]:
    """One table -> (its clips, notes). A row that stands twice counts once; contradicting ones are refused."""
    rows = read_rows(table, ("fname", "labels") if labelled else ("fname",))
    return clips_of(rows, table, folder, pool, labelled)


def clips_of(
    rows: Iterable[Row], table: Path, folder: Path, pool: str, labelled: bool = True
) -> tuple[list[Clip], list[str]]:
    """Rows with the columns of a generic table -> (clips, notes), as `read_table`."""
    clips: dict[str, Clip] = {}
    notes = []
    nested = (folder / "audio").is_dir()
    for line, row in rows:
        where = f"{table}, line {line}"
        name = clean_name(row["fname"], where)
        clip = Clip(
            name=name,
            pool=pool,
            path=find_audio(folder, name) if nested else folder / name,
            labels=split_labels(row["labels"]) if labelled else (),
            fold=_whole(row.get("fold", ""), "fold", where),
            valid=flag(row.get("valid", ""), "valid", where),
            source=row.get("source", "") or row.get("freesound_id", "") or row.get("flickr_video_URL", ""),
            license=row.get("license", "") or row.get("licence", ""),
            line=line,
            usage=row.get("usage", ""),
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
    """Raise `DataError` naming the lines whose label is not a class, or several in one by another mark."""
    known, clips = set(classes), list(clips)
    for clip in clips:
        for label in clip.labels:
            for mark in ";|":
                parts = [part.strip() for part in label.split(mark)]
                if len(parts) > 1 and all(part in known for part in parts):
                    raise DataError(
                        f"{table}, line {clip.line}: {label!r} holds several classes. Labels of one clip are "
                        f'separated by commas and quoted, as in {clip.name},"{",".join(parts)}".'
                    )
    wrong = [
        f"{table}, line {clip.line}: {clip.name} has the unknown class {label!r}"
        for clip in clips
        for label in clip.labels
        if label not in known
    ]
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise DataError(f"{'; '.join(wrong[:_SHOWN])}{more}. The classes are: {', '.join(classes)}.")


def check_fold(clips: Sequence[Clip], fold: int | None, table: Path) -> None:
    """Raise `DataError` where a fold is to be held out that no clip has, or a clip has none."""
    if fold is None:
        return
    folds = sorted({clip.fold for clip in clips if clip.fold is not None})
    if fold not in folds:
        raise DataError(
            f"{table}: no clip of fold {fold}. "
            + (f"Its folds are: {', '.join(map(str, folds))}." if folds else "It has no column 'fold'.")
        )
    unfolded = next((clip for clip in clips if clip.fold is None), None)
    if unfolded:
        raise DataError(f"{table}, line {unfolded.line}: {unfolded.name} has no fold.")


def need_folder(folder: Path) -> None:
    """Raise `DataError` where a folder is missing or has nothing in it."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder.")
    with os.scandir(folder) as entries:
        if not any(entries):
            raise DataError(f"{folder}: the folder is empty.")


def _same_sound(first: Path, second: Path) -> bool:
    """Whether two paths lead to one recording: one file, or two with the same bytes."""
    try:
        return os.path.samefile(first, second) or filecmp.cmp(first, second, shallow=False)
    except OSError:
        return os.path.abspath(first) == os.path.abspath(second)


def check_pools(clips: Iterable[Clip], tables: Mapping[str, Path]) -> list[str]:
    """-> notes on recordings that reach from training into test. `tables` is by pool.

    Raises `DataError` naming both lines where one sound file is in two pools. Names alone prove nothing:
    sets that count their files from 1 in each folder repeat them.
    """

    def place(clip: Clip) -> str:
        return f"{tables[clip.pool]}, line {clip.line}"

    by_name: dict[str, list[Clip]] = {}
    trained: dict[str, Clip] = {}
    shared = []
    for clip in sorted(clips, key=lambda clip: clip.pool == TEST):  # training first
        twins = by_name.setdefault(clip.name.rpartition("/")[2], [])
        for other in twins:
            if other.pool != clip.pool and _same_sound(other.path, clip.path):
                raise DataError(f"{place(clip)}: {clip.name} is in {place(other)} too, the same sound.")
        twins.append(clip)
        if clip.source and clip.pool != TEST:
            trained.setdefault(clip.source, clip)
        elif clip.source in trained:
            shared.append((clip, trained[clip.source]))
    if not shared:
        return []
    test, train = shared[0]
    return [
        f"{len(shared)} test clips are of a source that is trained on, as {test.name} ({place(test)}) and "
        f"{train.name} ({place(train)}), both of {test.source!r}."
    ]
