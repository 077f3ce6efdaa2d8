"""A desk's surroundings in memory, for the tests of the actors.

The story: on Monday 2013-10-07 at 10:30 New York, AAPL stands at $100; the desk
has $100,000 and risks 2% of it at most.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from actors.reconciler import RECONCILED, Reconciler
from greenlight.domain.audit import Decision, DecisionKind, Verdict
from greenlight.domain.market import Quote
from greenlight.domain.orders import (
    Accepted,
    Execution,
    OrderIntent,
    OrderKind,
    Role,
    Side,
    TimeInForce,
)
from greenlight.domain.signals import Signal
from greenlight.ports import MarketData, Run, TradeUpdate
from greenlight.testing import FakeCache, FakeClock, FakeNotifier, FakeStore
from greenlight.testing_broker import FakeBroker, FakeMarketData

DESK = "t"
T0 = datetime(2013, 10, 7, 14, 30, tzinfo=UTC)
EXIT_BY = datetime(2013, 10, 10, 19, 50, tzinfo=UTC)


def later(seconds: float) -> datetime:
    """So many seconds after the start."""
    return T0 + timedelta(seconds=seconds)


def quote(bid: float = 100.0, *, at: datetime = T0, symbol: str = "AAPL") -> Quote:
    """A quote two cents wide."""
    return Quote(symbol=symbol, at=at, bid=bid, ask=bid + 0.02, bid_size=100, ask_size=100)


def signal(symbol: str = "AAPL", **changes: object) -> Signal:
    """A strong wish to buy, from the close of the session before."""
    fields: dict[str, object] = {
        "strategy": "mean_reversion",
        "symbol": symbol,
        "at": datetime(2013, 10, 4, 20, tzinfo=UTC),
        "confidence": 5,
        "reference_price": 100.0,
        "atr_usd": 2.0,
        "stop_frac": 0.05,
        "target_frac": 0.05,
        "hold_sessions": 3,
        "features": {"rsi": 17.5},
    }
    return Signal(**{**fields, **changes})  # type: ignore[arg-type]


@dataclass(slots=True)
class Surroundings:
    """Everything outside an actor. `slept` are the waits that were asked for."""

    clock: FakeClock = field(default_factory=lambda: FakeClock(T0))
    store: FakeStore = field(default_factory=FakeStore)
    cache: FakeCache = field(default_factory=FakeCache)
    notifier: FakeNotifier = field(default_factory=FakeNotifier)
    slept: list[float] = field(default_factory=list)
    broker: FakeBroker = field(init=False)

    def __post_init__(self) -> None:
        self.broker = FakeBroker(self.clock)
        self.broker.set_price("AAPL", "100.00")
        self.store.start_run(
            Run(
                run_id="r1",
                started_at=T0 - timedelta(days=1),
                account_kind="replay",
                account_number="PA-FAKE",
                source="test",
                is_synthetic=True,
                start_cash_usd=Decimal(100_000),
                fingerprint="f" * 64,
            )
        )

        self.note_reconciled()

    def note_reconciled(self, reason: str = RECONCILED, at: datetime = T0) -> None:
        """Store how the last comparison with the broker went."""
        row = Decision(
            decision_id=f"reconciled-{at:%H%M%S}-{reason}",
            at=at,
            kind=DecisionKind.RECONCILE,
            verdict=Verdict.TAKEN,
            symbol=None,
            strategy=None,
            reason=reason,
            figures={},
        )
        self.store.record_decision(row)

    def reconciler(self, data: MarketData | None = None) -> Reconciler:
        """A reconciler of these surroundings."""
        return Reconciler(
            store=self.store,
            broker=self.broker,
            market_data=data or FakeMarketData(),
            notifier=self.notifier,
            desk=DESK,
            sleep=self.sleep,
        )

    def sleep(self, seconds: float) -> None:
        """Wait without waiting."""
        self.slept.append(seconds)

    def book(self, fill: Execution) -> Execution:
        """Book a fill as market data does."""
        self.store.book_fill(fill, Decimal(0))
        order = self.broker.order(fill.order_id)
        assert order is not None
        self.store.record_order_status(order.order_id, order.status, order.filled_qty, fill.at)
        return fill

    def follow(self) -> None:
        """Book fills and store reports of orders as they happen, as market data does."""

        def take(update: TradeUpdate) -> None:
            order = update.order
            if update.fill is not None:
                self.store.book_fill(update.fill, Decimal(0))
            self.store.record_order_status(
                order.order_id, order.status, order.filled_qty, update.at
            )

        self.broker.on_update = take

    def enter(
        self,
        qty: int = 10,
        *,
        filled: int | None = None,
        symbol: str = "AAPL",
        at: datetime = T0,
        exit_by: datetime = EXIT_BY,
    ) -> str:
        """Send an entry at $100.10 (stop $95, target $105) and fill it; the order's id."""
        name = f"entry-{symbol}-{at:%d%H%M}"
        self.clock.set(at)
        self.broker.set_price(symbol, "100.00")
        epoch = self.store.take_epoch("risk-gate")
        decision = Decision(
            decision_id=name,
            at=at,
            kind=DecisionKind.ENTRY,
            verdict=Verdict.TAKEN,
            symbol=symbol,
            strategy="mean_reversion",
            reason="all rules passed",
            figures={
                "stop_price": "95.00",
                "target_price": "105.00",
                "exit_by": exit_by.isoformat(),
            },
        )
        intent = OrderIntent(
            client_order_id=f"gl-{DESK}-{name}-entry-1",
            decision_id=name,
            role=Role.ENTRY,
            attempt=1,
            symbol=symbol,
            side=Side.BUY,
            kind=OrderKind.LIMIT,
            qty=qty,
            limit_price=Decimal("100.10"),
            stop_price=None,
            time_in_force=TimeInForce.DAY,
            replaces=None,
            holder="risk-gate",
            epoch=epoch,
            at=at,
        )
        self.store.record_intent(intent, decision)
        outcome = self.broker.submit(intent)
        assert isinstance(outcome, Accepted)
        self.store.record_outcome(intent.client_order_id, outcome, at)
        if filled is None:
            filled = qty
        if filled:
            self.book(self.broker.fill(outcome.order.order_id, filled, "100.00"))
        return outcome.order.order_id

    def decisions(self, kind: DecisionKind | None = None) -> list[Decision]:
        """Stored decisions in the chain's order; without a kind, all but corrections."""
        rows = (row.decision for row in self.store.decisions(limit=None))
        return [
            d
            for d in rows
            if (d.kind is not DecisionKind.RECONCILE if kind is None else d.kind is kind)
        ]
