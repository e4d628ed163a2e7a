"""`python -m fatk.sweep --config C --runs N space.toml [key=value ...]`: a seeded search over settings.

Optuna draws each run's settings from the space (its tree-structured Parzen estimator, seeded with the config's
seed and the run's number), a run is trained and scored, and its lwlrap on the validation clips tells where to
draw next. The search is kept in `runs/<name>-sweep/study.db`, the runs beside it: the same command goes on
where it was stopped, within a run too, and with a larger N it goes on from the end.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fatk import cli, folders, locks, runtime
from fatk.config import Config, ConfigError, load_config, to_toml
from fatk.prepare import with_records
from fatk.sweep_space import Choices, Range, Space, override, read_space
from pipelines.sources import DataError

if TYPE_CHECKING:
    import optuna

PROBLEM = "problem"  # a trial's note of why it failed


class Sweep:
    """One search: a base config, a space, a folder."""

    def __init__(self, config: str, overrides: Sequence[str], space: Path, prune: bool = False):
        self.base = load_config(config, overrides)
        self.config, self.overrides = config, tuple(overrides)
        self.space = read_space(space, config, overrides)
        self.prune = prune
        self.folder = folders.RUNS / f"{self.base.name}-sweep"

    def go(self, runs: int) -> None:
        """Run until so many are over. Raises `KeyboardInterrupt` where the user stopped one.

        Raises `DataError` where the base config's set cannot be prepared, whatever is drawn.
        """
        # What is drawn follows from all runs before: two processes cannot share a search.
        with locks.alone(self.folder):
            self._go(runs)

    def _go(self, runs: int) -> None:
        import optuna

        from fatk import sweep_run

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.folder.mkdir(parents=True, exist_ok=True)
        storage = optuna.storages.RDBStorage(f"sqlite:///{(self.folder / 'study.db').absolute()}")
        try:
            study = optuna.create_study(
                study_name=self.base.name,
                storage=storage,
                pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
                direction="maximize",
                load_if_exists=True,
            )
            self._same(study)
            if not self._over(study, runs):
                # Or each draw would fail for what is wrong with all.
                sweep_run.ready(self.base, verbose=False)
            while (trial := self._next(study, runs)) is not None:
                self._run(study, trial, runs)
                self.write(study)
            self.write(study)
            self.show(study)
        finally:
            storage.remove_session()
            storage.engine.dispose()

    def _same(self, study: "optuna.Study") -> None:
        """Refuse to go on with another space or config than the search began with."""
        told = {
            "space": json.dumps({key: asdict(entry) for key, entry in self.space.items()}, sort_keys=True),
            "settings": to_toml(self.base),
        }
        for name, now in told.items():
            before = study.user_attrs.get(name)
            if before is None:
                study.set_user_attr(name, now)
            elif before != now:
                raise cli.UserError(
                    f"{self.folder}: was started with another {'space' if name == 'space' else 'config'}. "
                    "Give the same one, or name=another."
                )

    def _over(self, study: "optuna.Study", runs: int) -> bool:
        """Whether enough are over, and none was stopped."""
        trials = study.get_trials(deepcopy=False)
        return len(trials) >= runs and all(trial.state.is_finished() for trial in trials)

    def _next(self, study: "optuna.Study", runs: int) -> "optuna.Trial | None":
        """The run that was stopped, or a new one; None where enough are over."""
        import numpy as np
        import optuna

        if self._over(study, runs):
            return None
        trials = study.get_trials(deepcopy=False)
        stopped = [trial for trial in trials if not trial.state.is_finished()]
        number = stopped[0].number if stopped else len(trials)
        # Of its own for each run: what is drawn follows from seed and earlier runs, stopped or not.
        seed = int(np.random.SeedSequence([self.base.seed, number]).generate_state(1)[0])
        study.sampler = optuna.samplers.TPESampler(seed=seed)
        if not stopped:
            return study.ask(distributions(self.space))
        trial = optuna.Trial(study, stopped[0]._trial_id)
        for key, distribution in distributions(self.space).items():
            trial._suggest(key, distribution)  # what it has already, unless it was stopped in the drawing
        return trial

    def drawn(self, trial: "optuna.Trial | optuna.trial.FrozenTrial") -> dict[str, Any]:
        """What was drawn for a run, steps of 0.1 as 0.3 and not 0.30000000000000004."""
        found = {}
        for key, entry in self.space.items():
            value = trial.params.get(key)
            stepped = isinstance(entry, Range) and entry.step is not None and isinstance(value, float)
            found[key] = float(f"{value:.12g}") if stepped else value
        return found

    def settings(self, trial: "optuna.Trial") -> Config:
        """A run's config. Raises `ConfigError` where values do not go together."""
        drawn = [override(key, value) for key, value in self.drawn(trial).items()]
        made = load_config(self.config, [*self.overrides, *drawn])
        base = self.base.data
        if (made.data.kind, made.data.path) == (base.kind, base.path):  # a folder holds the shards of one set
            made = with_records(made)
        return replace(made, name=f"{self.base.name}-{trial.number:03d}")

    def _run(self, study: "optuna.Study", trial: "optuna.Trial", runs: int) -> None:
        """Train one, and tell the study how it ended."""
        import optuna

        from fatk import sweep_run

        drawn = ", ".join(f"{key} = {_short(value)}" for key, value in self.drawn(trial).items())
        cli.say(f"run {trial.number + 1} of {runs}: {drawn}", "bold")
        reported = set(study.trials[trial.number].intermediate_values)

        def report(epoch: int, value: float) -> None:
            if epoch not in reported:  # by this run, before it was stopped
                trial.report(value, epoch)
            if self.prune and trial.should_prune():
                raise optuna.TrialPruned

        try:
            config = self.settings(trial)
            place = folders.Run(self.folder / f"{trial.number:03d}")
            outcome = sweep_run.train(place, config, tuple(self.space), report)
        except optuna.TrialPruned:
            cli.say("stopped early: worse than the median of the runs before")
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return
        except (ConfigError, cli.UserError, DataError) as error:
            cli.say(f"failed: {error}", "red")
            trial.set_user_attr(PROBLEM, " ".join(str(error).split()))
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return
        if outcome.interrupted:
            raise KeyboardInterrupt
        for name in ("best_epoch", "seconds"):
            trial.set_user_attr(name, outcome.summary[name])
        study.tell(trial, float(outcome.summary["val_lwlrap"]))

    def rows(self, study: "optuna.Study") -> list[dict[str, Any]]:
        """Every run that is over, best first, failed ones last."""
        trials = [trial for trial in study.trials if trial.state.is_finished()]
        order = ("COMPLETE", "PRUNED", "FAIL")
        trials.sort(key=lambda t: (order.index(t.state.name), -(_value(t) or 0), t.number))
        ended = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}
        return [
            {
                "run": f"{trial.number:03d}",
                "ended": ended[trial.state.name],
                "val_lwlrap": _value(trial),
                "epochs": max(trial.intermediate_values, default=0),
                "best_epoch": trial.user_attrs.get("best_epoch"),
                "seconds": trial.user_attrs.get("seconds"),
                **self.drawn(trial),
                "problem": trial.user_attrs.get(PROBLEM),
            }
            for trial in trials
        ]

    def write(self, study: "optuna.Study") -> None:
        """`sweep.csv`, whole or not at all."""
        rows = self.rows(study)
        if not rows:
            return
        folders.write_rows(self.folder / "sweep.csv", list(rows[0]), (row.values() for row in rows))

    def show(self, study: "optuna.Study") -> None:
        """The table, and how to train the best one in full."""
        rows = self.rows(study)
        columns = ("run", "ended", "val_lwlrap", "epochs", *self.space)
        cells = [
            ["-" if row[name] is None else _short(row[name], name == "val_lwlrap") for name in columns]
            for row in rows
        ]
        # Long keys in two lines, so that a screen holds more of them.
        cli.table(f"{self.base.name}-sweep", [name.replace(".", ".\n") for name in columns], cells)
        if rows[0]["ended"] == "finished":
            best = self.folder / rows[0]["run"]
            cli.say(f"best: {best}, val_lwlrap {rows[0]['val_lwlrap']:.4f}")
            cli.say(
                f"to export it: python -m fatk.train --config {best / 'config.toml'} name={self.base.name}-best"
            )
        cli.say(
            f"{self.folder / 'sweep.csv'}: {len(rows)} runs; to look at them: tensorboard --logdir {self.folder}"
        )


