"""Augmentation of a training image: which parts there are, how often, and in which order.

The parts are elsewhere, each a deterministic core and a shell that draws from a stateless seed. All is done
clip by clip inside of the parallel map: batches of images leave the processor's cache, and the one operation
of TensorFlow that warps a batch is twice as slow as what is here.
"""

import tensorflow as tf

from pipelines import levels, masks, warps
from pipelines.augment_settings import AugmentSettings
from pipelines.chance import sometimes


def augment(image: tf.Tensor, settings: AugmentSettings, seed: tf.Tensor) -> tf.Tensor:
    """(bands, columns, channels) uint8, (2,) seed -> the same: everything that the settings ask of images.

    In the reference's order, the stripes beside its cutout at the end: what is masked stays 0.
    """
    level = settings.level
    warp = warps.CHANCE if settings.warp and any(warps.LIMITS[level]) else 0
    brightness = levels.CHANCE if settings.brightness else 0
    cutout = masks.CHANCE if settings.cutout else 0
    warped, lit, banded, timed, holed = tf.unstack(tf.random.split(seed, 5))
    image = sometimes(warp, warped, image, lambda x, own: warps.random_warp(x, level, own))
    image = sometimes(brightness, lit, image, lambda x, own: levels.random_brightness_contrast(x, level, own))
    if settings.band_masks:
        image = masks.random_stripes(image, settings.band_masks, settings.band_mask, 0, banded)
    if settings.time_masks:
        image = masks.random_stripes(image, settings.time_masks, settings.time_mask, 1, timed)
    return sometimes(cutout, holed, image, lambda x, own: masks.random_cutout(x, level, own))
