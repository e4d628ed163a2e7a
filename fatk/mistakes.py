"""What is wrong with a configuration, in words: keys that nobody knows, and values that pydantic refuses."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

Keys = dict[str, tuple[str, ...]]  # name at the top -> keys of its section; none for a plain value


def suggest(key: str, keys: Keys) -> str:
    """' Did you mean ...?', or the keys of the section where nothing is near."""
    bare = re.sub(r"\.\d+", "", key)
    section = bare.split(".")[0]
    # `stage.epochs` stands for any stage's; what is suggested has the number that was given.
    number = re.match(r"\w+(\.\d+)\.", key)
    known = [name for name in keys if name != section]
    known += [f"{name}.{own}" for name, section_keys in keys.items() for own in section_keys]
    near = difflib.get_close_matches(bare, known, 1, 0.75)
    last = bare.rsplit(".", 1)[-1]
    near = near or [k for k in known if k.rsplit(".", 1)[-1] == last]
    near = near or [
        k
        for m in difflib.get_close_matches(last, [k.rsplit(".", 1)[-1] for k in known], 1, 0.7)
        for k in known
        if k.rsplit(".", 1)[-1] == m
    ]
    if near:
        found = near[0]
        if number and found.startswith(f"{section}."):
            found = section + number[1] + found[len(section) :]
        return f" Did you mean `{found}`?"
    return f" Its keys are: {', '.join(keys.get(section) or [k for k in known if '.' not in k])}."


def unknown(tree: dict[str, Any], keys: Keys) -> list[str]:
    """A line for every key of nested tables that no section has."""
    lines = []
    for name, value in tree.items():
        if name not in keys:
            lines.append(f"`{name}` is no key.{suggest(name, keys)}")
            continue
        if not keys[name]:
            continue
        tables = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
        for number, table in tables:
            prefix = name if number is None else f"{name}.{number}"
            if not isinstance(table, dict):
                continue  # the wrong type is reported by the validation
            lines += [
                f"`{prefix}.{k}` is no key.{suggest(f'{prefix}.{k}', keys)}"
                for k in table
                if k not in keys[name]
            ]
    return lines


def refused(error: "ValidationError") -> Iterator[str]:
    """pydantic's findings in our words, a line each with its dotted key."""
    for found in error.errors():
        key = ".".join(str(part) for part in found["loc"])
        if found["type"] == "extra_forbidden" or found["type"] == "unexpected_keyword_argument":
            continue  # reported by `unknown`, with a suggestion
        if found["type"] == "value_error":
            for line in str(found["ctx"]["error"]).splitlines():
                yield re.sub(r"^`", f"`{key}.", line) if key else line
        elif found["type"] == "literal_error":
            choices = found["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
            yield f"`{key}` must be one of {choices}. Received: {found['input']!r}."
        else:
            wanted = found["msg"].replace("Input should be", "must be")
            yield f"`{key}` {wanted}. Received: {found['input']!r}."


def without(tree: dict[str, Any], places: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
    """A copy of nested tables with the entries at some places taken out."""
    copy: dict[str, Any] = json.loads(json.dumps(tree, default=str))
    for place in places:
        # The whole value of a key: what is wrong inside of a list or a range would otherwise give way to
        # another thing that is wrong there.
        *steps, last = place[: 3 if place[0] == "stage" else 2]
        here: Any = copy
        for step in steps:
            here = here[step]
        if isinstance(here, dict):
            here.pop(last, None)
        elif isinstance(here, list):
            here[last] = {}  # a stage keeps its place
    return copy
