"""Files that an option names to be written: checked before any work, so that nothing worth keeping is lost."""

import csv
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fatk.cli import UserError
from pipelines.sources import AUDIO_SUFFIXES

_LOOKED_AT = 1 << 16  # bytes of a file that is there


@dataclass(frozen=True)
class Kind:
    """What an option writes."""

    name: str
    known: Callable[[bytes], bool]  # by its first bytes, where such a file is there
    suffixes: tuple[str, ...] = ()  # one of which a name must have; none: any but those of sound files


def _table(*columns: str) -> Kind:
    """A CSV table that begins with these columns. One with a column `labels` is somebody's work."""

    def known(begin: bytes) -> bool:
        try:
            header = next(csv.reader([begin.splitlines()[0].decode()]), [])
        except (UnicodeDecodeError, csv.Error):
            return False
        return header[: len(columns)] == list(columns) and "labels" not in header

    return Kind(f"a table that begins with {','.join(columns)}", known)


PREDICTIONS = _table("fname")
PER_CLASS = _table("class", "lwlrap", "weight")
WINDOWS = _table("file", "start_seconds", "end_seconds")
SUSPICIONS = _table("fname", "score", "suggested_labels")

IMAGE = Kind("an array of NumPy", lambda begin: begin.startswith(b"\x93NUMPY"))
PNG = Kind("a picture", lambda begin: begin.startswith(b"\x89PNG"), (".png",))
PICTURE = Kind(
    "a picture", lambda begin: begin.startswith((b"\x89PNG", b"%PDF", b"<?xml", b"<svg")), (".png", ".pdf", ".svg")
)  # fmt: skip

Asked = tuple[str, str | None, Kind]  # option, what it names, what it writes


def check(asked: Sequence[Asked], reads: Iterable[str | Path] = ()) -> None:
    """Refuse, for options that are given, what is no place to write to. `reads`: what the command reads.

    Raises `UserError` for a file that is read, has the name of a sound file, is there and something else, is
    asked for twice, or cannot be written.
    """
    given = [(option, Path(name), kind) for option, name, kind in asked if name]
    there = {place for _, path, _ in given if (place := _place(path))}
    read = {place for path in reads if path and (place := _place(Path(path)))} if there else set()
    taken: dict[Path, str] = {}
    for option, path, kind in given:
        if _place(path) in read:
            raise UserError(f"{path}: is read by this command; choose another file for {option}.")
        _check(option, path, kind)
        other = taken.setdefault(path.resolve(), option)
        if other != option:
            raise UserError(f"{path}: is given to {other} and to {option}; choose another file for one.")


def _check(option: str, path: Path, kind: Kind) -> None:
    """One of them."""
    suffix = path.suffix.lower()
    if suffix in AUDIO_SUFFIXES:
        raise UserError(f"{path}: has the name of a sound file; choose another file for {option}.")
    if kind.suffixes and suffix not in kind.suffixes:
        *some, last = kind.suffixes
        choices = f"{', '.join(some)} or {last}" if some else last
        raise UserError(f"{path}: {option} writes a picture, whose name must end in {choices}.")
    if path.exists():
        if not path.is_file():
            raise UserError(f"{path}: is no plain file; choose another file for {option}.")
        with path.open("rb") as file:
            begin = file.read(_LOOKED_AT)
        if begin and not kind.known(begin):
            raise UserError(f"{path}: is there, and is not {kind.name}; choose another file for {option}.")
    folder = next(above for above in path.absolute().parents if above.exists())
    if not folder.is_dir():
        raise UserError(f"{path}: {folder} is no folder; choose another file for {option}.")
    # A file may be ours to write in a folder that is not.
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise UserError(f"{path}: no permission to write there; choose another file for {option}.")


def _place(path: Path) -> tuple[int, int] | None:
    """What is the same of all names of a file, links too; None where there is none."""
    try:
        told = path.stat()
    except (OSError, ValueError):
        return None
    return told.st_dev, told.st_ino
