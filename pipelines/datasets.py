"""The order of things: shards -> parse -> join targets -> shuffle -> image, cropped and augmented -> batch.

Every draw comes from (seed, epoch, position in the epoch) through stateless operations, so parallel maps
change nothing, and an epoch can be entered at any batch.
"""

import tensorflow as tf

from pipelines import clips, crops, records
from pipelines.augment_settings import AugmentSettings
from pipelines.clips import image_of
from pipelines.domain_settings import UNCHANGED, DomainSettings
from pipelines.reading import Examples, as_written, found, joined, readings
from pipelines.settings import FeatureSettings, FeedSettings

# Folded into a seed, so that uses do not share their draws: the order of the clips, what happens to each, and
# the orders of the clips that are mixed with them and that stand behind them.
_ORDER, _PIXELS, _MIXED, _BEHIND = 1, 2, 3, 4


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


@as_written
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
    With `features.where` = "device", "image" is what `unpainted.painted` makes it of, a batch of each part.
    """
    on_device = features.where == "device"
    if on_device and (examples.known is None or augmentation.keeps_on_host):
        raise ValueError(
            "`features.where` = 'device' needs the extremes of every clip, and crops of one size of its own sound."
        )
    steps = steps_per_epoch(examples, feed.batch)
    seed = tf.constant([feed.seed, feed.seed ^ 0x5EED], tf.int32)
    stored = records.stored(examples.shards)
    times = readings(examples)
    # Other clips that a clip needs come from orders of their own, so that it never meets one for its place.
    orders = {"clip": _ORDER}
    if augmentation.mix > 0:
        orders["mixed"] = _MIXED
    if augmentation.background > 0:
        orders["behind"] = _BEHIND

    def ordered(own: tf.Tensor, use: int) -> tf.data.Dataset:
        order = tf.random.fold_in(own, use)
        draws = tf.random.stateless_uniform([times * len(examples.shards)], order)
        # Not `order[0]`: what is folded in is the second number, and the first is that of all uses.
        mixed = tf.random.stateless_uniform([], order, None, None, tf.int64)
        places = tf.argsort(draws)
        files = tf.gather(tf.constant(examples.shards), places // times)
        shards = tf.data.Dataset.from_tensor_slices(files if times == 1 else (files, places % times))
        return (
            found(shards, examples, stored, times)
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
            .map(lambda position, drawn: (own, position, drawn))
        )

    makers = clips.Makers(examples, features, augmentation, domain, stored)

    def make(own: tf.Tensor, position: tf.Tensor, drawn: clips.Drawn) -> dict[str, tf.Tensor]:
        seed = tf.random.fold_in(tf.random.fold_in(own, _PIXELS), tf.cast(position, tf.int32))
        seeds = [tf.random.fold_in(seed, number) for number in range(views)] if views else [seed]
        made, labels = makers.make_unpainted(drawn, seeds) if on_device else makers.make(drawn, seed, seeds)
        return {"image": made if views else tf.nest.map_structure(lambda own: own[0], made)} | labels

    epochs = tf.data.Dataset.range(first_epoch, tf.int32.max, output_type=tf.int32)
    batches = (
        epochs.flat_map(epoch_clips)
        .map(make, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(feed.batch, drop_remainder=True)
    )
    if not on_device:
        batches = batches.map(lambda batch: batch | {"image": to_unit(batch["image"])})
    return batches.prefetch(tf.data.AUTOTUNE)


@as_written
def evaluation(
    examples: Examples,
    features: FeatureSettings,
    feed: FeedSettings,
    with_rows: bool = False,
    domain: DomainSettings = UNCHANGED,
) -> tf.data.Dataset:
    """-> each clip once: {"image": (batch, crops, bands, columns, 3) float32 0..1, "target": (batch, classes)}.

    Crops are evenly spaced, `feed.around` or up to the end. The last batch is filled up with clips of zeros
    that have no label. `with_rows` adds "row": (batch,) int32, the clip's row in `examples`, -1 for filling.
    """
    targets = tf.constant(examples.targets)

    def make(row: tf.Tensor, pcm: tf.Tensor) -> dict[str, tf.Tensor]:
        image = image_of(pcm, features, domain)
        image = crops.even_crops(image, features.columns, tf.constant(feed.crops), feed.around)
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
        joined(tf.data.Dataset.from_tensor_slices(list(examples.shards)), examples, features.rate)
        .map(make, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(feed.batch)
        .map(fill)
        # Keras warns of data that end before it was told when; and a shard that lacks clips is noticed.
        .apply(tf.data.experimental.assert_cardinality(-(-len(examples) // feed.batch)))
        .prefetch(tf.data.AUTOTUNE)
    )
