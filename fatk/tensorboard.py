"""What a run shows in TensorBoard: scalars, what enters the network, clips with sound, settings, the graph."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fatk import folders
from fatk.config import Config, to_toml
from pipelines import records
from pipelines.datasets import Examples, image_of
from pipelines.formats import CHANNELS

_LETTERS = {"A": "amplitude", "P": "phase", "D": "delta", "X": "amplitude x phase"}
_SCALE = 3  # screen pixels a pixel


def tag(name: str) -> str:
    """A class name with parentheses and the like -> what TensorBoard takes as a tag without changing it."""
    return re.sub(r"[^A-Za-z0-9_.\-]", "_", name)


def picture(image: np.ndarray) -> np.ndarray:
    """(bands, columns, 3) uint8, lowest band first -> enlarged, lowest band at the bottom."""
    return np.flipud(image).repeat(_SCALE, 0).repeat(_SCALE, 1)


def words(classes: Sequence[str], values: np.ndarray, least: float = 0.05, most: int = 4) -> str:
    """'Bark 0.93, Rain 0.12': the largest values and their classes; 'Bark, Rain' where all are 0 or 1."""
    order = [i for i in np.argsort(-values, kind="stable")[:most] if values[i] >= least]
    hard = bool(np.isin(values, (0, 1)).all())
    return ", ".join(classes[i] + ("" if hard else f" {values[i]:.2f}") for i in order) or "nothing"


class Board(keras.callbacks.Callback):
    """Writes `runs/<name>/tensorboard`, readable by the stock `tensorboard --logdir runs`."""

    def __init__(self, run: folders.Run, config: Config, classes: Sequence[str]):
        super().__init__()
        self.config = config
        self.classes = tuple(classes)
        self.writer = tf.summary.create_file_writer(str(run.tensorboard))

    def on_epoch_end(self, epoch, logs=None):
        """Scalars of the epoch; now and then a value a class."""
        step = epoch + 1
        with self.writer.as_default():
            for name in ("loss", "val_loss", "val_lwlrap"):
                tf.summary.scalar(f"epoch/{name}", float(logs[name]), step)
            tf.summary.scalar("epoch/learning_rate", float(self.model.optimizer.learning_rate), step)
            if step % self.config.log.every == 0:
                metric = self.model.lwlrap
                total = keras.ops.convert_to_numpy(metric.total)
                count = keras.ops.convert_to_numpy(metric.count)
                for name, value, weight in zip(self.classes, total, count, strict=True):
                    if weight:
                        tf.summary.scalar(f"val_lwlrap_per_class/{tag(name)}", value / weight, step)
        self.writer.flush()

    def settings(self) -> None:
        """The resolved configuration as text."""
        with self.writer.as_default():
            text = "\n".join(f"    {line}" for line in to_toml(self.config).splitlines())
            tf.summary.text("settings", text, 0)

    def graph(self, network: keras.Model) -> None:
        """The network's layers for the Graphs tab, a node a layer with its shape and parameters.

        TensorBoard 2.21 cannot draw the model that Keras 3 describes in JSON, nor is there a TensorFlow graph
        to show of a model that runs on JAX.
        """
        made = tf.compat.v1.GraphDef()
        for layer in network.layers:
            node = made.node.add(name=layer.name, op=type(layer).__name__)
            for edge in layer._inbound_nodes:
                node.input.extend(tensor._keras_history.operation.name for tensor in edge.input_tensors)
            shape = tuple(None if size is None else int(size) for size in layer.output.shape)
            node.attr["output_shape"].s = str(shape).encode()
            node.attr["parameters"].i = layer.count_params()
        with self.writer.as_default():
            tf.summary.graph(made)

    def inputs(self, examples: Examples) -> None:
        """A few training clips' whole images in every format, before cropping."""
        clips = list(_sounds(examples, self.config.log.images, self.config.features.rate).items())
        with self.writer.as_default():
            for name, letters in CHANNELS.items():
                features = replace(self.config.features, format=name)  # type: ignore[arg-type]
                meaning = ", ".join(
                    f"{colour} {_LETTERS[letter]}"
                    for colour, letter in zip(("red", "green", "blue"), letters, strict=True)
                )
                for number, (row, pcm) in enumerate(clips):
                    tf.summary.image(
                        f"input_{name}/{number} {words(self.classes, examples.targets[row])}",
                        picture(image_of(tf.constant(pcm), features, self.config.domain).numpy())[None],
                        0,
                        description=f"{examples.keys[row]}, {len(pcm) / features.rate:.2f} s. {meaning}. "
                        "Low bands at the bottom.",
                    )

    def mixed(self, batch: dict[str, Any], mixing: keras.layers.Layer | None) -> None:
        """Training images as they enter the network: cropped, augmented, mixed."""
        clips = {name: np.asarray(value) for name, value in batch.items()}
        # MixMatch mixes what a network has guessed: of its batch the labelled clips are shown as they are.
        if mixing is not None and "unlabelled_image" not in clips:
            clips = mixing(clips, training=True)
        image, target = np.asarray(clips["image"]), np.asarray(clips["target"])
        with self.writer.as_default():
            for number in range(min(self.config.log.images, len(image))):
                tf.summary.image(
                    f"batch_after_mixing/{number} {words(self.classes, target[number])}",
                    picture((image[number] * 255).astype(np.uint8))[None],
                    0,
                    description="As it enters the network, with its mixed target. Low bands at the bottom.",
                )

    def clips(self, examples: Examples, chances: np.ndarray, epoch: int) -> None:
        """Validation clips with their sound, true and predicted labels, and a table of values a class."""
        rate = self.config.features.rate
        with self.writer.as_default():
            for number, (row, pcm) in enumerate(_sounds(examples, self.config.log.clips, rate).items()):
                truth = words(self.classes, examples.targets[row])
                told = words(self.classes, chances[row])
                tf.summary.audio(
                    f"validation_clip/{number} is {truth}; heard: {told}",
                    (pcm.astype(np.float32) / 32768)[None, :, None],
                    rate,
                    epoch,
                    encoding="wav",
                    description=examples.keys[row],
                )

    def per_class(self, rows: Sequence[tuple[str, float, float]], epoch: int) -> None:
        """lwlrap of each class as a table, worst first."""
        lines = ["| class | lwlrap | weight |", "|---|---|---|"]
        known = sorted((row for row in rows if not np.isnan(row[1])), key=lambda row: row[1])
        lines += [f"| {name} | {value:.4f} | {weight:.4f} |" for name, value, weight in known]
        with self.writer.as_default():
            tf.summary.text("val_lwlrap_per_class", "\n".join(lines), epoch)

    def summary(self, values: dict[str, Any], epoch: int) -> None:
        """The run in one object, as text."""
        text = "\n".join(f"    {line}" for line in json.dumps(values, indent=1).splitlines())
        with self.writer.as_default():
            tf.summary.text("summary", text, epoch)

    def close(self) -> None:
        """Write out what is buffered."""
        self.writer.close()


def _sounds(examples: Examples, count: int, rate: int) -> dict[int, np.ndarray]:
    """The first clips of a set, as their shards have them -> {row: (samples,) int16 at `rate` Hz}."""
    rows = {key: row for row, key in enumerate(examples.keys)}
    found: dict[int, np.ndarray] = {}
    stored = records.stored(examples.shards)
    for key, encoded in tf.data.TFRecordDataset(list(examples.shards)).map(stored.split):
        row = rows.get(key.numpy().decode())
        if row is not None:
            found[row] = stored.sound(encoded, rate).numpy()
        if len(found) == count:
            break
    return found
