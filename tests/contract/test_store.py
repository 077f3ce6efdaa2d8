"""What every store promises: in memory, on PostgreSQL, on TimescaleDB."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from greenlight.domain.audit import DecisionKind, Verdict, chain_hash, first_broken
from greenlight.domain.cash import CashMoved, cash_decision
from greenlight.domain.corporate_actions import DividendPaid, dividend_decision
from greenlight.domain.orders import (
    Accepted,
    Denied,
    InvalidTransition,
    OrderKind,
    OrderStatus,
    Rejected,
    Role,
    Side,
    Unresolved,
)
from greenlight.domain.positions import ADOPTED, OversoldError
from greenlight.ports import (
    FencedError,
    Store,
)
from tests.ledger_cases import (
    PLAN,
    T0,
    broker_order,
    decision,
    fill,
    intent,
    minute,
    open_position,
    run,
    send_entry,
)

FREE = Decimal(0)


# -- life and fencing


def test_latest_run_when_none_started_then_none(store: Store) -> None:
    assert store.latest_run() is None
    assert store.cash() is None


def test_latest_run_when_a_replay_clock_went_back_then_the_last_to_start(store: Store) -> None:
    store.start_run(run("r1", at=minute(10)))
    store.start_run(run("r2", at=minute(0)))
    assert store.latest_run() == run("r2", at=minute(0))


def test_first_run_when_accounts_changed_then_the_first_of_the_latest_account(
    store: Store,
) -> None:
    assert store.first_run() is None
    other = replace(run("r1", at=minute(0)), account_number="other")
    store.start_run(other)
    assert store.first_run() == other
    store.start_run(run("r2", at=minute(1)))
    store.start_run(run("r3", at=minute(2)))
    assert store.first_run() == run("r2", at=minute(1))


def test_start_run_when_repeated_then_left_as_it_was(store: Store) -> None:
    store.start_run(run("r1", cash="100000"))
    store.start_run(run("r1", cash="5"))
    assert store.latest_run() == run("r1", cash="100000")


def test_take_epoch_when_taken_again_then_one_higher_for_each_holder(store: Store) -> None:
    assert [store.take_epoch("desk"), store.take_epoch("desk"), store.take_epoch("m")] == [1, 2, 1]
    assert [store.epoch("desk"), store.epoch("m"), store.epoch("nobody")] == [2, 1, 0]


def test_take_desk_when_a_second_desk_starts_then_the_first_is_fenced_and_stays_so(
    store: Store,
) -> None:
    first = store.take_desk()
    assert (first, store.desk_epoch()) == (1, 1)
    assert store.take_epoch("desk", first) == 1
    second = store.take_desk()
    assert (second, store.desk_epoch()) == (2, 2)
    with pytest.raises(FencedError):
        store.record_intent(intent(epoch=1), decision())
    with pytest.raises(FencedError):
        store.take_epoch("desk", first)
    epoch = store.take_epoch("desk", second)
    assert store.record_intent(intent(epoch=epoch), decision())


def test_record_intent_when_epoch_is_old_then_fenced_and_nothing_written(store: Store) -> None:
    store.take_epoch("desk")
    store.take_epoch("desk")
    with pytest.raises(FencedError):
        store.record_intent(intent(epoch=1), decision())
    assert store.order("gl-entry") is None
    assert store.decisions() == []


def test_record_intent_when_holder_never_took_an_epoch_then_fenced(store: Store) -> None:
    with pytest.raises(FencedError):
        store.record_intent(intent(epoch=1), decision())


# -- decisions


def test_record_decision_when_new_then_chained_from_the_first(store: Store) -> None:
    first, second = decision("d1"), decision("d2", at=minute(1))
    assert store.record_decision(first)
    assert store.record_decision(second)
    rows = store.decisions()
    assert [row.seq for row in rows] == [1, 2]
    assert rows[0].previous_hash == "0" * 64
    assert rows[1].previous_hash == rows[0].row_hash == chain_hash("0" * 64, first)
    assert first_broken(rows) is None


def test_record_decision_when_repeated_then_false_and_left_as_it_was(store: Store) -> None:
    store.record_decision(decision("d1"))
    assert not store.record_decision(decision("d1", figures={"other": 1}))
    assert [row.decision.figures for row in store.decisions()] == [dict(PLAN)]
    assert store.record_decision(decision("d2"))
    assert [row.seq for row in store.decisions()] == [1, 2]


def test_decisions_when_figures_are_awkward_then_they_come_back_the_same(store: Store) -> None:
    figures = {
        "third": 1 / 3,
        "tiny": 5e-324,
        "huge": 1.7976931348623157e308,
        "negative_zero": -0.0,
        "whole_float": 5.0,
        "whole": 5,
        "big": 2**63 + 1,
        "text": 'naïve ☃ " \\ \n',
        "yes": True,
        "none": None,
    }
    store.record_decision(decision("d1", figures=figures))
    rows = store.decisions()
    found = rows[0].decision.figures
    assert found == figures
    assert {k: type(v) for k, v in found.items()} == {k: type(v) for k, v in figures.items()}
    assert str(found["negative_zero"]) == "-0.0"
    assert first_broken(rows) is None


def test_record_decision_when_a_figure_is_not_a_number_then_raises(store: Store) -> None:
    with pytest.raises(ValueError, match="JSON"):
        store.record_decision(decision("d1", figures={"rsi": float("nan")}))
    assert store.decisions() == []
    assert store.record_decision(decision("d2"))


def test_decisions_when_time_was_given_in_another_zone_then_utc(store: Store) -> None:
    eastern = timezone(timedelta(hours=-4))
    store.record_decision(decision("d1", at=T0.astimezone(eastern)))
    rows = store.decisions()
    assert rows[0].decision.at == T0
    assert rows[0].decision.at.utcoffset() == timedelta(0)
    assert first_broken(rows) is None


def test_decision_when_asked_by_its_id_then_that_one_or_none(store: Store) -> None:
    wanted = decision("d1", figures={"rsi": 28.5})
    store.record_decision(wanted)
    store.record_decision(decision("d2"))
    assert store.decision("d1") == wanted
    assert store.decision("d3") is None


def test_decisions_when_filtered_then_window_symbol_and_last_ones(store: Store) -> None:
    for number in range(6):
        symbol = "AAPL" if number % 2 == 0 else "IBM"
        kind = DecisionKind.PROTECT if number == 4 else DecisionKind.ENTRY
        verdict = Verdict.REFUSED if number == 3 else Verdict.TAKEN
        made = decision(f"d{number}", at=minute(number), symbol=symbol, kind=kind)
        store.record_decision(replace(made, verdict=verdict))

    def names(**filters: object) -> list[str]:
        return [row.decision.decision_id for row in store.decisions(**filters)]  # type: ignore[arg-type]

    assert names(start=minute(2), end=minute(4)) == ["d2", "d3"]
    assert names(symbol="IBM") == ["d1", "d3", "d5"]
    assert names(kind=DecisionKind.PROTECT) == ["d4"]
    assert names(verdict=Verdict.REFUSED) == ["d3"]
    assert names(symbol="IBM", verdict=Verdict.TAKEN) == ["d1", "d5"]
    assert names(limit=2) == ["d4", "d5"]
    assert len(names(limit=None)) == 6


# -- orders


def test_record_intent_when_new_then_decision_and_order_are_there(store: Store) -> None:
    store.take_epoch("desk")
    assert store.record_intent(intent(), decision())
    record = store.order("gl-entry")
    assert record is not None
    assert record.intent == intent()
    assert (record.status, record.order_id, record.filled_qty) == (OrderStatus.INTENDED, None, 0)
    assert [row.decision for row in store.decisions()] == [decision()]


def test_record_intent_when_repeated_then_false_and_one_order(store: Store) -> None:
    store.take_epoch("desk")
    store.record_intent(intent(), decision())
    assert not store.record_intent(intent(qty=99), decision())
    assert [r.intent.qty for r in store.open_orders()] == [10]
    assert len(store.decisions()) == 1


@pytest.mark.parametrize("missing", sorted(PLAN))
def test_record_intent_when_entry_has_no_plan_then_raises(store: Store, missing: str) -> None:
    store.take_epoch("desk")
    figures = {k: v for k, v in PLAN.items() if k != missing}
    with pytest.raises(ValueError, match="no exit plan"):
        store.record_intent(intent(), decision(figures=figures))
    assert store.order("gl-entry") is None
    assert store.decisions() == []


def test_record_intent_when_an_entry_is_priced_again_then_the_first_decisions_plan_holds(
    store: Store,
) -> None:
    send_entry(store)
    why = decision("d-reprice", kind=DecisionKind.REPRICE, strategy=None, figures={})
    again = replace(intent("gl-entry-2"), attempt=2, limit_price=Decimal("100.20"))
    assert store.record_intent(again, why)
    store.record_outcome("gl-entry-2", Accepted(order=broker_order("gl-entry-2", "o-2")), minute(1))
    store.record_order_status("o-entry", OrderStatus.REPLACED, 0, minute(1))
    booked = store.book_fill(fill("o-2", client_order_id="gl-entry-2"), FREE).position
    assert booked is not None
    assert (booked.position_id, booked.stop_price) == ("d-entry", Decimal("95.0"))
    assert store.open_orders() == []


def test_record_intent_when_entry_has_no_decision_then_raises(store: Store) -> None:
    store.take_epoch("desk")
    with pytest.raises(ValueError, match="no stored decision"):
        store.record_intent(intent(), None)


def test_record_outcome_when_accepted_then_broker_id_and_status(store: Store) -> None:
    send_entry(store)
    record = store.order("gl-entry")
    assert record is not None
    assert (record.order_id, record.status) == ("o-entry", OrderStatus.WORKING)


@pytest.mark.parametrize(
    ("outcome", "status", "reason"),
    [
        (
            Rejected(http_status=403, code=40310000, message="insufficient buying power"),
            OrderStatus.REFUSED,
            "403 40310000: insufficient buying power",
        ),
        (Denied(reason="fenced"), OrderStatus.REFUSED, "fenced"),
        (Unresolved(reason="timeout"), OrderStatus.UNRESOLVED, "timeout"),
    ],
)
def test_record_outcome_when_not_accepted_then_status_and_reason(
    store: Store, outcome: Rejected | Denied | Unresolved, status: OrderStatus, reason: str
) -> None:
    store.take_epoch("desk")
    store.record_intent(intent(), decision())
    store.record_outcome("gl-entry", outcome, minute(1))
    record = store.order("gl-entry")
    assert record is not None
    assert (record.status, record.reason, record.updated_at) == (status, reason, minute(1))
    assert len(store.open_orders()) == (status is OrderStatus.UNRESOLVED)


def test_record_outcome_when_unresolved_is_found_later_then_working(store: Store) -> None:
    store.take_epoch("desk")
    store.record_intent(intent(), decision())
    store.record_outcome("gl-entry", Unresolved(reason="timeout"), minute(1))
    store.record_outcome("gl-entry", Accepted(order=broker_order()), minute(2))
    record = store.order("gl-entry")
    assert record is not None
    assert (record.status, record.order_id) == (OrderStatus.WORKING, "o-entry")


@pytest.mark.parametrize("status", [OrderStatus.FILLED, OrderStatus.CANCELED])
def test_record_order_status_when_it_ends_ahead_of_its_fills_then_open_until_they_are_booked(
    store: Store, status: OrderStatus
) -> None:
    send_entry(store)
    store.book_fill(fill(qty=4), FREE)
    filled = 10 if status is OrderStatus.FILLED else 6
    store.record_order_status("o-entry", status, filled, minute(1))
    (record,) = store.open_orders()
    assert (record.status, record.filled_qty) == (OrderStatus.PARTIALLY_FILLED, 4)
    store.book_fill(fill(qty=filled - 4, cum_qty=filled), FREE)
    store.record_order_status("o-entry", status, filled, minute(1))
    found = store.order("gl-entry")
    assert found is not None
    assert (found.status, found.filled_qty) == (status, filled)


def test_record_outcome_when_found_filled_before_its_fill_is_booked_then_still_open(
    store: Store,
) -> None:
    store.take_epoch("desk")
    store.record_intent(intent(), decision())
    order = replace(broker_order(), status=OrderStatus.FILLED, filled_qty=10)
    store.record_outcome("gl-entry", Accepted(order=order), minute(1))
    assert [r.status for r in store.open_orders()] == [OrderStatus.WORKING]
    store.book_fill(fill(qty=10), FREE)
    assert store.open_orders() == []


def test_record_outcome_when_answer_is_older_than_a_fill_then_not_back(store: Store) -> None:
    send_entry(store)
    store.book_fill(fill(qty=4), FREE)
    store.record_outcome("gl-entry", Accepted(order=broker_order()), minute(1))
    record = store.order("gl-entry")
    assert record is not None
    assert (record.status, record.filled_qty) == (OrderStatus.PARTIALLY_FILLED, 4)


def test_record_outcome_when_no_intent_then_raises(store: Store) -> None:
    with pytest.raises(LookupError):
        store.record_outcome("gl-nobody", Denied(reason="x"), T0)


def test_record_outcome_when_oco_accepted_then_each_leg_has_a_row(store: Store) -> None:
    open_position(store)
    by_id = {r.order_id: r for r in store.open_orders("AAPL")}
    assert set(by_id) == {"o-target", "o-stop"}
    leg = by_id["o-stop"].intent
    assert (leg.role, leg.kind, leg.stop_price) == (Role.PROTECT, OrderKind.STOP, Decimal("95.00"))
    assert (leg.side, leg.qty, leg.decision_id) == (Side.SELL, 10, "d-entry")


def test_record_outcome_when_leg_is_reported_again_then_it_moves_on(store: Store) -> None:
    open_position(store)
    leg = broker_order(
        "leg-1",
        "o-stop",
        side=Side.SELL,
        status=OrderStatus.CANCELED,
        limit_price=None,
        stop_price="95.00",
    )
    parent = broker_order("gl-protect", "o-target", side=Side.SELL, legs=(leg,))
    store.record_outcome("gl-protect", Accepted(order=parent), minute(3))
    assert [r.order_id for r in store.open_orders()] == ["o-target"]


def test_record_order_status_when_terminal_then_never_back(store: Store) -> None:
    send_entry(store)
    store.record_order_status("o-entry", OrderStatus.CANCELED, 0, minute(1))
    store.record_order_status("o-entry", OrderStatus.WORKING, 0, minute(2))
    record = store.order("gl-entry")
    assert record is not None
    assert record.status is OrderStatus.CANCELED
    assert store.open_orders() == []


def test_record_order_status_when_order_is_unknown_then_nothing(store: Store) -> None:
    store.record_order_status("o-nobody", OrderStatus.FILLED, 1, T0)
    assert store.open_orders() == []


def test_record_order_status_when_filled_qty_is_older_then_it_stays(store: Store) -> None:
    send_entry(store)
    store.record_order_status("o-entry", OrderStatus.PARTIALLY_FILLED, 7, minute(1))
    store.record_order_status("o-entry", OrderStatus.PARTIALLY_FILLED, 4, minute(2))
    record = store.order("gl-entry")
    assert record is not None
    assert record.filled_qty == 7


def test_record_order_status_when_cancel_was_refused_then_still_partially_filled(
    store: Store,
) -> None:
    send_entry(store)
    store.record_order_status("o-entry", OrderStatus.CANCEL_PENDING, 4, minute(1))
    store.record_order_status("o-entry", OrderStatus.WORKING, 4, minute(2))
    record = store.order("gl-entry")
    assert record is not None
    assert record.status is OrderStatus.PARTIALLY_FILLED


def test_record_order_status_when_status_is_unreadable_then_left_as_it_was(store: Store) -> None:
    send_entry(store)
    store.record_order_status("o-entry", OrderStatus.UNRESOLVED, 0, minute(1))
    record = store.order("gl-entry")
    assert record is not None
    assert record.status is OrderStatus.WORKING


def test_record_order_status_when_pair_is_impossible_then_raises(store: Store) -> None:
    send_entry(store)
    store.book_fill(fill(qty=4), FREE)
    with pytest.raises(InvalidTransition):
        store.record_order_status("o-entry", OrderStatus.REFUSED, 4, minute(1))


def test_open_orders_when_several_then_oldest_first_and_by_symbol(store: Store) -> None:
    store.take_epoch("desk")
    store.record_intent(intent("late", at=minute(5)), decision())
    store.record_intent(intent("early", at=minute(1)), None)
    store.record_intent(intent("other", symbol="IBM", at=minute(2)), None)
    assert [r.intent.client_order_id for r in store.open_orders()] == ["early", "other", "late"]
    assert [r.intent.client_order_id for r in store.open_orders("IBM")] == ["other"]
    assert store.order("nobody") is None


# -- fills, positions, trades


def test_book_fill_when_entry_fills_then_position_with_its_plan(store: Store) -> None:
    send_entry(store)
    booking = store.book_fill(fill(), Decimal("0.01"))
    position = booking.position
    assert position is not None
    assert position == store.position("AAPL")
    assert (booking.is_duplicate, booking.trade) == (False, None)
    assert (position.position_id, position.strategy, position.qty) == ("d-entry", "A", 10)
    assert (position.cost_usd, position.realized_usd) == (Decimal(1000), 0)
    assert (position.stop_price, position.target_price) == (Decimal(95), Decimal(110))
    assert position.exit_by == datetime(2013, 10, 10, 20, tzinfo=UTC)
    record = store.order("gl-entry")
    assert record is not None
    assert (record.status, record.filled_qty) == (OrderStatus.FILLED, 10)
    assert store.open_positions() == [position]


def test_book_fill_when_partial_then_order_and_position_grow_together(store: Store) -> None:
    send_entry(store)
    store.book_fill(fill(qty=4, price="100.00"), FREE)
    record = store.order("gl-entry")
    assert record is not None
    assert (record.status, record.filled_qty) == (OrderStatus.PARTIALLY_FILLED, 4)
    store.book_fill(fill(qty=6, cum_qty=10, price="101.00"), FREE)
    position = store.position("AAPL")
    assert position is not None
    assert (position.qty, position.cost_usd) == (10, Decimal(1006))


def test_book_fill_when_repeated_then_duplicate_and_nothing_changes(store: Store) -> None:
    send_entry(store)
    store.book_fill(fill(), Decimal("0.01"))
    before = store.position("AAPL")
    again = store.book_fill(replace(fill(), execution_id="over REST"), Decimal("0.01"))
    assert (again.is_duplicate, again.position, again.trade) == (True, None, None)
    assert store.position("AAPL") == before
    assert [f.execution_id for f in store.fills()] == ["x-o-entry-10"]


@pytest.mark.parametrize(
    ("order_id", "price", "reason"), [("o-target", "110.00", "target"), ("o-stop", "94.90", "stop")]
)
def test_book_fill_when_protection_fills_then_trade_with_reason(
    store: Store, order_id: str, price: str, reason: str
) -> None:
    open_position(store)
    sell = fill(order_id, side=Side.SELL, price=price, at=minute(9))
    booking = store.book_fill(sell, Decimal("0.02"))
    trade = booking.trade
    assert trade is not None
    assert trade.exit_reason == reason
    assert trade.pnl_usd == (Decimal(price) - 100) * 10
    assert trade.fees_usd == Decimal("0.03")
    assert (trade.opened_at, trade.closed_at) == (T0, minute(9))
    assert (trade.entry_price, trade.exit_price) == (Decimal(100), Decimal(price))
    assert store.trades() == [trade]
    assert store.position("AAPL") is None
    assert store.open_positions() == []
    closed = store.closed_positions(minute(9))
    assert [(p.position_id, p.qty, p.closed_at) for p in closed] == [("d-entry", 0, minute(9))]
    assert store.closed_positions(minute(10)) == []


def test_book_fill_when_sold_in_parts_then_one_trade_of_all(store: Store) -> None:
    open_position(store)
    first = store.book_fill(
        fill("o-target", side=Side.SELL, qty=4, price="110", at=minute(5)), FREE
    )
    assert first.trade is None
    assert first.position is not None
    assert (first.position.qty, first.position.realized_usd) == (6, Decimal(40))
    last = store.book_fill(
        fill("o-stop", side=Side.SELL, qty=6, price="95", at=minute(6)), Decimal("0.05")
    )
    assert last.trade is not None
    assert last.trade.pnl_usd == Decimal(4 * 10 - 6 * 5)
    assert last.trade.exit_price == Decimal(101)
    assert (last.trade.qty, last.trade.exit_reason) == (10, "stop")
    assert last.trade.fees_usd == Decimal("0.06")


def test_book_fill_when_exit_order_fills_then_its_decision_says_why(store: Store) -> None:
    open_position(store)
    left = decision("d-exit", kind=DecisionKind.EXIT, at=minute(8), figures={"exit_reason": "time"})
    leave = intent("gl-exit", decision_id="d-exit", role=Role.EXIT, at=minute(8))
    store.record_intent(leave, left)
    order = broker_order("gl-exit", "o-exit", side=Side.SELL)
    store.record_outcome("gl-exit", Accepted(order=order), minute(8))
    booking = store.book_fill(fill("o-exit", side=Side.SELL, price="99"), FREE)
    assert booking.trade is not None
    assert booking.trade.exit_reason == "time"


def test_book_fill_when_our_order_has_no_broker_id_yet_then_found_by_name(store: Store) -> None:
    store.take_epoch("desk")
    store.record_intent(intent(), decision())
    booking = store.book_fill(fill(client_order_id="gl-entry"), FREE)
    assert booking.position is not None
    assert booking.position.position_id == "d-entry"
    record = store.order("gl-entry")
    assert record is not None
    assert (record.order_id, record.status) == ("o-entry", OrderStatus.FILLED)


def test_book_fill_when_order_is_not_ours_then_adopted(store: Store) -> None:
    booking = store.book_fill(fill("o-theirs", price="200"), FREE)
    position = booking.position
    assert position is not None
    assert (position.strategy, position.position_id) == (ADOPTED, f"{ADOPTED}-o-theirs")
    assert (position.stop_price, position.target_price) == (Decimal(190), Decimal(220))


def test_book_fill_when_somebody_else_sells_then_manual(store: Store) -> None:
    open_position(store)
    booking = store.book_fill(fill("o-theirs", side=Side.SELL, price="101"), FREE)
    assert booking.trade is not None
    assert booking.trade.exit_reason == "manual"


def test_book_fill_when_it_oversells_then_raises_and_nothing_is_written(store: Store) -> None:
    send_entry(store)
    store.book_fill(fill(qty=4), FREE)
    before = store.position("AAPL")
    with pytest.raises(OversoldError):
        store.book_fill(fill("o-x", side=Side.SELL, qty=5), FREE)
    assert store.position("AAPL") == before
    assert len(store.fills()) == 1


def test_book_fill_when_entry_fills_on_after_its_stop_then_a_second_position(store: Store) -> None:
    send_entry(store)
    store.book_fill(fill(qty=4, at=minute(1)), FREE)
    store.book_fill(fill("o-theirs", side=Side.SELL, qty=4, price="95", at=minute(2)), FREE)
    booking = store.book_fill(fill(qty=6, cum_qty=10, price="94", at=minute(3)), FREE)
    assert booking.position is not None
    assert (booking.position.position_id, booking.position.qty) == ("d-entry.2", 6)
    assert [t.position_id for t in store.trades()] == ["d-entry"]
    last = store.book_fill(fill("o-y", side=Side.SELL, qty=6, price="96", at=minute(4)), FREE)
    assert last.trade is not None
    assert (last.trade.qty, last.trade.pnl_usd) == (6, Decimal(12))


def test_adjust_position_when_split_then_quantity_and_prices_once(store: Store) -> None:
    open_position(store)
    held = store.position("AAPL")
    assert held is not None
    split = replace(held, qty=70, stop_price=Decimal("13.58"), target_price=Decimal("15.71"))
    why = decision("d-split", kind=DecisionKind.ADJUST, at=minute(3), figures={"ratio": 7.0})
    assert store.adjust_position(split, why)
    assert store.position("AAPL") == split
    assert not store.adjust_position(replace(split, qty=490), why)
    assert store.position("AAPL") == split
    assert store.decisions()[-1].decision == why


def test_leave_by_when_open_then_the_time_alone_changes_and_once(store: Store) -> None:
    open_position(store)
    before = store.position("AAPL")
    assert before is not None
    why = decision("d-score", kind=DecisionKind.SCORE, at=minute(3), figures={"score": -0.7})
    # What was read may be old; a fill since then stays booked.
    store.book_fill(fill("o-theirs", side=Side.SELL, qty=4, at=minute(2)), FREE)
    assert store.leave_by(before, minute(3), why)
    after = store.position("AAPL")
    assert after is not None
    assert (after.qty, after.exit_by) == (6, minute(3))
    assert not store.leave_by(before, minute(9), why)
    assert store.position("AAPL") == after
    assert store.decisions()[-1].decision == why
    store.book_fill(fill("o-theirs-2", side=Side.SELL, qty=6, at=minute(4)), FREE)
    late = decision("d-late", kind=DecisionKind.SCORE, figures={})
    assert not store.leave_by(before, minute(5), late)
    assert store.decisions()[-1].decision == why


def test_adjust_position_when_it_is_not_open_then_false_and_no_decision(store: Store) -> None:
    open_position(store)
    held = store.position("AAPL")
    assert held is not None
    store.book_fill(fill("o-stop", side=Side.SELL, price="95"), FREE)
    why = decision("d-split", kind=DecisionKind.ADJUST, figures={})
    assert not store.adjust_position(held, why)
    assert len(store.decisions()) == 1


def test_adjust_position_when_renamed_then_later_fills_are_its_own(store: Store) -> None:
    open_position(store)
    position = store.position("AAPL")
    assert position is not None
    renamed = decision("d-rename", kind=DecisionKind.ADJUST, symbol="APPL")
    assert store.adjust_position(replace(position, symbol="APPL"), renamed)
    assert store.position("AAPL") is None
    sold = fill("o-exit", side=Side.SELL, price="101", symbol="APPL", at=minute(5))
    booking = store.book_fill(sold, FREE)
    assert booking.trade is not None
    assert (booking.trade.symbol, booking.trade.pnl_usd) == ("APPL", Decimal(10))
    assert booking.trade.position_id == position.position_id


def test_adjust_position_when_the_new_symbol_is_held_then_raises_and_nothing_changes(
    store: Store,
) -> None:
    open_position(store)
    store.book_fill(fill("o-other", symbol="APPL"), FREE)
    position = store.position("AAPL")
    assert position is not None
    with pytest.raises(ValueError, match="APPL is held already"):
        store.adjust_position(replace(position, symbol="APPL"), decision("d-rename"))
    assert store.position("AAPL") == position
    assert not store.decisions(kind=DecisionKind.ADJUST)


def payment(name: str = "div-1", *, usd: str = "8.20", at: datetime = T0) -> DividendPaid:
    return DividendPaid(
        activity_id=name,
        symbol="AAPL",
        at=at,
        usd=Decimal(usd),
        qty=Decimal(10),
        usd_a_share=Decimal("0.82"),
    )


def test_book_dividend_when_repeated_then_once_with_its_decision_and_in_the_cash(
    store: Store,
) -> None:
    store.start_run(run("r1", cash="100000"))
    open_position(store)
    position = store.position("AAPL")
    assert position is not None
    paid = replace(payment(at=minute(3)), position_id=position.position_id)
    row = dividend_decision("t", paid)
    before = store.cash()
    assert before is not None
    assert [store.book_dividend(paid, row) for _ in range(3)] == [True, False, False]
    assert store.dividends() == [paid]
    assert store.cash() == before + Decimal("8.20")
    (found,) = store.decisions(kind=DecisionKind.ADJUST)
    assert (found.decision.reason, found.decision.figures["usd"]) == ("dividend", "8.20")
    assert store.position("AAPL") == position


def test_cash_when_a_dividend_is_older_than_the_account_then_not_in_it(store: Store) -> None:
    store.start_run(run("r1", cash="100000"))
    old = payment(at=minute(-60 * 24))
    tax = replace(payment("div-2", usd="-1.23", at=minute(1)), qty=None, usd_a_share=None)
    for paid in (tax, old):
        assert store.book_dividend(paid, dividend_decision("t", paid))
    assert store.cash() == Decimal("99998.77")
    assert store.dividends() == [old, tax]
    assert store.dividends(start=minute(0)) == store.dividends(limit=1) == [tax]


def charge(name: str = "fee-1", *, usd: str = "-0.01", at: datetime = T0) -> CashMoved:
    return CashMoved(
        activity_id=name,
        activity_type="FEE",
        at=at,
        usd=Decimal(usd),
        symbol=None,
        description="TAF fee",
        booked_at=at + timedelta(hours=9),
    )


def test_book_cash_when_repeated_then_once_with_its_decision_and_in_the_cash(
    store: Store,
) -> None:
    store.start_run(run("r1", cash="100000"))
    moved = charge(at=minute(3))
    row = cash_decision("t", moved)
    assert [store.book_cash(moved, row) for _ in range(3)] == [True, False, False]
    assert store.cash_movements() == [moved]
    assert store.cash() == Decimal("99999.99")
    (found,) = store.decisions(kind=DecisionKind.ADJUST)
    assert (found.decision.reason, found.decision.figures["usd"]) == ("cash: FEE", "-0.01")


def test_book_cash_when_it_was_not_booked_by_anyone_then_refused(store: Store) -> None:
    moved = replace(charge(), booked_at=None)
    with pytest.raises(ValueError, match="fee-1 does not say when it was booked"):
        store.book_cash(moved, cash_decision("t", moved))
    assert store.cash_movements() == []
    assert not store.decisions(kind=DecisionKind.ADJUST)


def test_cash_when_all_kinds_moved_it_then_their_sum_since_the_accounts_first_run(
    store: Store,
) -> None:
    store.start_run(run("r1", cash="100000"))
    old, late = charge("old", at=minute(-60 * 24)), charge("late", usd="-3", at=minute(9))
    deposit = replace(charge("in", usd="25000.50", at=minute(1)), activity_type="CSD", symbol="X")
    for moved in (late, old, deposit):
        assert store.book_cash(moved, cash_decision("t", moved))
    paid = payment(at=minute(3))
    assert store.book_dividend(paid, dividend_decision("t", paid))
    assert store.cash() == Decimal("125005.70")
    assert store.cash_movements(limit=None) == [old, deposit, late]
    assert store.cash_movements(start=minute(1)) == store.cash_movements(limit=2) == [deposit, late]


def test_fills_when_many_then_oldest_first_window_and_last_ones(store: Store) -> None:
    for number in (3, 1, 2):
        store.book_fill(fill(f"o{number}", qty=1, at=minute(number)), FREE)
    assert [f.order_id for f in store.fills()] == ["o1", "o2", "o3"]
    assert [f.order_id for f in store.fills(start=minute(2))] == ["o2", "o3"]
    assert [f.order_id for f in store.fills(limit=1)] == ["o3"]
    assert store.fills(limit=None)[0] == fill("o1", qty=1, at=minute(1))


def test_trades_when_many_then_by_closing_time_window_and_last_ones(store: Store) -> None:
    for number, symbol in enumerate(["AAPL", "IBM", "GOOG"]):
        bought = fill(f"b-{symbol}", qty=1, symbol=symbol, at=minute(number))
        sold = fill(f"s-{symbol}", side=Side.SELL, qty=1, symbol=symbol, at=minute(20 - number))
        store.book_fill(bought, FREE)
        store.book_fill(sold, FREE)
    assert [t.symbol for t in store.trades()] == ["GOOG", "IBM", "AAPL"]
    assert [t.symbol for t in store.trades(start=minute(19))] == ["IBM", "AAPL"]
    assert [t.symbol for t in store.trades(limit=1)] == ["AAPL"]


def test_cash_when_filled_then_start_less_buys_plus_sells_less_fees(store: Store) -> None:
    store.start_run(run("r1", at=T0, cash="10000"))
    store.book_fill(fill("old", qty=1, price="50", at=minute(-1)), Decimal("0.50"))
    store.book_fill(fill("b", qty=10, price="100.01", at=minute(1)), Decimal("0.10"))
    store.book_fill(fill("s", side=Side.SELL, qty=4, price="101.50", at=minute(2)), Decimal("0.25"))
    expected = Decimal("10000") - Decimal("1000.10") + Decimal("406.00") - Decimal("0.35")
    assert store.cash() == expected
    store.start_run(run("r2", at=minute(3), cash="77"))
    assert store.cash() == expected
    store.start_run(run("r3", at=minute(4), cash="500", account="PA2"))
    assert store.cash() == Decimal(500)


# -- counts


def test_tallies_when_nothing_happened_then_none(store: Store) -> None:
    assert store.tallies() == []


def test_tallies_when_a_position_is_protected_then_every_row_is_counted_once(
    store: Store,
) -> None:
    open_position(store)
    found = [(t.of, t.label, t.detail, t.count) for t in store.tallies()]
    assert found == [
        ("decisions", "entry", "taken", 1),
        ("fills", "buy", "", 1),
        ("orders", "entry", "filled", 1),
        ("orders", "protect", "working", 2),
    ]
