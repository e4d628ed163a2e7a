"""One table to a list of clips, and what is said of a table that is wrong.

Reading is by the standard `csv` module, because a row that is wrong must be named with its line.
"""

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

CURATED, NOISY, TEST = "curated", "noisy", "test"

Row = tuple[int, dict[str, str]]  # line of the table, cell by column

_PLAIN = re.compile(r"[^/\\:.][^/\\:]*")  # names that need no second look
_DRIVE = re.compile(r"[A-Za-z]:")


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
    near = [f"{column.lower()!r} for {column!r}" for column in header if column.lower() in missing]
    return f" Write {' and '.join(near)}." if near else ""


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
