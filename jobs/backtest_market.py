"""History as the arrays that a backtest trades on.

Before it stand the sources' daily series and minute bars; after it
`jobs.backtest`. Every calendar session is a row, also where a symbol has no bar,
so that a hole stays a hole. Prices stay raw; splits and dividends become
actions on the first bar of their ex-date.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

import numpy as np

from greenlight.adapters.history import DailySeries, DayArray, FloatArray, IntArray
from greenlight.domain.backtest import Market
from greenlight.domain.backtest_arrays import Actions, Bars
from greenlight.domain.backtest_signals import History
from greenlight.domain.correlation import SESSIONS
from greenlight.domain.costs import fee_rates
from greenlight.domain.desk_state import UNKNOWN_SECTOR
from greenlight.domain.history_bulk import sound_histories
from greenlight.domain.market import Session, sessions_between

_LEAVE_BEFORE_CLOSE_MINUTES = 10


class MinuteTape(Protocol):
    """One symbol's session of minutes: float64[m, 4] OHLC, NaN without a print, and shares."""

    @property
    def bar(self) -> FloatArray: ...
    @property
    def bar_volume(self) -> IntArray: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Board:
    """A market with what the strategies need of it.

    `sessions` are its sessions by row, `days` their days; `factor` (float64[sessions,
    symbols]) is how many of the last session's shares one share of a session has
    become; `volume` (float64[bars, symbols]) counts raw shares. `is_daily`: a bar is a session.
    `scores` are the news' readings at the closes of each symbol, where there were any.
    """

    market: Market
    sessions: tuple[Session, ...]
    days: DayArray
    factor: FloatArray
    volume: FloatArray
    series: Mapping[str, DailySeries]
    is_daily: bool
    scores: Mapping[str, Mapping[date, float]] = field(default_factory=dict)

    def first_bar(self, day: date) -> int:
        """The first bar of the first session on or after a day."""
        row = next((i for i, s in enumerate(self.sessions) if s.day >= day), len(self.sessions))
        return int(np.searchsorted(self.market.bars.session, row))

    def daily_history(self, symbol: int) -> tuple[History, IntArray]:
        """A symbol's daily bars in shares of the last session, and the session of each."""
        one = self.series[self.market.symbols[symbol]]
        rows, kept = _rows(self.days, one)
        scores = self.scores.get(one.symbol, {})
        factor, zeros = self.factor[rows, symbol], np.zeros(len(rows))
        found = History(
            symbol=one.symbol,
            open=one.open[kept] / factor,
            high=one.high[kept] / factor,
            low=one.low[kept] / factor,
            close=one.close[kept] / factor,
            volume=np.rint(one.volume[kept] * factor),
            day=(rows + 1).astype(np.float64),
            minute=zeros,
            session_minutes=zeros,
            score=np.array([scores.get(self.sessions[row].day, math.nan) for row in rows]),
        )
        return found, rows

    def minute_history(self, symbol: int) -> tuple[History, IntArray]:
        """A symbol's minutes in shares of the last session, and the bar of each."""
        bars = self.market.bars
        rows = np.flatnonzero(bars.close[:, symbol] > 0)
        session = bars.session[rows]
        factor = self.factor[session, symbol]
        opens = np.array([int(s.open.timestamp()) for s in self.sessions])
        minutes = np.array([float(s.minutes) for s in self.sessions])
        found = History(
            symbol=self.market.symbols[symbol],
            open=bars.open[rows, symbol] / factor,
            high=bars.high[rows, symbol] / factor,
            low=bars.low[rows, symbol] / factor,
            close=bars.close[rows, symbol] / factor,
            volume=np.rint(self.volume[rows, symbol] * factor),
            day=(session + 1).astype(np.float64),
            minute=(bars.start_s[rows] - opens[session]) / 60.0,
            session_minutes=minutes[session],
            score=np.full(len(rows), math.nan),
        )
        return found, rows


def daily_board(series: Sequence[DailySeries], end: date, sectors: Mapping[str, str]) -> Board:
    """A market whose bars are sessions, from the first day of any symbol to `end`.

    Raises
    ------
    ValueError
        No symbol has a day on or before `end`.
    """
    ordered = sorted(series, key=lambda one: one.symbol)
    sessions = _sessions(ordered, end)
    shape = (len(sessions), len(ordered))
    prices = np.full((4, *shape), math.nan)
    volume = np.zeros(shape)
    days = np.array([s.day for s in sessions], dtype="datetime64[D]")
    for i, one in enumerate(ordered):
        rows, kept = _rows(days, one)
        for column, values in zip(prices, (one.open, one.high, one.low, one.close), strict=True):
            column[rows, i] = values[kept]
        volume[rows, i] = one.volume[kept]
    row = np.arange(len(sessions), dtype=np.int64)
    start_s = np.array([int(s.open.timestamp()) for s in sessions], dtype=np.int64)
    end_s = np.array([int(s.close.timestamp()) for s in sessions], dtype=np.int64)
    return _board(ordered, sessions, sectors, prices, volume, start_s, end_s, row, row, True)


