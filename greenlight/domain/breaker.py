"""A circuit breaker: who fails three times in a row is left alone for five minutes.

Before it stand the answers of something that may fail; after it whoever asks it.
Decided here: when it may be asked. After the wait one probe goes out, and its
outcome alone says whether the breaker closes or opens again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

FAILURES: Final = 3
"""Failures in a row that open it (seeds)."""
OPEN_FOR: Final = timedelta(minutes=5)
"""How long it then stays open before the probe (seeds)."""


class BreakerState(StrEnum):
    """Closed: ask. Open: do not. Probing: one question is out, ask no other."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """Where a breaker stands.

    `failures` are those in a row, `since` (aware UTC) is when it opened last,
    None while it is closed. `openings` counts how often it went from closed to
    open: a failed probe keeps it open, and is no new opening.
    """

    state: BreakerState = BreakerState.CLOSED
    failures: int = 0
    since: datetime | None = None
    openings: int = 0
    last_failure: str | None = None

    @property
    def probe_at(self) -> datetime | None:
        """When the next probe may go out, aware UTC; None while nothing has to wait."""
        return self.since + OPEN_FOR if self.since and self.state is BreakerState.OPEN else None


def may_ask(breaker: Breaker, now: datetime) -> bool:
    """Whether a question may go out now: always, never, or as the probe."""
    if breaker.state is BreakerState.OPEN:
        return breaker.probe_at is not None and now >= breaker.probe_at
    return breaker.state is BreakerState.CLOSED


def asked(breaker: Breaker, now: datetime) -> Breaker:
    """A question goes out; from an open breaker it is the probe.

    Raises
    ------
    ValueError
        It may not go out now.
    """
    if not may_ask(breaker, now):
        raise ValueError(f"nothing may be asked while the breaker is {breaker.state}")
    if breaker.state is BreakerState.OPEN:
        return replace(breaker, state=BreakerState.PROBING)
    return breaker


def succeeded(breaker: Breaker) -> Breaker:
    """A question was answered. An answer that comes while it is open changes nothing."""
    if breaker.state is BreakerState.OPEN:
        return breaker
    return replace(breaker, state=BreakerState.CLOSED, failures=0, since=None, last_failure=None)


def failed(breaker: Breaker, now: datetime, reason: str) -> Breaker:
    """A question failed. One that fails while it is open changes nothing.

    Parameters
    ----------
    now : datetime
        Aware UTC, when it failed.
    reason : str
        What went wrong, for whoever looks.
    """
    if breaker.state is BreakerState.OPEN:
        return breaker
    failures = breaker.failures + 1
    found = replace(breaker, failures=failures, last_failure=reason)
    if breaker.state is BreakerState.PROBING:
        return replace(found, state=BreakerState.OPEN, since=now)
    if failures < FAILURES:
        return found
    return replace(found, state=BreakerState.OPEN, since=now, openings=breaker.openings + 1)


def recovered(breaker: Breaker) -> Breaker:
    """As a process that starts again finds it: a probe that was out is lost.

    The next one may go out at once, because the wait before the lost one is over.
    """
    if breaker.state is BreakerState.PROBING:
        return replace(breaker, state=BreakerState.OPEN)
    return breaker
