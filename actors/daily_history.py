"""Checked daily returns of the symbols that a judgement needs, once a session.

Before it stands the broker's history; after it the risk gate. An answer holds
for its session; a history that could not be fetched is asked for again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final

from greenlight.domain.correlation import SESSIONS
from greenlight.domain.history_checks import history_problem, returns_by_day
from greenlight.domain.market import (
    Unavailable,
    eastern_date,
    eastern_midnight,
    sessions_between,
)
from greenlight.ports import BrokerRefused, BrokerUnavailable, MarketData

logger = logging.getLogger(__name__)

_WINDOW: Final = timedelta(days=100)
"""Calendar days that hold 61 sessions for sure."""
_KEPT: Final = 1000
"""Symbols remembered at most."""

Returns = Mapping[date, float] | Unavailable


class DailyHistory:
    """See the module."""

    def __init__(self, market_data: MarketData) -> None:
        self._market_data = market_data
        self._day: date | None = None
        self._known: dict[str, Returns] = {}
        self.problems: dict[str, str] = {}
        """What is wrong with this session's histories, by symbol."""

    def returns(self, symbols: Sequence[str], now: datetime) -> dict[str, Returns]:
        """Daily returns by day, up to the session before, of each symbol."""
        day = eastern_date(now)
        if day != self._day or len(self._known) > _KEPT:
            self._day, self._known, self.problems = day, {}, {}
        missing = sorted(set(symbols) - set(self._known))
        if missing:
            try:
                self._known |= self._fetch(missing, day)
            except (BrokerUnavailable, BrokerRefused) as error:
                logger.warning("no history: %s", error, extra={"action": "history"})
        absent = Unavailable("the broker gave no daily history")
        return {symbol: self._known.get(symbol, absent) for symbol in symbols}

    def _fetch(self, symbols: Sequence[str], day: date) -> dict[str, Returns]:
        yesterday = day - timedelta(days=1)
        window = [s.day for s in sessions_between(day - _WINDOW, yesterday)][-SESSIONS - 1 :]
        start, end = eastern_midnight(window[0]), eastern_midnight(day)
        bars = self._market_data.bars(symbols, "1Day", start, end)
        splits = self._market_data.splits(symbols, window[0], yesterday)
        found: dict[str, Returns] = {}
        for symbol in symbols:
            own = [split for split in splits if split.symbol == symbol]
            problem = history_problem(bars[symbol], own, window)
            if problem is None:
                found[symbol] = returns_by_day(bars[symbol], own)
            else:
                self.problems[symbol] = problem
                found[symbol] = Unavailable(problem)
        return found
