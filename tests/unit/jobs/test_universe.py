from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from greenlight.domain.market import Bar, Split, eastern_midnight, session_on
from greenlight.testing import FakeStore
from greenlight.testing_broker import FakeMarketData
from jobs.universe import record_universe

DAYS = [date(2012, 1, d) for d in (3, 4, 5)]
CLOSES = {"AAPL": [400.0, 404.0, 202.0], "IBM": [180.0, 183.6, 181.764]}


def bar(symbol: str, day: date, close: float) -> Bar:
    start = eastern_midnight(day)
    return Bar(
        symbol=symbol,
        start=start,
        end=start + timedelta(days=1),
        open=close,
        high=close,
        low=close,
        close=close,
        volume=1,
    )


def market(**lacking: date) -> FakeMarketData:
    return FakeMarketData(
        bars=[
            bar(symbol, day, close)
            for symbol, closes in CLOSES.items()
            for day, close in zip(DAYS, closes, strict=True)
            if lacking.get(symbol) != day
        ],
        splits=[Split(symbol="AAPL", ex_date=DAYS[2], ratio=2.0)],
    )


def after(day: date) -> datetime:
    session = session_on(day)
    assert session is not None
    return eastern_midnight(day) + timedelta(days=1)


def test_record_universe_when_sessions_closed_then_their_equal_weight_return_once() -> None:
    store, data = FakeStore(), market()
    assert record_universe(store, data, ("AAPL", "IBM"), after(DAYS[2])) == 2
    found = {row.day: row for row in store.universe_returns(DAYS[0], DAYS[2])}
    # By hand: (1% + 2%) / 2; then Apple's two for one is no loss: (0% - 1%) / 2.
    assert found[DAYS[1]].frac == pytest.approx(0.015)
    assert found[DAYS[2]].frac == pytest.approx(-0.005)
    assert {row.symbols for row in found.values()} == {2}
    assert record_universe(store, data, ("AAPL", "IBM"), after(DAYS[2])) == 0


def test_record_universe_when_a_symbol_has_no_bar_then_the_mean_of_the_others() -> None:
    store = FakeStore()
    record_universe(store, market(AAPL=DAYS[1]), ("AAPL", "IBM"), after(DAYS[1]))
    [row] = store.universe_returns(DAYS[0], DAYS[2])
    assert (row.day, row.symbols, row.frac) == (DAYS[1], 1, pytest.approx(0.02))


def test_record_universe_when_the_broker_is_away_then_filled_in_later() -> None:
    store, data = FakeStore(), market()
    data.up = False
    assert record_universe(store, data, ("AAPL", "IBM"), after(DAYS[1])) == 0
    data.up = True
    assert record_universe(store, data, ("AAPL", "IBM"), after(DAYS[2])) == 2
