"""What every store promises of the outbox."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from greenlight.domain.alerts import Alert, Event, Status, told
from greenlight.domain.audit import Decision, DecisionKind, Verdict
from greenlight.domain.orders import OrderKind, OrderStatus, Rejected, Role, Side, Unresolved
from greenlight.domain.positions import OversoldError
from greenlight.ports import Store
from tests.ledger_cases import (
    T0,
    decision,
    fill,
    intent,
    minute,
    open_position,
    send_entry,
    send_protection,
)

BREAKER = Alert(
    key="breaker:1", at=T0, event=Event.BREAKER, facts={"reason": "3 failures", "open_s": 300.0}
)


def events(store: Store) -> list[Event]:
    return [row.alert.event for row in store.alerts()]


def test_put_alert_when_repeated_then_there_once_as_it_was(store: Store) -> None:
    assert store.put_alert(BREAKER)
    assert not store.put_alert(replace(BREAKER, facts={"reason": "other"}))
    (row,) = store.alerts()
    assert row.alert == BREAKER
    assert (row.status, row.doubts, row.changed_at, row.acked_at) == (Status.WAITING, 0, None, None)


def test_book_fill_when_it_opens_a_position_then_told_once_with_its_plan(store: Store) -> None:
    send_entry(store)
    store.book_fill(fill(qty=4), Decimal(0))
    store.book_fill(fill(qty=4), Decimal(0))
    store.book_fill(fill(qty=6, cum_qty=10, at=minute(1)), Decimal(0))
    (row,) = store.alerts()
    assert row.alert == Alert(
        key="position_opened:d-entry",
        at=T0,
        event=Event.POSITION_OPENED,
        symbol="AAPL",
        position_id="d-entry",
        facts={
            "qty": 4,
            "ordered_qty": 10,
            "price": "100.00",
            "stop_price": "95.0",
            "target_price": "110.00",
            "exit_by": "2013-10-10T20:00:00.000000+00:00",
            "strategy": "A",
        },
    )


def test_book_fill_when_the_stop_closes_it_then_told_with_its_net_gain(store: Store) -> None:
    open_position(store)
    stop = fill("o-stop", side=Side.SELL, price="95.00", at=minute(9))
    booking = store.book_fill(stop, Decimal(0))
    assert booking.trade is not None
    assert events(store) == [Event.POSITION_OPENED, Event.STOP_HIT]
    alert = store.alerts()[-1].alert
    assert (alert.key, alert.position_id, alert.at) == ("stop_hit:d-entry", "d-entry", minute(9))
    assert Decimal(str(alert.facts["net_usd"])) == booking.trade.net_usd
    assert alert.facts["exit_reason"] == "stop"


def test_book_fill_when_the_target_closes_it_then_told_as_target(store: Store) -> None:
    open_position(store)
    store.book_fill(fill("o-target", side=Side.SELL, price="110.00", at=minute(9)), Decimal(0))
    assert events(store)[-1] is Event.TARGET_HIT


def test_book_fill_when_it_is_refused_then_nothing_is_told(store: Store) -> None:
    open_position(store)
    with pytest.raises(OversoldError):
        store.book_fill(fill("o-stop", side=Side.SELL, qty=11), Decimal(0))
    assert events(store) == [Event.POSITION_OPENED]


def test_halt_when_repeated_then_told_once_and_its_end_too(store: Store) -> None:
    for _ in range(2):
        store.halt(at=T0, until=minute(60), reason="daily_loss: 512.00 USD lost today")
    store.resume(at=minute(5), reason="seen")
    store.resume(at=minute(6), reason="seen")
    assert events(store) == [Event.HALT, Event.RESUMED]
    halt = store.alerts()[0].alert
    assert halt.is_critical
    assert halt.facts == {
        "reason": "daily_loss: 512.00 USD lost today",
        "until": "2013-10-07T15:30:00.000000+00:00",
    }


def test_record_outcome_when_a_stop_is_refused_then_the_position_is_naked(store: Store) -> None:
    send_entry(store)
    store.book_fill(fill(), Decimal(0))
    store.record_intent(intent("gl-p", role=Role.PROTECT, kind=OrderKind.OCO), None)
    store.record_outcome("gl-p", Unresolved(reason="timed out"), minute(1))
    assert events(store) == [Event.POSITION_OPENED]
    refusal = Rejected(http_status=422, code=1, message="stop price must be below the market")
    store.record_outcome("gl-p", refusal, minute(1))
    alert = store.alerts()[-1].alert
    assert alert.event is Event.NAKED_POSITION
    assert alert.facts == {"qty": 10, "reason": "stop price must be below the market"}


def test_record_outcome_when_a_change_of_a_stop_is_refused_then_not_told(store: Store) -> None:
    open_position(store)
    change = intent("gl-change", role=Role.PROTECT, kind=OrderKind.STOP)
    store.record_intent(replace(change, replaces="o-stop"), None)
    refusal = Rejected(http_status=422, code=1, message="cannot replace order in accepted status")
    store.record_outcome("gl-change", refusal, minute(2))
    assert events(store) == [Event.POSITION_OPENED]


def refused(kind: DecisionKind, **figures: str | int | None) -> Decision:
    return replace(
        decision(f"d-{kind}", kind=kind, figures=figures), verdict=Verdict.REFUSED, reason="why"
    )


@pytest.mark.parametrize(
    ("row", "event"),
    [
        (refused(DecisionKind.RECONCILE, what="qty", ours="10", theirs="9"), Event.DRIFT),
        (refused(DecisionKind.DATA, bid=None), Event.INPUT_REFUSED),
        (refused(DecisionKind.ADJUST), Event.TROUBLE),
        (refused(DecisionKind.RECONCILE, differences=None), None),
        (refused(DecisionKind.DATA, count=2), None),
        (refused(DecisionKind.ENTRY), None),
        (decision("d-exit", kind=DecisionKind.EXIT), None),
    ],
)
def test_record_decision_when_a_person_must_know_then_told(
    store: Store, row: Decision, event: Event | None
) -> None:
    assert store.record_decision(row)
    assert not store.record_decision(row)
    assert events(store) == ([] if event is None else [event])


def test_mark_alert_when_it_goes_its_way_then_open_until_its_end(store: Store) -> None:
    store.put_alert(BREAKER)
    store.put_alert(told(Event.TROUBLE, "second", minute(1)))
    first, second = store.open_alerts()
    store.mark_alert(first.seq, Status.SENDING, doubts=0, at=minute(1))
    store.mark_alert(first.seq, Status.DOUBTFUL, doubts=1, at=minute(2), note="cut off")
    (row, _) = store.open_alerts()
    assert (row.status, row.doubts, row.changed_at, row.note) == (
        Status.DOUBTFUL,
        1,
        minute(2),
        "cut off",
    )
    store.mark_alert(first.seq, Status.SENDING, doubts=1, at=minute(3))
    store.mark_alert(first.seq, Status.SENT, doubts=1, at=minute(3))
    assert [row.seq for row in store.open_alerts()] == [second.seq]
    assert store.open_alerts(limit=0) == []
    assert [row.status for row in store.alerts()] == [Status.SENT, Status.WAITING]


def test_mark_alert_when_the_step_is_not_allowed_then_raised_and_unchanged(store: Store) -> None:
    store.put_alert(BREAKER)
    (row,) = store.open_alerts()
    with pytest.raises(ValueError, match="waiting cannot become sent"):
        store.mark_alert(row.seq, Status.SENT, doubts=0, at=T0)
    with pytest.raises(LookupError):
        store.mark_alert(row.seq + 1, Status.SENDING, doubts=0, at=T0)
    assert store.open_alerts() == [row]


def test_acknowledge_when_criticals_were_told_then_those_alone(store: Store) -> None:
    store.halt(at=T0, until=None, reason="manual: look")
    store.halt(at=minute(1), until=None, reason="manual: not told yet")
    store.put_alert(BREAKER)
    for row in (store.open_alerts()[0], store.open_alerts()[2]):
        store.mark_alert(row.seq, Status.SENDING, doubts=0, at=minute(2))
        store.mark_alert(row.seq, Status.SENT, doubts=0, at=minute(2))
    assert [row.alert.at for row in store.unacknowledged_alerts()] == [T0]
    assert store.acknowledge_alerts(minute(3)) == 1
    assert store.acknowledge_alerts(minute(4)) == 0
    assert store.unacknowledged_alerts() == []
    assert [row.acked_at for row in store.alerts()] == [minute(3), None, None]


def test_alerts_when_bounded_then_the_last_from_an_instant(store: Store) -> None:
    for number in range(3):
        store.put_alert(told(Event.TROUBLE, f"text {number}", minute(number)))
    said: Callable[..., list[object]] = lambda **bounds: [  # noqa: E731
        row.alert.facts["reason"] for row in store.alerts(**bounds)
    ]
    assert said(limit=2) == ["text 1", "text 2"]
    assert said(start=minute(2)) == ["text 2"]
    assert said(limit=None) == ["text 0", "text 1", "text 2"]


def test_send_protection_when_accepted_then_nobody_is_told(store: Store) -> None:
    send_entry(store)
    store.book_fill(fill(), Decimal(0))
    send_protection(store)
    store.record_order_status("o-stop", OrderStatus.CANCELED, 0, minute(2))
    assert events(store) == [Event.POSITION_OPENED]
