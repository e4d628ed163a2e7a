"""Parts of the service by themselves: batching, the guard around it, its pictures, and its command line."""

import asyncio
import base64
import io
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.types import Message, Receive, Scope, Send

from fatk import cli
from fatk.serve import __main__ as command
from fatk.serve import pictures, sound
from fatk.serve.batching import Batcher
from fatk.serve.guard import Guard
from fatk.serve.metrics import Metrics
from fatk.serve.refusal import Refusal
from fatk.serve.settings import ServeSettings

# ---- batching


class Scorer:
    """Scores are a clip's sum and length; clips of a negative sum are refused. Batches are noted."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        self.go.wait(10)
        self.sizes.append(len(clips))
        if any(clip.sum() < 0 for clip in clips):
            raise ValueError("a bad clip")
        return np.array([[clip.sum(), len(clip)] for clip in clips])


def with_batcher(scorer: Scorer, use: Callable[[Batcher], Awaitable[Any]], **settings: Any) -> Any:
    async def run() -> Any:
        with ThreadPoolExecutor() as pool:
            batcher = Batcher(scorer, ServeSettings(**settings), Metrics(), pool)
            batcher.start()
            try:
                return await use(batcher)
            finally:
                scorer.go.set()
                await batcher.stop()

    return asyncio.run(run())


def clip(value: float, samples: int = 1) -> np.ndarray:
    return np.full(samples, value / samples, np.float32)


def test_clips_of_many_requests_are_scored_together_and_go_back_to_their_own() -> None:
    scorer = Scorer()

    async def use(batcher: Batcher) -> list[np.ndarray]:
        requests = [[clip(number, 1 + number)] * (1 + number % 3) for number in range(9)]
        return await asyncio.gather(*(batcher.score(request) for request in requests))

    told = with_batcher(scorer, use, batch=8, delay_ms=200, workers=1)
    assert scorer.sizes == [8, 8, 2]
    for number, scores in enumerate(told):
        np.testing.assert_allclose(scores, [[number, 1 + number]] * (1 + number % 3), rtol=1e-6)


def test_a_clip_alone_waits_no_longer_than_it_must() -> None:
    scorer = Scorer()
    told = with_batcher(scorer, lambda batcher: batcher.score([clip(3)]), batch=8, delay_ms=1)
    assert told.tolist() == [[3, 1]]
    assert scorer.sizes == [1]


def test_a_bad_clip_fails_alone() -> None:
    async def use(batcher: Batcher) -> list[Any]:
        asked = (batcher.score([clip(value)]) for value in (1, -1, 2))
        return await asyncio.gather(*asked, return_exceptions=True)

    good, bad, other = with_batcher(Scorer(), use, batch=3, delay_ms=1000)
    assert (good.tolist(), other.tolist()) == ([[1, 1]], [[2, 1]])
    assert isinstance(bad, ValueError)


def test_more_than_may_wait_is_refused() -> None:
    scorer = Scorer()
    scorer.go.clear()

    async def use(batcher: Batcher) -> np.ndarray:
        first = asyncio.create_task(batcher.score([clip(1)]))
        await asyncio.sleep(0.05)  # it is being scored
        second = asyncio.create_task(batcher.score([clip(2), clip(3)]))
        await asyncio.sleep(0)
        with pytest.raises(Refusal) as refused:
            await batcher.score([clip(4)])
        assert refused.value.status == 503
        assert refused.value.headers["Retry-After"]
        scorer.go.set()
        return np.concatenate([await first, await second])

    told = with_batcher(scorer, use, queue=2, workers=1, delay_ms=0)
    assert told[:, 0].tolist() == [1, 2, 3]


def test_long_clips_do_not_pad_a_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fatk.serve.batching._PADDED", 100)
    scorer = Scorer()

    async def use(batcher: Batcher) -> np.ndarray:
        return await batcher.score([clip(1, 10)] * 4 + [clip(1, 60)] + [clip(1, 10)] * 2)

    told = with_batcher(scorer, use, workers=1, delay_ms=20)
    assert told[:, 1].tolist() == [10, 10, 10, 10, 60, 10, 10]
    assert scorer.sizes == [4, 1, 2]


# ---- the guard


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells the size of the body."""
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


