"""Indicators as compiled steps over explicit state.

Before it stand the bars; after it the strategies. Each step takes a float64
state array that it changes in place and one bar's prices, and returns the
indicator's value, NaN until it has seen enough bars. The same steps run bar by
bar at the desk and in bulk over arrays. NaN does not leave this package: a
strategy does not fire on it.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]

RSI_STATE = 4
"""Length of an RSI's state: count, average gain, average loss, previous close."""
ATR_STATE = 3
"""Length of an ATR's state: count, average, previous close."""
RANGE_STATE = 5
"""Length of an opening range's state: day, high, low, shares, bars."""
VWAP_STATE = 3
"""Length of a VWAP's state: day, dollars, shares."""


@njit(cache=True)
def rsi_step(state: FloatArray, close: float, period: int) -> float:
    """Wilder's relative strength index after one more close.

    Parameters
    ----------
    state : float64[4]
        Changed in place; zeros before the first bar.
    close : float
        US dollars.
    period : int
        Bars, at least 2; Wilder's is 14.

    Returns
    -------
    float
        0 … 100, or NaN for the first `period` bars. 0 where no price moved.

    Notes
    -----
    The first averages are means of the first `period` changes; after that
    ``avg = (avg * (period - 1) + change) / period``. J. Welles Wilder, "New
    Concepts in Technical Trading Systems" (1978); TA-Lib's RSI is the same.
    """
    count = state[0]
    state[0] = count + 1.0
    previous = state[3]
    state[3] = close
    if count == 0.0:
        return np.nan
    change = close - previous
    gain = change if change > 0.0 else 0.0
    loss = -change if change < 0.0 else 0.0
    if count <= period:
        state[1] += gain
        state[2] += loss
        if count < period:
            return np.nan
        state[1] /= period
        state[2] /= period
    else:
        state[1] = (state[1] * (period - 1) + gain) / period
        state[2] = (state[2] * (period - 1) + loss) / period
    total = state[1] + state[2]
    # The share first: rounded, it is still no more than 1.
    return 100.0 * (state[1] / total) if total > 0.0 else 0.0


@njit(cache=True)
def atr_step(state: FloatArray, high: float, low: float, close: float, period: int) -> float:
    """Wilder's average true range after one more bar.

    Parameters
    ----------
    state : float64[3]
        Changed in place; zeros before the first bar.
    high, low, close : float
        US dollars.
    period : int
        Bars, at least 2; Wilder's is 14.

    Returns
    -------
    float
        US dollars, or NaN for the first `period` bars.

    Notes
    -----
    True range is the largest of high - low, |high - previous close| and
    |low - previous close|; the first bar has none. The first average is the
    mean of `period` true ranges. Wilder (1978); TA-Lib's ATR is the same.
    """
    count = state[0]
    state[0] = count + 1.0
    previous = state[2]
    state[2] = close
    if count == 0.0:
        return np.nan
    true_range = max(high - low, abs(high - previous), abs(low - previous))
    if count <= period:
        state[1] += true_range
        if count < period:
            return np.nan
        state[1] /= period
    else:
        state[1] = (state[1] * (period - 1) + true_range) / period
    return float(state[1])


@njit(cache=True)
def sma_step(state: FloatArray, value: float, period: int) -> float:
    """Simple moving average after one more value.

    Parameters
    ----------
    state : float64[1 + period]
        Count and the last values; changed in place; zeros before the first.
    value : float
        Any unit.
    period : int
        Values, at least 1.

    Returns
    -------
    float
        In the value's unit, or NaN for the first `period - 1` values.

    Notes
    -----
    Summed anew each time, so that no rounding adds up. TA-Lib's SMA is the same.
    """
    count = int(state[0])
    state[0] = count + 1.0
    state[1 + count % period] = value
    if count + 1 < period:
        return np.nan
    return float(np.sum(state[1 : 1 + period]) / period)


@njit(cache=True)
def volatility_step(state: FloatArray, close: float, period: int) -> float:
    """Rolling volatility: standard deviation of the last log returns.

    Parameters
    ----------
    state : float64[2 + period]
        Count, previous close and the last returns; zeros before the first bar.
    close : float
        US dollars, above 0.
    period : int
        Returns, at least 2.

    Returns
    -------
    float
        Of one bar, as a fraction (not annualised), or NaN for the first `period` bars.

    Notes
    -----
    ``sqrt(mean((r - mean(r))^2))`` with ``r = ln(close / previous close)``: the
    population's, as in TA-Lib's STDDEV.
    """
    count = int(state[0])
    previous = state[1]
    state[0] = count + 1.0
    state[1] = close
    if count == 0:
        return np.nan
    state[2 + (count - 1) % period] = np.log(close / previous)
    if count < period:
        return np.nan
    return float(np.std(state[2 : 2 + period]))


@njit(cache=True)
def opening_range_step(
    state: FloatArray,
    day: int,
    minute: int,
    high: float,
    low: float,
    volume: float,
    range_minutes: int,
) -> tuple[float, float, float]:
    """High, low and mean minute volume of a session's first minutes.

    Parameters
    ----------
    state : float64[5]
        Day, high, low, shares, bars; changed in place; zeros before the first bar.
    day : int
        Any number that differs from session to session.
    minute : int
        Whole minutes from the open to the bar's start; the first bar's is 0.
    high, low : float
        US dollars.
    volume : float
        Shares of the minute.
    range_minutes : int
        Length of the range.

    Returns
    -------
    tuple[float, float, float]
        US dollars, US dollars, shares a minute (a minute without a trade counts
        as 0 shares); NaN while the range is not over or had no bar.
    """
    if state[0] != day:
        state[0] = day
        state[1], state[2], state[3], state[4] = high, low, 0.0, 0.0
    if minute < range_minutes:
        state[1] = max(state[1], high)
        state[2] = min(state[2], low)
        state[3] += volume
        state[4] += 1.0
        return np.nan, np.nan, np.nan
    if state[4] == 0.0:
        return np.nan, np.nan, np.nan
    return float(state[1]), float(state[2]), float(state[3] / range_minutes)


@njit(cache=True)
def vwap_step(
    state: FloatArray, day: int, high: float, low: float, close: float, volume: float
) -> float:
    """Volume-weighted average price of the session up to and with this bar.

    Parameters
    ----------
    state : float64[3]
        Day, dollars, shares; changed in place; zeros before the first bar.
    day : int
        Any number that differs from session to session.
    high, low, close : float
        US dollars.
    volume : float
        Shares.

    Returns
    -------
    float
        US dollars, or NaN before the session's first share.

    Notes
    -----
    A bar counts at its typical price, (high + low + close) / 3.
    """
    if state[0] != day:
        state[0] = day
        state[1], state[2] = 0.0, 0.0
    state[1] += (high + low + close) / 3.0 * volume
    state[2] += volume
    return float(state[1] / state[2]) if state[2] > 0.0 else np.nan