def distributions(space: Space) -> "dict[str, Any]":
    """The space in Optuna's words."""
    from optuna import distributions as kinds

    made: dict[str, Any] = {}
    for key, entry in space.items():
        if isinstance(entry, Choices):
            made[key] = kinds.CategoricalDistribution(entry.values)
        elif isinstance(entry.low, int) and isinstance(entry.high, int):
            made[key] = kinds.IntDistribution(entry.low, entry.high, entry.log, int(entry.step or 1))
        else:
            made[key] = kinds.FloatDistribution(entry.low, entry.high, entry.log, entry.step)
    return made


def _value(trial: "optuna.trial.FrozenTrial") -> float | None:
    """A run's score; of one that was pruned, its best epoch's."""
    if trial.value is not None and trial.state.name == "COMPLETE":
        return trial.value
    return max(trial.intermediate_values.values(), default=None)


def _short(value: Any, score: bool = False) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if score else f"{value:.4g}"
    return str(value)


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = cli.parser("fatk.sweep", __doc__)
    parser.add_argument(
        "--runs", type=int, required=True, metavar="N", help="how many runs there are to be in all"
    )
    parser.add_argument(
        "--prune", action="store_true", help="stop a run that is worse than the median of others"
    )
    parser.add_argument(
        "space", metavar="SPACE", help="a TOML file: what may change, and from where to where"
    )
    _, arguments = cli.parse_config(parser, argv)
    if arguments.runs < 1:
        raise cli.UserError(f"--runs must be at least 1. Received: {arguments.runs}.")
    Sweep(arguments.config, arguments.overrides, Path(arguments.space), arguments.prune).go(arguments.runs)
    return 0


if __name__ == "__main__":
    runtime.keep_memory()
    cli.run(main)
