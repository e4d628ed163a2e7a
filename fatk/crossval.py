"""`python -m fatk.crossval --config C --seeds N`: every fold held out once, for each of several seeds.

The folds are those of the table where the config names one (`data.fold`), else the `split.count` folds of
`split.kind = "kfold"`. Each is a run of its own under `runs/<name>-crossval/`; what is finished is not trained
again, and only scored again where `evaluate` changed, unless scores chose its weights. Set `train.keep = "last"`: a
held-out fold that chooses the epoch flatters the score.

Started several times, on a GPU or a core each, it shares the runs among the processes, and each tells the results
of all.

`--tta` scores by other numbers of crops a clip too, beside that of the config.

`--teachers` has the networks of an earlier cross-validation label the noisy clips anew: see teachers.py.

`--inner` scores settings without the fold that they are to be judged by: see crossval_inner.py.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np

from fatk import cli, folders, locks, runtime, scoring
from fatk.config import Config
from fatk.folds import extra, fold_numbers, holding, predict_again, run_fold
from fatk.prepare import Prepared, prepare, with_records
from fatk.scoring import Scores, read_scores
from pipelines.labels import multi_hot


def fold_config(config: Config, fold: int) -> Config:
    """The settings by which a run of its own would hold out that fold."""
    if config.data.fold is not None:
        return replace(config, data=replace(config.data, fold=fold))
    return replace(config, split=replace(config.split, number=fold))


def run_of(config: Config, title: str, fold: int, seed: int, place: Path) -> tuple[folders.Run, Config]:
    """-> (the folder in `place`, the settings) of one run of a cross-validation."""
    own = fold_config(with_records(config), fold)  # all runs read the same shards
    own = replace(own, name=f"{config.name}-{title}", seed=seed)
    return folders.Run(place / title), own


def held_out(
    config: Config,
    seeds: Sequence[int],
    splits: dict[int, Prepared],
    exported: bool,
    counts: Sequence[int] = (),
    marks: Mapping[int, str] = MappingProxyType({}),
) -> tuple[dict[int, dict[int, Scores]], list[np.ndarray]]:
    """All folds of all seeds -> ({seed: {fold: scores of its clips}}, probabilities of the test clips, a run each).

    `counts`: numbers of crops a clip whose predictions are wanted too, in files beside the runs' own. `marks`:
    what tells a fold's runs from those of the same clips and settings, where something does.
    """

    def work(seed: int, fold: int) -> Scores:
        prepared = splits[fold]
        run, own = place(seed, fold)
        chances = run_fold(run, own, prepared, f"seed {seed}, fold {fold}", marks.get(fold, ""), exported)
        predict_again(run, own, prepared, counts)
        clips = prepared.split.valid
        return Scores(tuple(clip.name for clip in clips), multi_hot(clips, prepared.classes), chances)

    def place(seed: int, fold: int) -> tuple[folders.Run, Config]:
        return run_of(config, f"seed{seed}-fold{fold}", fold, seed, folder(config))

    every = [(seed, fold) for seed in seeds for fold in splits]
    runs = {one: place(*one)[0] for one in every}
    found = locks.share({one: (runs[one].folder, partial(work, *one)) for one in every})
    tests = [read_scores(run.submission)[1] for run in runs.values() if run.submission.exists()]
    return {seed: {fold: found[seed, fold] for fold in splits} for seed in seeds}, tests


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
    parser.add_argument("--seeds", type=int, metavar="N", help="seeds, from the config's on (2)")
    parser.add_argument(
        "--tta", type=int, nargs="+", default=[], metavar="N", help="crops a clip to score by too"
    )
    parser.add_argument(
        "--teachers",
        metavar="DIR",
        help="an earlier cross-validation, whose networks of the same fold label the noisy clips anew",
    )
    parser.add_argument("--export", action="store_true", help="export each fold's SavedModel, to ensemble")
    parser.add_argument(
        "--inner", action="store_true", help="hold two folds out at a time: scores to choose settings by"
    )
    config, arguments = cli.parse_config(parser, argv)
    if arguments.inner:
        if arguments.seeds is not None or arguments.export or arguments.tta or arguments.teachers:
            raise cli.UserError(
                "--inner goes without --seeds, as it runs one, and without --export, --teachers and --tta."
            )
        from fatk import crossval_inner

        crossval_inner.go(config)
        return 0
    count = 2 if arguments.seeds is None else arguments.seeds
    if count < 1:
        raise cli.UserError(f"--seeds must be at least 1. Received: {count}.")
    if min(arguments.tta, default=1) < 1:
        raise cli.UserError(f"--tta must be at least 1. Received: {min(arguments.tta)}.")
    if arguments.teachers and Path(arguments.teachers).resolve() == folder(config).resolve():
        raise cli.UserError(
            f"--teachers {arguments.teachers} is the folder that these runs are written to. Give name=another."
        )

    prepared = prepare(config)
    fold_of = fold_numbers(config, prepared)
    held = {
        fold: [key for key, own in fold_of.items() if own == fold] for fold in sorted(set(fold_of.values()))
    }
    runtime.start(config)
    sets, marks = dict.fromkeys(held, prepared), dict[int, str]()
    if arguments.teachers:
        from fatk.teachers import taught

        for fold, keys in held.items():
            sets[fold], marks[fold] = taught(
                config, prepared, fold, keys, folder(config), Path(arguments.teachers)
            )
    # Of the first seed for all: seeds are to differ in training alone.
    splits = {fold: holding(config, sets[fold], keys) for fold, keys in held.items()}
    seeds = [config.seed + number for number in range(count)]
    found, tests = held_out(config, seeds, splits, arguments.export, arguments.tta, marks)
    for seed, scores in found.items():
        whole = together(list(scores.values()))
        scoring.write_predictions(
            folder(config) / f"seed{seed}.csv", whole.names, prepared.classes, whole.chances
        )
    if tests:
        names = tuple(clip.name for clip in prepared.split.test)
        path = folder(config) / "submission.csv"
        scoring.write_predictions(path, names, prepared.classes, np.mean(tests, axis=0))
        cli.say(f"{path}: the mean of {len(tests)} runs on {len(names)} test clips")
    _report(config, found)
    for crops in sorted({*arguments.tta} - {config.evaluate.crops}):
        for line, _, _ in _means(_again(config, found, crops)):
            cli.say(f"with {crops} {'crop' if crops == 1 else 'crops'} a clip, {line}")
    return 0


def _means(found: dict[int, dict[int, Scores]]) -> Iterator[tuple[str, str, list[float]]]:
    """-> (a line to say, the measure's name, a mean a seed) for each measure that all clips have.

    Means over folds, as the literature gives them; their deviation is that between seeds.
    """
    for what in ("accuracy", "lwlrap"):
        values = [
            [getattr(scores, what) for scores in folds.values() if getattr(scores, what) is not None]
            for folds in found.values()
        ]
        if all(values):
            means = [float(np.mean(own)) for own in values]
            spread = f" ± {np.std(means, ddof=1):.4f} between seeds" if len(means) > 1 else ""
            yield f"mean {what} over folds: {np.mean(means):.4f}{spread}", what, means


def _again(config: Config, found: dict[int, dict[int, Scores]], crops: int) -> dict[int, dict[int, Scores]]:
    """The same clips as predicted with another number of crops."""
    made: dict[int, dict[int, Scores]] = {}
    for seed, folds in found.items():
        made[seed] = {}
        for fold, scores in folds.items():
            run, _ = run_of(config, f"seed{seed}-fold{fold}", fold, seed, folder(config))
            made[seed][fold] = replace(scores, chances=read_scores(extra(run, crops))[1])
    return made


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
    for line, what, means in _means(found):
        cli.say(line)
        summary.append((f"mean {what}", f"{np.mean(means):.6f}", *(f"{mean:.6f}" for mean in means)))
    if len(seeds) > 1:
        mean = Scores(wholes[0].names, wholes[0].truth, np.mean([w.chances for w in wholes], axis=0))
        accuracy, lwlrap = cells(mean)
        cli.say(f"the seeds' mean prediction, all clips: accuracy {accuracy or 'none'}, lwlrap {lwlrap}")
        summary.append(("mean of seeds' predictions", accuracy, lwlrap))
    folders.write_rows(folder(config) / "crossval.csv", header, rows)
    folders.write_text(folder(config) / "summary.csv", "".join(",".join(row) + "\n" for row in summary))


if __name__ == "__main__":
    runtime.keep_memory()
    cli.run(main)
