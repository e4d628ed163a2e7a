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
    if resume and not run.config.exists():
        raise cli.UserError(f"{run.folder}: no run to resume.")
    if run.folder.exists() and not run.config.exists() and any(run.folder.iterdir()):
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
        if _aside(run).exists():  # the new run was killed before it could start
            shutil.rmtree(run.folder)
        else:
            run.folder.rename(_aside(run))
    run.folder.mkdir(parents=True, exist_ok=True)
    folders.write_text(run.config, to_toml(config))
    return run


def _aside(run: folders.Run) -> Path:
    """Where a run lies that is to be overwritten, until the new one can start. No run is named so."""
    return run.folder.with_name(run.folder.name + "~")


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
            shutil.rmtree(run.folder)
            if _aside(run).exists():
                _aside(run).rename(run.folder)
        raise
    shutil.rmtree(_aside(run), ignore_errors=True)
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
