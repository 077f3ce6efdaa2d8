"""The risk gate: judges signals, sizes them, records the decision, sends the entry.

Before it stands the strategist; after it the broker and, once an entry fills,
the position monitor. It keeps nothing but its gateway: every judgement reads
positions, orders and halts from the store and the account from the broker.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from actors.links import SignalSeen
from actors.order_gateway import OrderGateway
from greenlight.domain.audit import Decision, DecisionKind, Figure, Verdict, instant_text
from greenlight.domain.market import session_at, session_end_for_hold
from greenlight.domain.orders import (
    OrderKind,
    OrderRecord,
    OrderStatus,
    Role,
    Side,
    TimeInForce,
    client_order_id,
    decision_id,
)
from greenlight.domain.risk import (
    DeskState,
    RiskLimits,
    RiskVerdict,
    judge,
    known_figure,
    verdict_figures,
)
from greenlight.domain.signals import Signal
from greenlight.ports import (
    Broker,
    BrokerAccount,
    BrokerRefused,
    BrokerUnavailable,
    Sleep,
    Store,
)

logger = logging.getLogger(__name__)

OPTIONS: Final[dict[str, Any]] = {"name": "risk-gate", "num_cpus": 0.05, "max_concurrency": 2}
HOLDER: Final = "risk-gate"
LEAVE_BEFORE_CLOSE: Final = timedelta(minutes=10)
"""A position whose time is up is left this long before the close, while there is a market."""


class RiskGate:
    """See the module. The constructor settles entries whose sender died."""

    def __init__(
        self,
        *,
        store: Store,
        broker: Broker,
        desk: str,
        limits: RiskLimits,
        entry_timeout_s: float,
        now: datetime,
        sleep: Sleep,
    ) -> None:
        self._store = store
        self._broker = broker
        self._desk = desk
        self._limits = limits
        self._entry_timeout = timedelta(seconds=entry_timeout_s)
        # The strategist's signals and market data's sweeps come on threads of their own.
        self._turn = threading.Lock()
        self._gateway = OrderGateway(
            store=store, broker=broker, desk=desk, holder=HOLDER, sleep=sleep
        )
        for record in self._entries():
            self._settle(record, now)

    def ping(self) -> str:
        """Answer, as proof of life."""
        return HOLDER

    def judge(self, signals: Sequence[SignalSeen], now: datetime) -> datetime | None:
        """See `GateLink.judge`. Signals are judged one by one in the order given."""
        with self._turn:
            for seen in signals:
                self._judge_one(seen, now)
            return self._next_sweep()

    def sweep(self, now: datetime) -> datetime | None:
        """See `GateLink.sweep`."""
        with self._turn:
            for record in self._entries():
                if record.intent.at + self._entry_timeout <= now:
                    self._cancel_entry(record, now)
            return self._next_sweep()

    # -- one signal
    def _judge_one(self, seen: SignalSeen, now: datetime) -> None:
        signal = seen.signal
        name = decision_id(
            self._desk, signal.strategy, signal.symbol, instant_text(signal.at), "entry"
        )
        sent = self._store.order(client_order_id(self._desk, name, Role.ENTRY, 1))
        if sent is not None:
            self._settle(sent, now)
            return
        if self._is_decided(name, signal):
            return
        verdict = judge(signal, self._desk_state(seen, now), self._limits)
        decision = self._decision(name, seen, verdict, now)
        entry = verdict.entry
        if entry is None:
            self._store.record_decision(decision)
            return
        self._gateway.send(
            decision=decision,
            decision_id=name,
            role=Role.ENTRY,
            attempt=1,
            symbol=signal.symbol,
            side=Side.BUY,
            kind=OrderKind.LIMIT,
            qty=entry.qty,
            limit_price=entry.limit_price,
            stop_price=None,
            time_in_force=TimeInForce.DAY,
            at=now,
        )

    def _is_decided(self, name: str, signal: Signal) -> bool:
        # A refusal stands when its signal comes again, whatever has changed since.
        rows = self._store.decisions(start=signal.at, symbol=signal.symbol, limit=None)
        return any(row.decision.decision_id == name for row in rows)

    def _desk_state(self, seen: SignalSeen, now: datetime) -> DeskState:
        entries = self._entries()
        account = self._account()
        return DeskState(
            now=now,
            session=session_at(now),
            quote=seen.quote,
            equity_usd=None if account is None else account.equity,
            buying_power_usd=None if account is None else account.buying_power,
            positions=self._store.open_positions(),
            entry_symbols=[record.intent.symbol for record in entries],
            entry_usd=sum((_open_usd(record) for record in entries), Decimal(0)),
            halts=[halt.reason for halt in self._store.halts_in_force(now)],
        )

    def _account(self) -> BrokerAccount | None:
        try:
            account = self._broker.account()
        except (BrokerUnavailable, BrokerRefused) as error:
            logger.warning("no account: %s", error, extra={"action": "account"})
            return None
        return None if account.is_trading_blocked else account

    def _decision(
        self, name: str, seen: SignalSeen, verdict: RiskVerdict, now: datetime
    ) -> Decision:
        signal, entry = seen.signal, verdict.entry
        figures: dict[str, Figure] = {
            f"signal.{key}": known_figure(value) for key, value in signal.features.items()
        }
        figures |= {"signal.at": instant_text(signal.at), "signal.confidence": signal.confidence}
        figures |= verdict_figures(verdict)
        if seen.quote is not None:
            figures |= {"bid": known_figure(seen.quote.bid), "ask": known_figure(seen.quote.ask)}
        if entry is not None:
            exit_by = session_end_for_hold(now, signal.hold_sessions) - LEAVE_BEFORE_CLOSE
            figures |= {
                "qty": entry.qty,
                "limit_price": str(entry.limit_price),
                "stop_price": str(entry.stop_price),
                "target_price": str(entry.target_price),
                "exit_by": instant_text(exit_by),
            }
        failed = verdict.failed
        if not failed:
            decided = Verdict.TAKEN
        elif failed[0].is_moot:
            decided = Verdict.SKIPPED
        else:
            decided = Verdict.REFUSED
        return Decision(
            decision_id=name,
            at=now,
            kind=DecisionKind.ENTRY,
            verdict=decided,
            symbol=signal.symbol,
            strategy=signal.strategy,
            reason=", ".join(rule.rule for rule in failed) or "all rules passed",
            figures=figures,
        )

    # -- working entries
    def _settle(self, record: OrderRecord, now: datetime) -> None:
        """Find out about an entry whose sending was cut short.

        It was judged on its own minute: later than its time-out it is not sent.
        """
        if record.status not in {OrderStatus.INTENDED, OrderStatus.UNRESOLVED}:
            return
        if record.intent.at + self._entry_timeout <= now:
            self._gateway.abandon(record, now)
        else:
            self._gateway.settle(record, now)

    def _entries(self) -> list[OrderRecord]:
        return [r for r in self._store.open_orders() if r.intent.role is Role.ENTRY]

    def _next_sweep(self) -> datetime | None:
        due = [record.intent.at + self._entry_timeout for record in self._entries()]
        return min(due, default=None)

    def _cancel_entry(self, record: OrderRecord, now: datetime) -> None:
        intent = record.intent
        if record.order_id is None:
            self._settle(record, now)
            return
        decision = Decision(
            decision_id=decision_id(self._desk, intent.decision_id, "cancel"),
            at=now,
            kind=DecisionKind.CANCEL,
            verdict=Verdict.TAKEN,
            symbol=intent.symbol,
            strategy=None,
            reason="entry_timeout",
            figures={
                "qty": intent.qty,
                "filled_qty": record.filled_qty,
                "limit_price": str(intent.limit_price),
                "rested_s": (now - intent.at).total_seconds(),
                "rested_s.limit": self._entry_timeout.total_seconds(),
            },
        )
        self._store.record_decision(decision)
        if self._gateway.cancel(record.order_id, now) is None:
            logger.warning(
                "cancel of an entry is not confirmed yet",
                extra={"action": "cancel_entry", "client_order_id": intent.client_order_id},
            )


def _open_usd(record: OrderRecord) -> Decimal:
    """What the rest of an entry may still cost."""
    intent = record.intent
    return (intent.limit_price or Decimal(0)) * (intent.qty - record.filled_qty)
