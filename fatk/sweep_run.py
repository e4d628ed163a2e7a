"""One run of a sweep, in the sweep's own process."""

import gc
import shutil
from collections.abc import Callable, Sequence

import keras

from fatk import folders, runtime
from fatk.config import Config, to_toml
from fatk.prepare import Prepared, prepare
from fatk.train import Outcome
from fatk.trainer import Trainer

Report = Callable[[int, float], None]  # (finished epochs, validation lwlrap); may raise to end the run

_sets: dict[tuple[tuple[str, ...], ...], Prepared] = {}  # by shards: an earlier draw's may be drawn again


class Reporter(keras.callbacks.Callback):
    """Tells of each epoch that was validated."""

    def __init__(self, report: Report):
        super().__init__()
        self.report = report

    def on_epoch_end(self, epoch, logs=None):
        """After the run's own files are written."""
        if "val_lwlrap" in logs:
            self.report(epoch + 1, float(logs["val_lwlrap"]))


def train(folder: folders.Run, config: Config, shown: Sequence[str], report: Report) -> Outcome:
    """Train and score, or go on with what was stopped -> what it came to. Nothing is exported.

    A folder of other settings, left by a search that is gone, gives way.
    """
    text = to_toml(config)
    if folder.config.exists() and folder.config.read_text(encoding="utf-8") != text:
        shutil.rmtree(folder.folder)
    folder.folder.mkdir(parents=True, exist_ok=True)
    folders.write_text(folder.config, text)
    forget()
    prepared = ready(config)
    runtime.start(config)
    return Trainer(folder, config, prepared, [Reporter(report)], shown).go(exported=False)


def ready(config: Config, verbose: bool = True) -> Prepared:
    """`prepare`, and its shards stay until the process ends. Raises `DataError` as it does."""
    prepared = prepare(config, verbose)
    _sets[tuple(prepared.shards.values())] = prepared
    return prepared


def forget() -> None:
    """Let go of the run before: its graphs, its compiled steps, and the count of its layers' names."""
    keras.backend.clear_session()
    if keras.backend.backend() == "jax":
        import jax

        jax.clear_caches()
    gc.collect()
