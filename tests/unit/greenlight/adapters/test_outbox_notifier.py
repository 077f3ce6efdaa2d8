"""What an actor tells is in the outbox soon, and the actor has not waited."""

from __future__ import annotations

import time

from greenlight.adapters.outbox_notifier import OutboxNotifier
from greenlight.domain.alerts import Event
from greenlight.testing import FakeStore
from tests.ledger_cases import T0


def await_rows(store: FakeStore, count: int) -> None:
    until = time.monotonic() + 5
    while len(store.alerts()) < count:
        assert time.monotonic() < until
        time.sleep(0.005)


def test_alert_when_told_then_in_the_outbox_with_the_desks_time() -> None:
    store = FakeStore()
    notifier = OutboxNotifier(store=store, now=lambda: T0, sleep=lambda _: None)
    notifier.alert("stream mute")
    notifier.alert("no entries", event=Event.HALT, is_kept=True)
    notifier.alert("3 failures", event=Event.BREAKER)
    await_rows(store, 2)
    assert [(r.alert.event, r.alert.facts["reason"], r.alert.at) for r in store.alerts()] == [
        (Event.TROUBLE, "stream mute", T0),
        (Event.BREAKER, "3 failures", T0),
    ]


def test_alert_when_the_store_is_away_then_kept_until_it_is_back_and_nobody_waits() -> None:
    store = FakeStore()
    store.up = False
    notifier = OutboxNotifier(store=store, now=lambda: T0, sleep=lambda _: time.sleep(0.01))
    began_s = time.monotonic()
    for number in range(300):
        notifier.alert(f"text {number}")
    assert time.monotonic() - began_s < 1
    store.up = True
    await_rows(store, 200)
    # The oldest were dropped, but for one that was being written.
    assert store.alerts(limit=None)[-1].alert.facts["reason"] == "text 299"
    assert len(store.alerts(limit=None)) <= 201
