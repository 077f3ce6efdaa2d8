"""The store on PostgreSQL, with or without TimescaleDB.

Before it stand the actors, which hand over what was decided and what happened;
after it whatever reads the record. Decided here: what is one transaction, what
waits for whom (the chain's end, a holder's epoch, a symbol's position), and
which writes may be lost with the last moments before a crash of the machine:
bulk recordings and strategy memory (both can be made again) do not wait for
the disk; orders, fills, decisions, equity and evaluations do. What a fill or a
report does to the ledger is the domain's (`greenlight.domain.ledger`).

A position monitor imports this file, so it stays light.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import psycopg

from greenlight.adapters import timescale_rows as rows
from greenlight.adapters.timescale_news import NewsTables
from greenlight.adapters.timescale_outbox import OutboxTables
from greenlight.adapters.timescale_pool import Connection
from greenlight.adapters.timescale_schema import migrate
from greenlight.domain import alerts, ledger
from greenlight.domain.audit import (
    ChainedDecision,
    Decision,
    DecisionKind,
    Verdict,
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

__all__ = ["TimescaleStore", "migrate"]


_FENCED: Final = "GL001"
"""SQLSTATE of `require_epoch` for a stale epoch."""
_DESK: Final = "(desk)"
"""Holder of the desk's own epoch; no actor has this name."""


