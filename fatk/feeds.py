"""What a run feeds its network: which clips with which targets, and the datasets made of them."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import tensorflow as tf

from fatk import cli
from fatk.config import Config
from fatk.prepare import Prepared, records_folder
from pipelines import datasets, extremes, statistics
from pipelines.labels import multi_hot, targets_of
from pipelines.reading import Examples, as_written
from pipelines.selection import partners
from pipelines.settings import FeedSettings
from pipelines.sources import CURATED, NOISY, Clip

_NOISY_SEED = 0x0153  # folded into a run's seed, so that the second draw is not in step with the first


class Feeds:
    """The sets of a run and their datasets, for any kind of mixing.

    With "noisy" and "mixmatch" mixing the curated clips make the epoch and the noisy ones stand beside them,
    or all training clips do and a draw of the noisy pool does; otherwise all training clips are one set.

    What only training needs is made when it is first asked for: a finished network scores clips without it.
    """

    def __init__(self, config: Config, prepared: Prepared):
        self.config = config
        self.prepared = prepared
        self.settings = FeedSettings(
            batch=config.train.batch,
            shuffle=config.train.shuffle,
            crops=config.evaluate.crops,
            around=config.evaluate.around,
            seed=config.seed,
        )
        self.valid = self.examples(prepared.split.valid)

    @cached_property
    def _sets(self) -> tuple[Examples, Examples | None]:
        """-> `train`, `noisy`. Raises `UserError` where they cannot be as the settings want them."""
        config, split = self.config, self.prepared.split
        own: tuple[Clip, ...] = split.train
        beside: tuple[Clip, ...] = ()
        apart = config.mixing.kind in ("noisy", "mixmatch")
        if apart and config.mixing.partners == "single":
            beside = partners(self.prepared.source, split, config.select, config.seed)
        elif apart:
            own = tuple(clip for clip in split.train if clip.pool != NOISY)
            beside = tuple(clip for clip in split.train if clip.pool == NOISY)
        if apart and not (own and beside):
            raise cli.UserError(
                f"`mixing.kind` = {config.mixing.kind!r} needs curated and noisy training clips. "
                f"Received: {len(own)} and {len(beside)}."
            )
        try:
            return self._trained(own), self._trained(beside, hard=True) if beside else None
        except ValueError as error:
            raise cli.UserError(str(error)) from None

    @cached_property
    def train(self) -> Examples:
        """The clips that make the epoch."""
        return self._sets[0]

    @cached_property
    def noisy(self) -> Examples | None:
        """The clips that stand beside them, if any do."""
        return self._sets[1]

    @cached_property
    def steps(self) -> int:
        """Batches of an epoch. Raises `UserError` where there is none, and for all that keeps from training."""
        try:
            return datasets.steps_per_epoch(self.train, self.settings.batch)
        except ValueError as error:
            raise cli.UserError(str(error)) from None

    def examples(self, clips: Sequence[Clip]) -> Examples:
        """Clips with their shards and hard targets."""
        pools = dict.fromkeys(clip.pool for clip in clips)
        shards = tuple(shard for pool in pools for shard in self.prepared.shards[pool])
        targets = multi_hot(clips, self.prepared.classes)
        return Examples(tuple(clip.key for clip in clips), targets, shards)

    def _curated(self) -> tuple[Clip, ...]:
        """What shows the curated domain and its labels: each clip once and whole, none of a recording held out."""
        valid = self.prepared.split.valid
        held, heard = {clip.key for clip in valid}, {clip.source for clip in valid if clip.source}
        clips = self.prepared.source.pool(CURATED)
        return tuple(clip for clip in clips if clip.key not in held and clip.source not in heard)

    def _trained(self, clips: Sequence[Clip], hard: bool = False) -> Examples:
        """Clips with targets, weights and transfer as training wants them; noisy ones with `hard` targets.

        Raises `ValueError` where there is no clip that a transfer needs, or one is in no shard.
        """
        made = self.examples(clips)
        curated = self._curated()
        noisy = np.array([clip.pool == NOISY for clip in clips], bool)
        transfer = statistics.build_transfer(
            self.examples(curated),
            made,
            noisy,
            self.config.features,
            self.config.domain,
            records_folder(self.config),
            cli.progress,
        )
        known = None
        if not self.config.augment.always_changes_sound:  # else every clip is transformed whole
            pools = {clip.pool for clip in clips}
            known = extremes.kept(
                made,
                self.config.features,
                self.config.domain,
                records_folder(self.config),
                sum(clip.pool in pools for clip in self.prepared.source.clips),
                cli.progress,
            )
        labels = self.config.labels
        if hard:  # the second draw's, as in the reference
            labels = replace(labels, soft_noisy=False)
        extras = {}
        if self.config.loss.noisy_weight != 1:
            extras["weight"] = np.where(noisy, self.config.loss.noisy_weight, 1).astype(np.float32)
        if self.config.network.noisy_head:
            extras["domain"] = noisy.astype(np.float32)
        targets = targets_of(clips, self.prepared.classes, curated or clips, labels)
        return replace(made, targets=targets, transfer=transfer, known=known, extras=extras)

    def _draw(self, noisy: bool, epoch: int, batch: int) -> tf.data.Dataset:
        """The training set, or the one beside it, from a batch of an epoch on."""
        examples = self.noisy if noisy else self.train
        assert examples is not None
        settings, augmentation, views = self.settings, self.config.augment, 0
        if noisy:
            settings = replace(
                settings, seed=settings.seed ^ _NOISY_SEED, batch=min(settings.batch, len(examples))
            )
            if self.config.mixing.kind == "mixmatch":
                views = self.config.mixing.views
            else:
                augmentation = replace(augmentation, level=0)  # as in the reference
        return datasets.training(
            examples,
            self.config.features,
            augmentation,
            settings,
            epoch,
            batch,
            self.config.domain,
            views,
        )

    @as_written
    def training(self, epoch: int = 0, batch: int = 0) -> tf.data.Dataset:
        """Endless training batches from a batch of an epoch on, as `Tagger` takes them."""
        own = self._draw(False, epoch, batch)
        if self.noisy is None:
            return own
        # The other set has epochs of its own length: where it stands follows from the batches drawn so far.
        steps = len(self.noisy) // min(self.settings.batch, len(self.noisy))
        drawn = epoch * self.steps + batch
        beside = self._draw(True, drawn // steps, drawn % steps)
        prefix = "unlabelled_" if self.config.mixing.kind == "mixmatch" else "noisy_"

        def join(first: dict[str, tf.Tensor], second: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return first | {prefix + name: value for name, value in second.items()}

        return tf.data.Dataset.zip((own, beside)).map(join)

    def evaluation(self, examples: Examples, with_rows: bool = False) -> tf.data.Dataset:
        """Each clip once with its evenly spaced crops."""
        settings = replace(self.settings, batch=self.config.evaluate.batch)
        return datasets.evaluation(
            examples, self.config.features, settings, with_rows=with_rows, domain=self.config.domain
        )
