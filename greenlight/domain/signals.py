"""What a strategy is and what it gives: signals, and what it could not look at.

Before it stand the indicators; after it the strategies of this package (and
those that are plugged in), then risk, which judges and sizes a signal. A
strategy is a step over explicit state, so that the desk can save the state and
go on after a restart exactly where it was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from greenlight.domain.audit import instant_text
from greenlight.domain.indicators import FloatArray
from greenlight.domain.market import Bar
from greenlight.domain.orders import decision_id
from greenlight.domain.sentiment import Look

HARD_STOP_FRAC: Final = 0.05
"""No stop lies further below the entry than this (the desk's seeds)."""
CONFIDENCES: Final = range(1, 6)
"""Weakest to strongest; each strategy says what its five levels mean."""
SIGNAL_COLUMNS: Final = 4
"""Columns of the bulk functions: confidence (0: none), ATR in US dollars, stop
and target as fractions; the last three are 0 where there is no signal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A wish to buy, with what it rests on.

    `confidence` is 1 (weakest) to 5. `reference_price` is the close that the
    strategy saw; `atr_usd` the average true range of its bars. Stop and target
    are fractions below and above the entry price; `hold_sessions` counts the
    sessions after the entry's at whose end the position is left: 0 is before
    the close of the entry's own.
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
    features: Mapping[str, float | bool | str]


def entry_decision_id(desk: str, signal: Signal) -> str:
    """Name of the decision on a signal; it correlates all that comes of it."""
    parts = (signal.strategy, signal.symbol, instant_text(signal.at), "entry")
    return decision_id(desk, *parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """The strategy would have looked further, but an input was unavailable."""

    strategy: str
    symbol: str
    at: datetime
    reason: str
    features: Mapping[str, float | bool | str]


class Strategy(Protocol):
    """What the strategist runs for every symbol."""

    @property
    def name(self) -> str:
        """Unique name, lower case with underscores; part of every decision's id."""
        ...

    @property
    def timeframe(self) -> str:
        """Its bars: "1Min" (of regular sessions) or "1Day"."""
        ...

    @property
    def warmup_bars(self) -> int:
        """Bars of history after which its state no longer depends on the start."""
        ...

    def new_state(self) -> FloatArray:
        """The state before the first bar."""
        ...

    def step(self, state: FloatArray, bar: Bar, look: Look) -> Signal | Missed | None:
        """Take one bar, change the state in place, and say whether to buy.

        `look` reads the symbol's news as of the bar's end.
        """
        ...


def signal_fault(signal: Signal, strategy: str, bar: Bar) -> str | None:
    """Say why a signal cannot be what its strategy meant, or None where it can.

    Parameters
    ----------
    signal : Signal
        What the step gave.
    strategy : str
        The name of the strategy that gave it.
    bar : Bar
        The bar it gave it on.

    Returns
    -------
    str | None
        The field that is wrong, with its value.
    """
    numbers = (signal.reference_price, signal.stop_frac, signal.target_frac)
    is_mine = (signal.strategy, signal.symbol, signal.at) == (strategy, bar.symbol, bar.end)
    if not is_mine:
        return f"signal of {signal.strategy} for {signal.symbol} at {signal.at.isoformat()}"
    if isinstance(signal.confidence, bool) or signal.confidence not in CONFIDENCES:
        return f"confidence {signal.confidence}"
    if not all(math.isfinite(number) and number > 0 for number in numbers):
        return f"price, stop or target {numbers}"
    if signal.stop_frac > HARD_STOP_FRAC:
        return f"stop {signal.stop_frac} beyond {HARD_STOP_FRAC}"
    if not (math.isfinite(signal.atr_usd) and signal.atr_usd >= 0):
        return f"ATR {signal.atr_usd}"
    if not isinstance(signal.hold_sessions, int) or signal.hold_sessions < 0:
        return f"holding time {signal.hold_sessions}"
    return None
