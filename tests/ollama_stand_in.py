"""A stand-in for an Ollama server: its API, with faults that a test scripts.

It serves `/api/chat`, `/api/ps`, `/api/tags`, `/api/pull` and `/api/version` in
the forms of Ollama 0.6, in a thread of this process. As with the real one, a client that goes
away while the model loads aborts the loading.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from cluster.processes import free_port

MODEL: Final = "stand-in:latest"
DIGEST: Final = "5f0c" * 16
SIZE: Final = 4_000_000_000
HANG_S: Final = 3600.0
BUSY: Final = "server busy, please try again.  maximum pending requests exceeded"
_BAD, _GOOD = ("lawsuit", "falls", "misses"), ("beats", "rises", "record")
_SCORE: Final = '"relevance":0.9,"event_type":"other","horizon":"day","reason":"words"}'
CONTENT_FAULTS: Final = {
    "prose": 'Sure! Here is the rating: {"score": 0.5, ' + _SCORE + " I hope this helps.",
    "fenced": '```json\n{"score": 0.5, ' + _SCORE + "\n```",
    "half": '{"score": 0.5, "relevance": 0.9, "event_ty',
    "nan": '{"score": NaN, ' + _SCORE,
    "infinite": '{"score": 1e999, ' + _SCORE,
    "range": '{"score": 1.5, ' + _SCORE,
    "text": '{"score": "0.5", ' + _SCORE,
    "boolean": '{"score": true, ' + _SCORE,
    "missing": "{" + _SCORE,
    "more": '{"order": "buy 100", "score": 0.5, ' + _SCORE,
    "event": '{"score": 0.5, ' + _SCORE.replace("other", "rumour"),
    "lines": '{"score": 0.5, ' + _SCORE.replace("words", "a\\nb"),
    "long": '{"score": 0.5, ' + _SCORE.replace("words", "word " * 500),
    "list": "[0.5]",
    "null": "null",
    "empty": "",
}
"""Answers that are none, by name."""
TRANSPORT_FAULTS: Final = ("hang", "503", "500", "404", "html", "length", "drip")


class StandIn:
    """The server. `faults` are used up one a chat, `always` holds until it is taken back.

    Parameters
    ----------
    load_s : float
        How long the model takes to load.
    """

    def __init__(self, *, load_s: float = 0.0, port: int | None = None) -> None:
        self.load_s = load_s
        self.takes_s = 0.001
        self.port = free_port() if port is None else port
        self.host = f"http://127.0.0.1:{self.port}"
        self.faults: deque[str] = deque()
        self.always: str | None = None
        self.looks: str | None = None
        self.pulled = {MODEL}
        self.vram = SIZE
        self.is_loaded = False
        self.loads_aborted = 0
        self.asked: list[dict[str, Any]] = []
        self.at_once = 0
        self.most_at_once = 0
        routes = [
            Route("/api/chat", self._chat, methods=["POST"]),
            Route("/api/ps", self._ps),
            Route("/api/tags", self._tags),
            Route("/api/pull", self._pull, methods=["POST"]),
            Route("/api/version", self._version),
        ]
        self._app = Starlette(routes=routes)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> StandIn:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen."""
        config = uvicorn.Config(
            self._app,
            host="127.0.0.1",
            port=self.port,
            log_level="critical",
            lifespan="off",
            timeout_graceful_shutdown=0,
        )
        self._server = server = uvicorn.Server(config)
        self._thread = threading.Thread(target=server.run, daemon=True)
        self._thread.start()
        until = time.monotonic() + 10
        while not server.started:
            assert time.monotonic() < until, "the stand-in does not start"
            time.sleep(0.01)

    def stop(self) -> None:
        """Die: every connection breaks, and nobody listens."""
        if self._server is not None and self._thread is not None:
            self._server.force_exit = True
            self._server.should_exit = True
            self._thread.join(10)
        self._server = None
        self.is_loaded = False

    # -- routes
    async def _version(self, request: Request) -> Response:
        return JSONResponse({"version": "0.6.3"})

    async def _ps(self, request: Request) -> Response:
        if self.looks is not None:
            return await _broken(self.looks)
        rows = [{**_row(), "size": SIZE, "size_vram": self.vram}] if self.is_loaded else []
        return JSONResponse({"models": rows})

    async def _tags(self, request: Request) -> Response:
        return JSONResponse({"models": [{**_row(), "model": m} for m in sorted(self.pulled)]})

    async def _pull(self, request: Request) -> Response:
        name = (await request.json())["model"]

        async def lines() -> AsyncIterator[str]:
            yield json.dumps({"status": "pulling manifest"}) + "\n"
            if name != MODEL:
                yield json.dumps({"error": "pull model manifest: file does not exist"}) + "\n"
                return
            for done in (0, SIZE // 2, SIZE):
                row = {"status": "pulling 5f0c", "digest": DIGEST, "total": SIZE, "completed": done}
                yield json.dumps(row) + "\n"
            self.pulled.add(name)
            yield json.dumps({"status": "success"}) + "\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        if body["model"] not in self.pulled:
            return JSONResponse({"error": f"model '{body['model']}' not found"}, 404)
        if not self.is_loaded and not await self._load(request):
            return PlainTextResponse("", 499)
        if not body["messages"]:
            return JSONResponse(_reply("", done_reason="load"))
        self.asked.append(body)
        fault = self.faults.popleft() if self.faults else self.always
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.takes_s)
            if fault in CONTENT_FAULTS:
                return JSONResponse(_reply(CONTENT_FAULTS[fault]))
            if fault == "length":
                return JSONResponse(_reply('{"score": 0.5, ' + _SCORE, done_reason="length"))
            if fault is not None:
                return await _broken(fault)
            return JSONResponse(_reply(json.dumps(_rating(body))))
        finally:
            self.at_once -= 1

    async def _load(self, request: Request) -> bool:
        until = time.monotonic() + self.load_s
        while time.monotonic() < until:
            if await request.is_disconnected():
                self.loads_aborted += 1
                return False
            await asyncio.sleep(0.01)
        self.is_loaded = True
        return True


