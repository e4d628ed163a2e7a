"""`python -m fatk.evaluate --model DIR --audio DIR --table labels.csv`: what a model's answers are worth.

Prints lwlrap, top-1 accuracy over the clips with one label, and the ten worst classes.
"""

from collections.abc import Sequence
from pathlib import Path

from fatk import cli, convolutions, outputs

_WORST = 10


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = cli.parser("fatk.evaluate", __doc__)
    parser.add_argument("--model", required=True, metavar="DIR", help="a run's folder, or a SavedModel")
    parser.add_argument("--audio", required=True, metavar="DIR", help="the folder of the table's clips")
    parser.add_argument("--table", required=True, metavar="FILE", help="a CSV table: fname, labels")
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
    from fatk.tagger import SavedTagger

    tagger = SavedTagger(arguments.model, arguments.precision)
    check_labels(clips, tagger.classes, table)
    from fatk.predict import score_with_bar
    from fatk.scoring import Scores, write_per_class
    from pipelines.labels import multi_hot

    chances = score_with_bar(tagger, [clip.path for clip in clips], arguments.tta)
    scores = Scores(tuple(clip.name for clip in clips), multi_hot(clips, tagger.classes), chances)
    rows = scores.per_class(tagger.classes)
    accuracy = "none has one label" if scores.accuracy is None else f"{scores.accuracy:.4f}"
    cli.say(f"{len(clips)} clips  lwlrap {scores.lwlrap:.4f}  accuracy {accuracy}")
    worst = sorted((row for row in rows if row[2] > 0), key=lambda row: row[1])[:_WORST]
    cli.table("worst classes", ("class", "lwlrap", "weight"), worst)
    if arguments.out:
        write_per_class(Path(arguments.out), rows)
        cli.say(f"{arguments.out}: {len(rows)} classes")
    return 0


if __name__ == "__main__":
    cli.run(main)
