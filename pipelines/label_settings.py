"""Settings of splits, selection and labels: what is trained on, what validates, and what is wanted of it."""

from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar, Literal

from pipelines.settings import _STRICT, Problems

# FSDKaggle2019's classes whose noisy clips do more harm than good; the other 68 are usable.
DOUBTFUL = (
    "Bus",
    "Run",
    "Male_speech_and_man_speaking",
    "Cricket",
    "Race_car_and_auto_racing",
    "Printer",
    "Church_bell",
    "Crowd",
    "Gong",
    "Mechanical_fan",
    "Traffic_noise_and_roadway_noise",
    "Waves_and_surf",
)


@dataclass(frozen=True)
class SplitSettings:
    """Which clips train and which validate."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    # "auto": the table's fold or valid column, else "balanced"; "balanced": data.valid_per_class clips a
    # class; "kfold": every clip validates once in `count` runs
    kind: Literal["auto", "balanced", "kfold"] = "auto"
    count: int = 1  # disjoint balanced splits that are drawn, or folds
    number: int = 0  # which of them validates, from 0
    # noisy clips that take part, where data.noisy is set; "full" holds `noisy_share` of all out, "single" and
    # "best50s" a few of each class, and what they hold out is not trained on; mixing.partners = "single" draws
    # from the whole pool all the same
    noisy: Literal["all", "full", "single", "best50s"] = "all"
    noisy_share: float = 0.2  # of the noisy clips, held out by "full"
    train: Literal["both", "curated", "noisy"] = "both"  # pools that are trained on
    validate: Literal["curated", "noisy"] = "curated"  # pool that validates

    def __post_init__(self) -> None:
        """Raise `ValueError` where values cannot be, or not together."""
        problems = Problems()
        problems.between("count", self.count, 2 if self.kind == "kfold" else 1, 1000)
        if not problems:
            problems.between("number", self.number, 0, self.count - 1)
        problems.between("noisy_share", self.noisy_share, 0.001, 0.999)
        if self.validate == "noisy" and self.noisy == "all":
            problems.append(
                "`noisy` must be one of full, single, best50s where `validate` is 'noisy': 'all' holds "
                "nothing out. Received: 'all'."
            )
        problems.raise_any()


@dataclass(frozen=True)
class SelectSettings:
    """Which of the training clips are trained on, and how often each is."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    flagged: bool = False  # keep the clips that the set's organisers flagged as wrong
    # "all" noisy training clips; the "usable" ones, whose classes are all on the OK list; or only so many of
    # those as "fill" each class up to `fill_to`
    noisy: Literal["all", "usable", "fill"] = "all"
    fill_to: int = 0  # clips a class; 0: as many as the largest curated class has
    ok: tuple[str, ...] = ()  # classes whose noisy clips are usable; empty: all but those of `ng`
    ng: tuple[str, ...] = DOUBTFUL  # classes whose noisy clips are not
    flatten: bool = False  # a clip of k labels trains as k clips of one label each
    resample: int = (
        0  # clips a class in an epoch, repeated where short; 0: as they are, -1: as the largest has
    )

    def __post_init__(self) -> None:
        """Raise `ValueError` where values cannot be, or not together."""
        problems = Problems()
        problems.least("fill_to", self.fill_to, 0)
        problems.least("resample", self.resample, -1)
        both = sorted(set(self.ok) & set(self.ng))
        if both:
            problems.append(f"`ok` must name no class that `ng` names. Received: {', '.join(both)}.")
        problems.raise_any()


@dataclass(frozen=True)
class LabelSettings:
    """What is wanted of the network for a clip."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    soft: bool = False  # targets softened by which classes go together in the curated training clips
    temperature: float = 1.0  # T of C^(1/T): above 1 flattens, below 1 sharpens
    soft_noisy: bool = True  # noisy clips get soft targets too, where `soft` is set
    relabel: Literal["drop", "apply"] = "drop"  # what an audit's table does to the clips that it suspects
    relabel_score: float | None = None  # suspicion from which on; None: by `relabel_share`
    relabel_share: float = 0.1  # of the table's clips, the most suspicious ones

    def __post_init__(self) -> None:
        """Raise `ValueError` where values cannot be."""
        problems = Problems()
        problems.between("temperature", self.temperature, 0.01, 100)
        if self.relabel_score is not None and not isfinite(self.relabel_score):
            problems.append(f"`relabel_score` must be a finite number. Received: {self.relabel_score}.")
        problems.between("relabel_share", self.relabel_share, 0, 1)
        problems.raise_any()
