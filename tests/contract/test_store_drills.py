"""What every store promises of drills."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from greenlight.domain.drills import Drill, DrillKind
from greenlight.domain.market import Unavailable
from greenlight.ports import Store
from tests.ledger_cases import T0

DRILL = Drill(
    kind=DrillKind.MONITOR,
    at=T0,
    account_kind="paper",
    recovered_s=2.125,
    bound_s=10.0,
    naked_s=0.0,
    detail="position-monitor:AAPL",
)
LOST = replace(
    DRILL,
    at=T0 + timedelta(hours=1),
    recovered_s=Unavailable("not within 40 s"),
    naked_s=Unavailable("the broker did not tell"),
)
CACHE = replace(DRILL, kind=DrillKind.CACHE, detail="redis")


def test_drills_when_recorded_then_read_back_as_they_were_oldest_first(store: Store) -> None:
    for drill in (LOST, DRILL, CACHE):
        assert store.record_drill(drill)
    assert store.drills() == [CACHE, DRILL, LOST]
    assert store.drills(limit=1) == [LOST]
    assert store.drills(start=T0 + timedelta(seconds=1)) == [LOST]
    assert store.drills(limit=None) == store.drills()


def test_record_drill_when_repeated_then_left_as_it_was(store: Store) -> None:
    assert store.record_drill(DRILL)
    assert not store.record_drill(replace(DRILL, recovered_s=9.0, detail="another"))
    assert store.drills() == [DRILL]


def test_drills_when_there_are_none_then_none(store: Store) -> None:
    assert store.drills() == []
