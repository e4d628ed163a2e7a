"""What a sweep may change: `space.toml` to ranges and choices, checked against a config before anything runs.

[space]
"stage.0.rate" = { low = 1e-4, high = 1e-2, log = true }
"loss.smoothing" = { low = 0.0, high = 0.2, step = 0.05 }
"features.bands" = { choices = [64, 128] }
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from fatk.cli import UserError
from fatk.config import Config, ConfigError, load_config, read_toml

Number = int | float
Scalar = bool | int | float | str

_EXAMPLE = '"stage.0.rate" = { low = 1e-4, high = 1e-2, log = true }'
_WORDS = ("low", "high", "log", "step", "choices")


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included; whole ones where both are."""

    low: Number
    high: Number
    log: bool = False  # drawn evenly by order of magnitude
    step: Number | None = None  # between values; None: any, or 1 for whole numbers

    @property
    def ends(self) -> tuple[Scalar, ...]:
        """What a config must take."""
        return (self.low, self.high)


@dataclass(frozen=True)
class Choices:
    """One of some values."""

    values: tuple[Scalar, ...]

    @property
    def ends(self) -> tuple[Scalar, ...]:
        """What a config must take."""
        return self.values


Space = dict[str, Range | Choices]


def override(key: str, value: Scalar) -> str:
    """-> `key=value` as a command takes it. JSON's scalars are TOML's."""
    return f"{key}={json.dumps(value)}"


def read_space(path: Path, config: str | Path, overrides: Sequence[str] = ()) -> Space:
    """A file -> what to draw for each key. Raises `UserError` with every problem, a line each.

    Every end and choice is tried in the config, alone and together with the others' first or last ones: a key
    that it does not have and a value that it never takes are found before the first run.
    """
    try:
        tree = read_toml(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. It holds a table [space], as in {_EXAMPLE}.") from None
    except ConfigError as error:
        raise UserError(str(error)) from None
    table = tree.pop("space", None)
    if not isinstance(table, dict) or not table or tree:
        raise UserError(
            f"{path}: must hold one table, [space], as in {_EXAMPLE}. "
            f"Received: {', '.join(tree) or 'nothing in it'}."
        )
    base = load_config(config, overrides)
    space: Space = {}
    problems = []
    for key, entry in _leaves(table):
        try:
            space[key] = _parse(entry, _is_float(base, key))
        except ValueError as error:
            problems += [f"`{key}` {line}" for line in str(error).splitlines()]
    problems += _refused(space, config, overrides)
    if problems:
        raise UserError("\n".join(f"{path}: {line}" for line in problems))
    return space


def _leaves(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Quoted or nested keys -> (dotted key, its entry)."""
    for name, entry in table.items():
        if isinstance(entry, dict) and entry and all(isinstance(inner, dict) for inner in entry.values()):
            yield from _leaves(entry, f"{prefix}{name}.")
        else:
            yield prefix + name, entry


def _is_float(config: Config, key: str) -> bool:
    """Whether a key holds a float, so that `low = 0` means 0.0."""
    *steps, last = key.split(".")
    here: Any = config
    try:
        for step in steps:
            here = here[int(step)] if isinstance(here, tuple) else getattr(here, step)
        hint = get_type_hints(type(here))[last]
    except (AttributeError, KeyError, IndexError, ValueError, TypeError):
        return False  # no such key: the config will say so
    return hint is float or float in get_args(hint)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _parse(entry: Any, floating: bool) -> Range | Choices:
    """One entry. Raises `ValueError` with what is wrong about it."""
    if not isinstance(entry, dict) or not entry:
        raise ValueError(f"must be a table, as in {_EXAMPLE}. Received: {entry!r}.")
    unknown = [word for word in entry if word not in _WORDS]
    if unknown:
        raise ValueError(f"takes low, high, log, step, or choices. Received: {', '.join(unknown)}.")
    if "choices" in entry:
        return _choices(entry, floating)
    if not {"low", "high"} <= set(entry):
        raise ValueError(f"must have low and high, or choices. Received: {', '.join(entry)}.")
    low: Any = entry["low"]
    high: Any = entry["high"]
    log, step = entry.get("log"), entry.get("step")
    if not isinstance(log, bool | None):
        raise ValueError(f"`log` must be true or false. Received: {log!r}.")
    for word in ("low", "high", "step"):
        if word in entry and not _number(entry[word]):
            raise ValueError(f"`{word}` must be a number. Received: {entry[word]!r}.")
    if not low < high:
        raise ValueError(f"`low` must be below `high`. Received: {low} and {high}.")
    if log and low <= 0:
        raise ValueError(f"`low` must be above 0 where `log` is true. Received: {low}.")
    if step is not None:
        steps = (high - low) / step if step > 0 else 0.5
        if log or abs(steps - round(steps)) > 1e-9 * steps:
            raise ValueError(
                f"`step` must divide high - low, {high - low:g}, and goes without `log`. Received: {step}."
            )
    if floating:
        low, high, step = float(low), float(high), None if step is None else float(step)
    return Range(low, high, bool(log), step)


def _choices(entry: dict[str, Any], floating: bool) -> Choices:
    """`choices = [...]` alone."""
    values = entry["choices"]
    if len(entry) > 1:
        raise ValueError(f"`choices` stands alone. Received: {', '.join(entry)}.")
    if not isinstance(values, list) or not values or not all(isinstance(v, Scalar) for v in values):
        raise ValueError(f"`choices` must be a list of numbers, strings or booleans. Received: {values!r}.")
    if floating:
        values = [float(value) if _number(value) else value for value in values]
    if len({json.dumps(value) for value in values}) < len(values):
        raise ValueError(f"`choices` must all differ. Received: {values!r}.")
    return Choices(tuple(values))


def _refused(space: Space, config: str | Path, overrides: Sequence[str]) -> list[str]:
    """What the config never takes."""
    problems = []
    for key, entry in space.items():
        others = [{k: e.ends[end] for k, e in space.items() if k != key} for end in (0, -1)]
        for value in entry.ends:
            said: list[str] = []
            for beside in ({}, *others):
                lines = [override(k, v) for k, v in (beside | {key: value}).items()]
                try:
                    load_config(config, [*overrides, *lines])
                except ConfigError as error:
                    # Of the first try alone: with the others' values, what is wrong may be theirs.
                    said = said or str(error).removeprefix(f"{config}: ").splitlines()
                else:
                    said = []
                    break
            problems += [line if f"`{key}`" in line else f"`{key}` = {value}: {line}" for line in said]
    return list(dict.fromkeys(problems))
