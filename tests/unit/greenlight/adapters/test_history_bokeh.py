from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from greenlight.adapters.history import check_history
from greenlight.adapters.history_bokeh import BOKEH_SYMBOLS, read_bokeh, splits_from_adjusted

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
