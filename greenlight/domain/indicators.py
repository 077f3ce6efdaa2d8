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
    return 100.0 * state[1] / total if total > 0.0 else 0.0


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
