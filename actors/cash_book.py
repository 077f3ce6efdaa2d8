"""Books every movement of cash that is no fill: dividends, fees, interest, transfers.

Before it stand the broker's account activities; after it the ledger's cash,
which the reconciler holds against the broker's. Market data owns one and calls
it before the open, at repairs, and where the two do not agree. Every call is
safe to repeat.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from greenlight.domain.cash import CashActivity, CashMoved, cash_decision, unbooked
from greenlight.domain.corporate_actions import DividendPaid, dividend_decision
from greenlight.domain.positions import Position
from greenlight.ports import Broker, Notifier, Store

logger = logging.getLogger(__name__)

_LATE: Final = timedelta(days=7)
"""A broker may book a movement so much later than it dates it."""
_KNOWN: Final = timedelta(days=30)
"""The ledger is read so much further back than the broker is asked."""
_EARNED: Final = timedelta(days=120)
"""A position closed within this time may be the one a dividend was earned by."""


class CashBook:
    """See the module. It keeps nothing; `desk` is the name in its decisions."""

    def __init__(self, *, store: Store, broker: Broker, notifier: Notifier, desk: str) -> None:
        self._store = store
        self._broker = broker
        self._notifier = notifier
        self._desk = desk

    def update(self, now: datetime) -> tuple[CashActivity, ...]:
        """Book what the ledger does not have yet; what that was.

        Raises
        ------
        BrokerUnavailable, BrokerRefused
            The broker does not tell.
        """
        first = self._store.first_run()
        if first is None:
            return ()
        latest = [row.at for row in self._store.dividends(limit=1)]
        latest += [row.at for row in self._store.cash_movements(limit=1)]
        after = max(latest, default=first.started_at) - _LATE
        # What is older than the account's first run is in its start cash.
        told = [r for r in self._broker.cash_activities(after) if r.at >= first.started_at]
        if not told:
            return ()
        known = after - _KNOWN
        booked: list[CashActivity] = [
            *self._store.dividends(start=known, limit=None),
            *self._store.cash_movements(start=known, limit=None),
        ]
        return tuple(row for row in unbooked(told, booked, now) if self._book(row, now))

    def _book(self, row: CashActivity, now: datetime) -> bool:
        if isinstance(row, DividendPaid):
            paid = replace(row, position_id=self._earner(row))
            is_new = self._store.book_dividend(paid, dividend_decision(self._desk, paid))
        else:
            moved = replace(row, booked_at=now)
            is_new = self._store.book_cash(moved, cash_decision(self._desk, moved))
            if is_new and moved.is_transfer:
                self._notifier.alert(_words(moved))
        if is_new:
            kind = "dividend" if isinstance(row, DividendPaid) else row.activity_type
            figures = {"action": "cash", "type": kind, "symbol": row.symbol, "usd": row.usd}
            logger.info("cash moved", extra=figures)
        return is_new

    def _earner(self, paid: DividendPaid) -> str | None:
        """The position that held the shares: the open one, else the last one closed."""
        held = self._store.position(paid.symbol)
        if held is not None and held.opened_at < paid.at:
            return held.position_id
        closed = self._store.closed_positions(paid.at - _EARNED)
        mine = [p for p in closed if _may_have_earned(p, paid)]
        return mine[-1].position_id if mine else None


def _words(moved: CashMoved) -> str:
    way = "into" if moved.usd > 0 else "out of"
    about = f": {moved.description}" if moved.description else ""
    return (
        f"${abs(moved.usd):,.2f} moved {way} the account ({moved.activity_type}{about}); "
        "it counts in no return, loss or drawdown"
    )


def _may_have_earned(position: Position, paid: DividendPaid) -> bool:
    return position.symbol == paid.symbol and position.opened_at < paid.at
