"""The order of things: shards -> parse -> join targets -> shuffle -> sound, mixed and changed -> image -> crop
-> augment -> batch.

Every draw comes from (seed, epoch, position in the epoch) through stateless operations, so parallel maps
change nothing, and an epoch can be entered at any batch.
"""

from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from pipelines import augment, crops, ops, records, sound_effects, sound_mixing
from pipelines.augment_settings import AugmentSettings
from pipelines.domain import Transfer, whole_image
from pipelines.domain_settings import UNCHANGED, DomainSettings
from pipelines.settings import FeatureSettings, FeedSettings

_READERS = 8  # shards read side by side
# Folded into a seed, so that uses do not share their draws: the order of the clips, what happens to each, and
# the orders of the clips that are mixed with them and that stand behind them.
_ORDER, _PIXELS, _MIXED, _BEHIND = 1, 2, 3, 4
_MIXING, _EFFECTS = -1, -2  # folded into a clip's own seed, beside the numbers of its views


@dataclass(frozen=True, eq=False)
class Examples:
    """Which clips take part, and what is wanted of the network for each."""

    keys: tuple[str, ...]
    targets: np.ndarray  # (clips, classes) float32
    shards: tuple[str, ...]  # TFRecord files that hold them, and others maybe
    transfer: Transfer | None = None  # of noisy clips to the curated domain, in training
    extras: dict[str, np.ndarray] = field(default_factory=dict)  # name -> (clips,) float32, passed on as is

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.keys)


