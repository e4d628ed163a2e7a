"""The outermost layer: limits on what comes in, headers on what goes out, and the count of both."""

import asyncio
import json
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fatk.serve.metrics import Metrics
from fatk.serve.refusal import Refusal
from fatk.serve.settings import ServeSettings

# Counted by name. A client may call its method anything, and a series once there stays.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_LEAST = 2_000  # bytes/s of a body, on average after its first seconds; live speech in Opus is more
_WHOLE = 50_000  # bytes/s: the time in which the largest body must be whole
_DRAIN_SECONDS = 2.0  # a refused body is still read for so long, so that its sender gets to read why

# The page and its parts come from here, and nothing comes from elsewhere.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", _POLICY.encode()),
)


class Guard:
    """ASGI middleware. What the length header claims is believed only where it is over the limit already."""

    def __init__(self, app: ASGIApp, settings: ServeSettings, metrics: Metrics):
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._posts = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._settings)
        posts = scope["method"] == "POST"
        self._posts += posts
        begun = perf_counter()
        try:
            with self._metrics.running.track_inprogress():
                refused = exchange.refusal()
                if posts and self._posts > self._settings.requests:
                    refused = Refusal(503, f"{self._settings.requests} requests are under way already.")
                if refused:
                    await exchange.refuse(refused)
                else:
                    await self._app(scope, exchange.receive, exchange.send)
        except Exception:
            exchange.status = exchange.status or 500  # the answer to this is sent further out
            raise
        finally:
            self._posts -= posts
            route = getattr(scope.get("route"), "path", None) or "other"
            route = "/static" if scope["path"].startswith("/static/") else route
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(route, method, str(exchange.status)).inc()
            self._metrics.seconds.labels(route).observe(perf_counter() - begun)


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, settings: ServeSettings):
        self._receive = receive
        self._send = send
        self._settings = settings
        headers = dict(scope["headers"])
        self._declared = headers.get(b"content-length", b"")
        self._waits = b"expect" in headers  # a client that sends its body only when asked
        self._whole = not (self._declared.strip(b"0") or b"transfer-encoding" in headers)
        self._received = 0
        self._waited = 0.0  # seconds for the client; what the service takes itself is not held against it
        self.status = 0

    def refusal(self) -> Refusal | None:
        """Why the head of the request is refused, if it is."""
        if self._declared.isdigit() and int(self._declared) > self._settings.body_bytes:
            return self._too_large()
        return None

    def _too_large(self) -> Refusal:
        return Refusal(
            413, f"the body is larger than {self._settings.body_mb:g} MB, the limit of this service."
        )

    async def receive(self) -> Message:
        """The next piece of the body, counted. Raises `Refusal` where it gets too much, or is too slow."""
        if self._whole:
            return await self._receive()  # the end of the connection, if anything
        silence = self._settings.silence_seconds
        left = silence + min(self._received / _LEAST, self._settings.body_bytes / _WHOLE) - self._waited
        begun = perf_counter()
        try:
            async with asyncio.timeout(min(silence, left)):
                message = await self._receive()
        except TimeoutError:
            slow = f"the body comes too slowly: {self._received} bytes in {self._waited + left:.0f} seconds."
            still = f"nothing came for {silence:g} seconds, and the body is not whole."
            raise Refusal(408, slow if left < silence else still) from None
        self._waited += perf_counter() - begun
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._received > self._settings.body_bytes:
                raise self._too_large()
        return message

    async def send(self, message: Message) -> None:
        """Pass the answer on. One that comes before the body has ended closes the connection after it."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), *_HEADERS]
            if not self._whole:
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        elif not message.get("more_body", False) and not self._whole:
            await self._send({**message, "more_body": True})
            await self._drain()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def _drain(self) -> None:
        """Read what the client still sends, for a moment: a connection closed on it loses the answer too."""
        if self._waits and not self._received:
            return
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while not self._whole:
                    message = await self._receive()
                    self._whole = message["type"] != "http.request" or not message.get("more_body", False)
        except TimeoutError:
            pass

    async def refuse(self, refusal: Refusal) -> None:
        """Answer in place of the application."""
        body = json.dumps({"error": refusal.message}).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body)), **refusal.headers}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": refusal.status, "headers": raw})
        await self.send({"type": "http.response.body", "body": body})
