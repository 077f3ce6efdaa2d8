"""Connections to the store: few, shared by threads, replaced when they break.

Before it stands the URL; after it `timescale.py`, which borrows a connection
for each call. A server that is away answers at once (the refusal is passed
on), and the first call after its return works: there is no back-off to wait
out and no thread of its own, so a position monitor stays small. A server that
hangs (stopped, its machine suspended, its network lost) is found out by the
client's own deadline: the server's time-outs need a server that runs.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import psycopg

from greenlight.adapters.timescale_schema import Connection as Connection
from greenlight.adapters.timescale_schema import connect
from greenlight.ports import StoreUnavailable

BULK_S: Final = 60.0
"""Longest wait for a statement of a bulk load."""
# A holder that stops (SIGSTOP, a lost network) must not hold its locks for ever. The
# server's own word tells more than silence, so its limits lie below the client's.
_LIMITS: Final = """
SET idle_in_transaction_session_timeout TO '10s';
SET lock_timeout TO {lock_ms};
SET statement_timeout TO {statement_ms}"""
_LOCK_SHARE, _STATEMENT_SHARE = 0.8, 0.9


class ConnectionPool:
    """At most `size` connections, opened when needed, last used first.

    Parameters
    ----------
    url : str
        ``postgresql://…``.
    size : int
        Most connections at once.
    timeout_s : float
        Seconds to wait for a free connection, and for the server to accept one.
    deadline_s : float
        Seconds that one statement may take.
    on_first : Callable
        Called with the first connection; what it raises ends the borrowing.
    is_durable : bool
        A commit waits for the disk. Where it does not, a crash of the server
        loses the last half second and nothing before it.
    """

    def __init__(
        self,
        url: str,
        *,
        size: int,
        timeout_s: float,
        deadline_s: float,
        on_first: Callable[[Connection], None],
        is_durable: bool = True,
    ) -> None:
        self._url = url
        self._is_durable = is_durable
        self._timeout_s = timeout_s
        self._deadline_s = deadline_s
        self._on_first = on_first
        self._is_checked = False
        self._is_closed = False
        self._free = threading.Semaphore(size)
        self._lock = threading.Lock()
        self._idle: list[Connection] = []

    @contextmanager
    def borrow(self, *, is_bulk: bool = False) -> Iterator[Connection]:
        """A connection, outside of any transaction, for the length of the block.

        Parameters
        ----------
        is_bulk : bool
            A statement may take `BULK_S`.

        Raises
        ------
        StoreUnavailable
            No connection could be had, or it broke, or an answer or a lock was not
            given in time. What the block did in an open transaction is undone; a commit
            that was under way may or may not have happened, which repeating
            the (idempotent) call settles.
        """
        if not self._free.acquire(timeout=self._timeout_s):
            raise StoreUnavailable(f"no connection was free within {self._timeout_s} s")
        try:
            connection = self._take()
            try:
                if is_bulk:
                    self._limit(connection, max(BULK_S, self._deadline_s))
                yield connection
                if is_bulk:
                    self._limit(connection, self._deadline_s)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                raise StoreUnavailable(f"the store does not answer: {error}") from error
            finally:
                self._give(connection)
        finally:
            self._free.release()

    def close(self) -> None:
        """Close what is idle; borrowed connections close on their return."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> Connection:
        if self._is_closed:
            raise StoreUnavailable("the store was closed")
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return self._open()
            if _is_quiet(connection):
                return connection
            connection.close()

    def _open(self) -> Connection:
        connection = connect(self._url, self._timeout_s, self._deadline_s)
        try:
            self._limit(connection, self._deadline_s)
            if not self._is_durable:
                connection.execute("SET synchronous_commit TO off")
            if not self._is_checked:
                self._on_first(connection)
                self._is_checked = True
        except psycopg.OperationalError as error:
            connection.close()
            raise StoreUnavailable(f"the store does not answer: {error}") from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _limit(self, connection: Connection, deadline_s: float) -> None:
        connection.deadline_s = deadline_s
        connection.execute(
            _LIMITS.format(
                lock_ms=round(1e3 * _LOCK_SHARE * deadline_s),
                statement_ms=round(1e3 * _STATEMENT_SHARE * deadline_s),
            )
        )

    def _give(self, connection: Connection) -> None:
        status = connection.info.transaction_status
        is_idle = status is psycopg.pq.TransactionStatus.IDLE
        if connection.closed or not is_idle or connection.deadline_s != self._deadline_s:
            connection.close()
            return
        with self._lock:
            if not self._is_closed:
                self._idle.append(connection)
                return
        connection.close()


def _is_quiet(connection: Connection) -> bool:
    # A server that went away has sent an end of file or a last message, so an
    # idle connection with something to read is not used again.
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN | select.POLLERR | select.POLLHUP)
    return not poll.poll(0)
