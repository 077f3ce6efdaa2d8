"""Which parts there are, and what brings the desk down."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from actors.measures import StreamLife
from actors.reconciler import RECONCILED
from cluster.health import (
    HEARD_WITHIN_S,
    TURN_WITHIN_S,
    components,
    is_live,
    read_store,
)
from cluster.launch import CORE
from cluster.probes import Reading
from cluster.supervision import SILENT_AFTER_S, CrashLoop
from greenlight.domain.audit import Decision, DecisionKind, Verdict
from greenlight.domain.breaker import Breaker
from greenlight.domain.health import Component, ComponentState, is_ready
from greenlight.domain.market import Unavailable
from greenlight.domain.sentiment_status import SentimentStatus
from greenlight.ports import Coverage, StoreUnavailable
from tests.actor_cases import T0, Surroundings, later
from tests.health_cases import HEALTHY, MONITOR, STATUS, known, readings, silent


def part(name: str, seen: Any) -> Component:
    (found,) = [c for c in components(seen) if c.name == name]
    return found


def test_components_when_all_is_well_then_every_part_is_up_and_ready() -> None:
    names = [c.name for c in components(HEALTHY)]
    assert names == [
        *("desk", "supervisor", "store", "broker", "broker-stream", "cache"),
        *CORE,
        MONITOR,
    ]
    assert {c.state for c in components(HEALTHY)} == {ComponentState.UP}
    assert is_ready(components(HEALTHY))
    assert is_live(HEALTHY)


@pytest.mark.parametrize(
    ("seen", "name"),
    [
        (readings(store=Reading(value=HEALTHY.store.value, age_s=1.0, problem="away")), "store"),
        (readings(broker=silent("BrokerUnavailable: 503")), "broker"),
        (readings(stream=silent("ActorDiedError")), "broker-stream"),
        (
            readings(stream=known(StreamLife(silent_s=Unavailable("none"), is_in_session=False))),
            "broker-stream",
        ),
        (readings(stream=known(StreamLife(silent_s=89.5, is_in_session=True))), "broker-stream"),
    ],
)
def test_components_when_one_that_is_needed_is_away_then_not_ready_but_alive(
    seen: Any, name: str
) -> None:
    assert part(name, seen).state is ComponentState.DOWN
    assert not is_ready(components(seen))
    assert is_live(seen)


@pytest.mark.parametrize("cache", [None, known(False), silent("it hangs")])
def test_components_when_the_cache_is_away_then_degraded_and_ready(cache: Any) -> None:
    seen = readings(cache=cache)
    assert part("cache", seen).state is ComponentState.DEGRADED
    assert is_ready(components(seen))


def test_components_when_a_monitor_is_desired_and_was_never_heard_then_not_ready() -> None:
    heard = dict.fromkeys(CORE, 1.0)
    seen = readings(supervisor=known(replace(STATUS, heard_s=heard)))
    assert part(MONITOR, seen).state is ComponentState.DOWN
    assert part(MONITOR, seen).age_s == Unavailable("no answer since it was started or lost")
    assert not is_ready(components(seen))


def test_components_when_an_actor_was_heard_then_its_age_counts_the_answers_own() -> None:
    at_limit = readings(supervisor=known(STATUS, age_s=HEARD_WITHIN_S - 1.0))
    beyond = readings(supervisor=known(STATUS, age_s=HEARD_WITHIN_S - 0.9))
    assert part("recorder", at_limit).state is ComponentState.UP
    assert part("recorder", beyond).state is ComponentState.DOWN
    assert HEARD_WITHIN_S > SILENT_AFTER_S


def test_components_when_an_actor_crashes_again_and_again_then_down_with_its_wait() -> None:
    loops = {"recorder": CrashLoop(short_lives=4, wait_s=1.7)}
    seen = readings(supervisor=known(replace(STATUS, loops=loops)))
    assert part("recorder", seen).state is ComponentState.DOWN
    assert part("recorder", seen).reason == "crashed 4 times in a row; next start in 2 s"
    assert part("risk-gate", seen).state is ComponentState.UP
    assert is_live(seen)


def test_is_live_when_the_supervisor_stands_still_then_only_up_to_the_limit() -> None:
    assert is_live(readings(supervisor=known(STATUS, age_s=TURN_WITHIN_S - 0.5)))
    assert not is_live(readings(supervisor=known(STATUS, age_s=TURN_WITHIN_S)))


def test_is_live_when_the_supervisor_is_known_to_nobody_then_not_and_every_actor_unknown() -> None:
    seen = readings(supervisor=silent("no actor"))
    assert not is_live(seen)
    assert [part(name, seen).age_s for name in CORE] == [Unavailable("no actor")] * len(CORE)


def test_is_live_when_no_turn_has_ended_then_not() -> None:
    assert not is_live(readings(supervisor=known(replace(STATUS, turned_s=None))))


def test_read_store_when_a_stop_came_late_then_the_naked_seconds_are_those_between() -> None:
    around = Surroundings()
    around.enter(10)
    held = around.store.position("AAPL")
    assert held is not None

    def cover(seconds: float, qty: int) -> None:
        around.store.write_coverage(
            [
                Coverage(
                    position_id=held.position_id,
                    symbol="AAPL",
                    at=later(seconds),
                    position_qty=10,
                    covered_qty=qty,
                )
            ]
        )

    run = around.store.latest_run()
    assert run is not None
    around.store.start_run(replace(run, run_id="r2", account_kind="paper"))
    before = read_store(around.store, later(3))
    assert (before.naked_s, before.naked, before.open_positions) == (3.0, ("AAPL",), 1)
    cover(4, 10)
    cover(60, 4)
    cover(61.5, 10)
    found = read_store(around.store, later(100))
    assert (found.naked_s, found.longest_naked_s, found.naked) == (5.5, 4.0, ())
    assert {(t.of, t.label): t.count for t in found.tallies}["fills", "buy"] == 1
    around.store.halt(at=T0, until=T0 + timedelta(hours=24), reason="daily_loss")
    assert len(read_store(around.store, later(100)).halts) == 1


def test_read_store_when_the_store_is_away_then_raises() -> None:
    around = Surroundings()
    around.store.up = False
    with pytest.raises(StoreUnavailable):
        read_store(around.store, T0)


@pytest.mark.parametrize(
    ("reason", "figures", "is_reconciled", "drift"),
    [
        (RECONCILED, {}, True, 0),
        ("not reconciled: AAPL: missing", {"differences": 2}, False, 2),
        ("not reconciled: silent", {}, False, Unavailable("not reconciled: silent")),
    ],
)
def test_read_store_when_reconciled_or_not_then_the_drift_of_the_last_look(
    reason: str, figures: dict[str, Any], is_reconciled: bool, drift: int | Unavailable
) -> None:
    around = Surroundings()
    around.store.record_decision(
        Decision(
            decision_id="look",
            at=later(1),
            kind=DecisionKind.RECONCILE,
            verdict=Verdict.TAKEN if is_reconciled else Verdict.REFUSED,
            symbol=None,
            strategy=None,
            reason=reason,
            figures=figures,
        )
    )
    found = read_store(around.store, later(2))
    assert (found.is_reconciled, found.drift) == (is_reconciled, drift)


def test_read_store_when_a_new_run_has_not_reconciled_then_not_and_no_drift() -> None:
    around = Surroundings()
    run = around.store.latest_run()
    assert run is not None
    around.store.start_run(replace(run, run_id="r2", started_at=later(60)))
    found = read_store(around.store, later(61))
    assert not found.is_reconciled
    assert isinstance(found.drift, Unavailable)


def test_components_when_a_model_reads_the_news_then_its_absence_degrades_and_no_more() -> None:
    status = SentimentStatus(
        at=T0,
        model="m:latest",
        wants_gpu=True,
        breaker=Breaker(),
        standing=None,
        waiting=0,
        dropped=0,
        rated=0,
        reused=0,
        repeated=0,
        failed=0,
        absence=None,
    )
    assert part("sentiment", readings(sentiment=known(status))).state is ComponentState.UP
    away = readings(sentiment=known(replace(status, absence="m:latest is cold")))
    found = part("sentiment", away)
    assert (found.state, found.reason) == (ComponentState.DEGRADED, "m:latest is cold")
    assert part("sentiment", readings(sentiment=silent())).state is ComponentState.DEGRADED
    assert is_ready(components(away))
