"""How long every light has been green: three weeks of it, and the desk recommends going live.

Before it stand the stored evaluations; after it the command, the page and the
promotion. A session without an evaluation after its close counts as a red one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from greenlight.domain.gate import Evaluation
from greenlight.domain.market import eastern_date, sessions_between

STREAK: Final = timedelta(days=21)
"""Every evaluation must have been green for so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streak:
    """The run of green evaluations that still lasts; `since` is None where there is none.

    `until` is its newest evaluation; `reason` says what ended the run before it.
    """

    since: datetime | None
    until: datetime | None
    reason: str

    @property
    def stands(self) -> bool:
        """Whether three weeks of all green are over."""
        return (
            self.since is not None and self.until is not None and self.until - self.since >= STREAK
        )


def streak(evaluations: Sequence[Evaluation], now: datetime) -> Streak:
    """The run of green evaluations that reaches up to `now`.

    Parameters
    ----------
    evaluations : Sequence[Evaluation]
        Stored ones; those after `now` are left out, the order is theirs by time.
    """
    rows = sorted((e for e in evaluations if e.at <= now), key=lambda e: e.at)
    if not rows:
        return Streak(since=None, until=None, reason="no evaluation yet")
    sessions = sessions_between(eastern_date(rows[0].at), eastern_date(now))
    closes = [s.close for s in sessions if s.close >= rows[0].at - timedelta(days=1)]
    since, reason = None, "the first evaluation"
    last = rows[-1]
    spans = list(zip(closes, [*closes[1:], None], strict=True))
    for close, following in spans:
        seen = [e for e in rows if e.at >= close and (following is None or e.at < following)]
        if not seen and (following is not None or now - close > timedelta(hours=1)):
            since, reason = None, f"no evaluation after the close of {eastern_date(close)}"
            continue
        for one in seen:
            if not one.is_ready:
                since, reason = None, f"not all green on {eastern_date(one.at)}"
            elif _is_other(one, last):
                since, reason = None, f"another account or program on {eastern_date(one.at)}"
            elif since is None:
                since = one.at
    return Streak(since=since, until=last.at if since is not None else None, reason=reason)


def _is_other(one: Evaluation, last: Evaluation) -> bool:
    """Whether an evaluation speaks of another account, code or settings than the last."""
    return (one.account_kind, one.account_number, one.fingerprint) != (
        last.account_kind,
        last.account_number,
        last.fingerprint,
    )
