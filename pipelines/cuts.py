"""A part of a clip's image, from no more of its sound than that part needs.

The reference makes the image of the whole clip and cuts a second out of it. Here the waveform is cut, with what
the transform's windows and delta's lines reach beyond the part, and scaled by the extremes of the whole clip,
which are known beforehand: pixel for pixel the same image, at a cost that does not grow with the clip. (Why a
frame's values do not depend on where the cut lies: `features.mel_maps`, on rounding.)

Pure functions of one clip over the namespace of operations, as in features.py; a batch is theirs by
`vectorized_map`. Counts of columns are numbers where shapes must be known, else () int32.
"""

from typing import Any, NamedTuple

from pipelines import domain, features, formats, narrowing
from pipelines.domain_settings import DomainSettings
from pipelines.settings import FeatureSettings

Ops = Any
Tensor = Any

_GROUP = 8  # the sound of a part has a multiple of so many frames, as `features.mel_maps` wants them


class Known(NamedTuple):
    """What must be known of a whole clip to make a part of its image."""

    low: Tensor  # (letters,) float32: of `formats.Scales`
    high: Tensor  # (letters,) float32
    steady: Tensor  # (bands,) float32: power, where the stationary background is subtracted; else (0,)
    means: Tensor  # (channels,) int32: where the global background is; else (0,)
    envelope: Tensor  # (bands,) float32: mean amplitude, where envelopes are transferred; else (0,)


class Spots(NamedTuple):
    """Where a part's pixels come from, among the frames that its sound gives: whole numbers alone.

    They are found on the host, whose whole numbers have 64 bits where they need them. Frames are numbered
    from the first one of the sound.
    """

    phase: Tensor  # (frames,) int32: the frame whose phase each frame has
    slope: Tensor  # (frames,) int32: the slope, of those that `features.slopes` gives, that each frame has
    shown: Tensor  # (columns, taps) int32: the frames that a column is made of; -1: none, that is 0
    weights: Tensor  # (columns, taps) int32: theirs, where images are narrowed; else (0, taps)
    width: Tensor  # () int32: columns of the whole image
    own: Tensor  # () int32: columns of it that are the clip's own
    start: Tensor  # () int32: the column that is the part's first


def know(
    ops: Ops, audio: Tensor, settings: FeatureSettings, background: DomainSettings, envelope: bool = False
) -> Known:
    """(samples,) in -1..1, a whole clip -> what `part` must know of it. `envelope`: that too."""
    nothing = ops.zeros_like(audio[:0])
    steady: list[Tensor] = []

    def clean(power: Tensor) -> Tensor:
        steady.append(domain.steady_power(ops, power, settings))
        return domain.subtract_steady(ops, power, steady[0])

    stationary = background.background == "stationary"
    padded = features.pad_short(ops, audio, settings)
    made = formats.maps(ops, padded, settings, clean if stationary else None)
    found = formats.scales(ops, made)
    means, mean = ops.cast(nothing, "int32"), nothing
    if envelope or background.background == "global":
        letters = formats.channels(settings)
        picture = formats.painted(ops, made, settings)
        if background.background == "global":
            means = domain.global_means(ops, picture.image)
            picture = picture._replace(image=domain.clear_under(ops, picture.image, means, letters))
        mean = domain.moments(ops, picture, letters)[0] if envelope else nothing
    return Known(*found, steady[0][0] if stationary else nothing, means, mean)


def padded_samples(ops: Ops, samples: Tensor, settings: FeatureSettings) -> Tensor:
    """Samples of a clip -> the same where it is padded to the shortest."""
    return features.at_least(ops, samples, settings.shortest)


def _widths(ops: Ops, samples: Tensor, settings: FeatureSettings) -> tuple[Tensor, Tensor, Tensor]:
    """Samples of a padded clip -> its frames, columns of its image, frames that these are made of."""
    frames = 1 + samples // settings.hop
    if not settings.narrows:
        return frames, frames, frames
    return frames, *narrowing.widths(ops, frames, settings)


def columns_of(ops: Ops, samples: Tensor, settings: FeatureSettings) -> Tensor:
    """Samples of a clip -> columns of its whole image."""
    return _widths(ops, padded_samples(ops, samples, settings), settings)[1]


