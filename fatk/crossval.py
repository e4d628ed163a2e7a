"""`python -m fatk.crossval --config C --seeds N`: every fold held out once, for each of several seeds.

The folds are those of the table where the config names one (`data.fold`), else the `split.count` folds of
`split.kind = "kfold"`. Each is a run of its own under `runs/<name>-crossval/`; what is finished is not trained
again. Set `train.keep = "last"`: a held-out fold that chooses the epoch flatters the score.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fatk import cli, folders, scoring
from fatk.config import Config
from fatk.folds import read_scores, run_fold
from fatk.prepare import Prepared, prepare, records_folder
from fatk.scoring import Scores
from pipelines.labels import multi_hot
from pipelines.sources import CURATED


def fold_configs(config: Config, prepared: Prepared) -> dict[int, Config]:
    """-> {fold: the settings that hold it out}. Raises `UserError` where the settings name no folds."""
    if config.data.fold is not None:
        folds = sorted({c.fold for c in prepared.source.pool(CURATED) if c.fold is not None})
        return {fold: replace(config, data=replace(config.data, fold=fold)) for fold in folds}
    if config.split.kind == "kfold":
        return {
            number: replace(config, split=replace(config.split, number=number))
            for number in range(config.split.count)
        }
    raise cli.UserError(
        "a config to cross-validate must name a fold of its table (`data.fold`), or set `split.kind` to 'kfold' "
        f"and `split.count` to the number of folds. Received: `split.kind` = {config.split.kind!r}."
    )


def held_out(
    config: Config, seed: int, folds: dict[int, Config], exported: bool
) -> tuple[dict[int, Scores], list[np.ndarray]]:
    """All folds of one seed -> ({fold: scores of its clips}, probabilities of the test clips, a fold each)."""
    scores: dict[int, Scores] = {}
    tests = []
    for fold, own in folds.items():
        title = f"seed{seed}-fold{fold}"
        data = replace(own.data, records=str(records_folder(config)))  # all folds read the same shards
        own = replace(own, name=f"{config.name}-{title}", seed=seed, data=data)
        # The split of the first seed: seeds are to differ in training alone.
        split = prepare(replace(own, seed=config.seed), verbose=False)
        run = folders.Run(folder(config) / title)
        chances = run_fold(run, own, split, f"seed {seed}, fold {fold}", exported=exported)
        clips = split.split.valid
        truth = multi_hot(clips, split.classes)
        scores[fold] = Scores(tuple(clip.name for clip in clips), truth, chances)
        if run.submission.exists():
            tests.append(read_scores(run.submission)[1])
    return scores, tests


def folder(config: Config) -> Path:
    """Where the runs and tables lie."""
    return folders.RUNS / f"{config.name}-crossval"


def together(parts: Sequence[Scores]) -> Scores:
    """The clips of several folds as one set."""
    return Scores(
        tuple(name for part in parts for name in part.names),
        np.concatenate([part.truth for part in parts]),
        np.concatenate([part.chances for part in parts]),
    )


def cells(scores: Scores) -> tuple[str, str]:
    """Accuracy on clips of one label, lwlrap."""
    accuracy = scores.accuracy
    return "" if accuracy is None else f"{accuracy:.4f}", f"{scores.lwlrap:.4f}"


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = cli.parser("fatk.crossval", __doc__)
    parser.add_argument("--seeds", type=int, default=2, metavar="N", help="seeds, from the config's on (2)")
    parser.add_argument("--export", action="store_true", help="export each fold's SavedModel, to ensemble")
    config, arguments = cli.parse_config(parser, argv)
    if arguments.seeds < 1:
        raise cli.UserError(f"--seeds must be at least 1. Received: {arguments.seeds}.")
    from fatk import runtime

    prepared = prepare(config)
    folds = fold_configs(config, prepared)
    runtime.start(config)
    seeds = [config.seed + number for number in range(arguments.seeds)]
    found: dict[int, dict[int, Scores]] = {}
    tests: list[np.ndarray] = []
    for seed in seeds:
        found[seed], own = held_out(config, seed, folds, arguments.export)
        tests += own
        whole = together(list(found[seed].values()))
        scoring.write_predictions(
            folder(config) / f"seed{seed}.csv", whole.names, prepared.classes, whole.chances
        )
    if tests:
        names = tuple(clip.name for clip in prepared.split.test)
        path = folder(config) / "submission.csv"
        scoring.write_predictions(path, names, prepared.classes, np.mean(tests, axis=0))
        cli.say(f"{path}: the mean of {len(tests)} runs on {len(names)} test clips")
    _report(config, found)
    return 0


def _report(config: Config, found: dict[int, dict[int, Scores]]) -> None:
    """A row a fold, then all clips of a seed together, then means; and the same as `crossval.csv`."""
    seeds = list(found)
    rows: list[tuple[str, ...]] = [
        (f"fold {fold}", *(cell for seed in seeds for cell in cells(found[seed][fold])))
        for fold in found[seeds[0]]
    ]
    wholes = [together(list(found[seed].values())) for seed in seeds]
    rows.append(("all clips", *(cell for whole in wholes for cell in cells(whole))))
    header = ("held out", *(f"{what}, seed {seed}" for seed in seeds for what in ("accuracy", "lwlrap")))
    cli.table(f"{config.name}: {len(rows) - 1} folds", header, rows)
    summary = []
    for what in ("accuracy", "lwlrap"):
        # The mean over folds, as the literature gives it; its deviation is that between seeds.
        values = [
            [getattr(scores, what) for scores in found[seed].values() if getattr(scores, what) is not None]
            for seed in seeds
        ]
        if not all(values):
            continue
        means = [float(np.mean(own)) for own in values]
        spread = f" ± {np.std(means, ddof=1):.4f} between seeds" if len(seeds) > 1 else ""
        cli.say(f"mean {what} over folds: {np.mean(means):.4f}{spread}")
        summary.append((f"mean {what}", f"{np.mean(means):.6f}", *(f"{mean:.6f}" for mean in means)))
    if len(seeds) > 1:
        mean = Scores(wholes[0].names, wholes[0].truth, np.mean([w.chances for w in wholes], axis=0))
        accuracy, lwlrap = cells(mean)
        cli.say(f"the seeds' mean prediction, all clips: accuracy {accuracy or 'none'}, lwlrap {lwlrap}")
        summary.append(("mean of seeds' predictions", accuracy, lwlrap))
    scoring.write_rows(folder(config) / "crossval.csv", header, rows)
    folders.write_text(folder(config) / "summary.csv", "".join(",".join(row) + "\n" for row in summary))


if __name__ == "__main__":
    cli.run(main)
