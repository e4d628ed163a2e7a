"""Training images that the accelerator makes: what it is sent of each, and what it makes of that.

The host decides and draws, from the seeds by which it would make the image itself; floats of the size of an
image are the accelerator's. So both make the same image, but for roundings. An image of a second is sent as
16-bit sound of a third of the bytes that its pixels have as floats.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from pipelines import augment, crops, cuts, domain, formats, ops
from pipelines.augment_settings import AugmentSettings
from pipelines.domain_settings import DomainSettings
from pipelines.settings import FeatureSettings

Tensor = Any

# "sound" (samples,) int16, "spots" cuts.Spots, "known" cuts.Known, "moves" domain.Moves where noisy clips are
# taken to the curated domain, "shift" () int32 as in crops.Place, "changes" augment.Changes. Shapes are the
# same for all clips of a set.
View = dict[str, Any]


def view(
    cut: Callable[[crops.Place], Tensor],
    samples: Tensor,
    known: cuts.Known,
    moves: domain.Moves | None,
    features: FeatureSettings,
    augmentation: AugmentSettings,
    seed: Tensor,
) -> View:
    """A clip of so many samples and (2,) seed -> what `painted` makes the image of; `cut` gives its sound."""
    crop_seed, augment_seed = tf.unstack(tf.random.split(seed, 2))
    frames = cuts.columns_of(ops, samples, features)
    place = crops.random_place(frames, features.bands, features.columns, augmentation, crop_seed)
    padded = cuts.padded_samples(ops, samples, features)
    made: View = {
        "sound": cut(place),
        "spots": cuts.spots(ops, padded, place.start, place.columns, features),
        "known": known,
        "shift": tf.convert_to_tensor(place.shift),
        "changes": augment.drawn(features.bands, features.columns, augmentation, augment_seed),
    }
    return made if moves is None else made | {"moves": moves}


def painted(namespace: Any, made_of: View, features: FeatureSettings, background: DomainSettings) -> Tensor:
    """What `view` gives -> (bands, columns, channels) uint8, in the words of `pipelines.ops` or `keras.ops`."""
    sound = namespace.cast(made_of["sound"], "float32") / 32768.0
    picture = cuts.painted(namespace, sound, made_of["spots"], made_of["known"], features, background)
    image = picture.image
    if "moves" in made_of:
        image = domain.moved(namespace, picture, made_of["moves"], formats.channels(features))
    image = crops.shifted(namespace, image, made_of["shift"])
    return augment.changed(namespace, image, made_of["changes"])
