"""Whether a daily history can be believed, and the returns that it gives.

Before it stand the bars that market data brings; after it correlation and
sizing, which take nothing from a history that this file found fault with.
Nothing is repaired. Prices are raw float64 US dollars, days New York dates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import groupby, pairwise
from typing import Final

from greenlight.domain.market import Bar, Split, eastern_date

SPLIT_RATIOS: Final = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0, 25.0, 50.0)
"""Ratios at which companies split or consolidate shares."""
SPLIT_TOLERANCE: Final = 0.03
"""An overnight move this close (relative) to a split ratio is suspected."""
_BOTH_WAYS: Final = tuple(ratio for k in SPLIT_RATIOS for ratio in (k, 1 / k))
_SPLIT_MOVE_TOLERANCE: Final = 0.25
"""How far the raw price may open from where a recorded split puts it."""
_STUCK_SESSIONS: Final = 5
"""Sessions in a row with one and the same price after which the feed is stuck (ours)."""


def history_problem(
    bars: Sequence[Bar], splits: Sequence[Split], sessions: Sequence[date]
) -> str | None:
    """Say why a symbol's daily history cannot be used, or None where it can.

    Parameters
    ----------
    bars : Sequence[Bar]
        Raw daily bars of one symbol, as they came.
    splits : Sequence[Split]
        Its recorded splits.
    sessions : Sequence[date]
        Every session of the window, in order. The history may begin later (a
        new listing), but must be whole from its first bar to the last session.

    Returns
    -------
    str | None
        ``code: detail`` with the code `no_history`, `bad_price`, `disorder` (a
        day twice or out of order), `gap`, `unadjusted_split` (an overnight move
        within 3% of a split ratio without a recorded split),
        `unconfirmed_split` (recorded, but the raw price did not move by it) or
        `one_price` (five sessions or more at one price).
    """
    if not bars:
        return "no_history: no daily bar"
    days = [eastern_date(bar.start) for bar in bars]
    for day, bar in zip(days, bars, strict=True):
        prices = (bar.open, bar.high, bar.low, bar.close)
        if not all(math.isfinite(price) and price > 0 for price in prices):
            return f"bad_price: {day} has a price that is no positive number"
        if bar.high < max(prices) or bar.low > min(prices):
            return f"bad_price: {day} contradicts its own high or low"
    for before, day in pairwise(days):
        if day <= before:
            return f"disorder: {day} comes after {before}"
    present = set(days)
    missing = [day for day in sessions if day >= days[0] and day not in present]
    if missing:
        return f"gap: {len(missing)} session(s) missing, the first on {missing[0]}"
    return _split_problem(bars, days, _ratios(splits)) or _stuck_problem(bars, days)


def _ratios(splits: Sequence[Split]) -> Mapping[date, float]:
    return {split.ex_date: split.ratio for split in splits}


def _split_problem(
    bars: Sequence[Bar], days: Sequence[date], ratios: Mapping[date, float]
) -> str | None:
    for (before, bar), day in zip(pairwise(bars), days[1:], strict=True):
        move = before.close / bar.open
        if day in ratios:
            if abs(move / ratios[day] - 1) > _SPLIT_MOVE_TOLERANCE:
                return f"unconfirmed_split: {day} {ratios[day]:g}:1, the price moved by {move:.3g}"
            continue
        nearest = min(
            (r for k in SPLIT_RATIOS for r in (k, 1 / k)), key=lambda r: abs(move / r - 1)
        )
        if abs(move / nearest - 1) <= SPLIT_TOLERANCE:
            return f"unadjusted_split: {day} opened as after {nearest:.4g}:1, which is not recorded"
    return None


def _stuck_problem(bars: Sequence[Bar], days: Sequence[date]) -> str | None:
    rows = zip(bars, days, strict=True)
    for (low, high), run in groupby(rows, key=lambda row: (row[0].low, row[0].high)):
        stuck = [day for _, day in run]
        if low == high and len(stuck) >= _STUCK_SESSIONS:
            return f"one_price: {len(stuck)} sessions from {stuck[0]} at {low:g}"
    return None


def returns_by_day(bars: Sequence[Bar], splits: Sequence[Split]) -> dict[date, float]:
    """Simple returns from close to close by the later day, with splits taken out.

    Notes
    -----
    ``r_t = k_t C_t / C_(t-1) - 1`` where ``k_t`` is the ratio of a split that
    takes effect on day t, else 1. The history must have no `history_problem`.
    """
    ratios = _ratios(splits)
    days = [eastern_date(bar.start) for bar in bars]
    return {
        day: ratios.get(day, 1.0) * bar.close / before.close - 1
        for (before, bar), day in zip(pairwise(bars), days[1:], strict=True)
    }
