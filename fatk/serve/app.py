"""The routes."""

import logging
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from fatk.serve import answers, described
from fatk.serve.engine import Engine
from fatk.serve.guard import Guard
from fatk.serve.metrics import CONTENT_TYPE
from fatk.serve.openapi import AUDIO_BODY, DESCRIPTION, PREDICT_BODY
from fatk.serve.refusal import Refusal
from fatk.serve.service import Service
from fatk.serve.settings import ServeSettings
from fatk.serve.uploads import known_query, upload

PAGE = Path(__file__).with_name("page")
_REFUSED: dict[int | str, dict[str, Any]] = {
    code: {"model": answers.Problem} for code in (400, 404, 408, 413, 415, 503)
}


def _refused(error: Refusal) -> JSONResponse:
    return JSONResponse({"error": error.message}, error.status, error.headers)


def _handle_errors(app: FastAPI) -> None:
    """Every error is {"error": "..."}."""

    @app.exception_handler(Refusal)
    async def refused(_: Request, error: Refusal) -> JSONResponse:
        return _refused(error)

    @app.exception_handler(ClientDisconnect)
    async def left(_: Request, error: ClientDisconnect) -> JSONResponse:
        return _refused(Refusal(400, "the connection ended before the body did."))  # for the count alone

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        words = {404: f"nothing is served at {request.url.path}.", 405: f"not a {request.method} route."}
        said = words.get(error.status_code, str(error.detail))
        return JSONResponse({"error": said}, error.status_code, dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        said = "; ".join(
            f"`{one['loc'][-1]}`: {one['msg']}. Received: {one['input']!r}" for one in error.errors()
        )
        return JSONResponse({"error": f"{said}."}, 400)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        logging.getLogger("fatk.serve").error("%s failed", request.url.path)
        return JSONResponse({"error": "the service failed on this; its log says how."}, 500)


def build(engine: Engine, settings: ServeSettings) -> FastAPI:
    """-> the application."""
    service = Service(engine, settings)
    app = FastAPI(
        title=settings.name,
        description=DESCRIPTION,
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=service.running,
    )
    if settings.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.origins, allow_methods=["*"], allow_headers=["*"]
        )
    app.add_middleware(Guard, settings=settings, metrics=service.metrics)
    _handle_errors(app)
    _serving_routes(app, service)
    _audio_routes(app, service)
    _house_routes(app, service)
    return app


def _serving_routes(app: FastAPI, service: Service) -> None:
    """TensorFlow Serving's."""
    model = f"/v1/models/{service.settings.name}"

    async def predict(request: Request) -> Response:
        """Scores of waveforms, in rows ("instances") or columns ("inputs"), by any signature of the model."""
        body = bytearray()  # not `request.body()`, which keeps it to the end of the answer
        async for piece in request.stream():
            body += piece
        return Response(await service.predict(body), media_type="application/json")

    async def status() -> dict[str, Any]:
        """The model's version and state."""
        return described.status()

    async def metadata() -> dict[str, Any]:
        """The model's signatures: names, types and shapes."""
        return described.metadata(service.settings.name, service.engine.signatures)

    for base in (model, f"{model}/versions/1"):
        shown = base == model
        app.add_api_route(
            f"{base}:predict",
            predict,
            methods=["POST"],
            tags=["TensorFlow Serving"],
            include_in_schema=shown,
            openapi_extra=PREDICT_BODY,
            responses=_REFUSED,
        )
        for path, call in ((base, status), (f"{base}/metadata", metadata)):
            app.add_api_route(path, call, tags=["TensorFlow Serving"], include_in_schema=shown)

    @app.api_route("/v1/models/{rest:path}", methods=["GET", "POST"], include_in_schema=False)
    async def unknown(request: Request, rest: str) -> Response:
        if rest.removesuffix("/versions/1:predict").removesuffix(":predict") == service.settings.name:
            raise HTTPException(405)
        return _refused(
            Refusal(404, f"no {rest!r} here; this service has {model}, {model}/metadata and {model}:predict.")
        )


def _audio_routes(app: FastAPI, service: Service) -> None:
    """Sound files in."""

    @app.post(
        "/v1/audio", tags=["sound files"], responses={200: {"model": answers.Tagged}, **_REFUSED},
        openapi_extra=AUDIO_BODY, dependencies=[Depends(known_query)],
    )  # fmt: skip
    async def tag(
        request: Request,
        top: Annotated[int, Query(ge=1, le=10000, description="how many tags")] = 5,
        windows: Annotated[bool, Query(description="scores along the sound")] = False,
        image: Annotated[bool, Query(description="the spectrogram that the network is shown")] = False,
        waveform: Annotated[bool, Query(description="an outline of the sound, for a drawing")] = False,
    ) -> JSONResponse:
        """Tags of a sound file of any rate in any format that libsndfile reads: WAV, FLAC, Ogg, MP3, AIFF...

        The file is the body, or a file in a form.
        """
        async with upload(request) as (name, file):
            found = await service.tag(name, file, top, windows=windows, image=image, waveform=waveform)
        return JSONResponse(found)

    @app.post(
        "/v1/explain", tags=["sound files"], responses={200: {"model": answers.Explained}, **_REFUSED},
        openapi_extra=AUDIO_BODY, dependencies=[Depends(known_query)],
    )  # fmt: skip
    async def explain(
        request: Request, label: Annotated[str, Query(description="a class, as /v1/about names it")]
    ) -> JSONResponse:
        """Where in the spectrogram a sound file speaks for a class."""
        async with upload(request) as (_, file):
            return JSONResponse(await service.explain(file, label))


def _house_routes(app: FastAPI, service: Service) -> None:
    """Health, metrics, and the pages."""
    engine, settings = service.engine, service.settings

    @app.get("/v1/about", tags=["service"])
    async def about() -> answers.About:
        """The model's classes and rate, and the limits of this service."""
        return answers.About(
            name=settings.name,
            classes=list(engine.classes),
            rate=engine.rate,
            window_seconds=engine.span,
            signatures=sorted(engine.signatures),
            body_bytes=settings.body_bytes,
            clip_seconds=settings.clip_seconds,
        )

    @app.get("/healthz", tags=["service"])
    async def health() -> dict[str, str]:
        """Whether the service answers."""
        return {"status": "ok"}

    @app.get("/metrics", tags=["service"], response_class=Response)
    async def metrics() -> Response:
        """Counters, in Prometheus' text format."""
        return Response(service.metrics.page(), headers={"content-type": CONTENT_TYPE})

    for path, file in (("/", "index.html"), ("/docs", "docs.html")):

        def page(file: str = file) -> FileResponse:
            return FileResponse(PAGE / file, headers={"cache-control": "no-cache"})

        app.add_api_route(path, page, include_in_schema=False, methods=["GET", "HEAD"], name=file)
    app.mount("/static", StaticFiles(directory=PAGE), name="static")
