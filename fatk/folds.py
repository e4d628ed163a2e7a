"""Runs that belong together: what each holds out, each trained once, its predictions read back."""

import csv
import shutil
import tomllib
import zipfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from fatk import cli, folders, scoring
from fatk.config import Config, ConfigError, load_config, to_toml
from fatk.prepare import Prepared
from fatk.scoring import read_scores
from fatk.shards import digest
from pipelines.draws import kfold
from pipelines.selection import roles
from pipelines.sources import CURATED
from pipelines.splits import same_splits

_CLIPS = "\n# clips: "  # below a run's settings: which clips it was of
_INIT = "\n# init: "  # below them: what is in the file of `train.init`


def valid_labels(run: folders.Run) -> dict[str, frozenset[str]]:
    """-> {fname: labels} of a run's validation clips, by its `splits.csv`; empty where it has none."""
    if not run.splits.is_file():
        return {}
    with run.splits.open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["split"] == "valid"]
    return {row["fname"]: frozenset(filter(None, row["labels"].split(","))) for row in rows}


def fold_numbers(config: Config, prepared: Prepared) -> dict[str, int]:
    """-> {key of a curated clip: its fold}. Raises `UserError` where the settings hold none out."""
    if config.split.validate == "noisy":
        raise cli.UserError(
            "`split.validate` must be 'curated' in a config to cross-validate: folds are of curated clips. "
            "Received: 'noisy'."
        )
    clips = prepared.source.as_given(CURATED)
    if config.data.fold is not None:
        return {clip.key: clip.fold for clip in clips if clip.fold is not None}
    if config.split.kind == "kfold":
        return kfold(clips, config.split.count, config.seed)
    raise cli.UserError(
        "a config to cross-validate must name a fold of its table (`data.fold`), or set `split.kind` to 'kfold' "
        f"and `split.count` to the number of folds. Received: `split.kind` = {config.split.kind!r}."
    )


def holding(config: Config, prepared: Prepared, keys: Collection[str]) -> Prepared:
    """The set with those curated clips held out, and what is trained on chosen without them."""
    held = frozenset(keys)
    clips = tuple(
        replace(clip, valid=clip.key in held) if clip.pool == CURATED else clip
        for clip in prepared.source.clips
    )
    split = roles(
        replace(prepared.source, clips=clips, given=()),
        replace(config.data, fold=None),
        replace(config.split, kind="auto", count=1, number=0),
        config.select,
        config.seed,
    )
    return replace(prepared, split=split)


def run_fold(
    run: folders.Run, config: Config, prepared: Prepared, told: str, mark: str = "", exported: bool = False
) -> np.ndarray:
    """One run of several -> (validation clips, classes) probabilities.

    One that is finished is not trained again, one that was stopped goes on. `told` is said before training.
    Settings, clips and `mark`, in which runs of one name may differ, are kept with the run. Where what lies there
    is of others, that is said and it begins anew; a finished one is set aside, in place of one set aside before.
    Where only its scoring is asked for otherwise, the weights that it kept are scored again.
    Raises `KeyboardInterrupt` where the user stops it.
    """
    import keras

    from fatk.sweep_run import forget
    from fatk.trainer import Trainer

    clips = f"{prepared.manifest['fingerprint']} {mark}"
    init = _weights(config.train.init)
    section, change = _change(run, config, clips, init) if run.config.exists() else ("", "")
    if not change and run.splits.exists() and not same_splits(run.splits, prepared.split, prepared.source):
        section, change = "", "it trained or was judged on other clips"
    if section == "evaluate" and _can_score(run, config):
        if run.summary.exists():
            told = f"{told}: {change}; its weights are scored again"
        _forget_scores(run)
    elif change:
        _set_aside(run, f"{told}: {change}")
    known = run.config.exists()
    if known and not init:
        init = _noted(run)[1]  # of a file that is gone: what it held
    resolved = f"{to_toml(config)}{_CLIPS}{clips}{_INIT if init else ''}{init}\n"
    if known:  # its folders may lie elsewhere now
        folders.write_text(run.config, resolved)
    if not run.summary.exists() or (exported and not run.saved_model.exists()):
        cli.say(told)
        run.folder.mkdir(parents=True, exist_ok=True)
        folders.write_text(run.config, resolved)
        # As a run of its own would begin, whichever others this process has trained.
        forget()
        keras.utils.set_random_seed(config.seed)
        # Of one that was stopped nothing is told: a summary would say that it is finished.
        if Trainer(run, config, prepared).go(exported=exported, partly=False).interrupted:
            raise KeyboardInterrupt
    return read_scores(run.predictions)[1]


