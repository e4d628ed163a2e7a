"""Where the service draws a sound and says that its windows are, against the images and windows of the model."""

import asyncio
import base64
import io
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fatk.config import Config, load_config, to_toml
from fatk.serve.axes import Axes, window_seconds
from fatk.serve.engine import Engine
from fatk.serve.refusal import Refusal
from fatk.serve.service import Service
from fatk.serve.settings import ServeSettings
from fatk.serving import ServedTagger
from fatk.tagger import SavedTagger
from pipelines import formats, ops
from pipelines.settings import EvaluateSettings, FeatureSettings
from tests.hostile import encoded

ROOT = Path(__file__).resolve().parents[1]
RATE = 16000  # Hz
LOOK = FeatureSettings(rate=RATE, bands=64, format="AAA")
CLASSES = ("Noise", "Silence")


class Loudness:
    """Stands in for a network: near 1 for an image in which anything sounds, near 0 for an empty one."""

    weights: tuple = ()

    def __call__(self, images: tf.Tensor, training: bool) -> tf.Tensor:
        sounds = 40 * tf.reduce_max(images, axis=(1, 2, 3)) - 20
        return tf.stack([sounds, -sounds], axis=1)


def noise(seconds: float, first: float = 0.0, last: float | None = None) -> np.ndarray:
    """-> (samples,): noise from `first` to `last`, else silence."""
    made = np.random.default_rng(0).uniform(-0.9, 0.9, round(seconds * RATE)).astype(np.float32)
    made[: round(first * RATE)] = 0
    made[round((seconds if last is None else last) * RATE) :] = 0
    return made


def sounding(image: np.ndarray, extent: tuple[float, float]) -> tuple[float, float]:
    """(bands, columns) over an extent in seconds -> where the columns in which anything sounds begin and end."""
    edges = np.linspace(*extent, image.shape[1] + 1)
    lit = np.flatnonzero(image.max(axis=0) > 0)
    return float(edges[lit[0]]), float(edges[lit[-1] + 1])


def told(folder: Path, *looks: FeatureSettings) -> Path:
    """A SavedModel's folder with the settings of its members -> itself."""
    (folder / "assets").mkdir(parents=True)
    for number, look in enumerate(looks, 1):
        name = "config.toml" if len(looks) == 1 else f"config_{number}.toml"
        text = to_toml(Config(name="small", features=look, evaluate=EvaluateSettings(segment_seconds=60.0)))
        (folder / "assets" / name).write_text(text)
    return folder


# ---- columns


@pytest.mark.parametrize("length", [0.4, 1.0, 3.0, 12.0])
@pytest.mark.parametrize("stretch", ["resize", "mean", "hop"])
@pytest.mark.parametrize("seconds", [1.0, 4.0, 5.0, 12.0, 20.0])
def test_a_clip_is_drawn_where_it_sounds(tmp_path: Path, seconds: float, stretch: Any, length: float) -> None:
    look = replace(LOOK, seconds=seconds, stretch=stretch)
    axes = Axes.of(told(tmp_path, look))
    assert axes
    # A column's own width, and half of the window over which its frames look.
    near = look.column_seconds + look.n_fft / 2 / RATE
    for first, last in ((0.0, length), (0.25 * length, 0.75 * length)):
        clip = tf.constant(noise(length, first, last))
        image = formats.whole_image(ops, clip, look).numpy()[..., 0]
        found = sounding(image, axes.extent(image.shape[1], length))
        assert found == pytest.approx((first, last), abs=near)


def test_a_short_clip_of_seconds_is_padded_to_one_second_only(tmp_path: Path) -> None:
    axes = Axes.of(told(tmp_path, replace(LOOK, seconds=5.0, stretch="mean")))
    assert axes
    assert axes.extent(64, 1.0) == pytest.approx((0.0, 5.0))
    assert axes.extent(64, 0.4) == pytest.approx((-0.3, 4.7))
    assert str(axes.extent(64, 3.0)[0]) == "0.0"