class TimescaleStore(OutboxTables, NewsTables):
    """`greenlight.ports.Store` on PostgreSQL; safe to share between threads.

    Connects on the first call, so it can be built while the server is away.
    Every method raises `StoreUnavailable` while nothing answers, and
    `SchemaError` where `migrate` has not run or a newer program's has.

    Parameters
    ----------
    url : str
        ``postgresql://…`` of a database that `migrate` has prepared.
    pool_max : int
        Most connections at once.
    connect_timeout_s : float
        Seconds to wait for the server, or for a free connection.
    deadline_s : float
        Seconds that one statement may take; a bulk load has a minute.
    """

    # -- life

    def start_run(self, run: Run) -> None:
        """Record that the desk started; a repeated `run_id` is left as it was."""
        self._write(
            "insert_run",
            run_id=run.run_id,
            started_at=run.started_at,
            account_kind=run.account_kind,
            account_number=run.account_number,
            source=run.source,
            is_synthetic=run.is_synthetic,
            start_cash_usd=run.start_cash_usd,
            fingerprint=run.fingerprint,
        )

    def latest_run(self) -> Run | None:
        """The last run that started, by the order of starting."""
        found = self._read("latest_run")
        return rows.run_of(found[0]) if found else None

    def first_run(self) -> Run | None:
        """The first run of the latest run's account, by the order of starting."""
        found = self._read("first_run")
        return rows.run_of(found[0]) if found else None

    # -- fencing

    def take_desk(self) -> int:
        """A new epoch of the desk; every holder is fenced."""
        with self._transaction() as connection:
            # The desk's row first, as everybody who takes an epoch locks it first.
            row = self._one(connection, "take_epoch", holder=_DESK)
            self._run(connection, "fence_holders", {"desk": _DESK})
            assert row is not None
            return int(row[0])

    def desk_epoch(self) -> int:
        """The current epoch of the desk; 0 before the first."""
        return self.epoch(_DESK)

    def take_epoch(self, holder: str, desk_epoch: int | None = None) -> int:
        """A new epoch, one higher than the holder's last, counted from 1.

        Raises
        ------
        FencedError
            The desk's epoch is stale.
        """
        with self._transaction() as connection:
            if desk_epoch is not None:
                desk = self._one(connection, "share_epoch", holder=_DESK)
                current = 0 if desk is None else int(desk[0])
                if desk_epoch != current:
                    raise FencedError(f"the desk's epoch {desk_epoch} is stale: {current}")
            row = self._one(connection, "take_epoch", holder=holder)
            assert row is not None
            return int(row[0])

    def epoch(self, holder: str) -> int:
        """The current epoch of a holder; 0 before the first."""
        found = self._read("epoch", holder=holder)
        return int(found[0][0]) if found else 0

    # -- decisions and orders

    def record_decision(self, decision: Decision) -> bool:
        """Append to the chain; False where the `decision_id` is there already."""
        if alerts.of_decision(decision) is not None:
            with self._transaction() as connection:
                return self._append(connection, decision)
        # One statement is a transaction of its own, without two more round trips.
        with self._pool.borrow() as connection:
            return self._append(connection, decision)

    def record_intent(self, intent: OrderIntent, decision: Decision | None) -> bool:
        """Check the epoch, append the decision, insert the order: all or nothing.

        Raises
        ------
        FencedError
            The epoch is not the holder's current one.
        ValueError
            An entry whose decision is not stored or has no exit plan.
        """
        try:
            with self._pool.borrow() as connection:
                if intent.role is Role.ENTRY:
                    if decision is None or decision.decision_id != intent.decision_id:
                        self._plan(connection, intent)
                    else:
                        ledger.exit_plan(decision)
                # An exit waits for this, so all of it is one statement and one round trip.
                row = self._one(
                    connection, "record_intent", **rows.record_intent_values(intent, decision)
                )
        except psycopg.DatabaseError as error:
            if error.sqlstate == _FENCED:
                raise FencedError(str(error.diag.message_primary)) from error
            raise
        return row is not None and bool(row[0])

    def record_outcome(self, client_order_id: str, outcome: Outcome, at: datetime) -> None:
        """Write what became of sending, and a row for each leg the broker made.

        Raises
        ------
        LookupError
            No intent of that name was recorded.
        InvalidTransition
            The outcome cannot follow the order's status.
        """
        with self._transaction() as connection:
            row = self._one(connection, "lock_order", client_order_id=client_order_id)
            if row is None:
                raise LookupError(f"no intent {client_order_id} was recorded")
            record = rows.order_of(row)
            if not isinstance(outcome, Accepted):
                status, reason = ledger.outcome_status(record.status, record.filled_qty, outcome)
                self._update_order(
                    connection, client_order_id, None, status, record.filled_qty, reason, at
                )
                self._tell(connection, alerts.of_outcome(record, outcome, at))
                return
            order = outcome.order
            named = replace(record, order_id=record.order_id or order.order_id)
            self._report(connection, named, order.status, order.filled_qty, at)
            for leg in order.legs:
                self._record_leg(connection, record, leg, at)

    def record_order_status(
        self, order_id: str, status: OrderStatus, filled_qty: int, at: datetime
    ) -> None:
        """Write what the broker reported; an order we do not know is passed over.

        Raises
        ------
        InvalidTransition
            The report cannot follow the order's status.
        """
        with self._transaction() as connection:
            row = self._one(connection, "lock_broker_order", order_id=order_id)
            if row is not None:
                self._report(connection, rows.order_of(row), status, filled_qty, at)

    def order(self, client_order_id: str) -> OrderRecord | None:
        """One of our orders."""
        found = self._read("order", client_order_id=client_order_id)
        return rows.order_of(found[0]) if found else None

    def open_orders(self, symbol: str | None = None) -> list[OrderRecord]:
        """Our orders whose status is not terminal, oldest first."""
        return [rows.order_of(row) for row in self._read("open_orders", symbol=symbol)]

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
        found = self._read(
            "decisions",
            start=start,
            end=end,
            symbol=symbol,
            kind=kind,
            verdict=verdict,
            limit=limit,
        )
        return [rows.decision_of(row) for row in found]

    def decision(self, decision_id: str) -> Decision | None:
        """One decision by its id."""
        found = self._read("decision", decision_id=decision_id)
        return rows.decision_of(found[0]).decision if found else None

    # -- fills, positions, trades

    def book_fill(self, fill: Execution, fees_usd: Decimal) -> Booking:
        """Book one fill, once, in one transaction.

        A fill of an order that is not ours changes the symbol's position too.

        Raises
        ------
        OversoldError
            It sells more than is held; nothing is written.
        ValueError
            The entry it belongs to has no exit plan; nothing is written.
        """
        with self._transaction() as connection:
            self._run(connection, "lock_symbol", {"symbol": fill.symbol})
            key = {"order_id": fill.order_id, "cum_qty": fill.cum_qty}
            if self._one(connection, "has_fill", **key) is not None:
                return Booking(is_duplicate=True, position=None, trade=None)
            record = self._order_of_fill(connection, fill)
            position = self._change_position(connection, fill, record)
            decided = record and self._decision(connection, record.intent.decision_id)
            cost = fill_cost(fill, decided.figures if decided else None)
            values = rows.fill_values(fill, cost, fees_usd) | {"position_id": position.position_id}
            if self._run(connection, "insert_fill", values).rowcount != 1:
                raise RuntimeError(f"fill {fill.order_id}/{fill.cum_qty} names two symbols")
            if record is not None:
                filled = max(record.filled_qty, fill.cum_qty)
                status = ledger.filled_status(record.status, record.intent.qty, filled)
                self._update_order(
                    connection,
                    record.intent.client_order_id,
                    fill.order_id,
                    status,
                    filled,
                    None,
                    fill.at,
                )
            trade = None if position.is_open else self._close(connection, position, record)
            self._tell(connection, None if trade is None else alerts.closed(trade))
            return Booking(is_duplicate=False, position=position, trade=trade)

    def adjust_position(self, position: Position, decision: Decision) -> bool:
        """Replace symbol, quantity, stop and target of an open position.

        False, and nothing changed, where the decision was recorded before or
        the position is not open.

        Raises
        ------
        ValueError
            Another position has the symbol.
        """
        values = rows.position_values(position)
        return self._decide_position(position, decision, "update_position", values)

    def leave_by(self, position: Position, exit_by: datetime, decision: Decision) -> bool:
        """Set when an open position is to be left; False as in `adjust_position`."""
        values = {"position_id": position.position_id, "exit_by": exit_by}
        return self._decide_position(position, decision, "leave_by", values)

    def book_dividend(self, paid: DividendPaid, decision: Decision) -> bool:
        """Book a payment once, with its decision; False where it was booked before."""
        with self._transaction() as connection:
            cursor = self._run(connection, "insert_dividend", rows.dividend_values(paid))
            if cursor.rowcount != 1:
                return False
            self._append(connection, decision)
            return True

    def dividends(
        self, *, start: datetime | None = None, limit: int | None = 1000
    ) -> list[DividendPaid]:
        """Payments oldest first, the last `limit` of them."""
        found = self._read("dividends", start=start, limit=limit)
        return [rows.dividend_of(row) for row in found]

    def book_cash(self, moved: CashMoved, decision: Decision) -> bool:
        """Book a movement once, with its decision; False where it was booked before.

        Raises
        ------
        ValueError
            It does not say when it was booked.
        """
        if moved.booked_at is None:
            raise ValueError(f"{moved.activity_id} does not say when it was booked")
        with self._transaction() as connection:
            values = rows.cash_movement_values(moved)
            if self._run(connection, "insert_cash_movement", values).rowcount != 1:
                return False
            self._append(connection, decision)
            return True

    def cash_movements(
        self, *, start: datetime | None = None, limit: int | None = 1000
    ) -> list[CashMoved]:
        """Movements besides fills and dividends, oldest first, the last `limit` of them."""
        found = self._read("cash_movements", start=start, limit=limit)
        return [rows.cash_movement_of(row) for row in found]

    def judging_facts(
        self,
        decision_id: str,
        now: datetime,
        *,
        entries_since: datetime,
        equity_since: datetime,
        trades: int,
    ) -> JudgingFacts:
        """What a judgement rests on: one round trip instead of ten."""
        any_decision = dict.fromkeys(("start", "end", "symbol", "kind", "verdict", "limit"))
        taken = {"start": entries_since, "kind": DecisionKind.ENTRY, "verdict": Verdict.TAKEN}
        decided, positions, orders, entries, halts, lifted, moved, last, run, reconciled = (
            self._read_together(
                ("decision", {"decision_id": decision_id}),
                ("open_positions", {}),
                ("open_orders", {"symbol": None}),
                ("decisions", any_decision | taken),
                ("halts_in_force", {"now": now}),
                ("lifted_halts", {"start": equity_since}),
                ("cash_movements", {"start": equity_since, "limit": None}),
                ("trades", {"start": None, "limit": trades}),
                ("latest_run", {}),
                ("decisions", any_decision | {"kind": DecisionKind.RECONCILE, "limit": 1}),
            )
        )
        return JudgingFacts(
            decided=rows.decision_of(decided[0]).decision if decided else None,
            positions=[rows.position_of(row) for row in positions],
            open_orders=[rows.order_of(row) for row in orders],
            entries=[rows.decision_of(row).decision for row in entries],
            halts=[rows.halt_of(row) for row in halts],
            lifted=[rows.halt_of(row) for row in lifted],
            movements=[rows.cash_movement_of(row) for row in moved],
            trades=[rows.trade_of(row) for row in last],
            run=rows.run_of(run[0]) if run else None,
            reconciled=rows.decision_of(reconciled[0]).decision if reconciled else None,
        )

    def position(self, symbol: str) -> Position | None:
        """The open position of a symbol."""
        found = self._read("position", symbol=symbol)
        return rows.position_of(found[0]) if found else None

    def open_positions(self) -> list[Position]:
        """All open positions by symbol."""
        return [rows.position_of(row) for row in self._read("open_positions")]

    def closed_positions(self, start: datetime) -> list[Position]:
        """Positions closed at or after `start`, in the order of closing."""
        return [rows.position_of(row) for row in self._read("closed_positions", start=start)]

    def fills(self, *, start: datetime | None = None, limit: int | None = 1000) -> list[Execution]:
        """Fills oldest first, the last `limit` of them."""
        return [rows.fill_of(row) for row in self._read("fills", start=start, limit=limit)]

    def trades(self, *, start: datetime | None = None, limit: int | None = 1000) -> list[Trade]:
        """Closed trades by closing time, the last `limit` of them."""
        return [rows.trade_of(row) for row in self._read("trades", start=start, limit=limit)]

    def cash(self) -> Decimal | None:
        """Start cash of the account's first run, and all that was booked since."""
        found = self._read("cash")
        return found[0][0] if found else None

    # -- counts and halts

    def tallies(self) -> list[Tally]:
        """All orders, decisions, fills and trades counted, in the order of their names."""
        return [
            Tally(of=of, label=label, detail=detail, count=count)
            for of, label, detail, count in self._read("tallies")
        ]

    def halt(self, *, at: datetime, until: datetime | None, reason: str) -> None:
        """Halt entries, with its decision row; the same halt again does nothing."""
        with self._transaction() as connection:
            if self._append(connection, ledger.halt_decision(at, until, reason)):
                values = {"at": at, "until": until, "reason": reason}
                self._run(connection, "insert_halt", values)

    def resume(self, *, at: datetime, reason: str) -> int:
        """Lift all halts in force, with a decision row where there were any."""
        with self._transaction() as connection:
            lifted = self._run(connection, "lift_halts", {"at": at, "reason": reason}).rowcount
            if lifted:
                self._append(connection, ledger.resume_decision(at, reason, lifted))
            return lifted

    def halts_in_force(self, now: datetime) -> list[Halt]:
        """Halts not lifted whose `until` is None or later than `now`."""
        return [rows.halt_of(row) for row in self._read("halts_in_force", now=now)]

    def lifted_halts(self, start: datetime) -> list[Halt]:
        """Halts lifted at or after `start`, in the order of lifting."""
        return [rows.halt_of(row) for row in self._read("lifted_halts", start=start)]

    # -- parts of transactions

    def _append(self, connection: Connection, decision: Decision) -> bool:
        row = self._one(connection, "append_decision", **rows.decision_values(decision))
        is_new = row is not None and bool(row[0])
        if is_new:
            self._tell(connection, alerts.of_decision(decision))
        return is_new

    def _tell(self, connection: Connection, alert: alerts.Alert | None) -> None:
        if alert is not None:
            self._post(connection, alert)

    def _decision(self, connection: Connection, decision_id: str) -> Decision | None:
        row = self._one(connection, "decision", decision_id=decision_id)
        return None if row is None else rows.decision_of(row).decision

    def _plan(self, connection: Connection, entry: OrderIntent) -> ExitPlan:
        decision = self._decision(connection, entry.decision_id)
        if decision is None:
            raise ValueError(f"entry {entry.client_order_id} has no stored decision")
        return ledger.exit_plan(decision)

    def _update_order(
        self,
        connection: Connection,
        client_order_id: str,
        order_id: str | None,
        status: OrderStatus,
        filled_qty: int,
        reason: str | None,
        at: datetime,
    ) -> None:
        values = {
            "client_order_id": client_order_id,
            "order_id": order_id,
            "status": str(status),
            "filled_qty": filled_qty,
            "reason": reason,
            "updated_at": at,
        }
        self._run(connection, "update_order", values)

    def _report(
        self,
        connection: Connection,
        record: OrderRecord,
        status: OrderStatus,
        filled_qty: int,
        at: datetime,
    ) -> None:
        booked = 0
        if status in TERMINAL and filled_qty > 0:
            row = self._one(connection, "booked_qty", order_id=record.order_id)
            booked = 0 if row is None else int(row[0])
        status, filled = ledger.taken_report(record, status, filled_qty, booked)
        name = record.intent.client_order_id
        self._update_order(connection, name, record.order_id, status, filled, None, at)

    def _record_leg(
        self, connection: Connection, parent: OrderRecord, leg: BrokerOrder, at: datetime
    ) -> None:
        record = ledger.leg_record(parent, leg, at)
        values = rows.intent_values(record.intent) | {
            "parent": parent.intent.client_order_id,
            "order_id": record.order_id,
            "status": str(record.status),
            "filled_qty": record.filled_qty,
            "updated_at": at,
        }
        self._run(connection, "upsert_leg", values)
        row = self._one(connection, "lock_broker_order", order_id=leg.order_id)
        if row is not None:
            self._report(connection, rows.order_of(row), leg.status, leg.filled_qty, at)

    def _order_of_fill(self, connection: Connection, fill: Execution) -> OrderRecord | None:
        row = self._one(connection, "lock_broker_order", order_id=fill.order_id)
        if row is None and fill.client_order_id is not None:
            row = self._one(connection, "lock_order", client_order_id=fill.client_order_id)
        return None if row is None else rows.order_of(row)

    def _change_position(
        self, connection: Connection, fill: Execution, record: OrderRecord | None
    ) -> Position:
        row = self._one(connection, "lock_position", symbol=fill.symbol)
        before = None if row is None else rows.position_of(row)
        plan = None
        if before is None and fill.side is Side.BUY and record is not None:
            plan = self._entry_plan(connection, record)
        after = apply_fill(before, fill, plan)
        values = rows.position_values(after)
        self._run(connection, "update_position" if before else "insert_position", values)
        if before is None:
            entry = None if record is None else record.intent
            self._tell(connection, alerts.opened(after, fill, entry))
        return after

    def _entry_plan(self, connection: Connection, record: OrderRecord) -> ExitPlan | None:
        if record.intent.role is not Role.ENTRY:
            return None
        plan = self._plan(connection, record.intent)
        taken = self._run(connection, "position_ids", {"position_id": plan.decision_id}).fetchall()
        return ledger.renamed(plan, {row[0] for row in taken})

    def _decide_position(
        self, position: Position, decision: Decision, query: str, values: Mapping[str, Any]
    ) -> bool:
        """Record a decision about an open position and carry it out, once."""
        with self._transaction() as connection:
            name = position.position_id
            self._run(connection, "lock_symbol", {"symbol": position.symbol})
            if self._one(connection, "lock_position_by_id", position_id=name) is None:
                return False
            other = self._one(connection, "lock_position", symbol=position.symbol)
            if other is not None and other[0] != name:
                raise ValueError(f"{position.symbol} is held already, as {other[0]}")
            if not self._append(connection, decision):
                return False
            self._run(connection, query, values)
            return True

    def _close(
        self, connection: Connection, position: Position, record: OrderRecord | None
    ) -> Trade:
        booked = self._run(connection, "position_fills", {"position_id": position.position_id})
        found = booked.fetchall()
        intent = None if record is None else record.intent
        decision = None if intent is None else self._decision(connection, intent.decision_id)
        trade = round_trip(
            position,
            [rows.fill_of(row) for row in found],
            exit_reason=ledger.closing_reason(intent, decision),
            fees_usd=sum((row[9] for row in found), Decimal(0)),
            haircut_usd=sum((row[10] for row in found), Decimal(0)),
        )
        self._run(connection, "insert_trade", rows.trade_values(trade))
        return trade
