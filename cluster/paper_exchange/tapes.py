"""A source's tape, made ready for the replay's hot loop.

Decided here: how a session's arrays become plain lists and per-minute
extremes, and what the daily series say of a day. Before it stand the sources;
after it come `replay`, which walks the lists, and `data_rest`, which answers
questions about the past. Prices are float64 dollars, times nanoseconds (UTC).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cluster.paper_exchange.source_tapes import SymbolTape
from cluster.paper_exchange.sources import Source
from greenlight.adapters.history import DailySeries
from greenlight.domain.market import Dividend, Split, SymbolChange

_KEPT_SESSIONS: Final = 8


class SymbolSession:
    """One symbol's session as lists; the extremes are those of each minute.

    A minute without events has infinite extremes that no order can touch, one
    without a print has no bar (None).
    """

    __slots__ = (
        "ask",
        "ask_size",
        "at_ns",
        "bars",
        "bid",
        "bid_size",
        "max_bid",
        "max_trade",
        "min_ask",
        "min_trade",
        "offsets",
        "trade",
        "trade_size",
    )

    def __init__(self, tape: SymbolTape) -> None:
        self.at_ns: list[int] = tape.at_ns.tolist()
        self.bid: list[float] = tape.bid.tolist()
        self.ask: list[float] = tape.ask.tolist()
        self.bid_size: list[int] = tape.bid_size.tolist()
        self.ask_size: list[int] = tape.ask_size.tolist()
        self.trade: list[float] = tape.trade.tolist()
        self.trade_size: list[int] = tape.trade_size.tolist()
        offsets = np.asarray(tape.minute_offsets, dtype=np.int64)
        self.offsets: list[int] = offsets.tolist()
        self.max_bid = _by_minute(np.fmax, tape.bid, offsets, -math.inf)
        self.min_ask = _by_minute(np.fmin, tape.ask, offsets, math.inf)
        self.min_trade = _by_minute(np.fmin, tape.trade, offsets, math.inf)
        self.max_trade = _by_minute(np.fmax, tape.trade, offsets, -math.inf)
        is_print = ~np.isnan(tape.trade)
        counts = _by_minute(np.add, is_print.astype(np.int64), offsets, 0)
        sizes = np.where(is_print, tape.trade_size, 0)
        shares = _by_minute(np.add, sizes, offsets, 0)
        dollars = _by_minute(np.add, np.where(is_print, tape.trade, 0.0) * sizes, offsets, 0.0)
        self.bars: list[tuple[float, float, float, float, int, int, float] | None] = []
        volumes: list[int] = tape.bar_volume.tolist()
        for minute, (open_, high, low, close) in enumerate(tape.bar.tolist()):
            if math.isnan(close):
                self.bars.append(None)
                continue
            vwap = dollars[minute] / shares[minute] if shares[minute] else (high + low + close) / 3
            self.bars.append(
                (open_, high, low, close, int(volumes[minute]), int(counts[minute]), round(vwap, 6))
            )


def _by_minute(
    operation: np.ufunc, values: npt.NDArray[Any], offsets: npt.NDArray[np.int64], empty: float
) -> list[Any]:
    # reduceat wants non-empty segments; minutes without events get `empty`.
    result = np.full(len(offsets) - 1, empty, dtype=values.dtype if empty == 0 else np.float64)
    filled = offsets[:-1] < offsets[1:]
    if filled.any():
        cut = values[: offsets[-1]]
        result[filled] = operation.reduceat(cut, offsets[:-1][filled])
    if np.issubdtype(result.dtype, np.floating):
        result[np.isnan(result)] = empty
    listed: list[Any] = result.tolist()
    return listed


class TapeLibrary:
    """A source with its sessions compiled on demand and its daily series indexed."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.symbols = tuple(source.symbols)
        self._sessions: OrderedDict[date, dict[str, SymbolSession]] = OrderedDict()
        self._daily: dict[str, tuple[list[date], DailySeries] | None] = {}
        self._splits = tuple(source.splits())
        self._dividends = tuple(source.dividends())
        self._changes = tuple(source.symbol_changes())

    def session(self, day: date) -> dict[str, SymbolSession]:
        """The compiled symbols of a session; the last few are kept."""
        found = self._sessions.get(day)
        if found is not None:
            self._sessions.move_to_end(day)
            return found
        tape = self.source.tape(day)
        compiled = {symbol: SymbolSession(t) for symbol, t in sorted(tape.symbols.items())}
        self._sessions[day] = compiled
        if len(self._sessions) > _KEPT_SESSIONS:
            self._sessions.popitem(last=False)
        return compiled

    def has_session(self, day: date) -> bool:
        """Whether the source has a tape for a date."""
        return bool(self.source.sessions(day, day))

    def daily(self, symbol: str) -> tuple[list[date], DailySeries] | None:
        """Days and daily series of a symbol, or None where the source has none.

        History under a former symbol comes with it, as on Alpaca.
        """
        if symbol not in self.symbols:
            return None
        if symbol not in self._daily:
            try:
                series = self._whole(symbol)
            except ValueError:
                self._daily[symbol] = None
            else:
                self._daily[symbol] = (series.days.astype("datetime64[D]").tolist(), series)
        return self._daily[symbol]

    def _whole(self, symbol: str) -> DailySeries:
        series = self.source.daily(symbol)
        for change in reversed(self._changes):
            if change.new == symbol:
                former, day = self._whole(change.old), np.datetime64(change.day)
                return _joined(former, series, day)
        return series

    def name_on(self, symbol: str, day: date) -> str:
        """What the shares that trade as `symbol` in the end were called on a day."""
        for change in reversed(self._changes):
            if change.new == symbol and day < change.day:
                symbol = change.old
        return symbol

    def daily_row(self, symbol: str, day: date) -> dict[str, float] | None:
        """Raw daily bar (o, h, l, c, v) of exactly one day, or None."""
        found = self.daily(symbol)
        if found is None:
            return None
        days, series = found
        i = bisect_left(days, day)
        return row(series, i) if i < len(days) and days[i] == day else None

    def previous_row(self, symbol: str, day: date) -> tuple[date, dict[str, float]] | None:
        """The last daily bar before a day, with its date, or None."""
        found = self.daily(symbol)
        if found is None:
            return None
        days, series = found
        i = bisect_left(days, day) - 1
        return (days[i], row(series, i)) if i >= 0 else None

    def splits_between(self, after: date, until: date) -> list[Split]:
        """Splits with `after` < ex-date ≤ `until`, in order."""
        chosen = [s for s in self._splits if after < s.ex_date <= until]
        return sorted(chosen, key=lambda s: (s.ex_date, s.symbol))

    def dividends_between(self, after: date, until: date) -> list[Dividend]:
        """Cash dividends with `after` < ex-date ≤ `until`, in order."""
        return [d for d in self._dividends if after < d.ex_date <= until]

    def symbol_changes_between(self, after: date, until: date) -> list[SymbolChange]:
        """Symbol changes with `after` < day ≤ `until`, in order."""
        return [c for c in self._changes if after < c.day <= until]

    def split_factor(self, symbol: str, day: date, until: date) -> float:
        """Product of a symbol's split ratios with `day` < ex-date ≤ `until`."""
        ratios = [s.ratio for s in self.splits_between(day, until) if s.symbol == symbol]
        return math.prod(ratios)

    def days(self, start: date, end: date) -> Sequence[date]:
        """Session dates of the source from `start` to `end`, both included."""
        return [s.day for s in self.source.sessions(start, end)]

    def previous_day(self, day: date) -> date | None:
        """The source's last session date in the fortnight before a date, or None."""
        found = self.source.sessions(day - timedelta(days=14), day - timedelta(days=1))
        return found[-1].day if found else None


def _joined(former: DailySeries, later: DailySeries, day: np.datetime64) -> DailySeries:
    """The former series' rows before a day, then the later's from it on."""
    before, since = former.days < day, later.days >= day

    def both(name: str) -> Any:
        return np.concatenate((getattr(former, name)[before], getattr(later, name)[since]))

    return replace(
        later,
        days=both("days"),
        open=both("open"),
        high=both("high"),
        low=both("low"),
        close=both("close"),
        volume=both("volume"),
    )


def row(series: DailySeries, i: int) -> dict[str, float]:
    """One daily bar as the wire's letters."""
    return {
        "o": float(series.open[i]),
        "h": float(series.high[i]),
        "l": float(series.low[i]),
        "c": float(series.close[i]),
        "v": int(series.volume[i]),
    }
