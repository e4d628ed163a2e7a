"""`fatk.show`: pictures whose axes can be believed, in a page that needs nothing else."""

import base64
import csv
import io
import re
import wave
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import tensorflow as tf
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from fatk import cli, show, show_clips, show_pictures, show_sets, show_themes
from fatk.audio import read_pcm
from fatk.config import Config, from_tree
from fatk.demo_set import CLASSES, write_demo_set
from fatk.prepare import Prepared, prepare
from fatk.show_clips import Show, half_noisy, spread
from fatk.show_page import Part, Section, Sound, page
from pipelines.domain_settings import DomainSettings
from pipelines.settings import FeatureSettings
from pipelines.sources import Clip

RATE = 16000
FEATURES = {"rate": RATE, "bands": 32}
VOID = {"img", "meta", "link", "source", "input", "br", "hr"}


@pytest.fixture(autouse=True)
def light() -> Iterator[None]:
    """Figures are drawn as for the files."""
    with matplotlib.rc_context(show_themes.THEMES["light"]):
        yield


def clip(name: str, *labels: str, pool: str = "curated") -> Clip:
    return Clip(name, pool, Path(name), labels)


# ---- which clips are shown


def test_every_class_is_shown_once_before_one_is_shown_twice() -> None:
    clips = [clip(f"{label}{number}", label) for label in "abcde" for number in range(9)]
    first, again = spread(clips, 7, seed=1), spread(clips[::-1], 7, seed=1)
    assert first == again  # of the set, not of its order
    assert Counter(one.labels[0] for one in first[:5]) == Counter("abcde")
    assert len({one.key for one in first}) == 7
    assert spread(clips, 7, seed=2) != first


@pytest.mark.parametrize(
    ("curated", "noisy", "wanted", "shown"),
    [
        (9, 9, 6, (3, 3)),
        (9, 9, 5, (3, 2)),
        (9, 1, 6, (5, 1)),
        (2, 9, 6, (2, 4)),
        (9, 0, 6, (6, 0)),
        (0, 2, 6, (0, 2)),
    ],
)
def test_half_of_the_clips_are_noisy_where_there_are_so_many(
    curated: int, noisy: int, wanted: int, shown: tuple[int, int]
) -> None:
    clips = [clip(f"c{number}", "a") for number in range(curated)]
    clips += [clip(f"n{number}", "a", pool="noisy") for number in range(noisy)]
    chosen = half_noisy([*clips, *clips], wanted, seed=0)  # clips that are trained on twice are shown once
    pools = [one.pool for one in chosen]
    assert pools == ["curated"] * shown[0] + ["noisy"] * shown[1]
    assert len(set(chosen)) == len(chosen)


# ---- axes


def tone_from(start: float, hertz: float, seconds: float) -> np.ndarray:
    time = np.arange(round(RATE * seconds)) / RATE
    return np.rint(20000 * np.sin(2 * np.pi * hertz * time) * (time >= start)).astype(np.int16)


@pytest.mark.parametrize("kind", [("resize", 1), ("resize", 2), ("hop", 2)])
@pytest.mark.parametrize("seconds", [0.6, 3.0])
def test_a_tone_is_drawn_at_its_seconds_and_its_hertz(kind: tuple[str, float], seconds: float) -> None:
    settings = FeatureSettings(rate=RATE, bands=64, stretch=kind[0], seconds=kind[1], format="AAA")
    pcm = tone_from(seconds / 2, 2000, seconds)
    image = show_clips.pixels(pcm, settings, DomainSettings())[..., 0]
    axis = show_pictures.strips({"amplitude": image}, settings, seconds, "a tone").axes[0]
    left, right, low, high = axis.images[0].get_extent()
    step = (right - left) / image.shape[1]
    row = image.max(1).argmax()
    onset = left + step * np.flatnonzero(image[row] > 128)[0]
    window = settings.n_fft / RATE
    assert abs(onset - seconds / 2) < window + step
    if seconds > settings.shortest / RATE:
        assert left == 0
        assert right == pytest.approx(seconds, abs=2 * step)
    ticks = dict(zip([text.get_text() for text in axis.get_yticklabels()], axis.get_yticks(), strict=True))
    assert abs(ticks["2 kHz"] - row) < 1
    assert (low, high) == (-0.5, 63.5)
    assert axis.get_xlabel() == "time (s)"


