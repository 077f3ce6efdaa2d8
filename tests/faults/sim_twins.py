"""The product less one rule each: what the simulation must find.

They live here and not in the product, so that no switch can ever turn a rule off.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from actors.position_monitor import PositionMonitor
from greenlight.domain.audit import Decision
from greenlight.domain.market import Quote
from greenlight.domain.orders import Execution, OrderIntent, Outcome, Role
from greenlight.domain.positions import WatchBand
from greenlight.ports import Booking, Store
from tests.faults.simulation import Twin


class _Passing:
    """A store that passes everything on."""

    def __init__(self, store: Store) -> None:
        self._store: Any = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class LateIntents(_Passing):
    """Writes an intent down only with its outcome, after it was sent."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._kept: dict[str, tuple[OrderIntent, Decision | None]] = {}

    def record_intent(self, intent: OrderIntent, decision: Decision | None) -> bool:
        if self._store.order(intent.client_order_id) is not None:
            return False
        self._kept[intent.client_order_id] = intent, decision
        return True

    def record_outcome(self, client_order_id: str, outcome: Outcome, at: datetime) -> None:
        if client_order_id in self._kept:
            self._store.record_intent(*self._kept.pop(client_order_id))
        self._store.record_outcome(client_order_id, outcome, at)


class NoEpochs(_Passing):
    """Takes an intent under any epoch; whoever asks is told that its own is current."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._own: dict[str, int] = {}

    def take_epoch(self, holder: str, desk_epoch: int | None = None) -> int:
        self._own[holder] = self._store.take_epoch(holder, desk_epoch)
        return self._own[holder]

    def record_intent(self, intent: OrderIntent, decision: Decision | None) -> bool:
        current = replace(intent, epoch=self._store.epoch(intent.holder))
        return bool(self._store.record_intent(current, decision))

    def epoch(self, holder: str) -> int:
        return self._own[holder]


class TwiceBooked(_Passing):
    """Books a fill as often as it is told."""

    def book_fill(self, fill: Execution, fees_usd: Decimal) -> Booking:
        self._store._fills.pop((fill.order_id, fill.cum_qty), None)
        booking: Booking = self._store.book_fill(fill, fees_usd)
        return booking


class OnceProtected(PositionMonitor):
    """Places a pair for a position and never again."""

    def _protect(self, quote: Quote | None, now: datetime) -> WatchBand | None:
        position = self._store.position(self._symbol)
        if position is not None and self._last_attempt(position, Role.PROTECT) > 0:
            return self._band(position)
        return super()._protect(quote, now)


TWINS = {
    "intent_after_effect": Twin(store=LateIntents),
    "no_epoch_check": Twin(store=NoEpochs),
    "fills_booked_twice": Twin(store=TwiceBooked),
    "never_protected_again": Twin(monitor=OnceProtected),
}
