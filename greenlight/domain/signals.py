"""The strategies: bars in, signals out.

Before it stand the indicators; after it risk, which judges and sizes a
signal. A strategy is a step over explicit state, so that the desk can save the
state and go on after a restart exactly where it was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
from numba import njit

from greenlight.domain.indicators import ATR_STATE, RSI_STATE, FloatArray, atr_step, rsi_step
from greenlight.domain.market import Bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A wish to buy, with what it rests on.

    `confidence` is 1 (weakest) to 5. `reference_price` is the close that the
    strategy saw; `atr_usd` the average true range of its bars. Stop and target
    are fractions below and above the entry price; `hold_sessions` counts the
    sessions after the entry's at whose end the position is left.
    """

    strategy: str
    symbol: str
    at: datetime
    confidence: int
    reference_price: float
    atr_usd: float
    stop_frac: float
    target_frac: float
    hold_sessions: int
    features: Mapping[str, float]


class Strategy(Protocol):
    """What the strategist runs for every symbol."""

    @property
    def name(self) -> str:
        """Unique name; part of every decision's id."""
        ...

    @property
    def timeframe(self) -> str:
        """Its bars: "1Min" or "1Day"."""
        ...

    @property
    def warmup_bars(self) -> int:
        """Bars of history after which its state no longer depends on the start."""
        ...

    def new_state(self) -> FloatArray:
        """The state before the first bar."""
        ...

    def step(self, state: FloatArray, bar: Bar) -> Signal | None:
        """Take one bar, change the state in place, and say whether to buy."""
        ...


@njit(cache=True)
def mean_reversion_step(
    state: FloatArray, high: float, low: float, close: float, period: int, oversold: float
) -> tuple[int, float, float]:
    """One bar of strategy A.

    Parameters
    ----------
    state : float64[8]
        RSI's state, ATR's state, previous RSI (NaN before there is one).
    high, low, close : float
        US dollars.
    period : int
        Bars of RSI and ATR.
    oversold : float
        RSI below which the symbol is oversold.

    Returns
    -------
    tuple[int, float, float]
        Confidence (0: no signal), RSI and ATR. It fires on the bar where RSI
        goes from at or above `oversold` to below it.

    Notes
    -----
    Confidence 1 … 5 is the depth below the threshold in steps of a tenth of
    it: with 30, an RSI in (27, 30) is 1, (24, 27] is 2, … and up to 18 is 5.
    """
    rsi = rsi_step(state[0:4], close, period)
    atr = atr_step(state[4:7], high, low, close, period)
    previous = state[7]
    state[7] = rsi
    if np.isnan(rsi) or np.isnan(previous) or np.isnan(atr):
        return 0, rsi, atr
    if previous < oversold or rsi >= oversold:
        return 0, rsi, atr
    depth = math.floor((oversold - rsi) / (oversold / 10.0))
    return min(1 + depth, 5), rsi, atr


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanReversion:
    """Strategy A: buy what fell too fast (RSI crossing below `oversold`).

    Source of the numbers: Wilder's 14 bars and 30; the desk's seeds for the 5%
    stop and the three sessions.
    """

    timeframe: str = "1Day"
    period: int = 14
    oversold: float = 30.0
    stop_frac: float = 0.05
    target_frac: float = 0.05
    hold_sessions: int = 3

    @property
    def name(self) -> str:
        """Its name in decisions."""
        return "mean_reversion"

    @property
    def warmup_bars(self) -> int:
        """Twenty periods: a start value's weight is then (13/14)^280 < 1e-9."""
        return 20 * self.period

    def new_state(self) -> FloatArray:
        """RSI, ATR, previous RSI."""
        state = np.zeros(RSI_STATE + ATR_STATE + 1)
        state[-1] = np.nan
        return state

    def step(self, state: FloatArray, bar: Bar) -> Signal | None:
        """See `mean_reversion_step`."""
        confidence, rsi, atr = mean_reversion_step(
            state, bar.high, bar.low, bar.close, self.period, self.oversold
        )
        if confidence == 0:
            return None
        return Signal(
            strategy=self.name,
            symbol=bar.symbol,
            at=bar.end,
            confidence=confidence,
            reference_price=bar.close,
            atr_usd=atr,
            stop_frac=self.stop_frac,
            target_frac=self.target_frac,
            hold_sessions=self.hold_sessions,
            features={"rsi": rsi, "atr_usd": atr, "close": bar.close},
        )
