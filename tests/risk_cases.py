"""A signal, a desk and histories for the tests of the risk chain: all is well, unless changed.

The story: Monday 2013-10-07, 10:30 New York; AAPL is offered at $100.00 and the
desk has $100,000. Symbols A to E move independently of it and of each other.
"""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from greenlight.domain.desk_state import DeskState
from greenlight.domain.market import (
    Bar,
    Quote,
    Session,
    Unavailable,
    eastern_midnight,
    session_on,
    sessions_between,
)
from greenlight.domain.positions import Position
from greenlight.domain.signals import Signal

NOW = datetime(2013, 10, 7, 14, 30, tzinfo=UTC)
DAYS = tuple(s.day for s in sessions_between(date(2013, 7, 1), date(2013, 10, 4)))[-61:]


def session() -> Session:
    found = session_on(NOW.date())
    assert found is not None
    return found


def signal(**changes: object) -> Signal:
    made = Signal(
        strategy="A",
        symbol="AAPL",
        at=NOW - timedelta(hours=20),
        confidence=5,
        reference_price=100.0,
        atr_usd=2.0,
        stop_frac=0.05,
        target_frac=0.05,
        hold_sessions=3,
        features={},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def quote(bid: float = 99.98, ask: float = 100.0, age_s: float = 1.0) -> Quote:
    at = NOW - timedelta(seconds=age_s)
    return Quote(symbol="AAPL", at=at, bid=bid, ask=ask, bid_size=100, ask_size=100)


def returns(symbol: str) -> dict[date, float]:
    """Sixty daily returns, each symbol's its own."""
    source = random.Random(symbol)
    return {day: source.gauss(0, 0.02) for day in DAYS[1:]}


def daily_bars(symbol: str, start: float = 100.0) -> list[Bar]:
    """Sixty-one daily bars up to the session before `NOW`, with `returns` between closes."""
    close, bars = start, []
    for day in DAYS:
        before, close = close, close * (1 + returns(symbol).get(day, 0.0))
        bars.append(bar(symbol, day, before, close))
    return bars


def bar(symbol: str, day: date, opened: float, close: float) -> Bar:
    found = session_on(day)
    assert found is not None
    high, low = max(opened, close) + 0.01, min(opened, close) - 0.01
    return Bar(
        symbol=symbol,
        start=eastern_midnight(day),
        end=found.close,
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=1000,
    )


def state(**changes: object) -> DeskState:
    made = DeskState(
        now=NOW,
        session=session(),
        quote=quote(),
        equity_usd=Decimal(100_000),
        buying_power_usd=Decimal(100_000),
        loss_base_usd=Decimal(100_000),
        high_usd=Decimal(100_000),
        positions=(),
        entries={},
        recent_entries=(),
        halts=(),
        reconciled=True,
        returns={symbol: returns(symbol) for symbol in ("AAPL", "A", "B", "C", "D", "E", "X", "Y")},
        sectors={"AAPL": "Information Technology"},
        winners_in_a_row=0,
        forecast_vol_ann=Unavailable("there is no forecast"),
        recent_vol_ann=0.3,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def position(symbol: str, cost: str = "1000") -> Position:
    return Position(
        position_id=symbol,
        symbol=symbol,
        strategy="A",
        qty=10,
        cost_usd=Decimal(cost),
        realized_usd=Decimal(0),
        stop_price=Decimal(95),
        target_price=Decimal(110),
        opened_at=NOW,
        exit_by=NOW,
    )
