"""What an ablation compares: `rows.toml` to rows, checked against a config before anything runs.

[[row]]
name = "curated only"
set = ["data.noisy=false"]

[[row]]
name = "soft labels"
on = "curated only"          # an earlier row, whose settings come first and whose score is the measure
set = ["labels.soft=true"]
note = "what is to be known beside it"
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fatk.cli import UserError
from fatk.config import Config, ConfigError, load_config, read_toml

_WORDS = {"name": str, "on": str, "set": list, "note": str}
_OWN = ("name", "seed")  # settings that the command gives


@dataclass(frozen=True)
class Row:
    """One line of the table: a name, the settings that make it, what it is compared with."""

    name: str
    overrides: tuple[str, ...]  # `key=value`, those of the rows that it builds on first
    on: str = ""  # the row that it builds on; empty: the config as it is
    note: str = ""

    @property
    def slug(self) -> str:
        """The name as a part of a folder's."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


def read_rows(path: Path, config: str | Path, overrides: Sequence[str] = ()) -> dict[str, tuple[Row, Config]]:
    """-> {name: (row, its settings)} in the file's order. Raises `UserError` with every problem, a line each."""
    try:
        tree = read_toml(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. It holds tables [[row]] with name and set.") from None
    except ConfigError as error:
        raise UserError(str(error)) from None
    tables = tree.pop("row", None)
    if not isinstance(tables, list) or not tables or tree:
        raise UserError(
            f"{path}: must hold tables [[row]] and nothing else. Received: {', '.join(tree) or 'none'}."
        )
    found: dict[str, tuple[Row, Config]] = {}
    problems: list[str] = []
    for number, table in enumerate(tables, 1):
        wrong = _unfit(table, found)
        if wrong:
            problems += [f"row {number}: {line}" for line in wrong]
            continue
        before = found[table["on"]][0].overrides if "on" in table else ()
        row = Row(table["name"], (*before, *table.get("set", ())), table.get("on", ""), table.get("note", ""))
        try:
            settings = load_config(config, [*overrides, *row.overrides])
        except ConfigError as error:
            problems += [f"row {row.name!r}: {line}" for line in str(error).splitlines()]
            settings = load_config(config, overrides)  # rows on top of it are looked at all the same
        found[row.name] = row, settings
    if problems:
        raise UserError("\n".join(f"{path}: {line}" for line in problems))
    return found


def _unfit(table: Any, before: dict[str, tuple[Row, Config]]) -> list[str]:
    """What is wrong with one table, in words."""
    if not isinstance(table, dict):
        return ["must be a table."]
    wrong = [f"`{key}` must be one of {', '.join(_WORDS)}." for key in table if key not in _WORDS]
    for key, kind in _WORDS.items():
        if key in table and not isinstance(table[key], kind):
            what = "text" if kind is str else "a list of `key=value`"
            wrong.append(f"`{key}` must be {what}. Received: {table[key]!r}.")
    if wrong:
        return wrong
    slug = Row(table.get("name", ""), ()).slug
    if not slug:
        return [f"`name` must have letters or digits. Received: {table.get('name', '')!r}."]
    if slug in {row.slug for row, _ in before.values()}:
        wrong.append(f"`name` must be no other row's. Received: {table['name']!r}.")
    if table.get("on", "") and table["on"] not in before:
        wrong.append(
            f"`on` must be a row above: {', '.join(before) or 'none yet'}. Received: {table['on']!r}."
        )
    unfit = [e for e in table.get("set", ()) if not isinstance(e, str) or e.partition("=")[0].strip() in _OWN]
    wrong += [
        f"`set` holds `key=value`, none of {' or '.join(_OWN)}. Received: {entry!r}." for entry in unfit
    ]
    return wrong
