"""Zip archives, split ones too: the parts read as one file, and unpacking that cannot leave its folder.

The parts of a split zip (x.z01, x.z02, ..., x.zip) end to end are no zip yet: its directory says on which disk
each member starts, and where on that disk. Here the parts are read in place, as one file whose directory has
been rewritten to plain offsets. Nothing but the directory is held in memory and no second copy is written.
Names of fields are those of PKWARE's APPNOTE 6.3.
"""

import io
import os
import shutil
import stat
import struct
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

_ENTRY = struct.Struct("<4s6H3L5H2L")  # one member in the central directory
_END = struct.Struct("<4s4H2LH")  # end of central directory
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")  # stands right before _END and says where _END64 is

_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF  # "too large for this field: look into ZIP64's"
_WIDE = 1  # the tag of ZIP64's extra field
_BLOCK = 1 << 20  # bytes in memory at once
_JUNK = ("__MACOSX", ".DS_Store")  # what a Mac adds to archives


class ArchiveError(ValueError):
    """An archive that cannot be read, or that must not be unpacked; the message names it."""


class JoinedParts(io.RawIOBase):
    """The parts end to end as far as `cut`, then `tail`: one read-only file."""

    def __init__(self, parts: Sequence[Path]) -> None:
        """Open the parts; until `replace_tail` is called they read as they are."""
        super().__init__()
        with ExitStack() as opening:
            self._files = [opening.enter_context(path.open("rb", buffering=0)) for path in parts]
            self._open = opening.pop_all()
        self.starts = [0]  # bytes before each part, and of all at the end
        for file in self._files:
            self.starts.append(self.starts[-1] + os.fstat(file.fileno()).st_size)
        self._cut, self._tail, self._at = self.starts[-1], b"", 0

    def replace_tail(self, cut: int, tail: bytes) -> None:
        """From byte `cut` on the file reads as `tail`."""
        self._cut, self._tail = cut, tail

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """-> the new place, bytes."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._cut + len(self._tail)}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` from one part or from the tail -> bytes read; 0 at the end."""
        view = memoryview(buffer).cast("B")
        if self._at >= self._cut:
            found = self._tail[self._at - self._cut :][: len(view)]
            view[: len(found)] = found
            read = len(found)
        else:
            part = bisect_right(self.starts, self._at) - 1
            room = min(len(view), self._cut - self._at, self.starts[part + 1] - self._at)
            self._files[part].seek(self._at - self.starts[part])
            read = self._files[part].readinto(view[:room]) or 0
        self._at += read
        return read

    def close(self) -> None:
        """Close the parts."""
        if hasattr(self, "_open"):  # not where a part could not be opened
            self._open.close()
        super().close()


def _bytes(file: io.BufferedIOBase, start: int, count: int) -> bytes:
    """So many bytes from there, or `ArchiveError`."""
    file.seek(start)
    found = file.read(count)
    if start < 0 or len(found) != count:
        raise ArchiveError("it is cut off.")
    return found


def _find_end(file: io.BufferedIOBase, total: int) -> tuple[int, tuple[Any, ...], bytes]:
    """-> (where the end record is, its fields, the archive's comment)."""
    start = max(0, total - _END.size - _FULL16)
    tail = _bytes(file, start, total - start)
    at = tail.rfind(b"PK\5\6")
    while at >= 0:
        if at + _END.size <= len(tail):
            fields = _END.unpack_from(tail, at)
            if at + _END.size + fields[-1] == len(tail):
                return start + at, fields, tail[at + _END.size :]
        at = tail.rfind(b"PK\5\6", 0, at)
    raise ArchiveError("no directory at its end: it is cut off, or no zip archive.")


def _plain_directory(joined: JoinedParts) -> tuple[int, bytes]:
    """-> (where the directory starts, bytes; the directory and end records with offsets in the joined file)."""
    file = io.BufferedReader(joined, 1 << 16)
    starts, total = joined.starts, joined.starts[-1]
    end, (_, disk, directory_disk, _, count, size, offset, _), comment = _find_end(file, total)
    limit = end
    locator = _bytes(file, end - _LOCATOR.size, _LOCATOR.size) if end >= _LOCATOR.size else b""
    wide = (_FULL16 in (disk, directory_disk, count) or _FULL32 in (size, offset)) and locator[
        :4
    ] == b"PK\6\7"

    def place(disk: int, offset: int) -> int:
        if disk >= len(starts) - 1:
            raise ArchiveError(f"it names part {disk + 1}, but has {len(starts) - 1}.")
        return int(starts[disk] + offset)

    if wide:
        _, end64_disk, end64_offset, _ = _LOCATOR.unpack(locator)
        limit = place(end64_disk, end64_offset)
        fields = _END64.unpack(_bytes(file, limit, _END64.size))
        if fields[0] != b"PK\6\6":
            raise ArchiveError("its ZIP64 end record is missing.")
        disk, directory_disk, _, count, size, offset = fields[4:]
    # Disk 0 with several parts: a plain zip that was cut up afterwards. Its offsets are right as they are.
    if disk not in (0, len(starts) - 2):
        raise ArchiveError(f"it was made of {disk + 1} parts. Received: {len(starts) - 1}.")
    start = place(directory_disk, offset)
    if start + size > limit:
        raise ArchiveError("its directory is cut off.")
    directory = _plain_entries(_bytes(file, start, size), count, place)
    file.detach()
    return start, directory + _end_records(start, len(directory), count, comment)


