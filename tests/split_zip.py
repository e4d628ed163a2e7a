"""Made archives: a writer of split zips after PKWARE's APPNOTE, apart from the reader that it tests."""

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF


class Disks:
    """Pieces written over disks of at most `size` bytes; the spanning marker stands at the very beginning."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.disks = [bytearray(b"PK\7\x08")]

    def reserve(self, count: int) -> tuple[int, int]:
        """Begin a new disk where `count` bytes do not fit on this one -> (disk, offset) of what is put next."""
        if len(self.disks[-1]) + count > self.size:
            self.disks.append(bytearray())
        return len(self.disks) - 1, len(self.disks[-1])

    def put(self, piece: bytes) -> tuple[int, int]:
        """A record, which stays whole on one disk -> (disk, offset) of it."""
        at = self.reserve(len(piece))
        self.disks[-1] += piece
        return at

    def pour(self, data: bytes) -> None:
        """Data, which may be cut anywhere."""
        while data:
            self.reserve(1)
            room = self.size - len(self.disks[-1])
            self.disks[-1] += data[:room]
            data = data[room:]


def split_zip(
    folder: Path, stem: str, files: Mapping[str, bytes], size: int, wide: bool = False, comment: bytes = b""
) -> list[Path]:
    """Write stem.z01, ..., stem.zip as APPNOTE lays them out; `wide` uses ZIP64 wherever it can be used."""
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    written, disks, entries = plain.getvalue(), Disks(size), []
    for info in zipfile.ZipFile(plain).infolist():
        name, extra = struct.unpack_from("<2H", written, info.header_offset + 26)
        head = 30 + name + extra
        body = written[info.header_offset :][: head + info.compress_size]
        disk, offset = disks.put(body[:head])
        disks.pour(body[head:])
        field = b"\x99\x99\2\0ab"  # of some other program; it must survive
        if wide:
            field += struct.pack("<2H3QL", 1, 28, info.file_size, info.compress_size, offset, disk)
        sizes = (FULL32, FULL32) if wide else (info.compress_size, info.file_size)
        label = info.filename.encode()
        where = (FULL16 if wide else disk, 0, info.external_attr, FULL32 if wide else offset)
        entries.append(
            struct.pack("<4s6H", b"PK\1\2", 20, 20, info.flag_bits, info.compress_type, 0, 33)
            + struct.pack("<3L3H", info.CRC, *sizes, len(label), len(field), 0)
            + struct.pack("<2H2L", *where)
            + label
            + field
        )
    disk, offset = [*map(disks.put, entries), disks.reserve(0)][0]
    count, total = len(entries), sum(map(len, entries))
    last, at = disks.reserve((98 if wide else 22) + len(comment))
    if wide:
        record = (b"PK\6\6", 44, 45, 45, last, disk, count, count, total, offset)
        disks.put(struct.pack("<4sQ2H2L4Q", *record) + struct.pack("<4sLQL", b"PK\6\7", last, at, last + 1))
    short = 4 * (FULL16,) + 2 * (FULL32,) if wide else (last, disk, count, count, total, offset)
    disks.put(struct.pack("<4s4H2LH", b"PK\5\6", *short, len(comment)) + comment)
    names = [f"{stem}.z{number:02d}" for number in range(1, len(disks.disks))] + [f"{stem}.zip"]
    for name, disk_bytes in zip(names, disks.disks, strict=True):
        (folder / name).write_bytes(disk_bytes)
    return [folder / name for name in names]


def noise(seed: int, count: int) -> bytes:
    """Bytes that do not compress."""
    return np.random.default_rng(seed).bytes(count)
