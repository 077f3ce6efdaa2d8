"""Drills: faults put into a running desk on purpose, and whether they are up to date.

Before it stands the command that carries a drill out; after it the store and
whoever shows how the desk stands. A drill proves something for thirty days.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from greenlight.domain.market import Unavailable

STALE_AFTER: Final = timedelta(days=30)
"""A drill proves nothing any more after this (ours; the window of the uptime criterion)."""
PAPER: Final = frozenset({"paper", "replay"})
"""Kinds of account on which a drill may run."""
MAX_NAKED_S: Final = 5.0
"""Longest time that a position may be uncovered at the broker in a drill."""


class DrillKind(StrEnum):
    """What is taken away."""

    MONITOR = "monitor"
    CACHE = "cache"
    DATABASE = "database"
    STREAM = "stream"
    MODEL = "model"


BOUNDS_S: Final = {
    DrillKind.MONITOR: 10.0,
    DrillKind.CACHE: 15.0,
    DrillKind.DATABASE: 15.0,
    DrillKind.STREAM: 30.0,
    DrillKind.MODEL: 330.0,
}
"""Longest time from the fault's end (for an actor: from its death) to recovery, in seconds.
The model's breaker stays open for five minutes, then the probe goes out."""


class DrillState(StrEnum):
    """How the desk stands in one kind of drill."""

    PASSED = "passed"
    FAILED = "failed"
    STALE = "stale"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """One drill and its outcome.

    `at` (aware UTC) is when the fault began, `recovered_s` how long recovery took
    (`Unavailable`: it was not seen), `naked_s` the longest time that a position was
    not wholly covered at the broker meanwhile (`Unavailable`: it did not tell).
    `account_kind` is that of the run.
    """

    kind: DrillKind
    at: datetime
    account_kind: str
    recovered_s: float | Unavailable
    bound_s: float
    naked_s: float | Unavailable
    detail: str

    @property
    def is_passed(self) -> bool:
        """Whether it recovered in time and every position stayed covered."""
        return (
            not isinstance(self.recovered_s, Unavailable)
            and self.recovered_s <= self.bound_s
            and not isinstance(self.naked_s, Unavailable)
            and self.naked_s <= MAX_NAKED_S
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillStanding:
    """The last drill of a kind and what it still proves."""

    kind: DrillKind
    state: DrillState
    last: Drill | None


def standings(drills: Iterable[Drill], now: datetime) -> tuple[DrillStanding, ...]:
    """How the desk stands in each kind of drill.

    Parameters
    ----------
    drills : Iterable[Drill]
        In any order; the newest of a kind counts.
    now : datetime
        Aware UTC, of the wall clock.
    """
    last: dict[DrillKind, Drill] = {}
    for drill in drills:
        if drill.kind not in last or drill.at > last[drill.kind].at:
            last[drill.kind] = drill
    return tuple(
        DrillStanding(kind=kind, state=_state(last.get(kind), now), last=last.get(kind))
        for kind in DrillKind
    )


def _state(drill: Drill | None, now: datetime) -> DrillState:
    if drill is None:
        return DrillState.MISSING
    if not drill.is_passed:
        # A failure does not become better with age.
        return DrillState.FAILED
    return DrillState.STALE if now - drill.at > STALE_AFTER else DrillState.PASSED
