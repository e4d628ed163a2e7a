"""What one client can take from the others: slow bodies, memory, series of the metrics, lines of the log."""

import asyncio
import json
import logging
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from starlette.types import Message, Receive, Scope, Send

from fatk.serve import app, tensors
from fatk.serve.guard import Guard
from fatk.serve.metrics import Metrics
from fatk.serve.refusal import Refusal
from fatk.serve.service import Service
from fatk.serve.settings import ServeSettings
from tests import served

# ---- bodies that come slowly


async def taking(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body to its end; a refusal is the answer."""
    status = 200
    try:
        while (await receive()).get("more_body", False):
            pass
    except Refusal as refused:
        status = refused.status
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": refused.message.encode()})
        return
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def slowly(piece: bytes, times: int, body_mb: float = 1.0) -> tuple[int, bytes]:
    guard = Guard(taking, ServeSettings(silence_seconds=0.4, body_mb=body_mb), Metrics())
    return asyncio.run(served.ask(guard, served.several(*[piece] * times, every=0.05)))


def test_a_body_that_drips_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fatk.serve.guard._DRAIN_SECONDS", 0.05)
    status, said = slowly(b"x", 40)
    assert status == 408
    assert b"too slowly" in said


def test_a_slow_body_is_taken() -> None:
    assert slowly(b"x" * 1000, 20)[0] == 200


def test_a_body_must_end_in_time_however_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fatk.serve.guard._DRAIN_SECONDS", 0.05)
    status, said = slowly(b"x" * 120, 40, body_mb=0.005)
    assert status == 408
    assert b"too slowly" in said


def test_time_that_the_service_takes_is_not_the_clients() -> None:
    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        async def late() -> Message:
            await asyncio.sleep(0.15)
            return await receive()

        await taking(scope, late, send)

    guard = Guard(busy, ServeSettings(silence_seconds=0.4), Metrics())
    assert asyncio.run(served.ask(guard, served.several(*[b"x"] * 8)))[0] == 200


# ---- the count


def test_methods_that_clients_invent_share_a_series() -> None:
    metrics = Metrics()
    guard = Guard(taking, ServeSettings(), metrics)
    for method in ("M1", "M2", "GET", "PATCH"):
        asyncio.run(served.ask(guard, served.several(), method=method))
    counted = [
        line for line in metrics.page().decode().splitlines() if line.startswith("fatk_requests_total")
    ]
    assert sorted(counted) == [
        f'fatk_requests_total{{method="{method}",route="other",status="200"}} {times}'
        for method, times in (("GET", 1.0), ("PATCH", 1.0), ("other", 2.0))
    ]


def counted(built: Any) -> str:
    """/metrics, of an application that has answered."""

    async def run() -> bytes:
        return (await served.ask(built, served.several(), "/metrics", "GET"))[1]

    return asyncio.run(run()).decode()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/audio", "audio/wav"),
        ("/v1/audio", "multipart/form-data; boundary=B"),
        ("/v1/explain?label=a", "multipart/form-data; boundary=B"),
        ("/v1/models/fatk:predict", "application/json"),
    ],
)
def test_a_client_that_leaves_is_counted_and_not_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str, kind: str
) -> None:
    built = app.build(served.bare(tmp_path), ServeSettings())
    start = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nabc'
    with caplog.at_level(logging.WARNING):
        asyncio.run(served.ask(built, served.several(start, None), path, kind=kind))
    assert caplog.records == []
    route = path.partition("?")[0]
    assert f'method="POST",route="{route}",status="400"}} 1.0' in counted(built)


def test_a_failure_of_the_service_counts_as_one(tmp_path: Path) -> None:
    built = app.build(served.bare(tmp_path, signatures={"broken": SimpleNamespace()}), ServeSettings())
    body = json.dumps({"signature_name": "broken", "inputs": [1]}).encode()
    with pytest.raises(AttributeError):
        asyncio.run(served.ask(built, served.several(body), "/v1/models/fatk:predict"))
    assert 'route="/v1/models/fatk:predict",status="500"} 1.0' in counted(built)


# ---- memory


def test_what_waits_to_be_scored_waits_as_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most, seen = [0], threading.Lock()
    parse = tensors.parse

    class Seen(list):  # can be referred to weakly
        __hash__ = object.__hash__  # type: ignore[assignment]

    def parsed(body: bytes) -> tensors.Query:
        query = parse(body)
        rows = Seen(query.values)
        with seen:
            alive.add(rows)
            most[0] = max(most[0], len(alive))
        return tensors.Query(query.signature, query.rows, rows)

    scored: list[int] = []

    def score(clips: Sequence[np.ndarray]) -> np.ndarray:
        scored.append(len(alive))
        return np.zeros((len(clips), 2), np.float32)

    monkeypatch.setattr(tensors, "parse", parsed)
    signature = SimpleNamespace(
        structured_input_signature=((), {"audio": tf.TensorSpec([None, None], tf.float32)}),
        structured_outputs={"probabilities": None},
    )
    model = served.bare(tmp_path, signatures={"serving_default": signature}, score=score)

    async def run() -> list[bytes]:
        service = Service(model, ServeSettings(batch=8, delay_ms=10_000))
        body = json.dumps({"instances": [[0.1, 0.2]]}).encode()
        bodies = [bytearray(body) for _ in range(8)]
        async with service.running(None):
            answers = await asyncio.gather(*(service.predict(body) for body in bodies))
        assert not any(bodies)
        return answers

    answers = asyncio.run(run())
    assert json.loads(answers[0]) == {"predictions": [[0, 0]]}
    assert scored == [0]
    assert most[0] <= 2  # one a thread