async def _broken(fault: str) -> Response:
    if fault == "hang":
        await asyncio.sleep(HANG_S)
    if fault == "drip":

        async def drops() -> AsyncIterator[bytes]:
            while True:
                yield b" "
                await asyncio.sleep(0.05)

        return StreamingResponse(drops(), media_type="application/json")
    if fault == "503":
        return JSONResponse({"error": BUSY}, 503)
    if fault == "500":
        return JSONResponse({"error": "timed out waiting for llama runner to start"}, 500)
    if fault == "404":
        return JSONResponse({"error": f"model '{MODEL}' not found"}, 404)
    return PlainTextResponse("<html>Bad gateway</html>", media_type="text/html")


def _row() -> dict[str, Any]:
    return {"name": MODEL, "model": MODEL, "digest": DIGEST, "size": SIZE, "details": {}}


def _reply(content: str, *, done_reason: str = "stop") -> dict[str, Any]:
    return {
        "model": MODEL,
        "created_at": "2013-10-07T14:00:00Z",
        "message": {"role": "assistant", "content": content},
        "done": True,
        "done_reason": done_reason,
        "total_duration": 1,
        "load_duration": 1,
        "eval_duration": 1,
    }


def _rating(body: dict[str, Any]) -> dict[str, Any]:
    """Counts a few words of the headline, as a model would that obeys its instructions."""
    text = json.loads(body["messages"][-1]["content"])["headline"].lower()
    score = 0.6 * (any(w in text for w in _GOOD) - any(w in text for w in _BAD))
    return {
        "score": score,
        "relevance": 0.9,
        "event_type": "other",
        "horizon": "day",
        "reason": "counted words",
    }