@pytest.mark.parametrize(("seconds", "columns"), [(1.0, 64), (2.0, 128), (4.0, 96), (2.2, 64)])
def test_images_of_other_widths(tmp_path: Path, seconds: float, columns: int) -> None:
    look = replace(LOOK, seconds=seconds, width=columns, stretch="mean")
    axes = Axes.of(told(tmp_path, look))
    assert axes
    image = formats.whole_image(ops, tf.constant(noise(3.0)), look).numpy()[..., 0]
    near = look.column_seconds + look.n_fft / 2 / RATE
    assert sounding(image, axes.extent(image.shape[1], 3.0)) == pytest.approx((0, 3), abs=near)


# ---- bands


@pytest.mark.parametrize("look", [LOOK, replace(LOOK, bands=40, fmin=300.0, fmax=6000.0)])
def test_a_tone_lights_the_band_of_its_hertz(tmp_path: Path, look: FeatureSettings) -> None:
    axes = Axes.of(told(tmp_path, look))
    assert axes
    assert len(axes.hertz) >= 4
    assert sorted(axes.hertz, key=lambda one: one[1]) == list(axes.hertz)
    time = np.arange(RATE) / RATE
    for hertz, band in axes.hertz:
        tone = (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)
        image = formats.whole_image(ops, tf.constant(tone), look).numpy()[..., 0]
        assert int(np.median(image, axis=1).argmax()) == pytest.approx(band, abs=1.0)


# ---- windows


@pytest.mark.parametrize(
    ("seconds", "segment"),
    [(1.0, 1.0), (1.0, 30.0), (4.0, 5.0), (5.0, 5.0), (5.0, 30.0), (8.0, 10.0), (12.0, 30.0), (20.0, 30.0)],
)
def test_windows_end_where_what_they_hear_ends(tmp_path: Path, seconds: float, segment: float) -> None:
    look = replace(LOOK, seconds=seconds, stretch="mean")
    served = ServedTagger(
        Loudness(), look, EvaluateSettings(segment_seconds=segment), CLASSES, tmp_path / "no"
    )

    def windows(audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        answer = served.windows(tf.constant(audio))
        return answer["start_seconds"].numpy(), answer["probabilities"].numpy()

    tagger: Any = SimpleNamespace(
        folder=told(tmp_path / "saved_model", look), classes=CLASSES, rate=RATE, windows=windows,
        _model=SimpleNamespace(signatures={}),
    )  # fmt: skip
    engine = Engine(tagger)
    assert engine.span == seconds
    starts, ends, _ = engine.windows(noise(0.4))
    assert (starts.tolist(), ends.tolist()) == ([0], [pytest.approx(0.4)])
    length = 2.3 * segment
    near = look.n_fft / 2 / RATE + seconds / 64  # half a frame's window, and a column
    for at in (0.2 * segment, 0.7 * segment, 1.4 * segment, length - 0.25):
        starts, ends, scores = engine.windows(noise(length, at, at + 0.2))
        covers = (starts <= at) & (at + 0.2 <= ends)
        far = (at + 0.2 + near < starts) | (ends < at - near)
        assert covers.any()
        assert (scores[covers, 0] > 0.5).all()
        assert (scores[far, 0] < 0.5).all()
        assert ends.max() == pytest.approx(length)


# ---- whose settings


@pytest.mark.parametrize("name", ["esc10_best", "fat10_best", "demo"])
def test_the_projects_own_configs_are_read(tmp_path: Path, name: str) -> None:
    config = load_config(ROOT / "fatk" / "configs" / f"{name}.toml")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "config.toml").write_text(to_toml(config))
    assert Axes.of(tmp_path) == Axes(config.features)
    assert window_seconds(tmp_path) == config.features.seconds


