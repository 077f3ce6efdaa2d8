"""Strategy C, opening-range breakout: buy the first break above the first minutes' range.

Before it stand the indicators; after it risk, which judges and sizes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from greenlight.domain.indicators import (
    ATR_STATE,
    RANGE_STATE,
    VWAP_STATE,
    FloatArray,
    atr_step,
    opening_range_step,
    vwap_step,
)
from greenlight.domain.market import Bar, eastern_date, session_on
from greenlight.domain.sentiment import Look
from greenlight.domain.signals import HARD_STOP_FRAC, SIGNAL_COLUMNS, Missed, Signal

MIN_RISK_FRAC = 0.002
"""A break nearer to the range's low than this hardly pays for spread and slack (ours)."""
_ATR = RANGE_STATE
_VWAP = RANGE_STATE + ATR_STATE
_CLOSE = _VWAP + VWAP_STATE
_FIRED = _CLOSE + 1
_STATE = _FIRED + 1


@njit(cache=True)
def opening_range_breakout_step(
    state: FloatArray,
    day: int,
    minute: int,
    session_minutes: int,
    high: float,
    low: float,
    close: float,
    volume: float,
    period: int,
    range_minutes: int,
    volume_factor: float,
    last_entry_minutes: int,
    target_risks: float,
) -> tuple[int, float, float, float, float, float, float]:
    """One minute of strategy C.

    Parameters
    ----------
    state : float64[13]
        Opening range, ATR, VWAP, previous close, day of the last signal; zeros
        before the first bar.
    day : int
        Any number above 0 that differs from session to session.
    minute : int
        Whole minutes from the open to the bar's start.
    session_minutes : int
        Length of the session: 390, or fewer on a half-day.
    high, low, close : float
        US dollars.
    volume : float
        Shares.
    period : int
        Bars of the ATR.
    range_minutes : int
        Length of the opening range.
    volume_factor : float
        Volume of the breaking minute over the range's mean, at least.
    last_entry_minutes : int
        No signal from so many minutes before the close on.
    target_risks : float
        Distance of the target in distances of the stop.

    Returns
    -------
    tuple[int, float, float, float, float, float, float]
        Confidence (0: no signal), ATR, stop and target as fractions of the
        close, the range's high and low, and the volume's ratio. It fires once a
        session, on the first close above the range's high (the close before
        not) and above the VWAP, with enough volume and time.

    Notes
    -----
    The stop is the range's low, at most 5% away. Confidence 1 … 5 is the
    volume's ratio over `volume_factor`, in steps of a quarter: up to 1.25 times
    is 1, up to 1.5 times is 2, … from 2 times on 5.
    """
    atr = atr_step(state[_ATR:_VWAP], high, low, close, period)
    vwap = vwap_step(state[_VWAP:_CLOSE], day, high, low, close, volume)
    top, bottom, mean_volume = opening_range_step(
        state[0:RANGE_STATE], day, minute, high, low, volume, range_minutes
    )
    previous = state[_CLOSE]
    state[_CLOSE] = close
    nothing = (0, atr, 0.0, 0.0, top, bottom, np.nan)
    if state[_FIRED] == day or np.isnan(top) or np.isnan(atr) or not mean_volume > 0.0:
        return nothing
    if not (close > top and previous <= top and close > vwap):
        return nothing
    ratio = volume / mean_volume
    is_late = minute + 1 > session_minutes - last_entry_minutes
    risk = min((close - bottom) / close, HARD_STOP_FRAC)
    if is_late or ratio < volume_factor or risk < MIN_RISK_FRAC:
        return nothing
    state[_FIRED] = day
    depth = math.floor((ratio / volume_factor - 1.0) / 0.25)
    return min(1 + depth, 5), atr, risk, target_risks * risk, top, bottom, ratio


@njit(cache=True)
def opening_range_signals(
    day: FloatArray,
    minute: FloatArray,
    session_minutes: FloatArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    volume: FloatArray,
    period: int,
    range_minutes: int,
    volume_factor: float,
    last_entry_minutes: int,
    target_risks: float,
) -> FloatArray:
    """Strategy C over whole arrays: float64[n, 4], see `signals.SIGNAL_COLUMNS`."""
    result = np.zeros((len(close), SIGNAL_COLUMNS))
    state = np.zeros(_STATE)
    for i in range(len(close)):
        confidence, atr, stop, target, _, _, _ = opening_range_breakout_step(
            state,
            int(day[i]),
            int(minute[i]),
            int(session_minutes[i]),
            high[i],
            low[i],
            close[i],
            volume[i],
            period,
            range_minutes,
            volume_factor,
            last_entry_minutes,
            target_risks,
        )
        if confidence > 0:
            result[i, 0], result[i, 1], result[i, 2], result[i, 3] = confidence, atr, stop, target
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningRange:
    """Strategy C: buy the break above the range of the first minutes.

    Confidence is the breaking minute's volume, see `opening_range_breakout_step`.

    Source of the numbers: Crabel, "Day Trading with Short Term Price Patterns
    and Opening Range Breakout" (1990), for the pattern; the desk's seeds for 30
    minutes; at least the range's own mean volume, no entry in the last 90
    minutes (14:30 on a full day), twice the risk as target and leaving before
    the close are common practice.
    """

    period: int = 14
    range_minutes: int = 30
    volume_factor: float = 1.0
    last_entry_minutes: int = 90
    target_risks: float = 2.0
    hold_sessions: int = 0

    @property
    def name(self) -> str:
        """Its name in decisions."""
        return "opening_range"

    @property
    def timeframe(self) -> str:
        """Always minutes."""
        return "1Min"

    @property
    def warmup_bars(self) -> int:
        """Twenty periods of the ATR, and the session so far."""
        return max(20 * self.period, 390)

    def new_state(self) -> FloatArray:
        """Opening range, ATR, VWAP, previous close, day of the last signal."""
        return np.zeros(_STATE)

    def step(self, state: FloatArray, bar: Bar, look: Look) -> Signal | Missed | None:
        """See `opening_range_breakout_step`; bars outside a session are passed over."""
        day = eastern_date(bar.start)
        session = session_on(day)
        if session is None or not session.open <= bar.start < session.close:
            return None
        confidence, atr, stop, target, top, bottom, ratio = opening_range_breakout_step(
            state,
            day.toordinal(),
            int((bar.start - session.open).total_seconds() // 60),
            session.minutes,
            bar.high,
            bar.low,
            bar.close,
            float(bar.volume),
            self.period,
            self.range_minutes,
            self.volume_factor,
            self.last_entry_minutes,
            self.target_risks,
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
            stop_frac=stop,
            target_frac=target,
            hold_sessions=self.hold_sessions,
            features={
                "range_high": top,
                "range_low": bottom,
                "volume_ratio": ratio,
                "vwap": float(state[_VWAP + 1] / state[_VWAP + 2]),
                "atr_usd": atr,
                "close": bar.close,
            },
        )
