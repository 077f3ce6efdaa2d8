"""Scores become rows once a session, and an EXIT the position's time to leave.

By hand: with no forecast and no other sector, momentum counts 0.7 and weight
0.3 of the score. Bought at $100 for $100,000 in all, 200 shares are the full
weight (a fifth) and 10 a hundredth.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from actors.position_monitor import PositionMonitor
from actors.risk_gate import RiskGate
from greenlight.domain.audit import Decision, DecisionKind, Verdict
from greenlight.domain.market import Bar
from greenlight.testing_broker import FakeMarketData
from tests.actor_cases import DESK, T0, Surroundings, later, quote
from tests.risk_cases import DAYS, bar
from tests.unit.actors.test_risk_gate import gate


def trend(daily: float, *, sessions: int = len(DAYS)) -> list[Bar]:
    """Closes that go one way, a little faster every other day."""
    close, bars = 100.0, []
    for number, day in enumerate(DAYS[-sessions:]):
        before, close = close, close * (1 + daily * (1.2 if number % 2 else 0.8))
        bars.append(bar("AAPL", day, before, close))
    return bars


def held(bars: list[Bar], qty: int = 200) -> tuple[Surroundings, RiskGate]:
    around = Surroundings()
    around.enter(qty, at=T0 - timedelta(hours=20))
    around.clock.set(T0)
    return around, reviewing(around, bars)


def reviewing(around: Surroundings, bars: list[Bar], **options: Any) -> RiskGate:
    return gate(around, data=FakeMarketData(bars=bars), scored=("AAPL",), **options)


def rows(around: Surroundings) -> list[Decision]:
    return around.decisions(DecisionKind.SCORE)


def test_review_when_the_score_says_exit_then_its_time_is_now_with_a_row() -> None:
    around, desk = held(trend(-0.01))
    before = around.store.position("AAPL")
    assert desk.review([quote(100.0)], T0) == ["AAPL"]
    (row,) = rows(around)
    assert (row.verdict, row.reason, row.figures["action"]) == (Verdict.TAKEN, "score", "exit")
    assert row.figures["contribution.momentum"] == pytest.approx(-0.7)
    # 200 shares at the mid of 100.01 are more than a fifth of 100,002.
    assert row.figures["contribution.weight"] == pytest.approx(-0.3)
    assert row.figures["missing.volatility"] == "no volatility forecast"
    after = around.store.position("AAPL")
    assert before is not None
    assert after is not None
    assert (after.exit_by, after.stop_price, after.qty) == (T0, before.stop_price, 200)


def test_review_when_it_comes_again_or_after_a_crash_then_decided_once_and_still_named() -> None:
    around, desk = held(trend(-0.01))
    desk.review([quote(100.0)], T0)
    assert desk.review([], later(60)) == ["AAPL"]
    assert reviewing(around, trend(0.01)).review([], later(120)) == ["AAPL"]
    assert len(rows(around)) == 1
    position = around.store.position("AAPL")
    assert position is not None
    assert position.exit_by == T0


@pytest.mark.parametrize(
    ("daily", "qty", "is_forecast", "action", "verdict", "reason"),
    [
        # Momentum -0.7 and weight +0.27: -0.43.
        (-0.01, 10, False, "trim", Verdict.REFUSED, "trim_would_uncover"),
        # +0.97, but nothing is added without a forecast.
        (0.01, 10, False, "hold", Verdict.SKIPPED, "hold"),
        (0.01, 10, True, "add", Verdict.SKIPPED, "one_position_a_symbol"),
    ],
)
def test_review_when_the_score_says_otherwise_then_a_row_and_nothing_is_sent(
    daily: float, qty: int, is_forecast: bool, action: str, verdict: Verdict, reason: str
) -> None:
    around, desk = held(trend(daily), qty)
    if is_forecast:
        # Calmer than these closes were.
        desk = reviewing(around, trend(daily), forecast=lambda _, __: 0.01)
    sent = len(around.broker.submitted)
    assert desk.review([quote(100.0)], T0) == []
    (row,) = rows(around)
    assert (row.figures["action"], row.verdict, row.reason) == (action, verdict, reason)
    assert len(around.broker.submitted) == sent


def test_review_when_too_little_is_known_then_a_row_says_why() -> None:
    around, desk = held(trend(-0.01, sessions=10))
    assert desk.review([quote(100.0)], T0) == []
    (row,) = rows(around)
    assert row.verdict is Verdict.SKIPPED
    assert row.reason.startswith("not_scored: too little is known of AAPL")


def test_review_when_bought_today_or_closed_hours_or_not_asked_then_nothing() -> None:
    around = Surroundings()
    around.enter(200)
    assert reviewing(around, trend(-0.01)).review([quote(100.0)], later(60)) == []
    around, desk = held(trend(-0.01))
    assert desk.review([quote(100.0)], T0 + timedelta(hours=8)) == []
    assert gate(around).review([quote(100.0)], T0) == []
    assert rows(around) == []


@pytest.mark.parametrize("is_restarted", [True, False])
def test_monitor_when_the_score_set_its_time_then_it_leaves_for_the_score(
    is_restarted: bool,
) -> None:
    around, desk = held(trend(-0.01))
    around.follow()

    def monitor() -> PositionMonitor:
        return PositionMonitor(
            symbol="AAPL",
            store=around.store,
            broker=around.broker,
            notifier=around.notifier,
            desk=DESK,
            now=T0,
            sleep=around.sleep,
        )

    watching = monitor()
    watching.on_change(quote(100.0), T0)
    desk.review([quote(100.0)], T0)
    if is_restarted:
        watching = monitor()
    band = watching.on_change(quote(100.0), later(1))
    assert band is not None
    assert band.wake_at == T0
    watching.on_quote(quote(100.0, at=later(2)), later(2))
    (row,) = around.decisions(DecisionKind.EXIT)
    assert row.figures["exit_reason"] == "score"
    exits = [i for i in around.broker.submitted if i.role == "exit"]
    assert [i.qty for i in exits] == [200]
    order = around.broker.find_order(exits[0].client_order_id)
    assert order is not None
    around.broker.fill(order.order_id, 200, "99.90")
    (trade,) = around.store.trades()
    assert (trade.exit_reason, trade.pnl_usd) == ("score", Decimal("-20.00"))