def minute_board(
    series: Sequence[DailySeries],
    tapes: Mapping[date, Mapping[str, MinuteTape]],
    end: date,
    sectors: Mapping[str, str],
) -> Board:
    """A market of minutes, with the daily series that the chain looks at.

    Parameters
    ----------
    tapes : Mapping[date, Mapping[str, MinuteTape]]
        By session and symbol; sessions without a tape have no bar.

    Raises
    ------
    ValueError
        No symbol has a day on or before `end`.
    """
    ordered = sorted(series, key=lambda one: one.symbol)
    sessions = _sessions(ordered, end)
    with_bars = [(row, s) for row, s in enumerate(sessions) if s.day in tapes]
    count = sum(s.minutes for _, s in with_bars)
    prices = np.full((4, count, len(ordered)), math.nan)
    volume = np.zeros((count, len(ordered)))
    start_s, session = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    leave = np.full(len(sessions), count, dtype=np.int64)
    first = 0
    for row, one in with_bars:
        stop = first + one.minutes
        opened = int(one.open.timestamp())
        start_s[first:stop] = opened + 60 * np.arange(one.minutes)
        session[first:stop] = row
        leave[row] = stop - _LEAVE_BEFORE_CLOSE_MINUTES
        for i, own in enumerate(ordered):
            tape = tapes[one.day].get(own.symbol)
            if tape is not None:
                prices[:, first:stop, i] = tape.bar.T
                volume[first:stop, i] = tape.bar_volume
        first = stop
    # A session without bars leaves in the next one that has some.
    leave = np.minimum.accumulate(leave[::-1])[::-1]
    return _board(
        ordered, sessions, sectors, prices, volume, start_s, start_s + 60, session, leave, False
    )


def _sessions(series: Sequence[DailySeries], end: date) -> tuple[Session, ...]:
    firsts = [one.days[0].item() for one in series if len(one)]
    if not firsts or min(firsts) > end:
        raise ValueError(f"no symbol has history up to {end}")
    return tuple(sessions_between(min(firsts), end))


def _rows(days: DayArray, one: DailySeries) -> tuple[IntArray, IntArray]:
    """Rows of the timeline that a series has bars in, and which of its bars those are."""
    rows = np.searchsorted(days, one.days)
    kept = np.flatnonzero(rows < len(days))
    kept = kept[days[rows[kept]] == one.days[kept]]
    return rows[kept], kept


def _board(
    series: Sequence[DailySeries],
    sessions: tuple[Session, ...],
    sectors: Mapping[str, str],
    prices: FloatArray,
    volume: FloatArray,
    start_s: IntArray,
    end_s: IntArray,
    session: IntArray,
    leave: IntArray,
    is_daily: bool,
) -> Board:
    days = np.array([s.day for s in sessions], dtype="datetime64[D]")
    factor = np.ones((len(sessions), len(series)))
    ratio = np.zeros(factor.shape)
    daily = np.full((4, *factor.shape), math.nan)
    for i, one in enumerate(series):
        rows, kept = _rows(days, one)
        for column, values in zip(daily, (one.open, one.high, one.low, one.close), strict=True):
            column[rows, i] = values[kept]
        for split in one.splits:
            ratio[days == np.datetime64(split.ex_date, "D"), i] = split.ratio
            if split.ex_date <= sessions[-1].day:
                factor[days < np.datetime64(split.ex_date, "D"), i] *= split.ratio
    adjusted = daily[3] / factor
    returns = np.full(adjusted.shape, math.nan)
    returns[1:] = adjusted[1:] / adjusted[:-1] - 1
    rates = [fee_rates(s.day) for s in sessions]
    names = tuple(sectors.get(one.symbol, UNKNOWN_SECTOR) for one in series)
    numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    last = [np.flatnonzero(column > 0) for column in prices[3].T]
    bars = Bars(
        open=prices[0],
        high=prices[1],
        low=prices[2],
        close=prices[3],
        start_s=start_s,
        end_s=end_s,
        session=session,
        leave=leave,
        returns=returns,
        sound=sound_histories(daily[0], daily[1], daily[2], daily[3], ratio, SESSIONS + 1),
        sec_usd=np.array([float(rate.sec_usd_per_million) for rate in rates]),
        taf_usd=np.array([float(rate.taf_usd_a_share) for rate in rates]),
        taf_cap_usd=np.array([float(rate.taf_cap_usd) for rate in rates]),
        sector=np.array([numbers[name] for name in names], dtype=np.int64),
        last=np.array([rows[-1] if len(rows) else -1 for rows in last], dtype=np.int64),
    )
    market = Market(
        symbols=tuple(one.symbol for one in series),
        sectors=names,
        bars=bars,
        actions=_actions(series, days, session),
    )
    return Board(
        market=market,
        sessions=sessions,
        days=days,
        factor=factor,
        volume=volume,
        series={one.symbol: one for one in series},
        is_daily=is_daily,
    )


def _actions(series: Sequence[DailySeries], days: DayArray, session: IntArray) -> Actions:
    found: list[tuple[int, int, float, float]] = []
    for i, one in enumerate(series):
        paid = [(p.ex_date, 0.0, p.usd_a_share) for p in one.dividends]
        split = [(s.ex_date, s.ratio, 0.0) for s in one.splits]
        for day, ratio, usd in (*paid, *split):
            row = int(np.searchsorted(days, np.datetime64(day, "D")))
            found.append((int(np.searchsorted(session, row)), i, ratio, usd))
    found.sort(key=lambda one: (one[0], one[2] > 0, one[1]))
    return Actions(
        bar=np.array([one[0] for one in found], dtype=np.int64),
        symbol=np.array([one[1] for one in found], dtype=np.int64),
        ratio=np.array([one[2] for one in found], dtype=np.float64),
        usd=np.array([one[3] for one in found], dtype=np.float64),
    )
