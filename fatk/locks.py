"""One process at a time: what another is at is waited for, refused, or left until later.

So a cross-validation or an ablation may be started several times, on a core or a GPU each, and the processes share
its runs. The operating system frees the locks of a process that was killed.
"""

import atexit
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from fatk import cli

if TYPE_CHECKING:
    from filelock import BaseFileLock

Key = TypeVar("Key")
Value = TypeVar("Value")

_reading: "dict[Path, BaseFileLock]" = {}  # folders that this process reads


@contextmanager
def hold(path: Path, wait: bool = True, inside: bool = False) -> Iterator[bool]:
    """-> whether this process has the file or folder to itself for as long as the block lasts.

    Where another one has it, that is said and waited for, or not waited for: then it is false. The lock is a
    hidden file beside `path`, which need not exist, or `inside` the folder, which is made; it goes with the block.
    """
    # Imported late: `--help` has no use for it.
    from filelock import FileLock, Timeout

    place = path / ".lock" if inside else path.with_name(f".{path.name}.lock")
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            yield False
            return
        cli.say(f"{path}: another process is at it; waiting")
        lock.acquire()
    try:
        yield True
    finally:
        _free(lock)


def _free(lock: "BaseFileLock") -> None:
    # While it is held: whoever has opened the file meanwhile finds that it lost its name, and opens another.
    with suppress(OSError):  # Windows deletes no open file; it stays there
        Path(lock.lock_file).unlink()
    lock.release()


def read(folder: Path) -> None:
    """Let others know that this process reads what is in a folder, until it ends."""
    from filelock import FileLock

    own = _reading.get(folder.resolve())
    if own is None or not Path(own.lock_file).exists():
        lock = FileLock(folder / f".reader-{os.urandom(8).hex()}.lock", thread_local=False)
        lock.acquire()
        _reading[folder.resolve()] = lock
        atexit.register(_free, lock)


def others_read(folder: Path) -> bool:
    """Whether some other process reads what is in a folder."""
    from filelock import FileLock, Timeout

    own = _reading.get(folder.resolve())
    for path in folder.glob(".reader-*.lock"):
        if own is None or Path(own.lock_file).name != path.name:
            lock = FileLock(path)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                return True
            _free(lock)  # of a process that was killed
    return False


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Like `hold`. Raises `UserError` at once where another process has it."""
    with hold(path, wait=False) as free:
        if not free:
            raise cli.UserError(
                f"{path}: another process is at it. Wait for it to end, or give name=another."
            )
        yield


def share(jobs: Mapping[Key, tuple[Path, Callable[[], Value]]]) -> dict[Key, Value]:
    """{key: (folder, work)} -> {key: what the work gave}, shared with other processes that have the same jobs.

    Work is done with its folder held, in order, first where nobody else is at it. It must read back what is
    finished: that is how the value of what another process did is come by.
    """
    done: dict[Key, Value] = {}
    rest = list(jobs)
    while rest:
        busy = []
        for key in rest:
            folder, work = jobs[key]
            with hold(folder, wait=False) as free:
                if free:
                    done[key] = work()
                else:
                    busy.append(key)
        if busy == rest:
            with hold(jobs[busy[0]][0]):
                pass  # whoever was killed left it to us, to be done in the next turn
        rest = busy
    return {key: done[key] for key in jobs}
