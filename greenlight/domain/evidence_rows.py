"""The rows that the evidence process rests on, besides the account's own.

Before it stand the walk-forward and the daily history; after it the store and the
evidence. Nothing here computes, so that a position monitor, which knows the store,
loads no numpy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UniverseReturn:
    """Equal-weight return of the universe's `symbols` symbols over a session, as a fraction."""

    day: date
    frac: float
    symbols: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedDay:
    """One out-of-sample session of a walk-forward, as fractions.

    `exposure_frac` is the mean share of equity that was invested in the session.
    """

    day: date
    return_frac: float
    exposure_frac: float
    universe_frac: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfSample:
    """The judging days of a walk-forward, oldest first, after costs.

    `fingerprint` is that of the desk it was run for, `trials` how many the ledger had
    when it ended, `at` (aware UTC).
    """

    run_id: str
    at: datetime
    fingerprint: str
    trials: int
    days: tuple[JudgedDay, ...] = field(repr=False)
