"""What a drill proves, and for how long."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from greenlight.domain.drills import (
    BOUNDS_S,
    Drill,
    DrillKind,
    DrillState,
    standings,
)
from greenlight.domain.market import Unavailable

AT = datetime(2026, 1, 5, 15, tzinfo=UTC)
DRILL = Drill(
    kind=DrillKind.MONITOR,
    at=AT,
    account_kind="paper",
    recovered_s=2.5,
    bound_s=10.0,
    naked_s=0.0,
    detail="position-monitor:AAPL",
)


def state(now: datetime, *drills: Drill) -> DrillState:
    (found,) = [s for s in standings(drills, now) if s.kind is DrillKind.MONITOR]
    return found.state


@pytest.mark.parametrize(
    ("change", "is_passed"),
    [
        ({}, True),
        ({"recovered_s": 10.0, "naked_s": 5.0}, True),
        ({"recovered_s": 10.01}, False),
        ({"naked_s": 5.01}, False),
        ({"recovered_s": Unavailable("never")}, False),
        ({"naked_s": Unavailable("the broker did not tell")}, False),
    ],
)
def test_drill_when_measured_then_passed_only_within_both_bounds(
    change: dict[str, object], is_passed: bool
) -> None:
    assert replace(DRILL, **change).is_passed is is_passed  # type: ignore[arg-type]


def test_standings_when_there_was_none_then_every_kind_is_missing() -> None:
    found = standings([], AT)
    assert [s.kind for s in found] == list(DrillKind)
    assert {s.state for s in found} == {DrillState.MISSING}
    assert set(BOUNDS_S) == set(DrillKind)


def test_standings_when_thirty_days_old_then_still_good_and_stale_after() -> None:
    assert state(AT + timedelta(days=30), DRILL) is DrillState.PASSED
    assert state(AT + timedelta(days=30, seconds=1), DRILL) is DrillState.STALE


def test_standings_when_repeated_then_the_newest_counts_whatever_the_order() -> None:
    later = replace(DRILL, at=AT + timedelta(days=1), recovered_s=99.0)
    now = AT + timedelta(days=2)
    assert state(now, DRILL, later) is state(now, later, DRILL) is DrillState.FAILED
    assert state(now, later, replace(DRILL, at=AT + timedelta(days=1.5))) is DrillState.PASSED


def test_standings_when_the_last_one_failed_long_ago_then_failed_and_not_stale() -> None:
    assert state(AT + timedelta(days=90), replace(DRILL, naked_s=9.0)) is DrillState.FAILED
