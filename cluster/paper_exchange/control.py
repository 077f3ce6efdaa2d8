"""The control routes: lockstep, faults, news, movements of cash and the replay's state.

Decided here: when the replay goes on in lockstep. Before it stands the desk,
which says when it is done; after it `replay`. Served on loopback alone, like
the whole exchange.

Notes
-----
On `/control/lockstep` (JSON text frames, one client): the server says `hello`;
the client `ready`; the server publishes the present step and says `step` with
the number of data messages and of trade updates sent; the client says `ack`
with the number of trade updates it has seen; the server goes on, or says
`wait` where the numbers differ.
"""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal, InvalidOperation
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute

from cluster.paper_exchange.faults import BadRule
from cluster.paper_exchange.orders import rfc3339
from cluster.paper_exchange.replay import Replay
from cluster.paper_exchange.sockets import Receive, Scope, Send, Socket
from cluster.paper_exchange.streams import MessageHub, TradeHub


class LockstepControl:
    """The one connection that drives a lockstep replay."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._venue = replay.venue
        self.socket: Socket | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; a second one is closed with code 4409."""
        socket = Socket(scope, receive, send)
        await socket.accept()
        if self.socket is not None:
            await socket.send_text('{"type":"error","message":"another client is in control"}')
            await socket.close(4409)
            return
        self.socket = socket
        try:
            await socket.send_text(json.dumps(self._hello()))
            await self._serve(socket)
        finally:
            self.socket = None
            await socket.close()

    def _hello(self) -> dict[str, Any]:
        replay = self._replay
        step, sessions = replay.step, replay.timeline.sessions
        return {
            "type": "hello",
            "seq": step.seq,
            "at": rfc3339(step.at_ns),
            "kind": step.kind,
            "session": step.session.day.isoformat(),
            "start": sessions[0].day.isoformat(),
            "end": sessions[-1].day.isoformat(),
            "finished": replay.is_finished,
        }

    async def _serve(self, socket: Socket) -> None:
        replay = self._replay
        while True:
            raw = await socket.receive()
            if raw is None:
                return
            try:
                message = json.loads(raw)
                kind = message["type"]
            except (ValueError, KeyError, TypeError):
                await socket.send_text('{"type":"error","message":"cannot read this frame"}')
                continue
            if kind == "ready":
                if not replay.is_finished:
                    await self._publish(socket)
            elif kind == "ack":
                await self._acknowledge(socket, message)
            else:
                await socket.send_text('{"type":"error","message":"unknown type"}')

    async def _acknowledge(self, socket: Socket, message: dict[str, Any]) -> None:
        replay = self._replay
        # A cancel on its way belongs to the step that asked for it.
        self._venue.complete_cancels()
        seen = message.get("trade_updates")
        if message.get("seq") != replay.step.seq or not replay.is_matched or replay.is_finished:
            # A second answer to a step that is done: nothing to say.
            return
        if seen != self._venue.trades.sent:
            await socket.send_text(
                f'{{"type":"wait","seq":{replay.step.seq},'
                f'"trade_updates":{self._venue.trades.sent}}}'
            )
            return
        replay.acknowledge()
        if not replay.is_finished:
            await self._publish(socket)

    async def _publish(self, socket: Socket) -> None:
        replay = self._replay
        replay.advance()
        await replay.publish()
        step = replay.step
        sent = json.dumps(self._venue.data.sent)
        await socket.send_text(
            f'{{"type":"step","seq":{step.seq},"at":"{rfc3339(step.at_ns)}",'
            f'"kind":"{step.kind}","session":"{step.session.day.isoformat()}",'
            f'"data_messages":{sent},"trade_updates":{self._venue.trades.sent}}}'
        )
        asyncio.get_running_loop().call_soon(replay.prepare)


