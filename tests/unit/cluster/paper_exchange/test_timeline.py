from __future__ import annotations

from datetime import date

import pytest

from cluster.paper_exchange.orders import rfc3339
from cluster.paper_exchange.timeline import Timeline
from greenlight.domain.market import sessions_between


def test_step_when_half_day_and_full_day_then_times_by_the_calendar() -> None:
    # 2013-11-29 closed at 13:00 New York (210 minutes); 2013-12-02 was a full day.
    timeline = Timeline(sessions_between(date(2013, 11, 29), date(2013, 12, 2)))
    found = [
        (step.kind, step.minute, rfc3339(step.at_ns))
        for step in map(timeline.step, (1, 2, 211, 212, 213, 214, 603, 604, 605))
    ]
    assert found == [
        ("pre_open", -1, "2013-11-29T13:30:00Z"),
        ("minute", 0, "2013-11-29T14:31:00Z"),
        ("minute", 209, "2013-11-29T18:00:00Z"),
        ("close", -1, "2013-11-29T18:05:00Z"),
        ("pre_open", -1, "2013-12-02T13:30:00Z"),
        ("minute", 0, "2013-12-02T14:31:00Z"),
        ("minute", 389, "2013-12-02T21:00:00Z"),
        ("close", -1, "2013-12-02T21:05:00Z"),
        ("end", -1, "2013-12-02T21:05:00Z"),
    ]
    assert timeline.end_seq == 605


def test_timeline_when_sessions_are_added_then_earlier_numbers_stay() -> None:
    short = Timeline(sessions_between(date(2013, 11, 29), date(2013, 11, 29)))
    long = Timeline(sessions_between(date(2013, 11, 29), date(2013, 12, 2)))
    assert [short.step(i) for i in range(1, 213)] == [long.step(i) for i in range(1, 213)]


def test_timeline_when_empty_then_raises() -> None:
    with pytest.raises(ValueError, match="no session"):
        Timeline([])
