"""The websockets: market data, news, trade updates.

Decided here: the handshake of each stream, its limits and its error codes.
Before it stands `venue`, which says what happened; after it the client. Market
data and news travel as msgpack arrays with Timestamp extensions, trade updates
as JSON in binary frames, as Alpaca sends them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgpack

from cluster.paper_exchange.sockets import Outbox, Receive, Scope, Send, Socket

if TYPE_CHECKING:
    from cluster.paper_exchange.venue import Venue

log = logging.getLogger(__name__)

CHANNELS: Final = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses")
CHANNEL_OF: Final = {
    "t": "trades",
    "q": "quotes",
    "b": "bars",
    "u": "updatedBars",
    "d": "dailyBars",
    "s": "statuses",
    "n": "news",
}
AUTH_TIMEOUT_S: Final = 10.0
SLOW_CLIENT_S: Final = 5.0
SYMBOL_LIMIT: Final = 30
_TRADE_QUEUE: Final = 10_000
_PUBLISH_FAULTS: Final = frozenset({"mute", "duplicate", "poison"})
_ERROR: Final = frozenset({"error"})
_TRADE_FAULTS: Final = frozenset({"mute", "duplicate", "poison", "delay"})
_REJECT: Final = frozenset({"reject"})
_ERRORS: Final = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    409: "insufficient subscription",
    500: "internal error",
}
_pack = msgpack.Packer().pack


def pack(messages: Sequence[dict[str, Any]]) -> bytes:
    """Messages as one msgpack array."""
    frame: bytes = _pack(messages)
    return frame


def error_frame(code: int) -> bytes:
    """The frame of an error."""
    return pack([{"T": "error", "code": code, "msg": _ERRORS[code]}])


class MessageHub:
    """The one market-data (or news) connection and what it subscribed to."""

    name = "data"
    channels: tuple[str, ...] = CHANNELS

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.socket: Socket | None = None
        self.subscribed: dict[str, set[str]] = {channel: set() for channel in self.channels}
        self.is_waiting_bounded = False
        self._sent = 0

    @property
    def sent(self) -> int | None:
        """Messages published on the present connection; None without one."""
        return self._sent if self.socket is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection from its upgrade to its end."""
        socket = Socket(scope, receive, send)
        await socket.accept()
        await socket.send(pack([{"T": "success", "msg": "connected"}]))
        try:
            if await self._authenticate(socket):
                await self._serve(socket)
        except Exception:
            # One connection's loop: the client learns of it, the exchange goes on.
            log.exception("a stream failed", extra={"action": "stream_failed"})
            await socket.send(error_frame(500))
        finally:
            if self.socket is socket:
                self.socket = None
                for symbols in self.subscribed.values():
                    symbols.clear()
            await socket.close()

    async def _authenticate(self, socket: Socket) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + AUTH_TIMEOUT_S
        while True:
            try:
                request = await asyncio.wait_for(_read(socket), deadline - loop.time())
            except TimeoutError:
                await socket.send(error_frame(404))
                return False
            if request is None:
                return False
            if request.get("action") != "auth":
                await socket.send(error_frame(400 if "action" not in request else 401))
                continue
            code = self._refusal(socket, request)
            if code is not None:
                await socket.send(error_frame(code))
                return False
            self.socket, self._sent = socket, 0
            await socket.send(pack([{"T": "success", "msg": "authenticated"}]))
            return True

    def _refusal(self, socket: Socket, request: dict[str, Any]) -> int | None:
        if not self.venue.is_authentic(request.get("key"), request.get("secret")):
            return 402
        if socket.scope["path"] == "/v2/sip" and self.venue.is_free:
            return 409
        is_rejected = self.venue.faults.hit(f"connect:{self.name}", _REJECT) is not None
        if is_rejected or (self.socket is not None and not self.socket.is_closed):
            return 406
        return None

    async def _serve(self, socket: Socket) -> None:
        while True:
            request = await _read(socket)
            if request is None:
                return
            action = request.get("action")
            if action == "auth":
                await socket.send(error_frame(403))
            elif action in ("subscribe", "unsubscribe"):
                await socket.send(self._subscribe(action, request))
            else:
                await socket.send(error_frame(400))

    def _subscribe(self, action: str, request: dict[str, Any]) -> bytes:
        wanted = {channel: set(symbols) for channel, symbols in self.subscribed.items()}
        for channel in self.channels:
            symbols = request.get(channel) or ()
            if not isinstance(symbols, (list, tuple)):
                return error_frame(400)
            for symbol in symbols:
                if action == "subscribe":
                    wanted[channel].add(symbol)
                else:
                    wanted[channel].discard(symbol)
        if self._is_over_limit(wanted):
            return error_frame(405)
        self.subscribed = wanted
        current = {channel: sorted(symbols) for channel, symbols in wanted.items()}
        return pack([{"T": "subscription", **current}])

    def _is_over_limit(self, wanted: dict[str, set[str]]) -> bool:
        return False

    def wants(self, channel: str, symbol: str) -> bool:
        """Whether the connection subscribed to a channel of a symbol."""
        symbols = self.subscribed[channel]
        return symbol in symbols or "*" in symbols

    async def publish(self, messages: list[dict[str, Any]]) -> None:
        """Send messages as one frame: fewer or more of them where a fault is set."""
        socket = self.socket
        if socket is None or not messages:
            return
        if self.venue.faults.rules:
            rule = self.venue.faults.hit(f"{self.name}:error:", _ERROR)
            if rule is not None:
                await self._drop(socket, int(rule.options.get("code", 407)))
                return
            messages = self._disturb(messages)
            if not messages:
                return
        frame = pack(messages)
        self._sent += len(messages)
        if not self.is_waiting_bounded:
            await socket.send(frame)
            return
        try:
            await asyncio.wait_for(socket.send(frame), SLOW_CLIENT_S)
        except TimeoutError:
            await self._drop(socket, 407)

    async def _drop(self, socket: Socket, code: int) -> None:
        self.socket = None
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(socket.send(error_frame(code)), 1.0)
            await asyncio.wait_for(socket.close(1008), 1.0)

    def _disturb(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        result: list[dict[str, Any]] = []
        for message in messages:
            subject = f"{self.name}:{CHANNEL_OF[message['T']]}:{message.get('S', '')}"
            rule = self.venue.faults.hit(subject, _PUBLISH_FAULTS)
            if rule is None:
                result.append(message)
            elif rule.action == "poison":
                result.append({**message, **_floats(rule.options.get("fields", {}))})
            elif rule.action == "duplicate":
                result.extend([message] * int(rule.options.get("times", 2)))
        return result

    async def disconnect(self) -> bool:
        """Cut the connection; False where there is none."""
        socket, self.socket = self.socket, None
        if socket is None:
            return False
        await socket.close(1011)
        return True


class DataHub(MessageHub):
    """Market data on `/v2/iex` and `/v2/sip`."""

    def _is_over_limit(self, wanted: dict[str, set[str]]) -> bool:
        named = set().union(*wanted.values())
        if "*" in named:
            named = (named - {"*"}) | set(self.venue.library.symbols)
        return self.venue.is_free and len(named) > SYMBOL_LIMIT


class NewsHub(MessageHub):
    """News on `/v1beta1/news`."""

    name = "news"
    channels = ("news",)

    def wants_any(self, symbols: Sequence[str]) -> bool:
        """Whether the connection subscribed to any of an article's symbols."""
        return any(self.wants("news", symbol) for symbol in (*symbols, "*"))


class TradeHub:
    """The one trade-update connection on `/stream`.

    `sent` counts the updates that were sent on the present connection.
    """

    name = "trade_updates"

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.socket: Socket | None = None
        self.sent = 0
        self._outbox: Outbox | None = None
        self._is_listening = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection from its upgrade to its end."""
        socket = Socket(scope, receive, send)
        is_rejected = self.venue.faults.hit("connect:trade_updates", _REJECT) is not None
        if is_rejected or self.socket is not None:
            await socket.refuse(429, b'{"code":42910000,"message":"too many connections"}')
            return
        self.socket, self.sent, self._is_listening = socket, 0, False
        try:
            await socket.accept()
            self._outbox = Outbox(socket, _TRADE_QUEUE)
            await self._serve(socket)
        finally:
            if self.socket is socket:
                self._release()
            await socket.close()

    async def _serve(self, socket: Socket) -> None:
        is_authorized = False
        while True:
            raw = await socket.receive()
            if raw is None:
                return
            try:
                request = json.loads(raw)
                data = request.get("data") or {}
                action = request.get("action")
            except (ValueError, AttributeError):
                await self._answer(socket, "error", {"error_message": "invalid message"})
                continue
            if action in ("authenticate", "auth"):
                key = data.get("key_id", request.get("key"))
                secret = data.get("secret_key", request.get("secret"))
                is_authorized = self.venue.is_authentic(key, secret)
                status = "authorized" if is_authorized else "unauthorized"
                await self._answer(
                    socket, "authorization", {"status": status, "action": "authenticate"}
                )
                if not is_authorized:
                    return
            elif action == "listen" and is_authorized:
                streams = [s for s in data.get("streams", ()) if s == self.name]
                await self._answer(socket, "listening", {"streams": streams})
                self._is_listening = bool(streams)
            elif not is_authorized:
                await self._answer(
                    socket, "authorization", {"status": "unauthorized", "action": str(action)}
                )
            else:
                await self._answer(socket, "error", {"error_message": "unknown action"})

    @staticmethod
    async def _answer(socket: Socket, stream: str, data: dict[str, Any]) -> None:
        # Straight to the socket: an answer must leave before a close does.
        await socket.send(json.dumps({"stream": stream, "data": data}).encode())

    def publish(self, updates: Sequence[dict[str, Any]]) -> None:
        """Send trade updates; without a listener they are lost, as at Alpaca."""
        if self._outbox is None or not self._is_listening:
            return
        for update in updates:
            times, delay_s = 1, 0.0
            if self.venue.faults.rules:
                subject = f"{self.name}:{update['event']}:{update['order']['symbol']}"
                rule = self.venue.faults.hit(subject, _TRADE_FAULTS)
                if rule is not None and rule.action == "poison":
                    order = {**update["order"], **rule.options.get("fields", {})}
                    update = {**update, "order": order}
                elif rule is not None and rule.action == "delay":
                    delay_s = float(rule.options.get("delay_s", 1.0))
                elif rule is not None:
                    times = 0 if rule.action == "mute" else int(rule.options.get("times", 3))
            frame = json.dumps({"stream": self.name, "data": update}).encode()
            for _ in range(times):
                if self._outbox.put(frame, delay_s):
                    self.sent += 1

    async def disconnect(self) -> bool:
        """Cut the connection; False where there is none."""
        socket = self.socket
        if socket is None:
            return False
        self._release()
        await socket.close(1011)
        return True

    def _release(self) -> None:
        if self._outbox is not None:
            self._outbox.stop()
        self.socket, self._outbox, self._is_listening, self.sent = None, None, False, 0


async def _read(socket: Socket) -> dict[str, Any] | None:
    # Anything but a map reads as an empty request, which is a syntax error.
    raw = await socket.receive()
    if raw is None:
        return None
    try:
        request = msgpack.unpackb(raw) if raw[:1] != b"{" else json.loads(raw)
    except (ValueError, msgpack.exceptions.UnpackException):
        return {}
    return request if isinstance(request, dict) else {}


def _floats(fields: dict[str, Any]) -> dict[str, Any]:
    # JSON has no NaN or infinity: they come as text.
    special = {"nan", "inf", "-inf"}
    return {k: float(v) if isinstance(v, str) and v in special else v for k, v in fields.items()}
