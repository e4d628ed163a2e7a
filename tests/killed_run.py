"""A small run that can be told where to die: `python -m tests.killed_run WHERE ARGUMENTS`.

ARGUMENTS are those of `fatk.train`. WHERE is `-`, or `NAME:N`: at the Nth file of a name that begins so, what was
written is cut in half and the process gets a SIGKILL before the file has its name.
"""

import os
import signal
import sys
from pathlib import Path

import fatk  # noqa: F401 - chooses the backend
from fatk import cli, runtime

runtime.quiet_tensorflow()

from fatk import train  # noqa: E402
from tests import small_runs  # noqa: E402


def die(name: str, number: int) -> None:
    """Kill this process while such a file is being written."""
    move = os.replace
    seen = 0

    def replace(source: Path, target: Path) -> None:
        nonlocal seen
        if Path(target).name.startswith(name):
            seen += 1
            if seen == number:
                os.truncate(source, os.path.getsize(source) // 2)
                os.kill(os.getpid(), signal.SIGKILL)
        move(source, target)

    os.replace = replace


if __name__ == "__main__":
    where, *arguments = sys.argv[1:]
    if where != "-":
        die(where.split(":")[0], int(where.split(":")[1]))
    runtime.set_up_jax()
    with small_runs.quick():
        cli.run(lambda: train.main(arguments))
