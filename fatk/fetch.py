"""`python -m fatk.fetch fsdkaggle2019|esc50|fsd50k --to DIR`: public data sets, downloaded and unpacked.

A second run does nothing; one that was stopped goes on. Archives are deleted as soon as they are unpacked
unless `--keep-archives` says otherwise. $FATK_ZENODO and $FATK_GITHUB name mirrors to use instead of
https://zenodo.org and https://github.com.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fatk import cli, locks
from fatk.archives import ArchiveError, members, open_archive, unpack
from fatk.fetch_index import SETS, Archive, DataSet, Remote

_HOSTS = {"FATK_ZENODO": "https://zenodo.org", "FATK_GITHUB": "https://github.com"}
_SPARE = 100_000_000  # bytes that must stay free


def _amount(size: int) -> str:
    """Bytes in words."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _count_files(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


def _unpacked(archive: Archive, root: Path) -> bool:
    """Whether its folder is there. Raises `UserError` where that one is not whole: it is not ours to delete."""
    folder = root / archive.folder
    if not folder.exists():
        return False
    found = _count_files(folder)
    if found < archive.files:
        raise cli.UserError(
            f"{folder}: {found} files, but {archive.files} belong there. Move the folder away and run again."
        )
    return True


def _via_mirror(url: str) -> str:
    for variable, host in _HOSTS.items():
        if os.environ.get(variable) and url.startswith(f"{host}/"):
            return os.environ[variable].rstrip("/") + url.removeprefix(host)
    return url


def _resolve(dataset: DataSet, todo: Sequence[Archive]) -> list[Archive]:
    """The archives with address, size and checksum of every part, asked from Zenodo's record where there is one.

    Raises `UserError` where the record lacks a file or contradicts what this project knows of it.
    """
    listed = _read_record(dataset.record) if dataset.record else {}
    resolved = []
    for archive in todo:
        parts = []
        for known in archive.parts:
            part = listed.get(known.name, known)
            if not (part.url and part.size and part.checksum):
                raise cli.UserError(f"{dataset.page} lists no file {known.name}.")
            if known.checksum and (part.size, part.checksum) != (known.size, known.checksum):
                raise cli.UserError(
                    f"{dataset.page} has changed: it lists {known.name} with {part.size} bytes and "
                    f"{part.checksum}, but {known.size} bytes and {known.checksum} were published."
                )
            parts.append(replace(part, url=_via_mirror(part.url)))
        resolved.append(replace(archive, parts=tuple(parts)))
    return resolved


def _read_record(number: int) -> dict[str, Remote]:
    """A record of Zenodo -> its files by name."""
    from fatk.download import get_json

    address = _via_mirror(f"{_HOSTS['FATK_ZENODO']}/api/records/{number}")
    record = get_json(address)
    try:
        found = [
            Remote(str(file["key"]), int(file["size"]), str(file["checksum"]), str(file["links"]["self"]))
            for file in record["files"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise cli.UserError(f"{address}: not the list of files that was expected ({error!r}).") from None
    return {file.name: file for file in found if file.url.startswith(("https://", "http://"))}


def _here(part: Remote, store: Path) -> int:
    """Bytes of a part that are on disk already."""
    for path in (store / part.name, store / f"{part.name}.part"):
        if path.exists():
            return min(path.stat().st_size, part.size)
    return 0


def _space(todo: Sequence[Archive], store: Path, keep: bool) -> tuple[int, int]:
    """-> (bytes to download, bytes that the disk must have free at the busiest moment)."""
    download = held = peak = 0
    for archive in todo:
        missing = sum(part.size - _here(part, store) for part in archive.parts)
        download += missing
        held += missing + archive.unpacked
        peak = max(peak, held)
        if not keep:
            held -= sum(part.size for part in archive.parts)
    return download, peak + _SPARE


def _check_space(root: Path, needed: int) -> int:
    """-> bytes free. Raises `UserError` where they are not enough."""
    there = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise cli.UserError(f"{root}: {_amount(needed)} needed, {_amount(free)} free.")
    return free


def _get(archive: Archive, root: Path, store: Path, keep: bool) -> None:
    """Download one archive's parts, unpack them, and delete them."""
    from fatk.download import download

    paths = []
    for number, part in enumerate(archive.parts, 1):
        title = part.name if len(archive.parts) == 1 else f"{part.name} ({number} of {len(archive.parts)})"
        paths.append(download(part.url, part.name, part.size, part.checksum, store, title))
    with open_archive(paths) as opened:
        inside = members(opened, paths[-1].name)
        if len(inside) < archive.files:
            raise cli.UserError(
                f"{paths[-1].name}: {len(inside)} files, but {archive.files} should be in it."
            )
        _check_space(root, sum(info.file_size for info, _ in inside))
        with cli.progress(f"unpacking {archive.folder}", len(inside), "files") as advance:
            unpack(opened, paths[-1].name, root / archive.folder, advance)
    if not keep:
        for path in paths:
            path.unlink()


def fetch(dataset: DataSet, root: Path, keep: bool = False) -> None:
    """Bring a set into `root`: what is there already stays, the rest is downloaded and unpacked.

    Another process that brings something there is waited for: both would write into the same files.
    """
    todo = [archive for archive in dataset.archives if not _unpacked(archive, root)]
    if not todo:
        cli.say(f"{dataset.title} is complete in {root / dataset.path}; nothing to do")
        return
    store = root / "archives"
    todo = _resolve(dataset, todo)
    download, needed = _space(todo, store, keep)
    free = _check_space(root, needed)
    cli.say(
        f"{dataset.title} from {dataset.page}: {_amount(download)} to download, {_amount(needed)} of disk "
        f"needed at most, {_amount(free)} free"
    )
    with locks.hold(store):
        store.mkdir(parents=True, exist_ok=True)
        for archive in todo:
            if not _unpacked(archive, root):  # another process may have brought it meanwhile
                _get(archive, root, store, keep)
        if not any(store.iterdir()):
            store.rmdir()
    cli.say(f"{dataset.title} is ready in {root / dataset.path}")


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = cli.parser("fatk.fetch", __doc__)
    parser.add_argument("name", choices=tuple(SETS), help="the data set")
    parser.add_argument("--to", required=True, metavar="DIR", help="the folder to put it in")
    parser.add_argument("--keep-archives", action="store_true", help="do not delete what has been unpacked")
    arguments = parser.parse_args(argv)
    try:
        fetch(SETS[arguments.name], Path(arguments.to), arguments.keep_archives)
    except ArchiveError as error:
        raise cli.UserError(str(error)) from None
    except OSError as error:
        raise cli.UserError(f"{error.filename or arguments.to}: {error.strerror or error}.") from None
    return 0


if __name__ == "__main__":
    cli.run(main)
