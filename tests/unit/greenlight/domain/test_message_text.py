"""The words of reports, and how long texts are broken."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from greenlight.domain.message_text import (
    LIMIT,
    escaped,
    label,
    plain,
    price,
    report_text,
    split,
)
from greenlight.domain.reports import Period, report
from tests.report_cases import TUE, WED, at, inputs, trade


def test_text_when_daily_then_these_words() -> None:
    assert plain(report_text(report(inputs(Period.DAILY, TUE)))).split("\n") == [
        "📊 PAPER, replay of bokeh, synthetic intraday path",
        "Daily report, Tuesday 2008-01-15",
        "",
        "💰 net P&L -$500.00, 2 closed",
        "📈 return -1.00%, equity $99,495.00",
        "🎯 win rate 0.0% (0 of 2)",
        "📉 drawdown 1.49%",
        "📂 1 position open",
        "",
        "Closed",
        "🛑 IBM -$300.00 (-3.00%), stop, d2",
        "⏱ MSFT -$200.00 (-2.00%), time, d3",
    ]


def test_text_when_weekly_then_groups_risk_and_months() -> None:
    lines = plain(report_text(report(inputs(Period.WEEKLY, WED)))).split("\n")
    text = "\n".join(lines)
    assert "By strategy\nA +$300.00, 1 of 2 won\nB -$200.00, 0 of 1 won" in text
    assert "Best\nAAPL +$600.00, 1 of 1 won" in text
    assert "Worst\nIBM -$300.00, 0 of 1 won\nMSFT -$200.00, 0 of 1 won" in text
    assert "Risk since 2008-01-14" in lines
    assert "profit factor 1.20" in text
    assert "2008-01 +0.49%, 3 trades, net +$100.00" in lines
    assert "mean of months with trades +0.49%" in lines


def test_text_when_monthly_then_says_why_there_is_no_regime() -> None:
    text = plain(report_text(report(inputs(Period.MONTHLY, WED))))
    assert "Monthly report, January 2008" in text
    assert "Regimes — (0 daily returns of the market; a state needs 20)" in text


def test_text_when_many_were_closed_then_the_last_twenty_are_listed() -> None:
    rows = [trade(f"t{number:02d}", "AAPL", "A", at(TUE, 16), 100) for number in range(23)]
    lines = plain(report_text(report(inputs(Period.DAILY, TUE, trades=rows)))).split("\n")
    assert sum(line.startswith("🎯 AAPL") for line in lines) == 20
    assert lines[-1] == "and 3 trades before"


def test_label_when_live_or_paper_then_in_capitals() -> None:
    assert label("live") == "LIVE"
    assert label("paper", source="alpaca-paper") == "PAPER"


def test_price_when_it_has_fractions_of_a_cent_then_shown() -> None:
    assert [price("567.3495454545"), price("95"), price("1234.5")] == [
        "567.3495",
        "95.00",
        "1,234.50",
    ]


@given(st.lists(st.text("ab<&\U0001f600 ", max_size=300), max_size=20), st.integers(60, 200))
def test_split_when_a_text_is_long_then_parts_fit_and_nothing_is_lost(
    lines: list[str], limit: int
) -> None:
    text = "\n".join(f"<b>{escaped(line)}</b>" for line in lines)
    parts = split(text, limit)
    assert all(0 < len(part) <= limit for part in parts)
    for part in parts:
        assert part.count("<b>") == part.count("</b>")
    kept = "".join(plain(part) for part in parts).replace("\n", "").replace(" ", "")
    assert kept == "".join(lines).replace(" ", "")


def test_split_when_it_fits_then_one_part() -> None:
    assert split("one\ntwo") == ["one\ntwo"]
    assert [len(part) for part in split(("x\n" * LIMIT).strip())] == [LIMIT - 1, LIMIT - 1]