def test_curves_stand_over_their_hertz() -> None:
    settings = FeatureSettings(rate=RATE, bands=64, format="AAA")
    image = show_clips.pixels(tone_from(0, 2000, 1.0), settings, DomainSettings())[..., 0]
    figure = show_pictures.envelope_curves({"tone": image.mean(1)[None]}, {"a": 0}, settings, "title")
    axis = figure.axes[0]
    figure.draw_without_rendering()
    ticks = dict(zip([text.get_text() for text in axis.get_xticklabels()], axis.get_xticks(), strict=True))
    assert abs(ticks["2k"] - axis.lines[0].get_ydata().argmax()) < 1
    assert figure.get_supxlabel() == "frequency (Hz)"


# ---- names


LONG = (
    "Accelerating_and_revving_and_vroom",
    "Bathtub_(filling_or_washing)",
    "Hi-hat",
    "Male_speech_and_man_speaking",
    "Livestock_and_farm_animals_and_working_animals",
    "US$_and_more_$",
    "Traffic noise and roadway noise",
)


def classes(count: int) -> list[str]:
    return [f"{LONG[number % len(LONG)]}{number // len(LONG) or ''}" for number in range(count)]


def figures(count: int) -> Iterator[tuple[str, Figure]]:
    names, rng = classes(count), np.random.default_rng(0)
    clips = [show_pictures.shortened(f"noisy/a folder/{number:08x}.wav") for number in range(16)]
    written = np.full((count, 16), ".25") if count <= 25 else None
    yield "labels", show_pictures.matrix(rng.random((count, 16)), names, clips, "soft", "target", written)
    yield "together", show_pictures.matrix(rng.random((count, count)), names, names, "together", "share")
    sizes = {
        f"{split}\n1234 clips": rng.integers(0, 99999, count) for split in ("train", "noisy", "valid", "test")
    }
    yield "balance", show_pictures.balance_bars(sizes, names, "clips of each class")
    settings = FeatureSettings(rate=RATE, bands=32)
    curves = {name: 255 * rng.random((count, 32)) for name in ("curated", "noisy", "after", "normalised")}
    panels = {f"{show_pictures.folded(name)}\n12.3 to 4.5": row for row, name in enumerate(names[:26])}
    yield "envelopes", show_pictures.envelope_curves(curves, panels, settings, "mean level over frequency")
    image = rng.integers(0, 256, (32, 90, 3)).astype(np.uint8)
    title = f"curated/0a1b2c3d.wav: {', '.join(names[:4])}"
    yield "strips", show_pictures.strips({"APD": image, "amplitude": image[..., 0]}, settings, 2.8, title)


@pytest.mark.parametrize("count", [1, 10, 80])
def test_names_are_whole_and_do_not_run_into_each_other(count: int) -> None:
    for what, figure in figures(count):
        figure.draw_without_rendering()
        whole, written = figure.bbox.padded(1), set()
        for text in figure.findobj(Text):
            if not (text.get_visible() and text.get_text().strip()):
                continue
            box = text.get_window_extent()
            inside = whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0 and box.y1 <= whole.y1
            assert inside, f"{what}: {text.get_text()!r} at {box}"
            written.add(text.get_text().replace("\n", ""))
        for axis in (axis for axes in figure.axes[:5] for axis in (axes.xaxis, axes.yaxis)):
            labels = [text for text in axis.get_majorticklabels() if text.get_visible() and text.get_text()]
            for one, other in pairwise(labels):
                apart = not one.get_window_extent().overlaps(other.get_window_extent())
                assert apart, f"{what}: {one.get_text()!r} and {other.get_text()!r}"
        if what != "strips":
            for name in classes(min(count, 26) if what == "envelopes" else count):
                assert any(text.startswith(name) for text in written), f"{what}: {name}"


