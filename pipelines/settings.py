"""Settings of data, features, crops and evaluation: frozen dataclasses that check themselves.

A unit stands in every field's comment, derived sizes are properties, and a value that cannot be is a
`ValueError` naming the key and the choices. Nothing but the standard library is imported, so a configuration
is read and refused before a framework is.
"""

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal

Kind = Literal["csv", "folders", "fat2019", "fsd50k", "esc50", "esc10", "fsdnoisy18k", "demo"]
Format = Literal["APD", "APX", "AAA", "AAP", "AHL"]
Stretch = Literal["resize", "mean", "hop"]
Encoding = Literal["pcm16", "flac", "vorbis"]

# fatk/config.py validates these with pydantic, which drops unknown keys of standard dataclasses in silence
# unless the class says otherwise.
_STRICT: dict[str, Any] = {"extra": "forbid", "strict": True}

_FOLDED = ("csv", "fat2019", "esc50", "esc10")

# The hop that the reference used at 44.1 kHz where it is not round(rate / bands), by (rate, bands).
_REFERENCE_HOPS = {(44100, 128): 347}


class Problems(list[str]):
    """Collects what is wrong with a group of settings, to raise it at once."""

    def least(self, name: str, value: float, low: float) -> None:
        """Note `value` when it is under `low`."""
        if not value >= low:
            self.append(f"`{name}` must be at least {low}. Received: {value}.")

    def between(self, name: str, value: float, low: float, high: float) -> None:
        """Note `value` when it is outside of low..high."""
        if not low <= value <= high:
            self.append(f"`{name}` must be from {low} to {high}. Received: {value}.")

    def raise_any(self) -> None:
        """Raise `ValueError` with one problem a line, if there is one."""
        if self:
            raise ValueError("\n".join(self))


@dataclass(frozen=True)
class DataSettings:
    """Where the sounds and their labels come from."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    kind: Kind = (
        "csv"  # layout of the set: a csv table, one folder a class, a published set, the embedded one
    )
    path: str = ""  # folder of the audio files (csv), of the classes (folders), of the set (all others)
    table: str = ""  # csv: the table, columns fname and labels; fold, valid, source, license as there are
    fold: int | None = None  # csv, fat2019 (of curated clips), esc50, esc10: the fold held out for validation
    relabel: str = ""  # an audit's table; labels.relabel says what is done by it
    records: str = ""  # folder of the TFRecord shards; empty: records/<name>
    # Their order and subset; empty: as in the tables. For csv another label is an error.
    classes: tuple[str, ...] = ()
    valid_per_class: int = 3  # clips a class in the seeded validation split, where no column gives one
    noisy: bool = True  # train on the mislabelled clips too, where the set has some
    strict: bool = False  # stop at the first file that cannot be read
    unreadable: float = 0.01  # share of files that may be unreadable before the command stops

    def __post_init__(self) -> None:
        """Raise `ValueError` where values cannot be, or not together."""
        problems = Problems()
        if self.kind == "csv" and not self.table:
            problems.append("`table` is needed where `kind` is 'csv': columns fname, labels.")
        if self.kind != "csv" and self.table:
            problems.append(f"`table` is for kind 'csv' only. Received: {self.table!r} with {self.kind!r}.")
        if self.kind not in _FOLDED and self.fold is not None:
            kinds = ", ".join(_FOLDED)
            problems.append(
                f"`fold` is for the kinds {kinds} only. Received: {self.fold} with {self.kind!r}."
            )
        if not self.path and self.kind != "demo":
            problems.append(f"`path` is needed where `kind` is {self.kind!r}: the folder of the audio.")
        if len(set(self.classes)) != len(self.classes):
            problems.append("`classes` names a class twice.")
        if not all(name.strip() for name in self.classes):
            problems.append("`classes` has a class without a name.")
        problems.least("valid_per_class", self.valid_per_class, 1)
        problems.between("unreadable", self.unreadable, 0, 1)
        problems.raise_any()


@dataclass(frozen=True)
class RecordSettings:
    """How sound lies in the shards."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    encoding: Encoding = "pcm16"  # flac: half of the disk or less, to the bit; vorbis: a tenth, with losses
    rate: int | None = None  # Hz of the shards, resampled whenever they are read; None: features.rate

    def __post_init__(self) -> None:
        """Raise `ValueError` where a value cannot be."""
        problems = Problems()
        if self.rate is not None:
            problems.between("rate", self.rate, 1000, 384000)
        problems.raise_any()

    def unfit(self, rate: int) -> str:
        """What keeps the encoding from shards of `rate` Hz, in words; nothing where it does not."""
        if self.encoding == "vorbis" and rate > 192000:
            return f"`records.encoding` = 'vorbis' takes at most 192000 Hz. Received: {rate}."
        if self.encoding == "flac" and rate > 65535 and rate % 10:
            return f"`records.encoding` = 'flac' takes rates over 65535 Hz in tens only. Received: {rate}."
        return ""


