"""`history_checks.history_problem` for every session and symbol at once, compiled.

Before it stand bars laid out on the exchange's sessions; after it the backtest's
chain, which believes no history with a fault. A property test holds the two
against each other.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit

from greenlight.domain.backtest_arrays import BoolArray
from greenlight.domain.history_checks import SPLIT_RATIOS, SPLIT_TOLERANCE
from greenlight.domain.indicators import FloatArray

_BOTH_WAYS: Final = tuple(ratio for k in SPLIT_RATIOS for ratio in (k, 1 / k))
_SPLIT_MOVE_TOLERANCE: Final = 0.25
_STUCK_SESSIONS: Final = 5


@njit(cache=True)
def sound_histories(
    opened: FloatArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    ratio: FloatArray,
    window: int,
) -> BoolArray:
    """Whether the daily history before each session can be believed.

    Parameters
    ----------
    opened, high, low, close : float64[sessions, symbols]
        Raw US dollars, NaN where a symbol has no bar.
    ratio : float64[sessions, symbols]
        Of a split that takes effect in the session; 0: none.
    window : int
        How many sessions before each are looked at.

    Returns
    -------
    bool[sessions, symbols]
        Row i is of the sessions before i; the first is never sound.
    """
    sessions, symbols = close.shape
    found = np.zeros((sessions, symbols), dtype=np.bool_)
    for s in range(symbols):
        # Of every fault the latest row at which a window may begin and still hold it all.
        last = bad = hole = odd_move = stuck = -1
        run = 0
        for t in range(sessions + 1):
            first = max(0, t - window)
            if t > 0:
                row = t - 1
                prices = (opened[row, s], high[row, s], low[row, s], close[row, s])
                top, bottom, is_true, is_there = -math.inf, math.inf, True, False
                for price in prices:
                    is_there |= not math.isnan(price)
                    is_true &= math.isfinite(price) and price > 0.0
                    top, bottom = max(top, price), min(bottom, price)
                if not is_there:
                    hole = last if last >= 0 else hole
                else:
                    if not is_true or high[row, s] < top or low[row, s] > bottom:
                        bad = row
                    if last >= 0 and _is_odd(close[last, s] / opened[row, s], ratio[row, s]):
                        odd_move = last
                    is_one = low[row, s] == high[row, s]
                    is_same = (
                        last >= 0 and low[last, s] == low[row, s] and high[last, s] == high[row, s]
                    )
                    run = (run + 1 if is_same else 1) if is_one else 0
                    if run >= _STUCK_SESSIONS:
                        # Four bars back of this one, over holes.
                        stuck = row
                        for _ in range(_STUCK_SESSIONS - 1):
                            stuck -= 1
                            while math.isnan(close[stuck, s]):
                                stuck -= 1
                    last = row
            if t < sessions:
                worst = max(bad, hole, odd_move, stuck)
                found[t, s] = last >= first and t > 0 and worst < first
    return found


@njit(cache=True)
def _is_odd(move: float, ratio: float) -> bool:
    """Whether a price moved overnight as by a split that is not recorded, or the reverse."""
    if ratio > 0.0:
        return abs(move / ratio - 1.0) > _SPLIT_MOVE_TOLERANCE
    nearest, distance = 1.0, math.inf
    for one in _BOTH_WAYS:
        if abs(move / one - 1.0) < distance:
            nearest, distance = one, abs(move / one - 1.0)
    return abs(move / nearest - 1.0) <= SPLIT_TOLERANCE
