"""Strategy B, news-driven reversal: buy the turn after a fall on bad news.

Before it stand the indicators and the sentiment reading; after it risk, which
judges and sizes. It asks for a reading only where a fall calls for one, and
stays out where there is none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from greenlight.domain.indicators import ATR_STATE, FloatArray, atr_step, volatility_step
from greenlight.domain.market import Bar, Unavailable
from greenlight.domain.sentiment import Look, Reading
from greenlight.domain.signals import SIGNAL_COLUMNS, Missed, Signal

# After the ATR: previous volatility, previous high, bars left to turn, and of the
# fall its return, its size in volatilities, its news' score, headlines, made up or not.
_VOLATILITY = ATR_STATE
_HIGH = ATR_STATE + 1
_LEFT = ATR_STATE + 2
_FALL = ATR_STATE + 3
_SIGMAS = ATR_STATE + 4
_SCORE = ATR_STATE + 5
_HEADLINES = ATR_STATE + 6
_SYNTHETIC = ATR_STATE + 7
_COUNT = ATR_STATE + 8
_CLOSES = ATR_STATE + 9
UNREAD = -1
"""The step's answer to a fall whose news nobody could read."""


@njit(cache=True)
def fall_sigmas(state: FloatArray, close: float, fall_bars: int) -> float:
    """How far this close lies below that of `fall_bars` before, in volatilities.

    Parameters
    ----------
    state : float64[...]
        Strategy B's, before this bar; not changed.
    close : float
        US dollars.
    fall_bars : int
        Bars of the fall.

    Returns
    -------
    float
        ``-ln(close / close before) / (volatility * sqrt(fall_bars))``, volatility
        being that of single bars up to the one before; NaN until it is known.
    """
    count = int(state[_COUNT])
    volatility = state[_VOLATILITY]
    if count < fall_bars or not volatility > 0.0:
        return np.nan
    before = state[_CLOSES + count % fall_bars]
    return float(-np.log(close / before) / (volatility * np.sqrt(fall_bars)))


@njit(cache=True)
def news_reversal_step(
    state: FloatArray,
    high: float,
    low: float,
    close: float,
    score: float,
    headlines: int,
    is_synthetic: bool,
    period: int,
    volatility_bars: int,
    fall_bars: int,
    min_sigmas: float,
    max_score: float,
    turn_bars: int,
) -> tuple[int, float]:
    """One bar of strategy B.

    Parameters
    ----------
    state : float64[14 + fall_bars + volatility_bars]
        See the module's offsets; zeros before the first bar.
    high, low, close : float
        US dollars.
    score : float
        The reading's, -1 to 1; NaN where there is none. Looked at on a fall only.
    headlines, is_synthetic
        The reading's; kept for the record.
    period : int
        Bars of the ATR.
    volatility_bars, fall_bars : int
        Returns of the volatility, bars of the fall.
    min_sigmas : float
        Volatilities from which a fall is sharp.
    max_score : float
        Score from which downward the news is bad.
    turn_bars : int
        Bars after the fall within which the turn must come.

    Returns
    -------
    tuple[int, float]
        Confidence (0: no signal, `UNREAD`: a fall without a reading) and ATR.
        It fires on the first close above the high of the bar before it, within
        `turn_bars` of a sharp fall on bad news. A new fall starts the wait again.

    Notes
    -----
    Confidence 1 … 5 is the size of the fall over `min_sigmas`, in steps of a
    quarter: up to 1.25 times is 1, up to 1.5 times is 2, … from 2 times on 5.
    """
    sigmas = fall_sigmas(state, close, fall_bars)
    is_turn = close > state[_HIGH]
    count = int(state[_COUNT])
    place = _CLOSES + count % fall_bars
    before = state[place]
    state[place] = close
    state[_COUNT] = count + 1.0
    state[_HIGH] = high
    atr = atr_step(state[0:ATR_STATE], high, low, close, period)
    state[_VOLATILITY] = volatility_step(state[_CLOSES + fall_bars :], close, volatility_bars)
    # NaN compares as False: no fall before the volatility is known.
    if sigmas >= min_sigmas:
        state[_LEFT] = 0.0
        if np.isnan(score):
            return UNREAD, atr
        if score <= max_score:
            state[_LEFT] = turn_bars
            state[_FALL] = close / before - 1.0
            state[_SIGMAS], state[_SCORE] = sigmas, score
            state[_HEADLINES], state[_SYNTHETIC] = headlines, is_synthetic
        return 0, atr
    if state[_LEFT] <= 0.0:
        return 0, atr
    state[_LEFT] -= 1.0
    if not is_turn or np.isnan(atr):
        return 0, atr
    state[_LEFT] = 0.0
    depth = math.floor((state[_SIGMAS] / min_sigmas - 1.0) / 0.25)
    return min(1 + depth, 5), atr


