"""A websocket as the hubs use it.

Decided here: how a connection is accepted, refused, read and written on plain
ASGI. The hubs in `streams` and the control route sit on it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Socket:
    """One websocket connection."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self.is_closed = False

    async def accept(self) -> None:
        """Take the upgrade."""
        await self._receive()
        await self._send({"type": "websocket.accept"})

    async def refuse(self, status: int, body: bytes) -> None:
        """Answer the upgrade with an HTTP status instead."""
        await self._receive()
        self.is_closed = True
        headers = [(b"content-type", b"application/json")]
        await self._send(
            {"type": "websocket.http.response.start", "status": status, "headers": headers}
        )
        await self._send({"type": "websocket.http.response.body", "body": body})

    async def receive(self) -> bytes | None:
        """The next message's payload, or None once the client has gone."""
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self.is_closed = True
            return None
        data = message.get("bytes")
        if data is None:
            data = str(message.get("text") or "").encode()
        return bytes(data)

    async def send(self, frame: bytes) -> None:
        """Write one binary message; silent where the client has gone."""
        await self._write({"type": "websocket.send", "bytes": frame})

    async def send_text(self, frame: str) -> None:
        """Write one text message; silent where the client has gone."""
        await self._write({"type": "websocket.send", "text": frame})

    async def close(self, code: int = 1000) -> None:
        """Close the connection."""
        if not self.is_closed:
            await self._write({"type": "websocket.close", "code": code})
            self.is_closed = True

    async def _write(self, message: Message) -> None:
        if self.is_closed:
            return
        try:
            await self._send(message)
        except (RuntimeError, OSError):
            # The transport closed between our look and our write.
            self.is_closed = True


class Outbox:
    """A bounded queue in front of a socket, so that telling never waits.

    `put` returns False once the queue is full: the client is too slow.
    """

    def __init__(self, socket: Socket, limit: int) -> None:
        self._socket = socket
        self._limit = limit
        self._frames: deque[tuple[bytes, float]] = deque()
        self._wake = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def put(self, frame: bytes, delay_s: float = 0.0) -> bool:
        """Queue a frame, to be held back `delay_s` before it leaves."""
        if len(self._frames) >= self._limit:
            return False
        self._frames.append((frame, delay_s))
        self._wake.set()
        return True

    def stop(self) -> None:
        """Drop what has not left."""
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._frames:
                frame, delay_s = self._frames.popleft()
                if delay_s:
                    await asyncio.sleep(delay_s)
                await self._socket.send(frame)
