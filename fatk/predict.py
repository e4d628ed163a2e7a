"""`python -m fatk.predict --model DIR FILE ...`: what is heard in sound files, of seconds or of hours.

Folders, patterns and standard input (-) may stand for files. A recording longer than a segment of the model's
(30 s) is read and scored bit by bit, and its answer is its best windows. With `--audio DIR --table T
--out submission.csv` it scores every clip of a table as a whole and writes a column a class.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from fatk import cli, convolutions

if TYPE_CHECKING:
    import numpy as np

    from fatk.tagger import SavedTagger

_BATCH = 8  # clips in memory at once


def score(tagger: "SavedTagger", files: Sequence[Path], crops: int | None) -> "Iterator[np.ndarray]":
    """Sound files -> (classes,) probabilities of each, in order; read ahead while the model works."""

    def chunk(start: int) -> list["np.ndarray"]:
        return [tagger.read(path) for path in files[start : start + _BATCH]]

    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(chunk, 0) if files else None
        for start in range(0, len(files), _BATCH):
            assert ahead is not None
            sounds = ahead.result()
            ahead = reader.submit(chunk, start + _BATCH)
            yield from tagger.predict_batch(sounds, crops)


def score_with_bar(tagger: "SavedTagger", files: Sequence[Path], crops: int | None) -> "np.ndarray":
    """The same with a bar -> (files, classes)."""
    import numpy as np

    answers = []
    with cli.progress("predicting", len(files), "clips") as advance:
        for answer in score(tagger, files, crops):
            answers.append(answer)
            advance()
    return np.stack(answers)


def table_files(table: Path, audio: Path) -> tuple[list[str], list[Path]]:
    """A table with a column `fname` -> (names, files). Raises `DataError`, `UserError` for what is missing."""
    from pipelines.sources import DataError, clean_name, find_audio, read_rows

    if not audio.is_dir():
        raise DataError(f"{audio}: no such folder.")
    names, files = [], []
    for line, row in read_rows(table, ("fname",)):
        name = clean_name(row["fname"], f"{table}, line {line}")
        path = find_audio(audio, name)
        if not path.exists():
            raise DataError(f"{table}, line {line}: {path} is missing.")
        names.append(row["fname"])
        files.append(path)
    return names, files


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = cli.parser("fatk.predict", __doc__)
    parser.add_argument("--model", required=True, metavar="DIR", help="a run's folder, or a SavedModel")
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="sound files, folders, patterns; '-': a sound file on stdin"
    )
    parser.add_argument("--audio", metavar="DIR", help="the folder of the table's clips")
    parser.add_argument("--table", metavar="FILE", help="a CSV table with a column fname")
    parser.add_argument("--out", metavar="FILE", help="the CSV to write")
    parser.add_argument("--tta", type=int, metavar="N", help="crops a clip; by default as exported")
    parser.add_argument("--top", type=int, default=3, metavar="N", help="labels a file (default 3)")
    parser.add_argument("--tags", action="store_true", help="the labels over fatk.decide's thresholds")
    parser.add_argument("--windows", metavar="CSV", help="write start, end and scores of every window")
    parser.add_argument("--plot", metavar="PNG", help="draw one file's timeline of classes")
    parser.add_argument(
        "--precision", choices=convolutions.PRECISIONS, default="float32", help=convolutions.HELP
    )
    arguments = parser.parse_intermixed_args(argv)
    tabled = [arguments.audio, arguments.table, arguments.out]
    along = arguments.windows or arguments.plot
    if any(tabled) and not all(tabled):
        raise cli.UserError("--audio, --table and --out go together.")
    if bool(arguments.files) == all(tabled):
        raise cli.UserError("give either sound files, or --audio, --table and --out.")
    if all(tabled) and (along or arguments.tags):
        raise cli.UserError("--tags, --windows and --plot are for sound files, not for a table.")
    if along and arguments.tta:
        raise cli.UserError("--tta is for whole clips; --windows and --plot score every window once.")
    for name in ("tta", "top"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise cli.UserError(f"--{name} must be at least 1. Received: {value}.")
    names: list[str] = []
    if all(tabled):
        names, files = table_files(Path(arguments.table), Path(arguments.audio))
    else:
        from fatk.inputs import sound_files

        files = sound_files(arguments.files)
    if arguments.plot and len(files) != 1:
        raise cli.UserError(f"--plot draws one file. Received: {len(files)}.")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from fatk.tagger import SavedTagger

    tagger = SavedTagger(arguments.model, arguments.precision)
    if not names:
        from fatk.predict_files import Asked, answer

        asked = Asked(arguments.tta, arguments.top, arguments.tags, arguments.windows, arguments.plot)
        answer(tagger, Path(arguments.model), files, asked)
        return 0
    from fatk.scoring import write_predictions

    write_predictions(
        Path(arguments.out), names, tagger.classes, score_with_bar(tagger, files, arguments.tta)
    )
    cli.say(f"{arguments.out}: {len(names)} clips, {len(tagger.classes)} classes")
    return 0


if __name__ == "__main__":
    cli.run(main)
