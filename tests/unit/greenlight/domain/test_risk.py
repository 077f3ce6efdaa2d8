"""The chain by hand: each rule at its boundary, with and without its inputs."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from greenlight.domain.correlation import Correlation, correlation
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.market import Unavailable
from greenlight.domain.risk import judge, verdict_figures
from tests.risk_cases import NOW, position, quote, returns, session, signal, state

LIMITS = RiskLimits()


def test_judge_when_all_is_well_then_every_rule_passes_with_figures() -> None:
    verdict = judge(signal(), state(), LIMITS)
    assert verdict.entry is not None
    assert verdict.failed == ()
    figures = verdict_figures(verdict)
    assert figures["risk_a_trade"] == pytest.approx(199 * 5.25 / 100_000)
    assert figures["risk_a_trade.limit"] == 0.02
    assert figures["buying_power"] == pytest.approx(199 * 100.25)
    assert figures["fresh_quote"] == 1.0
    assert all(figures[f"{rule.rule}.passed"] is True for rule in verdict.rules)


def ago(*seconds: float) -> tuple[datetime, ...]:
    return tuple(NOW - timedelta(seconds=s) for s in seconds)


BROKE = {"loss_base_usd": Decimal(400), "high_usd": Decimal(400)}
WIDE = position("A", "40050.26")
TWINS = {"AAPL": returns("AAPL"), "TWIN": returns("AAPL")}
FIVE = tuple(position(s) for s in ("A", "B", "C", "D", "E"))


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"halts": ("daily loss",)}, "not_halted"),
        ({"session": None}, "session_open"),
        ({"quote": quote(age_s=90.1)}, "fresh_quote"),
        ({"quote": quote(age_s=-0.1)}, "fresh_quote"),
        ({"quote": quote(bid=97.9)}, "tight_spread"),
        ({"quote": quote(bid=100.1)}, "tight_spread"),
        ({"positions": (position("AAPL"),)}, "one_position_a_symbol"),
        ({"entries": {"AAPL": Decimal(0)}}, "one_position_a_symbol"),
        ({"positions": FIVE}, "max_positions"),
        ({"positions": FIVE[:3], "entries": {"X": Decimal(0), "Y": Decimal(0)}}, "max_positions"),
        ({**BROKE, "equity_usd": Decimal(400)}, "at_least_one_share"),
        ({"buying_power_usd": Decimal("19949.74")}, "buying_power"),
        ({"buying_power_usd": None}, "buying_power"),
        ({"buying_power_usd": Decimal("NaN")}, "buying_power"),
        ({"positions": (position("A", "80050.26"),)}, "no_leverage"),
        ({"returns": {"AAPL": Unavailable("gap: two sessions")}}, "sound_history"),
        ({"returns": {}}, "sound_history"),
        ({"recent_entries": ago(*range(10, 60, 5))}, "entries_a_minute"),
        ({"recent_entries": ago(*range(60, 3060, 100))}, "entries_an_hour"),
        ({"recent_entries": None}, "entries_a_minute entries_an_hour"),
        ({"loss_base_usd": Decimal("100500.00")}, "daily_loss"),
        ({"loss_base_usd": None}, "daily_loss"),
        ({"loss_base_usd": Decimal("NaN")}, "daily_loss"),
        ({"high_usd": Decimal("111111.12")}, "drawdown"),
        ({"high_usd": None}, "drawdown"),
        ({"sectors": {"AAPL": "Tech", "A": "Tech"}, "positions": (WIDE,)}, "sector_cap"),
        # No table names them: one sector, the unknown one.
        ({"sectors": {}, "entries": {"X": Decimal("40050.26")}}, "sector_cap"),
        ({"positions": (position("F"),)}, "correlation"),
        ({"entries": {"TWIN": Decimal(1)}, "returns": TWINS}, "correlation"),
        ({"entries": {"X": Decimal("80050.26")}}, "no_leverage"),
    ],
)
def test_judge_when_one_limit_is_broken_then_that_rule_alone_refuses(
    changes: dict[str, object], rule: str
) -> None:
    verdict = judge(signal(), state(**changes), LIMITS)
    assert verdict.entry is None
    assert " ".join(failed.rule for failed in verdict.failed) == rule


@pytest.mark.parametrize(
    "changes",
    [
        {"quote": quote(age_s=90)},
        {"quote": quote(age_s=0)},
        {"positions": FIVE[:4]},
        {"buying_power_usd": Decimal("19949.75")},
        {"positions": (position("A", "80050.25"),)},
        {"recent_entries": ago(*range(10, 55, 5), 60)},
        {"recent_entries": ago(*range(60, 2960, 100), 3600)},
        {"loss_base_usd": Decimal("100499.99")},
        {"high_usd": Decimal("111111.11")},
        {"sectors": {"AAPL": "Tech", "A": "Tech"}, "positions": (position("A", "40050.25"),)},
        {"sectors": {"AAPL": "Tech"}, "positions": (WIDE,)},
        {"winners_in_a_row": 0, "recent_vol_ann": Unavailable("short")},
    ],
)
def test_judge_when_a_limit_is_just_kept_then_taken(changes: dict[str, object]) -> None:
    assert judge(signal(), state(**changes), LIMITS).entry is not None


def test_judge_when_market_has_just_closed_then_refused() -> None:
    close = session().close
    at_close = replace(quote(), at=close)
    verdict = judge(signal(), state(now=close, quote=at_close), LIMITS)
    assert [r.rule for r in verdict.failed] == ["session_open"]


def test_judge_when_nothing_is_known_then_every_rule_that_needs_it_refuses() -> None:
    nothing = state(
        session=None,
        quote=None,
        equity_usd=None,
        buying_power_usd=None,
        loss_base_usd=None,
        high_usd=None,
        recent_entries=None,
        returns={},
        entries={"X": Decimal(0)},
    )
    assert {r.rule for r in judge(signal(), nothing, LIMITS).failed} == {
        "session_open",
        "fresh_quote",
        "tight_spread",
        "price_sanity",
        "sound_history",
        "entries_a_minute",
        "entries_an_hour",
        "daily_loss",
        "drawdown",
        "correlation",
        "at_least_one_share",
        "risk_a_trade",
        "sector_cap",
        "buying_power",
        "no_leverage",
    }


@pytest.mark.parametrize(
    ("reference", "is_passed"),
    # 100 / 83.34 = 1.1999, 100 / 83.33 = 1.20005; 100 / 125 = 0.8, 100 / 125.1 = 0.7994.
    [(83.34, True), (83.33, False), (125.0, True), (125.1, False), (math.nan, False), (0, False)],
)
def test_judge_when_the_ask_is_far_from_what_the_strategy_saw_then_refused(
    reference: float, is_passed: bool
) -> None:
    verdict = judge(signal(reference_price=reference), state(), LIMITS)
    assert [r.rule for r in verdict.failed] == ([] if is_passed else ["price_sanity"])


def test_judge_when_correlated_then_value_is_the_highest_and_the_note_tells_all() -> None:
    held = (position("A"), position("B"))
    mixed = {day: 0.5 * r + returns("B")[day] for day, r in returns("AAPL").items()}
    short = dict(list(returns("A").items())[-9:])
    known = state(positions=held, returns={"AAPL": returns("AAPL"), "A": short, "B": mixed})
    (rule,) = [r for r in judge(signal(), known, LIMITS).rules if r.rule == "correlation"]
    assert rule.is_passed
    first, second = (correlation(returns("AAPL"), other) for other in (short, mixed))
    assert isinstance(first, Correlation)
    assert isinstance(second, Correlation)
    assert rule.value == max(first.estimate, second.estimate)
    assert rule.note is not None
    assert "short: 9 of 60 returns" in rule.note
    assert rule.note.count("short") == 1


def test_judge_when_a_held_symbol_has_no_history_then_refused_with_its_reason() -> None:
    broken = {"AAPL": returns("AAPL"), "A": Unavailable("gap: 2 session(s) missing")}
    verdict = judge(signal(), state(positions=(position("A"),), returns=broken), LIMITS)
    (rule,) = verdict.failed
    assert (rule.rule, rule.note) == ("correlation", "A: gap: 2 session(s) missing")
    assert verdict_figures(verdict)["correlation.note"] == rule.note
