"""The gate's thresholds as data: which are in force, and since when.

Decided here: a stricter threshold counts at once, a looser one a week after it was
asked for, and none below the seeds'. Every change is a row of the decision chain.
Before it stand the settings and the chain; after it every evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from functools import reduce
from itertools import pairwise
from typing import Final

from greenlight.domain.audit import Decision, DecisionKind, Verdict, instant_text
from greenlight.domain.gate import ReadinessPolicy, is_ceiling
from greenlight.domain.orders import decision_id

COOL_OFF: Final = timedelta(days=7)
"""A threshold that was loosened still binds for so long."""
_REASON: Final = "thresholds of the gate"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChange:
    """Thresholds that were asked for from an instant on (aware UTC)."""

    at: datetime
    policy: ReadinessPolicy


def policy_of(thresholds: Mapping[str, float]) -> ReadinessPolicy:
    """The seeds' thresholds with some of them tightened.

    Raises
    ------
    ValueError
        There is no such threshold, it counts whole things and is given none, or it is
        looser than the seeds'.
    """
    seeds = asdict(ReadinessPolicy())
    for name, value in thresholds.items():
        if name not in seeds:
            raise ValueError(f"there is no threshold {name}; there are {', '.join(seeds)}")
        if isinstance(seeds[name], int):
            if value != int(value):
                raise ValueError(f"{name} counts whole things; {value} is none")
            seeds[name] = int(value)
        else:
            seeds[name] = float(value)
    return ReadinessPolicy(**seeds)


def strictest(first: ReadinessPolicy, second: ReadinessPolicy) -> ReadinessPolicy:
    """Of each threshold the stricter one."""
    values = {
        f.name: (min if is_ceiling(f.name) else max)(
            getattr(first, f.name), getattr(second, f.name)
        )
        for f in fields(ReadinessPolicy)
    }
    return ReadinessPolicy(**values)


def policy_in_force(
    asked: ReadinessPolicy, changes: Sequence[PolicyChange], now: datetime
) -> ReadinessPolicy:
    """The thresholds that an evaluation at `now` is held to.

    Parameters
    ----------
    asked : ReadinessPolicy
        Of the settings at hand. They can tighten what was recorded, never loosen it.
    changes : Sequence[PolicyChange]
        All that were recorded, in the order of the chain.

    Notes
    -----
    Of each threshold the strictest among those asked for now, those recorded last,
    and those that were recorded and replaced within the last 7 days. A row that says it is
    of the future counts too, so that a clock set back loosens nothing.
    """
    bound = [asked, *(change.policy for change in changes[-1:])]
    bound += [old.policy for old, new in pairwise(changes) if new.at > now - COOL_OFF]
    return reduce(strictest, bound)


def policy_decision(desk: str, policy: ReadinessPolicy, at: datetime) -> Decision:
    """The decision row of thresholds asked for from `at` on."""
    return Decision(
        decision_id=decision_id(desk, _REASON, instant_text(at)),
        at=at,
        kind=DecisionKind.POLICY,
        verdict=Verdict.TAKEN,
        symbol=None,
        strategy=None,
        reason=_REASON,
        figures=asdict(policy),
    )


def policy_changes(decisions: Iterable[Decision]) -> list[PolicyChange]:
    """The changes that decision rows tell of, in their order.

    Raises
    ------
    ValueError
        A row's thresholds are looser than the seeds', or are not numbers.
    """
    names = [f.name for f in fields(ReadinessPolicy)]
    found = []
    for row in decisions:
        # A row of an older program lacks newer thresholds; those were the seeds'.
        told = {name: float(str(row.figures[name])) for name in names if name in row.figures}
        found.append(PolicyChange(at=row.at, policy=policy_of(told)))
    return found