class ControlRoutes:
    """The HTTP side of the control routes."""

    def __init__(self, replay: Replay, mode: str, *, has_faults: bool) -> None:
        self._replay = replay
        self._venue = replay.venue
        self._mode = mode
        self._has_faults = has_faults
        self.lockstep = LockstepControl(replay)

    def routes(self) -> list[Route | WebSocketRoute]:
        """The routes; those of lockstep and faults exist only where switched on."""
        routes: list[Route | WebSocketRoute] = [
            Route("/control/state", self._state, methods=["GET"]),
            Route("/control/news", self._news, methods=["POST"]),
            Route("/control/activity", self._activity, methods=["POST"]),
        ]
        if self._mode == "lockstep":
            routes.append(WebSocketRoute("/control/lockstep", self.lockstep))
        if self._has_faults:
            routes += [
                Route("/control/faults", self._faults, methods=["GET", "POST", "DELETE"]),
                Route("/control/disconnect", self._disconnect, methods=["POST"]),
            ]
        return routes

    async def _state(self, request: Request) -> Response:
        replay, venue = self._replay, self._venue
        sessions = replay.timeline.sessions
        return JSONResponse(
            {
                "mode": self._mode,
                "source": venue.library.source.name,
                "is_synthetic": venue.library.source.is_synthetic,
                "symbols": list(venue.library.symbols),
                "start": sessions[0].day.isoformat(),
                "end": sessions[-1].day.isoformat(),
                "sessions": len(sessions),
                "session_number": replay.step.index + 1,
                "seq": replay.step.seq,
                "end_seq": replay.timeline.end_seq,
                "kind": replay.step.kind,
                "session": replay.step.session.day.isoformat(),
                "is_published": replay.is_matched,
                "now": rfc3339(venue.now_ns or replay.step.at_ns),
                "finished": replay.is_finished,
                "connections": {
                    "data": int(venue.data.socket is not None),
                    "news": int(venue.news.socket is not None),
                    "trade_updates": int(venue.trades.socket is not None),
                    "control": int(self.lockstep.socket is not None),
                },
                "trade_updates": venue.trades.sent,
            }
        )

    async def _news(self, request: Request) -> Response:
        venue = self._venue
        body = json.loads(await request.body())
        stamp = rfc3339(venue.now_ns)
        article = {
            "id": len(venue.articles) + 1,
            "headline": str(body["headline"]),
            "summary": str(body.get("summary", "")),
            "author": str(body.get("author", "")),
            "created_at": body.get("created_at", stamp),
            "updated_at": body.get("updated_at", stamp),
            "url": body.get("url"),
            "content": str(body.get("content", "")),
            "symbols": [str(symbol) for symbol in body.get("symbols", [])],
            "source": str(body.get("source", "control")),
            "images": [],
        }
        venue.articles.append(article)
        venue.commit(news=article)
        await venue.publish_article(article)
        return JSONResponse(article, status_code=201)

    async def _activity(self, request: Request) -> Response:
        venue = self._venue
        try:
            body = json.loads(await request.body())
            kind, usd = str(body["type"]), Decimal(str(body["usd"]))
        except (KeyError, TypeError, ValueError, InvalidOperation) as error:
            return JSONResponse({"message": f"bad activity: {error!r}"}, status_code=422)
        if not kind or kind == "FILL" or not usd.is_finite():
            return JSONResponse({"message": "no such activity"}, status_code=422)
        row = venue.core.move_cash(
            kind,
            usd,
            venue.now_ns,
            symbol=body.get("symbol"),
            description=str(body.get("description", "")),
        )
        venue.commit()
        return JSONResponse(row, status_code=201)

    async def _faults(self, request: Request) -> Response:
        board = self._venue.faults
        if request.method == "DELETE":
            board.clear()
        elif request.method == "POST":
            try:
                body = json.loads(await request.body())
                rules = body if isinstance(body, list) else [body]
                return JSONResponse([board.add(rule).describe() for rule in rules], status_code=201)
            except (ValueError, TypeError, BadRule) as error:
                return JSONResponse({"message": str(error)}, status_code=422)
        return JSONResponse([rule.describe() for rule in board.rules])

    async def _disconnect(self, request: Request) -> Response:
        hubs: dict[str, MessageHub | TradeHub] = {
            "data": self._venue.data,
            "news": self._venue.news,
            "trade_updates": self._venue.trades,
        }
        name = request.query_params.get("stream", "")
        if name not in hubs:
            return JSONResponse({"message": f"stream is one of {sorted(hubs)}"}, status_code=422)
        was_open = await asyncio.shield(hubs[name].disconnect())
        return JSONResponse({"stream": name, "was_open": was_open})
