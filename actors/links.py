"""What the actors ask of each other.

Plain Protocols, so that an actor never knows whether the other one lives in
the same process (tests) or behind Ray (`cluster.remote_ports`). Every call is
safe to repeat: the caller does so when the callee died half-way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol

from greenlight.domain.market import Bar, Quote, Tick
from greenlight.domain.positions import WatchBand
from greenlight.domain.sentiment import GivenReading, Opinion
from greenlight.domain.signals import Signal
from greenlight.ports import EquityMark, Heartbeat


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalSeen:
    """A signal with the quote in force when it was given; None: there is none."""

    signal: Signal
    quote: Quote | None


class GateLink(Protocol):
    """The risk gate."""

    def judge(self, signals: Sequence[SignalSeen], now: datetime) -> datetime | None:
        """Judge, record and send; the instant at which `sweep` is due, or None."""
        ...

    def sweep(self, quotes: Sequence[Quote], now: datetime) -> datetime | None:
        """Price resting entries again, cancel those that rested too long; the next instant.

        `quotes` are the last good ones, None is returned when no entry rests.
        """
        ...

    def review(self, quotes: Sequence[Quote], now: datetime) -> list[str]:
        """Act on the scores of what is held overnight, once a session.

        The symbols that are to be left now: their monitors must look again.
        """
        ...


class StrategistLink(Protocol):
    """The strategist."""

    def on_minute(
        self, bars: Sequence[Bar], quotes: Sequence[Quote], now: datetime
    ) -> datetime | None:
        """Take the minute's bars; what the gate answered, or None without signals."""
        ...

    def save(self) -> None:
        """Store what the strategies remember."""
        ...


class MonitorsLink(Protocol):
    """All position monitors; a symbol's is started when it is first asked."""

    def prepare(self, symbol: str) -> None:
        """Shares may come soon: start the symbol's monitor, and do not wait for it."""
        ...

    def on_change(self, symbol: str, quote: Quote | None, now: datetime) -> WatchBand | None:
        """The position or its orders changed: protect it; None when it is closed."""
        ...

    def on_quotes(
        self, quotes: Sequence[tuple[str, Quote | None]], now: datetime
    ) -> dict[str, WatchBand | None]:
        """Quotes that left their bands: decide on exits, side by side."""
        ...

    def on_split(
        self, symbol: str, ex_date: date, ratio: Decimal, now: datetime
    ) -> WatchBand | None:
        """A split took effect before the open of `ex_date`."""
        ...

    def leave(self, symbol: str, quote: Quote | None, now: datetime) -> WatchBand | None:
        """A person wants the position closed: leave it by the exit protocol."""
        ...

    def check(self, symbol: str, now: datetime) -> WatchBand | None:
        """Read the broker's orders, record the coverage, mend what is missing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordBatch:
    """What is to be recorded of some steps; `seq` grows by one from batch to batch."""

    seq: int
    quotes: tuple[Quote, ...] = ()
    ticks: tuple[Tick, ...] = ()
    bars: tuple[Bar, ...] = ()
    equity: tuple[EquityMark, ...] = ()
    heartbeats: tuple[Heartbeat, ...] = ()


class RecorderLink(Protocol):
    """The recorder."""

    def record(
        self, batches: Sequence[RecordBatch], *, oldest_kept: int, flush: bool
    ) -> int | None:
        """Take batches, of which the caller keeps all from `oldest_kept` on.

        Returns the last `seq` that is in the store (-1: none); None when earlier
        batches were lost with a former recorder, and all kept must come again.
        """
        ...

    def close_session(self, now: datetime) -> None:
        """Store the broker's equity and the readiness evaluation after a session."""
        ...


class NightlyLink(Protocol):
    """The nightly work."""

    def close_session(self, now: datetime) -> None:
        """A session is closed: begin to forecast."""
        ...

    def finish(self) -> None:
        """In a lockstep replay wait until that is done; nothing else waits for it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SentimentNews:
    """What the sentiment actor has learnt since a caller's last question.

    `absence` says why nothing may be read now. `opinions` are the next ones, `version`
    the number of the last of them, `has_more` whether others wait. Another `life` than
    the caller's is another actor, which tells everything from the beginning.
    """

    life: str
    version: int
    absence: str | None
    opinions: tuple[Opinion, ...]
    has_more: bool


class SentimentLink(Protocol):
    """The sentiment actor."""

    def news(self, life: str, version: int, given: Sequence[GivenReading]) -> SentimentNews:
        """What is new since that version; takes what strategies were given meanwhile."""
        ...
