"""Which transfers came after a mark of equity, and what equity was before each.

Before it stands the ledger of cash; after it the equity watch. A mark of the
broker has a transfer in it from when the broker moved the money, one of the
desk from when it was booked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from greenlight.domain.cash import CashMoved
from greenlight.domain.halts import EquityAt, Transfer
from greenlight.ports import Store

LAST_MARK: Final = timedelta(days=4)
"""The last mark of the desk is looked for this far back: over a long weekend."""
LATE: Final = timedelta(days=7)
"""A transfer may be booked so much later than the broker dates it."""


class Moved:
    """The transfers among movements of cash, in the order of booking.

    Parameters
    ----------
    movements : Sequence[CashMoved]
        Since `LATE` before the first mark that is asked about.
    closes : Sequence[EquityAt]
        The broker's marks, for a transfer before which the desk marked nothing.
    befores : dict[str, Decimal]
        Equity before each transfer by its activity, as far as it was found; kept by the caller.
    """

    def __init__(
        self,
        store: Store,
        movements: Sequence[CashMoved],
        closes: Sequence[EquityAt],
        befores: dict[str, Decimal],
    ) -> None:
        self._store, self._closes, self._befores = store, closes, befores
        found = [
            (row.booked_at, row)
            for row in movements
            if row.is_transfer and row.booked_at is not None
        ]
        self._moved = sorted(found, key=lambda pair: (pair[0], pair[1].at))

    def since_told(self, mark: EquityAt) -> EquityAt:
        """A mark of the broker with the transfers that it does not have."""
        later = [place for place, (_, row) in enumerate(self._moved) if row.at > mark.at]
        return replace(mark, later=tuple(map(self._transfer, later)))

    def since_booked(self, mark: EquityAt, marked_at: datetime) -> EquityAt:
        """A mark of the desk's, made at `marked_at`, with the transfers that it does not have."""
        later = [place for place, (at, _) in enumerate(self._moved) if at > marked_at]
        return replace(mark, later=tuple(map(self._transfer, later)))

    def _transfer(self, place: int) -> Transfer:
        booked_at, row = self._moved[place]
        return Transfer(usd=row.usd, before_usd=self._before(place, booked_at, row))

    def _before(self, place: int, booked_at: datetime, row: CashMoved) -> Decimal | None:
        if row.activity_id in self._befores:
            return self._befores[row.activity_id]
        earlier = self._moved[:place]
        marks = self._store.equity(booked_at - LAST_MARK, booked_at, "desk")
        if marks:
            last = marks[-1]
            between = sum(r.usd for at, r in earlier if at > last.at)
            self._befores[row.activity_id] = last.equity_usd + between
            return self._befores[row.activity_id]
        closes = [close for close in self._closes if close.at < row.at]
        if not closes:
            return None
        return closes[-1].equity_usd + sum(r.usd for _, r in earlier if r.at > closes[-1].at)
