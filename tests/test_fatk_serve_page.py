"""The page in headless Chromium: a real clip's label first, keyboard, microphone, phone, and no outside network."""

import csv
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fatk.config import Config, to_toml
from tests import served
from tests.browser import PATIENCE, Page, browser, find_chromium
from tests.served import CLASSES, LABEL, Server

pytestmark = pytest.mark.slow

HEARD = "!document.querySelector('#result').hidden && !document.querySelector('#status').innerText"


@pytest.fixture(scope="module")
def server(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if find_chromium() is None:
        message = "needs Chromium or Chrome (Debian: apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    model = served.fit(shared, tmp_path_factory.mktemp("model"))
    (model / "assets" / "config.toml").write_text(to_toml(Config(name="small", features=served.SETTINGS)))
    with served.service(model, "--body-mb", "2", "--clip-seconds", "30") as running:
        yield running


@pytest.fixture(scope="module")
def clip(shared: Path) -> Path:
    return shared / "esc10" / "audio" / served.CLIP


@pytest.fixture(scope="module")
def tab(server: Server, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    place = tmp_path_factory.mktemp("chromium")
    spoken = place / "spoken.wav"
    audio, rate = soundfile.read(clip)
    soundfile.write(spoken, audio, rate, subtype="PCM_16")  # what the microphone hears
    with browser(place, [f"--use-file-for-fake-audio-capture={spoken}"]) as page:
        yield page


@pytest.fixture
def page(tab: Page, server: Server, clip: Path) -> Iterator[Page]:
    """The page with the clip on it. Afterwards: no script failed, and nothing was asked of another host."""
    tab.requests.clear()
    tab.errors.clear()
    tab.open(f"{server.url}/")
    tab.wait("document.querySelector('#model').innerText")
    tab.upload(clip)
    tab.wait(HEARD)
    yield tab
    assert tab.errors == []
    assert tab.requests
    assert [url for url in tab.requests if not url.startswith((server.url, "blob:", "data:"))] == []


def test_a_clip_is_uploaded_and_its_label_is_first(page: Page, clip: Path) -> None:
    assert page.text("#tags li .label") == LABEL
    labels = page.run("[...document.querySelectorAll('#tags li')].map(item => item.dataset.label)")
    assert sorted(labels) == sorted(CLASSES)
    widths = page.run("[...document.querySelectorAll('.fill')].map(bar => bar.getBoundingClientRect().width)")
    assert widths == sorted(widths, reverse=True)
    assert page.text("#name") == clip.name
    assert page.text("#facts") == "5 s · OGG · 44.1 kHz · mono"
    assert page.run("document.querySelector('#over').ariaValueMax") == "10"  # windows of 1 s, half over half
    assert len(page.run("[...document.querySelectorAll('#rows canvas')].map(one => one.ariaLabel)")) == 3
    assert "kHz" in page.text("#hertz")
    assert page.text("#seconds").startswith("0 s")
    # The waveform and the spectrogram hold more than one colour.
    for canvas in ("waveform", "spectrogram"):
        colours = page.run(
            f"(c => new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height)"
            f".data.buffer)).size)(document.querySelector('#{canvas}'))"
        )
        assert colours > 1


def test_scores_are_saved_as_a_table(page: Page, clip: Path, tmp_path: Path) -> None:
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.click("#save")
    saved = tmp_path / f"{clip.name}.csv"
    until = time.monotonic() + PATIENCE
    while not saved.exists() and time.monotonic() < until:
        time.sleep(0.1)
    with saved.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert list(rows[0]) == ["start", "end", *CLASSES]
    assert [row["start"] for row in rows[:3]] == ["0", "0.5", "1"]
    assert all(0 <= float(row[name]) <= 1 for row in rows for name in CLASSES)


def now(page: Page) -> float:
    return page.run("parseFloat(document.querySelector('#head').style.left) / 100 * 5")


def test_the_keyboard_is_enough(page: Page) -> None:
    def shown() -> str:
        return page.run("document.querySelector('#over').ariaValueText")

    order = []
    for _ in range(12):
        page.press("Tab")
        order.append(page.run("document.activeElement.id || document.activeElement.className"))
    wanted = ["choose", "record", "play", "save", "quiet why", "quiet why", "quiet why", "over"]
    found = [name for name in order if name in wanted]
    assert found == wanted
    while page.run("document.activeElement.id") != "over":
        page.press("Tab")
    outline = page.run("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    assert shown().startswith("Window 1 of 10: 0.0 to 1.0 s: ")
    page.press("ArrowRight")
    page.press("ArrowRight")
    assert shown().startswith("Window 3 of 10: 1.0 to 2.0 s: ")
    assert now(page) == pytest.approx(1.0, abs=0.05)
    page.press("ArrowLeft")
    assert shown().startswith("Window 2 of 10")
    page.press("End")
    assert shown().startswith("Window 10 of 10")
    page.press("Home")
    assert shown().startswith("Window 1 of 10")
    page.press(" ", "Space", " ")
    page.wait("document.querySelector('#play').ariaLabel === 'Pause'")
    page.wait("parseFloat(document.querySelector('#head').style.left) > 1")
    page.press(" ", "Space", " ")
    page.wait("document.querySelector('#play').ariaLabel === 'Play'")


def test_a_click_plays_from_its_window(page: Page) -> None:
    page.click("#over", x=0.62)  # 3.1 s: nearest to the middle of 2.5 to 3.5 s
    page.wait("document.querySelector('#play').ariaLabel === 'Pause'")
    assert page.run("document.querySelector('#over').ariaValueNow") == "6"
    page.wait("parseFloat(document.querySelector('#head').style.left) >= 50")
    page.click("#play")
    page.wait("document.querySelector('#play').ariaLabel === 'Play'")


def test_why_leaves_colour_to_what_speaks_for_a_class(page: Page) -> None:
    colourful = (
        "(c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;"
        "for (let i = 0; i < d.length; i += 4) n += Math.abs(d[i] - d[i + 2]) > 12; return n / d.length })"
        "(document.querySelector('#spectrogram'))"
    )
    before = page.run(colourful)
    page.click("#tags .why")
    page.wait("document.querySelector('#why').innerText.startsWith('Colour')")
    assert page.run("document.querySelector('#tags .why').ariaPressed") == "true"
    assert page.run(colourful) < 0.8 * before
    page.click("#tags .why")
    page.wait("!document.querySelector('#why').innerText")
    assert page.run(colourful) == before


def test_every_control_has_a_name(page: Page) -> None:
    roles = {"button", "link", "slider", "image", "textbox", "checkbox"}
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    controls = [node for node in nodes if node.get("role", {}).get("value") in roles]
    assert len(controls) > 10
    unnamed = [
        node
        for node in controls
        if not node.get("name", {}).get("value")
        and not node.get("ignored")
        and not any(one["name"] == "alt" for one in node.get("properties", []))
    ]
    assert unnamed == []


def test_the_microphone_is_heard(page: Page) -> None:
    page.click("#record")
    page.wait("document.body.classList.contains('recording')")
    page.wait("/0:0[2-9]/.test(document.querySelector('#record').innerText)")
    page.click("#record")
    page.wait("document.querySelector('#name').innerText.startsWith('recording ')")
    page.wait(HEARD)
    assert page.text("#facts").split(" · ")[1] == "WAV"
    assert page.text("#tags li .label") == LABEL


def test_what_cannot_be_heard_is_said_and_the_page_goes_on(page: Page, tmp_path: Path, clip: Path) -> None:
    text, large = tmp_path / "notes.wav", tmp_path / "large.wav"
    text.write_text("no sound at all")
    soundfile.write(large, np.zeros(1_500_000), 44100)
    page.upload(text)
    page.wait("document.querySelector('#problem').innerText.includes('notes.wav: Not a sound file')")
    page.upload(large)
    page.wait("document.querySelector('#problem').innerText.includes('large.wav has 3 MB')")
    page.upload(clip)
    page.wait(f"{HEARD} && !document.querySelector('#problem').innerText")
    # The browser logs the refusal that was asked for, and nothing else.
    assert len(page.errors) == 1
    assert "415" in page.errors.pop()


@pytest.mark.parametrize(("width", "dark"), [(390, False), (320, True), (820, False)])
def test_small_screens_show_all_of_it(page: Page, server: Server, clip: Path, width: int, dark: bool) -> None:
    page.open(f"{server.url}/", width, 844, dark)
    page.wait("document.querySelector('#model').textContent")
    page.upload(clip)
    page.wait(HEARD)
    assert page.run("document.documentElement.scrollWidth") <= width
    outside = page.run(
        "[...document.querySelectorAll('button, canvas, .label, h1, h2')].filter(one => one.offsetParent)"
        ".filter(one => { const { left, right } = one.getBoundingClientRect();"
        f"return left < 0 || right > {width} }}).map(one => one.id || one.innerText)"
    )
    assert outside == []
    small = page.run(
        "[...document.querySelectorAll('button, a.button')].filter(one => one.offsetParent)"
        ".filter(one => one.getBoundingClientRect().height < 32).map(one => one.id)"
    )
    assert small == []


def test_the_description_is_drawn_from_the_service_itself(page: Page, server: Server) -> None:
    page.open(f"{server.url}/docs")
    page.wait("document.querySelectorAll('details').length >= 8")
    routes = page.run("[...document.querySelectorAll('summary code')].map(one => one.innerText)")
    assert {"/v1/models/fatk:predict", "/v1/audio", "/metrics"} <= set(routes)
    page.run("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert f"{server.url}/v1/audio" in page.text("main")
    about = (
        "[...document.querySelectorAll('details')]"
        ".find(one => one.querySelector('code').innerText === '/v1/about')"
    )
    page.run(f"{about}.querySelector('button').click()")
    page.wait(f"{about}.querySelector('.answer')?.innerText.includes('clip_seconds')")
