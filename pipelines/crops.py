"""Cutting what the network sees out of a clip's image: deterministic cores, and shells that draw."""

from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf

from pipelines.augment_settings import AugmentSettings
from pipelines.chance import uniform, whole

Tensor: TypeAlias = tf.Tensor

# Share of the image's size by which a training crop may start early, and shift along frequency, by level.
EARLY = (40, 20, 10, 10)
SHIFT = (40, 10, 3, 3)


def _cut(image: tf.Tensor, start: tf.Tensor, columns: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """`crop` where the number of columns need not be known beforehand."""
    before = tf.maximum(-start, 0)
    after = tf.maximum(start + columns - tf.shape(image)[1], 0)
    bands = image.shape[0]
    image = tf.pad(image, [[shift, 0], [before, after], [0, 0]])
    return image[:bands, start + before : start + before + columns]


def crop(image: tf.Tensor, start: tf.Tensor, columns: int, shift: tf.Tensor = 0) -> tf.Tensor:
    """(bands, frames, channels) -> (bands, columns, channels) from column `start`, rows moved up by `shift`.

    Whatever lies outside of the image is 0: a negative start, an image that ends early, and the `shift`
    lowest rows, whose content has moved to higher rows as in the reference.
    """
    cut = _cut(image, start, columns, shift)
    return tf.ensure_shape(cut, (image.shape[0], columns, image.shape[2]))


def shifted(ops: Any, image: Any, shift: Any) -> Any:
    """(bands, columns, channels) -> the same, rows moved up by `shift` as `crop` does it, with no new shapes."""
    places = ops.arange(image.shape[0]) - shift
    moved = ops.take(image, ops.maximum(places, 0), axis=0)
    return ops.where(ops.reshape(places >= 0, (-1, 1, 1)), moved, ops.zeros_like(moved))


def resized(image: tf.Tensor, bands: int, columns: int) -> tf.Tensor:
    """(rows, width, channels) uint8 -> (bands, columns, channels) uint8: bilinear, half-pixel centres, rounded."""
    made = tf.image.resize(image, (bands, columns), antialias=False)
    return tf.ensure_shape(tf.cast(made + 0.5, tf.uint8), (bands, columns, image.shape[2]))


class Place(NamedTuple):
    """Where a training crop lies in a clip's image. All () int32, or numbers."""

    start: Tensor  # first column; negative: before the clip
    columns: Tensor  # of the image that are cut
    shift: Tensor  # rows that what is cut moves up by
    row: Tensor  # first row that is kept
    rows: Tensor  # kept


def random_place(frames: Tensor, bands: int, columns: int, settings: AugmentSettings, seed: Tensor) -> Place:
    """An image of (bands, frames), (2,) seed -> where the reference's jittered crop of `columns` lies.

    With other sizes than 1 in the settings the crop is of a random size, for `cropped` to resize.
    """
    level = settings.level
    time_seed, band_seed = tf.unstack(tf.random.split(seed, 2))
    width, rows, row = columns, bands, 0
    sized = settings.sizes_crops
    if sized:
        width_seed, rows_seed, row_seed = tf.unstack(tf.random.split(tf.random.fold_in(seed, 1), 3))
        width = tf.cast(columns * uniform(width_seed, settings.crop_columns) + 0.5, tf.int32)
        rows = tf.cast(bands * uniform(rows_seed, settings.crop_bands) + 0.5, tf.int32)
        row = whole(row_seed, 0, bands - rows)
    early = columns // EARLY[level] if settings.early else 0
    start = whole(time_seed, -early, tf.maximum(frames - width, 0))
    shift = whole(band_seed, 0, bands // SHIFT[level]) if settings.band_shift else 0
    return Place(start, width, shift, row, rows)


def cropped(image: Tensor, place: Place, start: Tensor, columns: int) -> Tensor:
    """(bands, frames, channels) -> (bands, columns, channels): the crop, whose first column is `start` here."""
    if isinstance(place.columns, int):
        return crop(image, start, columns, place.shift)
    cut = _cut(image, start, place.columns, place.shift)[place.row : place.row + place.rows]
    return resized(cut, image.shape[0], columns)


def random_crop(image: Tensor, columns: int, settings: AugmentSettings, seed: Tensor) -> Tensor:
    """(bands, frames, channels), (2,) seed -> (bands, columns, channels): a training crop of a whole image."""
    place = random_place(tf.shape(image)[1], image.shape[0], columns, settings, seed)
    return cropped(image, place, place.start, columns)


def even_starts(frames: tf.Tensor, columns: int, crops: tf.Tensor, around: bool = False) -> tf.Tensor:
    """-> (crops,) int32: evenly spaced from the first column to the last possible one; one: the middle.

    With `around` as far from the last to the first as from each to the next: for crops that go on at the
    beginning of an image where it ends.
    """
    latest = tf.maximum(frames - columns, 0)
    if around:
        spread = tf.range(crops) * tf.maximum(frames, columns) // crops
    else:
        spread = tf.range(crops) * latest // tf.maximum(crops - 1, 1)
    return tf.where(crops == 1, latest // 2, spread)


def columns_of(starts: tf.Tensor, columns: int, frames: tf.Tensor, around: bool = False) -> tf.Tensor:
    """(crops,) first columns -> (crops, columns) int32 of all; with `around` those past the end are the first."""
    places = starts[:, None] + tf.range(columns)[None]
    return places % tf.maximum(frames, columns) if around else places


def gather_crops(image: tf.Tensor, starts: tf.Tensor, columns: int, around: bool = False) -> tf.Tensor:
    """(bands, frames, channels), (crops,) -> (crops, bands, columns, channels).

    Zeros past the end; with `around` only of an image that is shorter than a crop, then its first columns.
    """
    frames = tf.shape(image)[1]
    image = tf.pad(image, [[0, 0], [0, tf.maximum(columns - frames, 0)], [0, 0]])
    cut = tf.gather(image, columns_of(starts, columns, frames, around), axis=1)
    return tf.transpose(cut, (1, 0, 2, 3))


def even_crops(image: tf.Tensor, columns: int, crops: tf.Tensor, around: bool = False) -> tf.Tensor:
    """(bands, frames, channels) -> (crops, bands, columns, channels), evenly spaced over the clip."""
    starts = even_starts(tf.shape(image)[1], columns, crops, around)
    return gather_crops(image, starts, columns, around)
