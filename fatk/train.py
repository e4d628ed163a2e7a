"""`python -m fatk.train --config C [key=value ...]`: from sound files to a served tagger.

Prepares what is missing, trains the stages, keeps weights, scores validation and test clips, exports.
"""

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fatk import cli, folders, locks, runtime
from fatk.config import Config, load_config, to_toml


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    run: folders.Run
    summary: dict[str, Any]
    interrupted: bool


def open_run(config: Config, overwrite: bool, resume: bool) -> folders.Run:
    """Make the run's folder, or enter it. Raises `UserError` for one that is there, or not as told."""
    run = folders.Run(folders.RUNS / config.name)
    if resume and _never_started(run):
        _put_back(run)
        cli.say(f"{run.folder}: was to be overwritten, by a run that never started; it is back in place")
    if resume and not run.config.exists():
        raise cli.UserError(f"{run.folder}: no run to resume.")
    if run.folder.exists() and not run.config.exists() and not _is_empty(run.folder):
        raise cli.UserError(f"{run.folder}: is no run, and is left alone. Give name=another.")
    if run.folder.exists() and not (resume or overwrite):
        raise cli.UserError(f"{run.folder}: exists already. Add --resume, --overwrite, or name=another.")
    if resume:
        before, now = to_toml(load_config(run.config)).splitlines(), to_toml(config).splitlines()
        if before != now:
            changed = (
                sorted(set(now) - set(before)) or sorted(set(before) - set(now)) or ["stages in other order"]
            )
            raise cli.UserError(
                f"{run.folder}: was started with other settings, now given: {'; '.join(changed)}. "
                "Give the same ones, or name=another."
            )
    elif run.folder.exists():
        if _never_started(run):
            shutil.rmtree(run.folder)
        else:
            _forget(run)  # what is left of one that was deleted in part
            run.folder.rename(_aside(run).folder)
    run.folder.mkdir(parents=True, exist_ok=True)
    folders.write_text(run.config, to_toml(config))
    return run


def _is_empty(folder: Path) -> bool:
    """Whether nothing is there but what a process that was killed had half written."""
    return folder.is_dir() and all(path.suffix == ".tmp" for path in folder.iterdir())


def _aside(run: folders.Run) -> folders.Run:
    """Where a run lies that is to be overwritten, until the new one can start. No run is named so."""
    return folders.Run(run.folder.with_name(run.folder.name + "~"))


def _never_started(run: folders.Run) -> bool:
    """Whether a run that was to overwrite another was killed before it could start."""
    return _aside(run).config.exists() and not run.checkpoints.exists()


def _put_back(run: folders.Run) -> None:
    """The run that was to be overwritten, in place of the new one, of which nothing was trained."""
    shutil.rmtree(run.folder, ignore_errors=True)
    _aside(run).folder.rename(run.folder)


def _forget(run: folders.Run) -> None:
    """Delete the run that is overwritten."""
    _aside(run).config.unlink(missing_ok=True)  # first: what is deleted in part is not put back
    shutil.rmtree(_aside(run).folder, ignore_errors=True)


def train(config: Config, overwrite: bool = False, resume: bool = False) -> Outcome:
    """A whole run -> what it came to. Raises `UserError` and `DataError` with one line."""
    with locks.alone(folders.RUNS / config.name):
        return _train(config, overwrite, resume)


def _train(config: Config, overwrite: bool, resume: bool) -> Outcome:
    """`train` while no other process has the run."""
    run = open_run(config, overwrite, resume)
    from fatk.prepare import prepare

    try:
        prepared = prepare(config)
        runtime.start(config)
        from fatk.trainer import Trainer

        trainer = Trainer(run, config, prepared)
    except BaseException:
        if not resume:  # nothing was trained: the name is free again, or its run back in place
            if _aside(run).config.exists():
                _put_back(run)
            else:
                shutil.rmtree(run.folder)
        raise
    _forget(run)
    return trainer.go()


def _cell(value: float) -> str:
    """Scores with four digits, counts and seconds whole."""
    return f"{value:.4f}" if isinstance(value, float) and value <= 1 else f"{value:,.0f}"


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = cli.parser("fatk.train", __doc__)
    known = parser.add_mutually_exclusive_group()
    known.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    known.add_argument("--overwrite", action="store_true", help="delete the run of that name first")
    config, arguments = cli.parse_config(parser, argv)
    outcome = train(config, arguments.overwrite, arguments.resume)
    run, summary = outcome.run, outcome.summary
    if summary:
        shown = ("val_lwlrap", "val_accuracy", "test_lwlrap", "parameters", "epochs", "seconds")
        cli.table(
            config.name,
            ("", "value"),
            [(key, _cell(summary[key])) for key in shown if summary[key] is not None],
        )
        for title, path in (
            ("SavedModel", run.saved_model),
            ("submission", run.submission),
            ("TensorBoard", run.tensorboard),
        ):
            if path.exists():
                cli.say(f"{title}: {path}")
    if outcome.interrupted:
        again = shlex.join(["--config", arguments.config, *arguments.overrides, "--resume"])
        cli.say(f"stopped early; to go on: python -m fatk.train {again}")
        return 130
    cli.say(f"to look at it: tensorboard --logdir {folders.RUNS}")
    return 0


if __name__ == "__main__":
    runtime.keep_memory()
    cli.run(main)
