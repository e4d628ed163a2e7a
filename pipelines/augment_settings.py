"""Settings of augmentation: a frozen dataclass that checks itself, on the standard library alone."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from pipelines.settings import _STRICT, Problems

Range = tuple[float, float]  # lowest and highest, drawn from evenly unless the comment says otherwise
Fill = Literal["around", "zeros"]
MixedLabels = Literal["or", "share"]

# The effects on the waveform, each by the name of the key that holds its chance.
EFFECTS = ("speed", "pitch", "shift", "background", "reverb", "filter", "noise", "gain")


@dataclass(frozen=True)
class AugmentSettings:
    """What happens to a training clip on its way to the batch.

    By default what the reference did to its images. Keys of the waveform hold the chance by which a clip is
    changed, drawn for each effect by itself; 0 is off, and costs nothing.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    # The reference's, all by its level.
    level: int = 1  # 0 the mildest to 3
    early: bool = True  # crops may start before the clip: by a 40th, 20th, 10th, 10th of their width
    band_shift: bool = True  # moves up by up to a 40th, 10th, 3rd, 3rd of the bands
    warp: bool = True  # shift, scale and rotation in three images of four; none at level 0
    brightness: bool = True  # brightness and contrast in half of the images
    cutout: bool = True  # holes of zeros, eight at most, in half of the images

    # Crops of random size, which are then resized to what the network sees.
    crop_columns: Range = (1.0, 1.0)  # times the columns that the network sees; over 1 shows more of the clip
    crop_bands: Range = (1.0, 1.0)  # share of the bands

    # SpecAugment (arXiv:1904.08779) without its time warp, which gains least there.
    time_masks: int = 0  # stripes of zeros an image
    time_mask: float = 0.15  # share of the columns, the widest
    band_masks: int = 0  # stripes of zeros an image
    band_mask: float = 0.15  # share of the bands, the widest

    # Mixing in the waveform: another training clip is added, with its labels.
    mix: float = 0.0  # chance
    # "or": at `mix_gain`, a target is the larger of both, which is OR for hard labels; "share": between-class
    # learning (arXiv:1711.10282), from 0 to 1 of either clip as it is heard, targets in the same shares
    mix_labels: MixedLabels = "or"
    mix_gain: Range = (
        -6.0,
        6.0,
    )  # dB of the added clip over the other, by the loudest tenth of a second of each

    # Effects on the waveform, in this order: from the source over the room to the recorder.
    speed: float = 0.0  # chance of another speed, which changes pitch and duration alike
    speed_range: Range = (0.9, 1.1)  # times the speed; drawn evenly in its logarithm
    pitch: float = 0.0  # chance of another pitch at the same duration
    pitch_range: Range = (-2.0, 2.0)  # semitones
    shift: float = 0.0  # chance of a shift in time
    shift_seconds: float = 1.0  # s, the furthest either way
    shift_fill: Fill = "around"  # what enters: the other end of the clip, or zeros
    background: float = 0.0  # chance of another training clip behind this one, without its labels
    background_snr: Range = (6.0, 30.0)  # dB, power of the clip over that of the background
    reverb: float = 0.0  # chance of a made room: a decaying noise as its response
    reverb_seconds: Range = (0.1, 0.8)  # s until the room has decayed by 60 dB
    reverb_ratio: Range = (0.0, 15.0)  # dB, energy of the direct sound over that of the room
    filter: float = 0.0  # chance of another frequency response
    filter_low: Range = (20.0, 300.0)  # Hz, corner under which it falls; drawn evenly in its logarithm
    filter_high: Range = (4000.0, 20000.0)  # Hz, corner over which it falls; drawn evenly in its logarithm
    filter_gain: float = 6.0  # dB up or down at most in between, a smooth curve
    noise: float = 0.0  # chance of white noise
    noise_snr: Range = (10.0, 40.0)  # dB, power of the clip over that of the noise
    # Images are scaled to each clip's own range: a gain is seen only where it drives the clip over full
    # scale, where it is cut off as by a recorder, or under the floor of the decibels.
    gain: float = 0.0  # chance
    gain_range: Range = (-6.0, 6.0)  # dB

    def __post_init__(self) -> None:
        """Raise `ValueError` where a value cannot be."""
        problems = Problems()
        problems.between("level", self.level, 0, 3)
        for name in ("mix", *EFFECTS, "time_mask", "band_mask"):
            problems.between(name, getattr(self, name), 0, 1)
        for name in ("time_masks", "band_masks"):
            problems.between(name, getattr(self, name), 0, 20)
        for name, low, high in (
            ("crop_columns", 0.1, 4),
            ("crop_bands", 0.1, 1),
            ("mix_gain", -60, 60),
            ("speed_range", 0.5, 2),
            ("pitch_range", -12, 12),
            ("background_snr", -20, 100),
            ("reverb_seconds", 0.01, 5),
            ("reverb_ratio", -20, 60),
            ("filter_low", 1, 200000),
            ("filter_high", 1, 200000),
            ("noise_snr", -20, 100),
            ("gain_range", -60, 60),
        ):
            first, last = getattr(self, name)
            if not low <= first <= last <= high:
                problems.append(
                    f"`{name}` must be two numbers from {low} to {high}, the lower one first. "
                    f"Received: {[first, last]}."
                )
        problems.between("shift_seconds", self.shift_seconds, 0, 60)
        problems.between("filter_gain", self.filter_gain, 0, 40)
        for name, choices in (("mix_labels", MixedLabels), ("shift_fill", Fill)):
            if getattr(self, name) not in get_args(choices):
                problems.append(
                    f"`{name}` must be one of {', '.join(get_args(choices))}. "
                    f"Received: {getattr(self, name)!r}."
                )
        problems.raise_any()

    @property
    def sizes_crops(self) -> bool:
        """Whether crops are of a random size."""
        return self.crop_columns != (1, 1) or self.crop_bands != (1, 1)

    @property
    def always_changes_sound(self) -> bool:
        """Whether no clip's waveform stays the recording's."""
        return max(self.mix, *(getattr(self, name) for name in EFFECTS)) >= 1

    @property
    def changes_sound(self) -> bool:
        """Whether the waveform may be another one than the recording's."""
        return self.mix > 0 or self.has_effects

    @property
    def keeps_on_host(self) -> tuple[str, ...]:
        """Keys whose values an accelerator that makes the images cannot heed.

        It cuts sound as it was recorded, for a changed one has other extremes, in one size, for shapes are known.
        """
        sizes = [name for name in ("crop_columns", "crop_bands") if getattr(self, name) != (1, 1)]
        return (*sizes, *(name for name in ("mix", *EFFECTS) if getattr(self, name) > 0))

    @property
    def has_effects(self) -> bool:
        """Whether any effect on the waveform is on."""
        return any(getattr(self, name) > 0 for name in EFFECTS)