def test_long_names_fold_where_they_can() -> None:
    for name in LONG:
        lines = show_pictures.folded(name, 20).split("\n")
        assert "".join(lines) == name
        assert max(map(len, lines)) <= 20
    assert show_pictures.folded("Unbreakable" * 9) == "Unbreakable" * 9


# ---- the page


class Reader(HTMLParser):
    """Elements with their attributes, in order; complains of tags that are not closed in turn."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: Sequence[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attributes}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for found, attributes in self.found if found == tag]


def decoded(address: str, kind: str) -> bytes:
    head, _, data = address.partition(",")
    assert head == f"data:{kind};base64"
    return base64.b64decode(data, validate=True)


def test_what_tables_say_is_text_and_not_markup() -> None:
    evil = '<script>alert("1")</script> & "quotes"'
    part = Part(evil, evil, Sound(evil, b"RIFF"), (show_themes.render("a", evil, Figure),))
    read = Reader(page(evil, evil, [Section("here", evil, evil, (part,))]))
    assert read.all("script") == []
    assert read.all("img")[0]["alt"] == evil
    assert read.all("audio")[0]["aria-label"] == evil
    assert read.text.count(evil) == 8  # title, heading, words, link; heading and words of section and part


# ---- the command, on a small set


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo set in its folder."""
    folder = tmp_path_factory.mktemp("show")
    write_demo_set(folder / "set", curated=40, noisy=20, test=10, rate=RATE)
    return folder


def described(folder: Path, **changes: object) -> Config:
    """Settings for the set as one of FSDKaggle2019's layout, which `demo` has too."""
    tree = {
        "name": "small",
        "data": {
            "kind": "fat2019",
            "path": str(folder / "set"),
            "records": str(folder / "records"),
            "valid_per_class": 1,
        },
        "features": FEATURES,
    }
    return from_tree(tree | changes)


