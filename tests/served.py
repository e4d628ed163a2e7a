"""A small tagger of three of ESC-10's classes, fitted in a second, and the service that answers with it."""

import asyncio
import csv
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from starlette.types import Message

from fatk import audio
from fatk.serve.engine import Engine
from fatk.serving import ServedTagger
from pipelines import crops, ops
from pipelines.datasets import to_unit
from pipelines.domain import whole_image
from pipelines.domain_settings import DomainSettings
from pipelines.settings import EvaluateSettings, FeatureSettings

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ("Helicopter", "Rain", "Tick-tock")
CROPS = 3
SETTINGS = FeatureSettings(rate=22050, bands=32, format="AAA")
CLIPS = 8  # of each class to fit on
HELD_OUT = "1"  # the fold that no clip is fitted on
CLIP, LABEL = "6eb2ee71.ogg", "Tick-tock"  # one of that fold


class Envelope:
    """Logits that are linear in the mean and the spread of every band."""

    def __init__(self, kernel: np.ndarray, bias: np.ndarray):
        self.kernel = tf.Variable(kernel, dtype=tf.float32)
        self.bias = tf.Variable(bias, dtype=tf.float32)
        self.weights = [SimpleNamespace(value=self.kernel), SimpleNamespace(value=self.bias)]

    def __call__(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        return tf.matmul(envelope(images), self.kernel) + self.bias


def envelope(images: tf.Tensor) -> tf.Tensor:
    """(n, bands, columns, channels) 0..1 -> (n, 2 bands)."""
    level = images[..., 0]
    return tf.concat([tf.reduce_mean(level, axis=2), tf.math.reduce_std(level, axis=2)], axis=1)


class Explaining(tf.Module):
    """A saved tagger with `explain` on top: how much each spot adds to a band that speaks for the class."""

    def __init__(self, saved: Path, kernel: np.ndarray):
        super().__init__()
        self.tagger = tf.saved_model.load(str(saved))
        self.kernel = tf.constant(kernel[: SETTINGS.bands], tf.float32)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, name="audio"),
            tf.TensorSpec([], tf.int32, name="class_index"),
        ]
    )
    def explain(self, audio: tf.Tensor, class_index: tf.Tensor) -> dict[str, tf.Tensor]:
        """`audio` (samples,), `class_index` () -> `overlay` (bands, frames) 0..1."""
        level = tf.cast(self.tagger.signatures["image"](audio=audio)["image"][..., 0], tf.float32)
        speaks = tf.nn.relu(self.kernel[:, class_index])[:, None] * level
        return {"overlay": speaks / tf.maximum(tf.reduce_max(speaks), 1e-6)}

    def save(self, folder: Path) -> None:
        """All signatures of the tagger, and one more."""
        explain = {"explain": self.explain.get_concrete_function()}
        tf.saved_model.save(self, str(folder), {**self.tagger.signatures, **explain})


def clips(shared: Path, label: str) -> list[Path]:
    """Clips of a class to fit on."""
    with (shared / "esc10" / "esc10.csv").open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["labels"] == label and row["fold"] != HELD_OUT]
    return [shared / "esc10" / "audio" / row["fname"] for row in rows[:CLIPS]]


def fit(shared: Path, folder: Path) -> Path:
    """Fit on real clips and save -> the SavedModel."""
    seen, labels = [], []
    for number, label in enumerate(CLASSES):
        for path in clips(shared, label):
            clip = tf.constant(audio.read(path, SETTINGS.rate))
            image = whole_image(ops, clip, SETTINGS, DomainSettings()).image
            images = crops.even_crops(image, SETTINGS.columns, tf.constant(CROPS))
            seen.append(envelope(to_unit(images)).numpy())
            labels += [number] * CROPS
    fitted = LogisticRegression(C=30.0, max_iter=1000).fit(np.concatenate(seen), labels)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    network = Envelope(fitted.coef_.T, fitted.intercept_)
    plain = ServedTagger(network, SETTINGS, EvaluateSettings(crops=CROPS), CLASSES, folder / "classes.txt")
    plain.save(folder / "plain")
    Explaining(folder / "plain", fitted.coef_.T).save(folder / "saved_model")
    return folder / "saved_model"


@dataclass
class Answer:
    """What came back."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Server:
    """A running `python -m fatk.serve`."""

    process: subprocess.Popen
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """One request on a connection of its own; a dict goes as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            sent = json.dumps(body).encode() if isinstance(body, dict) else body
            connection.request(method, path, sent, headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.read(), dict(response.getheaders()))
        finally:
            connection.close()

    def alive(self) -> bool:
        return self.ask("GET", "/healthz").json == {"status": "ok"} and self.process.poll() is None


@contextmanager
def service(model: Path, *options: str) -> Iterator[Server]:
    """Start the command at a free port; at the end it must leave in peace."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fatk.serve", "--model", str(model), "--port", "0", *options],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "300"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stderr
    line = process.stdout.readline()
    try:
        assert line.startswith("http://127.0.0.1:"), line + process.stderr.read()
        yield Server(process, int(line.split("/")[2].split(":")[1]))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            _, complaints = process.communicate(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert process.returncode == 0
    assert not complaints


def bare(folder: Path, **own: Any) -> Any:
    """An engine without a model, to be given what a test needs: `signatures`, `score`."""
    tagger: Any = SimpleNamespace(
        folder=folder / "saved_model", classes=("a", "b"), rate=SETTINGS.rate, _tf=tf,
        _model=SimpleNamespace(signatures={}),
    )  # fmt: skip
    made = Engine(tagger)
    for name, value in own.items():
        setattr(made, name, value)
    return made


async def ask(
    asked: Any, pieces: AsyncIterator[bytes | None], path: str = "/", method: str = "POST", kind: str = ""
) -> tuple[int, bytes]:
    """A request whose body comes in pieces, `None` where the client leaves -> (status, body)."""
    sent: list[Message] = []

    async def receive() -> Message:
        piece = await anext(pieces, b"")
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(piece)}

    async def send(message: Message) -> None:
        sent.append(message)

    path, _, query = path.partition("?")
    headers = [(b"transfer-encoding", b"chunked"), (b"content-type", kind.encode())]
    scope = {
        "type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": headers,
        "raw_path": path.encode(), "root_path": "", "http_version": "1.1", "scheme": "http",
    }  # fmt: skip
    await asked(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


async def several(*pieces: bytes | None, every: float = 0.0) -> AsyncIterator[bytes | None]:
    """Pieces of a body, so many seconds apart."""
    for piece in pieces:
        await asyncio.sleep(every)
        yield piece