def frames_for(columns: Tensor, settings: FeatureSettings) -> Tensor:
    """Columns of a part -> frames of sound that it is made of, wherever it lies; some more than it needs."""
    reach = 2 * features.REACH
    if not settings.narrows:
        frames = columns + reach
    else:  # a column more: rounded down, a resized image's columns lie somewhat further apart than D frames
        pace = settings.pace
        frames = (columns + 1) * pace.numerator // pace.denominator + 3 + reach
    return -(-frames // _GROUP) * _GROUP


def first_frame(
    ops: Ops, samples: Tensor, start: Tensor, columns: Tensor, settings: FeatureSettings
) -> Tensor:
    """-> () int32: the frame of a clip of so many samples, padded, with which the sound of a part begins."""
    frames, width, wide = _widths(ops, samples, settings)
    column = ops.minimum(ops.maximum(start, 0), width - 1)
    if settings.narrows:
        column = narrowing.sources(ops, ops.reshape(column, (1,)), width, wide, settings)[0][0, 0]
    last = frames - frames_for(columns, settings)
    return ops.maximum(ops.minimum(column - features.REACH, last), 0)


def samples_for(columns: Tensor, settings: FeatureSettings) -> Tensor:
    """Columns of a part -> samples of its sound: from `first_frame` times the hop of the reflected clip on."""
    return (frames_for(columns, settings) - 1) * settings.hop + settings.n_fft


def spots(ops: Ops, samples: Tensor, start: Tensor, columns: Tensor, settings: FeatureSettings) -> Spots:
    """Samples of a padded clip -> where the columns from `start` on come from.

    Whatever lies outside of the clip's image is 0, zeros that are not its own.
    """
    frames, width, wide = _widths(ops, samples, settings)
    first = first_frame(ops, samples, start, columns, settings)
    count = frames_for(columns, settings)
    numbers = first + ops.arange(count)
    wanted = start + ops.arange(columns)
    inside = (wanted >= 0) & (wanted < width)
    places = ops.minimum(ops.maximum(wanted, 0), width - 1)

    def within(frame: Tensor, last: Tensor) -> Tensor:
        """(n,) frames of the clip -> the nearest that are at hand."""
        return ops.minimum(ops.maximum(frame - first, 0), last)

    def shown(frame: Tensor) -> Tensor:
        """(columns, taps) frames of the clip -> those at hand; -1 past its end and outside of its image."""
        return ops.where(inside[:, None] & (frame < frames), within(frame, count - 1), -1)

    own, sources = frames, places[:, None]
    weights = sources[:0]
    if settings.narrows:
        sources, weights = narrowing.sources(ops, places, width, wide, settings)
        own = ops.minimum(narrowing.own_columns(frames, settings), width)
    sloped = features.sloped(ops, numbers, frames) - features.REACH
    return Spots(
        within(features.settled(ops, numbers, samples, settings.hop), count - 1),
        within(sloped, count - 1 - 2 * features.REACH),
        shown(sources),
        weights,
        width,
        own,
        start,
    )


def part(
    ops: Ops,
    sound: Tensor,
    samples: Tensor,
    start: Tensor,
    columns: Tensor,
    known: Known,
    settings: FeatureSettings,
    background: DomainSettings,
) -> formats.Picture:
    """(samples_for(columns),) of the reflected clip -> the picture of `columns` columns from `start` on.

    `samples` of the padded clip.
    """
    return painted(ops, sound, spots(ops, samples, start, columns, settings), known, settings, background)


def painted(
    ops: Ops,
    sound: Tensor,
    found: Spots,
    known: Known,
    settings: FeatureSettings,
    background: DomainSettings,
) -> formats.Picture:
    """(samples,) float32 of a part and where its columns come from -> its picture."""
    made = _maps(ops, sound, found, known, settings, background)
    scales = formats.Scales(known.low, known.high)
    # (frames at hand, bands, channels)
    image = formats.turned(ops, formats.stacked(ops, made, scales, settings), (1, 2, 0))

    def at(frame: Tensor) -> Tensor:
        """(columns,) frames at hand -> (columns, bands, channels): theirs, 0 where there is none."""
        pixels = ops.take(image, ops.maximum(frame, 0), axis=0)
        return ops.where(ops.reshape(frame >= 0, (-1, 1, 1)), pixels, ops.zeros_like(pixels))

    if settings.narrows:
        pixels = [at(found.shown[:, tap]) for tap in range(narrowing.taps(settings))]
        columns = narrowing.mixed(
            ops, pixels, found.weights, narrowing.total(found.width, settings), settings
        )
    else:
        columns = at(found.shown[:, 0])
    image = ops.transpose(columns, (1, 0, 2))
    if background.background == "global":
        image = domain.clear_under(ops, image, known.means, formats.channels(settings))
    envelope = known.envelope if known.envelope.shape[-1] != 0 else None
    return formats.Picture(image, formats.delta_zero(ops, scales, settings), found.own, found.start, envelope)


def _maps(
    ops: Ops,
    sound: Tensor,
    found: Spots,
    known: Known,
    settings: FeatureSettings,
    background: DomainSettings,
) -> dict[str, Tensor]:
    """-> {letter: (frames at hand, bands)} within the clip's extremes, as `formats.maps` of the whole clip."""
    letters = formats.letters(settings)
    power, phase = features.mel_maps(ops, sound, settings, bool({*letters} & {"P", "X"}))
    if background.background == "stationary":
        power = domain.subtract_steady(ops, power, known.steady[None])
    level = features.decibels(ops, power, known.high[0])  # the first letter is A in every format
    made = {"A": level}
    if phase is not None:
        made["P"] = ops.take(phase, found.phase, axis=0)
    if "D" in letters:
        made["D"] = ops.take(features.slopes(ops, level), found.slope, axis=0)
    if "X" in letters:
        made["X"] = level * made["P"]
    # Frames past the clip's end, and an accelerator's rounding, may go over its extremes.
    return {
        letter: ops.minimum(ops.maximum(made[letter], known.low[number]), known.high[number])
        for number, letter in enumerate(letters)
    }
