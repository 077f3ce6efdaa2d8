"""Values for tests of the ledger: decisions, intents, broker orders, fills.

The story behind the defaults: on Monday 2013-10-07 the desk buys 10 AAPL at
$100 with a stop at $95 and a target at $110.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from greenlight.domain.audit import Decision, DecisionKind, Figure, Verdict
from greenlight.domain.market import Bar
from greenlight.domain.orders import (
    Accepted,
    BrokerOrder,
    Execution,
    OrderIntent,
    OrderKind,
    OrderStatus,
    Role,
    Side,
    TimeInForce,
)
from greenlight.ports import Run, Store

T0 = datetime(2013, 10, 7, 14, 30, tzinfo=UTC)
PLAN: Mapping[str, Figure] = {
    "stop_price": 95.0,
    "target_price": "110.00",
    "exit_by": "2013-10-10T20:00:00+00:00",
}


def minute(number: float) -> datetime:
    """So many minutes after the start."""
    return T0 + timedelta(minutes=number)


def decision(
    name: str = "d-entry",
    *,
    kind: DecisionKind = DecisionKind.ENTRY,
    at: datetime = T0,
    symbol: str | None = "AAPL",
    strategy: str | None = "A",
    figures: Mapping[str, Figure] = PLAN,
) -> Decision:
    """A decision that was taken."""
    return Decision(
        decision_id=name,
        at=at,
        kind=kind,
        verdict=Verdict.TAKEN,
        symbol=symbol,
        strategy=strategy,
        reason="oversold",
        figures=figures,
    )


def intent(
    name: str = "gl-entry",
    *,
    decision_id: str = "d-entry",
    role: Role = Role.ENTRY,
    kind: OrderKind = OrderKind.LIMIT,
    symbol: str = "AAPL",
    qty: int = 10,
    epoch: int = 1,
    holder: str = "desk",
    at: datetime = T0,
) -> OrderIntent:
    """An order about to be sent."""
    is_entry = role is Role.ENTRY
    return OrderIntent(
        client_order_id=name,
        decision_id=decision_id,
        role=role,
        attempt=0,
        symbol=symbol,
        side=Side.BUY if is_entry else Side.SELL,
        kind=kind,
        qty=qty,
        limit_price=Decimal("100.10") if is_entry else Decimal("110.00"),
        stop_price=Decimal("95.00") if kind is not OrderKind.LIMIT else None,
        time_in_force=TimeInForce.DAY if is_entry else TimeInForce.GTC,
        replaces=None,
        holder=holder,
        epoch=epoch,
        at=at,
    )


def broker_order(
    name: str = "gl-entry",
    order_id: str = "o-entry",
    *,
    side: Side = Side.BUY,
    status: OrderStatus = OrderStatus.WORKING,
    qty: int = 10,
    filled_qty: int = 0,
    limit_price: str | None = "100.10",
    stop_price: str | None = None,
    legs: tuple[BrokerOrder, ...] = (),
) -> BrokerOrder:
    """An order as the broker reports it."""
    return BrokerOrder(
        order_id=order_id,
        client_order_id=name,
        symbol="AAPL",
        side=side,
        order_class="oco" if legs else "",
        order_type="limit" if stop_price is None else "stop",
        qty=qty,
        filled_qty=filled_qty,
        filled_avg_price=None,
        limit_price=None if limit_price is None else Decimal(limit_price),
        stop_price=None if stop_price is None else Decimal(stop_price),
        status=status,
        broker_status="new",
        replaced_by=None,
        updated_at=T0,
        legs=legs,
    )


def fill(
    order_id: str = "o-entry",
    *,
    side: Side = Side.BUY,
    qty: int = 10,
    cum_qty: int | None = None,
    price: str = "100.00",
    at: datetime = T0,
    symbol: str = "AAPL",
    client_order_id: str | None = None,
) -> Execution:
    """One execution."""
    cum_qty = qty if cum_qty is None else cum_qty
    return Execution(
        execution_id=f"x-{order_id}-{cum_qty}",
        order_id=order_id,
        client_order_id=client_order_id,
        symbol=symbol,
        side=side,
        qty=qty,
        price=Decimal(price),
        cum_qty=cum_qty,
        at=at,
    )


def run(name: str = "r1", *, at: datetime = T0, cash: str = "100000", account: str = "PA1") -> Run:
    """A life of the desk."""
    return Run(
        run_id=name,
        started_at=at,
        account_kind="replay",
        account_number=account,
        source="bokeh",
        is_synthetic=True,
        start_cash_usd=Decimal(cash),
        fingerprint="f" * 64,
    )


def bar(number: int = 0, *, close: float = 100.25, symbol: str = "AAPL") -> Bar:
    """A minute bar."""
    return Bar(
        symbol=symbol,
        start=minute(number),
        end=minute(number + 1),
        open=100.1,
        high=100.5,
        low=99.9,
        close=close,
        volume=1200,
    )


def send_entry(store: Store, *, qty: int = 10) -> None:
    """Take the desk's epoch, record the entry and its acceptance."""
    store.take_epoch("desk")
    store.record_intent(intent(qty=qty), decision())
    store.record_outcome("gl-entry", Accepted(order=broker_order(qty=qty)), T0)


def send_protection(store: Store, *, qty: int = 10) -> None:
    """Record the OCO and its acceptance: target order o-target, stop leg o-stop."""
    protect = intent("gl-protect", role=Role.PROTECT, kind=OrderKind.OCO, qty=qty, at=minute(1))
    store.record_intent(protect, None)
    leg = broker_order(
        "leg-1", "o-stop", side=Side.SELL, qty=qty, limit_price=None, stop_price="95.00"
    )
    parent = broker_order(
        "gl-protect", "o-target", side=Side.SELL, qty=qty, limit_price="110.00", legs=(leg,)
    )
    store.record_outcome("gl-protect", Accepted(order=parent), minute(1))


def open_position(store: Store) -> None:
    """The whole story up to a protected position of 10 AAPL at $100."""
    send_entry(store)
    store.book_fill(fill(), Decimal("0.01"))
    send_protection(store)
