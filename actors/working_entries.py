"""The entries that rest at the broker: settled, priced again, cancelled in time.

Before it stands the risk gate, which sends an entry's first order; after it the
order gateway. It remembers nothing: how often an entry was priced again is how
many orders its decision has in the store, and its highest price is a figure of
that decision. A changed price is a new order that replaces the old one, intent
first; until the broker says that the old one is gone, both count.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from actors.order_gateway import OrderGateway
from greenlight.domain.audit import Decision, DecisionKind, Figure, Verdict
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.execution import (
    HALTED,
    Cancel,
    EntryPolicy,
    Reprice,
    WorkingEntry,
    next_look,
    work_entry,
)
from greenlight.domain.market import Quote
from greenlight.domain.orders import (
    Accepted,
    OrderKind,
    OrderRecord,
    OrderStatus,
    Role,
    Side,
    TimeInForce,
    client_order_id,
    decision_id,
)
from greenlight.ports import Store

logger = logging.getLogger(__name__)

_UNSETTLED: Final = frozenset({OrderStatus.INTENDED, OrderStatus.UNRESOLVED})
_RESTING: Final = frozenset({OrderStatus.WORKING, OrderStatus.PARTIALLY_FILLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryCosts:
    """What the open entries may still cost at their highest prices, in US dollars.

    `unreserved_usd` is the part that the broker does not hold back yet, because
    the limits that rest there are lower.
    """

    by_symbol: dict[str, Decimal]
    unreserved_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One decision's orders: the first, those not finished, and the last attempt's."""

    first: OrderRecord
    unfinished: Sequence[OrderRecord]
    last: OrderRecord

    @property
    def resting(self) -> OrderRecord:
        return self.unfinished[-1]


