"""What the routes do: requests to the model's threads and back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from fatk.serve import pictures, sound, tensors
from fatk.serve.batching import Batcher
from fatk.serve.engine import Engine
from fatk.serve.metrics import Metrics
from fatk.serve.refusal import Refusal
from fatk.serve.settings import ServeSettings

Result = TypeVar("Result")


class Service:
    """An engine, its batcher and its threads."""

    def __init__(self, engine: Engine, settings: ServeSettings):
        self.engine = engine
        self.settings = settings
        self.metrics = Metrics()
        self._model = ThreadPoolExecutor(settings.workers, "model")
        self._side = ThreadPoolExecutor(2, "side")  # decoding, JSON, pictures
        self.batcher = Batcher(engine.score, settings, self.metrics, self._model)

    @asynccontextmanager
    async def running(self, _: object) -> AsyncIterator[None]:
        """From the first request to the end of the last."""
        self.batcher.start()
        yield
        await self.batcher.stop()
        self._model.shutdown()
        self._side.shutdown()

    async def _in(self, pool: ThreadPoolExecutor, call: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(pool, call, *arguments)

    async def predict(self, body: bytearray) -> bytes:
        """A predict request, which is emptied -> its answer, both JSON."""
        name, rows, given = await self._in(self._side, self._asked, body)
        body.clear()  # what follows may wait long
        clips = tensors.clips(name, given)
        if clips is not None and set(self.engine.signatures[name].structured_outputs) == {"probabilities"}:
            outputs = {"probabilities": await self.batcher.score(clips)}
        else:
            outputs = await self._in(self._model, self.engine.run, name, given)
        return await self._in(self._side, tensors.answer, rows, outputs)

    def _asked(self, body: bytearray) -> tuple[str, bool, dict[str, NDArray[Any]]]:
        """The JSON of a request -> its signature, whether in rows, and arrays within the limits.

        In one step: as Python's objects a body takes many times its size, and only arrays are to wait.
        """
        query = tensors.parse(body)
        signature = self.engine.signatures.get(query.signature)
        if signature is None:
            names = ", ".join(sorted(self.engine.signatures))
            raise Refusal(404, f"no signature {query.signature!r}; this model has {names}.")
        given = tensors.arrays(query, signature)
        limits = self.settings
        tensors.check(given, self.engine.rate, limits.clip_seconds, limits.queue, len(self.engine.classes))
        if "audio_bytes" in given:
            self.engine.check_wavs(given["audio_bytes"], limits.clip_seconds)
        return query.signature, query.rows, given

    async def _decode(self, file: BinaryIO) -> sound.Sound:
        heard = await self._in(self._side, sound.decode, file, self.engine.rate, self.settings.clip_seconds)
        self.metrics.audio.inc(heard.seconds)
        return heard

    async def tag(self, name: str, file: BinaryIO, top: int, **wanted: bool) -> dict[str, Any]:
        """A sound file -> `answers.Tagged`."""
        heard = await self._decode(file)
        scores = (await self.batcher.score([heard.waveform]))[0]
        order = np.argsort(-scores, kind="stable")[:top]
        found: dict[str, Any] = {
            "file": name,
            "format": heard.format,
            "seconds": round(heard.seconds, 4),
            "rate": heard.rate,
            "channels": heard.channels,
            "tags": [
                {"label": self.engine.classes[i], "probability": round(float(scores[i]), 6)} for i in order
            ],
            "classes": self.engine.classes,
            "probabilities": _rounded(scores),
        }
        if wanted["windows"]:
            found["windows"] = await self._in(self._model, self._windows, heard)
        if wanted["image"]:
            found["image"] = await self._in(self._model, self._image, heard)
        if wanted["waveform"]:
            low, high = await self._in(self._side, sound.envelope, heard.waveform)
            found["waveform"] = {"low": low, "high": high}
        return found

    def _windows(self, heard: sound.Sound) -> list[dict[str, Any]]:
        starts, ends, scores = self.engine.windows(heard.waveform)
        return [
            {"start": round(float(start), 4), "end": round(float(end), 4), "probabilities": _rounded(row)}
            for start, end, row in zip(starts, ends, scores, strict=True)
        ]

    def _image(self, heard: sound.Sound) -> dict[str, Any]:
        if not self.engine.has("image"):
            raise Refusal(400, "this model has no signature `image`.")
        axes = self.engine.axes
        image = self.engine.image(heard.waveform)
        start, end = axes.extent(image.shape[1], heard.seconds)
        return {
            "png": pictures.png(image),
            "bands": image.shape[0],
            "start": round(start, 4),
            "end": round(end, 4),
            "hertz": [{"hertz": hertz, "band": band} for hertz, band in axes.hertz],
        }

    async def explain(self, file: BinaryIO, label: str) -> dict[str, Any]:
        """A sound file and a class -> `answers.Explained`."""
        if not self.engine.has("explain"):
            raise Refusal(400, "this model has no signature `explain`.")
        if label not in self.engine.classes:
            raise Refusal(404, f"no class {label!r}; GET /v1/about lists them.")
        heard = await self._decode(file)
        index = self.engine.classes.index(label)
        overlay = await self._in(self._model, self.engine.explain, heard.waveform, index)
        return {"label": label, "png": await self._in(self._side, pictures.png, overlay)}


def _rounded(scores: Any) -> list[float]:
    """(classes,) to six digits; the model's own precision ends there."""
    return [round(score, 6) for score in np.asarray(scores, np.float64).tolist()]
