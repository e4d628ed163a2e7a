"""What Prometheus may ask for."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counters of one service, in a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # a second series for every counter, of no use here
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.requests = Counter(
            "fatk_requests", "Answered requests.", ("route", "method", "status"), registry=registry
        )
        self.seconds = Histogram(
            "fatk_request_seconds",
            "From a request's head to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.running = Gauge("fatk_requests_running", "Requests under way.", registry=registry)
        self.queue = Gauge("fatk_queue_clips", "Clips that wait to be scored.", registry=registry)
        self.waited = Histogram(
            "fatk_queue_seconds",
            "Wait of a clip for its batch to start.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.clips = Histogram(
            "fatk_batch_clips", "Clips scored together.", buckets=_SIZES, registry=registry
        )
        self.batch_seconds = Histogram(
            "fatk_batch_seconds", "Scoring of a batch.", buckets=_SECONDS, registry=registry
        )
        self.audio = Counter("fatk_audio_seconds", "Seconds of sound uploaded.", registry=registry)

    def page(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)
