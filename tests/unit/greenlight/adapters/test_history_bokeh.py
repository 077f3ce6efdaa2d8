from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from greenlight.adapters.history import check_history
from greenlight.adapters.history_bokeh import (
    BOKEH_SYMBOLS,
    dividends_from_adjusted,
    read_bokeh,
    splits_from_adjusted,
)
from greenlight.adapters.history_lean import open_lean
from tests.shared_data import lean_root

# The companies' own announcements of splits between 2000-03-01 and 2013-03-01.
KNOWN_SPLITS = {
    "AAPL": [(date(2000, 6, 21), 2.0), (date(2005, 2, 28), 2.0)],
    "FB": [],
    "GOOG": [],
    "IBM": [],
    "MSFT": [(date(2003, 2, 18), 2.0)],
}


@pytest.mark.parametrize("symbol", BOKEH_SYMBOLS)
def test_read_when_splits_happened_then_they_are_the_announced_ones(symbol: str) -> None:
    series = read_bokeh(symbol)
    assert [(s.ex_date, s.ratio) for s in series.splits] == KNOWN_SPLITS[symbol]
    assert all(s.symbol == symbol for s in series.splits)


@pytest.mark.parametrize("symbol", BOKEH_SYMBOLS)
def test_read_when_checked_then_the_sample_data_is_whole(symbol: str) -> None:
    series = read_bokeh(symbol)
    assert len(series) > 190
    assert check_history(series) == ()


def test_read_when_a_split_happened_then_prices_stay_raw() -> None:
    series = read_bokeh("AAPL")
    before, after = series.row(date(2005, 2, 25)), series.row(date(2005, 2, 28))
    assert before is not None
    assert after == before + 1
    assert series.close[before] == 88.99
    assert series.open[after] == 44.68


def test_splits_when_a_dividend_was_large_then_it_is_no_split() -> None:
    # MSFT paid $3 a share on 2004-11-15, at a close of 29.97 the day before.
    series = read_bokeh("MSFT")
    assert date(2004, 11, 15) not in [s.ex_date for s in series.splits]


def test_splits_when_the_raw_price_did_not_move_then_the_jump_is_only_a_doubt() -> None:
    days = np.array(["2013-10-03", "2013-10-04"], dtype="datetime64[D]")
    flat = np.array([10.0, 10.0])
    splits, doubts = splits_from_adjusted("X", days, flat, flat, np.array([5.0, 10.0]))
    assert splits == ()
    assert [(d.day, d.kind) for d in doubts] == [(date(2013, 10, 4), "unconfirmed_split")]


def test_read_when_the_symbol_is_unknown_then_it_says_which_there_are() -> None:
    with pytest.raises(ValueError, match="bokeh has no TSLA; it has AAPL, FB, GOOG, IBM, MSFT"):
        read_bokeh("TSLA")


# The companies' announcements: ex-date and dollars a share.
KNOWN_DIVIDENDS = {
    "AAPL": [("2012-08-09", 2.65), ("2012-11-07", 2.65), ("2013-02-07", 2.65)],
    "FB": [],
    "GOOG": [],
    "IBM": [
        ("2008-02-06", 0.40),
        ("2008-05-07", 0.50),
        ("2008-08-06", 0.50),
        ("2008-11-06", 0.50),
    ],
    "MSFT": [
        ("2008-02-19", 0.11),
        ("2008-05-13", 0.11),
        ("2008-08-19", 0.11),
        ("2008-11-18", 0.13),
    ],
}


@pytest.mark.parametrize("symbol", BOKEH_SYMBOLS)
def test_read_when_dividends_were_paid_then_they_are_the_announced_ones(symbol: str) -> None:
    series, known = read_bokeh(symbol), KNOWN_DIVIDENDS[symbol]
    is_whole = symbol in ("AAPL", "FB", "GOOG")
    found = [d for d in series.dividends if is_whole or d.ex_date.year == 2008]
    assert [d.ex_date.isoformat() for d in found] == [day for day, _ in known]
    for dividend, (_, usd) in zip(found, known, strict=True):
        row = series.row(dividend.ex_date)
        assert row is not None
        # The table's factors are good to four basis points of the price.
        assert abs(dividend.usd_a_share - usd) <= 0.005 + 4e-4 * series.close[row - 1]


def test_read_when_microsoft_paid_its_special_dividend_then_it_is_found() -> None:
    # $3 and the quarter's 8 cents.
    (found,) = [d for d in read_bokeh("MSFT").dividends if d.ex_date == date(2004, 11, 15)]
    assert found.usd_a_share == pytest.approx(3.08, abs=0.06)


@pytest.mark.shared_data
@pytest.mark.parametrize(("symbol", "count"), [("AAPL", 3), ("IBM", 52)])
def test_read_when_compared_with_leans_factors_then_the_same_days_and_amounts(
    symbol: str, count: int
) -> None:
    series = read_bokeh(symbol)
    first, last = series.days[0].item(), series.days[-1].item()
    theirs = {
        d.ex_date: d.usd_a_share
        for d in open_lean(lean_root()).dividends(symbol)
        if first < d.ex_date <= last
    }
    ours = {d.ex_date: d.usd_a_share for d in series.dividends}
    assert ours.keys() == theirs.keys()
    assert len(ours) == count
    for day, usd in theirs.items():
        row = series.row(day)
        assert row is not None
        assert abs(ours[day] - usd) <= 0.005 + 4e-4 * series.close[row - 1]


@given(
    st.lists(st.integers(5, 400), min_size=1, max_size=5),
    st.integers(2000, 30000),
    st.lists(st.integers(-30, 30), min_size=119, max_size=119),
)
@example([5, 10], 14541, [30] * 119)
def test_dividends_when_adjusted_as_yahoo_does_then_found_again(
    cents: list[int], start: int, steps: list[int]
) -> None:
    close = np.maximum(start + np.cumsum([0, *steps]), start // 2) / 100
    days = np.arange("2013-01-01", "2013-05-01", dtype="datetime64[D]")
    paid = {20 * (i + 1): c / 100 for i, c in enumerate(cents)}
    factor = np.ones(120)
    for row, usd in paid.items():
        factor[:row] *= 1 - min(usd, close[row - 1] * 0.04) / close[row - 1]
    adjusted = np.round(close * factor, 2)
    found = {
        int(np.searchsorted(days, np.datetime64(d.ex_date))): d.usd_a_share
        for d in dividends_from_adjusted("X", days, close, adjusted)
    }
    # Half a cent over the adjusted close on each side is what rounding leaves open.
    for row, usd in paid.items():
        usd = min(usd, close[row - 1] * 0.04)
        if usd / close[row - 1] > 4 * 0.005 / adjusted.min() + 5e-4:
            # A payment too small to be told blurs the factor that its neighbours rest on.
            assert found[row] == pytest.approx(usd, abs=0.01 + 5e-4 * close[row - 1])
    assert set(found) <= set(paid)
