"""The classes of a set, in order."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pipelines.tables import Clip, DataError

_HEADINGS = {"label", "labels", "class", "classes", "class_name", "name", "display_name"}


def vocabulary(clips: Iterable[Clip]) -> tuple[str, ...]:
    """Every label, in alphabetical order."""
    return tuple(sorted({label for clip in clips for label in clip.labels}))


def read_vocabulary(table: Path) -> tuple[str, ...]:
    """A published `vocabulary.csv` -> its classes in order.

    A row holds a class, with its number before it and its AudioSet id after it as there are; a header may
    stand above.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as lines:
            rows = [(n, [cell.strip() for cell in row]) for n, row in enumerate(csv.reader(lines), 1)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: not a CSV table in UTF-8 ({error}).") from None
    classes: list[str] = []
    for line, row in rows:
        cells = [cell for cell in row if cell and not cell.isdigit() and not cell.startswith("/")]
        if not any(row) or (line == 1 and {cell.lower() for cell in cells} & _HEADINGS):
            continue
        if len(cells) != 1:
            raise DataError(
                f"{table}, line {line}: one class a row is expected. Received: {','.join(row)!r}."
            )
        if cells[0] in classes:
            raise DataError(f"{table}, line {line}: {cells[0]} stands twice.")
        classes += cells
    if not classes:
        raise DataError(f"{table}: the table has no rows.")
    return tuple(classes)


def subset(
    classes: tuple[str, ...], clips: Sequence[Clip], wanted: tuple[str, ...], root: Path
) -> tuple[tuple[str, ...], tuple[Clip, ...]]:
    """Keep the wanted classes, in the wanted order, and the clips that still have a label or never had one."""
    unknown = [name for name in wanted if name not in classes]
    if unknown:
        raise DataError(f"{root}: `classes` names {unknown[0]!r}. The set has: {', '.join(classes)}.")
    if not wanted:
        return classes, tuple(clips)
    kept = (clip for clip in clips if not clip.labels or not set(wanted).isdisjoint(clip.labels))
    return wanted, tuple(replace(clip, labels=tuple(x for x in clip.labels if x in wanted)) for clip in kept)
