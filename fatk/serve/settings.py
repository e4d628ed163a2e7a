"""What the service allows itself and its clients."""

import re
from dataclasses import dataclass

from pipelines.settings import Problems


@dataclass(frozen=True)
class ServeSettings:
    """Limits and sizes of one service."""

    name: str = "fatk"  # of the model, in the routes
    body_mb: float = 32.0  # MB (1e6 bytes) of a request's body
    clip_seconds: float = 300.0  # seconds of a clip, whatever its rate
    batch: int = 16  # clips scored together at most
    delay_ms: float = 5.0  # milliseconds that a clip waits for others to be scored with
    queue: int = 256  # clips that wait to be scored; more are refused
    requests: int = 128  # POST requests under way at once; more are refused
    workers: int = 2  # threads that run the model
    silence_seconds: float = 30.0  # seconds within a body without a byte from the client
    origins: tuple[str, ...] = ()  # other sites whose pages may call, as https://example.org; "*": all

    def __post_init__(self) -> None:
        """Raise `ValueError` where values cannot be."""
        problems = Problems()
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", self.name):
            problems.append(f"`name` must be letters, digits and any of _.- Received: {self.name!r}.")
        problems.between("body_mb", self.body_mb, 0.001, 4096)
        problems.between("clip_seconds", self.clip_seconds, 1, 3600)
        problems.between("batch", self.batch, 1, 1024)
        problems.between("delay_ms", self.delay_ms, 0, 10000)
        problems.least("queue", self.queue, 1)
        problems.least("requests", self.requests, 1)
        problems.between("workers", self.workers, 1, 64)
        problems.between("silence_seconds", self.silence_seconds, 0.1, 3600)
        problems.raise_any()

    @property
    def body_bytes(self) -> int:
        """Bytes of a request's body."""
        return round(self.body_mb * 1e6)
