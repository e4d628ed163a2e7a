"""The order of things: shards -> parse -> join targets -> shuffle -> image -> crop -> augment -> batch.

Every draw comes from (seed, epoch, position in the epoch) through stateless operations, so parallel maps
change nothing, and an epoch can be entered at any batch.
"""

from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from pipelines import augment, crops, ops, records
from pipelines.domain import Transfer, whole_image
from pipelines.domain_settings import UNCHANGED, DomainSettings
from pipelines.settings import AugmentSettings, FeatureSettings, FeedSettings

_READERS = 8  # shards read side by side
_ORDER, _PIXELS = 1, 2  # folded into a seed, so that uses do not share their draws


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


def _joined(shards: tf.data.Dataset, examples: Examples, rate: int | None = None) -> tf.data.Dataset:
    """Shards -> (row of `examples`, (samples,) int16 at `rate` Hz), the clips that take part only.

    None: at the rate that the shards have.
    """
    rows: dict[str, list[int]] = {}
    for row, key in enumerate(examples.keys):
        rows.setdefault(key, []).append(row)
    found = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.constant(list(rows)), tf.range(len(rows), dtype=tf.int32)),
        default_value=-1,
    )
    rows_of = tf.ragged.constant(list(rows.values()), dtype=tf.int32)
    stored = records.stored(examples.shards)

    def join(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        key, encoded = stored.split(record)
        return found.lookup(key), encoded

    def sound(place: tf.Tensor, encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return place, stored.sound(encoded, rate)

    joined = (
        shards.interleave(
            tf.data.TFRecordDataset,
            cycle_length=_READERS,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .map(join, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .filter(lambda place, _: place >= 0)
        .map(sound, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    )
    if len(rows) == len(examples):
        return joined
    # A clip that stands in several rows (one a label, or drawn repeatedly) is used once for each.
    return joined.flat_map(
        lambda place, pcm: tf.data.Dataset.from_tensor_slices(rows_of[place]).map(lambda row: (row, pcm))
    )


def image_of(
    pcm: tf.Tensor,
    features: FeatureSettings,
    domain: DomainSettings = UNCHANGED,
    transfer: Transfer | None = None,
    row: tf.Tensor = 0,
) -> tf.Tensor:
    """(samples,) int16 -> (bands, frames, channels) uint8: the whole clip, as the training graph makes it.

    With `transfer`, as it is after that; the clip is then the one of `row`.
    """
    picture = whole_image(ops, records.to_float(pcm), features, domain)
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
    (batch, views, bands, columns, 3): a clip cropped and augmented so many times.
    """
    targets = tf.constant(examples.targets)
    extras = {name: tf.constant(values, tf.float32) for name, values in examples.extras.items()}
    steps = steps_per_epoch(examples, feed.batch)
    seed = tf.constant([feed.seed, feed.seed ^ 0x5EED], tf.int32)

    def epoch_clips(epoch: tf.Tensor) -> tf.data.Dataset:
        # The seed of this function's graph alone: `shuffle` mixes it into its own, and takes no 0.
        tf.random.set_seed(feed.seed % tf.int32.max or 1)
        own = tf.random.fold_in(seed, epoch)
        order = tf.random.fold_in(own, _ORDER)
        draws = tf.random.stateless_uniform([len(examples.shards)], order)
        files = tf.gather(tf.constant(examples.shards), tf.argsort(draws))
        skipped = tf.where(epoch == first_epoch, first_batch * feed.batch, 0)
        return (
            _joined(tf.data.Dataset.from_tensor_slices(files), examples, features.rate)
            .shuffle(feed.shuffle, seed=tf.cast(order[0], tf.int64), reshuffle_each_iteration=False)
            .take(steps * feed.batch)
            .enumerate()
            .skip(tf.cast(skipped, tf.int64))
            .map(lambda position, clip: (own, position, *clip))
        )

    def make(own: tf.Tensor, position: tf.Tensor, row: tf.Tensor, pcm: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = tf.random.fold_in(tf.random.fold_in(own, _PIXELS), tf.cast(position, tf.int32))
        whole = image_of(pcm, features, domain, examples.transfer, row)

        def view(seed: tf.Tensor) -> tf.Tensor:
            crop_seed, augment_seed = tf.unstack(tf.random.split(seed, 2))
            image = crops.random_crop(whole, features.columns, augmentation.level, crop_seed)
            return augment.augment(image, augmentation, augment_seed)

        if views:
            image = tf.stack([view(tf.random.fold_in(pixels, number)) for number in range(views)])
        else:
            image = view(pixels)
        return {"image": image, "target": targets[row]} | {k: v[row] for k, v in extras.items()}

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