def _noted(run: folders.Run) -> tuple[str, str]:
    """What is kept below a run's settings -> (its clips, what `train.init` held), empty where nothing is."""
    clips, _, init = run.config.read_text(encoding="utf-8").rpartition(_CLIPS)[2].partition(_INIT)
    return clips.strip(), init.strip()


def _weights(init: str) -> str:
    """What changes when the weights in the file of `train.init` do, wherever it lies; empty where there is none."""
    source = Path(init)
    if not init:
        return ""
    path = folders.Run(source).network if source.is_dir() else source
    try:
        with zipfile.ZipFile(path) as parts:
            # Of the whole file Keras changes more: it notes when it was written, and that it was loaded before.
            weights = parts.getinfo("model.weights.h5")
        return f"{weights.file_size:x}-{weights.CRC:08x}"
    except (zipfile.BadZipFile, KeyError):
        return digest(path)
    except OSError:
        return ""


def _change(run: folders.Run, config: Config, clips: str, init: str) -> tuple[str, str]:
    """What a run's own settings and clips differ in from those that are asked for -> (section, in words).

    Both are empty where in nothing, the section where it is none of the settings. Folders of the data may be
    others: the clips are known by what they are, and so are the weights of `train.init`, where they were noted.
    What TensorBoard shows may, too. Of several differences one of `evaluate` is told last: it is then the only one.
    """
    own_clips, own_init = _noted(run)
    if own_clips != clips.strip():
        return "", "its clips are others than they were"
    try:
        before = load_config(run.config)
    except ConfigError as error:
        return "", f"its settings cannot be read ({str(error).splitlines()[0]})"
    data = {key: getattr(config.data, key) for key in ("path", "table", "relabel", "records")}
    before = replace(before, data=replace(before.data, **data), log=config.log)
    if own_init and init:
        if own_init != init:
            return "", "`train.init` held other weights"
        before = replace(before, train=replace(before.train, init=config.train.init))
    had, have = (tomllib.loads(to_toml(own)) for own in (before, config))
    if had == have:
        return "", ""
    for section in sorted(have, key=lambda section: section == "evaluate"):
        values = have[section]
        if had.get(section) != values:
            if not isinstance(values, dict):
                return section, f"`{section}` was {had.get(section)!r}"
            key = next(key for key in had[section] | values if had[section].get(key) != values.get(key))
            return section, f"`{section}.{key}` was {had[section].get(key)!r}"
    return "", "its settings are others than they were"


def _can_score(run: folders.Run, config: Config) -> bool:
    """Whether other scoring leaves a run's weights as they are: not where scores chose them, or will."""
    # Without its last checkpoint it would begin anew, in its own place.
    return config.train.keep != "best" and any(run.checkpoints.glob("state-*.npz"))


def _forget_scores(run: folders.Run) -> None:
    """Leave the weights; what scored them is said by the next run."""
    run.summary.unlink(missing_ok=True)  # first: without it nothing else counts as finished
    for path in run.folder.glob("predictions-*.csv"):
        path.unlink()
    shutil.rmtree(run.saved_model, ignore_errors=True)  # it averages crops as the settings say


def _set_aside(run: folders.Run, why: str) -> None:
    """Make room for a run."""
    # Not beside the others: they are named by patterns.
    aside = run.folder.parent / "before" / run.folder.name
    if run.summary.exists():
        shutil.rmtree(aside, ignore_errors=True)
        aside.parent.mkdir(exist_ok=True)
        run.folder.rename(aside)
        cli.say(f"{why}; what was finished is now {aside}")
    else:
        shutil.rmtree(run.folder, ignore_errors=True)
        cli.say(f"{why}; it begins anew")


def extra(run: folders.Run, crops: int) -> Path:
    """Predictions of a run with another number of crops than its config's."""
    return run.folder / f"predictions-{crops}.csv"


def predict_again(run: folders.Run, config: Config, prepared: Prepared, counts: Collection[int]) -> None:
    """Held-out clips by the network that a finished run kept, with so many crops a clip; what is there stays."""
    from fatk import verdict
    from fatk.feeds import Feeds
    from models import networks

    for crops in counts:
        if crops == config.evaluate.crops or extra(run, crops).exists():
            continue
        # What is only done to training clips is left out.
        plain = replace(
            config,
            evaluate=replace(config.evaluate, crops=crops),
            mixing=replace(config.mixing, kind="none"),
            domain=replace(config.domain, transfer="none"),
        )
        feeds = Feeds(plain, prepared)
        chances = verdict.predict(feeds, feeds.valid, networks.load(run.network))
        names = [clip.name for clip in prepared.split.valid]
        scoring.write_predictions(extra(run, crops), names, prepared.classes, chances)
