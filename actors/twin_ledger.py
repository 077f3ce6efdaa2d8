"""The ledger as it stood at an instant, rebuilt from its rows.

Before it stands the store of a desk; after it the twin, whose strategist and
judge read from here what the live ones read then. The chain of decisions tells
what came before a decision, also within one instant: halts, entries, splits,
reconciliations. A fill counts from the instant after its own, as a desk books
it after the step that it fell in. Nothing is ever written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from greenlight.domain.audit import ChainedDecision, Decision, DecisionKind, Verdict
from greenlight.domain.cash import CashMoved
from greenlight.domain.orders import (
    TERMINAL,
    Execution,
    OrderRecord,
    OrderStatus,
    Role,
    client_order_id,
)
from greenlight.domain.positions import OversoldError, Position, apply_fill
from greenlight.ports import EquityMark, Halt, JudgingFacts, Run, Store, StrategyState

_TICK: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class TwinLedger:
    """See the module: the part of `Store` that deciding asks for, as of `stand_at`.

    What the twin decides is kept in `decided`, and nothing else of what it writes.

    Parameters
    ----------
    store : Store
        Read once, here; marks of equity are read when they are asked for.
    desk : str
        Part of every order's name.
    """

    def __init__(self, store: Store, desk: str) -> None:
        self.decided: list[Decision] = []
        self._store = store
        self._chain = store.decisions(limit=None)
        self._fills = store.fills(limit=None)
        self._trades = store.trades(limit=None)
        self._movements = store.cash_movements(limit=None)
        self._entries = {
            row.seq: _orders(store, desk, row.decision.decision_id)
            for row in self._chain
            if row.decision.kind is DecisionKind.ENTRY and row.decision.verdict is Verdict.TAKEN
        }
        runs = (store.first_run(), store.latest_run())
        self._runs = [run for run in runs if run is not None]
        self._now, self._seq = _EPOCH, 0

    def stand_at(self, now: datetime, seq: int | None = None) -> None:
        """Show the ledger as of an instant, before the decision with that place in the chain.

        Without a place it is the first one later than the instant.
        """
        if seq is None:
            later = (row.seq for row in self._chain if row.decision.at > now)
            seq = next(later, len(self._chain) + 1)
        self._now, self._seq = now, seq

    # -- what a judgement asks
    def judging_facts(
        self,
        decision_id: str,
        now: datetime,
        *,
        entries_since: datetime,
        equity_since: datetime,
        trades: int,
    ) -> JudgingFacts:
        """See `Store.judging_facts`; nothing has been decided yet."""
        taken = [
            row.decision
            for row in self._before(DecisionKind.ENTRY)
            if row.decision.verdict is Verdict.TAKEN and row.decision.at >= entries_since
        ]
        reconciled = self._before(DecisionKind.RECONCILE)
        closed = [trade for trade in self._trades if trade.closed_at < self._now]
        halts = self._halts()
        return JudgingFacts(
            decided=None,
            positions=self.open_positions(),
            open_orders=self.open_orders(),
            entries=taken,
            halts=[h for h in halts if h.lifted_at is None and (h.until is None or h.until > now)],
            lifted=[h for h in halts if h.lifted_at is not None and h.lifted_at >= equity_since],
            movements=self.cash_movements(start=equity_since),
            trades=closed[max(0, len(closed) - trades) :],
            run=self.latest_run(),
            reconciled=reconciled[-1].decision if reconciled else None,
        )

    def open_positions(self) -> list[Position]:
        """By symbol; only symbol, shares and cost are those of the ledger."""
        held: dict[str, Position] = {}
        changes: list[tuple[datetime, int, Decision | Execution]] = [
            (row.decision.at, 0, row.decision) for row in self._before(DecisionKind.ADJUST)
        ]
        changes += [(fill.at, 1, fill) for fill in self._fills if fill.at < self._now]
        for _, _, event in sorted(changes, key=lambda one: one[:2]):
            if isinstance(event, Decision):
                _adjust(held, event)
                continue
            try:
                after = apply_fill(held.pop(event.symbol, None), event, None)
            except OversoldError:
                # The live ledger passed it over too.
                continue
            if after.is_open:
                held[event.symbol] = after
        return [held[symbol] for symbol in sorted(held)]

    def open_orders(self, symbol: str | None = None) -> list[OrderRecord]:
        """The entries that were not finished; protective orders decide nothing here."""
        found = [
            self._as_of(record)
            for seq, records in self._entries.items()
            for record in records
            if seq < self._seq and record.intent.at <= self._now
        ]
        kept = [
            record
            for record in found
            if record.status not in TERMINAL and symbol in (None, record.intent.symbol)
        ]
        return sorted(kept, key=lambda record: record.intent.at)

    def order(self, client_order_id: str) -> OrderRecord | None:
        """One of the entries' orders."""
        for records in self._entries.values():
            for record in records:
                intent = record.intent
                if intent.client_order_id == client_order_id and intent.at <= self._now:
                    return self._as_of(record)
        return None

    def decision(self, decision_id: str) -> Decision | None:
        """One decision by its id."""
        rows = (row.decision for row in self._chain if row.seq < self._seq)
        return next((row for row in rows if row.decision_id == decision_id), None)

    def decisions(
        self,
        *,
        start: datetime | None = None,
        kind: DecisionKind | None = None,
        limit: int | None = 1000,
    ) -> list[ChainedDecision]:
        """Decisions up to now in chain order."""
        return [row for row in self._before(kind) if start is None or row.decision.at >= start]

    def cash_movements(
        self, *, start: datetime | None = None, limit: int | None = None
    ) -> list[CashMoved]:
        """Movements that were booked by now."""
        return [
            row
            for row in self._movements
            if (start is None or row.at >= start)
            and row.booked_at is not None
            and row.booked_at <= self._now
        ]

    def equity(self, start: datetime, end: datetime, source: str) -> list[EquityMark]:
        """Marks in [start, end) up to now."""
        return self._store.equity(start, min(end, self._now + _TICK), source)

    def latest_run(self) -> Run | None:
        """The latest run if it had begun by now, else the account's first."""
        begun = [run for run in self._runs if run.started_at <= self._now]
        return begun[-1] if begun else next(iter(self._runs), None)

    # -- what a strategist and a gateway ask besides
    def strategy_states(self, strategy: str) -> list[StrategyState]:
        """None are kept: the twin begins where the account did."""
        return []

    def save_strategy_states(self, states: Sequence[StrategyState]) -> None:
        """Nothing is written."""

    def record_decision(self, decision: Decision) -> bool:
        """Keep what the twin decided."""
        self.decided.append(decision)
        return True

    def take_epoch(self, holder: str, desk_epoch: int | None = None) -> int:
        """The twin holds no office."""
        return 0

    # -- inside
    def _before(self, kind: DecisionKind | None) -> list[ChainedDecision]:
        return [
            row for row in self._chain if row.seq < self._seq and kind in (None, row.decision.kind)
        ]

    def _halts(self) -> list[Halt]:
        halts: list[Halt] = []
        for row in self._chain:
            decision = row.decision
            if row.seq >= self._seq:
                break
            if decision.kind is DecisionKind.HALT:
                until = decision.figures.get("until")
                halt = Halt(
                    halt_id=row.seq,
                    at=decision.at,
                    until=None if until is None else datetime.fromisoformat(str(until)),
                    reason=decision.reason,
                    lifted_at=None,
                    lifted_reason=None,
                )
                halts.append(halt)
            elif decision.kind is DecisionKind.RESUME:
                halts = [_lifted(halt, decision) for halt in halts]
        return halts

    def _as_of(self, record: OrderRecord) -> OrderRecord:
        own = [f.cum_qty for f in self._fills if f.order_id == record.order_id and f.at < self._now]
        filled = max(own, default=0)
        status = OrderStatus.PARTIALLY_FILLED if filled else OrderStatus.WORKING
        if filled >= record.intent.qty:
            status = OrderStatus.FILLED
        elif record.status in TERMINAL - {OrderStatus.FILLED} and record.updated_at <= self._now:
            status = record.status
        return replace(record, status=status, filled_qty=filled)


def _orders(store: Store, desk: str, decided: str) -> list[OrderRecord]:
    """All orders of an entry, the first one first."""
    found: list[OrderRecord] = []
    while True:
        name = client_order_id(desk, decided, Role.ENTRY, len(found) + 1)
        record = store.order(name)
        if record is None:
            return found
        found.append(record)


def _lifted(halt: Halt, resumed: Decision) -> Halt:
    is_over = halt.until is not None and halt.until <= resumed.at
    if halt.lifted_at is not None or is_over:
        return halt
    return replace(halt, lifted_at=resumed.at, lifted_reason=resumed.reason)


def _adjust(held: dict[str, Position], decision: Decision) -> None:
    """A split's new quantity, or a new name; what was only watched has quantity 0."""
    figures = decision.figures
    before = str(figures.get("symbol.before", decision.symbol))
    qty = figures.get("qty")
    position = held.get(before)
    is_ours = decision.verdict is Verdict.TAKEN and isinstance(qty, int) and qty > 0
    if position is None or not is_ours or decision.symbol is None:
        return
    del held[before]
    held[decision.symbol] = replace(position, symbol=decision.symbol, qty=int(str(qty)))
