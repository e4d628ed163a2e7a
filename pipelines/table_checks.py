"""What is said of tables whose rows do not go together, with each other or with what the settings ask for."""

import filecmp
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipelines.tables import TEST, Clip, DataError

_SHOWN = 5  # problems of one table that are spelled out


def check_labels(clips: Iterable[Clip], classes: Sequence[str], table: Path) -> None:
    """Raise `DataError` naming the lines whose label is not a class, or several in one by another mark."""
    known, clips = set(classes), list(clips)
    for clip in clips:
        for label in clip.labels:
            for mark in ";|":
                parts = [part.strip() for part in label.split(mark)]
                if len(parts) > 1 and all(part in known for part in parts):
                    raise DataError(
                        f"{table}, line {clip.line}: {label!r} holds several classes. Labels of one clip are "
                        f'separated by commas and quoted, as in {clip.name},"{",".join(parts)}".'
                    )
    wrong = [
        f"{table}, line {clip.line}: {clip.name} has the unknown class {label!r}"
        for clip in clips
        for label in clip.labels
        if label not in known
    ]
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise DataError(f"{'; '.join(wrong[:_SHOWN])}{more}. The classes are: {', '.join(classes)}.")


def check_fold(clips: Sequence[Clip], fold: int | None, table: Path) -> None:
    """Raise `DataError` where a fold is to be held out that no clip has, or a clip has none."""
    if fold is None:
        return
    folds = sorted({clip.fold for clip in clips if clip.fold is not None})
    if fold not in folds:
        raise DataError(
            f"{table}: no clip of fold {fold}. "
            + (f"Its folds are: {', '.join(map(str, folds))}." if folds else "It has no column 'fold'.")
        )
    unfolded = next((clip for clip in clips if clip.fold is None), None)
    if unfolded:
        raise DataError(f"{table}, line {unfolded.line}: {unfolded.name} has no fold.")


def need_folder(folder: Path) -> None:
    """Raise `DataError` where a folder is missing or has nothing in it."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder.")
    with os.scandir(folder) as entries:
        if not any(entries):
            raise DataError(f"{folder}: the folder is empty.")


def _same_sound(first: Path, second: Path) -> bool:
    """Whether two paths lead to one recording: one file, or two with the same bytes."""
    try:
        return os.path.samefile(first, second) or filecmp.cmp(first, second, shallow=False)
    except OSError:
        return os.path.abspath(first) == os.path.abspath(second)


def check_pools(clips: Iterable[Clip], tables: Mapping[str, Path]) -> list[str]:
    """-> notes on recordings that reach from training into test. `tables` is by pool.

    Raises `DataError` naming both lines where one sound file is in two pools. Names alone prove nothing:
    sets that count their files from 1 in each folder repeat them.
    """

    def place(clip: Clip) -> str:
        return f"{tables[clip.pool]}, line {clip.line}"

    by_name: dict[str, list[Clip]] = {}
    trained: dict[str, Clip] = {}
    shared = []
    for clip in sorted(clips, key=lambda clip: clip.pool == TEST):  # training first
        twins = by_name.setdefault(clip.name.rpartition("/")[2], [])
        for other in twins:
            if other.pool != clip.pool and _same_sound(other.path, clip.path):
                raise DataError(f"{place(clip)}: {clip.name} is in {place(other)} too, the same sound.")
        twins.append(clip)
        if clip.source and clip.pool != TEST:
            trained.setdefault(clip.source, clip)
        elif clip.source in trained:
            shared.append((clip, trained[clip.source]))
    if not shared:
        return []
    test, train = shared[0]
    return [
        f"{len(shared)} test clips are of a source that is trained on, as {test.name} ({place(test)}) and "
        f"{train.name} ({place(train)}), both of {test.source!r}."
    ]
