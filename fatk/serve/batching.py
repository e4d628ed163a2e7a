"""Clips of several requests, scored together."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fatk.serve.metrics import Metrics
from fatk.serve.refusal import Refusal
from fatk.serve.settings import ServeSettings

Waveform = NDArray[np.float32]
Score = Callable[[Sequence[Waveform]], NDArray[Any]]

_PADDED = 64_000_000  # samples of a batch, its rows padded to the longest: 256 MB


@dataclass
class _Waiting:
    waveform: Waveform
    since: float  # seconds of the event loop's clock
    answer: asyncio.Future[NDArray[Any]]


class Batcher:
    """Collects clips for some milliseconds, or until there are enough, and scores them in one call.

    While a batch is scored the next one fills, so under load batches grow by themselves. Answers do not
    depend on the company: that is a promise of the model's signature `ragged`.
    """

    def __init__(self, score: Score, settings: ServeSettings, metrics: Metrics, pool: Executor):
        self._score = score
        self._settings = settings
        self._metrics = metrics
        self._pool = pool
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._filling = asyncio.Lock()
        self._runners: list[asyncio.Task[None]] = []
        metrics.queue.set_function(lambda: len(self._waiting))

    def start(self) -> None:
        """Begin to score, inside the event loop that requests come in by."""
        self._runners = [asyncio.create_task(self._run()) for _ in range(self._settings.workers)]

    async def stop(self) -> None:
        """Stop; clips that still wait are refused."""
        for runner in self._runners:
            runner.cancel()
        await asyncio.gather(*self._runners, return_exceptions=True)
        for waiting in self._waiting:
            if not waiting.answer.done():
                waiting.answer.set_exception(Refusal(503, "the service is stopping."))
        self._waiting.clear()

    async def score(self, waveforms: Sequence[Waveform]) -> NDArray[Any]:
        """(samples,) each -> (clips, classes). Raises `Refusal` where too many wait already."""
        if len(self._waiting) + len(waveforms) > self._settings.queue:
            raise Refusal(503, f"{len(self._waiting)} clips wait to be scored; try again in a second.")
        loop = asyncio.get_running_loop()
        entries = [_Waiting(waveform, loop.time(), loop.create_future()) for waveform in waveforms]
        self._waiting.extend(entries)
        self._arrived.set()
        answers = await asyncio.gather(*(entry.answer for entry in entries))
        return np.stack(answers)

    async def _fill(self) -> list[_Waiting]:
        """Wait for a first clip, then for company as long as it may wait -> the batch."""
        loop = asyncio.get_running_loop()
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        until = self._waiting[0].since + self._settings.delay_ms / 1000
        while len(self._waiting) < self._settings.batch and (left := until - loop.time()) > 0:
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), left)
            except TimeoutError:
                break
        return self._take()

    def _take(self) -> list[_Waiting]:
        """The oldest clips that fit into one batch; those whose client has gone are dropped."""
        taken: list[_Waiting] = []
        longest = 0
        while self._waiting and len(taken) < self._settings.batch:
            if self._waiting[0].answer.done():
                self._waiting.popleft()
                continue
            longest = max(longest, len(self._waiting[0].waveform))
            if taken and longest * (len(taken) + 1) > _PADDED:
                break
            taken.append(self._waiting.popleft())
        return taken

    async def _run(self) -> None:
        """Score one batch after the other."""
        loop = asyncio.get_running_loop()
        while True:
            async with self._filling:
                batch = await self._fill()
            if not batch:
                continue
            now = loop.time()
            for entry in batch:
                self._metrics.waited.observe(now - entry.since)
            self._metrics.clips.observe(len(batch))
            with self._metrics.batch_seconds.time():
                answers = await loop.run_in_executor(
                    self._pool, self._answers, [entry.waveform for entry in batch]
                )
            for entry, answer in zip(batch, answers, strict=True):
                if entry.answer.done():
                    continue
                if isinstance(answer, Exception):
                    entry.answer.set_exception(answer)
                else:
                    entry.answer.set_result(answer)

    def _answers(self, waveforms: list[Waveform]) -> list[NDArray[Any] | Exception]:
        """Scores, or what went wrong; a batch that fails is tried clip by clip, to spare the innocent."""
        try:
            return list(self._score(waveforms))
        except Exception as error:
            if len(waveforms) == 1:
                return [error]
            logging.getLogger("fatk.serve").warning("a batch of %d failed: %s", len(waveforms), error)
            return [answer for waveform in waveforms for answer in self._answers([waveform])]
