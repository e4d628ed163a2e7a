"""What a user names on the command line: files, folders, patterns, standard input."""

import glob
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fatk.cli import UserError

STDIN = "-"


def sound_files(names: Sequence[str]) -> list[Path]:
    """Files, folders (searched through) and patterns such as 'calls/*.wav' -> files, each once, in order.

    Names of files are taken as they are; "-" stays. What begins with "." is passed over in folders and by
    patterns, as shells do. Raises `UserError` where a folder or pattern gives nothing.
    """
    found: list[Path] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            found += _within(path)
        elif not path.exists() and glob.has_magic(name):
            matches = [Path(match) for match in sorted(glob.glob(name, recursive=True))]
            if not matches:
                raise UserError(f"{name}: no file matches.")
            for match in matches:
                found += _within(match) if match.is_dir() else [match]
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def _within(folder: Path) -> list[Path]:
    """All sound files of a folder, however deep, in order; folders that cannot be opened are told of."""
    from pipelines.unlisted import AUDIO_SUFFIXES, is_taken, walk

    def refused(error: OSError) -> None:
        print(f"fatk: left out: {error.filename}: {error.strerror}.", file=sys.stderr)

    files = [path for path in walk(folder, refused) if is_taken(path) and path.is_file()]
    if not files:
        raise UserError(f"{folder}: no sound files in it ({', '.join(AUDIO_SUFFIXES)}).")
    return files


@contextmanager
def spooled(files: Sequence[Path]) -> Iterator[list[Path]]:
    """Files of which one may be "-" -> the same, with the bytes of standard input in a file for that long.

    Some formats cannot be decoded from a pipe, for their headers are looked up at the end.
    """
    if files.count(Path(STDIN)) == 0:
        yield list(files)
        return
    with tempfile.NamedTemporaryFile(prefix="fatk-stdin-") as kept:
        shutil.copyfileobj(sys.stdin.buffer, kept)
        kept.flush()
        yield [Path(kept.name) if path == Path(STDIN) else path for path in files]


class LeftOut:
    """Files of several that could not be read: each is told on standard error, and they are counted."""

    def __init__(self, total: int):
        self._total = total
        self._count = 0

    def add(self, name: object, why: object) -> None:
        """One more. Raises `UserError` where it is the only file, or none is left."""
        if self._total == 1:
            raise UserError(f"{name}: {why}.")
        self._count += 1
        print(f"fatk: left out: {name}: {why}.", file=sys.stderr)
        if self._count == self._total:
            raise UserError(f"none of the {self._total} files could be read.")

    def status(self) -> int:
        """Say how many they are, if any -> the exit status, 1 then."""
        if not self._count:
            return 0
        print(f"fatk: left out in all: {self._count} of {self._total} files", file=sys.stderr)
        return 1
