"""`python -m fatk.evaluate --model DIR --audio DIR --table labels.csv`: what a model's answers are worth.

Prints lwlrap, top-1 accuracy over the clips with one label, and the ten worst classes.

All clips are opened before any is scored. One of several that cannot be read is named with its line and left
out, the others are scored, and the exit status is 1.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fatk import cli, convolutions, outputs

if TYPE_CHECKING:
    from fatk.inputs import LeftOut
    from pipelines.sources import Clip

_WORST = 10


def _opened(clips: "Sequence[Clip]", table: Path, left_out: "LeftOut") -> "list[Clip]":
    """Those that can be."""
    from fatk.audio import UnreadableError, cut_short, open_sound

    found = []
    for clip in clips:
        try:
            with open_sound(clip.path) as sound:
                short = cut_short(clip.path, sound.frames / sound.samplerate)
        except UnreadableError as error:
            left_out.add(_where(clip, table), error)
            continue
        if short:
            print(f"fatk: {_where(clip, table)}: {short}", file=sys.stderr)
        found.append(clip)
    return found


def _where(clip: "Clip", table: Path) -> str:
    return f"{table}, line {clip.line}: {clip.path}"


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = cli.parser("fatk.evaluate", __doc__)
    parser.add_argument("--model", required=True, metavar="DIR", help="a run's folder, or a SavedModel")
    parser.add_argument("--audio", required=True, metavar="DIR", help="the folder of the table's clips")
    parser.add_argument(
        "--table", required=True, metavar="FILE",
        help="a CSV table: fname, labels. One of several clips that cannot be read is left out, and the exit "
        "status is 1",
    )  # fmt: skip
    parser.add_argument("--out", metavar="FILE", help="a CSV to write: class, lwlrap, weight")
    parser.add_argument("--tta", type=int, metavar="N", help="crops a clip; by default as exported")
    parser.add_argument(
        "--precision", choices=convolutions.PRECISIONS, default="float32", help=convolutions.HELP
    )
    arguments = parser.parse_args(argv)
    if arguments.tta is not None and arguments.tta < 1:
        raise cli.UserError(f"--tta must be at least 1. Received: {arguments.tta}.")
    from pipelines.sources import CURATED, DataError, check_labels, read_table

    table, audio = Path(arguments.table), Path(arguments.audio)
    if not audio.is_dir():
        raise DataError(f"{audio}: no such folder.")
    clips, notes = read_table(table, audio, CURATED)
    for clip in clips:
        if not clip.path.exists():
            raise DataError(f"{table}, line {clip.line}: {clip.path} is missing.")
    outputs.check([("--out", arguments.out, outputs.PER_CLASS)], [table, *(clip.path for clip in clips)])
    for note in notes:
        cli.say(note)
    from fatk.inputs import LeftOut

    left_out = LeftOut(len(clips))
    opened = _opened(clips, table, left_out)
    from fatk.tagger import SavedTagger

    tagger = SavedTagger(arguments.model, arguments.precision)
    check_labels(clips, tagger.classes, table)
    from fatk.predict import score_with_bar
    from fatk.scoring import Scores, write_per_class
    from pipelines.labels import multi_hot

    chances, unread = score_with_bar(tagger, [clip.path for clip in opened], arguments.tta)
    for place, why in unread.items():
        left_out.add(_where(opened[place], table), why)
    clips = [clip for place, clip in enumerate(opened) if place not in unread]
    scores = Scores(tuple(clip.name for clip in clips), multi_hot(clips, tagger.classes), chances)
    rows = scores.per_class(tagger.classes)
    accuracy = "none has one label" if scores.accuracy is None else f"{scores.accuracy:.4f}"
    cli.say(f"{len(clips)} clips  lwlrap {scores.lwlrap:.4f}  accuracy {accuracy}")
    worst = sorted((row for row in rows if row[2] > 0), key=lambda row: row[1])[:_WORST]
    cli.table("worst classes", ("class", "lwlrap", "weight"), worst)
    if arguments.out:
        write_per_class(Path(arguments.out), rows)
        cli.say(f"{arguments.out}: {len(rows)} classes")
    return left_out.status()


if __name__ == "__main__":
    cli.run(main)
