"""The HTTP application: authentication, limits, faults and all routes.

Decided here: what every request passes before its route: the fault switches,
the credentials, the request limit; and how a refusal becomes an answer. Before
it stands the client; after it the routes of `rest_trading`, `rest_data` and
`control`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, WebSocketRoute

from cluster.paper_exchange.control import ControlRoutes
from cluster.paper_exchange.faults import Rule
from cluster.paper_exchange.refusal import DUPLICATE_ID, Refused
from cluster.paper_exchange.rest_data import DataRoutes
from cluster.paper_exchange.rest_trading import TradingRoutes
from cluster.paper_exchange.sockets import Message, Receive, Scope, Send
from cluster.paper_exchange.venue import Venue

_HTTP_FAULTS: Final = frozenset(
    {"delay", "drop", "status", "hold", "fill", "partial", "duplicate_code"}
)
_NO_KEY_PAGE: Final = (
    "<html>\r\n<head><title>401 Authorization Required</title></head>\r\n"
    "<body>\r\n<center><h1>401 Authorization Required</h1></center>\r\n</body>\r\n</html>\r\n"
)
_DATA_PATHS: Final = ("/v2/stocks", "/v1beta1/", "/v1/corporate-actions")


class RequestLimit:
    """So many requests a minute of wall time; 0 = no limit."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._minute = 0
        self._used = 0

    def take(self) -> tuple[bool, dict[str, str]]:
        """Count one request: whether it is allowed, and the headers to send."""
        if not self.per_minute:
            return True, {}
        minute = int(time.time() // 60)
        if minute != self._minute:
            self._minute, self._used = minute, 0
        self._used += 1
        headers = {
            "X-RateLimit-Limit": str(self.per_minute),
            "X-RateLimit-Remaining": str(max(0, self.per_minute - self._used)),
            "X-RateLimit-Reset": str((minute + 1) * 60),
        }
        return self._used <= self.per_minute, headers


class Gate:
    """ASGI middleware in front of every HTTP route of the API.

    Parameters
    ----------
    app : callable
        The application behind it.
    venue : Venue
        Whose credentials and fault switches count.
    per_minute : int
        Request limit of each of trading and data; 0 = none.
    abort : callable
        Cuts the TCP connection of a client address.
    """

    def __init__(
        self,
        app: Any,
        *,
        venue: Venue,
        per_minute: int,
        abort: Callable[[tuple[str, int]], None],
    ) -> None:
        self._app = app
        self._venue = venue
        self._abort = abort
        self._limits = {"trading": RequestLimit(per_minute), "data": RequestLimit(per_minute)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        path = scope.get("path", "")
        if scope["type"] != "http" or path.startswith("/control/"):
            await self._app(scope, receive, send)
        elif self._venue.faults.rules:
            await self._disturbed(scope, receive, send)
        else:
            await self._checked(scope, receive, send)

    async def _checked(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        key = headers.get(b"apca-api-key-id", b"").decode("latin-1")
        secret = headers.get(b"apca-api-secret-key", b"").decode("latin-1")
        if not key:
            await HTMLResponse(_NO_KEY_PAGE, status_code=401)(scope, receive, send)
            return
        if not self._venue.is_authentic(key, secret):
            answer = JSONResponse({"message": "unauthorized."}, status_code=401)
            await answer(scope, receive, send)
            return
        kind = "data" if scope["path"].startswith(_DATA_PATHS) else "trading"
        is_allowed, limit_headers = self._limits[kind].take()
        if not is_allowed:
            body = {"code": 42910000, "message": "rate limit exceeded"}
            await JSONResponse(body, status_code=429, headers=limit_headers)(scope, receive, send)
            return
        if not limit_headers:
            await self._app(scope, receive, send)
            return
        extra = [(k.lower().encode(), v.encode()) for k, v in limit_headers.items()]

        async def send_with_limit(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *extra]
            await send(message)

        await self._app(scope, receive, send_with_limit)

    # -- faults -----------------------------------------------------------------

    async def _disturbed(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read_body(receive)
        query = scope.get("query_string", b"").decode("latin-1")
        target = scope["path"] + ("?" + query if query else "")
        subject = f"{scope['method']} {target} {body.decode('utf-8', 'replace')}"
        rule = self._venue.faults.hit(subject, _HTTP_FAULTS)
        again = _replayed(body, receive)
        if rule is None:
            await self._checked(scope, again, send)
            return
        options = rule.options
        if rule.action == "delay":
            await asyncio.sleep(float(options.get("delay_s", 1.0)))
            await self._checked(scope, again, send)
        elif rule.action == "fill":
            self._fill_first(scope["path"])
            await self._checked(scope, again, send)
        elif rule.action == "partial":
            await self._partial(rule, scope, again, send)
        elif rule.action == "duplicate_code":
            await self._with_code(int(options.get("code", 42210000)), scope, again, send)
        else:
            await self._withheld(rule, scope, again, send)

    async def _withheld(self, rule: Rule, scope: Scope, receive: Receive, send: Send) -> None:
        if rule.options.get("commit", rule.action == "drop"):
            await self._checked(scope, receive, _ignore)
        if rule.action == "status":
            answer = Response(
                str(rule.options.get("body", "")),
                status_code=int(rule.options.get("status", 503)),
                media_type=str(rule.options.get("content_type", "application/json")),
            )
            await answer(scope, receive, send)
            return
        if rule.action == "drop":
            self._abort(scope["client"])
        while (await receive())["type"] != "http.disconnect":
            pass

    def _fill_first(self, path: str) -> None:
        order_id = path.rsplit("/", 1)[-1]
        if order_id in self._venue.core.orders:
            self._venue.core.force_fill(order_id, self._venue.now_ns)
            self._venue.commit()

    async def _partial(self, rule: Rule, scope: Scope, receive: Receive, send: Send) -> None:
        core = self._venue.core
        before = core.seq
        qty = Decimal(str(rule.options.get("qty", 1)))
        core.hold_next = qty
        try:
            await self._checked(scope, receive, send)
        finally:
            core.hold_next = None
        if core.seq == before:
            rule.hits -= 1

    async def _with_code(self, code: int, scope: Scope, receive: Receive, send: Send) -> None:
        old, new = f'"code":{DUPLICATE_ID}'.encode(), f'"code":{code}'.encode()

        async def recoded(message: Message) -> None:
            if message["type"] == "http.response.body":
                message["body"] = message.get("body", b"").replace(old, new)
            await send(message)

        await self._checked(scope, receive, recoded)


async def _read_body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


def _replayed(body: bytes, receive: Receive) -> Receive:
    is_given = False

    async def again() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _ignore(message: Message) -> None:
    return None


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return JSONResponse(error.body, status_code=error.status)


async def _not_found(request: Request, error: Exception) -> Response:
    return JSONResponse({"message": "endpoint not found."}, status_code=404)


def build_app(
    venue: Venue,
    control: ControlRoutes,
    *,
    per_minute: int,
    abort: Callable[[tuple[str, int]], None],
) -> Gate:
    """The whole application."""
    routes: list[BaseRoute] = [
        *TradingRoutes(venue).routes(),
        *DataRoutes(venue).routes(),
        *control.routes(),
        WebSocketRoute("/v2/iex", venue.data),
        WebSocketRoute("/v2/sip", venue.data),
        WebSocketRoute("/v1beta1/news", venue.news),
        WebSocketRoute("/stream", venue.trades),
    ]
    app = Starlette(routes=routes, exception_handlers={Refused: _refused, 404: _not_found})
    return Gate(app, venue=venue, per_minute=per_minute, abort=abort)
