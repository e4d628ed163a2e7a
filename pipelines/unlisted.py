"""The files of a folder, and what is said of sounds among them that are not taken."""

import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64")

# Of sounds, and of videos with sound, for which a folder is not searched: few of them can be read.
_OTHERS = ".m4a .m4b .aac .mp4 .mov .3gp .amr .wma .ape .wv .ac3 .webm .mka .mp2 .aifc .snd .voc .rf64"
OTHER_SUFFIXES = tuple(_OTHERS.split())


def is_taken(path: Path) -> bool:
    """Whether a file is taken for a sound, by its name."""
    return path.suffix.lower() in AUDIO_SUFFIXES


def is_sound(path: Path) -> bool:
    """Whether a file is a sound, by its name, be it of a kind that is taken or not."""
    return is_taken(path) or path.suffix.lower() in OTHER_SUFFIXES


def walk(folder: Path, refused: Callable[[OSError], None] | None = None) -> list[Path]:
    """All files below a folder, however deep, in order.

    What is hidden is passed over, files and folders, as a bin of deleted files. `refused` is told of folders
    that cannot be opened.
    """
    found: list[Path] = []
    for place, within, names in os.walk(folder, onerror=refused):
        within[:] = [name for name in within if not name.startswith(".")]
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(found)


def loose(root: Path) -> list[str]:
    """-> a note on sounds beside the folders of classes, in none of them."""
    found = sorted(
        path for path in root.iterdir() if is_sound(path) and not path.name.startswith(".") and path.is_file()
    )
    return _note(root, found, "sound files lie in no folder of a class and are not taken")


def other_kinds(root: Path, files: Iterable[Path]) -> list[str]:
    """-> a note on sounds of other kinds than those that are taken."""
    found = [path for path in files if path.suffix.lower() in OTHER_SUFFIXES]
    kinds = ", ".join(sorted({path.suffix.lower() for path in found}))
    return _note(root, found, f"sound files are of kinds that are not taken ({kinds})")


def closed(refused: Iterable[OSError]) -> list[str]:
    """-> a note on each folder that could not be opened."""
    return [f"{_shown(error.filename)}: {error.strerror}; what is in it is not taken." for error in refused]


def unlisted(table: Path, folder: Path, listed: Iterable[Path]) -> list[str]:
    """-> a note on sounds of a folder that are in no row of its table."""
    known = {_same(path) for path in listed}
    found = [path for path in walk(folder) if is_sound(path) and _same(path) not in known]
    return _note(folder, found, f"sound files are in no row of {table} and are not taken")


def _note(root: Path, found: Sequence[Path], what: str) -> list[str]:
    if not found:
        return []
    return [f"{root}: {len(found)} {what}, as {_shown(found[0].relative_to(root).as_posix())}."]


def _same(path: Path) -> str:
    """What two names have in common that lead to one file on some disks: case, and how accents are written."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def _shown(name: str) -> str:
    """A name that can be printed, even one that is not in UTF-8."""
    return os.fsencode(name).decode(errors="replace")
