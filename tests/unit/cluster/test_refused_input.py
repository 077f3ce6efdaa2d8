"""What `greenlight status` says was refused is read from rows, and outlives who wrote them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from actors.refusals import Refusals
from cluster.refused_input import in_words, refused_input
from greenlight.domain.audit import Decision, DecisionKind, Verdict
from greenlight.testing import FakeNotifier, FakeStore


def test_refused_input_when_some_was_then_the_last_session_with_its_counts() -> None:
    store, told = FakeStore(), FakeNotifier()
    refusals = Refusals(store=store, notifier=told, desk="t")
    day = date(2013, 10, 7)
    now = datetime(2013, 10, 7, 20, 5, tzinfo=UTC)
    refusals.add(day - timedelta(days=3), "AAPL", "crossed", now - timedelta(days=3), {})
    refusals.close(now - timedelta(days=3))
    for _ in range(3):
        refusals.add(day, "AAPL", "absurd", now, {"bid": 150.0})
    refusals.close(now)
    refusals.add(day, "IBM", "gap: 2 sessions", now, {})
    refusals.store_new()
    found = refused_input(store, now + timedelta(hours=1))
    assert [(r["symbol"], r["reason"], r["count"], r["is_counted"]) for r in found] == [
        ("AAPL", "absurd", 3, True),
        ("IBM", "gap: 2 sessions", 1, False),
    ]
    assert len(told.alerts) == 3
    assert in_words(found[0]) == "AAPL: absurd (3 times, session 2013-10-07)"
    assert in_words(found[1]) == "IBM: gap: 2 sessions (1 times or more, session 2013-10-07)"


def test_refused_input_when_a_strategy_failed_then_counted_by_its_rows() -> None:
    store, now = FakeStore(), datetime(2013, 10, 7, 15, tzinfo=UTC)
    for number in range(3):
        failed = Decision(
            decision_id=f"d{number}",
            at=now,
            kind=DecisionKind.ENTRY,
            verdict=Verdict.REFUSED,
            symbol="AAPL",
            strategy="mine",
            reason="strategy_error: ZeroDivisionError" if number else "daily_loss",
            figures={},
        )
        store.record_decision(failed)
    (row,) = refused_input(store, now + timedelta(hours=1))
    assert in_words(row) == (
        "mine AAPL: strategy_error: ZeroDivisionError (2 times, session 2013-10-07)"
    )
    assert refused_input(store, now + timedelta(days=5)) == []
