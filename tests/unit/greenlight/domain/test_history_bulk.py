"""The bulk check of histories is `history_problem`, session by session."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from greenlight.domain.history_bulk import sound_histories
from greenlight.domain.history_checks import history_problem
from greenlight.domain.market import Bar, Split, eastern_midnight, sessions_between

DAYS = [s.day for s in sessions_between(date(2013, 1, 2), date(2013, 3, 28))][:40]
WINDOW = 12


@st.composite
def tapes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """A symbol's bars with holes, wrong highs, splits recorded or not, and stuck prices."""
    prices, ratio = np.full((len(DAYS), 4), np.nan), np.zeros(len(DAYS))
    price = 100.0
    for i in range(draw(st.integers(0, 20)), len(DAYS)):
        event = draw(st.sampled_from(["", "", "", "", "", "hole", "high", "move", "split", "one"]))
        if event == "hole":
            continue
        if event in ("move", "split"):
            price /= 2
        if event == "split" or (event == "high" and draw(st.booleans())):
            ratio[i] = 2.0
        span = 0.0 if event == "one" or draw(st.integers(0, 3)) == 0 else 1.0
        prices[i] = price, price + span, price - span, price
        if event == "high":
            prices[i, 1] = price - 1
    if draw(st.booleans()):
        run = draw(st.integers(0, len(DAYS) - 8))
        there = ~np.isnan(prices[run : run + 8, 0])
        prices[run : run + 8][there] = prices[run][0] if there[0] else 50.0
    return prices, ratio


@settings(max_examples=150, deadline=None)
@given(tapes())
def test_sound_when_drawn_then_as_the_check_of_one_window(
    tape: tuple[np.ndarray, np.ndarray],  # type: ignore[type-arg]
) -> None:
    prices, ratio = tape
    columns = [np.ascontiguousarray(prices[:, i : i + 1]) for i in range(4)]
    found = sound_histories(*columns, ratio.reshape(-1, 1), WINDOW)[:, 0]
    for row in range(len(DAYS)):
        window = DAYS[max(0, row - WINDOW) : row]
        bars = [
            Bar(
                symbol="X",
                start=eastern_midnight(day),
                end=eastern_midnight(day) + timedelta(hours=16),
                open=prices[i, 0],
                high=prices[i, 1],
                low=prices[i, 2],
                close=prices[i, 3],
                volume=100,
            )
            for i, day in enumerate(DAYS)
            if day in window and not np.isnan(prices[i, 0])
        ]
        splits = [
            Split(symbol="X", ex_date=day, ratio=ratio[i])
            for i, day in enumerate(DAYS)
            if day in window and ratio[i] > 0
        ]
        assert found[row] == (history_problem(bars, splits, window) is None), row
