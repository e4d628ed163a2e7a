"""One process at a time: what another is at is waited for, refused, or left until later.

So a cross-validation or an ablation may be started several times, on a core or a GPU each, and the processes share
its runs. The operating system frees the locks of a process that was killed.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from fatk import cli

Key = TypeVar("Key")
Value = TypeVar("Value")


@contextmanager
def hold(path: Path, wait: bool = True) -> Iterator[bool]:
    """-> whether this process has the file or folder to itself for as long as the block lasts.

    Where another one has it, that is said and waited for, or not waited for: then it is false. The lock is a
    hidden file beside `path`, which need not exist, and goes with the block.
    """
    # Imported late: `--help` has no use for it.
    from filelock import FileLock, Timeout

    lock = FileLock(path.with_name(f".{path.name}.lock"))
    path.parent.mkdir(parents=True, exist_ok=True)
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
        # While it is held: whoever has opened the file meanwhile finds that it lost its name, and opens another.
        with suppress(OSError):  # Windows deletes no open file; it stays there
            Path(lock.lock_file).unlink()
        lock.release()


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
