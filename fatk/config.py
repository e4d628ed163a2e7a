"""One TOML file, and overrides, to checked settings; every problem is reported at once.

Only pydantic and the standard library are imported, and pydantic not before there is something to check: help
is there within 0.3 seconds, and a wrong file is refused within half a second.
"""

import json
import math
import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_type_hints

from fatk import mistakes
from fatk.log_settings import LogSettings
from models.settings import LossSettings, MixingSettings, NetworkSettings, StageSettings, TrainSettings
from pipelines.augment_settings import AugmentSettings
from pipelines.domain_settings import DomainSettings
from pipelines.label_settings import LabelSettings, SelectSettings, SplitSettings
from pipelines.settings import (
    DataSettings,
    EvaluateSettings,
    FeatureSettings,
    RecordSettings,
)

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_STRICT: dict[str, Any] = {"extra": "forbid", "strict": True}
_SHARED = "../../../shared"  # how shipped configs name the folder of shared recordings; see FATK_SHARED
_PATHS = (("data", "path"), ("data", "table"), ("data", "records"), ("data", "relabel"), ("train", "init"))
# Keys that runs of earlier versions have in their config: they changed no result, and are passed over.
_RETIRED = (("train", "background"),)


class ConfigError(ValueError):
    """Everything that is wrong with a configuration, a problem a line."""


@dataclass(frozen=True)
class Config:
    """A whole experiment."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    name: str = ""  # of the run's folder; empty: the config file's name
    seed: int = 2019
    data: DataSettings = field(default_factory=lambda: DataSettings(kind="demo"))
    records: RecordSettings = field(default_factory=RecordSettings)
    split: SplitSettings = field(default_factory=SplitSettings)
    select: SelectSettings = field(default_factory=SelectSettings)
    labels: LabelSettings = field(default_factory=LabelSettings)
    domain: DomainSettings = field(default_factory=DomainSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    mixing: MixingSettings = field(default_factory=MixingSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    stage: tuple[StageSettings, ...] = (StageSettings(),)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)
    log: LogSettings = field(default_factory=LogSettings)

    def __post_init__(self) -> None:
        """Raise `ValueError` where a value cannot be, or not together with another."""
        wrong = []
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            wrong.append(f"`name` must be letters, digits, dots, hyphens. Received: {self.name!r}.")
        if not 0 <= self.seed < 2**31:
            wrong.append(f"`seed` must be from 0 to 2147483647. Received: {self.seed}.")
        if self.data.fold is not None and self.split.kind != "auto":
            wrong.append(
                "`split.kind` must be auto where `data.fold` says which fold validates. "
                f"Received: {self.split.kind!r}."
            )
        if not self.stage:
            wrong.append("`stage` must be given at least once, as a table [[stage]] with epochs and rate.")
        if self.evaluate.segment_seconds < self.features.seconds:
            wrong.append(
                "`evaluate.segment_seconds` must be at least `features.seconds`, "
                f"{self.features.seconds:g}. Received: {self.evaluate.segment_seconds:g}."
            )
        if self.features.where == "device" and self.augment.keeps_on_host:
            keys = ", ".join(f"augment.{name}" for name in self.augment.keeps_on_host)
            wrong.append(
                f"`features.where` must be host with {keys}: on the device there are only crops of one size, of "
                "sound as it was recorded. Received: 'device'."
            )
        mixing = self.mixing
        if mixing.kind in ("noisy", "mixmatch") and mixing.partners == "single" and not self.data.noisy:
            wrong.append(
                "`data.noisy` must be true with `mixing.partners` = 'single', which draws from the noisy clips. "
                "Received: false."
            )
        guessed = mixing.kind == "mixmatch" and mixing.partners == "noisy" and not mixing.prior
        if self.network.noisy_head and guessed:
            wrong.append(
                "`network.noisy_head` must be false with `mixing.kind` = 'mixmatch', which uses no noisy label, "
                "unless `mixing.prior` is above 0 or `mixing.partners` is single. Received: true."
            )
        problem = self.records.unfit(self.records_rate)
        if problem:
            wrong.append(problem)
        if wrong:
            raise ValueError("\n".join(wrong))

    @property
    def records_rate(self) -> int:
        """Hz of the shards."""
        return self.records.rate or self.features.rate


def _sections() -> dict[str, Any]:
    """Section name -> the dataclass of its keys; of its elements for `stage`."""
    hints = get_type_hints(Config)
    return {
        f.name: StageSettings if f.name == "stage" else hints[f.name]
        for f in fields(Config)
        if f.name == "stage" or is_dataclass(hints[f.name])
    }


def _keys() -> mistakes.Keys:
    """Every key that there is."""
    sections = _sections()
    return {
        f.name: tuple(own.name for own in fields(sections[f.name])) if f.name in sections else ()
        for f in fields(Config)
    }


def parse_override(text: str) -> tuple[list[str], Any]:
    """'mixing.alpha=0.4' -> (['mixing', 'alpha'], 0.4). The value is TOML, or a bare string."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not re.fullmatch(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*", key):
        raise ConfigError(f"an override is `key=value`, as in mixing.alpha=0.4. Received: {text!r}.")
    try:
        return key.split("."), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.split("."), value.strip()


