"""What happens around the batches and epochs of a run: history, best weights, checkpoints, bar, Ctrl-C."""

import math
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import keras

from fatk import checkpoint, cli, folders
from fatk.checkpoint import Progress
from fatk.config import Config
from fatk.unfit import Unfit

UNFINISHED = "unfinished.keras"  # in a run's folder, while best weights are being written
HISTORY = (
    "epoch",
    "stage",
    "loss",
    "val_loss",
    "val_lwlrap",
    "learning_rate",
    "seconds",
    "examples_per_second",
)


class Interrupted(Exception):
    """The user asked to stop; the state up to the last batch is in a checkpoint."""


def write_history(path: Path, rows: list[dict[str, Any]]) -> None:
    """All rows so far, whole or not at all."""
    folders.write_rows(path, HISTORY, ([row.get(column, "") for column in HISTORY] for row in rows))


class Keeper(keras.callbacks.Callback):
    """Writes a history row an epoch, keeps the best weights, checkpoints, and stops tidily when asked.

    `metric_values` of a resumed epoch's earlier batches are put back after Keras has reset them. Where a loss
    or gradients are not finite, `Unfit` ends the run before anything of them is written. The device notes the
    first such batch; it is asked once a second, before each checkpoint and at each epoch's end.
    """

    _LOOK = 1.0  # seconds between looks at the loss, each of which waits for the device

    def __init__(self, run: folders.Run, config: Config, progress: Progress, steps: int):
        super().__init__()
        self.run = run
        self.config = config
        self.progress = progress
        self.steps = steps  # in a whole epoch
        self.stage = 0
        self.first_batch = 0  # where the first epoch of this fit is entered
        self.metric_values: list[Any] | None = None
        self.stop_asked = False
        self._epoch_began = self._trained = self._saved = self._looked = time.monotonic()
        self._before = 0.0  # seconds of this epoch before it was entered midway
        self._handlers: dict[int, Any] = {}

    def on_train_begin(self, logs=None):
        """Take over Ctrl-C and termination: the next batch's end will heed them."""

        def ask(number: int, _: FrameType | None) -> None:
            if self.stop_asked:
                signal.default_int_handler(number, None)  # asked twice: at once
            self.stop_asked = True

        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                # Of several fits the first one's: later ones find our own handler there.
                self._handlers.setdefault(number, signal.signal(number, ask))
            except ValueError:
                break  # not in the main thread; then nobody sends us signals either

    def release_signals(self) -> None:
        """Give Ctrl-C back."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock; in an epoch that is entered midway, go on with its sums."""
        self._epoch_began = time.monotonic()
        self._before = self.progress.within if self.first_batch else 0.0
        if self.metric_values is not None:
            for variable, value in zip(self.model.metrics_variables, self.metric_values, strict=True):
                variable.assign(value)
            self.metric_values = None
        else:
            self.model.optimizer.begin_epoch()

    def on_train_batch_end(self, batch, logs=None):
        """Checkpoint by the clock; heed a wish to stop; look whether the loss is a number still."""
        done = self.first_batch + batch + 1
        if time.monotonic() - self._looked > self._LOOK:
            self._looked = time.monotonic()
            if not math.isfinite(float(logs["loss"])):  # the mean so far, so it stays as it is
                self._check(True, done - 1)
        self._trained = time.monotonic()
        due = self._trained - self._saved > 60 * self.config.train.checkpoint_minutes
        if not (due or self.stop_asked) or done == self.steps:
            return  # after the last batch the epoch's end heeds both
        self.progress.batch, self.progress.within = done, self._before + self._trained - self._epoch_began
        self._checkpoint()
        if self.stop_asked:
            raise Interrupted

    def on_epoch_end(self, epoch, logs=None):
        """Row, best weights, checkpoint - in this order, so that a checkpoint knows of both."""
        self._check(not all(math.isfinite(float(value)) for value in logs.values()))
        now = time.monotonic()
        seconds = self._before + now - self._epoch_began
        progress, tagger = self.progress, self.model
        trained = (self.steps - self.first_batch) * self.config.train.batch
        value = float(logs["val_lwlrap"]) if "val_lwlrap" in logs else None
        row = {
            "epoch": epoch + 1,
            "stage": self.stage,
            "loss": f"{float(logs['loss']):.7g}",
            "val_loss": "" if value is None else f"{float(logs['val_loss']):.7g}",
            "val_lwlrap": "" if value is None else f"{value:.7g}",
            "learning_rate": f"{float(tagger.optimizer.learning_rate):.7g}",
            "seconds": f"{seconds:.2f}",
            "examples_per_second": f"{trained / max(self._trained - self._epoch_began, 1e-9):.1f}",
        }
        progress.history.append(row)
        progress.seconds += seconds
        progress.epoch, progress.batch, progress.within, self.first_batch = epoch + 1, 0, 0.0, 0
        write_history(self.run.history, progress.history)
        if self._keeps(value):
            progress.best, progress.best_epoch = value, epoch + 1
            save_network(tagger.kept, self.run.network, self.config)
        averaged = sum(stage.epochs for stage in self.config.stage) - self.config.train.average
        if self.config.train.keep == "average" and epoch >= averaged:
            self.run.averaged.mkdir(exist_ok=True)
            save_network(tagger.kept, self.run.averaged / f"epoch{epoch + 1:05d}.keras", self.config)
        self._checkpoint()

    def _keeps(self, value: float | None) -> bool:
        """Whether the weights of an epoch with that validation lwlrap are the ones to keep so far."""
        if self.config.train.keep != "best":
            return True
        best = self.progress.best
        # Before the first validation any weights are better than none.
        return best is None or (value is not None and value > best)

    def _check(self, wrong: bool = False, batch: int | None = None) -> None:
        """Raise `Unfit` where a batch of this epoch was not finite, or `wrong`, then naming `batch`."""
        noted = self.model.optimizer.gradients.unfit_batch
        if wrong or noted is not None:
            raise Unfit(self.stage, self.progress.epoch, batch if noted is None else noted)

    def _checkpoint(self) -> None:
        self._check()
        # `self.model` brings the variables up to date with JAX's loop before they are read.
        checkpoint.save(self.run.checkpoints, self.model, self.progress)
        self._saved = time.monotonic()


