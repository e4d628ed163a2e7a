"""Split zip archives read in place, and unpacking that stays in its folder."""

import io
import os
import shutil
import stat
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fatk.archives import ArchiveError, members, open_archive, open_joined, unpack
from tests.split_zip import noise, split_zip


def read_all(parts: Sequence[Path]) -> dict[str, bytes]:
    with open_archive(parts) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


@pytest.mark.parametrize("wide", [False, True], ids=["plain", "zip64"])
def test_a_split_archive_reads_like_a_whole_one(tmp_path: Path, wide: bool) -> None:
    files = {f"set/{number}.wav": noise(number, 3000 * number) for number in range(8)}
    parts = split_zip(tmp_path, "set", files, 10_000, wide, b"a comment")
    assert len(parts) == 9
    end_to_end = io.BytesIO(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(zipfile.BadZipFile), zipfile.ZipFile(end_to_end) as archive:
        archive.read("set/7.wav")  # the parts are no zip yet: this is why we are here
    assert read_all(parts) == files
    joined = tmp_path / "joined.zip"
    with open_joined(parts) as file, joined.open("wb") as sink:
        shutil.copyfileobj(file, sink)
    with zipfile.ZipFile(joined) as archive:
        assert archive.testzip() is None
        assert archive.comment == b"a comment"
        assert all(info.extra.startswith(b"\x99\x99\2\0ab") for info in archive.infolist())


@given(
    contents=st.lists(st.binary(max_size=400), max_size=12),
    size=st.integers(130, 2000),
    wide=st.booleans(),
    comment=st.binary(max_size=30).filter(lambda text: b"PK" not in text),
)
@settings(max_examples=60, deadline=None)
def test_any_files_over_disks_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes], size: int, wide: bool, comment: bytes
) -> None:
    files = {f"{number}.bin": content for number, content in enumerate(contents)}
    folder = tmp_path_factory.mktemp("split")
    assert read_all(split_zip(folder, "x", files, size, wide, comment)) == files


@pytest.mark.skipif(shutil.which("zip") is None, reason="needs the program zip")
@pytest.mark.parametrize("options", [["-s", "64k"], ["-s", "64k", "-fz"]], ids=["plain", "zip64"])
def test_archives_of_the_program_zip(tmp_path: Path, options: list[str]) -> None:
    source = tmp_path / "set"
    source.mkdir()
    for number in range(5):
        (source / f"{number}.wav").write_bytes(noise(number, 50_000))
        (source / f"{number}.txt").write_bytes(b"soft silence\n" * 5000)
    subprocess.run(["zip", "-q", *options, "-r", "a.zip", "set"], cwd=tmp_path, check=True)
    parts = [*sorted(tmp_path.glob("a.z[0-9][0-9]")), tmp_path / "a.zip"]
    assert len(parts) >= 4
    with open_archive(parts) as archive:
        assert unpack(archive, "a.zip", tmp_path / "out", lambda: None) == 10
    for path in source.iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def test_offsets_past_4_gib_become_zip64(tmp_path: Path) -> None:
    """Holes in the file stand for the audio in between; nothing of that size is read or kept in memory."""
    parts = split_zip(tmp_path, "big", {"first": noise(1, 940), "second": noise(2, 940)}, 1000)
    os.truncate(parts[0], 5 * 2**30)  # offsets on the later disks do not change
    with open_archive(parts) as archive:
        first, second = archive.infolist()
        assert (first.header_offset, second.header_offset) == (4, 5 * 2**30)
        assert archive.start_dir > 5 * 2**30
        assert (archive.read(first), archive.read(second)) == (noise(1, 940), noise(2, 940))


def test_a_whole_zip_and_one_that_was_cut_up_afterwards(tmp_path: Path) -> None:
    whole = tmp_path / "whole.zip"
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("a/b.wav", noise(1, 5000))
    assert read_all([whole]) == {"a/b.wav": noise(1, 5000)}
    content = whole.read_bytes()
    pieces = [tmp_path / "cut.z01", tmp_path / "cut.z02", tmp_path / "cut.zip"]
    for number, piece in enumerate(pieces):
        piece.write_bytes(content[number * 2000 : (number + 1) * 2000])
    assert read_all(pieces) == {"a/b.wav": noise(1, 5000)}


