"""Clips in TensorBoard: what enters the network as pictures, validation clips with their sound."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fatk.config import Config
from fatk.tensorboard_words import words
from models.ranking import lwlrap_terms
from pipelines import records
from pipelines.clips import image_of
from pipelines.formats import CHANNELS, MEANINGS, possible
from pipelines.reading import Examples

_SCALE = 3  # screen pixels a pixel


def picture(image: np.ndarray) -> np.ndarray:
    """(bands, columns, 3) uint8, lowest band first -> enlarged, lowest band at the bottom."""
    return np.flipud(image).repeat(_SCALE, 0).repeat(_SCALE, 1)


def write_inputs(examples: Examples, config: Config, classes: Sequence[str]) -> None:
    """A few training clips' whole images in every format, before cropping, into the default writer."""
    clips = list(sounds(examples, range(min(config.log.images, len(examples))), config.features.rate).items())
    for features in possible(config.features):
        meaning = ", ".join(
            f"{colour} {MEANINGS[letter]}"
            for colour, letter in zip(("red", "green", "blue"), CHANNELS[features.format], strict=True)
        )
        for number, (row, pcm) in enumerate(clips, 1):
            tf.summary.image(
                f"input_{features.format}/{number:02d} {words(classes, examples.targets[row])}",
                picture(image_of(tf.constant(pcm), features, config.domain).numpy())[None],
                0,
                description=f"{examples.keys[row]}, {len(pcm) / features.rate:.2f} s. {meaning}. "
                "Low bands at the bottom.",
            )


def write_mixed(
    batch: dict[str, Any], mixing: keras.layers.Layer | None, config: Config, classes: Sequence[str]
) -> None:
    """Training images as they enter the network: cropped, augmented, mixed."""
    clips = {name: np.asarray(value) for name, value in batch.items()}
    # MixMatch mixes what a network has guessed: of its batch the labelled clips are shown as they are.
    if mixing is not None and "unlabelled_image" not in clips:
        clips = mixing(clips, training=True)
    image, target = np.asarray(clips["image"]), np.asarray(clips["target"])
    for number in range(min(config.log.images, len(image))):
        tf.summary.image(
            f"training_batch/{number + 1:02d} {words(classes, target[number])}",
            picture((image[number] * 255).astype(np.uint8))[None],
            0,
            description="As it enters the network, with its mixed target. Low bands at the bottom.",
        )


def extremes(truth: np.ndarray, chances: np.ndarray, count: int) -> tuple[list[int], list[int]]:
    """(clips, classes) 0/1 and chances -> rows of the worst clips, worst first, and of the best, best first.

    By the mean precision at a clip's true labels (its lwlrap, were it alone), then by cross-entropy. Each list
    has `count` rows, or half of the clips that have a label where there are fewer.
    """
    wanted = np.flatnonzero(truth.any(1))
    precision = clip_lwlrap(truth, chances)
    order = wanted[np.lexsort((-cross_entropy(truth, chances)[wanted], precision[wanted]))]
    few = min(count, len(order) // 2)
    return [int(row) for row in order[:few]], [int(row) for row in order[::-1][:few]]


def clip_lwlrap(truth: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """-> (clips,) mean precision at the true labels, 0 where there is none."""
    return lwlrap_terms(truth, chances).sum(1) / np.maximum((truth > 0).sum(1), 1)


def cross_entropy(truth: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """-> (clips,) mean over classes."""
    held = np.clip(chances.astype(np.float64), 1e-7, 1 - 1e-7)
    return -np.where(truth > 0, np.log(held), np.log1p(-held)).mean(1)


def write_extremes(
    examples: Examples, chances: np.ndarray, config: Config, classes: Sequence[str], epoch: int
) -> None:
    """The worst and the best validation clips with their sound, what they are and what was heard."""
    truth, rate = examples.targets, config.features.rate
    worst, best = extremes(truth, chances, config.log.clips)
    precision, loss = clip_lwlrap(truth, chances), cross_entropy(truth, chances)
    heard = sounds(examples, [*worst, *best], rate)
    for title, rows in (("1_worst_clips", worst), ("2_best_clips", best)):
        for number, row in enumerate(rows, 1):
            told = words(classes, chances[row])
            tf.summary.audio(
                f"{title}/{number:02d} is {words(classes, truth[row])} - heard {told}",
                (heard[row].astype(np.float32) / 32768)[None, :, None],
                rate,
                epoch,
                encoding="wav",
                description=f"`{examples.keys[row]}`: lwlrap {precision[row]:.3f}, loss {loss[row]:.3f}. "
                f"True: {words(classes, truth[row], most=99)}. Heard: {told}.",
            )


def sounds(examples: Examples, rows: Sequence[int], rate: int) -> dict[int, np.ndarray]:
    """Some clips of a set, in the order of `rows` -> {row: (samples,) int16 at `rate` Hz}."""
    wanted = {examples.keys[row]: row for row in rows}
    found: dict[int, np.ndarray] = {}
    stored = records.stored(examples.shards)
    for key, encoded in tf.data.TFRecordDataset(list(examples.shards)).map(stored.split):
        row = wanted.get(key.numpy().decode())
        if row is not None:
            found[row] = stored.sound(encoded, rate).numpy()
            if len(found) == len(wanted):
                break
    return {row: found[row] for row in rows if row in found}
