"""The booking rules that all stores share."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from greenlight.domain import ledger
from greenlight.domain.orders import InvalidTransition, OrderKind, OrderRecord, OrderStatus, Role
from tests.ledger_cases import PLAN, T0, bar, decision, intent

S = OrderStatus


def test_exit_plan_when_figures_are_numbers_or_text_then_exact_decimals() -> None:
    plan = ledger.exit_plan(decision(figures={**PLAN, "stop_price": 95.1}))
    assert (plan.stop_price, plan.target_price) == (Decimal("95.1"), Decimal("110.00"))
    assert plan.exit_by == datetime(2013, 10, 10, 20, tzinfo=UTC)
    assert (plan.decision_id, plan.strategy) == ("d-entry", "A")


@pytest.mark.parametrize(
    "wrong",
    [
        {"stop_price": "cheap"},
        {"stop_price": "NaN"},
        {"stop_price": 0},
        {"stop_price": None},
        {"target_price": "Infinity"},
        {"target_price": 95.0},
        {"exit_by": "tomorrow"},
        {"exit_by": "2013-10-10T20:00:00"},
    ],
)
def test_exit_plan_when_a_figure_cannot_be_used_then_raises(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="d-entry has no exit plan"):
        ledger.exit_plan(decision(figures={**PLAN, **wrong}))  # type: ignore[dict-item]


def test_exit_plan_when_no_strategy_then_raises() -> None:
    with pytest.raises(ValueError, match="no exit plan"):
        ledger.exit_plan(decision(strategy=None))


@pytest.mark.parametrize(
    ("current", "filled", "reported", "expected"),
    [
        (S.WORKING, 0, S.CANCEL_PENDING, S.CANCEL_PENDING),
        (S.PARTIALLY_FILLED, 3, S.WORKING, S.PARTIALLY_FILLED),
        (S.CANCEL_PENDING, 3, S.WORKING, S.PARTIALLY_FILLED),
        (S.CANCEL_PENDING, 0, S.WORKING, S.WORKING),
        (S.WORKING, 0, S.UNRESOLVED, S.WORKING),
        (S.INTENDED, 0, S.UNRESOLVED, S.UNRESOLVED),
        (S.FILLED, 10, S.WORKING, S.FILLED),
        (S.CANCELED, 0, S.FILLED, S.CANCELED),
    ],
)
def test_reported_status_when_reported_then(
    current: S, filled: int, reported: S, expected: S
) -> None:
    assert ledger.reported_status(current, filled, reported) is expected


def test_reported_status_when_impossible_then_raises() -> None:
    with pytest.raises(InvalidTransition):
        ledger.reported_status(S.PARTIALLY_FILLED, 3, S.REFUSED)


@pytest.mark.parametrize(
    ("current", "filled", "expected"),
    [
        (S.WORKING, 4, S.PARTIALLY_FILLED),
        (S.UNRESOLVED, 4, S.PARTIALLY_FILLED),
        (S.CANCEL_PENDING, 4, S.CANCEL_PENDING),
        (S.CANCEL_PENDING, 10, S.FILLED),
        (S.CANCELED, 4, S.CANCELED),
    ],
)
def test_filled_status_when_ten_are_wanted_then(current: S, filled: int, expected: S) -> None:
    assert ledger.filled_status(current, 10, filled) is expected


@pytest.mark.parametrize(
    ("current", "filled", "reported", "now_filled", "booked", "expected"),
    [
        # The end came ahead of its fills: the order stays open, as it was known.
        (S.WORKING, 0, S.FILLED, 10, 0, (S.WORKING, 0)),
        (S.PARTIALLY_FILLED, 4, S.CANCELED, 4, 0, (S.PARTIALLY_FILLED, 4)),
        (S.PARTIALLY_FILLED, 4, S.REPLACED, 4, 0, (S.PARTIALLY_FILLED, 4)),
        (S.INTENDED, 0, S.FILLED, 10, 0, (S.WORKING, 0)),
        # With its fills booked it ends.
        (S.PARTIALLY_FILLED, 4, S.CANCELED, 4, 4, (S.CANCELED, 4)),
        (S.WORKING, 0, S.CANCELED, 0, 0, (S.CANCELED, 0)),
    ],
)
def test_taken_report_when_an_end_may_be_ahead_of_its_fills_then(
    current: S, filled: int, reported: S, now_filled: int, booked: int, expected: tuple[S, int]
) -> None:
    record = OrderRecord(
        intent=intent(qty=10),
        order_id="o-1",
        status=current,
        filled_qty=filled,
        reason=None,
        updated_at=T0,
    )
    assert ledger.taken_report(record, reported, now_filled, booked) == expected


@pytest.mark.parametrize(
    ("role", "kind", "figures", "expected"),
    [
        (Role.PROTECT, OrderKind.STOP, {}, "stop"),
        (Role.PROTECT, OrderKind.OCO, {}, "target"),
        (Role.PROTECT, OrderKind.LIMIT, {}, "target"),
        (Role.EXIT, OrderKind.LIMIT, {"exit_reason": "time"}, "time"),
        (Role.EXIT, OrderKind.LIMIT, {}, "manual"),
        (Role.ENTRY, OrderKind.LIMIT, {"exit_reason": "time"}, "manual"),
    ],
)
def test_closing_reason_when_order_closed_it_then(
    role: Role, kind: OrderKind, figures: dict[str, str], expected: str
) -> None:
    order = intent(role=role, kind=kind)
    assert ledger.closing_reason(order, decision(figures=figures)) == expected


def test_closing_reason_when_order_is_unknown_then_manual() -> None:
    assert ledger.closing_reason(None, None) == "manual"


def test_renamed_when_ids_are_taken_then_the_next_number() -> None:
    plan = ledger.exit_plan(decision())
    assert ledger.renamed(plan, set()) == plan
    assert ledger.renamed(plan, {"d-entry"}).decision_id == "d-entry.2"
    assert ledger.renamed(plan, {"d-entry", "d-entry.2"}).decision_id == "d-entry.3"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(60, "1Min"), (300, "5Min"), (3600, "1Hour"), (13 * 3600, "1Day"), (17 * 3600, "1Day")],
)
def test_timeframe_when_interval_is_known_then(seconds: int, expected: str) -> None:
    assert ledger.timeframe(replace(bar(), end=T0 + timedelta(seconds=seconds))) == expected


@pytest.mark.parametrize("seconds", [-60, 0, 30, 90, 90000 + 1])
def test_timeframe_when_interval_is_none_then_raises(seconds: int) -> None:
    with pytest.raises(ValueError, match="has no timeframe"):
        ledger.timeframe(replace(bar(), end=T0 + timedelta(seconds=seconds)))


def test_halt_decision_when_the_same_halt_then_the_same_id() -> None:
    one = ledger.halt_decision(T0, None, "key revoked")
    assert one == ledger.halt_decision(T0, None, "key revoked")
    others = [
        ledger.halt_decision(T0, T0 + timedelta(days=1), "key revoked"),
        ledger.halt_decision(T0, None, "daily loss"),
        ledger.halt_decision(T0 + timedelta(seconds=1), None, "key revoked"),
    ]
    assert one.decision_id not in {other.decision_id for other in others}
