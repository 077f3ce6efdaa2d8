"""Histories that nothing may be ordered on, and returns by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import date

import pytest

from greenlight.domain.history_checks import history_problem, returns_by_day
from greenlight.domain.market import Bar, Split, sessions_between
from tests.risk_cases import DAYS, bar, daily_bars, returns

Break = Callable[[list[Bar]], list[Bar]]


def problem(bars: list[Bar], *splits: Split) -> str | None:
    return history_problem(bars, splits, DAYS)


def code(bars: list[Bar], *splits: Split) -> str | None:
    found = problem(bars, *splits)
    return None if found is None else found.partition(":")[0]


def after_split(ratio: float, at: int = 30) -> list[Bar]:
    bars = daily_bars("AAPL")
    return [*bars[:at], *(scaled(b, 1 / ratio) for b in bars[at:])]


def scaled(b: Bar, by: float) -> Bar:
    return replace(b, open=b.open * by, high=b.high * by, low=b.low * by, close=b.close * by)


def test_check_when_history_is_whole_then_no_problem() -> None:
    assert problem(daily_bars("AAPL")) is None


def test_check_when_listed_within_the_window_then_no_problem() -> None:
    assert problem(daily_bars("AAPL")[40:]) is None


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda bars: [], "no_history: no daily bar"),
        (lambda bars: bars[:10] + bars[12:], f"gap: 2 session(s) missing, the first on {DAYS[10]}"),
        (lambda bars: bars[:-1], f"gap: 1 session(s) missing, the first on {DAYS[-1]}"),
        (lambda bars: [*bars[:5], *bars[4:]], f"disorder: {DAYS[4]} comes after {DAYS[4]}"),
        (
            lambda bars: [bars[1], bars[0], *bars[2:]],
            f"disorder: {DAYS[0]} comes after {DAYS[1]}",
        ),
        (
            lambda bars: [replace(bars[0], close=math.nan), *bars[1:]],
            f"bad_price: {DAYS[0]} has a price that is no positive number",
        ),
        (
            lambda bars: [replace(bars[0], low=0.0), *bars[1:]],
            f"bad_price: {DAYS[0]} has a price that is no positive number",
        ),
        (
            lambda bars: [replace(bars[0], high=1.0), *bars[1:]],
            f"bad_price: {DAYS[0]} contradicts its own high or low",
        ),
    ],
)
def test_check_when_history_is_broken_then_the_reason_names_the_day(
    damage: Break, reason: str
) -> None:
    assert problem(damage(daily_bars("AAPL"))) == reason


@pytest.mark.parametrize("ratio", [7.0, 2.0, 1.5, 0.1])
def test_check_when_a_split_is_not_recorded_then_refused_and_recorded_then_not(
    ratio: float,
) -> None:
    # Opens where the close before was, over the ratio.
    assert code(after_split(ratio)) == "unadjusted_split"
    recorded = Split(symbol="AAPL", ex_date=DAYS[30], ratio=ratio)
    assert problem(after_split(ratio), recorded) is None


def test_check_when_a_recorded_split_is_not_in_the_prices_then_refused() -> None:
    recorded = Split(symbol="AAPL", ex_date=DAYS[30], ratio=7.0)
    assert code(daily_bars("AAPL"), recorded) == "unconfirmed_split"


@pytest.mark.parametrize(("count", "reason"), [(4, None), (5, "one_price")])
def test_check_when_one_price_stands_for_sessions_then_refused_from_five_on(
    count: int, reason: str | None
) -> None:
    bars = daily_bars("AAPL")
    price = bars[9].close
    stuck = [replace(b, open=price, high=price, low=price, close=price) for b in bars[10:]]
    rest = [scaled(b, price / bars[9 + count].close) for b in bars[10 + count :]]
    assert code([*bars[:10], *stuck[:count], *rest]) == reason


def test_returns_when_a_split_is_inside_then_taken_out() -> None:
    recorded = Split(symbol="AAPL", ex_date=DAYS[30], ratio=7.0)
    found = returns_by_day(after_split(7.0), [recorded])
    assert found == pytest.approx(returns("AAPL"), abs=1e-12)


def test_returns_when_two_closes_then_by_hand() -> None:
    days = [s.day for s in sessions_between(date(2013, 10, 3), date(2013, 10, 4))]
    bars = [bar("A", days[0], 50.0, 50.0), bar("A", days[1], 51.0, 52.0)]
    assert returns_by_day(bars, []) == {days[1]: pytest.approx(0.04)}
