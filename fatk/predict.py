"""`python -m fatk.predict --model DIR FILE ...`: what is heard in sound files, of seconds or of hours.

Folders, patterns and standard input (-) may stand for files. A recording longer than a segment of the model's
(30 s) is read and scored bit by bit, and its answer is its best windows. With `--audio DIR --table T
--out submission.csv` it scores every clip of a table as a whole and writes a column a class.

Where one of several files cannot be read it is named on standard error and left out, and the exit status is 1 in
the end. All clips of a table are opened before any is scored: it must be whole.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from fatk import cli, convolutions, outputs

if TYPE_CHECKING:
    import numpy as np

    from fatk.audio import UnreadableError
    from fatk.tagger import SavedTagger

_BATCH = 8  # clips in memory at once


def score(
    tagger: "SavedTagger", files: Sequence[Path], crops: int | None
) -> "Iterator[np.ndarray | UnreadableError]":
    """Sound files -> (classes,) probabilities of each or why it cannot be read, in order.

    Reads ahead while the model works.
    """
    from fatk import audio

    def heard(path: Path) -> "np.ndarray | UnreadableError":
        try:
            return audio.read(path, tagger.rate)
        except audio.UnreadableError as error:
            return error

    def chunk(start: int) -> "list[np.ndarray | UnreadableError]":
        return [heard(path) for path in files[start : start + _BATCH]]

    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(chunk, 0) if files else None
        for start in range(0, len(files), _BATCH):
            assert ahead is not None
            sounds = ahead.result()
            ahead = reader.submit(chunk, start + _BATCH)
            read = [sound for sound in sounds if not isinstance(sound, audio.UnreadableError)]
            answers = iter(tagger.predict_batch(read, crops) if read else ())
            for sound in sounds:
                yield sound if isinstance(sound, audio.UnreadableError) else next(answers)


def score_with_bar(
    tagger: "SavedTagger", files: Sequence[Path], crops: int | None
) -> "tuple[np.ndarray, dict[int, UnreadableError]]":
    """The same with a bar -> ((files that can be read, classes), {place of another: why it cannot})."""
    import numpy as np

    from fatk.audio import UnreadableError

    answers, unread = [], {}
    with cli.progress("predicting", len(files), "clips") as advance:
        for place, answer in enumerate(score(tagger, files, crops)):
            if isinstance(answer, UnreadableError):
                unread[place] = answer
            else:
                answers.append(answer)
            advance()
    return np.stack(answers) if answers else np.zeros((0, len(tagger.classes)), np.float32), unread


def table_files(table: Path, audio: Path) -> tuple[list[str], list[Path]]:
    """A table with a column `fname` -> (names, files). Raises `DataError` for what is missing or no sound file."""
    from fatk.audio import UnreadableError, cut_short, open_sound
    from pipelines.sources import DataError, clean_name, find_audio, read_rows

    if not audio.is_dir():
        raise DataError(f"{audio}: no such folder.")
    names, files = [], []
    for line, row in read_rows(table, ("fname",)):
        name = clean_name(row["fname"], f"{table}, line {line}")
        path = find_audio(audio, name)
        if not path.exists():
            raise DataError(f"{table}, line {line}: {path} is missing.")
        try:
            with open_sound(path) as sound:
                short = cut_short(path, sound.frames / sound.samplerate)
        except UnreadableError as error:
            raise DataError(f"{table}, line {line}: {path}: {error}.") from None
        if short:
            print(f"fatk: {table}, line {line}: {path}: {short}", file=sys.stderr)
        names.append(row["fname"])
        files.append(path)
    return names, files


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = cli.parser("fatk.predict", __doc__)
    parser.epilog = (
        "A file of up to a segment of the model's (30 s) is answered as a whole: LABEL 0.912, the mean over its "
        "crops. A longer one, and any with --windows or --plot, is answered window by window: LABEL 0.912 at "
        "1:15.2, the best window's score and when that begins."
    )
    parser.add_argument("--model", required=True, metavar="DIR", help="a run's folder, or a SavedModel")
    parser.add_argument(
        "files", nargs="*", metavar="FILE",
        help="sound files, folders, patterns; '-': a sound file on stdin. One of several that cannot be read is "
        "left out, and the exit status is 1",
    )  # fmt: skip
    parser.add_argument("--audio", metavar="DIR", help="the folder of the table's clips")
    parser.add_argument("--table", metavar="FILE", help="a CSV table with a column fname")
    parser.add_argument("--out", metavar="FILE", help="the CSV to write")
    parser.add_argument(
        "--tta",
        type=int,
        metavar="N",
        help="crops of a file that is answered as a whole; by default as exported",
    )
    parser.add_argument("--top", type=int, default=3, metavar="N", help="labels a file (default 3)")
    parser.add_argument(
        "--tags",
        action="store_true",
        help="the labels over fatk.decide's thresholds, which were chosen on whole clips",
    )
    parser.add_argument("--windows", metavar="CSV", help="write start, end and scores of every window")
    parser.add_argument(
        "--plot", metavar="PNG", help="draw one file's timeline of classes; .pdf and .svg too"
    )
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
    outputs.check(
        [
            ("--windows", arguments.windows, outputs.WINDOWS),
            ("--plot", arguments.plot, outputs.PICTURE),
            ("--out", arguments.out, outputs.PREDICTIONS),
        ],
        [*files, *filter(None, [arguments.table])],
    )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from fatk.tagger import SavedTagger

    tagger = SavedTagger(arguments.model, arguments.precision)
    if not names:
        from fatk.predict_files import Asked, answer

        asked = Asked(arguments.tta, arguments.top, arguments.tags, arguments.windows, arguments.plot)
        return answer(tagger, Path(arguments.model), files, asked)
    from fatk.inputs import LeftOut
    from fatk.scoring import write_predictions

    chances, unread = score_with_bar(tagger, files, arguments.tta)
    left_out = LeftOut(len(files))
    for place, why in unread.items():
        left_out.add(files[place], why)
    names = [name for place, name in enumerate(names) if place not in unread]
    write_predictions(Path(arguments.out), names, tagger.classes, chances)
    cli.say(f"{arguments.out}: {len(names)} clips, {len(tagger.classes)} classes")
    return left_out.status()


if __name__ == "__main__":
    cli.run(main)
