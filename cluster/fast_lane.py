"""A direct line into an actor's process, for the calls that must not wait.

A Ray call takes about 0.8 ms one way, most of an exit's time. Market data
therefore asks monitors and the strategist over a socket of their own; starting,
placing and restarting them stays Ray's, and when the line breaks the caller
goes back to Ray to find out where the actor lives now. The key of a line is
made in the actor's process and handed out over Ray alone.
"""

from __future__ import annotations

import itertools
import pickle
import secrets
import select
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import Any, Final

BROKEN: Final = (EOFError, OSError, AuthenticationError)
"""What a broken line raises; `TimeoutError` for a silent one is among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineAddress:
    """Where an actor listens, and the key that opens the line."""

    host: str
    port: int
    key: bytes = field(repr=False)


class LineServer:
    """Serves the methods of a plain object, a thread for each caller; `after` each call."""

    def __init__(self, plain: object, host: str, after: Callable[[], None] = lambda: None) -> None:
        self._plain = plain
        self._after = after
        key = secrets.token_bytes(32)
        self._listener = Listener((host, 0), backlog=8, authkey=key)
        self.address = LineAddress(host=host, port=self._listener.address[1], key=key)
        threading.Thread(target=self._accept, name="lines", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                line = self._listener.accept()
            except BROKEN:
                # A caller without the key, or one that went away at once.
                continue
            threading.Thread(target=self._serve, args=(line,), name="line", daemon=True).start()

    def _serve(self, line: Connection) -> None:
        try:
            while True:
                number, method, args, kwargs = pickle.loads(line.recv_bytes())
                try:
                    answer = (number, True, getattr(self._plain, method)(*args, **kwargs))
                except Exception as error:
                    answer = (number, False, error)
                try:
                    _send(line, answer)
                except (pickle.PicklingError, TypeError, AttributeError) as error:
                    _send(line, (number, False, TypeError(f"{method}: cannot be sent: {error}")))
                self._after()
        except BROKEN:
            line.close()


class Line:
    """The caller's end; one thread at a time uses it."""

    def __init__(self, address: LineAddress) -> None:
        self._line = Client((address.host, address.port), authkey=address.key)
        self._arrivals = select.poll()
        self._arrivals.register(self._line.fileno(), select.POLLIN)
        self._numbers = itertools.count()

    def send(self, method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
        """Ask; the number under which the answer comes."""
        number = next(self._numbers)
        _send(self._line, (number, method, args, kwargs))
        return number

    def receive(self, number: int, timeout_s: float) -> tuple[bool, Any]:
        """The answer of that number: True and a value, or False and what was raised.

        It is not raised here, because a method may raise what a broken line does.

        Raises
        ------
        TimeoutError
            It did not come in time.
        EOFError
            The actor is gone.
        """
        while True:
            if not self._arrivals.poll(timeout_s * 1000):
                raise TimeoutError(f"no answer within {timeout_s} s")
            found, is_value, value = pickle.loads(self._line.recv_bytes())
            if found == number:
                return is_value, value
            # Else the answer to a question that nobody waits for any more.

    def close(self) -> None:
        """Hang up."""
        self._line.close()


def _send(line: Connection, value: object) -> None:
    # `Connection.send` makes a pickler with tables of its own for every message.
    line.send_bytes(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
