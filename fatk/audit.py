"""`python -m fatk.audit --config C --folds 4`: which training clips are probably mislabelled.

Trains its own folds, so that every clip is judged by a network that has not seen it, and writes a table, most
suspicious first, that `data.relabel` of a config can name: `labels.relabel` then drops by it or relabels.
All its networks begin from scratch: those of `train.init` may have learnt the labels that are to be judged.

A second round trains without the noisy clips that the first one doubts most, and so judges all clips anew.

The clips that the config holds out are judged, and train, like the others, for their labels may be wrong too.
`--without-valid` leaves them out: a table that is to better a score on them must not come from them.

A pool that the config does not train on (`data.noisy`, `split.train`) trains nothing here, and is judged only where
`--pool` asks for it. Noisy clips of classes that `select` rules out take no part; where `select` or `split` draw
some of the others, all of them do, for what the table drops makes room.

`--runs` has finished runs say what is in the noisy clips, and trains nothing: see teachers.py.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from fatk import cli, folders, locks, outputs, runtime
from fatk.config import Config
from fatk.folds import run_fold
from fatk.prepare import Prepared, prepare, with_records
from fatk.teachers import read_teachers, write_revised, write_table
from pipelines.draws import kfold
from pipelines.labels import multi_hot
from pipelines.selection import ok_classes, usable
from pipelines.sources import CURATED, NOISY, TEST, Clip, Source

NEVER = 10**6  # epochs between validations: those of a stage's last epoch are enough here


def out_of_fold(
    config: Config,
    prepared: Prepared,
    clips: Sequence[Clip],
    folds: int,
    turn: int = 0,
    doubted: frozenset[str] = frozenset(),
) -> np.ndarray:
    """-> (clips, classes) probabilities, each clip's by the network that was trained without its fold.

    Clips whose key is `doubted` train nothing. Folds are drawn anew in each round, the `turn`, from 0.
    A fold is a run of its own under `runs/<name>-audit/`; one that is finished is not trained again.
    """
    fold_of = kfold(clips, folds, config.seed + turn)
    known = "\n".join([*sorted(clip.key for clip in clips), "", *sorted(doubted)])
    mark = f"{hashlib.sha256(known.encode()).hexdigest()[:16]}, {folds} folds"
    members = [[n for n, clip in enumerate(clips) if fold_of[clip.key] == fold] for fold in range(folds)]

    def work(fold: int, run: folders.Run) -> np.ndarray:
        held = members[fold]
        rest = tuple(clip for clip in clips if fold_of[clip.key] != fold and clip.key not in doubted)
        # The last weights: the best ones would be chosen by the very labels that are to be judged.
        own = replace(
            config,
            name=f"{config.name}-audit-{run.folder.name}",
            # Each network begins from weights of its own, or what one seed is blind to all of them are.
            seed=config.seed + turn * folds + fold,
            train=replace(config.train, keep="last", validate_every=NEVER),
        )
        split = replace(prepared.split, train=rest, valid=tuple(clips[n] for n in held), test=())
        source = replace(
            prepared.source, clips=tuple(c for c in prepared.source.clips if c.key not in doubted)
        )
        return run_fold(
            run,
            own,
            replace(prepared, split=split, source=source),
            f"round {turn + 1}, fold {fold + 1} of {folds}: {len(rest)} clips to train on, {len(held)} to judge",
            mark,
        )

    jobs = {}
    for fold in range(folds):
        run = folders.Run(folders.RUNS / f"{config.name}-audit" / f"round{turn + 1}-fold{fold + 1}")
        jobs[fold] = run.folder, partial(work, fold, run)
    chances = np.zeros((len(clips), len(prepared.classes)))
    for fold, found in locks.share(jobs).items():
        chances[members[fold]] = found
    return chances


def doubtful(clips: Sequence[Clip], suspicion: np.ndarray, share: float) -> frozenset[str]:
    """-> keys of the most suspicious noisy clips, that share of all noisy ones."""
    noisy = [number for number, clip in enumerate(clips) if clip.pool == NOISY]
    order = sorted(noisy, key=lambda number: -suspicion[number])
    return frozenset(clips[number].key for number in order[: round(share * len(order))])


def trained_pools(config: Config) -> set[str]:
    """-> the pools that a run of the config trains on."""
    noisy = config.data.noisy and config.split.train != "curated"
    return ({CURATED} if config.split.train != "noisy" else set()) | ({NOISY} if noisy else set())


def taking_part(config: Config, source: Source, asked: Collection[str]) -> list[Clip]:
    """-> the clips of the pools that train or are `asked` for, without what `select` rules out.

    Raises `UserError` where none is of a pool that is asked for.
    """
    noisy = source.pool(NOISY)
    if config.select.noisy != "all":
        noisy = usable(noisy, ok_classes(source.classes, config.select))
    fine, pools = {clip.key for clip in noisy}, trained_pools(config) | {*asked}
    clips = [c for c in source.clips if c.pool in pools and (c.pool == CURATED or c.key in fine)]
    if asked and not any(clip.pool in asked for clip in clips):
        raise cli.UserError(f"--pool: there is no {' or '.join(asked)} clip to judge.")
    return clips


def audit(
    config: Config,
    folds: int,
    rounds: int,
    share: float,
    with_valid: bool = True,
    asked: Collection[str] = (),
) -> tuple[Source, list[Clip], np.ndarray, np.ndarray]:
    """-> (the set, clips, their suspicion (clips,), suggested labels (clips, classes) 0/1).

    `asked`: pools to be judged even where the config does not train on them. Raises `UserError`, `DataError`.
    """
    from models.quality import balance, label_quality, suggest

    if config.train.init:
        if all(stage.freeze for stage in config.stage):
            raise cli.UserError(
                "an audit trains from scratch, without `train.init`, and `stage.freeze` leaves the trunk untrained "
                "in all stages. Give stage.0.freeze=false."
            )
        cli.say("`train.init` is not heeded: what it names may have learnt the labels that are to be judged")
        config = replace(config, train=replace(config.train, init=""))
    prepared, config = prepare(config), with_records(config)
    source = prepared.source
    if not with_valid:
        held = {clip.key for clip in prepared.split.valid}
        rest = tuple(clip for clip in source.clips if clip.key not in held)
        prepared = replace(prepared, source=replace(source, clips=rest))
    clips = taking_part(config, prepared.source, asked)
    part = {clip.key for clip in clips}
    # Nor do others lend their sound or labels to training; test clips are only listed.
    rest = tuple(clip for clip in prepared.source.clips if clip.pool == TEST or clip.key in part)
    prepared = replace(prepared, source=replace(prepared.source, clips=rest))
    pools = trained_pools(config)
    idle = frozenset(clip.key for clip in clips if clip.pool not in pools)
    runtime.start(config)
    labels = multi_hot(clips, prepared.classes)
    doubted: frozenset[str] = frozenset()
    for turn in range(rounds):
        chances = out_of_fold(config, prepared, clips, folds, turn, idle | doubted)
        suspicion = 1 - label_quality(labels, chances)
        doubted = doubtful(clips, suspicion, share)
    return source, clips, suspicion, suggest(balance(labels, chances))


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = cli.parser("fatk.audit", __doc__)
    parser.add_argument("--folds", type=int, metavar="N", help="networks to train (default 4)")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of folds (default 2)")
    parser.add_argument(
        "--share",
        type=float,
        metavar="S",
        help="of the noisy clips, the most suspicious ones, left out of the next round's training (default 0.5)",
    )
    parser.add_argument(
        "--pool",
        choices=(CURATED, NOISY, "both"),
        help="clips in the table; default: noisy ones, where the config trains on them",
    )
    parser.add_argument(
        "--without-valid", action="store_true", help="the clips that the config holds out take no part"
    )
    parser.add_argument(
        "--runs",
        nargs="+",
        metavar="RUN",
        help="finished runs whose word on the noisy clips is taken instead",
    )
    parser.add_argument("--out", metavar="FILE", help="the table; default: runs/<name>-audit/audit.csv")
    config, arguments = cli.parse_config(parser, argv)
    path = Path(arguments.out or folders.RUNS / f"{config.name}-audit" / "audit.csv")
    outputs.check([("--out", str(path), outputs.SUSPICIONS)], [arguments.config, config.data.table])
    own = (arguments.folds, arguments.rounds, arguments.share, arguments.pool)
    if arguments.runs:
        if arguments.without_valid or any(given is not None for given in own):
            raise cli.UserError(
                "--runs goes without --folds, --rounds, --share, --pool and --without-valid: nothing is trained."
            )
        return _by_runs(config, [Path(run) for run in arguments.runs], path)
    count = 4 if arguments.folds is None else arguments.folds
    rounds = 2 if arguments.rounds is None else arguments.rounds
    share = 0.5 if arguments.share is None else arguments.share
    if count < 2:
        raise cli.UserError(f"--folds must be at least 2. Received: {count}.")
    if rounds < 1:
        raise cli.UserError(f"--rounds must be at least 1. Received: {rounds}.")
    if not 0 <= share <= 1:
        raise cli.UserError(f"--share must be from 0 to 1. Received: {share}.")
    asked: Sequence[str] = (CURATED, NOISY) if arguments.pool == "both" else (arguments.pool or "").split()
    source, clips, scores, suggested = audit(config, count, rounds, share, not arguments.without_valid, asked)
    pools = asked or ((NOISY,) if any(clip.pool == NOISY for clip in clips) else (CURATED,))
    shown = [n for n, clip in enumerate(clips) if clip.pool in pools]
    write_table(path, source, [clips[n] for n in shown], scores[shown], suggested[shown])
    top = sorted(shown, key=lambda n: -scores[n])[:10]
    cli.table(
        "most suspicious",
        ("clip", "score", "given", "suggested"),
        [
            (
                clips[n].name,
                float(scores[n]),
                ",".join(clips[n].labels),
                ",".join(name for name, on in zip(source.classes, suggested[n], strict=True) if on),
            )
            for n in top
        ],
    )
    cli.say(f"{path}: {len(shown)} clips; to use it: data.relabel={path} labels.relabel=drop")
    return 0


def _by_runs(config: Config, paths: Sequence[Path], out: Path) -> int:
    """The table by finished runs."""

    prepared = prepare(config)
    runs = read_teachers(paths, config, prepared.classes)
    runtime.start(config)
    clips = write_revised(out, config, prepared, runs)
    cli.say(
        f"{out}: {len(clips)} clips; to use it: data.relabel={out} labels.relabel=apply labels.relabel_share=1"
    )
    return 0


if __name__ == "__main__":
    runtime.keep_memory()
    cli.run(main)
