"""A report's figures are those of `metrics` on the same store."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from greenlight.domain import metrics
from greenlight.domain.market import Unavailable, eastern_date
from greenlight.domain.readiness import ReadinessPolicy
from greenlight.domain.regimes import Regimes
from greenlight.domain.reports import Period, Report
from greenlight.testing import FakeStore
from jobs.readiness import Evaluator
from jobs.reports import chart_of, last_closed, make_report
from tests.sample_desk import SampleDesk

START, END = date(2013, 10, 7), date(2013, 10, 18)


@pytest.fixture(scope="module")
def desk() -> SampleDesk:
    found = SampleDesk(FakeStore(), start=START)
    found.trade_until(END)
    return found


def made(desk: SampleDesk, period: Period, day: date | None = None) -> Report:
    found = make_report(desk.store, period, desk.now, day=day)
    assert isinstance(found, Report)
    return found


def test_make_when_a_fortnight_was_traded_then_totals_are_those_of_the_gate(
    desk: SampleDesk,
) -> None:
    inputs = Evaluator(desk.store, ReadinessPolicy()).gather(desk.now)
    trades = desk.store.trades(limit=None)
    so_far = made(desk, Period.WEEKLY).so_far
    assert so_far.trades == len(trades) > 5
    assert so_far.net_usd == sum((t.net_usd for t in trades), Decimal(0))
    assert so_far.win_rate == metrics.win_rate(trades)
    assert so_far.profit_factor == metrics.profit_factor(trades)
    fall = metrics.max_drawdown(metrics.merged(inputs.broker_marks, inputs.desk_marks))
    assert not isinstance(fall, Unavailable)
    assert so_far.drawdown_frac == fall.frac
    growth = float(inputs.broker_marks.equity_usd[-1]) / 100_000 - 1
    assert so_far.return_frac == pytest.approx(growth)


def test_make_when_daily_and_weekly_then_the_days_add_up_to_the_week(desk: SampleDesk) -> None:
    week = made(desk, Period.WEEKLY)
    days = [made(desk, Period.DAILY, END - timedelta(days=back)) for back in range(4, -1, -1)]
    assert week.span.first == days[0].span.first
    assert sum(day.totals.trades for day in days) == week.totals.trades
    assert sum((day.totals.net_usd for day in days), Decimal(0)) == week.totals.net_usd
    grown = 1.0
    for day in days:
        assert isinstance(day.totals.return_frac, float)
        grown *= 1 + day.totals.return_frac
    assert week.totals.return_frac == pytest.approx(grown - 1)
    for day in days:
        rows = [t for t in desk.store.trades() if eastern_date(t.closed_at) == day.span.first]
        assert day.totals.win_rate == metrics.win_rate(rows)


def test_make_when_a_past_week_is_asked_for_then_nothing_later_is_in_it(desk: SampleDesk) -> None:
    first = made(desk, Period.WEEKLY, START)
    assert first.so_far.trades == first.totals.trades
    assert first.span.last < END
    shown = made(desk, Period.WEEKLY, START)
    held = [
        p
        for p in (
            *desk.store.open_positions(),
            *desk.store.closed_positions(desk.now.replace(year=2013, month=10, day=1)),
        )
        if eastern_date(p.opened_at) <= first.span.last
        and (p.closed_at is None or eastern_date(p.closed_at) > first.span.last)
    ]
    assert shown.open_positions == len(held)


def test_make_when_no_desk_has_run_then_says_so(desk: SampleDesk) -> None:
    found = make_report(FakeStore(), Period.DAILY, desk.now)
    assert isinstance(found, Unavailable)


def test_last_closed_when_asked_in_a_session_then_the_one_before(desk: SampleDesk) -> None:
    assert last_closed(desk.now) == END
    assert last_closed(desk.now - timedelta(hours=3)) == END - timedelta(days=1)


def test_make_when_monthly_without_bars_then_no_regimes(desk: SampleDesk) -> None:
    found = made(desk, Period.MONTHLY)
    assert not isinstance(found.regimes, Regimes)
    assert [m.first for m in found.months] == [date(2013, 10, 1)]


def test_chart_when_a_week_is_drawn_then_begins_with_the_mark_before(desk: SampleDesk) -> None:
    marks = chart_of(desk.store, made(desk, Period.WEEKLY))
    assert len(marks.at_s) == 1 + 5 * 390
    closes = desk.store.equity(desk.now - timedelta(days=30), desk.now, "broker")
    last_week = [m for m in closes if eastern_date(m.at) < END - timedelta(days=4)]
    assert marks.equity_usd[0] == float(last_week[-1].equity_usd)
