"""Splits in history, payments and new names; AAPL's figures are those of June 2014."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.domain.corporate_actions import (
    DividendPaid,
    dividend_decision,
    present_symbol,
    present_symbols,
    recorded_splits,
    split_adjusted,
    split_decision,
    split_factor,
    symbol_change_decision,
    symbol_changes,
)
from greenlight.domain.market import Bar, Split, SymbolChange, eastern_midnight, session_on

EX_DATE = date(2014, 6, 9)
SPLIT = Split(symbol="AAPL", ex_date=EX_DATE, ratio=7.0)
T0 = datetime(2014, 6, 9, 12, 30, tzinfo=UTC)


def daily(day: date, close: float, symbol: str = "AAPL", volume: int = 70) -> Bar:
    session = session_on(day)
    assert session is not None
    return Bar(
        symbol=symbol,
        start=eastern_midnight(day),
        end=session.close,
        open=close,
        high=close,
        low=close,
        close=close,
        volume=volume,
    )


def test_adjust_when_a_split_lies_between_then_divided_by_it_and_volume_times_it() -> None:
    bars = [daily(date(2014, 6, 6), 645.57), daily(EX_DATE, 93.70)]
    before, after = split_adjusted(bars, [SPLIT], EX_DATE)
    # Nasdaq's own adjusted close of 2014-06-06 is 92.2243 (645.57 / 7).
    assert before.close == pytest.approx(92.2243, abs=1e-4)
    assert before.volume == 490
    assert after == bars[1]


def test_adjust_when_the_split_is_of_another_day_or_symbol_then_untouched() -> None:
    bars = [daily(date(2014, 6, 6), 645.57), daily(date(2014, 6, 6), 100.0, "IBM")]
    assert split_adjusted(bars, [SPLIT], date(2014, 6, 8)) == bars
    assert split_adjusted(bars, [SPLIT], EX_DATE)[1] == bars[1]
    assert split_adjusted(bars, [], EX_DATE) == bars


@given(st.lists(st.sampled_from([0.5, 1.5, 2.0, 4.0, 7.0]), max_size=4))
def test_factor_when_several_splits_follow_then_their_product_in_any_cut(
    ratios: list[float],
) -> None:
    first = date(2014, 1, 1)
    days = [first + timedelta(days=30 * (i + 1)) for i in range(len(ratios))]
    splits = [Split(symbol="A", ex_date=d, ratio=r) for d, r in zip(days, ratios, strict=True)]
    last = first + timedelta(days=200)
    for cut in (*days, first, last):
        whole = split_factor(splits, "A", first, last)
        parts = split_factor(splits, "A", first, cut) * split_factor(splits, "A", cut, last)
        assert parts == pytest.approx(whole)


def test_dividend_decision_when_the_payment_comes_again_then_the_same_row() -> None:
    paid = DividendPaid(
        activity_id="20140508000000000::x",
        symbol="AAPL",
        at=T0,
        usd=Decimal("32.90"),
        qty=Decimal(10),
        usd_a_share=Decimal("3.29"),
        position_id="p",
    )
    row = dividend_decision("t", paid)
    assert row == dividend_decision("t", paid)
    assert row.figures == {
        "usd": "32.90",
        "qty": "10",
        "usd_a_share": "3.29",
        "position_id": "p",
    }


def test_recorded_splits_when_told_twice_or_refused_then_each_once() -> None:
    watched = split_decision("t", SPLIT, T0)
    held = replace(watched, decision_id="held", figures={"ex_date": "2014-06-09", "ratio": "7.0"})
    fraction = replace(
        watched,
        symbol="IBM",
        reason="split: IBM: 7 x 1.5 is not whole shares",
        figures={"ex_date": "2014-06-10", "ratio": "1.5"},
    )
    other = symbol_change_decision("t", SymbolChange(old="A", new="B", day=EX_DATE), None, T0)
    assert recorded_splits([fraction, held, other, watched]) == (
        SPLIT,
        Split(symbol="IBM", ex_date=date(2014, 6, 10), ratio=1.5),
    )


def test_symbol_changes_when_read_from_their_rows_then_in_order_of_day() -> None:
    changes = [
        SymbolChange(old="FB", new="META", day=date(2022, 6, 9)),
        SymbolChange(old="QQQ", new="QQQQ", day=date(2004, 12, 1)),
        SymbolChange(old="QQQQ", new="QQQ", day=date(2011, 3, 23)),
    ]
    rows = [symbol_change_decision("t", change, None, T0) for change in changes]
    found = symbol_changes(rows)
    assert [c.day.year for c in found] == [2004, 2011, 2022]
    assert present_symbol("FB", found) == "META"
    # It came back to its old name.
    assert present_symbol("QQQ", found) == "QQQ"
    assert present_symbols(["META", "FB", "IBM"], found) == ("META", "IBM")
