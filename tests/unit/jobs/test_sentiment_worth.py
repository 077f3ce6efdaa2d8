"""Two books, one with readings and one without, on returns and prices made for it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from greenlight.domain.market import Bar, Unavailable, session_on
from greenlight.domain.news_reversal import NewsReversal
from greenlight.domain.sentiment import EventType, Headline, Horizon, Opinion, Rating
from greenlight.settings import Settings
from jobs.backtest import BacktestPlan
from jobs.backtest_market import Board, daily_board
from jobs.sentiment_worth import MIN_SESSIONS, Worth, helps, scores_at_closes, series_of, worth
from tests.costs_free import FREE

DAY = timedelta(days=1)
FIRST, LAST = date(2013, 1, 2), date(2013, 12, 31)


def sessions() -> list[date]:
    days = (FIRST + timedelta(days=i) for i in range((LAST - FIRST).days + 1))
    return [day for day in days if session_on(day) is not None]


def falls() -> list[int]:
    """Every eighth session from the fiftieth on is a sharp fall."""
    return list(range(50, len(sessions()) - 8, 8))


def bars() -> dict[str, list[Bar]]:
    """A price that sways by half a percent, falls 4% now and then, and turns the day after.

    After every other turn it rises for some days; after the rest it falls further.
    """
    price, found = 100.0, []
    steps = {}
    for number, row in enumerate(falls()):
        after = 0.02 if number % 2 == 0 else -0.02
        steps |= {row: -0.04, row + 1: 0.045, row + 2: after, row + 3: after}
    for row, day in enumerate(sessions()):
        before = price
        price *= 1 + steps.get(row, 0.005 * (-1) ** row)
        session = session_on(day)
        assert session is not None
        found.append(
            Bar(
                symbol="AAPL",
                start=datetime(day.year, day.month, day.day, 5, tzinfo=UTC),
                end=session.close,
                open=before,
                high=max(before, price) * 1.001,
                low=min(before, price) * 0.999,
                close=price,
                volume=10_000_000,
            )
        )
    return {"AAPL": found}


def board() -> Board:
    return daily_board(series_of(bars(), (), "made up"), LAST, {"AAPL": "Technology"})


def plan() -> BacktestPlan:
    settings = Settings(max_drawdown_frac=0.1)
    return BacktestPlan(
        strategies=(),
        start=FIRST,
        limits=settings.limits(),
        costs=FREE,
        entry=settings.entry_policy(),
        start_cash_usd=10_000.0,
        policy=None,
        resume_sessions=1,
    )


def opinions(*, is_seer: bool) -> list[Opinion]:
    """Bad news on each fall that a rise follows (a seer), or on none of these."""
    found = []
    for number, row in enumerate(falls()):
        session = session_on(sessions()[row])
        assert session is not None
        at = session.close - timedelta(hours=1)
        is_bad = (number % 2 == 0) is is_seer
        found.append(
            Opinion(
                symbol="AAPL",
                headline=Headline(at=at, text=f"story {row}", symbols=("AAPL",), is_synthetic=True),
                rating=Rating(
                    score=-0.8 if is_bad else 0.8,
                    relevance=1.0,
                    event=EventType.OTHER,
                    horizon=Horizon.DAY,
                    reason="",
                ),
                model="m",
                digest="d",
                prompt_version="1",
                read_at=at,
            )
        )
    return found


def compared(*, is_seer: bool) -> Worth:
    strategy = NewsReversal(min_sigmas=1.2)
    found = worth(board(), strategy, opinions(is_seer=is_seer), plan(), half_life=DAY)
    assert isinstance(found, Worth)
    return found


def test_worth_when_readings_tell_which_falls_turn_then_they_help() -> None:
    found = compared(is_seer=True)
    assert found.with_readings.return_frac > found.without.return_frac
    assert 0 < found.with_readings.trades < found.without.trades
    assert found.helps is True


def test_worth_when_readings_tell_the_opposite_then_they_do_not_help() -> None:
    found = compared(is_seer=False)
    assert found.with_readings.return_frac < found.without.return_frac
    assert found.helps is False


def test_worth_when_nothing_was_read_then_nothing_is_compared() -> None:
    found = worth(board(), NewsReversal(), [], plan(), half_life=DAY)
    assert found == Unavailable("no headline was ever read")


def test_scores_when_an_opinion_came_after_the_close_then_not_of_that_session() -> None:
    first = opinions(is_seer=True)[0]
    day = sessions()[falls()[0]]
    found = scores_at_closes(board(), [first], DAY)["AAPL"]
    assert min(found) == day
    # An hour before the close at a half-life of a day: -0.8 * 2^(-1/24).
    assert found[day] == pytest.approx(-0.8 * 2 ** (-1 / 24), abs=1e-12)
    assert len(found) <= 5


def test_helps_when_there_is_no_difference_then_found_in_about_the_level_of_the_test() -> None:
    source = np.random.default_rng(7)
    verdicts = []
    for _ in range(60):
        without = source.normal(0, 0.01, 120)
        verdicts.append(helps(without + source.normal(0, 0.005, 120), without))
    # A level of 5%: more than nine of sixty have a chance below 0.3%.
    assert sum(verdict is True for verdict in verdicts) <= 9


def test_helps_when_there_is_too_little_then_unavailable() -> None:
    few = np.zeros(MIN_SESSIONS - 1)
    assert isinstance(helps(few + 0.01, few), Unavailable)
    same = np.zeros(MIN_SESSIONS)
    found = helps(same, same)
    assert isinstance(found, Unavailable)
    assert "differ on 0 days" in found.reason
