"""Decisions held against their twins, and the gain beyond them, by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

from greenlight.domain.audit import Decision, DecisionKind, Verdict
from greenlight.domain.positions import Position
from greenlight.domain.trades import Trade
from greenlight.domain.twin import (
    DifferenceKind,
    PnlSplit,
    TwinOutcome,
    detail_json,
    differences,
    differences_of,
    pnl_of,
    pnl_split,
)

AT = datetime(2013, 10, 7, 14, 30, tzinfo=UTC)
CLOSED = datetime(2013, 10, 8, 15, tzinfo=UTC)
ENTRY = Decision(
    decision_id="e1",
    at=AT,
    kind=DecisionKind.ENTRY,
    verdict=Verdict.TAKEN,
    symbol="AAPL",
    strategy="A",
    reason="all rules passed",
    figures={"ask": 100.0, "qty": 10, "rsi": 27.5},
)
LEFT = replace(
    ENTRY, decision_id="x1", at=CLOSED, kind=DecisionKind.EXIT, figures={"bid": 104.0, "qty": 8}
)
TRADE = Trade(
    position_id="e1",
    symbol="AAPL",
    strategy="A",
    qty=8,
    entry_price=Decimal("100.05"),
    exit_price=Decimal("103.90"),
    opened_at=AT,
    closed_at=CLOSED,
    pnl_usd=Decimal("30.80"),
    fees_usd=Decimal("0.10"),
    haircut_usd=Decimal("0.25"),
    exit_reason="time",
)
POSITION = Position(
    position_id="e1",
    symbol="AAPL",
    strategy="A",
    qty=0,
    cost_usd=Decimal(0),
    realized_usd=Decimal("30.80"),
    stop_price=Decimal(95),
    target_price=Decimal(105),
    opened_at=AT,
    exit_by=CLOSED,
    closed_at=CLOSED,
)


def test_differences_when_a_figure_differs_or_is_absent_then_named_with_both_values() -> None:
    again = replace(ENTRY, figures={"ask": 100.0, "qty": 9, "atr": 2.0})
    (found,) = differences([ENTRY], [again])
    assert found.kind is DifferenceKind.CHANGED
    assert found.figures == {
        "atr": ("(absent)", 2.0),
        "qty": (10, 9),
        "rsi": (27.5, "(absent)"),
    }


def test_differences_when_one_side_lacks_a_row_then_missed_or_unmet() -> None:
    other = replace(ENTRY, decision_id="e0")
    found = differences([ENTRY], [other])
    assert [(one.decision_id, str(one.kind)) for one in found] == [
        ("e0", "missed"),
        ("e1", "unmet"),
    ]
    assert differences([ENTRY, other], [other, ENTRY]) == ()


def test_split_when_sizes_fills_and_costs_differ_then_each_cause_has_its_part() -> None:
    # The move decided on is 104 - 100 = 4 a share. The twin bought 7: 3 more decided are
    # 12. Two of ten never filled: -8. Paid 30.80 instead of 8 * 4 = 32: -1.20.
    again = replace(ENTRY, figures={**ENTRY.figures, "qty": 7})
    found = pnl_split(TRADE, POSITION, [ENTRY, LEFT], again)
    assert found == PnlSplit(
        signal_usd=Decimal("12.0"),
        fill_usd=Decimal("-1.20"),
        cost_usd=Decimal("0.25"),
        missed_usd=Decimal("-8.0"),
    )
    # 30.80 - 0.10 charged, less the twin's 7 * 4 - 0.10 - 0.25.
    assert found.total_usd == Decimal("30.70") - Decimal("27.65")


def test_split_when_the_twin_refused_then_the_whole_move_is_the_signal_s() -> None:
    again = replace(ENTRY, verdict=Verdict.REFUSED)
    for refused in (again, None):
        found = pnl_split(TRADE, POSITION, [ENTRY, LEFT], refused)
        assert found is not None
        assert found.signal_usd == Decimal(40)


def test_split_when_a_stop_at_the_broker_ended_it_then_its_price_was_decided_on() -> None:
    stopped = replace(TRADE, exit_reason="stop", exit_price=Decimal(94), pnl_usd=Decimal("-48.40"))
    found = pnl_split(stopped, POSITION, [ENTRY], ENTRY)
    assert found is not None
    # 8 * (95 - 100) = -40 decided on, -48.40 got.
    assert found.fill_usd == Decimal("-8.40")


def test_split_when_it_cannot_be_known_then_none() -> None:
    split = replace(
        ENTRY, decision_id="s", kind=DecisionKind.ADJUST, figures={"ratio": "2", "qty": 16}
    )
    by_hand = replace(TRADE, exit_reason="manual")
    blind = replace(ENTRY, figures={"qty": 10})
    assert pnl_split(TRADE, POSITION, [ENTRY, split, LEFT], ENTRY) is None
    assert pnl_split(by_hand, POSITION, [ENTRY], ENTRY) is None
    assert pnl_split(TRADE, POSITION, [blind, LEFT], ENTRY) is None
    assert pnl_split(TRADE, POSITION, [LEFT], ENTRY) is None


def test_detail_when_read_again_then_the_same() -> None:
    again = replace(ENTRY, figures={"ask": 101.0, "qty": None})
    outcome = TwinOutcome(
        session=date(2013, 10, 7),
        account_number="PA",
        at=CLOSED,
        fingerprint="f",
        decisions=1,
        differences=differences([ENTRY], [again]),
        pnl=PnlSplit(fill_usd=Decimal("-1.20")),
        unvalued=0,
    )
    detail = json.loads(json.dumps(detail_json(outcome)))
    assert differences_of(detail) == outcome.differences
    assert pnl_of(detail) == outcome.pnl
    assert not outcome.is_equal
