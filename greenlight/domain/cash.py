"""Cash that moved without a fill: fees, interest, transfers, and dividends.

Before it stand the broker's account activities; after it the ledger, which
counts every one of them, and the figures of performance, which leave
transfers out. Money is `Decimal` US dollars, times are aware UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from greenlight.domain.audit import Decision, DecisionKind, Figure, Verdict
from greenlight.domain.corporate_actions import DividendPaid
from greenlight.domain.orders import decision_id

CASH: Final = "cash"
"""The decision row of a movement gives this as its reason, and after it the type."""
TRANSFERS: Final = frozenset({"ACATC", "ACATS", "CSD", "CSR", "CSW", "JNL", "JNLC", "TRANS"})
"""Types of money that the owner moved: deposits, withdrawals, journals, account transfers."""
_AGAIN: Final = "~"


@dataclass(frozen=True, slots=True, kw_only=True)
class CashMoved:
    """Cash that came (or went, below zero) otherwise than by a fill or a dividend.

    `activity_id` and `activity_type` are the broker's, `usd` is exact. `at` is
    when the broker moved it, `booked_at` when the ledger took it, None until then.
    """

    activity_id: str
    activity_type: str
    at: datetime
    usd: Decimal
    symbol: str | None
    description: str
    booked_at: datetime | None = None

    @property
    def is_transfer(self) -> bool:
        """Whether the owner moved it; all else is a cost or an income of the account."""
        return self.activity_type in TRANSFERS


CashActivity = CashMoved | DividendPaid


def in_marks_from(moved: CashMoved, source: str) -> datetime | None:
    """From when on marks of equity have a movement in them; None: not yet.

    The broker's ("broker") from when it moved the money, the desk's ("desk") from
    when it was booked.
    """
    return moved.at if source == "broker" else moved.booked_at


def cash_decision(desk: str, moved: CashMoved) -> Decision:
    """The decision row of a movement; the same movement gives the same row."""
    figures: dict[str, Figure] = {
        "usd": str(moved.usd),
        "activity_id": moved.activity_id,
        "description": moved.description,
        "is_transfer": moved.is_transfer,
    }
    return Decision(
        decision_id=decision_id(desk, CASH, moved.activity_id),
        at=moved.at,
        kind=DecisionKind.ADJUST,
        verdict=Verdict.TAKEN,
        symbol=moved.symbol,
        strategy=None,
        reason=f"{CASH}: {moved.activity_type}",
        figures=figures,
    )


def unbooked(
    told: Iterable[CashActivity], booked: Sequence[CashActivity], now: datetime
) -> tuple[CashActivity, ...]:
    """What the broker tells and the ledger does not have yet, in the order told.

    Parameters
    ----------
    told : Iterable[CashActivity]
        The broker's; one that it has cancelled has 0 dollars.
    booked : Sequence[CashActivity]
        What the ledger has of the same time.
    now : datetime
        When a change of what was booked counts from, aware UTC.

    Notes
    -----
    An activity is known by its id. Where the broker has cancelled or corrected
    one that is booked, the difference is booked as a movement of its own.
    """
    have: dict[str, list[Decimal]] = {}
    for row in booked:
        have.setdefault(row.activity_id.partition(_AGAIN)[0], []).append(row.usd)
    found: list[CashActivity] = []
    for row in told:
        parts = have.get(row.activity_id)
        if parts is None:
            have[row.activity_id] = [row.usd]
            if row.usd:
                found.append(row)
        elif row.usd != sum(parts):
            found.append(_difference(row, row.usd - sum(parts), len(parts), now))
            parts.append(found[-1].usd)
    return tuple(found)


def _difference(row: CashActivity, usd: Decimal, number: int, now: datetime) -> CashMoved:
    name = f"{row.activity_id}{_AGAIN}{number}"
    if isinstance(row, CashMoved):
        return replace(row, activity_id=name, usd=usd, at=now)
    return CashMoved(
        activity_id=name,
        activity_type="DIV",
        at=now,
        usd=usd,
        symbol=row.symbol,
        description="the broker changed a dividend",
    )
