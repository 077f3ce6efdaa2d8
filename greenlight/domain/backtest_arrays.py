"""What the backtest's loop takes: bars, signals, corporate actions and terms, as arrays.

Before it stand whoever read history and ran the strategies' steps; after it
`backtest_loop`. They are tuples because compiled code takes no dataclass.
Prices are raw float64 US dollars, instants whole seconds since 1970 (UTC).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from greenlight.domain.indicators import FloatArray

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


class Bars(NamedTuple):
    """Raw bars on one timeline, and what each session and symbol is like.

    Attributes
    ----------
    open, high, low, close : float64[bars, symbols]
        US dollars; NaN where a symbol has no bar.
    start_s, end_s : int64[bars]
        When its session or minute begins and when it is known.
    session : int64[bars]
        Row of the bar's session in the arrays below.
    leave : int64[sessions]
        Bar in which a position leaves whose time is up in that session.
    returns : float64[sessions, symbols]
        Daily returns, NaN where there is none.
    sound : bool[sessions, symbols]
        Whether the daily history before a session can be believed.
    sec_usd, taf_usd, taf_cap_usd : float64[sessions]
        Fees of the day: of a million dollars sold, a share sold, at most.
    sector : int64[symbols]
        Number of its sector.
    last : int64[symbols]
        Its last bar.
    """

    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    start_s: IntArray
    end_s: IntArray
    session: IntArray
    leave: IntArray
    returns: FloatArray
    sound: BoolArray
    sec_usd: FloatArray
    taf_usd: FloatArray
    taf_cap_usd: FloatArray
    sector: IntArray
    last: IntArray


class Signals(NamedTuple):
    """Wishes to buy, in the order in which they are judged.

    `bar` is the bar at whose end each was known; `atr` and `reference` (the close
    that the strategy saw) are in shares of the session that it is judged in. `leave`
    (bool[bars, symbols], or empty) asks at a bar's end for a symbol to be left.
    """

    bar: IntArray
    symbol: IntArray
    confidence: IntArray
    hold: IntArray
    atr: FloatArray
    stop_frac: FloatArray
    target_frac: FloatArray
    reference: FloatArray
    volatility_scale: FloatArray
    leave: BoolArray


class Actions(NamedTuple):
    """Corporate actions by bar, dividends before splits.

    `ratio` is new shares for an old one, 0 for a dividend of `usd` for each
    share held at the close before.
    """

    bar: IntArray
    symbol: IntArray
    ratio: FloatArray
    usd: FloatArray


class Terms(NamedTuple):
    """How the loop trades.

    `first` and `end` bound the bars that are traded. `is_judged_at_open`: signals
    are judged at the next bar's open and bought there, as the desk does with daily
    bars in a session's first minute; otherwise at their own bar's close, and the
    order meets the next bars. `is_left_at_open`: a position whose time is up leaves
    at that bar's open, otherwise at its close. `fixed_qty`: shares of every entry,
    bought at the market, with no other rule than cash, one position a symbol and
    their number; 0: sized and judged. A resting entry lives `entry_bars` bars and is
    priced again up to `reprices` times, `reprice_bars` apart. A halt by drawdown
    ends after `resume_sessions` sessions; 0: never. `keeps_marks`: write what was worth
    what after each bar; a sweep that only asks for the end does without.
    """

    first: int
    end: int
    is_judged_at_open: bool
    is_left_at_open: bool
    fixed_qty: int
    entry_bars: int
    reprices: int
    reprice_bars: int
    resume_sessions: int
    start_cash_usd: float
    keeps_marks: bool = True