class WorkingEntries:
    """See the module. Its gateway is the risk gate's."""

    def __init__(
        self,
        *,
        store: Store,
        gateway: OrderGateway,
        desk: str,
        policy: EntryPolicy,
        limits: RiskLimits,
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._desk = desk
        self._policy = policy
        self._limits = limits
        self._timeout = timedelta(seconds=policy.timeout_s)

    def settle_all(self, now: datetime) -> None:
        """Find out about every entry whose sending was cut short."""
        for record in _of_entries(self._store.open_orders()):
            self.settle(record, now)

    def settle(self, record: OrderRecord, now: datetime) -> None:
        """Find out about an entry whose sending was cut short.

        It was judged on its own minute: later than its time-out it is not sent.
        """
        if record.status not in _UNSETTLED:
            return
        if self._first(record).intent.at + self._timeout <= now:
            self._gateway.abandon(record, now)
        else:
            self._gateway.settle(record, now)

    def costs(self, open_orders: Sequence[OrderRecord]) -> EntryCosts:
        """What the entries among our open orders may still cost."""
        costs: dict[str, Decimal] = {}
        unreserved = Decimal(0)
        for entry in self._entries(open_orders):
            highest = self._max_price(entry.first)
            for record in entry.unfinished:
                intent = record.intent
                left = intent.qty - record.filled_qty
                costs[intent.symbol] = costs.get(intent.symbol, Decimal(0)) + highest * left
                unreserved += (highest - (intent.limit_price or Decimal(0))) * left
        return EntryCosts(by_symbol=costs, unreserved_usd=unreserved)

    def next_look(self, now: datetime) -> datetime | None:
        """When `sweep` has something to decide, or None without entries."""
        entries = self._entries(self._store.open_orders())
        due = [next_look(self._working(entry), self._policy, now) for entry in entries]
        return min(due, default=None)

    def sweep(self, quotes: Sequence[Quote], now: datetime) -> None:
        """Price again what the market left behind; cancel what rested too long, or in a halt."""
        by_symbol = {quote.symbol: quote for quote in quotes}
        entries = self._entries(self._store.open_orders())
        is_halted = bool(entries) and bool(self._store.halts_in_force(now))
        for entry in entries:
            quote = by_symbol.get(entry.first.intent.symbol)
            step = work_entry(self._working(entry), quote, self._policy, self._limits, now)
            if is_halted:
                step = Cancel(reason=HALTED)
            if isinstance(step, Cancel):
                for record in entry.unfinished:
                    self._cancel(entry, record, step, now)
            elif not self._is_clear(entry, now):
                continue
            elif isinstance(step, Reprice) and quote is not None:
                self._reprice(entry, step.limit_price, quote, now)

    # -- reading
    def _entries(self, open_orders: Sequence[OrderRecord]) -> list[_Entry]:
        """The decisions with an unfinished order, the oldest first."""
        found: dict[str, list[OrderRecord]] = {}
        for record in _of_entries(open_orders):
            found.setdefault(record.intent.decision_id, []).append(record)
        entries = []
        for records in found.values():
            records.sort(key=lambda record: record.intent.attempt)
            last = self._last(records[-1])
            entries.append(_Entry(first=self._first(records[0]), unfinished=records, last=last))
        return entries

    def _attempt(self, decided: str, attempt: int) -> OrderRecord | None:
        return self._store.order(client_order_id(self._desk, decided, Role.ENTRY, attempt))

    def _first(self, record: OrderRecord) -> OrderRecord:
        if record.intent.attempt == 1:
            return record
        return self._attempt(record.intent.decision_id, 1) or record

    def _last(self, record: OrderRecord) -> OrderRecord:
        """The entry's last order: later ones than `record` may have been refused."""
        for attempt in itertools.count(record.intent.attempt + 1):
            later = self._attempt(record.intent.decision_id, attempt)
            if later is None:
                break
            record = later
        return record

    def _working(self, entry: _Entry) -> WorkingEntry:
        return WorkingEntry(
            first_at=entry.first.intent.at,
            last_at=entry.last.intent.at,
            reprices=entry.last.intent.attempt - 1,
            limit_price=entry.resting.intent.limit_price or Decimal(0),
            max_price=self._max_price(entry.first),
        )

    def _max_price(self, first: OrderRecord) -> Decimal:
        """The highest price that the risk chain judged; without one, the first limit."""
        intent = first.intent
        decision = self._store.decision(intent.decision_id)
        judged = None if decision is None else decision.figures.get("max_price")
        if judged is not None:
            return Decimal(str(judged))
        return intent.limit_price or Decimal(0)

    # -- acting
    def _is_clear(self, entry: _Entry, now: datetime) -> bool:
        """Whether one order rests and nothing about the others is open; asks about those."""
        if len(entry.unfinished) == 1 and entry.resting.status in _RESTING:
            return True
        for record in entry.unfinished:
            if record.order_id is None:
                self.settle(record, now)
            else:
                self._gateway.look(record.order_id, now)
        return False

    def _reprice(self, entry: _Entry, limit: Decimal, quote: Quote, now: datetime) -> None:
        old = entry.resting.intent
        attempt = entry.last.intent.attempt + 1
        decision = self._decision(
            entry,
            "reprice",
            str(attempt),
            kind=DecisionKind.REPRICE,
            reason="the ask moved away",
            figures={
                "qty": old.qty,
                "filled_qty": entry.resting.filled_qty,
                "limit_price.before": str(old.limit_price),
                "limit_price": str(limit),
                "max_price": str(self._max_price(entry.first)),
                "bid": quote.bid,
                "ask": quote.ask,
                "reprices": attempt - 1,
                "reprices.limit": self._policy.reprices,
            },
            now=now,
        )
        outcome = self._gateway.send(
            decision=decision,
            decision_id=old.decision_id,
            role=Role.ENTRY,
            attempt=attempt,
            symbol=old.symbol,
            side=Side.BUY,
            kind=OrderKind.LIMIT,
            # A replacement's quantity is the whole order's: what is filled counts for it.
            qty=old.qty,
            limit_price=limit,
            stop_price=None,
            time_in_force=TimeInForce.DAY,
            at=now,
            replaces=entry.resting.order_id,
        )
        if isinstance(outcome, Accepted) and entry.resting.order_id is not None:
            self._gateway.look(entry.resting.order_id, now)

    def _cancel(self, entry: _Entry, record: OrderRecord, step: Cancel, now: datetime) -> None:
        if record.order_id is None:
            self.settle(record, now)
            return
        decision = self._decision(
            entry,
            "cancel",
            kind=DecisionKind.CANCEL,
            reason=step.reason,
            figures={
                "qty": record.intent.qty,
                "filled_qty": record.filled_qty,
                "limit_price": str(record.intent.limit_price),
                "reprices": entry.last.intent.attempt - 1,
            },
            now=now,
        )
        self._store.record_decision(decision)
        if self._gateway.cancel(record.order_id, now) is None:
            logger.warning(
                "cancel of an entry is not confirmed yet",
                extra={
                    "action": "cancel_entry",
                    "correlation_id": record.intent.decision_id,
                    "client_order_id": record.intent.client_order_id,
                },
            )

    def _decision(
        self,
        entry: _Entry,
        *parts: str,
        kind: DecisionKind,
        reason: str,
        figures: dict[str, Figure],
        now: datetime,
    ) -> Decision:
        intent = entry.first.intent
        rested: dict[str, Figure] = {
            "rested_s": (now - intent.at).total_seconds(),
            "rested_s.limit": self._policy.timeout_s,
        }
        return Decision(
            decision_id=decision_id(self._desk, intent.decision_id, *parts),
            at=now,
            kind=kind,
            verdict=Verdict.TAKEN,
            symbol=intent.symbol,
            strategy=None,
            reason=reason,
            figures=figures | rested,
        )


def _of_entries(orders: Sequence[OrderRecord]) -> list[OrderRecord]:
    return [record for record in orders if record.intent.role is Role.ENTRY]
