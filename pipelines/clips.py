"""From a clip's sound to what the network sees of it while training.

A clip whose sound stays as it was recorded is cropped in the waveform, before anything is transformed; one that
is mixed with another or changed is transformed whole, for its extremes are not known beforehand.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import tensorflow as tf

from pipelines import augment, crops, cuts, ops, records, sound_effects, sound_mixing, unpainted
from pipelines.augment_settings import AugmentSettings
from pipelines.chance import happens
from pipelines.domain import Transfer, whole_image
from pipelines.domain_settings import UNCHANGED, DomainSettings
from pipelines.reading import Examples
from pipelines.settings import FeatureSettings

Tensor: TypeAlias = tf.Tensor
Clip: TypeAlias = tuple[Tensor, Tensor]  # () row of the examples, () sound as it is encoded
Drawn: TypeAlias = dict[str, Clip]  # "clip", and others that it may be "mixed" with or stand "behind" it

_MIXING, _EFFECTS = -1, -2  # folded into a clip's own seed, beside the numbers of its views


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


def cut_sound(
    read: Callable[[Tensor, Tensor], Tensor],
    samples: Tensor,
    start: Tensor,
    columns: Tensor,
    features: FeatureSettings,
) -> Tensor:
    """-> (cuts.samples_for(columns),) float32: what `cuts.part` makes the columns from `start` on of.

    The arguments are those of `cut_pcm`.
    """
    return records.to_float(cut_pcm(read, samples, start, columns, features))


def cut_pcm(
    read: Callable[[Tensor, Tensor], Tensor],
    samples: Tensor,
    start: Tensor,
    columns: Tensor,
    features: FeatureSettings,
) -> Tensor:
    """-> (cuts.samples_for(columns),) int16: the sound that the columns from `start` on are made of.

    `read` gives the int16 samples from one to another of the clip's `samples`.
    """
    padded = cuts.padded_samples(ops, samples, features)
    half, length = features.n_fft // 2, cuts.samples_for(columns, features)
    begin = cuts.first_frame(ops, padded, start, columns, features) * features.hop - half
    # Of the padded clip from `first` to `end`, and what is mirrored or empty before and after that.
    first, end = tf.maximum(begin, 0), tf.minimum(begin + length, padded)
    mirrored = first - begin, tf.clip_by_value(begin + length - end, 0, half)
    # The clip itself lies in the middle of the padded one.
    offset = (padded - samples) // 2
    own = tf.clip_by_value(first - offset, 0, samples), tf.clip_by_value(end - offset, 0, samples)
    sound = tf.pad(read(*own), [[own[0] - (first - offset), tf.maximum(end - offset - own[1], 0)]])
    sound = tf.pad(sound[: end - first], [mirrored], "REFLECT")
    sound = tf.pad(sound, [[0, length - tf.shape(sound)[0]]])
    return tf.ensure_shape(sound, [length if isinstance(length, int) else None])


class Makers:
    """The two ways to a clip's views, and the choice between them."""

    def __init__(
        self,
        examples: Examples,
        features: FeatureSettings,
        augmentation: AugmentSettings,
        domain: DomainSettings,
        stored: records.Stored,
    ):
        self._examples = examples
        self._features = features
        self._augmentation = augmentation
        self._domain = domain
        self._stored = stored
        self._targets = tf.constant(examples.targets)
        self._extras = {name: tf.constant(values, tf.float32) for name, values in examples.extras.items()}
        self._known = None
        if examples.known is not None:
            self._known = cuts.Known(*(tf.constant(values) for values in examples.known))

    def make(self, drawn: Drawn, seed: Tensor, seeds: Sequence[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """-> ((views, bands, columns, channels) uint8, labels): a view for each of `seeds`, (2,) as `seed`."""

        def of_whole() -> tuple[Tensor, dict[str, Tensor]]:
            return self._of_whole(drawn, seed, seeds)

        def of_parts() -> tuple[Tensor, dict[str, Tensor]]:
            return self._of_parts(drawn["clip"], seeds)

        if self._known is None or self._augmentation.always_changes_sound:
            return of_whole()
        if not self._augmentation.changes_sound:
            return of_parts()
        changed = [happens(self._augmentation.mix, tf.random.fold_in(seed, _MIXING))]
        if self._augmentation.has_effects:
            changed += [
                sound_effects.happen(self._augmentation, tf.random.fold_in(own, _EFFECTS)) for own in seeds
            ]
        return tf.cond(tf.reduce_any(tf.stack(changed)), of_whole, of_parts)

    def _labels(self, row: Tensor) -> sound_mixing.Labels:
        return {"target": self._targets[row]} | {name: values[row] for name, values in self._extras.items()}

    def _read(self, clip: Clip) -> tuple[Tensor, sound_mixing.Labels]:
        row, encoded = clip
        return records.to_float(self._stored.sound(encoded, self._features.rate)), self._labels(row)

    def make_unpainted(
        self, drawn: Drawn, seeds: Sequence[Tensor]
    ) -> tuple[unpainted.View, sound_mixing.Labels]:
        """As `make`, but of each view what an accelerator makes it of."""
        row, encoded = drawn["clip"]
        samples, read = self._stored.cuttable(encoded, self._features.rate)
        assert self._known is not None, "only clips of which all is known are cut"
        known = cuts.Known(*(values[row] for values in self._known))
        transfer = self._examples.transfer
        moves = None if transfer is None else transfer.moves(ops, known.envelope, row)
        views = [
            unpainted.view(
                lambda place: cut_pcm(read, samples, place.start, place.columns, self._features),
                samples,
                known,
                moves,
                self._features,
                self._augmentation,
                seed,
            )
            for seed in seeds
        ]
        return tf.nest.map_structure(lambda *own: tf.stack(own), *views), self._labels(row)

    def _of_parts(self, clip: Clip, seeds: Sequence[Tensor]) -> tuple[Tensor, sound_mixing.Labels]:
        """Views of a clip as it was recorded: of parts of its sound."""
        row, encoded = clip
        samples, read = self._stored.cuttable(encoded, self._features.rate)
        assert self._known is not None, "only clips of which all is known are cut"
        known = cuts.Known(*(values[row] for values in self._known))
        frames = cuts.columns_of(ops, samples, self._features)
        padded = cuts.padded_samples(ops, samples, self._features)
        views = []
        for seed in seeds:
            crop_seed, augment_seed = tf.unstack(tf.random.split(seed, 2))
            place = self._place(frames, crop_seed)
            picture = cuts.part(
                ops,
                cut_sound(read, samples, place.start, place.columns, self._features),
                padded,
                place.start,
                place.columns,
                known,
                self._features,
                self._domain,
            )
            image = self._transferred(picture, row)
            image = crops.cropped(image, place, 0, self._features.columns)
            views.append(augment.augment(image, self._augmentation, augment_seed))
        return tf.stack(views), self._labels(row)

    def _of_whole(
        self, drawn: Drawn, seed: Tensor, seeds: Sequence[Tensor]
    ) -> tuple[Tensor, sound_mixing.Labels]:
        """Views of a clip that may be mixed and changed: of the image of all of its sound."""
        augmentation = self._augmentation
        sound, labels = self._read(drawn["clip"])
        if "mixed" in drawn:
            sound, labels = sound_mixing.random_mix(
                sound,
                labels,
                lambda: self._read(drawn["mixed"]),
                augmentation,
                self._features.rate,
                tf.random.fold_in(seed, _MIXING),
            )

        def image(sound: Tensor) -> Tensor:
            return image_of(sound, self._features, self._domain, self._examples.transfer, drawn["clip"][0])

        unchanged = None if augmentation.has_effects else image(sound)  # which all views share
        views = []
        for own in seeds:
            crop_seed, augment_seed = tf.unstack(tf.random.split(own, 2))
            whole = unchanged
            if whole is None:
                changed = sound_effects.effects(
                    sound,
                    augmentation,
                    self._features.rate,
                    tf.random.fold_in(own, _EFFECTS),
                    lambda: self._read(drawn["behind"])[0],
                )
                whole = image(changed)
            place = self._place(tf.shape(whole)[1], crop_seed)
            crop = crops.cropped(whole, place, place.start, self._features.columns)
            views.append(augment.augment(crop, augmentation, augment_seed))
        return tf.stack(views), labels

    def _place(self, frames: Tensor, seed: Tensor) -> crops.Place:
        features = self._features
        return crops.random_place(frames, features.bands, features.columns, self._augmentation, seed)

    def _transferred(self, picture: cuts.formats.Picture, row: Tensor) -> Tensor:
        transfer: Transfer | None = self._examples.transfer
        image = picture.image if transfer is None else transfer(ops, picture, row)
        columns = self._features.columns if not self._augmentation.sizes_crops else None
        return tf.ensure_shape(image, (self._features.bands, columns, 3))