@dataclass(frozen=True)
class FeatureSettings:
    """From waveform to image, as REFERENCE section 1."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    rate: int = 44100  # Hz, of the shards and of the served model
    bands: int = 160  # mel bands
    seconds: float = 1.0  # D: what one image spans
    format: Format = "APD"  # the three channels
    # What a column shows where an image has fewer of them than frames (`pace` frames each, D where the image is
    # square): "resize" two frames, as the reference, "mean" the mean of all, "hop" one of so many times the hop.
    stretch: Stretch = "resize"
    width: int | None = None  # columns of an image; None: as many as bands, as the reference
    fmin: float = 20.0  # Hz, lowest edge of the filterbank
    fmax: float | None = None  # Hz, highest edge of the filterbank; None: half of the rate
    # Where training images are made: "device" sends the accelerator sound. Whole clips are the host's always.
    where: Literal["host", "device"] = "host"

    def __post_init__(self) -> None:
        """Raise `ValueError` where values cannot be, or not together."""
        problems = Problems()
        problems.between("rate", self.rate, 1000, 384000)
        problems.between("bands", self.bands, 16, 512)
        problems.between("seconds", self.seconds, 1, 60)
        if not problems:
            problems.between("width", self.columns, 16, int(self.bands * self.seconds))
        problems.between("fmax", self.highest, 1, self.rate / 2)
        problems.between("fmin", self.fmin, 0, max(self.highest - 1, 0))
        if self.format == "AHL" and self.stretch != "mean":
            problems.append(
                "`format` = 'AHL' tells the mean, the highest and the lowest of a column's frames: it needs "
                f"`stretch` = 'mean'. Received: {self.stretch!r}."
            )
        if not problems and self.n_fft >= 2 * self.rate:
            problems.append(
                f"`bands` must be under {self.rate // 10} at a rate of {self.rate} Hz, or a window of "
                f"20 samples a band is longer than reflection can pad. Received: {self.bands}."
            )
        problems.raise_any()

    @property
    def measured(self) -> dict[str, Any]:
        """What decides an image: every setting but where it is made."""
        return {name: value for name, value in asdict(self).items() if name != "where"}

    @property
    def highest(self) -> float:
        """Hz, the highest edge of the filterbank."""
        return self.rate / 2 if self.fmax is None else float(self.fmax)

    @property
    def n_fft(self) -> int:
        """Samples in a window."""
        return 20 * self.bands

    @property
    def hop(self) -> int:
        """Samples between frames of the image before the duration step."""
        base = _REFERENCE_HOPS.get((self.rate, self.bands), round(self.rate / self.bands))
        return round(base * self.pace) if self.stretch == "hop" else base

    @property
    def columns(self) -> int:
        """Width of what the network sees."""
        return self.bands if self.width is None else self.width

    @property
    def pace(self) -> Fraction:
        """Frames a column, of `bands` frames a second. A ratio of whole numbers: 2.2 is 11 / 5, which no float is.

        No denominator is over 1000: larger ones would overflow the 32 bits that pixels and frames are counted in.
        """
        ratio = Fraction(self.seconds).limit_denominator(1000) * self.bands / self.columns
        return ratio.limit_denominator(1000)

    @property
    def narrows(self) -> bool:
        """Whether the image has fewer columns than frames."""
        return self.stretch != "hop" and self.pace != 1

    @property
    def column_seconds(self) -> float:
        """Seconds from one column of an image to the next."""
        return self.hop * float(self.pace if self.narrows else 1) / self.rate

    @property
    def shortest(self) -> int:
        """Samples to which shorter clips are padded, half on each side."""
        return round(self.rate * (1 if self.narrows else self.seconds))

    def lead(self, seconds: float) -> float:
        """Seconds of a clip -> seconds of its image before it begins: half of what a short one is padded by."""
        return max(self.shortest / self.rate - seconds, 0.0) / 2

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, columns, channels) of what the network sees."""
        return (self.bands, self.columns, 3)


@dataclass(frozen=True)
class FeedSettings:
    """How records become batches."""

    batch: int = 128  # clips
    shuffle: int = 512  # clips in the shuffle buffer, on top of the permutation of shards
    crops: int = 10  # evenly spaced crops of a validation clip
    around: bool = False  # they go on at its beginning where it ends
    seed: int = 0  # of order, crops and augmentation


@dataclass(frozen=True)
class EvaluateSettings:
    """How clips are scored, in validation and by the served model."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    crops: int = 10  # evenly spaced crops of a clip, whose probabilities are averaged
    # Crops start all over a clip and go on at its beginning where it ends, as those of training where
    # `augment.shift_fill` is "around": so an image of a whole clip has several too.
    around: bool = False
    batch: int = 16  # clips; the network sees batch x crops images at once
    segment_seconds: float = 30.0  # long recordings are cut so, and each segment scaled by itself

    def __post_init__(self) -> None:
        """Raise `ValueError` where a value cannot be."""
        problems = Problems()
        problems.between("crops", self.crops, 1, 1000)
        problems.between("batch", self.batch, 1, 4096)
        problems.between("segment_seconds", self.segment_seconds, 1, 3600)
        problems.raise_any()
