"""A language model on an Ollama server, as `HeadlineModel`.

Before it stands the prompt; after it the sentiment actor. Whatever is not
exactly the answer that was asked for is a failure and never a guess. Asking has a
short deadline and warming up a long one, because a request that is cut off while
the model loads aborts the loading.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

import httpx
from ollama import AsyncClient, Client, ResponseError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from greenlight.domain.market import Unavailable
from greenlight.domain.sentiment import (
    EventType,
    Headline,
    Horizon,
    ModelStanding,
    ModelState,
    Rating,
    standing_of,
)
from greenlight.domain.sentiment_prompt import (
    MAX_REASON,
    OPTIONS,
    PROMPT_VERSION,
    SCHEMA,
    prompt_of,
)
from greenlight.ports import ModelFailed

T = TypeVar("T")

LOOK_S: Final = 2.0
"""Longest wait for what a server knows without any work (ours)."""
LOAD_S: Final = 900.0
"""Longest wait for a model to load: tens of gigabytes from a slow disk (ours)."""
KEEP_ALIVE_S: Final = 3600
"""How long the server holds the model after a request; every request begins it anew."""
_VENDORS: Final = (ResponseError, httpx.HTTPError, httpx.InvalidURL)
_FAILURES: Final = (*_VENDORS, OSError, ValueError, TypeError)
"""What the vendor's client raises. A time-out is an OSError, bad JSON a ValueError, JSON
of another form a TypeError."""

Unit = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Answer(BaseModel):
    """The answer, strictly as the schema has it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    score: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
    relevance: Unit
    event_type: EventType
    horizon: Horizon
    reason: Annotated[str, Field(max_length=MAX_REASON, pattern=r"\A[^\x00-\x1f]*\z")]


class OllamaModel:
    """Asks one model on one server; safe to share between threads.

    Parameters
    ----------
    host : str
        Address of the server, such as ``http://127.0.0.1:11434``.
    model : str
        Its name there; without a tag it is ``:latest``.
    deadline_s : float
        Longest wait for one answer, in seconds.
    wants_gpu : bool
        A model outside the GPU's memory is spilled; False: it is meant to be there.
    """

    def __init__(self, *, host: str, model: str, deadline_s: float, wants_gpu: bool) -> None:
        self.name = model if ":" in model else f"{model}:latest"
        self.prompt_version = PROMPT_VERSION
        self._deadline_s = deadline_s
        self._wants_gpu = wants_gpu
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, name="ollama", daemon=True).start()
        # No time-out of the client's own: each request is bounded as a whole, so that
        # a server which drips an answer does not hold it for ever.
        self._client = AsyncClient(host=host, timeout=None)

    def standing(self) -> ModelStanding:
        """See `HeadlineModel.standing`."""
        return self._wait(self._standing(), LOOK_S)

    def warm_up(self) -> None:
        """See `HeadlineModel.warm_up`; for a loaded model it begins `KEEP_ALIVE_S` anew."""
        self._wait(self._client.chat(model=self.name, keep_alive=KEEP_ALIVE_S), LOAD_S)

    def rate(self, asks: Sequence[tuple[str, Headline]]) -> list[Rating | Unavailable]:
        """See `HeadlineModel.rate`."""
        return asyncio.run_coroutine_threadsafe(self._rate_all(asks), self._loop).result()

    def close(self) -> None:
        """End the connections and the thread."""

        async def end() -> None:
            await self._client.close()  # type: ignore[no-untyped-call]
            self._loop.stop()

        asyncio.run_coroutine_threadsafe(end(), self._loop)

    # -- requests
    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    def _wait(self, request: Coroutine[Any, Any, T], limit_s: float) -> T:
        bounded = asyncio.wait_for(request, limit_s)
        try:
            return asyncio.run_coroutine_threadsafe(bounded, self._loop).result()
        except _FAILURES as error:
            raise ModelFailed(_in_words(error, limit_s)) from error

    async def _standing(self) -> ModelStanding:
        loaded = (await self._client.ps()).models
        for row in loaded:
            if self.name in {row.model, row.name}:
                return standing_of(
                    row.digest or "", row.size or 0, row.size_vram or 0, wants_gpu=self._wants_gpu
                )
        for known in (await self._client.list()).models:
            if known.model == self.name:
                return ModelStanding(state=ModelState.COLD, digest=known.digest or "")
        return ModelStanding(state=ModelState.MISSING, digest="")

    async def _rate_all(self, asks: Sequence[tuple[str, Headline]]) -> list[Rating | Unavailable]:
        return list(await asyncio.gather(*(self._rate(symbol, h) for symbol, h in asks)))

    async def _rate(self, symbol: str, headline: Headline) -> Rating | Unavailable:
        prompt = prompt_of(symbol, headline)
        try:
            reply = await asyncio.wait_for(
                self._client.chat(
                    model=self.name,
                    messages=[
                        {"role": "system", "content": prompt.system},
                        {"role": "user", "content": prompt.user},
                    ],
                    format=SCHEMA,
                    options=OPTIONS,
                    keep_alive=KEEP_ALIVE_S,
                ),
                self._deadline_s,
            )
        except _FAILURES as error:
            return Unavailable(_in_words(error, self._deadline_s))
        if not reply.done or reply.done_reason != "stop":
            return Unavailable(f"the answer was cut off ({reply.done_reason or 'not done'})")
        return rating_of(reply.message.content or "")


def rating_of(text: str) -> Rating | Unavailable:
    """The rating that an answer holds, or what is wrong with it."""
    try:
        found = _Answer.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "answer"
        return Unavailable(f"not the answer asked for: {where}: {first['msg']}")
    return Rating(
        score=found.score,
        relevance=found.relevance,
        event=found.event_type,
        horizon=found.horizon,
        reason=found.reason,
    )


def _in_words(error: Exception, limit_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {limit_s:g} s"
    if isinstance(error, ResponseError):
        return f"HTTP {error.status_code}: {error.error.strip()[:200]}"
    if isinstance(error, OSError | httpx.TransportError):
        return "the model server does not answer"
    return f"{type(error).__name__}: {error}"[:200]


@dataclass(frozen=True, slots=True, kw_only=True)
class PullProgress:
    """How far a download is; bytes, None before they are known."""

    status: str
    layer: str | None
    done_bytes: int | None
    total_bytes: int | None


def pull(host: str, model: str) -> Iterator[PullProgress]:
    """Download a model onto its server, telling how far it is.

    Raises
    ------
    ModelFailed
        The server does not answer, or does not find the model.
    """
    try:
        for row in Client(host=host).pull(model, stream=True):
            yield PullProgress(
                status=row.status or "",
                layer=row.digest,
                done_bytes=row.completed,
                total_bytes=row.total,
            )
    except _FAILURES as error:
        raise ModelFailed(_in_words(error, 0)) from error
