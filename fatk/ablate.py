"""`python -m fatk.ablate --config C --rows rows.toml --seeds N`: what each setting brings, at a stated budget.

Rows are settings on top of the config or of an earlier row (see ablation_rows.py). Each row with each seed is a
run under `runs/<name>-ablation/`, all rows with the first seed before any with the second; what is finished is
not trained again. Started several times, on a GPU or a core each, it shares the runs among the processes.

Every run holds out the same clips, those of the config with its own seed, and is scored by their lwlrap. Set
`train.keep` to "last" or "average": clips that choose the epoch flatter the score.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from fatk import ablation_table, cli, folders, kept, locks, runtime
from fatk.ablation_rows import Row, read_rows
from fatk.config import Config, to_toml
from fatk.prepare import Prepared, prepare, with_records
from pipelines.sources import DataError


class Ablation:
    """Rows, seeds, a folder of runs."""

    def __init__(self, base: Config, rows: dict[str, tuple[Row, Config]], seeds: int, crops: Sequence[int]):
        self.base, self.rows = base, rows
        self.seeds = [base.seed + number for number in range(seeds)]
        self.crops = sorted({*crops, base.evaluate.crops})
        self.folder = folders.RUNS / f"{base.name}-ablation"
        self.sets: dict[str, Prepared] = {}  # a row's clips, once they are prepared

    def title(self, name: str, seed: int) -> str:
        """A run's folder."""
        return f"{self.rows[name][0].slug}-seed{seed}"

    def settings(self, name: str, seed: int) -> Config:
        """A run's settings."""
        own = with_records(self.rows[name][1])  # under their common name; all seeds read the same shards
        return replace(own, name=f"{self.base.name}-{self.title(name, seed)}", seed=seed)

    def note(self) -> None:
        """Write which runs there are to be, and of which settings: other ones that lie there do not count."""
        about = {
            "rows": [
                {"name": row.name, "on": row.on, "set": row.overrides, "note": row.note}
                for row, _ in self.rows.values()
            ],
            "seeds": self.seeds,
            "crops": self.crops,
            "main_crops": self.base.evaluate.crops,
            "budget": {"epochs": sum(stage.epochs for stage in self.base.stage), **self._size()},
            "runs": {
                self.title(name, seed): (name, kept.digest(to_toml(self.settings(name, seed))))
                for seed in self.seeds
                for name in self.rows
            },
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        folders.write_text(self.folder / kept.ABLATION, json.dumps(about, indent=1) + "\n")

    def _size(self) -> dict[str, float]:
        own = asdict(self.base.features)
        return {key: own[key] for key in ("bands", "seconds", "rate")} | {"batch": self.base.train.batch}

    def train(self, only: Sequence[str]) -> list[str]:
        """Run what is missing -> what went wrong, a line a run. Raises `KeyboardInterrupt`."""

        held = [clip.key for clip in prepare(self.base).split.valid]
        runtime.start(self.base)

        def work(name: str, seed: int) -> str:
            try:
                self._run(name, seed, held)
            except (cli.UserError, DataError) as error:
                problem = f"{name}, seed {seed}: {error}"
                cli.say(problem, "red")
                return problem
            return ""

        names = [name for name in self.rows if not only or name in only]
        jobs = {
            (name, seed): (self.folder / self.title(name, seed), partial(work, name, seed))
            for seed in self.seeds
            for name in names
        }
        return [problem for problem in locks.share(jobs).values() if problem]

    def _run(self, name: str, seed: int, held: list[str]) -> None:
        """One run, and its predictions with other numbers of crops."""
        from fatk.folds import holding, predict_again, run_fold

        run = folders.Run(self.folder / self.title(name, seed))
        row, settings = self.rows[name]
        if name not in self.sets:
            # Drawn with the config's seed: seeds are to differ in training alone.
            self.sets[name] = holding(settings, prepare(settings, verbose=False), held)
        prepared, own = self.sets[name], self.settings(name, seed)
        mark = hashlib.sha256("\n".join(sorted(held)).encode()).hexdigest()[:16]
        run_fold(run, own, prepared, f"{row.name}, seed {seed}", f"without {mark}")
        predict_again(run, own, prepared, self.crops)

    def report(self, out: Path | None) -> None:
        """The table of what there is, on the screen and as `ablation.csv`; small files of the runs to `out`."""
        found = kept.gather(self.folder)
        lines = ablation_table.lines(found)
        header = ablation_table.header(self.crops)
        rows = [ablation_table.cells(line, self.crops) for line in lines]
        # A screen has no room for what the rows file says, nor for a column twice.
        left_out = {header.index("from"), header.index(f"TTA {ablation_table.main_crops(found)}")}
        shown = [[cell for n, cell in enumerate(row) if n not in left_out] for row in [header, *rows]]
        shown[0][3:5] = ["±", "change"]
        cli.table(
            f"{self.base.name}: {len(self.rows)} rows", *ablation_table.filled_columns(shown[0], shown[1:])
        )
        place = out or self.folder
        folders.write_rows(place / "ablation.csv", header, rows)
        if out:
            kept.write(found, out)
        missing = sum(line.wanted - len(line.seeds) for line in lines)
        cli.say(
            f"{place / 'ablation.csv'}: {len(found.runs)} runs" + (f", {missing} missing" if missing else "")
        )


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = cli.parser("fatk.ablate", __doc__)
    parser.add_argument("--rows", required=True, metavar="FILE", help="a TOML file of rows to compare")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds, from the config's on (3)")
    parser.add_argument(
        "--tta", type=int, nargs="+", default=[1, 10], metavar="N", help="crops a clip to score by (1 10)"
    )
    parser.add_argument("--only", action="append", default=[], metavar="ROW", help="train this row, not all")
    parser.add_argument("--report", action="store_true", help="train nothing: the table of what there is")
    parser.add_argument("--out", metavar="DIR", help="keep the table and small files of all runs there")
    config, arguments = cli.parse_config(parser, argv)
    if arguments.seeds < 1:
        raise cli.UserError(f"--seeds must be at least 1. Received: {arguments.seeds}.")
    if min(arguments.tta) < 1:
        raise cli.UserError(f"--tta must be at least 1. Received: {min(arguments.tta)}.")
    rows = read_rows(Path(arguments.rows), arguments.config, arguments.overrides)
    for name in arguments.only:
        if name not in rows:
            raise cli.UserError(f"--only must be one of {', '.join(rows)}. Received: {name!r}.")
    if any(own.train.keep == "best" for _, own in rows.values()):
        raise cli.UserError("`train.keep` must be 'last' or 'average': held-out clips must choose no epoch.")
    made = Ablation(config, rows, arguments.seeds, arguments.tta)
    made.note()
    problems = [] if arguments.report else made.train(arguments.only)
    try:
        made.report(Path(arguments.out) if arguments.out else None)
    except cli.UserError:
        if not problems:  # they are why there is nothing to report
            raise
    if problems:
        raise cli.UserError("\n".join(problems))
    return 0


if __name__ == "__main__":
    runtime.keep_memory()
    cli.run(main)
