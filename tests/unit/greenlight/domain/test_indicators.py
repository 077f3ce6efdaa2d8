"""Indicators against TA-Lib or pandas on real prices, and by hand on short series."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import example, given
from hypothesis import strategies as st

from greenlight.adapters.history_bokeh import read_bokeh
from greenlight.adapters.history_lean import open_lean
from greenlight.domain.indicators import (
    ATR_STATE,
    RANGE_STATE,
    RSI_STATE,
    VWAP_STATE,
    FloatArray,
    atr_step,
    opening_range_step,
    rsi_step,
    sma_step,
    volatility_step,
    vwap_step,
)
from tests.shared_data import lean_root

SYMBOLS = ("AAPL", "IBM", "MSFT")


def rsi(close: FloatArray, period: int) -> FloatArray:
    state = np.zeros(RSI_STATE)
    return np.array([rsi_step(state, float(price), period) for price in close])


def atr(high: FloatArray, low: FloatArray, close: FloatArray, period: int) -> FloatArray:
    state = np.zeros(ATR_STATE)
    rows = zip(high, low, close, strict=True)
    return np.array([atr_step(state, float(h), float(lo), float(c), period) for h, lo, c in rows])


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("period", [2, 14, 50])
def test_rsi_when_real_prices_then_equals_talib(symbol: str, period: int) -> None:
    close = read_bokeh(symbol).close
    theirs = talib.RSI(close, period)
    assert np.isnan(theirs[:period]).all()
    np.testing.assert_allclose(rsi(close, period), theirs, rtol=0, atol=1e-9)


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("period", [2, 14, 50])
def test_atr_when_real_prices_then_equals_talib(symbol: str, period: int) -> None:
    series = read_bokeh(symbol)
    theirs = talib.ATR(series.high, series.low, series.close, period)
    assert np.isnan(theirs[:period]).all()
    np.testing.assert_allclose(
        atr(series.high, series.low, series.close, period), theirs, rtol=0, atol=1e-9
    )


def test_rsi_when_three_bars_by_hand_then_known_values() -> None:
    # Changes +2, -1, +1 over period 2: gains (2+0)/2 = 1, losses 1/2 -> 100 * 1 / 1.5;
    # then gains (1+1)/2 = 1, losses (0.5+0)/2 = 0.25 -> 100 * 1 / 1.25.
    values = rsi(np.array([10.0, 12.0, 11.0, 12.0]), 2)
    assert np.isnan(values[:2]).all()
    assert values[2:] == pytest.approx([200 / 3, 80.0], abs=1e-12)


def test_atr_when_bars_gap_by_hand_then_known_values() -> None:
    # True ranges 3 (gap up: 13-10), 4 (gap down: 12-8), 2 over period 2: 3.5, then (3.5+2)/2.
    high, low = np.array([10.5, 13.0, 9.0, 10.0]), np.array([9.5, 11.5, 8.0, 8.0])
    values = atr(high, low, np.array([10.0, 12.0, 8.5, 9.0]), 2)
    assert np.isnan(values[:2]).all()
    assert values[2:] == pytest.approx([3.5, 2.75], abs=1e-12)


def test_rsi_when_price_never_moves_then_zero() -> None:
    assert (rsi(np.full(20, 50.0), 14)[14:] == 0).all()


@given(st.lists(st.floats(0.01, 10_000), min_size=3, max_size=60), st.integers(2, 20))
@example([1.6568583585626584, 2.0, 5244.714217789022], 2)
def test_rsi_when_any_prices_then_within_0_and_100(prices: list[float], period: int) -> None:
    values = rsi(np.array(prices), period)
    assert np.isnan(values[:period]).all()
    rest = values[period:]
    assert ((rest >= 0) & (rest <= 100)).all()


@given(st.lists(st.floats(1, 1000), min_size=4, max_size=40), st.data())
def test_step_when_state_is_saved_and_restored_then_goes_on_the_same(
    prices: list[float], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(prices)))
    state = np.zeros(RSI_STATE)
    for price in prices[:cut]:
        rsi_step(state, price, 2)
    restored = np.array(state.tolist())
    resumed = [rsi_step(restored, price, 2) for price in prices[cut:]]
    np.testing.assert_array_equal(resumed, rsi(np.array(prices), 2)[cut:])


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("period", [1, 2, 20, 200])
def test_sma_when_real_prices_then_equals_talib(symbol: str, period: int) -> None:
    close, state = read_bokeh(symbol).close, np.zeros(1 + period)
    values = [sma_step(state, float(price), period) for price in close]
    theirs = close if period == 1 else talib.SMA(close, period)
    np.testing.assert_allclose(values, theirs, rtol=0, atol=1e-9)


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("period", [5, 20, 60])
def test_volatility_when_real_prices_then_equals_talib(symbol: str, period: int) -> None:
    close, state = read_bokeh(symbol).close, np.zeros(2 + period)
    values = np.array([volatility_step(state, float(price), period) for price in close])
    theirs = talib.STDDEV(np.diff(np.log(close)), period)
    assert np.isnan(values[:period]).all()
    np.testing.assert_allclose(values[period:], theirs[period - 1 :], rtol=0, atol=1e-9)


def minutes(symbol: str) -> pd.DataFrame:
    """Real minute bars of three sessions, with the minutes since the open."""
    lean, parts = open_lean(lean_root()), []
    for day in (date(2013, 10, 7), date(2013, 10, 8), date(2013, 10, 9)):
        bars = lean.minute_trades(symbol, day)
        part = pd.DataFrame(bars.ohlc, columns=["open", "high", "low", "close"])
        part["volume"] = bars.volume.astype(float)
        part["minute"] = bars.minute - (9 * 60 + 30)
        part["day"] = day.toordinal()
        parts.append(part[(part.minute >= 0) & (part.minute < 390)])
    return pd.concat(parts, ignore_index=True)


@pytest.mark.shared_data
@pytest.mark.parametrize("symbol", ["IBM", "BAC", "SPY"])
def test_vwap_when_real_minutes_then_equals_pandas(symbol: str) -> None:
    table, state = minutes(symbol), np.zeros(VWAP_STATE)
    typical = table[["high", "low", "close"]].mean(axis=1)
    by_day = table.assign(dollars=typical * table.volume).groupby("day")
    theirs = by_day.dollars.cumsum() / by_day.volume.cumsum()
    values = [
        vwap_step(state, row.day, row.high, row.low, row.close, row.volume)
        for row in table.itertuples()
    ]
    assert len(values) > 1000
    np.testing.assert_allclose(values, theirs, rtol=0, atol=1e-9)


@pytest.mark.shared_data
@pytest.mark.parametrize("symbol", ["IBM", "BAC", "SPY"])
@pytest.mark.parametrize("length", [5, 30])
def test_opening_range_when_real_minutes_then_equals_pandas(symbol: str, length: int) -> None:
    table, state = minutes(symbol), np.zeros(RANGE_STATE)
    first = table[table.minute < length].groupby("day")
    theirs = pd.DataFrame(
        {"high": first.high.max(), "low": first.low.min(), "volume": first.volume.sum() / length}
    )
    seen = 0
    for row in table.itertuples():
        found = opening_range_step(
            state, row.day, row.minute, row.high, row.low, row.volume, length
        )
        if row.minute < length:
            assert np.isnan(found).all()
        else:
            seen += 1
            np.testing.assert_allclose(found, theirs.loc[row.day].to_numpy(), rtol=0, atol=1e-9)
    assert seen > 900


def test_opening_range_when_its_minutes_had_no_bar_then_none_that_session() -> None:
    state = np.zeros(RANGE_STATE)
    assert np.isnan(opening_range_step(state, 1, 31, 10.0, 9.0, 100.0, 30)).all()
    assert np.isnan(opening_range_step(state, 1, 32, 10.0, 9.0, 100.0, 30)).all()
    opening_range_step(state, 2, 0, 10.0, 9.0, 300.0, 30)
    assert opening_range_step(state, 2, 30, 11.0, 8.0, 1.0, 30) == (10.0, 9.0, 10.0)


def test_vwap_when_no_share_was_traded_then_nan() -> None:
    assert np.isnan(vwap_step(np.zeros(VWAP_STATE), 1, 10.0, 9.0, 9.5, 0.0))
