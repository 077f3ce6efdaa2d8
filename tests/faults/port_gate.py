"""A gate before a port: while it is shut, connections are refused and open ones end.

It can also hold the replay of a paper exchange, by keeping back what drives it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator


class PortGate:
    """Listens on a loopback port of its own and copies to another.

    Attributes
    ----------
    port, target : int
        Where it listens, and where it leads.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._goes_on = asyncio.Event()
        self._goes_on.set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.open()

    def open(self) -> None:
        """Let connections through."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def shut(self) -> None:
        """End every connection and refuse new ones."""
        asyncio.run_coroutine_threadsafe(self._refuse(), self._loop).result(10)

    def cut(self) -> None:
        """End every connection; new ones are let through."""
        self._loop.call_soon_threadsafe(self._end_connections)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep the replay at its step, until `release` or the end; all else passes."""
        self._loop.call_soon_threadsafe(self._goes_on.clear)
        try:
            yield
        finally:
            self.release()

    def release(self) -> None:
        """Let the replay go on."""
        self._loop.call_soon_threadsafe(self._goes_on.set)

    def stop(self) -> None:
        """End the gate."""
        self.shut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
        self._end_connections()

    def _end_connections(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self._open |= both
        await asyncio.gather(self._drive(reader, far_writer), _copy(far_reader, writer))
        self._open -= both

    async def _drive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            chunk = await reader.read(65536)
            is_control = chunk.startswith(b"GET /control/lockstep")
            while chunk:
                if is_control:
                    await self._goes_on.wait()
                writer.write(chunk)
                await writer.drain()
                chunk = await reader.read(65536)
        with contextlib.suppress(OSError):
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()
