from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.paper_exchange.source_tapes import (
    SymbolTape,
    made_up_quotes,
    tape_from_bars,
    tape_from_ticks,
)
from greenlight.adapters.history import IntradayBars, IntradayQuotes, QuoteTicks, TradeTicks
from greenlight.domain.market import Session

DAY = date(2013, 10, 7)
# 09:30 to 16:00 in New York, which is UTC-4 in October.
SESSION = Session(
    day=DAY,
    open=datetime(2013, 10, 7, 13, 30, tzinfo=UTC),
    close=datetime(2013, 10, 7, 20, 0, tzinfo=UTC),
)
OPEN_MS = 34_200_000


def bars(*rows: tuple[int, float, float, float, float, int]) -> IntradayBars:
    return IntradayBars(
        symbol="IBM",
        day=DAY,
        minute=np.array([r[0] for r in rows], dtype=np.int64),
        ohlc=np.array([r[1:5] for r in rows], dtype=np.float64),
        volume=np.array([r[5] for r in rows], dtype=np.int64),
    )


def quotes(*rows: tuple[int, list[float], list[float]]) -> IntradayQuotes:
    return IntradayQuotes(
        symbol="IBM",
        day=DAY,
        minute=np.array([r[0] for r in rows], dtype=np.int64),
        bid=np.array([r[1] for r in rows], dtype=np.float64),
        ask=np.array([r[2] for r in rows], dtype=np.float64),
        bid_size=np.full(len(rows), 300, dtype=np.int64),
        ask_size=np.full(len(rows), 500, dtype=np.int64),
    )


def trades(*rows: tuple[int, float, int]) -> TradeTicks:
    return TradeTicks(
        symbol="IBM",
        day=DAY,
        ms=np.array([r[0] for r in rows], dtype=np.int64),
        price=np.array([r[1] for r in rows], dtype=np.float64),
        size=np.array([r[2] for r in rows], dtype=np.int64),
    )


def updates(*rows: tuple[int, float, int, float, int]) -> QuoteTicks:
    return QuoteTicks(
        symbol="IBM",
        day=DAY,
        ms=np.array([r[0] for r in rows], dtype=np.int64),
        bid=np.array([r[1] for r in rows], dtype=np.float64),
        bid_size=np.array([r[2] for r in rows], dtype=np.int64),
        ask=np.array([r[3] for r in rows], dtype=np.float64),
        ask_size=np.array([r[4] for r in rows], dtype=np.int64),
    )


def instants(tape: SymbolTape) -> list[str]:
    return [
        datetime.fromtimestamp(ns / 1e9, tz=UTC).strftime("%H:%M:%S") for ns in tape.at_ns.tolist()
    ]


def test_bars_when_rising_and_falling_then_the_near_extreme_comes_first() -> None:
    tape = tape_from_bars(
        SESSION, bars((570, 10.0, 10.4, 9.8, 10.2, 10), (572, 10.2, 10.3, 9.9, 10.0, 8)), None
    )
    assert tape is not None
    assert tape.trade.tolist() == [10.0, 9.8, 10.4, 10.2, 10.2, 10.3, 9.9, 10.0]
    assert instants(tape)[:5] == ["13:30:00", "13:30:20", "13:30:40", "13:30:59", "13:32:00"]
    assert tape.trade_size.tolist() == [2, 2, 2, 4, 2, 2, 2, 2]
    assert tape.minute_offsets[:4].tolist() == [0, 4, 4, 8]
    assert len(tape.minute_offsets) == 391
    assert tape.bar[0].tolist() == [10.0, 10.4, 9.8, 10.2]
    assert np.isnan(tape.bar[1]).all()
    assert tape.bar_volume[:3].tolist() == [10, 0, 8]
    assert tape.has_made_up_quotes


def test_bars_when_outside_regular_hours_then_they_are_left_out() -> None:
    outside = bars((569, 9.0, 9.0, 9.0, 9.0, 5), (960, 9.0, 9.0, 9.0, 9.0, 5))
    assert tape_from_bars(SESSION, outside, None) is None


def test_bars_when_quoted_then_each_point_has_its_own_quote() -> None:
    tape = tape_from_bars(
        SESSION,
        bars((570, 10.0, 10.4, 9.8, 10.2, 8)),
        quotes((570, [9.99, 10.39, 9.79, 10.19], [10.01, 10.41, 9.81, 10.21])),
    )
    assert tape is not None
    assert tape.bid.tolist() == [9.99, 9.79, 10.39, 10.19]
    assert tape.ask.tolist() == [10.01, 9.81, 10.41, 10.21]
    assert tape.bid_size.tolist() == [300] * 4
    assert tape.ask_size.tolist() == [500] * 4
    assert not tape.has_made_up_quotes
    assert tape.prints_outside_quote() == 0


