"""States at the edges of what each part is allowed."""

from __future__ import annotations

import pytest

from greenlight.domain.health import (
    Component,
    ComponentState,
    is_ready,
    judge_answer,
    judge_stream,
)
from greenlight.domain.market import Unavailable

UP, DEGRADED, DOWN = ComponentState.UP, ComponentState.DEGRADED, ComponentState.DOWN
NEVER = Unavailable("never asked")


@pytest.mark.parametrize(("age_s", "state"), [(0.0, UP), (8.0, UP), (8.001, DOWN)])
def test_judge_answer_when_near_the_limit_then_down_only_beyond(
    age_s: float, state: ComponentState
) -> None:
    assert judge_answer("a", age_s, limit_s=8.0).state is state


def test_judge_answer_when_never_heard_then_down_with_the_reason_and_no_age() -> None:
    found = judge_answer("a", NEVER, limit_s=8.0)
    assert found == Component(name="a", state=DOWN, age_s=NEVER, reason="never asked")


def test_judge_answer_when_the_last_question_failed_then_down_at_any_age() -> None:
    found = judge_answer("store", 0.5, limit_s=30.0, problem="StoreUnavailable: away")
    assert (found.state, found.age_s, found.reason) == (DOWN, 0.5, "StoreUnavailable: away")


@pytest.mark.parametrize(("age_s", "problem"), [(NEVER, None), (99.0, None), (0.0, "away")])
def test_judge_answer_when_not_needed_then_degraded(
    age_s: float | Unavailable, problem: str | None
) -> None:
    found = judge_answer("cache", age_s, limit_s=8.0, problem=problem, is_needed=False)
    assert found.state is DEGRADED
    assert is_ready([found])


@pytest.mark.parametrize(
    ("age_s", "is_in_session", "state"),
    [
        (90.0, True, UP),
        (90.1, True, DOWN),
        (50_000.0, False, UP),
        (NEVER, False, DOWN),
        (NEVER, True, DOWN),
    ],
)
def test_judge_stream_when_silent_then_a_fault_only_in_a_session_or_before_any_event(
    age_s: float | Unavailable, is_in_session: bool, state: ComponentState
) -> None:
    found = judge_stream("stream", age_s, is_in_session=is_in_session, limit_s=90.0)
    assert found.state is state


def test_is_ready_when_one_part_is_down_or_none_is_known_then_not() -> None:
    up = judge_answer("a", 0.0, limit_s=1.0)
    down = judge_answer("b", 2.0, limit_s=1.0)
    assert is_ready([up])
    assert not is_ready([up, down])
    assert not is_ready([])
