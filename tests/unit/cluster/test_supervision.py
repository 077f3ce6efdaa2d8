"""Who must be started, who must be replaced, and who must wait."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.supervision import (
    LONGEST_WAIT_S,
    LOOP_AFTER,
    PERIOD_S,
    SHORT_LIFE_S,
    SILENT_AFTER_S,
    START_GRACE_S,
    Liveness,
    SupervisionPlan,
    excused,
    next_life,
    plan,
)

names = st.sampled_from(["recorder", "risk-gate", "position-monitor:AAPL", "market-data"])


def test_plan_when_everybody_answers_then_nothing_to_do() -> None:
    found = plan(desired=["a", "b"], known={"a": 99.0, "b": 100.0}, now_s=100.0)
    assert found == SupervisionPlan(start=(), kill=())


def test_plan_when_one_is_missing_then_started_in_the_order_desired() -> None:
    found = plan(desired=["c", "a", "b"], known={"a": 100.0}, now_s=100.0)
    assert found == SupervisionPlan(start=("c", "b"), kill=())


def test_plan_when_one_is_silent_then_killed_only_after_the_limit() -> None:
    at_limit = plan(desired=["a"], known={"a": 10.0}, now_s=14.0, silent_after_s=4.0)
    beyond = plan(desired=["a"], known={"a": 10.0}, now_s=14.001, silent_after_s=4.0)
    assert (at_limit.kill, beyond.kill) == ((), ("a",))


def test_plan_when_it_has_just_started_then_given_its_grace() -> None:
    known = {"a": 0.0 + START_GRACE_S}
    assert plan(desired=["a"], known=known, now_s=START_GRACE_S + SILENT_AFTER_S).kill == ()
    assert plan(desired=["a"], known=known, now_s=START_GRACE_S + 4.1).kill == ("a",)


def test_silence_when_noticed_then_within_five_seconds_of_the_promise() -> None:
    # A position may be without its own stop for 5 s; the look comes every second.
    assert SILENT_AFTER_S < 5.0


def test_plan_when_nobody_wants_it_then_left_alone() -> None:
    assert plan(desired=[], known={"a": 0.0}, now_s=1e6) == SupervisionPlan(start=(), kill=())


def test_excused_when_the_supervisor_itself_slept_then_nobody_is_killed_for_it() -> None:
    known = {"a": 99.0, "b": 96.5}
    assert plan(desired=["a", "b"], known=known, now_s=130.0).kill == ("a", "b")
    after = excused(known, pause_s=30.0)
    assert plan(desired=["a", "b"], known=after, now_s=130.0).kill == ("b",)
    assert excused(known, pause_s=2 * PERIOD_S) == known


@given(st.lists(names, unique=True), st.dictionaries(names, st.floats(0, 200)), st.floats(0, 200))
def test_plan_when_any_state_then_each_desired_is_started_killed_or_alive(
    desired: list[str], known: dict[str, float], now_s: float
) -> None:
    found = plan(desired=desired, known=known, now_s=now_s)
    alive = {n for n in desired if n in known and now_s - known[n] <= SILENT_AFTER_S}
    assert set(found.start) | set(found.kill) | alive == set(desired)
    assert len(found.start) + len(found.kill) + len(alive) == len(desired)


# -- crash loops


def admissions(liveness: Liveness, *, dies_after_s: float, until_s: float) -> list[float]:
    """When an actor that always dies so long after its start was started."""
    now_s, starts = 0.0, []
    while now_s < until_s:
        starts.append(liveness.admit("a", now_s).starts_s)
        now_s = starts[-1] + dies_after_s
    return starts


def test_admit_when_an_actor_first_dies_then_started_again_at_once() -> None:
    liveness = Liveness()
    assert admissions(liveness, dies_after_s=2.0, until_s=5.0) == [0.0, 2.0, 4.0]
    assert liveness.status(now_s=5.0, turned_s=None).loops == {}


def test_admit_when_it_dies_again_and_again_then_waits_double_up_to_the_longest() -> None:
    starts = admissions(Liveness(), dies_after_s=1.0, until_s=400.0)
    waits = [after - before - 1.0 for before, after in pairwise(starts)]
    assert waits == [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60]
    assert LONGEST_WAIT_S == 60


def test_admit_when_one_life_was_long_enough_then_the_count_begins_anew() -> None:
    liveness = Liveness()
    *_, last = admissions(liveness, dies_after_s=1.0, until_s=20.0)
    assert liveness.admit("a", last + SHORT_LIFE_S).short_lives == 0
    assert liveness.admit("a", last + SHORT_LIFE_S + 1.0).short_lives == 1


def test_next_life_when_the_loop_lasts_for_days_then_the_wait_stays_the_longest() -> None:
    life = next_life(None, now_s=0.0)
    for _ in range(2000):
        now_s = life.starts_s + 1.0
        life = next_life(life, now_s=now_s)
    assert life.starts_s - now_s == LONGEST_WAIT_S


def test_status_when_in_a_loop_then_told_with_its_wait_until_it_has_lived() -> None:
    liveness = Liveness()
    for now_s in (0.0, 1.0, 2.0, 3.0):
        life = liveness.admit("a", now_s)
    assert life.starts_s == 4.0
    loop = liveness.status(now_s=3.4, turned_s=None).loops["a"]
    assert (loop.short_lives, loop.wait_s) == (LOOP_AFTER, pytest.approx(0.6))
    assert "a" in liveness.status(now_s=33.9, turned_s=None).loops
    assert liveness.status(now_s=34.0, turned_s=None).loops == {}


# -- who is known


def test_plan_when_held_back_then_not_replaced_before_it_could_answer() -> None:
    liveness = Liveness()
    liveness.desire(["a"])
    life = next_life(None, now_s=0.0)
    for _ in range(12):
        life = liveness.admit("a", life.starts_s + 1.0)
    limit_s = life.starts_s + START_GRACE_S + SILENT_AFTER_S
    assert liveness.plan(limit_s).kill == ()
    assert liveness.plan(limit_s + 0.1).kill == ("a",)


def test_plan_when_its_process_stays_lost_then_the_grace_is_given_once() -> None:
    liveness = Liveness()
    liveness.desire(["a"])
    liveness.found("a", 0.0)
    liveness.heard("a", 1.0)
    for second in range(2, 40):
        liveness.lost("a", float(second))
    assert liveness.plan(36.0).kill == ()
    assert liveness.plan(36.1).kill == ("a",)
    liveness.heard("a", 41.0)
    liveness.lost("a", 42.0)
    assert liveness.plan(76.0).kill == ()


@pytest.mark.parametrize("stopped_s", [0.0, 0.5, 0.9])
def test_plan_when_a_monitor_falls_silent_then_replaced_within_five_seconds(
    stopped_s: float,
) -> None:
    liveness = Liveness()
    liveness.desire(["a"])
    liveness.found("a", 0.0)
    now_s, killed_s = 0.0, None
    while killed_s is None:
        if now_s <= stopped_s:
            liveness.heard("a", now_s)
        if liveness.plan(now_s).kill:
            killed_s = now_s
        now_s += PERIOD_S
    assert killed_s - stopped_s <= 5.0 + 1e-9


def test_plan_when_an_actor_is_gone_or_new_then_started_once() -> None:
    liveness = Liveness()
    liveness.desire(["recorder", "position-monitor:AAPL"])
    assert liveness.plan(0.0).start == ("recorder", "position-monitor:AAPL")
    liveness.admit("recorder", 0.5)
    liveness.found("position-monitor:AAPL", 1.0)
    assert liveness.plan(1.0) == SupervisionPlan(start=(), kill=())
    liveness.gone("recorder")
    assert liveness.plan(2.0).start == ("recorder",)


def test_status_when_replaced_then_counted_and_not_heard() -> None:
    liveness = Liveness()
    liveness.desire(["a", "b"])
    for name in "ab":
        liveness.found(name, 0.0)
        liveness.heard(name, 1.0)
    liveness.replaced("a", 6.0)
    found = liveness.status(now_s=7.0, turned_s=0.5)
    assert (found.replaced, found.heard_s) == ({"a": 1}, {"b": 6.0})
    assert (found.turned_s, found.desired) == (0.5, ("a", "b"))


def test_desire_when_one_is_no_longer_wanted_then_watched_until_it_is_gone() -> None:
    liveness = Liveness()
    liveness.desire(["a"])
    liveness.found("a", 0.0)
    liveness.heard("a", 1.0)
    liveness.desire(["b"])
    assert liveness.names() == ("b", "a")
    assert liveness.plan(6.0) == SupervisionPlan(start=("b",), kill=("a",))
    liveness.gone("a")
    assert liveness.names() == ("b",)
    assert liveness.plan(1e6) == SupervisionPlan(start=("b",), kill=())
