"""What a run shows in TensorBoard: scalars, what enters the network, clips with sound, settings, the graph."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fatk import folders, tensorboard_clips, tensorboard_curves, tensorboard_weights
from fatk.config import Config, to_toml
from fatk.tensorboard_words import tags
from pipelines.reading import Examples


class Board(keras.callbacks.Callback):
    """Writes `runs/<name>/tensorboard`, readable by the stock `tensorboard --logdir runs`.

    Settings and final scores lie in `final` in it, a run of its own to TensorBoard: its HParams tab takes
    every scalar beside the settings for a column. `also`: settings that this tab is to show in any case.
    """

    def __init__(self, run: folders.Run, config: Config, classes: Sequence[str], also: Sequence[str] = ()):
        super().__init__()
        self.config = config
        self.classes = tuple(classes)
        self.also = tuple(also)
        self.groups: tuple[tuple[str, ...], ...] = ()  # of weights' paths, first layers first
        self.writer = tf.summary.create_file_writer(str(run.tensorboard))
        self._final = str(run.tensorboard / "final")
        self._waiting: list[Callable[[], None]] = []  # what the first batch need not wait for

    def on_train_batch_end(self, batch, logs=None):
        """Pictures of what enters the network, once the first batch is through."""
        if self._waiting:
            with self.writer.as_default():
                for write in self._waiting:
                    write()
            self._waiting.clear()
            self.writer.flush()

    def on_epoch_end(self, epoch, logs=None):
        """Scalars of the epoch; now and then a value a class, and the weights."""
        step = epoch + 1
        optimizer = self.model.optimizer
        with self.writer.as_default(step):
            for name in logs.keys() & {"loss", "val_loss", "val_lwlrap"}:
                tf.summary.scalar(f"epoch/{name}", float(logs[name]))
            tf.summary.scalar("epoch/learning_rate", float(optimizer.learning_rate))
            for number, rate in enumerate(optimizer.rates(self.groups)):
                tf.summary.scalar(
                    f"learning_rate/{self._group(number)}", rate, description=self._span(number)
                )
            gradients = optimizer.gradients
            tf.summary.scalar("gradient_norm/mean", gradients.mean, description=_NORM)
            tf.summary.scalar("gradient_norm/largest", gradients.largest, description=_NORM)
            if step % self.config.log.every == 0:
                if "val_lwlrap" in logs:
                    self._classes()
                tensorboard_weights.write_filters(self.model.network, step)
                if self.config.log.histograms:
                    tensorboard_weights.write_histograms(self.model.network, step)
        self.writer.flush()

    def _classes(self) -> None:
        """lwlrap of each class on the validation clips."""
        metric = self.model.lwlrap
        total = keras.ops.convert_to_numpy(metric.total)
        count = keras.ops.convert_to_numpy(metric.count)
        for name, value, weight in zip(tags(self.classes), total, count, strict=True):
            if weight:
                tf.summary.scalar(f"val_lwlrap_per_class/{name}", value / weight)

    def _group(self, number: int) -> str:
        """'1_first_layers', '2_middle_layers', '3_head'."""
        last = len(self.groups) - 1
        if not last:
            return "1_all_layers"
        return f"{number + 1}_" + {0: "first_layers", last: "head"}.get(number, "middle_layers")

    def _span(self, number: int) -> str:
        """Which weights a group has."""
        paths = self.groups[number]
        return f"Of `{paths[0]}` to `{paths[-1]}`; 0 while they are frozen."

    def start(self, network: keras.Model, examples: Examples) -> None:
        """What is known before the first batch: settings, graph, filters as they are drawn. Inputs wait for it."""
        with self.writer.as_default():
            text = "\n".join(f"    {line}" for line in to_toml(self.config).splitlines())
            tf.summary.text("settings", text, 0)
            tf.summary.graph(_graph(network))
            tensorboard_weights.write_filters(network, 0)
        self._waiting.append(partial(tensorboard_clips.write_inputs, examples, self.config, self.classes))
        final = tf.summary.create_file_writer(self._final)
        with final.as_default():
            tensorboard_curves.write_session(self.config, self.also)
        final.close()

    def mixed(self, batch: Callable[[], dict[str, Any]], mixing: keras.layers.Layer | None) -> None:
        """Training images as they enter the network: cropped, augmented, mixed; `batch` is called for them."""

        def write() -> None:
            tensorboard_clips.write_mixed(batch(), mixing, self.config, self.classes)

        self._waiting.append(write)

    def finish(
        self,
        examples: Examples,
        chances: np.ndarray,
        rows: Sequence[tuple[str, float, float]],
        summary: dict[str, Any],
        epoch: int,
    ) -> None:
        """What the kept weights make of the validation clips, and the run in one object."""
        with self.writer.as_default():
            tensorboard_clips.write_extremes(examples, chances, self.config, self.classes, epoch)
            tensorboard_curves.write_curves(examples.targets, chances, self.classes, epoch)
            tf.summary.text("val_lwlrap_per_class", _worst_first(rows), epoch)
            text = "\n".join(f"    {line}" for line in json.dumps(summary, indent=1).splitlines())
            tf.summary.text("summary", text, epoch)
        final = tf.summary.create_file_writer(self._final)
        with final.as_default():
            tensorboard_curves.write_scores(summary, epoch)
        final.close()

    def close(self) -> None:
        """Write out what is buffered."""
        self.writer.close()


_NORM = "Of all gradients of a batch together, before clipping, over the batches of an epoch."


def _worst_first(rows: Sequence[tuple[str, float, float]]) -> str:
    """[(class, lwlrap, weight)] -> a table in Markdown."""
    lines = ["| class | lwlrap | weight |", "|---|---|---|"]
    known = sorted((row for row in rows if not np.isnan(row[1])), key=lambda row: row[1])
    return "\n".join(lines + [f"| {name} | {value:.4f} | {weight:.4f} |" for name, value, weight in known])


def _graph(network: keras.Model) -> Any:
    """The network's layers for the Graphs tab, a node a layer with its shape and parameters.

    TensorBoard 2.21 cannot draw the model that Keras 3 describes in JSON, nor is there a TensorFlow graph to
    show of a model that runs on JAX.
    """
    made = tf.compat.v1.GraphDef()
    for layer in network.layers:
        node = made.node.add(name=layer.name, op=type(layer).__name__)
        for edge in layer._inbound_nodes:
            node.input.extend(tensor._keras_history.operation.name for tensor in edge.input_tensors)
        shape = tuple(None if size is None else int(size) for size in layer.output.shape)
        node.attr["output_shape"].s = str(shape).encode()
        node.attr["parameters"].i = layer.count_params()
    return made
