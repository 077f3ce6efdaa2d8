"""Whether the desk lives and whether it is ready, from how long its parts have been silent.

Before it stands whoever asked the parts; after it `/healthz` and `/readyz`.
What is not known is `Unavailable` and never counts as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from greenlight.domain.market import Unavailable


class ComponentState(StrEnum):
    """How a part of the desk stands."""

    UP = "up"
    DEGRADED = "degraded"
    """Away, but the desk trades without it."""
    DOWN = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A part of the desk; `age_s` is the time since it last gave proof of life."""

    name: str
    state: ComponentState
    age_s: float | Unavailable
    reason: str


def judge_answer(
    name: str,
    age_s: float | Unavailable,
    *,
    limit_s: float,
    problem: str | None = None,
    is_needed: bool = True,
) -> Component:
    """A part that is asked again and again.

    Parameters
    ----------
    age_s : float | Unavailable
        Seconds since it last answered.
    limit_s : float
        Longest silence, in seconds; exactly so long still is well.
    problem : str | None
        What came of the last question, where that was no answer.
    is_needed : bool
        False: without it the desk is degraded, and not down.
    """
    missing = ComponentState.DOWN if is_needed else ComponentState.DEGRADED
    if isinstance(age_s, Unavailable):
        return Component(name=name, state=missing, age_s=age_s, reason=problem or age_s.reason)
    if problem is not None:
        return Component(name=name, state=missing, age_s=age_s, reason=problem)
    if age_s > limit_s:
        reason = f"silent for {age_s:.1f} s; at most {limit_s:g} s"
        return Component(name=name, state=missing, age_s=age_s, reason=reason)
    return Component(name=name, state=ComponentState.UP, age_s=age_s, reason="answers")


def judge_stream(
    name: str, age_s: float | Unavailable, *, is_in_session: bool, limit_s: float
) -> Component:
    """The broker's streams, of which a silence is a fault only while there is a market.

    Parameters
    ----------
    age_s : float | Unavailable
        Seconds since their last event; `Unavailable` before the first.
    limit_s : float
        Longest silence in a session, in seconds.
    """
    if not is_in_session and not isinstance(age_s, Unavailable):
        reason = "no session; it may be silent"
        return Component(name=name, state=ComponentState.UP, age_s=age_s, reason=reason)
    return judge_answer(name, age_s, limit_s=limit_s)


def is_ready(components: Iterable[Component]) -> bool:
    """Whether no part is down; without any part nothing is known."""
    states = [component.state for component in components]
    return bool(states) and ComponentState.DOWN not in states
