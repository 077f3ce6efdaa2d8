"""A server that speaks the Bot API to the unmodified client, with scripted faults.

It runs in this process on a thread. `script` holds what becomes of the next
messages: each name is used once, in turn, then all are taken. What was taken is in
`taken`, every request for a message with its instant in `arrivals`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.exchange_fixture import no_proxy_for_loopback

TOKEN = "123456:stand-in"
CHAT = "42"
_MESSAGES = ("sendMessage", "sendPhoto")


@dataclass(slots=True)
class Taken:
    """A message that the server delivered."""

    chat: str
    text: str
    is_silent: bool
    has_photo: bool
    markup: str | None


@dataclass(slots=True)
class StandIn:
    """The server's state; start it with `with`.

    Faults by name: "429" (retry_after 1), "429:N" (N seconds), "409", "500", "403", "bad",
    "timeout" (taken, answered after `hang_s`), "hang" (not taken, answered after
    `hang_s`), "cut" (taken, no answer at all).
    """

    port: int = 0
    hang_s: float = 1.0
    script: list[str] = field(default_factory=list)
    update_script: list[str] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)
    answered: list[tuple[str, str]] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    is_away: bool = False
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None
    _last_update: int = 0

    @property
    def url(self) -> str:
        """Its address, in place of https://api.telegram.org."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        no_proxy_for_loopback()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, on the same port as before."""
        route = Route("/bot{token}/{method}", self._answer, methods=["GET", "POST"])
        config = uvicorn.Config(
            Starlette(routes=[route]),
            host="127.0.0.1",
            port=self.port,
            log_level="critical",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        until = time.monotonic() + 10
        while not self._server.started:
            assert time.monotonic() < until, "the stand-in did not start"
            time.sleep(0.005)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Hang up and listen no more."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._server.force_exit = True
            self._thread.join(timeout=5)

    def say(self, text: str, *, chat: str = CHAT, user: str = "7") -> None:
        """Somebody writes to the bot."""
        self._last_update += 1
        self.updates.append(
            {
                "update_id": self._last_update,
                "message": {
                    "message_id": self._last_update,
                    "date": int(time.time()),
                    "chat": {"id": int(chat), "type": "private"},
                    "from": {"id": int(user), "is_bot": False, "first_name": "A"},
                    "text": text,
                },
            }
        )

    def press(self, data: str, *, chat: str = CHAT, user: str = "7") -> None:
        """Somebody presses a button."""
        self._last_update += 1
        self.updates.append(
            {
                "update_id": self._last_update,
                "callback_query": {
                    "id": f"q{self._last_update}",
                    "from": {"id": int(user), "is_bot": False, "first_name": "A"},
                    "chat_instance": "1",
                    "data": data,
                    "message": {
                        "message_id": 1,
                        "date": int(time.time()),
                        "chat": {"id": int(chat), "type": "private"},
                    },
                },
            }
        )

    async def _answer(self, request: Request) -> Response:
        method = request.path_params["method"]
        if request.path_params["token"] != TOKEN:
            return _error(401, "Unauthorized")
        self.calls[method] += 1
        if self.is_away:
            return _error(502, "Bad Gateway")
        form: dict[str, Any] = dict((await request.form()).items())
        if method in _MESSAGES:
            self.arrivals.append(time.monotonic())
            return await self._message(method, form, self.script.pop(0) if self.script else "")
        if method == "getUpdates":
            return await self._updates(form)
        if method == "answerCallbackQuery":
            self.answered.append((str(form["callback_query_id"]), str(form.get("text", ""))))
            return _fine(True)
        if method == "getMe":
            return _fine({"id": 1, "is_bot": True, "first_name": "desk", "username": "desk_bot"})
        return _error(404, "Not Found")

    async def _message(self, method: str, form: dict[str, Any], fault: str) -> Response:
        name, _, value = fault.partition(":")
        if name == "429":
            after = int(value or 1)
            return _error(429, f"Too Many Requests: retry after {after}", {"retry_after": after})
        refusals = {
            "409": (409, "Conflict: terminated by other getUpdates request"),
            "500": (500, "Internal Server Error"),
            "403": (403, "Forbidden: bot was blocked by the user"),
            "bad": (400, "Bad Request: chat not found"),
            "parse": (400, "Bad Request: can't parse entities: unclosed tag"),
        }
        if name in refusals:
            return _error(*refusals[name])
        text = str(form.get("text") or form.get("caption") or "")
        if method == "sendMessage" and not 0 < len(text) <= 4096:
            return _error(400, "Bad Request: message is too long")
        if name != "hang":
            self.taken.append(
                Taken(
                    chat=str(form["chat_id"]),
                    text=text,
                    is_silent=str(form.get("disable_notification", "")).lower() == "true",
                    has_photo=method == "sendPhoto",
                    markup=form.get("reply_markup"),
                )
            )
        if name in {"timeout", "hang"}:
            await asyncio.sleep(self.hang_s)
        if name == "cut":
            # The length promises more than comes: the client sees a broken answer.
            return Response(b"{", headers={"content-length": "100"})
        return _fine(
            {
                "message_id": len(self.taken),
                "date": int(time.time()),
                "chat": {"id": int(form["chat_id"]), "type": "private"},
                "text": text,
            }
        )

    async def _updates(self, form: dict[str, Any]) -> Response:
        if self.update_script:
            return _error(int(self.update_script.pop(0)), "Conflict: another getUpdates")
        offset = int(form.get("offset") or 0)
        until = time.monotonic() + float(form.get("timeout") or 0)
        while True:
            self.updates = [u for u in self.updates if u["update_id"] >= offset]
            if self.updates or time.monotonic() >= until or self._is_stopping():
                return _fine(self.updates)
            await asyncio.sleep(0.02)

    def _is_stopping(self) -> bool:
        return self._server is not None and self._server.should_exit


def _fine(result: object) -> Response:
    return JSONResponse({"ok": True, "result": result})


def _error(status: int, description: str, parameters: dict[str, int] | None = None) -> Response:
    row: dict[str, object] = {"ok": False, "error_code": status, "description": description}
    if parameters is not None:
        row["parameters"] = parameters
    return JSONResponse(row, status_code=status)