def _plain_entries(directory: bytes, count: int, place: Callable[[int, int], int]) -> bytes:
    """The directory's entries with disk 0 and the offset in the joined file."""
    made, at = bytearray(), 0
    for _ in range(count):
        fields = list(_ENTRY.unpack_from(directory, at))
        name, extra, comment = fields[10:13]
        begin = at + _ENTRY.size
        if fields[0] != b"PK\1\2" or begin + name + extra + comment > len(directory):
            raise ArchiveError("its directory is damaged.")
        wide, others = _take_wide(directory[begin + name : begin + name + extra])
        sizes = 8 * ((fields[9] == _FULL32) + (fields[8] == _FULL32))  # they come first, and stay as they are
        kept, rest = wide[:sizes], wide[sizes:]
        disk, offset = fields[13], fields[16]
        if offset == _FULL32 and len(rest) >= 8:
            offset, rest = int.from_bytes(rest[:8], "little"), rest[8:]
        if disk == _FULL16 and len(rest) >= 4:
            disk = int.from_bytes(rest[:4], "little")
        offset = place(disk, offset)
        if offset >= _FULL32:
            kept, offset = kept + offset.to_bytes(8, "little"), _FULL32
        if kept:
            others += struct.pack("<2H", _WIDE, len(kept)) + kept
            fields[2] = max(fields[2], 45)  # the version that knows ZIP64
        if len(others) > _FULL16:
            raise ArchiveError("its directory is damaged.")
        fields[11], fields[13], fields[16] = len(others), 0, offset
        made += _ENTRY.pack(*fields) + directory[begin : begin + name] + others
        made += directory[begin + name + extra : begin + name + extra + comment]
        at = begin + name + extra + comment
    return bytes(made)


def _take_wide(extra: bytes) -> tuple[bytes, bytes]:
    """A member's extra fields -> (what ZIP64's holds, the other fields)."""
    wide, others, at = b"", b"", 0
    while at + 4 <= len(extra):
        tag, size = struct.unpack_from("<2H", extra, at)
        field = extra[at : at + 4 + size]
        if tag == _WIDE:
            wide = field[4:]
        else:
            others += field
        at += 4 + size
    return wide, others


def _end_records(start: int, size: int, count: int, comment: bytes) -> bytes:
    """What follows a directory of `count` entries that starts at byte `start`."""
    made = b""
    if count >= _FULL16 or size >= _FULL32 or start >= _FULL32:
        made += _END64.pack(b"PK\6\6", _END64.size - 12, 45, 45, 0, 0, count, count, size, start)
        made += _LOCATOR.pack(b"PK\6\7", 0, start + size, 1)
    short = (min(count, _FULL16), min(count, _FULL16), min(size, _FULL32), min(start, _FULL32))
    return made + _END.pack(b"PK\5\6", 0, 0, *short, len(comment)) + comment


@contextmanager
def open_joined(parts: Sequence[Path]) -> Iterator[io.BufferedIOBase]:
    """x.z01, ..., x.zip in order -> one file that is a plain zip. Raises `ArchiveError`."""
    with JoinedParts(parts) as joined:
        try:
            joined.replace_tail(*_plain_directory(joined))
        except struct.error:
            raise ArchiveError(f"{parts[-1].name}: its directory is damaged.") from None
        except ArchiveError as error:
            raise ArchiveError(f"{parts[-1].name}: {error}") from None
        joined.seek(0)
        with io.BufferedReader(joined, _BLOCK) as file:
            yield file


def members(archive: zipfile.ZipFile, name: str) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """-> the files in an archive and their paths below its top folder, if it has one.

    Raises `ArchiveError` for a path that climbs out, is absolute or stands twice, and for links.
    """
    found: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        path = PurePosixPath(info.filename.replace("\\", "/"))
        kind = stat.S_IFMT(info.external_attr >> 16)
        if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
            raise ArchiveError(f"{name}: refused, {info.filename!r} would be written outside its folder.")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArchiveError(f"{name}: refused, {info.filename!r} is a link or a device.")
        if info.is_dir() or kind == stat.S_IFDIR or set(path.parts) & set(_JUNK):
            continue
        if path in found:
            raise ArchiveError(f"{name}: refused, {info.filename!r} stands in it twice.")
        found[path] = info
    tops = {path.parts[0] for path in found}
    depth = 1 if len(tops) == 1 and all(len(path.parts) > 1 for path in found) else 0
    return [(info, PurePosixPath(*path.parts[depth:])) for path, info in found.items()]


@contextmanager
def open_archive(parts: Sequence[Path]) -> Iterator[zipfile.ZipFile]:
    """x.z01, ..., x.zip in order, or one whole zip -> a `ZipFile`. Raises `ArchiveError`."""
    with open_joined(parts) as file:
        try:
            archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise ArchiveError(f"{parts[-1].name}: {error}") from None
        with archive:
            yield archive


def unpack(archive: zipfile.ZipFile, name: str, folder: Path, advance: Callable[[], None]) -> int:
    """Write an archive's files into a new `folder`, which appears when all are there -> how many."""
    inside = members(archive, name)
    unfinished = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a run that was stopped
    unfinished.mkdir(parents=True)
    for info, path in inside:
        target = unfinished / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with archive.open(info) as source, target.open("xb") as sink:
                shutil.copyfileobj(source, sink, _BLOCK)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            # Damaged, encrypted, or packed in a way that Python does not know.
            raise ArchiveError(f"{name}: {info.filename!r} cannot be unpacked ({error}).") from None
        advance()
    os.replace(unfinished, folder)
    return len(inside)
