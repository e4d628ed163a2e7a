"""What `fatk.show` tells of single clips: the gallery in every format, and background subtraction."""

import io
import random
import wave
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from fatk.audio import read_pcm
from fatk.config import Config
from fatk.prepare import Prepared
from fatk.show_page import Part, Section, Sound
from fatk.show_pictures import strips
from fatk.show_themes import Picture, render
from pipelines import domain, ops, records
from pipelines.domain_settings import DomainSettings
from pipelines.formats import CHANNELS, MEANINGS, possible
from pipelines.settings import FeatureSettings
from pipelines.sources import CURATED, NOISY, Clip

_HEARD = 5  # seconds of a clip that its player has at most
_CLEANED = 3  # clips whose background is subtracted
_WAYS = {
    "none": "as it is",
    "stationary": "without its stationary part",
    "global": "without what is under its mean",
}


def spread(clips: Iterable[Clip], count: int, seed: int) -> list[Clip]:
    """-> up to `count` clips, each drawn from those whose classes were drawn least so far."""
    left = sorted(dict.fromkeys(clips), key=lambda clip: clip.key)
    random.Random(f"show {seed}").shuffle(left)
    seen: Counter[str] = Counter()
    chosen: list[Clip] = []
    while left and len(chosen) < count:
        clip = min(
            left, key=lambda clip: sum(seen[label] for label in clip.labels) / max(len(clip.labels), 1)
        )
        left.remove(clip)
        seen.update(clip.labels)
        chosen.append(clip)
    return chosen


def half_noisy(clips: Sequence[Clip], count: int, seed: int) -> list[Clip]:
    """-> up to `count` clips, half of them noisy as far as there are such; curated ones first."""
    curated = [clip for clip in clips if clip.pool != NOISY]
    noisy = [clip for clip in clips if clip.pool == NOISY]
    # Which kind is short is known only once each clip is counted once.
    few = min(max(count // 2, count - len(set(curated))), len(set(noisy)))
    return spread(curated, count - few, seed) + spread(noisy, few, seed)


def wav(pcm: np.ndarray, rate: int) -> bytes:
    """(samples,) int16 -> a WAV file."""
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", "not compressed"))
        file.writeframes(pcm.astype("<i2").tobytes())
    return made.getvalue()


def names_of(labels: Sequence[str]) -> str:
    """Labels in words."""
    return ", ".join(labels) or "no label"


@dataclass
class Show:
    """A set on its way to pictures."""

    config: Config
    prepared: Prepared
    count: int  # clips in the gallery
    tell: Callable[[], None] = lambda: None  # called after each picture

    @cached_property
    def curated(self) -> list[Clip]:
        """Curated training clips, each once."""
        return [clip for clip in dict.fromkeys(self.prepared.split.train) if clip.pool == CURATED]

    @cached_property
    def noisy(self) -> list[Clip]:
        """Noisy training clips, each once."""
        return [clip for clip in dict.fromkeys(self.prepared.split.train) if clip.pool == NOISY]

    @cached_property
    def sounds(self) -> dict[Clip, np.ndarray]:
        """The clips of the gallery -> (samples,) int16."""
        clips = half_noisy(self.prepared.split.train, self.count, self.config.seed)
        return {clip: read_pcm(clip.path, self.config.features.rate) for clip in clips}

    @property
    def pictures(self) -> int:
        """How many there are to draw, but for the envelopes."""
        return 2 * len(self.sounds) + min(_CLEANED, len(self.sounds)) + (4 if self.curated else 3)

    def draw(self, name: str, alt: str, paint: Callable[[], Figure]) -> Picture:
        """One picture, for light and dark screens."""
        made = render(name, alt, paint)
        self.tell()
        return made


def pixels(pcm: np.ndarray, features: FeatureSettings, settings: DomainSettings) -> np.ndarray:
    """(samples,) int16 -> (bands, columns, 3) uint8: the whole clip, as training and serving make it."""
    audio = records.to_float(tf.constant(pcm))
    return np.asarray(domain.whole_image(ops, audio, features, settings).image)


def gallery(show: Show) -> Section:
    """Every clip in every format, its channels, and its sound."""
    return Section(
        "gallery",
        "Clips in every format",
        "First the images that the network takes its crops from, their three channels as red, green and blue; "
        "then the channels themselves. Each channel is scaled to 0..255 over its clip; black on the right "
        "fills up a clip that is shorter than what the network sees at a time. This config trains on "
        f"{show.config.features.format}.",
        tuple(_clip(show, number, clip) for number, clip in enumerate(show.sounds, 1)),
    )


def _clip(show: Show, number: int, clip: Clip) -> Part:
    """A clip of the gallery."""
    pcm, features = show.sounds[clip], show.config.features
    seconds = len(pcm) / features.rate
    images: dict[str, np.ndarray] = {}
    channels: dict[str, np.ndarray] = {}
    shown = possible(features)
    for own in shown:
        letters = CHANNELS[own.format]
        image = pixels(pcm, own, show.config.domain)
        meaning = "amplitude three times, so it is grey"
        if len(set(letters)) > 1:
            colours = zip(("red", "green", "blue"), letters, strict=True)
            meaning = ", ".join(f"{colour} {MEANINGS[letter]}" for colour, letter in colours)
        images[f"{own.format}: {meaning}"] = image
        for place, letter in enumerate(letters):
            channels.setdefault(MEANINGS[letter], image[..., place])
    labels = names_of(clip.labels)
    title = f"{clip.key}: {labels}"
    what = f"of {clip.key}, {seconds:.2f} s, labelled {labels}. Time in seconds, frequency in hertz."
    cut = f", of which the first {_HEARD} s are played" if seconds > _HEARD + 0.01 else ""
    return Part(
        title,
        f"{seconds:.2f} s{cut}. {clip.license}".rstrip(),
        Sound(f"Play {title}", wav(pcm[: _HEARD * features.rate], features.rate)),
        (
            show.draw(
                f"formats-{number}",
                f"Colour images in the formats {', '.join(own.format for own in shown)} {what}",
                partial(strips, images, features, seconds, title),
            ),
            show.draw(
                f"channels-{number}",
                f"The channels {', '.join(channels)} {what}",
                partial(strips, channels, features, seconds, title),
            ),
        ),
    )


def background(show: Show) -> Section:
    """Amplitudes before and after background subtraction."""
    features = replace(show.config.features, format="AAA")
    pictures = []
    for number, clip in enumerate(sorted(show.sounds, key=lambda clip: clip.pool != NOISY)[:_CLEANED], 1):
        pcm = show.sounds[clip]
        images = {}
        for way, name in _WAYS.items():
            settings = replace(show.config.domain, background=way)  # type: ignore[arg-type]
            image = pixels(pcm, features, settings)[..., 0]
            images[f"{name}; mean level {image.mean():.0f}"] = image
        title = f"{clip.key}: {names_of(clip.labels)}"
        alt = f"Amplitude of {title}. {'. '.join(images)}. Time in seconds, frequency in hertz."
        paint = partial(strips, images, features, len(pcm) / features.rate, title)
        pictures.append(show.draw(f"background-{number}", alt, paint))
    return Section(
        "background",
        "Background before and after subtraction",
        "Amplitudes, each scaled to 0..255 over its clip. The stationary part is the power that a band never "
        "leaves for long; the global way sets levels under the image's mean to 0. This config trains with "
        f"background = {show.config.domain.background!r}.",
        (Part(pictures=tuple(pictures)),),
    )
