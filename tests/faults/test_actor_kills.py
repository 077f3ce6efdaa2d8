"""kill -9 of every actor during a replay changes nothing but the time it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.drills import NakedWatch
from tests.desk_harness import running_desk

WINDOW = {"start": "2008-01-14", "end": "2008-02-08"}
KILLS = [
    ("2008-01-16T15:00", "strategist"),
    ("2008-01-17T15:00", "recorder"),
    ("2008-01-18T15:00", "risk-gate"),
    ("2008-01-22T15:00", "market-data"),
    ("2008-01-23T14:40", "position-monitor:GOOG"),
    ("2008-01-24T14:40", "position-monitor:AAPL"),
    ("2008-01-25T15:00", "supervisor"),
    ("2008-01-29T15:00", "position-monitor:GOOG"),
    ("2008-01-30T15:00", "market-data"),
    ("2008-01-31T14:31", "strategist"),
    ("2008-02-01T20:59", "nightly"),
]


@pytest.mark.fault("actor dies around the POST or the commit")
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_replay_when_each_actor_is_killed_then_fills_are_the_undisturbed_ones(
    tmp_path: Path,
) -> None:
    with running_desk(tmp_path / "calm", **WINDOW) as calm:
        calm.finish()
        expected, expected_fills = calm.digests(), calm.fills()
    with running_desk(tmp_path / "storm", **WINDOW) as storm:
        watch = NakedWatch(storm.broker)
        watch.start()
        killed = []
        for at, actor in KILLS:
            assert storm.wait_until(at)
            if storm.kill(actor):
                killed.append(actor)
        storm.finish()
        watch.stop()
        found, fills = storm.digests(), storm.fills()
        store = storm.store()
        orders = [f.order_id for f in store.fills(limit=None)]
        entries = [d.decision for d in store.decisions(limit=None) if d.decision.kind == "entry"]
        sent = storm.broker.executions(storm.desk.replay_state().now.replace(year=2007))
        store.close()

    assert {name.split(":")[0] for name in killed} == {
        "strategist",
        "recorder",
        "risk-gate",
        "market-data",
        "position-monitor",
        "supervisor",
        "nightly",
    }
    assert fills == expected_fills
    assert found[1] == expected[1], "the fills differ"
    assert found[0] == expected[0], "the decisions differ"
    assert len(sent) == len(orders) > 4
    assert len({d.decision_id for d in entries}) == len(entries)
    assert watch.looks > 50
    assert watch.longest_s <= 5.0