@pytest.fixture(scope="module")
def shown(demo: Path) -> Path:
    """What the command writes -> its folder."""
    config = demo / "small.toml"
    config.write_text(
        'name = "small"\n[data]\nkind = "fat2019"\npath = "set"\nrecords = "records"\nvalid_per_class = 1\n'
        f"[features]\nrate = {RATE}\nbands = 32\n"
    )
    stale, foreign = (demo / "runs" / "show" / "small" / name for name in ("formats-9.png", "my-own.png"))
    stale.parent.mkdir(parents=True)
    for path in (stale, foreign):
        path.write_bytes(b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(demo)
        assert show.main(["--config", str(config), "--clips", "1", "--tensorboard"]) == 0
    assert not stale.exists()  # of an earlier call with more clips
    foreign.unlink()
    return stale.parent


@pytest.fixture(scope="module")
def prepared(demo: Path) -> Prepared:
    return prepare(described(demo), verbose=False)


PICTURES = {
    *("formats-1", "channels-1", "background-1"),
    *("labels-hard", "labels-soft", "cooccurrence", "balance", "envelopes"),
}


def test_all_pictures_are_files_and_in_the_page(shown: Path) -> None:
    assert {path.stem for path in shown.glob("*.png")} == PICTURES
    read = Reader((shown / "index.html").read_text(encoding="utf-8"))
    images, dark = read.all("img"), read.all("source")
    assert len(images) == len(dark) == len(PICTURES)
    for image, source in zip(images, dark, strict=True):
        assert len(image["alt"]) > 40
        assert source["media"] == "(prefers-color-scheme: dark)"
        pixels = []
        for address in (image["src"], source["srcset"]):
            with Image.open(io.BytesIO(decoded(address, "image/webp"))) as opened:
                pixels.append(np.asarray(opened.convert("L"), np.float32))
        assert pixels[0].shape == pixels[1].shape
        assert pixels[0][0].mean() > 250 > 60 > pixels[1][0].mean()  # the paper's edge
    captions = set(re.findall(r"([\w-]+)\.png", read.text))
    assert captions == PICTURES


def test_the_page_fetches_nothing_and_can_be_used_by_keys(shown: Path) -> None:
    text = (shown / "index.html").read_text(encoding="utf-8")
    read = Reader(text)
    ids = [attributes["id"] for _, attributes in read.found if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for tag, attributes in read.found:
        assert tag not in ("script", "iframe", "object")
        for name in ("src", "srcset", "href"):
            address = attributes.get(name, "data:")
            assert address.startswith("data:") or address[1:] in ids, (tag, address[:40])
        for name in ("aria-labelledby",):
            assert attributes.get(name, ids[0]) in ids
    policy = next(meta["content"] for meta in read.all("meta") if meta.get("http-equiv"))
    assert policy.startswith("default-src 'none';")
    assert "http" not in re.sub(r"data:[\w/;,+=-]*", "", text).replace("http-equiv", "")
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in read.all("meta")
    scrolling = [attributes for tag, attributes in read.found if attributes.get("class") == "frame"]
    for attributes in scrolling:
        assert ("tabindex" in attributes) == ("aria-label" in attributes)
    assert sum("tabindex" in attributes for attributes in scrolling) >= 2  # tables, wide pictures


def test_players_play_the_clips(shown: Path, prepared: Prepared) -> None:
    read = Reader((shown / "index.html").read_text(encoding="utf-8"))
    players = read.all("audio")
    clips = half_noisy(prepared.split.train, 1, 2019)
    assert len(players) == 1
    for player, one in zip(players, clips, strict=True):
        assert "controls" in player
        assert one.key in player["aria-label"]
        assert all(label in player["aria-label"] for label in one.labels)
        with wave.open(io.BytesIO(decoded(player["src"], "audio/wav"))) as sound:
            assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (RATE, 1, 2)
            pcm = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
        np.testing.assert_array_equal(pcm, read_pcm(one.path, RATE)[: 5 * RATE])


def test_the_distances_are_those_of_the_envelopes(shown: Path, demo: Path, prepared: Prepared) -> None:
    text = (shown / "index.html").read_text(encoding="utf-8")
    table = text[text.index("Distance to the curated envelope as a table") :]
    rows = re.findall(
        r'<th scope="row">([^<]+)</th><td>([\d.]+)</td><td>([\d.]+)</td><td>([\d.]+)</td>', table
    )
    told = {name: [float(cell) for cell in cells] for name, *cells in rows}
    features = replace(described(demo).features, format="AAA")
    means: dict[tuple[str, str], list[np.ndarray]] = {}
    for one in prepared.split.train:
        envelope = show_clips.pixels(read_pcm(one.path, RATE), features, DomainSettings())[..., 0].mean(1)
        for label in one.labels:
            means.setdefault((one.pool, label), []).append(envelope)
    assert set(told) == {label for _, label in means}
    for name, (before, _, _) in told.items():
        apart = np.mean(means["noisy", name], 0) - np.mean(means["curated", name], 0)
        assert before == pytest.approx(np.sqrt((apart**2).mean()), abs=0.06)
    before, transferred, normalised = np.array(list(told.values())).mean(0)
    assert transferred < before
    assert normalised < before
    assert f"{before:.1f} in the mean over classes, {transferred:.1f} after envelope transfer" in text


def test_the_log_has_the_same_pictures_and_sounds(shown: Path) -> None:
    images, sounds, words = {}, [], []
    for path in (shown / "tensorboard").glob("events.*"):
        for record in tf.data.TFRecordDataset(str(path)):
            for value in tf.compat.v1.Event.FromString(record.numpy()).summary.value:
                kind, strings = value.metadata.plugin_data.plugin_name, value.tensor.string_val
                if kind == "images":
                    images[value.tag.split("/")[1]] = tf.io.decode_png(strings[2]).numpy()
                elif kind == "audio":
                    sounds.append(tf.audio.decode_wav(strings[0]).audio.numpy())
                elif kind == "text":
                    words.append(value.tag)
                assert re.fullmatch(r"[\w./-]+", value.tag)
    assert images.keys() == PICTURES
    for name, image in images.items():
        with Image.open(shown / f"{name}.png") as opened:
            np.testing.assert_array_equal(image, np.asarray(opened.convert("RGB")))
    assert len(sounds) == 1
    assert words == ["gallery", "labels", "together", "balance", "envelopes", "background"]


# ---- what the sections say


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sections without the time that drawing takes."""
    one = show_themes.render("one", "alt", Figure)
    monkeypatch.setattr(
        show_clips, "render", lambda name, alt, paint: show_themes.Picture(name, alt, one.png, b"", b"")
    )


@pytest.mark.usefixtures("undrawn")
def test_the_balance_is_that_of_the_split(demo: Path, prepared: Prepared) -> None:
    made = show_sets.balance(Show(described(demo), prepared, 1))
    table = made.parts[0].table
    assert table is not None
    assert table.columns == ("class", "train, curated", "train, noisy", "valid", "test")
    assert [row[0] for row in table.rows] == list(CLASSES)
    told = np.array([[int(cell) for cell in row[1:]] for row in table.rows])
    with (demo / "set" / "train_noisy.csv").open(newline="") as lines:
        noisy = Counter(label for row in csv.DictReader(lines) for label in row["labels"].split(","))
    assert told[:, 1].tolist() == [noisy[name] for name in CLASSES]
    with (demo / "set" / "train_curated.csv").open(newline="") as lines:
        curated = Counter(label for row in csv.DictReader(lines) for label in row["labels"].split(","))
    assert (told[:, 0] + told[:, 2]).tolist() == [curated[name] for name in CLASSES]
    with (demo / "set" / "test_labels.csv").open(newline="") as lines:
        test = Counter(label for row in csv.DictReader(lines) for label in row["labels"].split(","))
    assert told[:, 3].tolist() == [test[name] for name in CLASSES]


@pytest.mark.usefixtures("undrawn")
def test_a_table_of_single_labels_without_noisy_clips_says_what_does_not_apply(demo: Path) -> None:
    with (demo / "set" / "train_curated.csv").open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if "," not in row["labels"]]
    table = demo / "single.csv"
    with table.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(("fname", "labels", "fold"))
        writer.writerows((row["fname"], row["labels"], number % 2) for number, row in enumerate(rows))
    data = {
        "kind": "csv",
        "path": str(demo / "set" / "train_curated"),
        "table": str(table),
        "fold": 1,
        "records": str(demo / "single"),
    }
    config = described(demo, data=data)
    made = Show(config, prepare(config, verbose=False), 3)
    assert show_sets.envelopes(made).text == "Does not apply: no noisy clip is trained on."
    assert show_sets.envelopes(made).parts == ()
    assert "Here they are the same" in show_sets.labels(made).text
    assert "No clip carries two classes." in show_sets.together(made).text
    text = show_sets.balance(made).text
    assert "No noisy clip is trained on." in text
    assert "There are no test clips." in text
    assert len(show_clips.background(made).parts[0].pictures) == 3
    assert len(show_clips.gallery(made).parts) == 3
    assert made.pictures == 3 * 2 + 3 + 4


def test_a_number_of_clips_that_cannot_be_is_refused(demo: Path) -> None:
    (demo / "plain.toml").write_text('[data]\nkind = "demo"\n')
    with pytest.raises(cli.UserError, match=r"^--clips must be at least 1\. Received: 0\.$"):
        show.main(["--config", str(demo / "plain.toml"), "--clips", "0"])
