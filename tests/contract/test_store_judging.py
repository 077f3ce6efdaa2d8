"""What every store promises of the facts that a judgement rests on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from greenlight.domain.audit import DecisionKind
from greenlight.domain.cash import CashMoved, cash_decision
from greenlight.domain.orders import Side
from greenlight.ports import JudgingFacts, Store
from tests.ledger_cases import T0, decision, fill, intent, minute, open_position, run

HOUR = timedelta(hours=1)


def facts(store: Store, name: str = "d-entry") -> JudgingFacts:
    return store.judging_facts(
        name, minute(30), entries_since=T0 - HOUR, equity_since=T0 - HOUR, trades=2
    )


def test_judging_facts_when_nothing_happened_then_nothing(store: Store) -> None:
    found = facts(store)
    assert (found.decided, found.run, found.reconciled) == (None, None, None)
    lists = (found.positions, found.open_orders, found.entries, found.halts, found.lifted)
    assert [*map(len, lists), len(found.movements), len(found.trades)] == [0] * 7


def test_judging_facts_when_all_happened_then_what_each_question_alone_would_tell(
    store: Store,
) -> None:
    store.start_run(run("r1"))
    store.start_run(run("r2", at=minute(1)))
    open_position(store)
    store.record_intent(
        replace(intent("gl-2", decision_id="d-2"), symbol="IBM"), decision("d-2", symbol="IBM")
    )
    for number, symbol in enumerate(["BAC", "GOOG", "MSFT"]):
        store.book_fill(fill(f"b{number}", qty=1, symbol=symbol, at=minute(number)), Decimal(0))
        sold = fill(f"s{number}", side=Side.SELL, qty=1, symbol=symbol, at=minute(number + 1))
        store.book_fill(sold, Decimal(0))
    store.halt(at=minute(2), until=None, reason="daily_loss: 501 USD")
    store.resume(at=minute(3), reason="looked at")
    store.halt(at=minute(4), until=None, reason="drawdown: 11%")
    store.halt(at=minute(5), until=minute(29), reason="daily_loss: over by now")
    moved = CashMoved(
        activity_id="fee-1",
        activity_type="FEE",
        at=minute(6),
        usd=Decimal("-0.01"),
        symbol=None,
        description="",
        booked_at=minute(7),
    )
    store.book_cash(moved, cash_decision("t", moved))
    for number in (8, 9):
        store.record_decision(
            decision(f"rec-{number}", kind=DecisionKind.RECONCILE, at=minute(number), symbol=None)
        )

    found = facts(store)

    assert found.decided == store.decision("d-entry") == decision()
    assert facts(store, "d-unknown").decided is None
    assert found.positions == store.open_positions()
    assert found.open_orders == store.open_orders()
    assert [row.decision_id for row in found.entries] == ["d-entry", "d-2"]
    assert [halt.reason for halt in found.halts] == ["drawdown: 11%"]
    assert [halt.reason for halt in found.lifted] == ["daily_loss: 501 USD"]
    assert found.movements == [moved]
    assert [trade.symbol for trade in found.trades] == ["GOOG", "MSFT"]
    assert found.run == run("r2", at=minute(1))
    assert found.reconciled is not None
    assert found.reconciled.decision_id == "rec-9"


def test_judging_facts_when_old_then_left_out(store: Store) -> None:
    open_position(store)
    store.halt(at=minute(2), until=None, reason="daily_loss: 501 USD")
    store.resume(at=minute(3), reason="looked at")
    later = store.judging_facts(
        "d-entry", minute(30), entries_since=minute(1), equity_since=minute(4), trades=1
    )
    assert (len(later.entries), len(later.lifted)) == (0, 0)
    assert len(later.positions) == 1