def test_bars_when_a_print_lies_outside_its_quote_then_both_stay_and_are_counted() -> None:
    tape = tape_from_bars(
        SESSION,
        bars((570, 10.0, 10.5, 10.0, 10.0, 8)),
        quotes((570, [9.99] * 4, [10.01] * 4)),
    )
    assert tape is not None
    assert tape.trade.max() == 10.5
    assert tape.ask.tolist() == [10.01] * 4
    assert tape.prints_outside_quote() == 1


def test_bars_when_a_minute_has_quotes_alone_then_they_are_updates_without_print() -> None:
    tape = tape_from_bars(
        SESSION,
        bars((570, 10.0, 10.0, 10.0, 10.0, 4)),
        quotes((570, [9.99] * 4, [10.01] * 4), (571, [9.9, 9.95, 9.8, 9.85], [10.0] * 4)),
    )
    assert tape is not None
    assert np.isnan(tape.trade[4:]).all()
    assert tape.trade_size[4:].tolist() == [0] * 4
    # The middle fell, so the high comes before the low.
    assert tape.bid[4:].tolist() == [9.9, 9.95, 9.8, 9.85]


def test_bars_when_a_quote_is_missing_or_crossed_then_the_last_good_one_holds() -> None:
    tape = tape_from_bars(
        SESSION,
        bars((570, 10.0, 10.0, 10.0, 10.0, 4), (571, 10.0, 10.0, 10.0, 10.0, 4)),
        quotes((560, [9.9] * 4, [10.1] * 4), (571, [10.2, 9.8, 9.8, 9.8], [10.1, 10.1, 0, 10.1])),
    )
    assert tape is not None
    assert tape.bid.tolist() == [9.9] * 6 + [9.8, 9.8]
    assert tape.ask.tolist() == [10.1] * 8


def test_ticks_when_sides_come_alone_then_the_other_side_is_carried() -> None:
    tape = tape_from_ticks(
        SESSION,
        trades((OPEN_MS + 5, 10.0, 100), (OPEN_MS + 70_000, 10.3, 50), (OPEN_MS - 1, 1.0, 9)),
        updates(
            (OPEN_MS - 100, 9.98, 100, 0, 0),
            (OPEN_MS - 100, 0, 0, 10.02, 200),
            (OPEN_MS + 10, 0, 0, 10.01, 300),
            (OPEN_MS + 20, 9.98, 100, 0, 0),
            (OPEN_MS + 30, 10.05, 700, 0, 0),
            (OPEN_MS + 30, 0, 0, 10.06, 800),
        ),
    )
    assert tape is not None
    # The pair at +30 is one update; the one at +20 changes nothing.
    assert (tape.at_ns - tape.at_ns[0]).tolist() == [0, 5_000_000, 25_000_000, 69_995_000_000]
    assert tape.bid.tolist() == [9.98, 9.98, 10.05, 10.05]
    assert tape.ask.tolist() == [10.02, 10.01, 10.06, 10.06]
    assert tape.ask_size.tolist() == [200, 300, 800, 800]
    assert np.isnan(tape.trade).tolist() == [False, True, True, False]
    assert tape.bar[:2].tolist() == [[10.0] * 4, [10.3] * 4]
    assert tape.bar_volume[:2].tolist() == [100, 50]


def test_ticks_when_an_update_crosses_the_quote_then_it_is_left_out() -> None:
    tape = tape_from_ticks(
        SESSION,
        trades((OPEN_MS + 5, 10.0, 100)),
        updates(
            (OPEN_MS, 9.98, 100, 10.02, 100),
            (OPEN_MS + 1, 10.10, 100, 0, 0),
            (OPEN_MS + 2, 0, 0, 10.12, 100),
        ),
    )
    assert tape is not None
    assert tape.bid.tolist() == [9.98, 10.10, 10.10]
    assert tape.ask.tolist() == [10.02, 10.12, 10.12]


@pytest.mark.parametrize(
    ("price", "bid", "ask"),
    [(10.0, 9.99, 10.01), (100.0, 99.99, 100.01), (45.063, 45.05, 45.07), (500.0, 499.95, 500.05)],
)
def test_made_up_quotes_when_asked_then_they_are_rounded_outward(
    price: float, bid: float, ask: float
) -> None:
    made_bid, made_ask = made_up_quotes(np.array([price]))
    assert made_bid.tolist() == [bid]
    assert made_ask.tolist() == [ask]


@given(price=st.floats(min_value=0.0001, max_value=100_000))
def test_made_up_quotes_when_any_price_then_it_lies_between(price: float) -> None:
    bid, ask = made_up_quotes(np.array([price]))
    assert 0 < bid[0] <= price + 1e-7
    assert price <= ask[0] + 1e-7
    if price > 0.02:
        assert ask[0] - bid[0] >= max(0.01, price * 2e-4) - 1e-7
