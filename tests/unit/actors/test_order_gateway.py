"""Intent before effect, one order a decision, and no guess about a lost answer."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from actors.order_gateway import LOOKUP_WAITS_S, OrderGateway
from greenlight.domain.audit import Decision, DecisionKind, Verdict
from greenlight.domain.orders import (
    Accepted,
    BrokerOrder,
    Denied,
    OrderIntent,
    OrderKind,
    OrderStatus,
    Outcome,
    Rejected,
    Role,
    Side,
    TimeInForce,
    Unresolved,
)
from greenlight.ports import FencedError, StoreUnavailable
from tests.actor_cases import DESK, EXIT_BY, T0, Surroundings, later

NAME = "gl-t-d1-entry-1"
LOST = Unresolved(reason="ReadTimeout")


@pytest.fixture
def around() -> Surroundings:
    return Surroundings()


def gateway(around: Surroundings, holder: str = "risk-gate") -> OrderGateway:
    return OrderGateway(
        store=around.store, broker=around.broker, desk=DESK, holder=holder, sleep=around.sleep
    )


def decision() -> Decision:
    return Decision(
        decision_id="d1",
        at=T0,
        kind=DecisionKind.ENTRY,
        verdict=Verdict.TAKEN,
        symbol="AAPL",
        strategy="A",
        reason="",
        figures={"stop_price": "95", "target_price": "105", "exit_by": EXIT_BY.isoformat()},
    )


def send(gate: OrderGateway, **changes: Any) -> Outcome:
    fields: dict[str, Any] = {
        "decision": decision(),
        "decision_id": "d1",
        "role": Role.ENTRY,
        "attempt": 1,
        "symbol": "AAPL",
        "side": Side.BUY,
        "kind": OrderKind.LIMIT,
        "qty": 10,
        "limit_price": Decimal("100.10"),
        "stop_price": None,
        "time_in_force": TimeInForce.DAY,
        "at": T0,
    }
    return gate.send(**{**fields, **changes})


def orders_at(around: Surroundings) -> list[str]:
    return [order.client_order_id for order in around.broker.open_orders()]


def test_send_when_broker_is_called_then_intent_and_decision_are_stored_already(
    around: Surroundings,
) -> None:
    seen: list[tuple[OrderStatus, int]] = []

    def look(intent: OrderIntent) -> None:
        record = around.store.order(intent.client_order_id)
        assert record is not None
        seen.append((record.status, len(around.decisions())))

    around.broker.on_submit = look
    outcome = send(gateway(around))
    assert seen == [(OrderStatus.INTENDED, 1)]
    assert isinstance(outcome, Accepted)
    record = around.store.order(NAME)
    assert record is not None
    assert (record.status, record.order_id) == (OrderStatus.WORKING, outcome.order.order_id)


def test_send_when_store_is_away_then_nothing_is_sent(around: Surroundings) -> None:
    gate = gateway(around)
    around.store.up = False
    with pytest.raises(StoreUnavailable):
        send(gate)
    assert around.broker.submitted == []


def test_send_when_answer_is_lost_but_order_exists_then_adopted_without_second_send(
    around: Surroundings,
) -> None:
    around.broker.answer_next(LOST, committed=True)
    outcome = send(gateway(around))
    assert isinstance(outcome, Accepted)
    assert len(around.broker.submitted) == 1
    assert orders_at(around) == [NAME]
    record = around.store.order(NAME)
    assert record is not None
    assert (record.status, record.order_id) == (OrderStatus.WORKING, outcome.order.order_id)


def test_send_when_order_becomes_visible_late_then_looked_up_until_found(
    around: Surroundings,
) -> None:
    around.broker.answer_next(LOST, committed=True)
    around.broker.hide_lookups(3)
    outcome = send(gateway(around))
    assert isinstance(outcome, Accepted)
    assert len(around.broker.submitted) == 1
    assert around.slept == list(LOOKUP_WAITS_S[:3])


def test_send_when_order_never_arrived_then_sent_again_under_the_same_name(
    around: Surroundings,
) -> None:
    around.broker.answer_next(LOST)
    outcome = send(gateway(around))
    assert isinstance(outcome, Accepted)
    assert [intent.client_order_id for intent in around.broker.submitted] == [NAME, NAME]
    assert orders_at(around) == [NAME]


def test_send_when_order_shows_after_it_was_sent_again_then_still_one_order(
    around: Surroundings,
) -> None:
    around.broker.answer_next(LOST, committed=True)
    around.broker.hide_lookups(1 + len(LOOKUP_WAITS_S))
    outcome = send(gateway(around))
    assert isinstance(outcome, Accepted)
    assert len(around.broker.submitted) == 2
    assert orders_at(around) == [NAME]


def test_send_when_broker_stays_silent_then_unresolved_and_recorded_so(
    around: Surroundings,
) -> None:
    gate = gateway(around)
    around.broker.up = False
    outcome = send(gate)
    assert isinstance(outcome, Unresolved)
    assert {intent.client_order_id for intent in around.broker.submitted} == {NAME}
    assert len(around.broker.submitted) == 3
    record = around.store.order(NAME)
    assert record is not None
    assert record.status is OrderStatus.UNRESOLVED


def test_send_when_refused_then_recorded_with_its_reason_and_not_repeated(
    around: Surroundings,
) -> None:
    refusal = Rejected(http_status=403, code=40310000, message="insufficient buying power")
    around.broker.answer_next(refusal)
    gate = gateway(around)
    assert send(gate) == refusal
    record = around.store.order(NAME)
    assert record is not None
    assert record.status is OrderStatus.REFUSED
    assert "insufficient buying power" in str(record.reason)
    again = send(gate)
    assert isinstance(again, Rejected)
    assert len(around.broker.submitted) == 1


def test_send_when_the_same_decision_comes_twice_then_one_order(around: Surroundings) -> None:
    gate = gateway(around)
    first, second = send(gate), send(gate, at=later(60))
    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert first.order.order_id == second.order.order_id
    assert len(around.broker.submitted) == 1
    assert len(around.decisions()) == 1


def test_send_when_the_sender_died_before_the_post_then_successor_sends_it_once(
    around: Surroundings,
) -> None:
    def die(_: OrderIntent) -> None:
        raise KeyboardInterrupt

    around.broker.on_submit = die
    with pytest.raises(KeyboardInterrupt):
        send(gateway(around))
    around.broker.on_submit = lambda _: None
    successor = gateway(around)
    successor.settle_all(around.store.open_orders(), later(5))
    assert orders_at(around) == [NAME]
    successor.settle_all(around.store.open_orders(), later(6))
    assert orders_at(around) == [NAME]


def test_send_when_another_took_over_then_denied_and_nothing_sent_or_written(
    around: Surroundings,
) -> None:
    old = gateway(around)
    new = gateway(around)
    assert new.epoch == old.epoch + 1
    assert isinstance(send(old), Denied)
    assert around.broker.submitted == []
    assert around.decisions() == []
    assert isinstance(send(new), Accepted)


def test_send_when_another_holder_takes_an_epoch_then_not_fenced(around: Surroundings) -> None:
    gate = gateway(around)
    gateway(around, holder="position-monitor:AAPL")
    assert isinstance(send(gate), Accepted)


def test_settle_all_when_orders_are_at_the_broker_then_left_alone(around: Surroundings) -> None:
    gate = gateway(around)
    send(gate)
    gate.settle_all(around.store.open_orders(), later(1))
    assert len(around.broker.submitted) == 1


def test_cancel_when_broker_confirms_then_finished_order_and_status_stored(
    around: Surroundings,
) -> None:
    gate = gateway(around)
    accepted = send(gate)
    assert isinstance(accepted, Accepted)
    done = gate.cancel(accepted.order.order_id, later(1))
    assert done is not None
    assert done.status is OrderStatus.CANCELED
    record = around.store.order(NAME)
    assert record is not None
    assert record.status is OrderStatus.CANCELED


def test_cancel_when_fill_is_faster_then_filled_order(around: Surroundings) -> None:
    gate = gateway(around)
    accepted = send(gate)
    assert isinstance(accepted, Accepted)

    def fill(order: BrokerOrder) -> None:
        around.broker.fill(order.order_id, 10, "100.00")

    around.broker.on_cancel = fill
    done = gate.cancel(accepted.order.order_id, later(1))
    assert done is not None
    assert (done.status, done.filled_qty) == (OrderStatus.FILLED, 10)


def test_cancel_when_broker_does_not_confirm_then_none_and_order_stays_open(
    around: Surroundings,
) -> None:
    gate = gateway(around)
    accepted = send(gate)
    assert isinstance(accepted, Accepted)
    around.broker.is_cancel_slow = True
    assert gate.cancel(accepted.order.order_id, later(1)) is None
    assert sum(around.slept) < 5
    assert [record.intent.client_order_id for record in around.store.open_orders()] == [NAME]


def test_cancel_when_another_took_over_then_nothing_is_cancelled(around: Surroundings) -> None:
    old = gateway(around)
    accepted = send(old)
    assert isinstance(accepted, Accepted)
    gateway(around)
    assert old.cancel(accepted.order.order_id, later(1)) is None
    assert around.broker.cancels == []


def test_settle_when_another_took_over_meanwhile_then_not_sent_again(around: Surroundings) -> None:
    old = gateway(around)
    around.broker.answer_next(Unresolved(reason="time-out"))
    around.broker.on_submit = lambda _: gateway(around) and None
    assert isinstance(send(old), Denied)
    assert len(around.broker.submitted) == 1


def test_settle_when_the_sender_died_then_sent_again_under_the_new_epoch(
    around: Surroundings,
) -> None:
    old = gateway(around)
    around.broker.answer_next(Unresolved(reason="time-out"))
    around.broker.up = False
    send(old)
    around.broker.up = True
    new = gateway(around)
    new.settle_all(around.store.open_orders(), later(60))
    assert around.broker.submitted[-1].epoch == new.epoch


def test_gateway_when_a_second_desk_starts_then_the_first_is_denied_and_cannot_come_back(
    around: Surroundings,
) -> None:
    def of(desk_epoch: int) -> OrderGateway:
        return OrderGateway(
            store=around.store,
            broker=around.broker,
            desk=DESK,
            holder="risk-gate",
            sleep=around.sleep,
            desk_epoch=desk_epoch,
        )

    first = around.store.take_desk()
    old = of(first)
    second = around.store.take_desk()
    assert not old.is_fenced
    assert isinstance(send(old), Denied)
    assert old.is_fenced
    with pytest.raises(FencedError):
        of(first)
    assert isinstance(send(of(second)), Accepted)
    assert len(around.broker.submitted) == 1


def test_send_when_a_replaces_answer_is_lost_and_its_repeat_refused_then_adopted(
    around: Surroundings,
) -> None:
    gate = gateway(around)
    first = send(gate)
    assert isinstance(first, Accepted)
    around.broker.answer_next(LOST, committed=True)
    # Not to be seen until after the repeat, which the broker refuses.
    around.broker.hide_lookups(len(LOOKUP_WAITS_S) + 1)
    around.broker.answer_next(
        Rejected(http_status=422, code=42210000, message="order already replaced")
    )
    outcome = send(
        gate,
        decision=None,
        attempt=2,
        limit_price=Decimal("100.20"),
        replaces=first.order.order_id,
    )
    assert isinstance(outcome, Accepted)
    record = around.store.order("gl-t-d1-entry-2")
    assert record is not None
    assert (record.status, record.order_id) == (OrderStatus.WORKING, outcome.order.order_id)
    assert orders_at(around) == ["gl-t-d1-entry-2"]
