"""The one way to the broker: record the intent, send it, settle what came of it.

Before it stand the risk gate and the monitors' exits, the only ones that may
hold a gateway; after it the broker. The intent and its name are in the store
before anything is sent, under an epoch that the store checks, and every repeat
uses the same name; so a crash, a lost answer or a second desk never makes two
orders of one decision.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from greenlight.domain.audit import Decision
from greenlight.domain.orders import (
    TERMINAL,
    Accepted,
    BrokerOrder,
    Denied,
    OrderIntent,
    OrderKind,
    OrderRecord,
    OrderStatus,
    Outcome,
    Rejected,
    Role,
    Side,
    TimeInForce,
    Unresolved,
    client_order_id,
)
from greenlight.ports import (
    Broker,
    BrokerRefused,
    BrokerUnavailable,
    FencedError,
    Sleep,
    Store,
)

logger = logging.getLogger(__name__)

LOOKUP_WAITS_S: Final = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Waits between look-ups of an unresolved order; then it is sent again."""
_SENDS: Final = 3


class OrderGateway:
    """Sends orders for one holder of an epoch.

    Parameters
    ----------
    store : Store
        Holds intents, outcomes and epochs.
    broker : Broker
        Takes the orders.
    desk : str
        Part of every order's name.
    holder : str
        Who sends: "risk-gate" or "monitor:AAPL". Its epoch is taken here, and
        whoever held it before is fenced.
    sleep : Sleep
        Waits, in seconds, between look-ups.
    desk_epoch : int | None
        The desk's own term of office; None where there is but one desk.

    Raises
    ------
    FencedError
        Another desk has taken over.
    """

    def __init__(
        self,
        *,
        store: Store,
        broker: Broker,
        desk: str,
        holder: str,
        sleep: Sleep,
        desk_epoch: int | None = None,
    ) -> None:
        self._store = store
        self._broker = broker
        self._desk = desk
        self._holder = holder
        self._sleep = sleep
        self._epoch = store.take_epoch(holder, desk_epoch)
        self._is_fenced = False

    @property
    def epoch(self) -> int:
        """The term of office under which this gateway sends."""
        return self._epoch

    def is_current(self) -> bool:
        """Whether nobody has taken over since; asked of the store."""
        self._is_fenced = self._store.epoch(self._holder) != self._epoch
        return not self._is_fenced

    @property
    def is_fenced(self) -> bool:
        """Whether it has met a newer holder: this one can do nothing any more, and should end."""
        return self._is_fenced

    def send(
        self,
        *,
        decision: Decision | None,
        decision_id: str,
        role: Role,
        attempt: int,
        symbol: str,
        side: Side,
        kind: OrderKind,
        qty: int,
        limit_price: Decimal | None,
        stop_price: Decimal | None,
        time_in_force: TimeInForce,
        at: datetime,
        replaces: str | None = None,
        correlation_id: str | None = None,
    ) -> Outcome:
        """Record and send one order of one decision.

        Parameters
        ----------
        decision : Decision | None
            Recorded in the same transaction; None where it is in the store.
        decision_id, role, attempt
            Name the order. The same three never make a second one.
        at : datetime
            Aware UTC.
        correlation_id : str | None
            For the log; None where the decision is the entry's own.

        Returns
        -------
        Outcome
            `Denied` when another holder has taken over; `Unresolved` when even
            repeated look-ups did not tell, to be settled by `settle`.
        """
        intent = OrderIntent(
            client_order_id=client_order_id(self._desk, decision_id, role, attempt),
            decision_id=decision_id,
            role=role,
            attempt=attempt,
            symbol=symbol,
            side=side,
            kind=kind,
            qty=qty,
            limit_price=limit_price,
            stop_price=stop_price,
            time_in_force=time_in_force,
            replaces=replaces,
            holder=self._holder,
            epoch=self._epoch,
            at=at,
        )
        try:
            is_new = self._store.record_intent(intent, decision)
        except FencedError as error:
            self._is_fenced = True
            logger.warning("fenced: %s", error, extra={"action": "deny_order"})
            return Denied(reason=str(error))
        if not is_new:
            record = self._store.order(intent.client_order_id)
            if record is not None:
                return self.settle(record, at)
        outcome = self._conclude(intent, self._broker.submit(intent), at)
        self._log(intent, outcome, correlation_id or decision_id)
        return outcome

    def _log(self, intent: OrderIntent, outcome: Outcome, correlation_id: str) -> None:
        is_accepted = isinstance(outcome, Accepted)
        logger.log(
            logging.INFO if is_accepted else logging.WARNING,
            "%s order %s",
            intent.role,
            type(outcome).__name__.lower(),
            extra={
                "action": "order",
                "correlation_id": correlation_id,
                "decision_id": intent.decision_id,
                "client_order_id": intent.client_order_id,
                "order_id": outcome.order.order_id if isinstance(outcome, Accepted) else None,
                "symbol": intent.symbol,
                "role": intent.role,
                "qty": intent.qty,
                "limit_price_usd": intent.limit_price,
                "stop_price_usd": intent.stop_price,
            },
        )

    def settle(self, record: OrderRecord, at: datetime) -> Outcome:
        """Find out what became of a recorded order, and send it if it never arrived."""
        intent = record.intent
        if record.status is OrderStatus.REFUSED:
            return Rejected(http_status=0, code=None, message=record.reason or "refused before")
        return self._conclude(intent, Unresolved(reason="looked up after a restart"), at)

    def _conclude(self, intent: OrderIntent, outcome: Outcome, at: datetime) -> Outcome:
        sends = 1
        while isinstance(outcome, Unresolved):
            self._store.record_outcome(intent.client_order_id, outcome, at)
            found = self._look_up(intent.client_order_id)
            if found is not None:
                outcome = Accepted(order=found)
                break
            if sends >= _SENDS:
                logger.error(
                    "order stays unresolved",
                    extra={"action": "unresolved", "client_order_id": intent.client_order_id},
                )
                return outcome
            sends += 1
            if not self.is_current():
                # Another holder looks it up and sends it, if anybody should.
                return Denied(reason=f"{self._holder} has another holder now")
            intent = replace(intent, holder=self._holder, epoch=self._epoch)
            outcome = self._broker.submit(intent)
        if isinstance(outcome, Rejected) and sends > 1 and intent.replaces is not None:
            # "Already replaced", perhaps by this very order, whose answer was lost.
            found = self._look_up(intent.client_order_id)
            outcome = outcome if found is None else Accepted(order=found)
        self._store.record_outcome(intent.client_order_id, outcome, at)
        if isinstance(outcome, Rejected):
            logger.warning(
                "order refused: %s",
                outcome.message,
                extra={"action": "order_refused", "client_order_id": intent.client_order_id},
            )
        return outcome

    def _look_up(self, name: str) -> BrokerOrder | None:
        for wait_s in (0.0, *LOOKUP_WAITS_S):
            if wait_s:
                self._sleep(wait_s)
            try:
                found = self._broker.find_order(name)
            except (BrokerUnavailable, BrokerRefused) as error:
                logger.warning("look-up failed: %s", error, extra={"action": "look_up"})
                continue
            if found is not None:
                return found
        return None

    def cancel(self, order_id: str, at: datetime) -> BrokerOrder | None:
        """Cancel an order and wait until the broker says it is finished.

        Returns
        -------
        BrokerOrder | None
            The finished order (canceled, or filled when the fill was faster);
            None when the broker did not confirm in time, or was not asked because
            another holder has taken over.
        """
        if not self.is_current():
            logger.warning("fenced: no cancel", extra={"action": "deny_cancel"})
            return None
        self._broker.cancel(order_id)
        order: BrokerOrder | None = None
        for wait_s in (0.0, 0.01, 0.02, *LOOKUP_WAITS_S, 1.0):
            if wait_s:
                self._sleep(wait_s)
            try:
                order = self._broker.order(order_id)
            except (BrokerUnavailable, BrokerRefused) as error:
                logger.warning("look-up failed: %s", error, extra={"action": "look_up"})
                continue
            if order is not None and order.status in TERMINAL:
                self.note(order, *order.legs, at=at)
                return order
        return None

    def look(self, order_id: str, at: datetime) -> None:
        """Ask for an order and store what the broker says of it, if it answers."""
        try:
            order = self._broker.order(order_id)
        except (BrokerUnavailable, BrokerRefused) as error:
            logger.warning("look-up failed: %s", error, extra={"action": "look_up"})
            return
        if order is not None:
            self.note(order, *order.legs, at=at)

    def note(self, *orders: BrokerOrder, at: datetime) -> None:
        """Store what the broker says of orders."""
        for order in orders:
            self._store.record_order_status(order.order_id, order.status, order.filled_qty, at)

    def abandon(self, record: OrderRecord, at: datetime) -> Outcome:
        """Settle an order that is too old to be sent: adopt it if it arrived, else drop it.

        Returns
        -------
        Outcome
            `Denied` where the broker has no such order; `Unresolved` while it
            does not say.
        """
        name = record.intent.client_order_id
        outcome: Outcome
        try:
            found = self._broker.find_order(name)
        except (BrokerUnavailable, BrokerRefused) as error:
            outcome = Unresolved(reason=f"look-up failed: {error}")
        else:
            outcome = Denied(reason="it never arrived and is too old to be sent")
            if found is not None:
                outcome = Accepted(order=found)
        self._store.record_outcome(name, outcome, at)
        return outcome

    def settle_all(self, records: Sequence[OrderRecord], at: datetime) -> None:
        """Settle every order that was intended or unresolved when its sender died."""
        for record in records:
            if record.status in {OrderStatus.INTENDED, OrderStatus.UNRESOLVED}:
                self.settle(record, at)
