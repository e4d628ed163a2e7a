"""Augmentation of a training image: which parts there are, how often, and in which order.

The parts are elsewhere, each a deterministic core and a shell that draws from a stateless seed. On the host all
is done clip by clip inside of the parallel map: batches of images leave the processor's cache, and the one
operation of TensorFlow that warps a batch is twice as slow as what is here. An accelerator is sent what was
drawn, from the same seeds, and changes its images by that.
"""

from typing import Any

import tensorflow as tf

from pipelines import levels, masks, warps
from pipelines.augment_settings import AugmentSettings
from pipelines.chance import sometimes

# What happens to an image: arguments of the cores by the parts' names, those parts only that the settings ask for.
Changes = dict[str, tuple[Any, ...]]


def augment(image: tf.Tensor, settings: AugmentSettings, seed: tf.Tensor) -> tf.Tensor:
    """(bands, columns, channels) uint8, (2,) seed -> the same: everything that the settings ask of images.

    In the reference's order, the stripes beside its cutout at the end: what is masked stays 0.
    """
    level = settings.level
    warp, brightness, cutout = _chances(settings)
    warped, lit, banded, timed, holed = tf.unstack(tf.random.split(seed, 5))
    image = sometimes(warp, warped, image, lambda x, own: warps.random_warp(x, level, own))
    image = sometimes(brightness, lit, image, lambda x, own: levels.random_brightness_contrast(x, level, own))
    if settings.band_masks:
        image = masks.random_stripes(image, settings.band_masks, settings.band_mask, 0, banded)
    if settings.time_masks:
        image = masks.random_stripes(image, settings.time_masks, settings.time_mask, 1, timed)
    return sometimes(cutout, holed, image, lambda x, own: masks.random_cutout(x, level, own))


def _chances(settings: AugmentSettings) -> tuple[float, float, float]:
    """-> of warps, of brightness and contrast, of holes."""
    return (
        warps.CHANCE if settings.warp and any(warps.LIMITS[settings.level]) else 0,
        levels.CHANCE if settings.brightness else 0,
        masks.CHANCE if settings.cutout else 0,
    )


def drawn(bands: int, columns: int, settings: AugmentSettings, seed: tf.Tensor) -> Changes:
    """Size of an image, (2,) seed -> what `augment` would do to it, for `changed`."""
    level = settings.level
    warp, brightness, cutout = _chances(settings)
    warped, lit, banded, timed, holed = tf.unstack(tf.random.split(seed, 5))
    changes: Changes = {}
    if warp:
        changes["warp"] = sometimes(
            warp, warped, warps.still(), lambda _, own: warps.drawn(bands, columns, level, own)
        )
    if brightness:
        changes["light"] = sometimes(brightness, lit, levels.still(), lambda _, own: levels.drawn(level, own))
    if settings.band_masks:
        changes["bands"] = masks.drawn_stripes(bands, settings.band_masks, settings.band_mask, banded)
    if settings.time_masks:
        changes["times"] = masks.drawn_stripes(columns, settings.time_masks, settings.time_mask, timed)
    if cutout:
        changes["holes"] = sometimes(
            cutout, holed, masks.no_holes(), lambda _, own: masks.drawn_holes(bands, columns, level, own)
        )
    return changes


def changed(ops: Any, image: Any, changes: Changes) -> Any:
    """(bands, columns, channels) uint8 -> the same, as `augment` leaves it. Every part is computed each time."""
    if "warp" in changes:
        image = warps.warp(ops, image, *changes["warp"])
    if "light" in changes:
        image = levels.brightness_contrast(ops, image, *changes["light"])
    for axis, name in enumerate(("bands", "times")):
        if name in changes:
            first, width = changes[name]
            image = masks.stripes(ops, image, first, width, axis)
    if "holes" in changes:
        image = masks.cutout(ops, image, *changes["holes"])
    return image