@njit(cache=True)
def news_reversal_signals(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    score: FloatArray,
    period: int,
    volatility_bars: int,
    fall_bars: int,
    min_sigmas: float,
    max_score: float,
    turn_bars: int,
    stop_frac: float,
    target_frac: float,
) -> FloatArray:
    """Strategy B over whole arrays: float64[n, 4], see `signals.SIGNAL_COLUMNS`.

    `score` is the reading's as of each bar's end, NaN where there is none.
    """
    result = np.zeros((len(close), SIGNAL_COLUMNS))
    state = np.zeros(_CLOSES + fall_bars + 2 + volatility_bars)
    for i in range(len(close)):
        confidence, atr = news_reversal_step(
            state,
            high[i],
            low[i],
            close[i],
            score[i],
            0,
            False,
            period,
            volatility_bars,
            fall_bars,
            min_sigmas,
            max_score,
            turn_bars,
        )
        if confidence > 0:
            result[i, 0], result[i, 1] = confidence, atr
            result[i, 2], result[i, 3] = stop_frac, target_frac
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class NewsReversal:
    """Strategy B: buy the turn after a sharp fall on bad news.

    Confidence is the size of the fall, see `news_reversal_step`.

    Source of the numbers: De Bondt & Thaler (1985) and Tetlock (2007) for the
    reversal itself; two volatilities, the 5% tail of a normal day, for "sharp";
    Hutto & Gilbert (2014) for a score of -0.05 from which a text is negative;
    five bars, a week, for the turn (ours); Wilder's 14 for the ATR; the desk's
    seeds for stop and sessions.
    """

    timeframe: str = "1Day"
    period: int = 14
    volatility_bars: int = 20
    fall_bars: int = 1
    min_sigmas: float = 2.0
    max_score: float = -0.05
    turn_bars: int = 5
    stop_frac: float = 0.05
    target_frac: float = 0.05
    hold_sessions: int = 3

    @property
    def name(self) -> str:
        """Its name in decisions."""
        return "news_reversal"

    @property
    def warmup_bars(self) -> int:
        """Twenty periods of the ATR, or what the volatility and the turn look back."""
        return max(20 * self.period, self.volatility_bars + self.fall_bars + self.turn_bars + 1)

    def new_state(self) -> FloatArray:
        """See the module's offsets."""
        return np.zeros(_CLOSES + self.fall_bars + 2 + self.volatility_bars)

    def step(self, state: FloatArray, bar: Bar, look: Look) -> Signal | Missed | None:
        """See `news_reversal_step`; `look` is asked on a sharp fall only."""
        sigmas = fall_sigmas(state, bar.close, self.fall_bars)
        reading = look() if sigmas >= self.min_sigmas else None
        score, headlines, is_synthetic = math.nan, 0, False
        if isinstance(reading, Reading):
            score, headlines = reading.score, reading.headlines
            is_synthetic = reading.is_synthetic
        confidence, atr = news_reversal_step(
            state,
            bar.high,
            bar.low,
            bar.close,
            score,
            headlines,
            is_synthetic,
            self.period,
            self.volatility_bars,
            self.fall_bars,
            self.min_sigmas,
            self.max_score,
            self.turn_bars,
        )
        if isinstance(reading, Unavailable):
            return Missed(
                strategy=self.name,
                symbol=bar.symbol,
                at=bar.end,
                reason=f"sentiment unavailable: {reading.reason}",
                features={"fall_sigmas": sigmas, "close": bar.close},
            )
        if confidence <= 0:
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
            features={
                "fall_frac": float(state[_FALL]),
                "fall_sigmas": float(state[_SIGMAS]),
                "sentiment": float(state[_SCORE]),
                "headlines": int(state[_HEADLINES]),
                "is_news_synthetic": bool(state[_SYNTHETIC]),
                "atr_usd": atr,
                "close": bar.close,
            },
        )
