"""Refused input is counted in the store, so that a successor counts on."""

from __future__ import annotations

from datetime import UTC, date, datetime

from actors.refusals import Refusals
from greenlight.domain.audit import DecisionKind, Figure
from greenlight.testing import FakeNotifier, FakeStore

DAY = date(2013, 10, 7)
NOW = datetime(2013, 10, 7, 15, tzinfo=UTC)


def refuse(refusals: Refusals, times: int, reason: str = "absurd") -> None:
    for _ in range(times):
        refusals.add(DAY, "AAPL", reason, NOW, {})
        refusals.store_new()


def counts(store: FakeStore) -> list[tuple[Figure, Figure]]:
    rows = store.decisions(kind=DecisionKind.DATA, limit=None)
    figures = [row.decision.figures for row in rows if "count" in row.decision.figures]
    return [(f["count"], f["is_final"]) for f in figures]


def test_add_when_it_goes_on_then_the_count_is_stored_whenever_it_has_doubled() -> None:
    store, told = FakeStore(), FakeNotifier()
    refusals = Refusals(store=store, notifier=told, desk="t")
    refuse(refusals, 20)
    assert counts(store) == [(4, False), (8, False), (16, False)]
    refusals.close(NOW)
    assert counts(store)[-1] == (20, True)
    assert len(told.alerts) == 1


def test_add_when_the_actor_restarted_then_a_successor_counts_on_and_tells_nothing() -> None:
    store, told = FakeStore(), FakeNotifier()
    refuse(Refusals(store=store, notifier=told, desk="t"), 9)
    successor = Refusals(store=store, notifier=told, desk="t")
    refuse(successor, 5, "absurd: another detail")
    successor.close(NOW)
    # Of the nine, eight were stored when it died.
    assert counts(store)[-1] == (13, True)
    assert len(told.alerts) == 1


def test_add_when_another_reason_or_day_was_stored_then_counted_from_one() -> None:
    store = FakeStore()
    refuse(Refusals(store=store, notifier=FakeNotifier(), desk="t"), 9)
    successor = Refusals(store=store, notifier=FakeNotifier(), desk="t")
    refuse(successor, 2, "crossed")
    successor.add(date(2013, 10, 8), "AAPL", "absurd", NOW, {})
    successor.close(NOW)
    assert counts(store)[-2:] == [(2, True), (1, True)]
