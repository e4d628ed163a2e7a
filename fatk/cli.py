"""What all commands share: arguments, words on the screen, and one line where something is wrong."""

import argparse
import errno
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fatk.config import Config, ConfigError, load_config
from pipelines.sources import DataError

# Of a full disk, a quota, a limit on files: Python often cannot tell for which file.
_FULL = [getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT", "EFBIG")]
_SETTING = re.compile(r"[a-z_][\w.]*=")  # `key=value`


class UserError(ValueError):
    """What the user can mend; the message is one line that says what and where."""


class _Parser(argparse.ArgumentParser):
    """argparse whose complaint is one line, and which knows its options that take a value."""

    def __init__(self, *args: Any, **kwargs: Any):
        self.valued: set[str] = set()
        super().__init__(*args, **kwargs)

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:
        action = super().add_argument(*args, **kwargs)
        if action.nargs != 0:
            self.valued.update(action.option_strings)
        return action

    def error(self, message: str) -> Any:
        fail(f"{message} (see {self.prog} --help)")


def parser(module: str, description: str | None) -> _Parser:
    """-> the parser of `python -m <module>`, with the first paragraph of its docstring."""
    return _Parser(prog=f"python -m {module}", description=(description or "").split("\n\n")[0])


def parse_config(arguments: _Parser, argv: Sequence[str] | None) -> tuple[Config, argparse.Namespace]:
    """Add `--config` and `key=value` overrides, parse -> (settings, the other arguments)."""
    arguments.add_argument("--config", required=True, metavar="FILE", help="a TOML file; see fatk/configs")
    arguments.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="settings on top, as in mixing.alpha=0.4 name=try"
    )
    words = list(sys.argv[1:] if argv is None else argv)
    # argparse would take a setting behind an option of several numbers (`--tta 1 name=try`) for one of them.
    own = [
        bool(_SETTING.match(word)) and before not in arguments.valued
        for before, word in zip(["", *words], words, strict=False)
    ]
    parsed = arguments.parse_intermixed_args(
        [w for w, setting in zip(words, own, strict=True) if not setting]
    )
    parsed.overrides += [w for w, setting in zip(words, own, strict=True) if setting]
    return load_config(parsed.config, parsed.overrides), parsed


def say(text: str, style: str = "") -> None:
    """One line on the screen."""
    _console(soft_wrap=True).print(text, style=style or None)


def _console(**settings: Any) -> Any:
    """A screen on which names of files and classes stay what they are: [a] is no markup, :bird: no picture."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, **settings)


def fail(message: str, code: int = 2) -> None:
    """Print what is wrong, a line each, and leave."""
    for line in message.splitlines():
        print(f"fatk: {line}", file=sys.stderr)
    sys.exit(code)


def _full(error: Exception) -> str:
    """What the system calls a full disk, where an error comes of one; else nothing.

    TensorFlow's writers and HDF5's tell it in their words alone: their errors have no number.
    """
    number = getattr(error, "errno", None)
    known = [own for own in _FULL if own is not None and (own == number or os.strerror(own) in str(error))]
    return os.strerror(known[0]) if known else ""


def run(main: Callable[[], int]) -> None:
    """Run a command: what the user can mend becomes a line and exit code 2, Ctrl-C exit code 130."""
    try:
        code = main()
    except (ConfigError, DataError, UserError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("stopped; what was finished is kept, and the same command goes on from there", 130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; Python would complain on the way out
        sys.exit(1)
    except OSError as error:
        if _full(error):
            where = f"{error.filename}: " if error.filename else ""
            fail(f"{where}{_full(error)}. What was written before is whole.")
        if error.filename is None:
            raise
        fail(f"{error.filename}: {error.strerror}.")  # a folder that is missing, or not ours to write
    except Exception as error:
        if not _full(error):
            raise
        fail(f"{_full(error)}. What was written before is whole.")
    else:
        sys.exit(code)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table on the screen; numbers to the right, floats with four digits."""
    from rich.table import Table

    made = Table(title=title, title_justify="left", title_style="bold")
    for number, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[number], int | float) for row in rows)
        made.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        made.add_row(*(f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in row))
    _console().print(made)


@contextmanager
def progress(title: str, total: int, unit: str) -> Iterator[Callable[[], None]]:
    """A bar with count, rate and time left; yields what moves it on by one. Safe to call from threads."""
    from rich import progress as bars
    from rich.text import Text

    class Speed(bars.ProgressColumn):
        """Asked when the bar is drawn, not at every step: rich looks at a thousand steps for it."""

        def render(self, task: bars.Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.0f} {unit}/s" if speed else "")

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        Speed(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns) as bar:
        task = bar.add_task(title, total=total)
        yield lambda: bar.advance(task)
