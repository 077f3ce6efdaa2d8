"""Clocks: the machine's, and the one that events drive."""

from __future__ import annotations

from datetime import UTC, datetime


class SystemClock:
    """The machine's clock, for a desk on Alpaca."""

    def now(self) -> datetime:
        """The present, aware UTC."""
        return datetime.now(UTC)


class EventClock:
    """The time of the latest event; a replay's present.

    It never goes back. Before the first event it stands at `start`.
    """

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        """The latest instant seen, aware UTC."""
        return self._now

    def advance(self, at: datetime) -> None:
        """See an event of that instant."""
        self._now = max(self._now, at)
