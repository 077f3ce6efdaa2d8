"""Halting, resuming and leaving everything: what the command and Telegram both do.

Before it stand the `greenlight` command and the reporter; after it the store: the
risk gate reads the halts before every entry, market data looks whether positions
are to be left.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from greenlight.domain.ledger import BY_HAND, FLATTEN
from greenlight.ports import Halt, Store
from jobs.readiness import present


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifted:
    """What a resume lifted, at an aware UTC instant."""

    at: datetime
    count: int
    halts: tuple[Halt, ...]


def halt(store: Store, reason: str, clock_now: datetime) -> datetime:
    """Make no entries until a person resumes; the instant that it counts from."""
    now = present(store, clock_now)
    store.halt(at=now, until=None, reason=f"{BY_HAND}: {reason}")
    return now


def flatten(store: Store, reason: str, clock_now: datetime) -> datetime:
    """Leave every position by the exit protocol, and make no entries until a person resumes."""
    now = present(store, clock_now)
    store.halt(at=now, until=None, reason=f"{FLATTEN}: {reason}")
    return now


def resume(store: Store, reason: str, clock_now: datetime) -> Lifted:
    """Lift every halt in force."""
    now = present(store, clock_now)
    halts = tuple(store.halts_in_force(now))
    return Lifted(at=now, count=store.resume(at=now, reason=reason), halts=halts)
