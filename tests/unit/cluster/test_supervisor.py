"""Who must be started and who must be replaced."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cluster.supervisor import (
    PERIOD_S,
    SILENT_AFTER_S,
    START_GRACE_S,
    SupervisionPlan,
    excused,
    is_replaced,
    plan,
)
from greenlight.testing import FakeStore
from tests.unit.cluster.test_wiring import config

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


def test_is_replaced_when_a_second_desk_starts_then_the_first_is() -> None:
    store = FakeStore()
    first = replace(config(), desk_epoch=store.take_desk())
    assert not is_replaced(first, store)
    second = replace(config(), desk_epoch=store.take_desk())
    assert is_replaced(first, store)
    assert not is_replaced(second, store)