def _found(shards: tf.data.Dataset, examples: Examples, stored: records.Stored) -> tf.data.Dataset:
    """Shards -> (row of `examples`, () sound as it is encoded), the clips that take part only."""
    rows: dict[str, list[int]] = {}
    for row, key in enumerate(examples.keys):
        rows.setdefault(key, []).append(row)
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.constant(list(rows)), tf.range(len(rows), dtype=tf.int32)),
        default_value=-1,
    )
    rows_of = tf.ragged.constant(list(rows.values()), dtype=tf.int32)

    def join(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        key, encoded = stored.split(record)
        return table.lookup(key), encoded

    found = (
        shards.interleave(
            tf.data.TFRecordDataset,
            cycle_length=_READERS,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .map(join, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .filter(lambda place, _: place >= 0)
    )
    if len(rows) == len(examples):
        return found
    # A clip that stands in several rows (one a label, or drawn repeatedly) is used once for each.
    return found.flat_map(
        lambda place, encoded: tf.data.Dataset.from_tensor_slices(rows_of[place]).map(
            lambda row: (row, encoded)
        )
    )


def _joined(shards: tf.data.Dataset, examples: Examples, rate: int | None = None) -> tf.data.Dataset:
    """Shards -> (row of `examples`, (samples,) int16 at `rate` Hz), the clips that take part only.

    None: at the rate that the shards have.
    """
    stored = records.stored(examples.shards)

    def sound(row: tf.Tensor, encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return row, stored.sound(encoded, rate)

    return _found(shards, examples, stored).map(
        sound, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )


def image_of(
    pcm: tf.Tensor,
    features: FeatureSettings,
    domain: DomainSettings = UNCHANGED,
    transfer: Transfer | None = None,
    row: tf.Tensor = 0,
) -> tf.Tensor:
    """(samples,) int16, or float32 in -1..1 -> (bands, frames, channels) uint8: the whole clip, as in training.

    With `transfer`, as it is after that; the clip is then the one of `row`.
    """
    sound = records.to_float(pcm) if pcm.dtype == tf.int16 else pcm
    picture = whole_image(ops, sound, features, domain)
    image = picture.image if transfer is None else transfer(ops, picture, row)
    return tf.ensure_shape(image, (features.bands, None, 3))


def to_unit(image: tf.Tensor) -> tf.Tensor:
    """uint8 0..255 -> float32 0..1."""
    return tf.cast(image, tf.float32) / 255.0


def steps_per_epoch(examples: Examples, batch: int) -> int:
    """Whole batches in an epoch. Raises `ValueError` where there is none."""
    if len(examples) < batch:
        raise ValueError(
            f"`train.batch` must be at most the number of training clips, {len(examples)}. Received: {batch}."
        )
    return len(examples) // batch


def training(
    examples: Examples,
    features: FeatureSettings,
    augmentation: AugmentSettings,
    feed: FeedSettings,
    first_epoch: int = 0,
    first_batch: int = 0,
    domain: DomainSettings = UNCHANGED,
    views: int = 0,
) -> tf.data.Dataset:
    """-> an endless dataset of {"image": (batch, bands, columns, 3) float32 0..1, "target": (batch, classes)}.

    Epoch e is the same whether it is the first one drawn or the hundredth, and `first_batch` enters the first
    one as if its earlier batches had been drawn. The last clips of an epoch that fill no batch are left out of
    it: every shape that is new would compile anew. With `views` an image is
    (batch, views, bands, columns, 3): a clip with so many draws of everything but what is mixed into it.
    """
    targets = tf.constant(examples.targets)
    extras = {name: tf.constant(values, tf.float32) for name, values in examples.extras.items()}
    steps = steps_per_epoch(examples, feed.batch)
    seed = tf.constant([feed.seed, feed.seed ^ 0x5EED], tf.int32)
    stored = records.stored(examples.shards)
    # Other clips that a clip needs come from orders of their own, so that it never meets one for its place.
    orders = {"clip": _ORDER}
    if augmentation.mix > 0:
        orders["mixed"] = _MIXED
    if augmentation.background > 0:
        orders["behind"] = _BEHIND

    def ordered(own: tf.Tensor, use: int) -> tf.data.Dataset:
        order = tf.random.fold_in(own, use)
        draws = tf.random.stateless_uniform([len(examples.shards)], order)
        # Not `order[0]`: what is folded in is the second number, and the first is that of all uses.
        mixed = tf.random.stateless_uniform([], order, None, None, tf.int64)
        files = tf.gather(tf.constant(examples.shards), tf.argsort(draws))
        return (
            _found(tf.data.Dataset.from_tensor_slices(files), examples, stored)
            .shuffle(feed.shuffle, seed=mixed, reshuffle_each_iteration=False)
            .take(steps * feed.batch)
        )

    def epoch_clips(epoch: tf.Tensor) -> tf.data.Dataset:
        # The seed of this function's graph alone: `shuffle` mixes it into its own, and takes no 0.
        tf.random.set_seed(feed.seed % tf.int32.max or 1)
        own = tf.random.fold_in(seed, epoch)
        skipped = tf.where(epoch == first_epoch, first_batch * feed.batch, 0)
        return (
            tf.data.Dataset.zip({name: ordered(own, use) for name, use in orders.items()})
            .enumerate()
            .skip(tf.cast(skipped, tf.int64))
            .map(lambda position, clips: (own, position, clips))
        )

    def read(clip: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, sound_mixing.Labels]:
        row, encoded = clip
        labels = {"target": targets[row]} | {name: values[row] for name, values in extras.items()}
        return records.to_float(stored.sound(encoded, features.rate)), labels

    def make(
        own: tf.Tensor, position: tf.Tensor, clips: dict[str, tuple[tf.Tensor, tf.Tensor]]
    ) -> dict[str, tf.Tensor]:
        pixels = tf.random.fold_in(tf.random.fold_in(own, _PIXELS), tf.cast(position, tf.int32))
        sound, labels = read(clips["clip"])
        if "mixed" in clips:
            sound, labels = sound_mixing.random_mix(
                sound,
                labels,
                lambda: read(clips["mixed"]),
                augmentation,
                features.rate,
                tf.random.fold_in(pixels, _MIXING),
            )

        def image(sound: tf.Tensor) -> tf.Tensor:
            return image_of(sound, features, domain, examples.transfer, clips["clip"][0])

        unchanged = None if augmentation.has_effects else image(sound)  # which all views share

        def view(seed: tf.Tensor) -> tf.Tensor:
            crop_seed, augment_seed = tf.unstack(tf.random.split(seed, 2))
            whole = unchanged
            if whole is None:
                whole = image(
                    sound_effects.effects(
                        sound,
                        augmentation,
                        features.rate,
                        tf.random.fold_in(seed, _EFFECTS),
                        lambda: read(clips["behind"])[0],
                    )
                )
            crop = crops.random_crop(whole, features.columns, augmentation, crop_seed)
            return augment.augment(crop, augmentation, augment_seed)

        if views:
            made = tf.stack([view(tf.random.fold_in(pixels, number)) for number in range(views)])
        else:
            made = view(pixels)
        return {"image": made} | labels

    epochs = tf.data.Dataset.range(first_epoch, tf.int32.max, output_type=tf.int32)
    return (
        epochs.flat_map(epoch_clips)
        .map(make, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(feed.batch, drop_remainder=True)
        .map(lambda batch: batch | {"image": to_unit(batch["image"])})
        .prefetch(tf.data.AUTOTUNE)
    )


def evaluation(
    examples: Examples,
    features: FeatureSettings,
    feed: FeedSettings,
    with_rows: bool = False,
    domain: DomainSettings = UNCHANGED,
) -> tf.data.Dataset:
    """-> each clip once: {"image": (batch, crops, bands, columns, 3) float32 0..1, "target": (batch, classes)}.

    Crops are evenly spaced. The last batch is filled up with clips of zeros that have no label. `with_rows`
    adds "row": (batch,) int32, the clip's row in `examples`, -1 for filling.
    """
    targets = tf.constant(examples.targets)

    def make(row: tf.Tensor, pcm: tf.Tensor) -> dict[str, tf.Tensor]:
        image = image_of(pcm, features, domain)
        image = crops.even_crops(image, features.columns, tf.constant(feed.crops))
        image = tf.ensure_shape(image, (feed.crops, *features.shape))
        return {"image": image, "target": targets[row], "row": row}

    def fill(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        missing = feed.batch - tf.shape(batch["row"])[0]

        def filled(x: tf.Tensor, value: int = 0) -> tf.Tensor:
            padding = [[0, missing]] + [[0, 0]] * (len(x.shape) - 1)
            return tf.ensure_shape(tf.pad(x, padding, constant_values=value), (feed.batch, *x.shape[1:]))

        made = {"image": filled(to_unit(batch["image"])), "target": filled(batch["target"])}
        return made | {"row": filled(batch["row"], -1)} if with_rows else made

    return (
        _joined(tf.data.Dataset.from_tensor_slices(list(examples.shards)), examples, features.rate)
        .map(make, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(feed.batch)
        .map(fill)
        # Keras warns of data that end before it was told when; and a shard that lacks clips is noticed.
        .apply(tf.data.experimental.assert_cardinality(-(-len(examples) // feed.batch)))
        .prefetch(tf.data.AUTOTUNE)
    )
