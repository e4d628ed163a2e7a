"""Members and their mean as functions of one waveform: images and windows that they share are made once."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from fatk import ensemble_means, serving_windows
from fatk.serving_member import Look, Member, windowed
from pipelines.settings import FeatureSettings

Tensor: TypeAlias = tf.Tensor


class Ensemble:
    """What is served of one member or several: all take audio of one rate and answer in one order of classes.

    `mean`: how members' probabilities become one; None: the arithmetic one. `crops`: windows a clip, for all;
    None: as many as each member was evaluated with. `jitter`: windows but the first are moved at random, by the
    same draws in each call (`serving_windows.cut`).
    """

    def __init__(
        self,
        members: Sequence[Member],
        mean: ensemble_means.Mean | None = None,
        crops: int | None = None,
        jitter: bool = False,
    ):
        rates = {member.features.rate for member in members}
        if len(rates) != 1:
            raise ValueError(f"members must share one rate. Received: {sorted(rates)} Hz.")
        self.members = tuple(members)
        self.mean = mean
        self.rate = rates.pop()
        self.span = max(member.features.seconds for member in members)
        self.segment_seconds = max(member.evaluate.segment_seconds for member in members)
        self.explains = all(member.explains for member in members)
        self._crops = crops
        self._jitter = jitter

    def _images(self, audio: Tensor) -> list[Tensor]:
        """(samples,) -> (bands, frames, channels) uint8 a member; equal settings share one.

        Parts that images of other settings share (the spectrum of APD and of APX) are one text twice, which
        TensorFlow merges before it runs a graph.
        """
        made: dict[Look, Tensor] = {}
        for member in self.members:
            if member.look not in made:
                made[member.look] = member.image(audio)
        return [made[member.look] for member in self.members]

    def image(self, audio: Tensor) -> Tensor:
        """(samples,) -> (bands, frames, channels) uint8, of the first member."""
        return self.members[0].image(audio)

    def _each(
        self, audio: Tensor, count: Tensor | None, say: Callable[[Member, Tensor], Tensor]
    ) -> list[Tensor]:
        """(samples,) -> what is said of a member's crops, averaged over them, for each member."""
        cuts: dict[tuple[Look, int | None, bool], Tensor] = {}
        said = []
        for member, image in zip(self.members, self._images(audio), strict=True):
            own = None if count is not None else self._crops or member.evaluate.crops
            around = member.evaluate.around
            key = member.look, own, around
            if key not in cuts:
                number = tf.constant(own) if count is None else count
                columns = member.features.columns
                cuts[key] = serving_windows.cut(image, columns, number, self._jitter, around)
            said.append(tf.reduce_mean(say(member, cuts[key]), axis=0))
        return said

    def chances(self, audio: Tensor, count: Tensor | None = None) -> Tensor:
        """(samples,), () number of crops or None for the usual -> (classes,)."""
        return self._mean(self._each(audio, count, Member.probabilities))

    @property
    def dimensions(self) -> int:
        """Length of all members' vectors together."""
        return sum(member.dimensions for member in self.members)

    def vectors(self, audio: Tensor) -> Tensor:
        """(samples,) -> (dim,): the members' vectors, joined."""
        return tf.concat(self._each(audio, None, Member.vectors), axis=0)

    def segment(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """(samples,) of a segment -> ((windows, classes), (windows,) start in seconds).

        Windows are as long as the longest member's. One whose own are shorter scores as many of these as cover
        each with half an overlap, and says their mean.
        """
        samples = tf.shape(audio)[0]
        seconds = serving_windows.starts(samples, self.rate, self.span)
        said = [
            windowed(member, image, seconds, samples, self.span)
            for member, image in zip(self.members, self._images(audio), strict=True)
        ]
        return self._mean(said), seconds

    def overlay(self, audio: Tensor, number: Tensor) -> Tensor:
        """(samples,), () class -> (bands, frames) float32, 0..1, over `image`: the mean of the members'."""
        images = self._images(audio)
        size = tf.shape(images[0])[:2]
        made = [member.overlay(image, number) for member, image in zip(self.members, images, strict=True)]
        if len(made) == 1:
            return made[0]
        seconds = tf.cast(tf.shape(audio)[0], tf.float32) / self.rate
        total = tf.add_n(
            [
                self._laid(one, member.features, size, seconds)
                for one, member in zip(made, self.members, strict=True)
            ]
        )
        return total / tf.maximum(tf.reduce_max(total), 1e-12)

    def _laid(self, overlay: Tensor, own: FeatureSettings, size: Tensor, seconds: Tensor) -> Tensor:
        """A member's overlay -> (bands, frames) of the first member's image: in time where it is in the clip.

        Images of one clip may be of other lengths: what fills a short clip up depends on the settings.
        """
        first, width = self.members[0].features, tf.shape(overlay)[1]

        def lead(look: FeatureSettings) -> Tensor:
            return tf.maximum(look.shortest / self.rate - seconds, 0.0) / 2

        time = (tf.range(tf.cast(size[1], tf.float32)) + 0.5) * first.column_seconds - lead(first)
        place = (time + lead(own)) / own.column_seconds - 0.5
        rows = tf.image.resize(overlay[..., None], (size[0], width))[..., 0]
        inside = tf.clip_by_value(place, 0.0, tf.cast(width - 1, tf.float32))
        left = tf.cast(inside, tf.int32)
        share = inside - tf.cast(left, tf.float32)
        before, after = (tf.gather(rows, tf.minimum(left + k, width - 1), axis=1) for k in (0, 1))
        # Half a column beyond the middle of its last one an image ends.
        return tf.where(tf.abs(place - inside) <= 0.5, before + share * (after - before), 0.0)

    def _mean(self, said: Sequence[Tensor]) -> Tensor:
        """(..., classes) a member -> (..., classes): `ensemble_means.Mean` in TensorFlow."""
        if self.mean is None:
            return said[0] if len(said) == 1 else tf.add_n(said) / len(said)
        chances = tf.stack(said)
        kind = self.mean.kind
        if kind == "geometric":
            chances = tf.math.log(tf.maximum(chances, ensemble_means.FLOOR))
        elif kind == "stacker":
            chances = tf.clip_by_value(chances, ensemble_means.EDGE, 1 - ensemble_means.EDGE)
            chances = tf.math.log(chances) - tf.math.log1p(-chances)
        weights = self.mean.weights.astype(np.float32)
        shape = (len(said), *(1,) * (len(chances.shape) - 2), weights.shape[1])
        total = tf.reduce_sum(chances * weights.reshape(shape), axis=0)
        if kind == "geometric":
            return tf.exp(total)
        return tf.math.sigmoid(total + self.mean.bias.astype(np.float32)) if kind == "stacker" else total