def test_a_part_is_missing_or_cut_off(tmp_path: Path) -> None:
    parts = split_zip(tmp_path, "set", {f"{n}.wav": noise(n, 900) for n in range(4)}, 1000)
    with pytest.raises(ArchiveError, match=rf"set\.zip: it was made of {len(parts)} parts\. Received: 2"):
        read_all(parts[:1] + parts[-1:])
    with pytest.raises(ArchiveError, match=r"set\.z01: no directory at its end"):
        read_all(parts[:1])
    parts[-1].write_bytes(parts[-1].read_bytes()[:-3])
    with pytest.raises(ArchiveError, match=r"set\.zip: no directory at its end"):
        read_all(parts)
    (tmp_path / "tiny.zip").write_bytes(b"PK")
    with pytest.raises(ArchiveError, match=r"tiny\.zip: no directory"):
        read_all([tmp_path / "tiny.zip"])


def test_a_damaged_directory_is_an_error_of_one_line(tmp_path: Path) -> None:
    parts = split_zip(tmp_path, "set", {"a.wav": noise(0, 100), "b.wav": noise(1, 100)}, 10_000)
    content = parts[-1].read_bytes()
    for old, new in ((b"PK\1\2", b"PK\1\3"), (b"PK\5\6\0\0\0\0\2\0\2\0", b"PK\5\6\0\0\0\0\3\0\3\0")):
        assert old in content
        parts[-1].write_bytes(content.replace(old, new))
        with pytest.raises(ArchiveError, match=r"^set\.zip: its directory is damaged\.$"):
            read_all(parts)


def test_damaged_content_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.wav", b"sound " * 50)
    path.write_bytes(path.read_bytes().replace(b"sound ", b"sOund ", 1))
    with open_archive([path]) as archive, pytest.raises(ArchiveError, match=r"a\.zip: 'a\.wav' cannot be"):
        unpack(archive, "a.zip", tmp_path / "out", lambda: None)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name", ["../x.wav", "a/../../x.wav", "/tmp/x.wav", "..\\x.wav", "C:\\x.wav", "C:/x.wav", ".."]
)
def test_paths_that_climb_out_are_refused(tmp_path: Path, name: str) -> None:
    path, inside = tmp_path / "a.zip", tmp_path / "in" / "side"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.wav", b"1")
        archive.writestr(name, b"2")
    with open_archive([path]) as archive, pytest.raises(ArchiveError, match="outside its folder"):
        unpack(archive, "a.zip", inside, lambda: None)
    assert list(tmp_path.rglob("*")) == [path]


def test_links_and_doubles_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    for entries, message in (
        ([(link, "/etc/passwd")], "'link' is a link"),
        ([("a.wav", "1"), ("./a.wav", "2")], "stands in it twice"),
    ):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for name, content in entries:
                archive.writestr(name, content)
        with open_archive([tmp_path / "a.zip"]) as archive, pytest.raises(ArchiveError, match=message):
            members(archive, "a.zip")


def test_unpacking_drops_the_top_folder_and_what_a_mac_leaves(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("ESC-50-33c8/", "ESC-50-33c8/audio/1.wav", "ESC-50-33c8/meta\\esc50.csv"):
            archive.writestr(name, b"")
        archive.writestr("__MACOSX/ESC-50-33c8/audio/._1.wav", b"")
        archive.writestr("ESC-50-33c8/.DS_Store", b"")
    (tmp_path / ".ESC-50-master.unpacking" / "left").mkdir(parents=True)  # by a run that was stopped
    with open_archive([path]) as archive:
        assert unpack(archive, "a.zip", tmp_path / "ESC-50-master", lambda: None) == 2
    files = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {"a.zip", "ESC-50-master/audio/1.wav", "ESC-50-master/meta/esc50.csv"}


def test_files_at_the_top_stay_there(tmp_path: Path) -> None:
    parts = split_zip(tmp_path, "flat", {"a.wav": b"1", "deep/b.wav": b"2"}, 200)
    with open_archive(parts) as archive:
        unpack(archive, "flat.zip", tmp_path / "flat", lambda: None)
    assert (tmp_path / "flat/a.wav").read_bytes() == b"1"
    assert (tmp_path / "flat/deep/b.wav").read_bytes() == b"2"
