"""Self-training: finished networks say what is in the noisy clips, and others are trained by their word.

The labels of a noisy clip that a teacher finds unlikely go, those that it is sure of join; a clip that is left
without any is left out. Students begin anew, as in Noisy Student (Xie et al., arXiv:1911.04252), and what is done
to their training clips makes them hear more than their teacher told. Teachers of a cross-validation are those of
the same fold: whoever was held out has no say in the labels of the network that is judged by it.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fatk import cli, folders, locks
from fatk.config import Config, load_config
from fatk.folds import valid_labels
from fatk.prepare import Prepared
from fatk.shards import digest
from pipelines.labels import multi_hot, relabel
from pipelines.sources import CURATED, NOISY, Clip, Source


def write_table(
    path: Path,
    source: Source,
    clips: Sequence[Clip],
    scores: np.ndarray,
    suggested: np.ndarray,
) -> None:
    """`fname,score,suggested_labels` of some clips of a set, most suspicious first, whole or not at all.

    With a column `pool` where a name alone does not tell a training clip of the set.
    """
    names = Counter(clip.name for clip in source.pool(CURATED, NOISY))
    twice = any(names[clip.name] > 1 for clip in clips)
    rows = []
    for number in np.argsort(-scores, kind="stable"):
        clip = clips[number]
        labels = ",".join(name for name, on in zip(source.classes, suggested[number], strict=True) if on)
        rows.append([clip.name, f"{scores[number]:.6f}", labels, *([clip.pool] if twice else [])])
    folders.write_rows(path, ["fname", "score", "suggested_labels", *(["pool"] if twice else [])], rows)


def read_teachers(paths: Sequence[Path], config: Config, classes: Sequence[str]) -> list[folders.Run]:
    """Folders of finished runs. Raises `UserError` for what is none, or of other classes or another rate."""
    runs = [folders.Run(path) for path in paths]
    for run in runs:
        for path in (run.summary, run.config, run.classes, run.network):
            if not path.is_file():
                raise cli.UserError(f"{run.folder}: not a finished run ({path.name} is missing).")
        own = run.classes.read_text(encoding="utf-8").splitlines()
        if own != list(classes):
            raise cli.UserError(f"{run.folder}: its classes are not those of the set, in their order.")
        rate = load_config(run.config).features.rate
        if rate != config.features.rate:
            raise cli.UserError(f"{run.folder}: hears {rate} Hz; `features.rate` is {config.features.rate}.")
    return runs


def heard(
    config: Config, prepared: Prepared, clips: Sequence[Clip], runs: Sequence[folders.Run]
) -> np.ndarray:
    """-> (clips, classes) probabilities, the mean over runs, each with the images and crops of its own settings."""
    from fatk import verdict
    from fatk.feeds import Feeds
    from models import networks

    chances = []
    for run in runs:
        own = load_config(run.config)
        # The student's set in the teacher's pictures: what only training asks for is not made.
        feeds = Feeds(
            replace(own, name=config.name, data=config.data, records=config.records, split=config.split),
            prepared,
        )
        chances.append(verdict.predict(feeds, feeds.examples(tuple(clips)), networks.load(run.network)))
    return np.mean(chances, axis=0)


def write_revised(path: Path, config: Config, prepared: Prepared, runs: Sequence[folders.Run]) -> list[Clip]:
    """The labels of all noisy clips as `runs` would have them, a table for `data.relabel` -> the clips."""
    from models.quality import label_quality, revise

    clips = list(prepared.source.pool(NOISY))
    if not clips:
        raise cli.UserError("teachers label noisy clips anew, and the set has none.")
    labels, chances = multi_hot(clips, prepared.classes), heard(config, prepared, clips, runs)
    revised = revise(labels, chances)
    write_table(path, prepared.source, clips, 1 - label_quality(labels, chances), revised)
    return clips


def taught(
    config: Config, prepared: Prepared, fold: int, held: Collection[str], place: Path, teachers: Path
) -> tuple[Prepared, str]:
    """The set as the fold's teachers label it -> (the set, what tells it from one with other labels).

    `teachers`: the folder of an earlier cross-validation; of all its seeds those runs teach that held the same
    fold out. `held`: keys of the clips of that fold. Their word is kept in `place`, and not asked for twice.
    Raises `UserError` where there are none, or where one was trained on a clip that it should have held out.
    """
    if not config.data.noisy:
        raise cli.UserError(
            "teachers label noisy clips anew, and `data.noisy` is false: none are trained on."
        )
    paths = sorted(teachers.glob(f"seed*-fold{fold}"))
    if not paths:
        raise cli.UserError(f"{teachers}: no run there holds fold {fold} out (seed...-fold{fold}).")
    runs = read_teachers(paths, config, prepared.classes)
    names = {clip.name for clip in prepared.source.clips if clip.key in held}
    for run in runs:
        if strangers := sorted(names - valid_labels(run).keys()):
            raise cli.UserError(
                f"{run.folder}: did not hold {strangers[0]} out, which is in fold {fold}: a network that was "
                "taught by it could not be judged by that clip."
            )
    known = " ".join([prepared.manifest["fingerprint"], *(digest(run.network) for run in runs)])
    table = place / f"taught-fold{fold}-{_short(known)}.csv"
    with locks.hold(table):
        if not table.is_file():
            many = "teacher labels" if len(runs) == 1 else "teachers label"
            cli.say(f"fold {fold}: {len(runs)} {many} the noisy clips")
            write_revised(table, config, prepared, runs)
    every = replace(config.labels, relabel="apply", relabel_score=None, relabel_share=1.0)
    source = relabel(replace(prepared.source, notes=()), table, every)
    for note in source.notes:
        cli.say(note)
    # Of what they say, not of who they are: a teacher that was scored anew has the same weights in another file.
    word = "\n".join(sorted(f"{clip.key} {','.join(sorted(clip.labels))}" for clip in source.pool(NOISY)))
    return replace(prepared, source=source), f"taught {_short(word)}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
