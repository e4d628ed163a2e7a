"""`python -m fatk.serve --model DIR --port 8501`: a tagger over HTTP, and a page to listen with.

TensorFlow Serving's REST routes (/v1/models/fatk:predict), uploads (/v1/audio), /healthz, /metrics, /docs.
"""

import os
import signal
import socket
from collections.abc import Sequence

from fatk import cli, convolutions
from fatk.serve.settings import ServeSettings

_STOP_SECONDS = 30  # for requests under way, after SIGTERM or Ctrl-C

_OPTIONS: tuple[tuple[str, type, str, str], ...] = (
    ("name", str, "NAME", "the model's name in the routes"),
    ("body_mb", float, "MB", "largest body of a request"),
    ("clip_seconds", float, "S", "longest clip"),
    ("batch", int, "N", "clips scored together at most"),
    ("delay_ms", float, "MS", "how long a clip waits for others to be scored with"),
    ("queue", int, "N", "clips that wait at most; more are refused (503)"),
    ("requests", int, "N", "POST requests under way at most; more are refused (503)"),
    ("workers", int, "N", "threads that run the model"),
)


def listen(host: str, port: int) -> socket.socket:
    """-> a socket bound to the address, before a model is loaded for nothing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise cli.UserError(f"cannot listen at {host}, port {port}: {reason}.") from None
    return bound


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = cli.parser("fatk.serve", __doc__)
    parser.add_argument("--model", required=True, metavar="DIR", help="a run's folder, or a SavedModel")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0: all networks (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8501, help="0: any that is free (default 8501)")
    for name, kind, value, words in _OPTIONS:
        default = getattr(ServeSettings, name)
        said = f"{default:g}" if kind is float else default
        words = f"{words} (default {said})"
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=kind, default=default, metavar=value, help=words)
    parser.add_argument(
        "--origin", action="append", default=[], metavar="URL", help="a site whose pages may call; repeatable"
    )
    parser.add_argument(
        "--precision", choices=convolutions.PRECISIONS, default="float32", help=convolutions.HELP
    )
    arguments = parser.parse_args(argv)
    try:
        settings = ServeSettings(
            **{name: getattr(arguments, name) for name, *_ in _OPTIONS}, origins=tuple(arguments.origin)
        )
    except ValueError as error:
        raise cli.UserError(str(error)) from None
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with listen(arguments.host, arguments.port) as bound:
        run(bound, arguments.model, settings, arguments.precision)
    return 0


def run(bound: socket.socket, model: str, settings: ServeSettings, precision: str) -> None:
    """Load the model and answer until a signal comes; requests under way are finished then."""
    from fatk.serve.engine import Engine
    from fatk.tagger import SavedTagger

    engine = Engine(SavedTagger(model, precision))

    import uvicorn

    from fatk.serve.app import build

    server = uvicorn.Server(
        uvicorn.Config(
            build(engine, settings),
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            lifespan="on",
            ws="none",
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
    )
    host, port = bound.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    cli.say(
        f"http://{shown}:{port}/ serves {engine.tagger.folder}: {len(engine.classes)} classes, "
        f"{engine.rate} Hz. Ctrl-C stops it."
    )
    # uvicorn raises the signal again once it has stopped; by then it has done its work.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run(sockets=[bound])


if __name__ == "__main__":
    cli.run(main)
