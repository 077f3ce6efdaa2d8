"""Reports against figures worked out by hand (see `tests.report_cases`)."""

from __future__ import annotations

import math
from datetime import date
from decimal import Decimal

import pytest

from greenlight.domain.market import Unavailable
from greenlight.domain.metrics import WinRate
from greenlight.domain.reports import Month, Period, mean_month, report, span, suggestions
from tests.report_cases import BASE, CLOSES, MON, TUE, WED, at, inputs, trade


def test_span_when_asked_for_a_day_then_its_week_and_month() -> None:
    week = span(Period.WEEKLY, date(2008, 1, 16))
    assert (week.first, week.last) == (date(2008, 1, 14), date(2008, 1, 20))
    assert span(Period.WEEKLY, date(2008, 1, 20)) == week
    month = span(Period.MONTHLY, date(2008, 2, 10))
    assert (month.first, month.last) == (date(2008, 2, 1), date(2008, 2, 29))


def test_report_when_daily_then_the_days_own_figures() -> None:
    found = report(inputs(Period.DAILY, TUE))
    assert [t.position_id for t in found.trades] == ["d2", "d3"]
    assert found.totals.net_usd == Decimal(-500)
    assert isinstance(found.totals.win_rate, WinRate)
    assert found.totals.win_rate.wins == 0
    assert found.totals.return_frac == pytest.approx(-0.01)
    # From Monday's close at 100,500 to 99,000 inside the day.
    assert found.totals.drawdown_frac == pytest.approx(1_500 / 100_500)
    assert found.equity_usd == 99_495.0
    assert found.since == MON


def test_report_when_weekly_then_returns_are_linked_and_groups_add_up() -> None:
    found = report(inputs(Period.WEEKLY, WED))
    assert found.totals.return_frac == pytest.approx(0.0048995)
    returns = (0.005, -0.01, 0.01)
    mean = sum(returns) / 3
    deviation = math.sqrt(sum((r - mean) ** 2 for r in returns) / 2)
    assert found.totals.sharpe_ann == pytest.approx(math.sqrt(252) * mean / deviation)
    assert found.totals.profit_factor == pytest.approx(600 / 500)
    assert found.totals.cagr_frac == pytest.approx(1.0048995 ** (252 / 3) - 1)
    assert [(g.name, g.trades, g.wins, g.net_usd) for g in found.by_strategy] == [
        ("A", 2, 1, Decimal(300)),
        ("B", 1, 0, Decimal(-200)),
    ]
    assert [g.name for g in found.by_symbol] == ["AAPL", "MSFT", "IBM"]
    assert [g.name for g in found.by_exit] == ["stop", "target", "time"]


def test_report_when_a_session_has_no_close_then_no_return_and_says_which() -> None:
    closes = {day: usd for day, usd in CLOSES.items() if day != TUE}
    found = report(inputs(Period.WEEKLY, WED, closes=closes))
    assert found.totals.return_frac == Unavailable("no close on 2008-01-15")
    assert report(inputs(Period.DAILY, MON, closes=closes)).totals.return_frac == pytest.approx(
        0.005
    )


def test_report_when_money_was_moved_in_then_no_return() -> None:
    closes = {**CLOSES, WED: CLOSES[WED] + 10_000}
    found = report(inputs(Period.DAILY, WED, closes=closes, moved={WED: 10_000.0}))
    assert found.totals.return_frac == pytest.approx(0.01)


def test_report_when_the_span_has_ended_then_nothing_later_counts() -> None:
    found = report(inputs(Period.DAILY, MON))
    assert found.so_far.trades == 1
    assert found.so_far.return_frac == pytest.approx(0.005)
    assert found.equity_usd == 100_500.0


def test_report_when_nothing_happened_then_reasons_instead_of_noughts() -> None:
    found = report(inputs(Period.DAILY, WED, trades=()))
    assert found.totals.win_rate == Unavailable("no closed trade")
    assert found.totals.profit_factor == Unavailable("no closed trade")
    assert found.mean_month_frac == Unavailable("no month with a closed trade")
    early = report(inputs(Period.DAILY, BASE, trades=()))
    assert early.totals.return_frac == Unavailable("no session has closed")


def month(number: int, trades: int, return_frac: float | Unavailable) -> Month:
    return Month(
        first=date(2008, number, 1), trades=trades, net_usd=Decimal(0), return_frac=return_frac
    )


def test_mean_month_when_a_month_has_no_trade_then_it_does_not_count() -> None:
    months = [month(1, 3, 0.02), month(2, 0, 0.0), month(3, 1, -0.01)]
    assert mean_month(months) == pytest.approx(0.005)
    unknown = [*months, month(4, 2, Unavailable("a session has no close"))]
    assert mean_month(unknown) == pytest.approx(0.005)


def test_suggestions_when_a_strategy_loses_then_quotes_its_figures() -> None:
    losing = [trade(f"d{i}", "AAPL", "A", at(MON, 16), -100 if i else 200) for i in range(10)]
    found = report(inputs(Period.WEEKLY, WED, trades=losing))
    # 200 won, 9 x 100 lost: 0.22; net -700.
    assert found.suggestions == (
        "A loses: profit factor 0.22 over 10 trades, net -$700.00; "
        "consider leaving it out of GREENLIGHT_STRATEGIES",
    )
    assert suggestions(found.by_strategy, losing[:9], found.so_far)[:1] != found.suggestions[:0]


def test_suggestions_when_trades_are_few_then_silent() -> None:
    assert report(inputs(Period.WEEKLY, WED)).suggestions == ()


def test_suggestions_when_most_exits_are_stops_then_says_how_many() -> None:
    rows = [
        trade(f"d{i}", "AAPL", "A", at(MON, 16), 100, exit_reason="stop" if i < 6 else "target")
        for i in range(10)
    ]
    (said,) = report(inputs(Period.WEEKLY, WED, trades=rows)).suggestions
    assert said.startswith("6 of 10 exits were stops")


def test_report_when_not_monthly_then_without_regimes() -> None:
    assert report(inputs(Period.WEEKLY, WED)).regimes == Unavailable("in the monthly report")
    found = report(inputs(Period.MONTHLY, WED)).regimes
    assert found == Unavailable("0 daily returns of the market; a state needs 20")
