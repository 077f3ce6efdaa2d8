"""Keeping below the broker's limit on requests, with orders and cancels first.

It stands before the broker's client. Alpaca takes 200 requests a minute from an
account, and answers 429 beyond; a refused cancel would cost more than a late
question. So commands never wait, questions do, and a process that only protects
a position has no limit at all: the shares of the others leave room for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

_ROUNDING: Final = 1e-6
"""Of a token: a wait that is rounded must not be followed by another of no length."""

Pace = Callable[[bool], None]
"""Called before every request; True for a command, which must not wait."""


def no_pace(_: bool) -> None:
    """The `Pace` of a broker without a limit, such as the paper exchange."""


class TokenBucket:
    """Lets `burst` requests pass at once and `per_minute` in the long run.

    Commands pass at once and leave a debt that questions wait for, one burst
    deep at most.

    Parameters
    ----------
    per_minute : float
        Requests a minute that refill the bucket.
    burst : int
        What it holds when full.
    monotonic : Callable[[], float]
        Seconds of a clock that never goes back.
    sleep : Callable[[float], None]
        Waits, in seconds.
    """

    def __init__(
        self,
        *,
        per_minute: float,
        burst: int,
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._per_s = per_minute / 60.0
        self._burst = float(burst)
        self._monotonic = monotonic
        self._sleep = sleep
        self._tokens = float(burst)
        self._at_s = monotonic()
        self._lock = threading.Lock()

    def __call__(self, is_command: bool) -> None:
        """Pass at once (a command), or as soon as there is a token."""
        while (wait_s := self._take(is_command)) > 0:
            self._sleep(wait_s)

    def _take(self, is_command: bool) -> float:
        """Take a token, or say how many seconds to wait before asking again."""
        with self._lock:
            now_s = self._monotonic()
            refill = (now_s - self._at_s) * self._per_s
            self._at_s = now_s
            self._tokens = min(self._burst, self._tokens + refill)
            if is_command:
                self._tokens = max(-self._burst, self._tokens - 1)
                return 0.0
            if self._tokens >= 1 - _ROUNDING:
                self._tokens -= 1
                return 0.0
            return (1 - self._tokens) / self._per_s