def save_network(network: keras.Model, path: Path, config: Config) -> None:
    """Write the bare network in float32, whatever it trains in."""
    if config.network.precision != "float32":
        from models import networks

        settings = replace(config.network, pretrained=False, noisy_head=False)
        twin = networks.build(settings, config.features.shape, network.output_shape[-1], "float32")
        twin.set_weights(network.get_weights())
        network = twin
    write_network(network, path)


def write_network(network: keras.Model, path: Path) -> None:
    """Write a network as it is, whole or not at all."""
    unfinished = path.with_name(UNFINISHED)
    try:
        network.save(unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)  # on a full disk it would take the place of what can be written


class Stop(keras.callbacks.Callback):
    """Heeds a wish to stop at an epoch's end: the last of the callbacks, so that all others hear of the epoch."""

    def __init__(self, keeper: Keeper):
        super().__init__()
        self.keeper = keeper

    def on_epoch_end(self, epoch, logs=None):
        """Stop, where that was asked for."""
        if self.keeper.stop_asked:
            raise Interrupted


class Bar(keras.callbacks.Callback):
    """A line an epoch, and while it runs a bar with the loss, where somebody is looking."""

    _EVERY = 0.5  # seconds between looks at the loss, each of which waits for the device

    def __init__(self, progress: Progress, epochs: int, steps: int):
        super().__init__()
        self.progress = progress
        self.epochs = epochs
        self.steps = steps
        self.shown = sys.stdout.isatty()
        self._bar: Any = None
        self._looked = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        """Put up the bar."""
        if not self.shown:
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn(f"epoch {epoch + 1}/{self.epochs}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, transient=True)
        self._task = self._bar.add_task("", total=self.steps)
        self._bar.start()

    def on_train_batch_end(self, batch, logs=None):
        """Move it on."""
        if self._bar is None:
            return
        self._bar.advance(self._task)
        if logs and time.monotonic() - self._looked > self._EVERY:
            best = f", best lwlrap {self.progress.best:.4f}" if self.progress.best is not None else ""
            self._bar.update(self._task, description=f"loss {float(logs['loss']):.4f}{best}")
            self._looked = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        """Take it down and print the epoch's line."""
        self.close()
        row = self.progress.history[-1]
        kept = " *" if self.progress.best_epoch == epoch + 1 else ""
        validated = ""
        if row["val_lwlrap"]:
            validated = f"val_loss {float(row['val_loss']):.4f}  val_lwlrap {float(row['val_lwlrap']):.4f}  "
        cli.say(
            f"epoch {epoch + 1:>3}/{self.epochs}  loss {float(row['loss']):.4f}  {validated}"
            f"{row['seconds']:>6} s  {row['examples_per_second']:>6} clips/s{kept}"
        )

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
