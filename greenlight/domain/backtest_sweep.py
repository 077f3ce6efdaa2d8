"""Sweeps of one symbol: many ways in and out, each traded by the backtest's own loop.

Before it stand a symbol's bars and its indicators, computed once for the whole
grid; after it a table of what each set of parameters came to. Every cell goes
through `backtest_loop.run_bars`, and keeps the end alone. The work is compiled and
holds no lock of the interpreter, so threads share the arrays as they are.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit

from greenlight.domain.backtest_arrays import Actions, Bars, BoolArray, Signals, Terms
from greenlight.domain.backtest_book import EQUITY
from greenlight.domain.backtest_fills import CostTerms
from greenlight.domain.backtest_loop import run_bars
from greenlight.domain.backtest_rules import Limits
from greenlight.domain.indicators import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lane:
    """One symbol of a sweep: its bars, the ways in and the ways out.

    Each of `entries` is one way in (its `leave` is not looked at); `leaves`
    (bool[ways out, bars, 1]) asks at a bar's end for the symbol to be left. No
    way out at all is ``np.zeros((1, 0, 0))``: stop, target and time alone.
    """

    bars: Bars
    actions: Actions
    entries: Sequence[Signals]
    leaves: BoolArray


@njit(cache=True, nogil=True)
def final_equities(
    bars: Bars,
    entry: Signals,
    leaves: BoolArray,
    actions: Actions,
    costs: CostTerms,
    limits: Limits,
    terms: Terms,
) -> FloatArray:
    """What one way in comes to with each way out: equity at the end, US dollars."""
    found = np.empty(len(leaves))
    for k in range(len(leaves)):
        signals = Signals(
            entry.bar,
            entry.symbol,
            entry.confidence,
            entry.hold,
            entry.atr,
            entry.stop_frac,
            entry.target_frac,
            entry.reference,
            entry.volatility_scale,
            leaves[k],
        )
        book, _ = run_bars(bars, signals, actions, costs, limits, terms)
        found[k] = book.hand.purse[EQUITY]
    return found


def sweep_lanes(
    lanes: Sequence[Lane],
    *,
    costs: CostTerms,
    limits: Limits,
    terms: Terms,
    threads: int | None = None,
) -> FloatArray:
    """Trade every way in with every way out of each symbol, each in an account of its own.

    Parameters
    ----------
    terms : Terms
        Of every cell; marks are not kept.
    threads : int | None
        None: as many as this process may use cores.

    Returns
    -------
    float64[lanes, ways in, ways out]
        Equity at the end, US dollars.

    Raises
    ------
    ValueError
        The lanes have different numbers of ways in or out.
    """
    if len({(len(lane.entries), len(lane.leaves)) for lane in lanes}) > 1:
        raise ValueError("the lanes of a sweep have one grid")
    bare = terms._replace(keeps_marks=False)

    def cells(lane: Lane, entry: Signals) -> FloatArray:
        return final_equities(lane.bars, entry, lane.leaves, lane.actions, costs, limits, bare)

    rows = [(lane, entry) for lane in lanes for entry in lane.entries]
    count = threads if threads is not None else _cores()
    if count == 1:
        found = [cells(*row) for row in rows]
    else:
        with ThreadPoolExecutor(count) as pool:
            found = list(pool.map(lambda row: cells(*row), rows))
    shape = (len(lanes), len(lanes[0].entries) if lanes else 0, -1)
    return np.array(found).reshape(shape) if rows else np.empty((len(lanes), 0, 0))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
