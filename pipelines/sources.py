"""Tables and folders on disk to a list of clips. A layout is one function and one line of `READERS`."""

import os
from collections.abc import Callable
from pathlib import Path

from pipelines.layouts import LAYOUTS
from pipelines.published import drop_flagged
from pipelines.settings import DataSettings
from pipelines.table_checks import check_fold, check_labels, need_folder
from pipelines.tables import (
    CURATED,
    NOISY,
    TEST,
    Clip,
    DataError,
    Source,
    clean_name,
    find_audio,
    read_rows,
    read_table,
    split_labels,
)
from pipelines.unlisted import AUDIO_SUFFIXES, closed, is_taken, loose, other_kinds, unlisted, walk
from pipelines.vocabulary import vocabulary

__all__ = [
    "AUDIO_SUFFIXES",
    "CURATED",
    "NOISY",
    "READERS",
    "TEST",
    "Clip",
    "DataError",
    "Source",
    "check_labels",
    "clean_name",
    "find_audio",
    "read_csv",
    "read_folders",
    "read_rows",
    "read_source",
    "read_table",
    "split_labels",
]


def read_csv(settings: DataSettings) -> Source:
    """Any folder and a table with the columns `fname` and `labels`."""
    table, folder = Path(settings.table), Path(settings.path)
    need_folder(folder)
    clips, notes = read_table(table, folder, CURATED)
    classes = settings.classes or vocabulary(clips)
    check_labels(clips, classes, table)
    check_fold(clips, settings.fold, table)
    notes += unlisted(table, folder, (clip.path for clip in clips))
    return Source(classes, tuple(clips), tuple(notes))


def read_folders(settings: DataSettings) -> Source:
    """One folder a class, audio files inside. Notes tell of sounds that are not taken, and why."""
    root = Path(settings.path)
    need_folder(root)
    found = sorted(
        entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")
    )
    classes = settings.classes or tuple(found)
    refused: list[OSError] = []
    files = {label: walk(root / label, refused.append) for label in classes if (root / label).is_dir()}
    clips = [
        Clip(f"{label}/{path.relative_to(root / label).as_posix()}", CURATED, path, (label,))
        for label, own in files.items()
        for path in own
        if is_taken(path) and path.is_file()
    ]
    for clip in clips:
        try:
            clip.name.encode()
        except UnicodeEncodeError:
            raise DataError(
                f"{root}: {os.fsencode(clip.name)!r} is no name in UTF-8. Rename the file."
            ) from None
    notes = [
        *closed(refused),
        *loose(root),
        *other_kinds(root, (path for own in files.values() for path in own)),
    ]
    why = "".join(f" {note}" for note in notes)
    if not clips:
        raise DataError(
            f"{root}: no audio files in folders of classes. One folder a class is expected, with files in "
            f"{', '.join(AUDIO_SUFFIXES)}.{why}"
        )
    empty = sorted(set(classes) - {clip.labels[0] for clip in clips})
    if empty:
        raise DataError(f"{root}: no audio files for the class {', '.join(map(repr, empty))}.{why}")
    return Source(classes, tuple(clips), tuple(notes))


READERS: dict[str, Callable[[DataSettings], Source]] = {
    "csv": read_csv,
    "folders": read_folders,
    **LAYOUTS,
}


def read_source(settings: DataSettings, flagged: bool = False) -> Source:
    """The clips of a data set. Raises `DataError` naming file and line.

    Clips that the set's organisers flagged as wrong are left out unless `flagged` is set.
    """
    source = READERS[settings.kind](settings)
    for name in source.classes:
        if "," in name:
            raise DataError(
                f"{settings.path}: the class {name!r} has a comma, by which labels are told apart. Rename it."
            )
    return source if flagged else drop_flagged(source, settings.kind)
