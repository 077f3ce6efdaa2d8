"""The strategist: bars in, signals to the risk gate.

Before it stands market data; after it the risk gate. What the strategies
remember is in the store after every session, and bars since then come from
the broker's history, so a strategist that died goes on as if it had not. A
repeated minute gives the same signals, whose decisions have the same names.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from actors.links import GateLink, SignalSeen
from greenlight.domain.indicators import FloatArray
from greenlight.domain.market import Bar, Quote, eastern_date, eastern_midnight
from greenlight.domain.signals import Signal, Strategy
from greenlight.ports import MarketData, Store, StrategyState

logger = logging.getLogger(__name__)

OPTIONS: Final[dict[str, Any]] = {"name": "strategist", "num_cpus": 0.2, "max_concurrency": 2}
_CALENDAR_DAYS_A_SESSION: Final = 1.6
"""Calendar days in which a session is sure to lie, on the average over weeks."""


class Strategist:
    """Runs one strategy over all symbols.

    Parameters
    ----------
    strategy : Strategy
        Its timeframe says which bars it takes: "1Min" as they come, "1Day" in
        the first minute of the next session, when there is a market to act in.
    """

    def __init__(
        self,
        *,
        strategy: Strategy,
        symbols: Sequence[str],
        store: Store,
        market_data: MarketData,
        gate: GateLink,
    ) -> None:
        self._strategy = strategy
        self._symbols = tuple(symbols)
        self._store = store
        self._market_data = market_data
        self._gate = gate
        self._states: dict[str, FloatArray] = {}
        self._seen: dict[str, datetime] = {}
        self._is_ready = False

    def ping(self) -> str:
        """Answer, as proof of life."""
        return "strategist"

    def on_minute(
        self, bars: Sequence[Bar], quotes: Sequence[Quote], now: datetime
    ) -> datetime | None:
        """See `StrategistLink.on_minute`."""
        if self._strategy.timeframe == "1Day":
            midnight = eastern_midnight(eastern_date(now))
            if not self._is_ready:
                self._recover(before=midnight)
            since = min((self._seen.get(s, midnight) for s in self._symbols), default=midnight)
            history = self._market_data.bars(self._symbols, "1Day", since, midnight)
            bars = [bar for symbol in self._symbols for bar in history[symbol]]
        elif not self._is_ready and bars:
            self._recover(before=min(bar.start for bar in bars))
        result = self._decide(bars, quotes, now)
        if self._strategy.timeframe == "1Day":
            self.save()
        return result

    def save(self) -> None:
        """See `StrategistLink.save`."""
        self._store.save_strategy_states(
            [
                StrategyState(
                    strategy=self._strategy.name,
                    symbol=symbol,
                    at=at,
                    values=tuple(self._states[symbol].tolist()),
                )
                for symbol, at in self._seen.items()
            ]
        )

    def _decide(
        self, bars: Sequence[Bar], quotes: Sequence[Quote], now: datetime
    ) -> datetime | None:
        by_symbol = {quote.symbol: quote for quote in quotes}
        before = {s: (self._states[s].copy(), self._seen.get(s)) for s in self._states}
        seen = [
            SignalSeen(signal=signal, quote=by_symbol.get(signal.symbol))
            for bar in sorted(bars, key=lambda b: (b.start, b.symbol))
            if (signal := self._step(bar)) is not None
        ]
        if not seen:
            return None
        try:
            return self._gate.judge(seen, now)
        except Exception:
            # The minute will come again: forget it, so that it gives the same signals.
            for symbol, (state, at) in before.items():
                self._states[symbol] = state
                if at is None:
                    self._seen.pop(symbol, None)
                else:
                    self._seen[symbol] = at
            raise

    def _step(self, bar: Bar) -> Signal | None:
        if bar.symbol not in self._states:
            self._states[bar.symbol] = self._strategy.new_state()
        seen = self._seen.get(bar.symbol)
        if seen is not None and bar.end <= seen:
            return None
        self._seen[bar.symbol] = bar.end
        return self._strategy.step(self._states[bar.symbol], bar)

    # -- recovery
    def _recover(self, *, before: datetime) -> None:
        self._states = {s: self._strategy.new_state() for s in self._symbols}
        self._seen = {}
        for saved in self._store.strategy_states(self._strategy.name):
            state = self._states.get(saved.symbol)
            if state is not None and len(saved.values) == len(state) and saved.at <= before:
                state[:] = saved.values
                self._seen[saved.symbol] = saved.at
        warmup = timedelta(days=self._warmup_days())
        for symbol in self._symbols:
            if self._strategy.timeframe == "1Day" and symbol in self._seen:
                # Daily bars since then are decided now, in `_decide`. Minute bars since
                # then are decided or too old to act upon, and only move the state.
                continue
            start = self._seen.get(symbol, before - warmup)
            history = self._market_data.bars([symbol], self._strategy.timeframe, start, before)
            for bar in history[symbol]:
                self._step(bar)
        self._is_ready = True
        self.save()
        logger.info(
            "strategies are warm", extra={"action": "recover", "symbols": len(self._symbols)}
        )

    def _warmup_days(self) -> float:
        bars_a_session = 1 if self._strategy.timeframe == "1Day" else 390
        sessions = -(-self._strategy.warmup_bars // bars_a_session)
        return 7 + sessions * _CALENDAR_DAYS_A_SESSION
