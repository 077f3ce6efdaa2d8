"""Three failures in a row, five minutes, one probe: on virtual time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.domain.breaker import (
    FAILURES,
    OPEN_FOR,
    Breaker,
    BreakerState,
    asked,
    failed,
    may_ask,
    recovered,
    succeeded,
)

T0 = datetime(2013, 10, 7, 14, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def opened(at: datetime = T0) -> Breaker:
    breaker = Breaker()
    for _ in range(3):
        breaker = failed(asked(breaker, at), at, "HTTP 503")
    return breaker


def test_failed_when_twice_then_still_closed_and_a_success_starts_the_count_again() -> None:
    breaker = Breaker()
    for _ in range(2):
        breaker = failed(breaker, T0, "hung")
    assert (breaker.state, breaker.failures) == (BreakerState.CLOSED, 2)
    breaker = failed(succeeded(breaker), T0, "hung")
    assert (breaker.state, breaker.failures) == (BreakerState.CLOSED, 1)


def test_failed_when_the_third_time_in_a_row_then_open_for_five_minutes() -> None:
    breaker = opened()
    assert (breaker.state, breaker.since, breaker.openings) == (BreakerState.OPEN, T0, 1)
    assert breaker.last_failure == "HTTP 503"
    assert breaker.probe_at == T0 + timedelta(minutes=5)
    assert not may_ask(breaker, T0 + timedelta(minutes=5) - SECOND)
    assert may_ask(breaker, T0 + timedelta(minutes=5))


def test_asked_when_the_wait_is_over_then_one_probe_and_no_second() -> None:
    later = T0 + OPEN_FOR
    probing = asked(opened(), later)
    assert probing.state is BreakerState.PROBING
    assert not may_ask(probing, later + timedelta(hours=1))
    with pytest.raises(ValueError, match="probing"):
        asked(probing, later)


def test_failed_when_it_is_the_probe_then_open_again_and_no_new_opening() -> None:
    later = T0 + OPEN_FOR + SECOND
    breaker = failed(asked(opened(), later), later, "cold")
    assert (breaker.state, breaker.since, breaker.openings) == (BreakerState.OPEN, later, 1)
    assert not may_ask(breaker, later + OPEN_FOR - SECOND)


def test_succeeded_when_it_is_the_probe_then_closed() -> None:
    later = T0 + OPEN_FOR
    breaker = succeeded(asked(opened(), later))
    assert (breaker.state, breaker.failures, breaker.since) == (BreakerState.CLOSED, 0, None)
    assert breaker.openings == 1


def test_failed_or_succeeded_when_open_then_late_answers_change_nothing() -> None:
    breaker = opened()
    assert failed(breaker, T0 + SECOND, "late") == breaker
    assert succeeded(breaker) == breaker


def test_recovered_when_a_probe_was_out_then_the_next_may_go_at_once() -> None:
    later = T0 + OPEN_FOR
    breaker = recovered(asked(opened(), later))
    assert breaker.state is BreakerState.OPEN
    assert may_ask(breaker, later)
    assert recovered(Breaker()) == Breaker()
    assert recovered(opened()) == opened()


@given(
    st.lists(st.tuples(st.sampled_from(["ok", "bad", "wait"]), st.integers(0, 400)), max_size=80)
)
def test_walk_when_anything_happens_then_never_asked_within_five_minutes_of_an_opening(
    events: list[tuple[str, int]],
) -> None:
    breaker, now, row = Breaker(), T0, 0
    last_failed: datetime | None = None
    for kind, wait_s in events:
        now += timedelta(seconds=wait_s)
        if kind == "wait" or not may_ask(breaker, now):
            continue
        if breaker.state is BreakerState.OPEN:
            assert last_failed is not None
            assert now - last_failed >= OPEN_FOR
        else:
            # While it is closed, fewer than three failures lie behind it in a row.
            assert row < FAILURES
        breaker = asked(breaker, now)
        if kind == "ok":
            breaker, row = succeeded(breaker), 0
            assert breaker.state is BreakerState.CLOSED
        else:
            was_closed = breaker.state is BreakerState.CLOSED
            before = breaker.openings
            breaker, row, last_failed = failed(breaker, now, "x"), row + 1, now
            is_open = breaker.state is BreakerState.OPEN
            assert is_open == (row >= FAILURES)
            assert breaker.openings - before == int(is_open and was_closed)
