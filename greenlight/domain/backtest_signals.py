"""Strategies in bulk: their own steps over whole histories, as signals for the loop.

Before it stand one symbol's bars in shares of one day; after it the backtest's
loop. The built-in strategies run their compiled bulk functions, which call the
steps that the desk calls; any other runs its step bar by bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from greenlight.domain.backtest_arrays import IntArray, Signals
from greenlight.domain.indicators import FloatArray
from greenlight.domain.market import Bar
from greenlight.domain.mean_reversion import MeanReversion, mean_reversion_signals
from greenlight.domain.news_reversal import NewsReversal, news_reversal_signals
from greenlight.domain.opening_range import OpeningRange, opening_range_signals
from greenlight.domain.sentiment import Look, unread
from greenlight.domain.signals import SIGNAL_COLUMNS, Signal, Strategy, signal_fault


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class History:
    """One symbol's bars, oldest first, each array of one length; no bar is missing.

    `day` is a number of the session, `minute` the minutes since its open,
    `session_minutes` its length (all 0 for daily bars); `score` the news' reading
    as of each bar's end, NaN without one. Prices are US dollars.
    """

    symbol: str
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    day: FloatArray
    minute: FloatArray
    session_minutes: FloatArray
    score: FloatArray

    def part(self, first: int, end: int) -> History:
        """Its bars from `first` on and before `end`, and nothing else."""
        arrays = {
            field.name: getattr(self, field.name)[first:end]
            for field in fields(self)
            if field.name != "symbol"
        }
        return History(symbol=self.symbol, **arrays)


def strategy_signals(strategy: Strategy, history: History) -> FloatArray | None:
    """A built-in strategy over a history: float64[n, 4], see `signals.SIGNAL_COLUMNS`.

    None for one that has no bulk function; see `stepped_signals`.
    """
    if isinstance(strategy, MeanReversion):
        return mean_reversion_signals(
            history.high,
            history.low,
            history.close,
            strategy.period,
            strategy.oversold,
            strategy.trend_period,
            strategy.trend_slack_frac,
            strategy.max_atr_frac,
            strategy.stop_frac,
            strategy.target_frac,
        )
    if isinstance(strategy, NewsReversal):
        return news_reversal_signals(
            history.high,
            history.low,
            history.close,
            history.score,
            strategy.period,
            strategy.volatility_bars,
            strategy.fall_bars,
            strategy.min_sigmas,
            strategy.max_score,
            strategy.turn_bars,
            strategy.stop_frac,
            strategy.target_frac,
        )
    if isinstance(strategy, OpeningRange):
        return opening_range_signals(
            history.day,
            history.minute,
            history.session_minutes,
            history.high,
            history.low,
            history.close,
            history.volume,
            strategy.period,
            strategy.range_minutes,
            strategy.volume_factor,
            strategy.last_entry_minutes,
            strategy.target_risks,
        )
    return None


def same_signals(strategy: Strategy) -> MeanReversion | NewsReversal | None:
    """The strategy that fires on the same bars as all that only leave otherwise than it.

    None where nothing is known of how it fires. A sweep computes such signals once, and
    puts each set's stop and target into them.
    """
    if isinstance(strategy, MeanReversion | NewsReversal):
        return replace(strategy, stop_frac=0.05, target_frac=0.05, hold_sessions=1)
    return None


def stepped_signals(
    strategy: Strategy, bars: Sequence[Bar], look: Look = unread
) -> tuple[FloatArray, IntArray]:
    """Any strategy's step, bar by bar, as at the desk.

    Returns
    -------
    tuple[FloatArray, IntArray]
        See `signals.SIGNAL_COLUMNS`, and the sessions that each signal is held. A
        signal that the desk would not act upon (`signals.signal_fault`) is none.
    """
    found = np.zeros((len(bars), SIGNAL_COLUMNS))
    hold = np.zeros(len(bars), dtype=np.int64)
    state = strategy.new_state()
    for i, bar in enumerate(bars):
        signal = strategy.step(state, bar, look)
        if isinstance(signal, Signal) and signal_fault(signal, strategy.name, bar) is None:
            found[i] = signal.confidence, signal.atr_usd, signal.stop_frac, signal.target_frac
            hold[i] = signal.hold_sessions
    return found, hold


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Column:
    """One strategy's signals on one symbol, already on the market's timeline.

    `bar` rises; `atr` and `reference` are in shares of the session of the judgement.
    """

    strategy: int
    symbol: int
    bar: IntArray
    confidence: IntArray
    hold: IntArray
    atr: FloatArray
    stop_frac: FloatArray
    target_frac: FloatArray
    reference: FloatArray


def in_order(columns: Sequence[Column]) -> tuple[Signals, IntArray]:
    """All signals in the order in which the desk judges them, and the strategy of each.

    Signals of one bar go by symbol, then by the strategies' order.
    """

    def joined(name: str) -> FloatArray:
        parts = [getattr(column, name) for column in columns]
        return np.concatenate(parts) if parts else np.empty(0)

    def repeated(name: str) -> IntArray:
        parts = [np.full(len(c.bar), getattr(c, name), dtype=np.int64) for c in columns]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    bar, symbol, strategy = joined("bar").astype(np.int64), repeated("symbol"), repeated("strategy")
    order = np.lexsort((strategy, symbol, bar))
    signals = Signals(
        bar=bar[order],
        symbol=symbol[order],
        confidence=joined("confidence").astype(np.int64)[order],
        hold=joined("hold").astype(np.int64)[order],
        atr=joined("atr")[order],
        stop_frac=joined("stop_frac")[order],
        target_frac=joined("target_frac")[order],
        reference=joined("reference")[order],
        volatility_scale=np.ones(len(bar)),
        leave=np.empty((0, 0), dtype=np.bool_),
    )
    return signals, strategy[order]
