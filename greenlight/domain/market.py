"""What the market showed: bars, quotes, ticks, corporate actions, and when it is open.

First stage of every decision. Before it stand the adapters, which turn a
vendor's messages into these values; after it come the indicators.
Prices are float64 US dollars, sizes whole shares, times aware UTC.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from operator import attrgetter
from typing import Any, Final
from zoneinfo import ZoneInfo

EASTERN: Final = ZoneInfo("America/New_York")
_CALENDAR_START: Final = "1990-01-01"


def _state_as_tuple(
    *names: str,
) -> tuple[Callable[[object], tuple[Any, ...]], Callable[[object, tuple[Any, ...]], None]]:
    """`__getstate__` and `__setstate__` of a frozen class with these slots.

    What dataclasses makes of one looks its fields up again for every object, ten
    times as slow, and these classes travel between processes by the thousand.
    """
    # Wrapped because a bare attrgetter is no method.
    get = attrgetter(*names)

    def getstate(self: object) -> tuple[Any, ...]:
        state: tuple[Any, ...] = get(self)
        return state

    def setstate(self: object, state: tuple[Any, ...]) -> None:
        for name, value in zip(names, state, strict=True):
            object.__setattr__(self, name, value)

    return getstate, setstate


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Absence with its reason. Never 0, never NaN, never a green light."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Trades of one symbol over one interval.

    `start` is the interval's first instant (UTC) and `end` its last, so a
    minute bar that starts at 14:30:00 ends at 14:31:00 and is known from then.
    A daily bar starts at midnight New York and ends at the session's close.
    """

    symbol: str
    start: datetime
    end: datetime
    open: float
    high: float
    low: float
    close: float
    volume: int

    __getstate__, __setstate__ = _state_as_tuple(
        "symbol", "start", "end", "open", "high", "low", "close", "volume"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Best bid and offer of one symbol; sizes in shares."""

    symbol: str
    at: datetime
    bid: float
    ask: float
    bid_size: int
    ask_size: int

    __getstate__, __setstate__ = _state_as_tuple(
        "symbol", "at", "bid", "ask", "bid_size", "ask_size"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One trade print."""

    symbol: str
    at: datetime
    price: float
    size: int

    __getstate__, __setstate__ = _state_as_tuple("symbol", "at", "price", "size")


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A share split: each old share becomes `ratio` new ones from `ex_date` on."""

    symbol: str
    ex_date: date
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Dividend:
    """A cash dividend: who held a share at the close before `ex_date` is paid for it.

    `usd_a_share` is for a share as it was at that close, before any split of `ex_date`.
    """

    symbol: str
    ex_date: date
    usd_a_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolChange:
    """The shares of `old` trade as `new` from `day` on."""

    old: str
    new: str
    day: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One regular trading session of XNYS; `open` and `close` are aware UTC."""

    day: date
    open: datetime
    close: datetime

    @property
    def minutes(self) -> int:
        """Length of the session in minutes: 390, or fewer on a half-day."""
        return int((self.close - self.open).total_seconds() // 60)


def quote_refusal(quote: Quote, last: Quote | None) -> str | None:
    """Say why a quote cannot be used, or None where it can.

    Parameters
    ----------
    quote : Quote
        The quote to judge.
    last : Quote | None
        The last good quote of the same symbol, if there was one.

    Returns
    -------
    str | None
        A reason code: `not_finite`, `not_positive`, `crossed`, `absurd` (mid
        more than 20% off the last good mid of the same session day),
        `out_of_order`, or `duplicate` (the last good one once more).
    """
    if not (math.isfinite(quote.bid) and math.isfinite(quote.ask)):
        return "not_finite"
    if quote.bid <= 0 or quote.ask <= 0:
        return "not_positive"
    if quote.bid > quote.ask:
        return "crossed"
    if last is None:
        return None
    mid, last_mid = (quote.bid + quote.ask) / 2, (last.bid + last.ask) / 2
    same_day = eastern_date(quote.at) == eastern_date(last.at)
    if same_day and abs(mid / last_mid - 1) > 0.20:
        return "absurd"
    if quote.at < last.at:
        return "out_of_order"
    return "duplicate" if quote == last else None


CONFIRMING_QUOTES = 3
"""Absurd quotes in a row that agree, after which the price is believed to have moved."""
_AGREEMENT_FRAC = 0.05


def is_confirmed(quote: Quote, doubtful: Sequence[Quote]) -> bool:
    """Whether an absurd quote and the absurd ones just before it show a real move.

    A monitor that refused them all would be blind in a crash. One wrong price
    confirms nothing; several later ones around it do.

    Parameters
    ----------
    quote : Quote
        The newest one.
    doubtful : Sequence[Quote]
        The absurd quotes of the symbol since its last good one, oldest first.

    Returns
    -------
    bool
        The last `CONFIRMING_QUOTES`, this one included, are each later than the
        one before, and their mids within 5% of the newest.
    """
    latest = [*doubtful, quote][-CONFIRMING_QUOTES:]
    if len(latest) < CONFIRMING_QUOTES:
        return False
    mid = (quote.bid + quote.ask) / 2
    agree = all(abs((q.bid + q.ask) / 2 / mid - 1) <= _AGREEMENT_FRAC for q in latest)
    return agree and all(a.at < b.at for a, b in pairwise(latest))


def bar_refusal(bar: Bar) -> str | None:
    """Say why no indicator may see a bar, or None where it may.

    Returns
    -------
    str | None
        A reason code: `not_finite`, `not_positive` (a price), or `inconsistent`
        (open or close outside low to high, or a negative volume). One such bar
        would stay in every average for ever.
    """
    prices = (bar.open, bar.high, bar.low, bar.close)
    if not all(map(math.isfinite, prices)):
        return "not_finite"
    if min(prices) <= 0:
        return "not_positive"
    if bar.high != max(prices) or bar.low != min(prices) or bar.volume < 0:
        return "inconsistent"
    return None


def eastern_date(at: datetime) -> date:
    """The calendar date in New York at an aware instant."""
    return at.astimezone(EASTERN).date()


@lru_cache(maxsize=1)
def _sessions() -> dict[date, Session]:
    # Imported here because it loads pandas (80 MB), which a monitor never needs.
    import exchange_calendars

    table = exchange_calendars.get_calendar("XNYS", start=_CALENDAR_START).schedule
    return {
        label.date(): Session(
            day=label.date(), open=opened.to_pydatetime(), close=closed.to_pydatetime()
        )
        for label, opened, closed in zip(table.index, table["open"], table["close"], strict=True)
    }


def session_on(day: date) -> Session | None:
    """The session of a calendar date, or None on a weekend or holiday.

    Raises
    ------
    ValueError
        The date lies outside the calendar (before 1990 or more than a year on).
    """
    sessions = _sessions()
    found = sessions.get(day)
    if found is None:
        first, last = next(iter(sessions)), next(reversed(sessions))
        if not first <= day <= last:
            raise ValueError(f"{day} lies outside the exchange calendar {first}..{last}")
    return found


def sessions_between(start: date, end: date) -> list[Session]:
    """Every session from `start` to `end`, both included, in order."""
    days = (start + timedelta(days=i) for i in range((end - start).days + 1))
    return [s for s in map(session_on, days) if s is not None]


def session_at(now: datetime) -> Session | None:
    """The session whose regular hours contain `now` (open included, close not)."""
    session = session_on(eastern_date(now))
    if session is None or not session.open <= now < session.close:
        return None
    return session


def next_session(after: date) -> Session:
    """The first session on a date later than `after`."""
    day = after + timedelta(days=1)
    while (session := session_on(day)) is None:
        day += timedelta(days=1)
    return session


def previous_session(before: date) -> Session:
    """The last session on a date earlier than `before`."""
    day = before - timedelta(days=1)
    while (session := session_on(day)) is None:
        day -= timedelta(days=1)
    return session


def session_end_for_hold(opened: datetime, sessions: int) -> datetime:
    """Close of the session that is `sessions` sessions after the one of `opened`.

    A position opened in a session and held for three leaves before the close
    of the third session after it.
    """
    day = eastern_date(opened)
    result = session_on(day) or next_session(day)
    for _ in range(sessions):
        result = next_session(result.day)
    return result.close


def eastern_midnight(day: date) -> datetime:
    """Midnight in New York at the start of a date, as aware UTC."""
    return datetime.combine(day, time.min, tzinfo=EASTERN).astimezone(ZoneInfo("UTC"))