def test_an_ensemble_shows_the_first_members_image_in_windows_of_the_longest(tmp_path: Path) -> None:
    looks = [replace(LOOK, seconds=float(seconds)) for seconds in (2, 8, *[1] * 9)]
    folder = told(tmp_path, *looks)
    assert Axes.of(folder) == Axes(looks[0])
    assert window_seconds(folder) == 8.0


def test_settings_beside_the_saved_model_do_too(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[features]\nseconds = 3.0\n")
    assert Axes.of(tmp_path / "saved_model") == Axes(FeatureSettings(seconds=3.0))
    assert window_seconds(tmp_path / "saved_model") == 3.0


@pytest.mark.parametrize(
    "text",
    [None, "features = 3", "[features", "[features]\nseconds = 0.0", "[features]\nseconds = nan", "\x80"],
)
def test_without_settings_it_is_said_that_nothing_is_told(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "config.toml").write_text(text, encoding="latin-1")
    tagger: Any = SimpleNamespace(
        folder=tmp_path / "saved_model", classes=CLASSES, rate=RATE, _model=SimpleNamespace(signatures={})
    )
    engine = Engine(tagger)
    assert engine.span is None
    for call in (partial(engine.windows, noise(0.1)), lambda: engine.axes):
        with pytest.raises(Refusal, match=r"config\.toml") as refused:
            call()
        assert refused.value.status == 400


def test_a_key_of_another_version_leaves_the_windows_but_not_the_image(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[features]\nseconds = 2.0\nunheard = 1\n")
    starts, scores = np.array([0.0, 1.0], np.float32), np.zeros((2, 2), np.float32)
    tagger: Any = SimpleNamespace(
        folder=tmp_path / "saved_model", classes=CLASSES, rate=RATE, windows=lambda _: (starts, scores),
        _model=SimpleNamespace(signatures={}),
    )  # fmt: skip
    engine = Engine(tagger)
    assert engine.windows(noise(2.5))[1].tolist() == [2.0, 2.5]
    with pytest.raises(Refusal, match="not of this version"):
        _ = engine.axes


# ---- all of it


@pytest.mark.slow
def test_an_upload_is_answered_with_times_of_its_own(tmp_path: Path) -> None:
    look = replace(LOOK, bands=32, seconds=5.0, stretch="mean")
    config = Config(name="small", features=look, evaluate=EvaluateSettings(crops=1, segment_seconds=5.0))
    (tmp_path / "config.toml").write_text(to_toml(config))
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    served = ServedTagger(Loudness(), look, config.evaluate, CLASSES, tmp_path / "classes.txt")
    served.save(tmp_path / "saved_model")
    engine = Engine(SavedTagger(tmp_path))
    assert engine.span == 5.0

    def ask(clip: np.ndarray) -> dict[str, Any]:
        async def run() -> dict[str, Any]:
            service = Service(engine, ServeSettings())
            async with service.running(None):
                file = io.BytesIO(encoded(clip, RATE))
                return await service.tag("a.wav", file, 1, windows=True, image=True, waveform=False)

        return asyncio.run(run())

    found = ask(np.concatenate([noise(1.0, 0.0, 0.5), noise(11.0, 5.5, 5.8)]))
    assert [(one["start"], one["end"]) for one in found["windows"]] == [(0, 5), (5, 10), (10, 12)]
    assert [round(one["probabilities"][0]) for one in found["windows"]] == [1, 1, 0]
    near = 5 / 32 + look.n_fft / 2 / RATE
    for length in (0.4, 1.0, 3.0):
        found = ask(noise(length))
        assert [(one["start"], one["end"]) for one in found["windows"]] == [(0, length)]
        told = found["image"]
        drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(told["png"]))))
        assert sounding(drawn, (told["start"], told["end"])) == pytest.approx((0, length), abs=near)
        assert [one["hertz"] for one in told["hertz"]] == [200, 500, 1000, 2000, 5000]