def through_guard(
    pieces: Sequence[bytes | None], app: Any = echo, declared: int | None = None, **settings: Any
) -> Any:
    """A request in pieces, `None` for a client that has fallen silent -> (status, headers, body, guard)."""
    sent: list[Message] = []
    left = list(pieces)

    async def receive() -> Message:
        piece = left.pop(0) if left else None
        if piece is None:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    async def send(message: Message) -> None:
        sent.append(message)

    length = (b"transfer-encoding", b"chunked") if declared is None else (b"content-length", b"%d" % declared)
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [length]}
    metrics = Metrics()
    guard = Guard(app, ServeSettings(body_mb=0.001, **settings), metrics)
    asyncio.run(guard(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent[1:])
    assert sent[-1].get("more_body", False) is False
    return sent[0]["status"], dict(sent[0]["headers"]), body, metrics


def test_a_body_within_the_limit_passes() -> None:
    status, headers, body, metrics = through_guard([b"a" * 600, b"b" * 400], declared=1000)
    assert (status, body) == (200, b"1000")
    assert b"connection" not in headers
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert b'fatk_requests_total{method="POST",route="other",status="200"} 1.0' in metrics.page()


@pytest.mark.parametrize("declared", [None, 10])
def test_what_comes_is_counted_whatever_was_declared(declared: int | None) -> None:
    with pytest.raises(Refusal, match="larger than") as refused:
        through_guard([b"a" * 600, b"b" * 600], declared=declared)
    assert refused.value.status == 413


def test_a_declaration_over_the_limit_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fatk.serve.guard._DRAIN_SECONDS", 0.05)
    status, headers, body, metrics = through_guard([b"a", None], declared=1001)
    assert status == 413
    assert headers[b"connection"] == b"close"
    assert b"0.001 MB" in body
    assert b'status="413"} 1.0' in metrics.page()


def test_a_silent_client_is_not_waited_for() -> None:
    with pytest.raises(Refusal, match="nothing came") as refused:
        through_guard([b"a", None], declared=100, silence_seconds=0.1)
    assert refused.value.status == 408


def test_more_requests_than_may_run_are_refused() -> None:
    answers: list[int] = []

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.1)
        await echo(scope, receive, send)

    async def run() -> None:
        guard = Guard(slow, ServeSettings(requests=2), Metrics())

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                answers.append(message["status"])

        scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-length", b"0")]}
        await asyncio.gather(*(guard(dict(scope), receive, send) for _ in range(4)))
        await guard(dict(scope), receive, send)

    asyncio.run(run())
    assert answers == [503, 503, 200, 200, 200]


# ---- pictures


def test_a_png_has_the_highest_band_on_top_and_keeps_short_events() -> None:
    image = np.zeros((4, 10_000), np.uint8)
    image[0] = 50
    image[3, 5555] = 200
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures.png(image)))))
    assert drawn.shape == (4, 4096)
    assert (drawn[3] == 50).all()
    assert (drawn[0] == 200).sum() == 1
    assert drawn[0].argmax() == pytest.approx(5555 * 4096 / 10_000, abs=1)


def test_the_envelope_of_a_waveform() -> None:
    low, high = sound.envelope(np.sin(np.linspace(0, 40, 50_000)).astype(np.float32), columns=10)
    assert min(low) == pytest.approx(-1, abs=1e-3)
    assert max(high) == pytest.approx(1, abs=1e-3)
    assert [len(low), len(high)] == [10, 10]
    assert sound.envelope(np.array([0.5], np.float32)) == ([0.5], [0.5])


# ---- the command line


def refused(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    with pytest.raises(SystemExit) as left:
        cli.run(lambda: command.main(arguments))
    assert left.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_what_the_command_line_refuses(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    model = str(tmp_path)
    assert "saved_model.pb is missing" in refused(capsys, "--model", model, "--port", "0")
    assert "`body_mb`" in refused(capsys, "--model", model, "--body-mb", "0")
    assert "a b" in refused(capsys, "--model", model, "--name", "a b")
    assert "--port" in refused(capsys, "--model", model, "--port", "web")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port}" in refused(capsys, "--model", model, "--port", str(port))
    assert "port 99999" in refused(capsys, "--model", model, "--port", "99999")