def _apply(tree: dict[str, Any], path: list[str], value: Any) -> None:
    """Set one value in nested tables and lists. Raises `ConfigError` where the path leads nowhere."""
    dotted = ".".join(path)
    here: Any = tree
    for step, after in zip(path, [*path[1:], None], strict=True):
        if isinstance(here, list):
            if not step.isdigit() or int(step) >= len(here):
                hint = f", as in `stage.0.{path[-1]}`" if path[0] == "stage" else ""
                raise ConfigError(f"`{dotted}`: {step!r} must be a number from 0 to {len(here) - 1}{hint}.")
            index: Any = int(step)
        elif isinstance(here, dict):
            index = step
        else:
            raise ConfigError(f"`{dotted}` is no key.{mistakes.suggest(dotted, _keys())}")
        if after is None:
            here[index] = value
        else:
            if isinstance(here, dict):
                here.setdefault(index, [{}] if index == "stage" else {})
            here = here[index]


def _resolve(text: str, base: Path) -> str:
    """A path of a config -> an absolute one; a leading `../../../shared` gives way to $FATK_SHARED."""
    shared = os.environ.get("FATK_SHARED")
    if shared and (text == _SHARED or text.startswith(_SHARED + "/")):
        return os.path.abspath(shared + text[len(_SHARED) :])
    return os.path.abspath(base / Path(text).expanduser())


def shared_hint(path: str) -> str:
    """What to add where a folder that a shipped config names is not there; nothing for other folders."""
    beside = os.path.abspath(Path(__file__).parent / "configs" / _SHARED)
    if os.path.exists(path) or not path.startswith(beside + os.sep):
        return ""
    return " FATK_SHARED names the folder of shared recordings where it is not beside the checkout."


def _resolve_paths(tree: dict[str, Any], base: Path) -> None:
    for section, key in _PATHS:
        table = tree.get(section)
        if isinstance(table, dict) and isinstance(table.get(key), str) and table[key]:
            table[key] = _resolve(table[key], base)


@cache
def _checker() -> "TypeAdapter[Config]":
    """What checks a whole experiment; making it takes a tenth of a second."""
    from pydantic import TypeAdapter

    return TypeAdapter(Config)


def from_tree(tree: dict[str, Any]) -> Config:
    """Nested tables -> settings. Raises `ConfigError` with every problem, a line each."""
    from pydantic import ValidationError

    problems = mistakes.unknown(tree, _keys())
    while True:
        try:
            # Through JSON: strictly checked Python input would have to be instances and tuples already.
            config = _checker().validate_json(json.dumps(tree, default=str))
            break
        except ValidationError as error:
            problems += mistakes.refused(error)
            places = [found["loc"] for found in error.errors()]
            if () in places or not places:
                break
            # A value of the wrong type keeps its section from checking the others: look again without it.
            tree = mistakes.without(tree, places)
    if problems:
        raise ConfigError("\n".join(problems))
    return config


def read_toml(path: Path) -> dict[str, Any]:
    """A file -> its tables. Raises `ConfigError` for one that is not TOML, `FileNotFoundError` for none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}).") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}.") from None


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """A file and `key=value` overrides -> settings. Raises `ConfigError` naming the file, and every problem.

    Relative paths of the file are relative to it, those of overrides to the working directory.
    """
    path = Path(path)
    try:
        tree = read_toml(path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config.{_shipped()}") from None
    for section, key in _RETIRED:
        if isinstance(tree.get(section), dict):
            tree[section].pop(key, None)
    _resolve_paths(tree, path.parent)
    tree.setdefault("name", path.stem)
    problems = []
    for text in overrides:
        try:
            steps, value = parse_override(text)
            if tuple(steps) in _PATHS and isinstance(value, str) and value:
                value = _resolve(value, Path())
            _apply(tree, steps, value)
        except ConfigError as error:
            problems += str(error).splitlines()
    try:
        config = from_tree(tree)
    except ConfigError as error:
        problems += str(error).splitlines()
    if problems:
        raise ConfigError("\n".join(f"{path}: {line}" for line in dict.fromkeys(problems)))
    return config


def _shipped() -> str:
    """The configs that come with fatk, for an error message."""
    names = sorted(path.name for path in (Path(__file__).parent / "configs").glob("*.toml"))
    return f" fatk/configs has: {', '.join(names)}."


def _toml(value: Any) -> str:
    """A value in TOML. JSON's strings, finite numbers and true/false are TOML's too."""
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(entry) for entry in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)  # inf, where JSON would say Infinity
    return json.dumps(value, ensure_ascii=False)


def to_toml(config: Config) -> str:
    """Settings -> TOML that `load_config` reads back to equal ones. What is None is left out."""
    sections = _sections()
    lines = [f"{f.name} = {_toml(getattr(config, f.name))}" for f in fields(Config) if f.name not in sections]
    for name, kind in sections.items():
        tables = getattr(config, name) if name == "stage" else (getattr(config, name),)
        for table in tables:
            lines += ["", f"[[{name}]]" if name == "stage" else f"[{name}]"]
            values = {f.name: getattr(table, f.name) for f in fields(kind)}
            lines += [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]
    return "\n".join(lines) + "\n"
