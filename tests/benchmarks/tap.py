"""A tap between a client and the paper exchange that notes when bytes pass.

It only copies bytes between sockets, so it delays every client alike; what it
notes is when market data left the exchange and when an order reached it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

_ORDER = (b"POST /v2/orders", b"PATCH /v2/orders", b"DELETE /v2/orders")


class Tap:
    """Listens on a loopback port and copies to another.

    Attributes
    ----------
    orders : list[tuple[float, float]]
        For every order request: when it passed, and when the last market-data
        frame before it had passed; seconds of `time.perf_counter`.
    """

    def __init__(self, target_port: int) -> None:
        self._target = target_port
        self._last_data = 0.0
        self.orders: list[tuple[bytes, float, float]] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait(10)

    def stop(self) -> None:
        """End the tap."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._connected, "127.0.0.1", 0)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        first = await reader.read(65536)
        is_data = first.startswith(b"GET /v2/iex")
        self._note_request(first)
        far_writer.write(first)
        await asyncio.gather(
            self._copy(reader, far_writer, self._note_request),
            self._copy(far_reader, writer, self._note_data if is_data else _note_nothing),
            return_exceptions=True,
        )

    async def _copy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        note: Callable[[bytes], None],
    ) -> None:
        while chunk := await reader.read(65536):
            note(chunk)
            writer.write(chunk)
        writer.close()

    def _note_data(self, chunk: bytes) -> None:
        self._last_data = time.perf_counter()

    def _note_request(self, chunk: bytes) -> None:
        if chunk.startswith(_ORDER):
            verb = chunk.split(b" ", 1)[0]
            self.orders.append((verb, time.perf_counter(), self._last_data))


def _note_nothing(_: bytes) -> None:
    pass
