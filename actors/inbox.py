"""What has arrived from the streams and waits for market data, bounded.

Before it stand the streams, which must never wait (a client that does not read
is cut off); after it the protect lane. Orders' updates are always kept. When
the lane falls behind, only the latest quote of each symbol is, and bars and
prints are dropped: the strategist asks for the bars it has missed.
"""

from __future__ import annotations

import logging
import queue
import threading
from typing import Final

from greenlight.domain.market import Bar, Quote, Tick
from greenlight.ports import StreamEvent

logger = logging.getLogger(__name__)

MOST: Final = 10_000
"""Events that may wait: some ten seconds of thirty busy symbols."""


class Inbox:
    """See the module. Put from any thread, taken from one.

    Parameters
    ----------
    most : int
        Events that may wait before prices are no longer kept one by one.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._queue: queue.SimpleQueue[StreamEvent | None] = queue.SimpleQueue()
        self._latest: dict[str, Quote] = {}
        self._is_full = False
        self._lock = threading.Lock()
        self.dropped = 0

    def put(self, event: StreamEvent | None) -> None:
        """Take an event in; never waits."""
        is_full = self._is_full or self._queue.qsize() >= self._most
        if not is_full or not isinstance(event, Quote | Bar | Tick):
            self._queue.put(event)
            return
        with self._lock:
            if not self._is_full:
                logger.error("events fall behind", extra={"action": "inbox_full"})
            self._is_full = True
            if not isinstance(event, Quote):
                self.dropped += 1
                return
            self.dropped += event.symbol in self._latest
            self._latest[event.symbol] = event

    def get(self, timeout: float) -> StreamEvent | None:
        """The next event, waited for.

        Raises
        ------
        queue.Empty
            None came in so many seconds.
        """
        self._release()
        return self._queue.get(timeout=timeout)

    def get_nowait(self) -> StreamEvent | None:
        """The next event.

        Raises
        ------
        queue.Empty
            There is none.
        """
        self._release()
        return self._queue.get_nowait()

    def qsize(self) -> int:
        """How many wait."""
        return self._queue.qsize() + len(self._latest)

    def _release(self) -> None:
        """Once what was kept one by one is taken, the latest quotes follow."""
        if not self._is_full or not self._queue.empty():
            return
        with self._lock:
            for quote in self._latest.values():
                self._queue.put(quote)
            self._latest.clear()
            self._is_full = False
