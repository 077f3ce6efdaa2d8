"""The store's stand-in: the whole ledger and evidence in memory.

It keeps the promises of `greenlight.ports.Store`, checked by the contract tests
that PostgreSQL passes, and forgets everything with the process.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

from greenlight.domain import alerts, ledger
from greenlight.domain.audit import (
    GENESIS,
    ChainedDecision,
    Decision,
    DecisionKind,
    Verdict,
    chain_hash,
)
from greenlight.domain.cash import CashMoved
from greenlight.domain.corporate_actions import DividendPaid
from greenlight.domain.costs import fill_cost
from greenlight.domain.orders import (
    TERMINAL,
    Accepted,
    BrokerOrder,
    Execution,
    OrderIntent,
    OrderRecord,
    OrderStatus,
    Outcome,
    Role,
    Side,
)
from greenlight.domain.positions import ExitPlan, Position, apply_fill
from greenlight.domain.trades import Trade, round_trip
from greenlight.ports import (
    Booking,
    FencedError,
    Halt,
    JudgingFacts,
    Run,
    Tally,
)
from greenlight.testing_evidence import last_of
from greenlight.testing_outbox import FakeOutbox


@dataclass(frozen=True, slots=True, kw_only=True)
class _BookedFill:
    fill: Execution
    fees_usd: Decimal
    haircut_usd: Decimal
    position_id: str


class FakeStore(FakeOutbox):
    """`greenlight.ports.Store` in memory; safe to share between threads.

    Set `up` to False and every method raises `StoreUnavailable`, before it
    changes anything. What a method raises, it raises before it changes
    anything, as a transaction would.
    """

    def __init__(self) -> None:
        super().__init__()
        self._runs: dict[str, Run] = {}
        self._epochs: dict[str, int] = {}
        self._desk_epoch = 0
        self._chain: list[ChainedDecision] = []
        self._decided: dict[str, Decision] = {}
        self._orders: dict[str, OrderRecord] = {}
        self._names: dict[str, str] = {}
        self._fills: dict[tuple[str, int], _BookedFill] = {}
        self._positions: dict[str, Position] = {}
        self._trades: list[Trade] = []
        self._dividends: dict[str, DividendPaid] = {}
        self._movements: dict[str, CashMoved] = {}
        self._halts: list[Halt] = []

    # -- life

    def start_run(self, run: Run) -> None:
        """Record that the desk started; a repeated `run_id` is left as it was."""
        with self._turn():
            self._runs.setdefault(run.run_id, run)

    def latest_run(self) -> Run | None:
        """The last run that started, by the order of starting."""
        with self._turn():
            return next(reversed(self._runs.values()), None)

    def first_run(self) -> Run | None:
        """The first run of the latest run's account."""
        with self._turn():
            return self._first_run()

    # -- fencing

    def take_desk(self) -> int:
        """A new epoch of the desk; every holder is fenced."""
        with self._turn():
            self._epochs = {holder: epoch + 1 for holder, epoch in self._epochs.items()}
            self._desk_epoch += 1
            return self._desk_epoch

    def desk_epoch(self) -> int:
        """The current epoch of the desk; 0 before the first."""
        with self._turn():
            return self._desk_epoch

    def take_epoch(self, holder: str, desk_epoch: int | None = None) -> int:
        """A new epoch, one higher than the holder's last, counted from 1.

        Raises `FencedError` for a stale epoch of the desk.
        """
        with self._turn():
            if desk_epoch not in (None, self._desk_epoch):
                raise FencedError(f"the desk's epoch {desk_epoch} is stale: {self._desk_epoch}")
            self._epochs[holder] = self._epochs.get(holder, 0) + 1
            return self._epochs[holder]

    def epoch(self, holder: str) -> int:
        """The current epoch of a holder; 0 before the first."""
        with self._turn():
            return self._epochs.get(holder, 0)

    # -- decisions and orders

    def record_decision(self, decision: Decision) -> bool:
        """Append to the chain; False where the `decision_id` is there already."""
        with self._turn():
            return self._append(decision)

    def record_intent(self, intent: OrderIntent, decision: Decision | None) -> bool:
        """Check the epoch and an entry's plan, append the decision, insert the order.

        Raises `FencedError` or, where an entry has no plan, `ValueError`.
        """
        with self._turn():
            current = self._epochs.get(intent.holder)
            if current != intent.epoch:
                raise FencedError(f"{intent.holder} acts in epoch {intent.epoch}, it is {current}")
            if intent.role is Role.ENTRY:
                self._plan(intent, decision)
            if decision is not None:
                self._append(decision)
            if intent.client_order_id in self._orders:
                return False
            self._orders[intent.client_order_id] = OrderRecord(
                intent=intent,
                order_id=None,
                status=OrderStatus.INTENDED,
                filled_qty=0,
                reason=None,
                updated_at=intent.at,
            )
            return True

    def record_outcome(self, client_order_id: str, outcome: Outcome, at: datetime) -> None:
        """Write what became of sending, and a record for each leg the broker made.

        Raises `LookupError` without an intent, `InvalidTransition` as the table says.
        """
        with self._turn():
            record = self._orders.get(client_order_id)
            if record is None:
                raise LookupError(f"no intent {client_order_id} was recorded")
            if not isinstance(outcome, Accepted):
                status, reason = ledger.outcome_status(record.status, record.filled_qty, outcome)
                self._put(replace(record, status=status, reason=reason, updated_at=at))
                self._tell(alerts.of_outcome(record, outcome, at))
                return
            order = outcome.order
            named = replace(record, order_id=record.order_id or order.order_id)
            changed = self._reported(named, order.status, order.filled_qty, at)
            legs = [self._leg(record, leg, at) for leg in order.legs]
            for leg in (*legs, changed):
                self._put(leg)

    def record_order_status(
        self, order_id: str, status: OrderStatus, filled_qty: int, at: datetime
    ) -> None:
        """Write what the broker reported; an order we do not know is passed over."""
        with self._turn():
            if order_id in self._names:
                record = self._orders[self._names[order_id]]
                self._put(self._reported(record, status, filled_qty, at))

    def order(self, client_order_id: str) -> OrderRecord | None:
        """One of our orders."""
        with self._turn():
            return self._orders.get(client_order_id)

    def open_orders(self, symbol: str | None = None) -> list[OrderRecord]:
        """Our orders whose status is not terminal, oldest first."""
        with self._turn():
            found = [
                record
                for record in self._orders.values()
                if record.status not in TERMINAL and symbol in (None, record.intent.symbol)
            ]
            return sorted(found, key=lambda record: record.intent.at)

    def decisions(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        symbol: str | None = None,
        kind: DecisionKind | None = None,
        verdict: Verdict | None = None,
        limit: int | None = 1000,
    ) -> list[ChainedDecision]:
        """Decisions with start <= at < end in chain order, the last `limit` of them."""
        with self._turn():
            found = [
                row
                for row in self._chain
                if (start is None or row.decision.at >= start)
                and (end is None or row.decision.at < end)
                and symbol in (None, row.decision.symbol)
                and kind in (None, row.decision.kind)
                and verdict in (None, row.decision.verdict)
            ]
            return last_of(found, limit)

    def decision(self, decision_id: str) -> Decision | None:
        """One decision by its id."""
        with self._turn():
            return self._decided.get(decision_id)

    # -- fills, positions, trades

    def book_fill(self, fill: Execution, fees_usd: Decimal) -> Booking:
        """Book one fill, once; one of an order that is not ours counts too.

        Raises `OversoldError` where it sells more than is held.
        """
        with self._turn():
            if (fill.order_id, fill.cum_qty) in self._fills:
                return Booking(is_duplicate=True, position=None, trade=None)
            record = self._order_of_fill(fill)
            before = self._open(fill.symbol)
            plan = None
            is_ours = record is not None and record.intent.role is Role.ENTRY
            if record is not None and is_ours and before is None and fill.side is Side.BUY:
                plan = ledger.renamed(self._plan(record.intent, None), self._positions)
            position = apply_fill(before, fill, plan)
            changed = None
            if record is not None:
                filled = max(record.filled_qty, fill.cum_qty)
                changed = replace(
                    record,
                    order_id=record.order_id or fill.order_id,
                    status=ledger.filled_status(record.status, record.intent.qty, filled),
                    filled_qty=filled,
                    updated_at=fill.at,
                )
            self._positions[position.position_id] = position
            decided = record and self._decided.get(record.intent.decision_id)
            cost = fill_cost(fill, decided.figures if decided else None)
            self._fills[fill.order_id, fill.cum_qty] = _BookedFill(
                fill=fill,
                fees_usd=fees_usd,
                haircut_usd=cost.haircut_usd(fees_usd),
                position_id=position.position_id,
            )
            if changed is not None:
                self._put(changed)
            if before is None:
                entry = None if record is None else record.intent
                self._tell(alerts.opened(position, fill, entry))
            trade = None if position.is_open else self._close(position, record)
            self._tell(None if trade is None else alerts.closed(trade))
            return Booking(is_duplicate=False, position=position, trade=trade)

    def adjust_position(self, position: Position, decision: Decision) -> bool:
        """Replace symbol, quantity, stop and target of an open position.

        False, and nothing changed, where the decision was recorded before or
        the position is not open. Raises `ValueError` where another position
        has the symbol.
        """
        with self._turn():
            held = self._positions.get(position.position_id)
            if held is None or not held.is_open:
                return False
            other = self._open(position.symbol)
            if other is not None and other.position_id != position.position_id:
                raise ValueError(f"{position.symbol} is held already, as {other.position_id}")
            if not self._append(decision):
                return False
            self._positions[position.position_id] = position
            return True

    def leave_by(self, position: Position, exit_by: datetime, decision: Decision) -> bool:
        """Set when an open position is to be left; False as in `adjust_position`."""
        with self._turn():
            held = self._open(position.symbol)
            if held is None or held.position_id != position.position_id:
                return False
            if not self._append(decision):
                return False
            self._positions[held.position_id] = replace(held, exit_by=exit_by)
            return True

    def book_dividend(self, paid: DividendPaid, decision: Decision) -> bool:
        """Book a payment once, with its decision; False where it was booked before."""
        with self._turn():
            if paid.activity_id in self._dividends:
                return False
            self._append(decision)
            self._dividends[paid.activity_id] = paid
            return True

    def dividends(
        self, *, start: datetime | None = None, limit: int | None = 1000
    ) -> list[DividendPaid]:
        """Payments oldest first, the last `limit` of them."""
        with self._turn():
            found = [p for p in self._dividends.values() if start is None or p.at >= start]
            return last_of(sorted(found, key=lambda p: (p.at, p.activity_id)), limit)

    def book_cash(self, moved: CashMoved, decision: Decision) -> bool:
        """Book a movement once, with its decision; False where it was booked before.

        Raises `ValueError` where it does not say when it was booked.
        """
        if moved.booked_at is None:
            raise ValueError(f"{moved.activity_id} does not say when it was booked")
        with self._turn():
            if moved.activity_id in self._movements:
                return False
            self._append(decision)
            self._movements[moved.activity_id] = moved
            return True

    def cash_movements(
        self, *, start: datetime | None = None, limit: int | None = 1000
    ) -> list[CashMoved]:
        """Movements besides fills and dividends, oldest first, the last `limit` of them."""
        with self._turn():
            found = [m for m in self._movements.values() if start is None or m.at >= start]
            return last_of(sorted(found, key=lambda m: (m.at, m.activity_id)), limit)

    def position(self, symbol: str) -> Position | None:
        """The open position of a symbol."""
        with self._turn():
            return self._open(symbol)

    def open_positions(self) -> list[Position]:
        """All open positions by symbol."""
        with self._turn():
            found = [p for p in self._positions.values() if p.is_open]
            return sorted(found, key=lambda p: p.symbol)

    def closed_positions(self, start: datetime) -> list[Position]:
        """Positions closed at or after `start`, in the order of closing."""
        with self._turn():
            found = [
                (p.closed_at, p.position_id, p)
                for p in self._positions.values()
                if p.closed_at is not None and p.closed_at >= start
            ]
            return [p for _, _, p in sorted(found, key=lambda row: row[:2])]

    def fills(self, *, start: datetime | None = None, limit: int | None = 1000) -> list[Execution]:
        """Fills oldest first, the last `limit` of them."""
        with self._turn():
            found = [b.fill for b in self._fills.values() if start is None or b.fill.at >= start]
            return last_of(sorted(found, key=lambda f: f.at), limit)

    def trades(self, *, start: datetime | None = None, limit: int | None = 1000) -> list[Trade]:
        """Closed trades by closing time, the last `limit` of them."""
        with self._turn():
            found = [t for t in self._trades if start is None or t.closed_at >= start]
            return last_of(sorted(found, key=lambda t: (t.closed_at, t.position_id)), limit)

    def cash(self) -> Decimal | None:
        """Start cash of the account's first run, and all that was booked since."""
        with self._turn():
            first = self._first_run()
            if first is None:
                return None
            cash = first.start_cash_usd
            for booked in self._fills.values():
                fill = booked.fill
                if fill.at >= first.started_at:
                    amount = fill.price * fill.qty
                    cash += (amount if fill.side is Side.SELL else -amount) - booked.fees_usd
            moved = [(row.at, row.usd) for row in self._dividends.values()]
            moved += [(row.at, row.usd) for row in self._movements.values()]
            cash += sum(usd for at, usd in moved if at >= first.started_at)
            return cash

    # -- counts and halts

    def tallies(self) -> list[Tally]:
        """All orders, decisions, fills and trades counted, in the order of their names."""
        with self._turn():
            counts: Counter[tuple[str, str, str]] = Counter(
                ("orders", str(record.intent.role), str(record.status))
                for record in self._orders.values()
            )
            rows = [row.decision for row in self._chain]
            counts.update(("decisions", str(row.kind), str(row.verdict)) for row in rows)
            fills = [booked.fill for booked in self._fills.values()]
            counts.update(("fills", str(fill.side), "") for fill in fills)
            counts.update(("trades", trade.exit_reason, "") for trade in self._trades)
            return [
                Tally(of=of, label=label, detail=detail, count=count)
                for (of, label, detail), count in sorted(counts.items())
            ]

    def halt(self, *, at: datetime, until: datetime | None, reason: str) -> None:
        """Halt entries, with its decision row; the same halt again does nothing."""
        with self._turn():
            if self._append(ledger.halt_decision(at, until, reason)):
                self._halts.append(
                    Halt(
                        halt_id=len(self._halts) + 1,
                        at=at,
                        until=until,
                        reason=reason,
                        lifted_at=None,
                        lifted_reason=None,
                    )
                )

    def resume(self, *, at: datetime, reason: str) -> int:
        """Lift all halts in force, with a decision row where there were any."""
        with self._turn():
            lifted = {halt.halt_id for halt in self._halts if _is_in_force(halt, at)}
            self._halts = [
                replace(halt, lifted_at=at, lifted_reason=reason)
                if halt.halt_id in lifted
                else halt
                for halt in self._halts
            ]
            if lifted:
                self._append(ledger.resume_decision(at, reason, len(lifted)))
            return len(lifted)

    def judging_facts(
        self,
        decision_id: str,
        now: datetime,
        *,
        entries_since: datetime,
        equity_since: datetime,
        trades: int,
    ) -> JudgingFacts:
        """What a judgement rests on."""
        taken = self.decisions(
            start=entries_since, kind=DecisionKind.ENTRY, verdict=Verdict.TAKEN, limit=None
        )
        reconciled = self.decisions(kind=DecisionKind.RECONCILE, limit=1)
        return JudgingFacts(
            decided=self.decision(decision_id),
            positions=self.open_positions(),
            open_orders=self.open_orders(),
            entries=[row.decision for row in taken],
            halts=self.halts_in_force(now),
            lifted=self.lifted_halts(equity_since),
            movements=self.cash_movements(start=equity_since, limit=None),
            trades=self.trades(limit=trades),
            run=self.latest_run(),
            reconciled=reconciled[-1].decision if reconciled else None,
        )

    def halts_in_force(self, now: datetime) -> list[Halt]:
        """Halts not lifted whose `until` is None or later than `now`."""
        with self._turn():
            return [halt for halt in self._halts if _is_in_force(halt, now)]

    def lifted_halts(self, start: datetime) -> list[Halt]:
        """Halts lifted at or after `start`, in the order of lifting."""
        with self._turn():
            found = [(h.lifted_at, h.halt_id, h) for h in self._halts if h.lifted_at is not None]
            return [halt for at, _, halt in sorted(found, key=lambda r: r[:2]) if at >= start]

    # -- inside

    def _first_run(self) -> Run | None:
        latest = next(reversed(self._runs.values()), None)
        if latest is None:
            return None
        number = latest.account_number
        return next(r for r in self._runs.values() if r.account_number == number)

    def _append(self, decision: Decision) -> bool:
        if decision.decision_id in self._decided:
            return False
        previous = self._chain[-1].row_hash if self._chain else GENESIS
        figures = json.loads(json.dumps(dict(decision.figures)))
        kept = replace(decision, at=decision.at.astimezone(UTC), figures=figures)
        self._chain.append(
            ChainedDecision(
                seq=len(self._chain) + 1,
                decision=kept,
                previous_hash=previous,
                row_hash=chain_hash(previous, decision),
            )
        )
        self._decided[decision.decision_id] = kept
        self._tell(alerts.of_decision(decision))
        return True

    def _tell(self, alert: alerts.Alert | None) -> None:
        if alert is not None:
            self._post(alert)

    def _plan(self, entry: OrderIntent, offered: Decision | None) -> ExitPlan:
        decision = self._decided.get(entry.decision_id)
        if decision is None and offered is not None and offered.decision_id == entry.decision_id:
            decision = offered
        if decision is None:
            raise ValueError(f"entry {entry.client_order_id} has no stored decision")
        return ledger.exit_plan(decision)

    def _put(self, record: OrderRecord) -> None:
        self._orders[record.intent.client_order_id] = record
        if record.order_id is not None:
            self._names[record.order_id] = record.intent.client_order_id

    def _leg(self, parent: OrderRecord, leg: BrokerOrder, at: datetime) -> OrderRecord:
        name = self._names.get(leg.order_id)
        record = ledger.leg_record(parent, leg, at) if name is None else self._orders[name]
        return self._reported(record, leg.status, leg.filled_qty, at)

    def _reported(
        self, record: OrderRecord, status: OrderStatus, filled_qty: int, at: datetime
    ) -> OrderRecord:
        own = (cum_qty for order_id, cum_qty in self._fills if order_id == record.order_id)
        booked = max(own, default=0)
        status, filled = ledger.taken_report(record, status, filled_qty, booked)
        return replace(record, status=status, filled_qty=filled, updated_at=at)

    def _order_of_fill(self, fill: Execution) -> OrderRecord | None:
        name = self._names.get(fill.order_id, fill.client_order_id)
        return None if name is None else self._orders.get(name)

    def _open(self, symbol: str) -> Position | None:
        found = (p for p in self._positions.values() if p.symbol == symbol and p.is_open)
        return next(found, None)

    def _close(self, position: Position, record: OrderRecord | None) -> Trade:
        booked = [b for b in self._fills.values() if b.position_id == position.position_id]
        intent = None if record is None else record.intent
        decision = None if intent is None else self._decided.get(intent.decision_id)
        trade = round_trip(
            position,
            [b.fill for b in booked],
            exit_reason=ledger.closing_reason(intent, decision),
            fees_usd=sum((b.fees_usd for b in booked), Decimal(0)),
            haircut_usd=sum((b.haircut_usd for b in booked), Decimal(0)),
        )
        self._trades.append(trade)
        return trade


def _is_in_force(halt: Halt, now: datetime) -> bool:
    return halt.lifted_at is None and (halt.until is None or halt.until > now)
