"""The run itself, once its clips are prepared and its frameworks are up."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fatk import checkpoint as checkpoints
from fatk import cli, device_features, folders, runtime, unfit, verdict
from fatk.callbacks import UNFINISHED, Bar, Interrupted, Keeper, Stop, write_network
from fatk.config import Config
from fatk.export import export
from fatk.feeds import Feeds
from fatk.prepare import Prepared
from fatk.tensorboard import Board
from fatk.train import Outcome
from models import losses, mixup, networks, schedules
from models.tagger import Tagger
from pipelines.splits import same_splits, write_splits


class Trainer:
    """One run: its data, its model, its folder.

    `callbacks` are called after the run's own. `shown`: settings that TensorBoard is to list in any case.
    """

    def __init__(
        self,
        run: folders.Run,
        config: Config,
        prepared: Prepared,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        shown: Sequence[str] = (),
    ):
        self.run = run
        self.config = config
        self.prepared = prepared
        self.stored = checkpoints.latest(run.checkpoints)
        # A checkpoint has all weights itself: what they began from is not asked for again.
        network = replace(config.network, pretrained=config.network.pretrained and self.stored is None)
        try:
            self.feeds = Feeds(config, prepared)
            self.network = networks.build(network, config.features.shape, len(prepared.classes))
        except ValueError as error:
            raise cli.UserError(str(error)) from None
        self.steps = self.feeds.steps
        for number, stage in enumerate(config.stage):
            batches = stage.epochs * self.steps
            if config.train.accumulate > batches:
                raise cli.UserError(
                    f"`train.accumulate` must be at most {batches}, the batches of `stage.{number}`: "
                    f"it would train nothing. Received: {config.train.accumulate}."
                )
        if config.train.init and self.stored is None:
            self._take_over(Path(config.train.init))
        self.tagger = Tagger(
            self.network,
            self._mixing(),
            losses.build(config.loss.name, **config.loss.parameters),
            config.train.ema,
            device_features.build(config),
            name="tagger",
        )
        begun = run.splits.exists() and any(run.checkpoints.glob("state-*.npz"))
        if begun and not same_splits(run.splits, prepared.split, prepared.source):
            raise cli.UserError(
                f"{run.folder}: was begun with other clips or labels than the set has now. "
                "Begin anew (--overwrite), or give name=another."
            )
        write_splits(run.splits, prepared.split, prepared.source)
        folders.write_text(run.classes, "\n".join(prepared.classes) + "\n")
        self.callbacks = tuple(callbacks)
        self.board = Board(run, config, prepared.classes, shown)

    def _take_over(self, source: Path) -> None:
        """Weights of another run, by name, with a report of what fitted."""
        path = folders.Run(source).network if source.is_dir() else source
        try:
            report = networks.load_by_name(self.network, path)
        except ValueError as error:
            raise cli.UserError(f"`train.init`: {error}.") from None
        cli.say(f"{path}: {report}")

    def _mixing(self) -> keras.layers.Layer | None:
        """A mixing layer as the settings say; each call makes another one."""
        mixing = self.config.mixing
        matching: dict[str, Any] = {}
        if mixing.kind == "mixmatch":
            matching = {
                "temperature": mixing.temperature,
                "prior": mixing.prior,
                "weight": mixing.weight,
                "ramp": round(mixing.ramp * self._epochs * self.steps),
            }
        return mixup.build(mixing.kind, mixing.alpha, self.config.seed, **matching)

    def go(self, exported: bool = True, partly: bool = True) -> Outcome:
        """Train, score, export -> the outcome. Ctrl-C is heeded between batches; what was best is kept.

        `partly`: what was stopped is scored and exported, too; otherwise its summary is empty, and none is written.
        """
        self._say_plan()
        self._tidy()
        interrupted = False
        stored = self.stored
        progress = stored[0] if stored else checkpoints.Progress()
        keeper = Keeper(self.run, self.config, progress, self.steps)
        bar = Bar(progress, self._epochs, self.steps)
        finished = False
        try:
            if stored is None:
                self.board.start(self.network, self.feeds.train)
            self._stages(keeper, bar, stored[1] if stored else None)
            finished = True
        except Interrupted:
            interrupted = finished = True
        except unfit.Unfit as found:
            raise cli.UserError(unfit.explain(self.run, self.feeds, found)) from None
        finally:
            keeper.release_signals()
            bar.close()
            if not finished:
                self.board.close()
        if not self.run.network.exists():
            self.board.close()
            cli.say("stopped before the first epoch was over: there is nothing to score or export yet")
            return Outcome(self.run, {}, interrupted)
        if interrupted and not partly:
            self.board.close()
            return Outcome(self.run, {}, interrupted)
        summary = self._finish(progress, exported)
        return Outcome(self.run, summary, interrupted)

    def _tidy(self) -> None:
        """Delete what a run that was killed had half written."""
        for path in (*self.run.folder.glob("*.tmp"), *self.run.checkpoints.glob("*.tmp")):
            path.unlink()
        for folder in (self.run.folder, self.run.averaged):
            (folder / UNFINISHED).unlink(missing_ok=True)
        (self.run.folder / unfit.FILE).unlink(missing_ok=True)

    @property
    def _epochs(self) -> int:
        return sum(stage.epochs for stage in self.config.stage)

    def _say_plan(self) -> None:
        beside = f", {len(self.feeds.noisy)} noisy ones beside them" if self.feeds.noisy else ""
        cli.say(
            f"{len(self.feeds.train)} clips to train on{beside}, {len(self.feeds.valid)} to validate on; "
            f"{self.network.count_params():,} parameters; {self._epochs} epochs of {self.steps} batches; "
            f"{keras.backend.backend()} on {runtime.device()}"
        )

    def _compile(self, number: int) -> None:
        """An optimiser of its own for each stage, on the stage's schedule."""
        stage, train = self.config.stage[number], self.config.train
        networks.freeze_trunk(self.network, stage.freeze, norms=not stage.freeze_norms)
        shares = None
        self.board.groups = self._groups(stage.first_rate is None)
        if stage.first_rate is not None:
            shares = schedules.shares(self.board.groups, stage.first_rate, stage.rate)
        self.tagger.compile(
            optimizer=schedules.optimizer(
                stage.schedule,
                stage.rate,
                stage.epochs * self.steps,
                train.weight_decay,
                train.beta_2,
                shares,
                train.clip,
                train.accumulate,
            ),
            loss=None,
        )

    def _groups(self, alike: bool) -> tuple[tuple[str, ...], ...]:
        """Paths of weights, first layers first; one group where there are few layers and rates are `alike`."""
        try:
            return networks.layer_groups(self.network, self.config.train.groups)
        except ValueError as error:
            if not alike:
                raise cli.UserError(str(error).replace("`groups`", "`train.groups`")) from None
            return networks.layer_groups(self.network, 1)

    def _build(self) -> None:
        """Make every variable, so that a checkpoint finds its place.

        The tagger is not called for it: outside of a step every operation would be compiled by itself.
        """
        self.tagger.build({"image": (None, *self.config.features.shape)})
        if self.tagger.mixing is not None:
            self.tagger.mixing.build(None)  # or each `fit` would trace the whole model once more for it
        self.tagger.optimizer.build(self.tagger.trainable_variables)

    def _stages(self, keeper: Keeper, bar: Bar, arrays: list[np.ndarray] | None) -> None:
        """All epochs that are still to come, stage by stage."""
        valid = self.feeds.evaluation(self.feeds.valid)
        first = 0
        for number, stage in enumerate(self.config.stage):
            start, first = first, first + stage.epochs
            if keeper.progress.epoch >= first:
                continue
            self._compile(number)
            self._build()
            if arrays is not None and (keeper.progress.epoch > start or keeper.progress.batch):
                checkpoints.restore(self.tagger, arrays)
                if keeper.progress.batch:
                    keeper.metric_values = [np.array(v) for v in self.tagger.metrics_variables]
            elif arrays is not None:
                self._restore_weights(arrays)
            arrays = None
            keeper.stage = number
            self._fit(first, valid, keeper, bar)

    def _restore_weights(self, arrays: list[np.ndarray]) -> None:
        """At the first batch of a stage: the model of the stage before, with a new optimiser."""
        for variable, array in zip(self.tagger.variables, arrays, strict=False):
            variable.assign(array)

    def _fit(self, end: int, valid: Any, keeper: Keeper, bar: Bar) -> None:
        """Epochs up to `end`; the first may be entered midway, and is then a fit of its own."""
        progress = keeper.progress
        batch = progress.batch
        spans = [(progress.epoch, end, 0)]
        if batch:
            spans = [(progress.epoch, progress.epoch + 1, batch), (progress.epoch + 1, end, 0)]
        for start, stop, skipped in spans:
            if start >= stop:
                continue
            keeper.first_batch = skipped
            feed = self.feeds.training(start, skipped)
            if start == 0 and skipped == 0:
                # By another layer of the same settings: the run's own must not draw for a picture.
                self.board.mixed(partial(self._first, feed), self._mixing())
            self.tagger.fit(
                feed,
                initial_epoch=start,
                epochs=stop,
                steps_per_epoch=self.steps - skipped,
                validation_data=valid,
                validation_freq=[
                    *range(self.config.train.validate_every, end, self.config.train.validate_every),
                    end,
                ],
                callbacks=[keeper, bar, self.board, *self.callbacks, *self._unmixing(end), Stop(keeper)],
                shuffle=False,  # the feed shuffles; Keras would warn that it cannot
                verbose=0,
            )

    def _first(self, feed: Any) -> dict[str, Any]:
        """The first batch of a feed, as the network is given it."""
        return device_features.painted(self.tagger.front, next(iter(feed)))

    def _unmixing(self, end: int) -> list[keras.callbacks.Callback]:
        """What switches mixing off for the last epochs of a stage that ends with epoch `end`."""
        if self.tagger.mixing is None or not self.config.mixing.rest:
            return []
        return [mixup.Unmixed(self.tagger.mixing, end - self.config.mixing.rest)]

    def _finish(self, progress: checkpoints.Progress, exported: bool) -> dict[str, Any]:
        """Score the kept weights, write the tables, export -> the summary."""
        averaged = sorted(self.run.averaged.glob("epoch*.keras"))
        if averaged:
            write_network(networks.mean(averaged), self.run.network)
            cli.say(f"kept: the mean of the weights of {len(averaged)} epochs")
        found = verdict.judge(self.run, self.feeds, networks.load(self.run.network), progress)
        self.board.finish(self.feeds.valid, found.chances, found.per_class, found.summary, progress.epoch)
        self.board.close()
        if exported:
            difference = export(self.run)
            cli.say(f"exported; the SavedModel differs from the Keras model by {difference:.1e} at most")
        return found.summary
