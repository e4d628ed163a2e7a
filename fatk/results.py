"""`python -m fatk.results`: the tables and pictures of README.md and docs/results.md, from what is kept.

Every figure is computed from the predictions under `benchmarks/results/`; what rows are called and by which
commands they are made stands in `tables.toml` there. A row whose folder is missing is left out. Rows together
leave a submission too, where `tables.toml` names a file.

`--keep RUNS --as NAME` first copies the small files of a run, a cross-validation or an ablation there; with
`--join` a cross-validation's further seeds come beside those that are kept.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from fatk import cli, folders


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = cli.parser("fatk.results", __doc__)
    parser.add_argument(
        "--keep", metavar="RUNS", help="keep what this folder's runs said, as runs/a-crossval"
    )
    parser.add_argument("--as", dest="name", metavar="NAME", help="with --keep: the folder to keep it in")
    parser.add_argument("--join", action="store_true", help="with --keep: seeds beside those that are kept")
    parser.add_argument("--check", action="store_true", help="write nothing: do the pages say what is kept?")
    arguments = parser.parse_args(argv)
    if (arguments.keep is None) != (arguments.name is None):
        raise cli.UserError("--keep and --as go together.")
    if arguments.join and not arguments.keep:
        raise cli.UserError("--join goes with --keep.")
    if arguments.keep and arguments.check:
        raise cli.UserError("--check writes nothing, --keep does: give one of them.")
    from fatk import kept, results_tables

    place = Path()
    if arguments.keep:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", arguments.name):
            raise cli.UserError(f"--as must be letters, digits, dots, hyphens. Received: {arguments.name!r}.")
        found = kept.gather(Path(arguments.keep))
        target = place / results_tables.RESULTS / arguments.name
        if arguments.join:
            found = kept.joined(kept.read(target), found, target)
        kept.write(found, target)
        size = sum(path.stat().st_size for path in target.iterdir())
        cli.say(f"{target}: {found.kind} of {len(found.runs)} runs, {size / 1e3:,.0f} kB")
    stale = results_tables.stale(place)
    if arguments.check:
        if stale:
            raise cli.UserError(f"{', '.join(map(str, stale))}: not what is kept. To renew: fatk.results")
        cli.say("the pages say what is kept")
        return 0
    results = results_tables.Results(place)
    blocks = results.blocks()
    for page in results_tables.PAGES:
        if page in stale:
            text = (place / page).read_text(encoding="utf-8")
            folders.write_text(place / page, results_tables.filled(text, blocks))
    for sent in results.submissions:
        if not sent.is_there:
            sent.write()
    from fatk import results_pictures

    drawn = results_pictures.draw(results)
    for path in [*stale, *drawn]:
        cli.say(f"{path}: renewed")
    cli.say(f"{len(results.entries)} rows of results are kept")
    return 0


if __name__ == "__main__":
    cli.run(main)
