"""States of the market, on a market whose states are plain to see."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from greenlight.domain.market import Unavailable
from greenlight.domain.regimes import WINDOW, Regimes, Trend, Volatility, regimes

FIRST = date(2008, 1, 1)


def days(returns: list[float]) -> dict[date, float]:
    return {FIRST + timedelta(days=i): value for i, value in enumerate(returns)}


# A calm rise of 0.1% and 0.2% by turns, then a fall of 3% and 1% by turns.
CALM_RISE = [0.001, 0.002] * 15
WILD_FALL = [-0.03, -0.01] * 7


def test_regimes_when_the_market_rises_calmly_then_low_and_up() -> None:
    market = days(CALM_RISE)
    own = dict.fromkeys(market, 0.01)
    found = regimes(market, own)
    assert isinstance(found, Regimes)
    (row,) = found.rows
    assert (row.volatility, row.trend) == (Volatility.LOW, Trend.UP)
    # The first 20 sessions have no state, 10 are left.
    assert row.sessions == 10
    assert row.return_frac == pytest.approx(1.01**10 - 1)
    assert row.market_frac == pytest.approx((1.001 * 1.002) ** 5 - 1)
    assert isinstance(row.sharpe_ann, Unavailable)


def test_regimes_when_it_turns_then_the_first_wild_day_counts_as_calm() -> None:
    market = days(CALM_RISE + WILD_FALL)
    found = regimes(market, dict.fromkeys(market, 0.0))
    assert isinstance(found, Regimes)
    assert (found.volatility, found.trend) == (Volatility.HIGH, Trend.DOWN)
    sessions = {(r.volatility, r.trend): r.sessions for r in found.rows}
    # 10 calm ones and the first day of the fall, whose state was known the day before.
    assert sessions[Volatility.LOW, Trend.UP] == 11
    assert sum(sessions.values()) == 44 - WINDOW


def test_regimes_when_a_session_changes_then_its_own_state_does_not() -> None:
    market = days(CALM_RISE)
    last = max(market)
    own = {last: 0.05}
    before = regimes(market, own)
    after = regimes({**market, last: -0.2}, own)
    assert isinstance(before, Regimes)
    assert isinstance(after, Regimes)
    assert [(r.volatility, r.trend) for r in before.rows] == [
        (r.volatility, r.trend) for r in after.rows
    ]


def test_regimes_when_the_history_is_short_then_says_how_short() -> None:
    found = regimes(days(CALM_RISE[:19]), {})
    assert found == Unavailable("19 daily returns of the market; a state needs 20")
