"""Where a backtest may deceive: looking ahead, warming up, survivors, splits and holes.

Before it stand a strategy and histories; after it the commands, which refuse or warn.
The look-ahead check cuts the history off at each decision and asks again: what
decides otherwise has seen what came later. The warm-up check begins as late as the
desk would.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np

from greenlight.adapters.history import DailySeries, FloatArray, IntArray, as_dates, check_history
from greenlight.domain.backtest_signals import History
from greenlight.domain.market import sessions_between

BulkSignals = Callable[[History], FloatArray]
"""A strategy over a whole history: float64[n, 4], see `signals.SIGNAL_COLUMNS`."""
MAX_DECISIONS: Final = 200
"""Decisions checked at most, spread evenly: each runs the strategy again."""
_TOLERANCE: Final = 1e-6
"""Relative; the start of a smoothed average weighs less than 1e-9 after its warm-up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A bar whose decision changed: its number, the figure, and both values."""

    bar: int
    column: str
    whole: float
    again: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasReport:
    """How many bars were asked again, how many of them had a signal, and what differed."""

    checked: int
    signals: int
    differences: tuple[Difference, ...]


_COLUMNS: Final = ("confidence", "atr_usd", "stop_frac", "target_frac")


def lookahead(signals: BulkSignals, history: History) -> BiasReport:
    """Cut the history off after each decision, and compare with the whole one's.

    Bars without a signal are asked as well, as many as have one: a strategy may also
    look ahead to stay out.
    """
    whole = signals(history)
    return _compared(whole, _asked(whole), lambda bar: signals(history.part(0, bar + 1))[-1])


def warm_up(signals: BulkSignals, history: History, warmup_bars: int) -> BiasReport:
    """Begin so many bars before each decision, as the desk does, and compare.

    Bars that have fewer before them are not asked.
    """
    whole = signals(history)
    asked = [bar for bar in _asked(whole) if bar >= warmup_bars]

    def again(bar: int) -> FloatArray:
        found: FloatArray = signals(history.part(bar - warmup_bars, bar + 1))[-1]
        return found

    return _compared(whole, asked, again)


def _asked(whole: FloatArray) -> list[int]:
    fired = np.flatnonzero(whole[:, 0] > 0)
    quiet = np.flatnonzero(whole[:, 0] <= 0)
    half = MAX_DECISIONS // 2
    chosen = np.append(_spread(fired, half), _spread(quiet, max(min(half, len(fired)), 20)))
    found: list[int] = np.unique(chosen).astype(int).tolist()
    return found


def _spread(rows: IntArray, count: int) -> IntArray:
    if len(rows) <= count:
        return rows
    found: IntArray = rows[np.linspace(0, len(rows) - 1, count).astype(int)]
    return found


def _compared(
    whole: FloatArray, asked: Sequence[int], again: Callable[[int], FloatArray]
) -> BiasReport:
    differences = []
    for bar in asked:
        row = again(bar)
        for i, column in enumerate(_COLUMNS):
            if not math.isclose(whole[bar, i], row[i], rel_tol=_TOLERANCE, abs_tol=1e-12):
                differences.append(
                    Difference(
                        bar=bar, column=column, whole=float(whole[bar, i]), again=float(row[i])
                    )
                )
                break
    return BiasReport(
        checked=len(asked),
        signals=int((whole[asked, 0] > 0).sum()) if len(asked) else 0,
        differences=tuple(differences),
    )


# -- the history itself


def window_holes(series: DailySeries, start: date, end: date) -> list[str]:
    """Sessions of a window that a history lacks between its first and its last day.

    A later listing and an earlier end are no holes.
    """
    days = as_dates(series.days)
    if not days:
        return []
    first, last = max(start, days[0]), min(end, days[-1])
    present = set(days)
    missing = [s.day for s in sessions_between(first, last) if s.day not in present]
    if not missing:
        return []
    return [f"{series.symbol} lacks {len(missing)} sessions, the first on {missing[0]}"]


def history_warnings(series: Sequence[DailySeries], start: date, end: date) -> list[str]:
    """What a person should know of the histories before believing a backtest on them."""
    found = []
    ends = [as_dates(one.days[-1:])[0] for one in series if len(one)]
    newest = max(ends, default=end)
    if len(series) > 1 and all(day >= min(end, newest) for day in ends):
        found.append(
            f"survivorship: all {len(series)} symbols still trade at the window's end; "
            "companies that failed or were bought before it are not among them"
        )
    late = [one.symbol for one in series if len(one) and as_dates(one.days[:1])[0] > start]
    if late:
        found.append(f"listed after the window's start: {', '.join(late)}")
    for one in series:
        for fault in check_history(one):
            if fault.kind in ("unrecorded_split", "unconfirmed_split") and (
                start <= fault.day <= end
            ):
                found.append(f"{fault.kind}: {one.symbol} {fault.day}: {fault.detail}")
    return found
