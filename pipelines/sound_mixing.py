"""Two training clips in one waveform, with the labels of both."""

from collections.abc import Callable

import tensorflow as tf

from pipelines.augment_settings import AugmentSettings
from pipelines.chance import sometimes, uniform
from pipelines.sound_effects import decibels_to_ratio, fit

Labels = dict[str, tf.Tensor]  # "target": (classes,), and what else a clip has, ()

_WINDOW_SECONDS = 0.1
_SILENT = 1e-7  # amplitude: under one step of 16 bits


def loudness(sound: tf.Tensor, rate: int) -> tf.Tensor:
    """(samples,) -> (): root mean square of the loudest of consecutive tenths of a second.

    Silence around a sound does not make it softer, as it does in a mean over the clip.
    """
    window = max(1, round(_WINDOW_SECONDS * rate))
    missing = (-tf.shape(sound)[0]) % window
    pieces = tf.reshape(tf.pad(sound, [[0, missing]]), (-1, window))
    loudest = tf.reduce_max(tf.reduce_mean(tf.square(pieces), axis=1))
    return tf.sqrt(tf.maximum(loudest, 0.0))  # of a clip without samples it is minus infinity


def add(
    sound: tf.Tensor, other: tf.Tensor, levels: tuple[tf.Tensor, tf.Tensor], gain: tf.Tensor
) -> tf.Tensor:
    """(samples,) twice, the loudness of each -> (samples,): the sum, the other clip `gain` dB louder.

    Silence counts as being as loud as what is added to it, or the mixture would be silent too.
    """
    own, added = levels
    own = tf.where(own < _SILENT, added, own)
    return sound + other * (decibels_to_ratio(gain) * own / tf.maximum(added, _SILENT))


def share(
    sound: tf.Tensor, other: tf.Tensor, levels: tuple[tf.Tensor, tf.Tensor], part: tf.Tensor
) -> tf.Tensor:
    """(samples,) twice, the loudness of each -> (samples,): the first is heard to be `part` of the mixture.

    Between-class learning, equation 2, with plain root mean squares where its authors weigh frequencies by A.
    A silent first clip counts as being as loud as the second, as above.
    """
    own, added = levels
    own = tf.maximum(tf.where(own < _SILENT, added, own), _SILENT)
    added = tf.maximum(added, _SILENT)
    factor = part * added / (part * added + (1 - part) * own)
    return (factor * sound + (1 - factor) * other) / tf.sqrt(factor**2 + (1 - factor) ** 2)


def mix_labels(own: Labels, other: Labels, part: tf.Tensor | None) -> Labels:
    """Labels of both clips -> those of their mixture.

    Without a `part` a target is the larger of both, and the rest, as a clip's weight or domain, their mean:
    each brings half of the labels. With one, all is mixed in that share.
    """
    half = 0.5 if part is None else part
    mixed = {name: half * value + (1 - half) * other[name] for name, value in own.items()}
    return mixed if part is not None else mixed | {"target": tf.maximum(own["target"], other["target"])}


def random_mix(
    sound: tf.Tensor,
    labels: Labels,
    other: Callable[[], tuple[tf.Tensor, Labels]],
    settings: AugmentSettings,
    rate: int,
    seed: tf.Tensor,
) -> tuple[tf.Tensor, Labels]:
    """(samples,) and its labels, (2,) seed -> the same, by chance with another clip; `other` is called then."""

    def mixed(clip: tuple[tf.Tensor, Labels], own: tf.Tensor) -> tuple[tf.Tensor, Labels]:
        place, draw = tf.unstack(tf.random.split(own, 2))
        sound, labels = clip
        whole, others = other()
        beside = fit(whole, tf.shape(sound)[0], place)
        levels = loudness(sound, rate), loudness(whole, rate)
        if settings.mix_labels == "or":
            gain = uniform(draw, settings.mix_gain)
            return add(sound, beside, levels, gain), mix_labels(labels, others, None)
        part = uniform(draw, (0, 1))
        return share(sound, beside, levels, part), mix_labels(labels, others, part)

    return sometimes(settings.mix, seed, (sound, labels), mixed)
