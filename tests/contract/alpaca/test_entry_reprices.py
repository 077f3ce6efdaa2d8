"""A resting entry priced again at the paper exchange, with answers lost on the way.

The wave stands at 101 when an entry is sent at 99.50; it may go up to 103.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from alpaca.trading.client import TradingClient

from actors.order_gateway import OrderGateway
from actors.working_entries import WorkingEntries
from greenlight.adapters.alpaca_broker import AlpacaBroker
from greenlight.domain.audit import Decision, DecisionKind, Verdict
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.execution import EntryPolicy
from greenlight.domain.market import Quote
from greenlight.domain.orders import BrokerOrder, OrderKind, OrderStatus, Role, Side, TimeInForce
from greenlight.testing import FakeStore
from tests.exchange_fixture import KEY, SECRET, ExchangeProcess, LockstepDriver

DESK = "t"
POLICY = EntryPolicy(timeout_s=300, reprices=2, reprice_after_s=100)


class Desk:
    """An entry of ten shares that rests at the exchange."""

    def __init__(self, exchange: ExchangeProcess, symbol: str) -> None:
        self.store = FakeStore()
        self.broker = AlpacaBroker(
            base_url=exchange.url, key_id=KEY, secret_key=SECRET, deadline_s=5
        )
        self.symbol = symbol
        self.at = datetime.now(UTC)
        self.name = f"d{int(self.at.timestamp() * 1e6)}"
        self.working = self.start()
        decision = Decision(
            decision_id=self.name,
            at=self.at,
            kind=DecisionKind.ENTRY,
            verdict=Verdict.TAKEN,
            symbol=symbol,
            strategy="A",
            reason="",
            figures={
                "stop_price": "95",
                "target_price": "110",
                "exit_by": "2014-06-12T19:50:00+00:00",
                "max_price": "103",
            },
        )
        self.gateway.send(
            decision=decision,
            decision_id=self.name,
            role=Role.ENTRY,
            attempt=1,
            symbol=symbol,
            side=Side.BUY,
            kind=OrderKind.LIMIT,
            qty=10,
            limit_price=Decimal("99.50"),
            stop_price=None,
            time_in_force=TimeInForce.DAY,
            at=self.at,
        )

    def start(self) -> WorkingEntries:
        self.gateway = OrderGateway(
            store=self.store,
            broker=self.broker,
            desk=DESK,
            holder="risk-gate",
            sleep=time.sleep,
        )
        return WorkingEntries(
            store=self.store,
            gateway=self.gateway,
            desk=DESK,
            policy=POLICY,
            limits=RiskLimits(),
        )

    def sweep(self, after_s: float, ask: float) -> None:
        at = self.at + timedelta(seconds=after_s)
        seen = Quote(symbol=self.symbol, at=at, bid=ask - 0.02, ask=ask, bid_size=1, ask_size=1)
        self.working.sweep([seen], at)

    def book(self) -> None:
        """Book what the broker has executed, as market data does."""
        for fill in self.broker.executions(datetime(2014, 1, 1, tzinfo=UTC)):
            if fill.symbol == self.symbol:
                self.store.book_fill(fill, Decimal(0))

    def orders(self) -> list[BrokerOrder]:
        """The entry's orders as the broker has them."""
        names = (f"gl-{DESK}-{self.name}-entry-{attempt}" for attempt in (1, 2, 3))
        found = (self.broker.find_order(name) for name in names)
        return [order for order in found if order is not None]

    def attempts(self) -> list[tuple[OrderStatus, int]]:
        """Their status and filled shares."""
        return [(order.status, order.filled_qty) for order in self.orders()]

    def known(self) -> list[OrderStatus]:
        """The same as the store has them."""
        records = (self.store.order(f"gl-{DESK}-{self.name}-entry-{n}") for n in (1, 2, 3))
        return [record.status for record in records if record is not None]


@pytest.fixture
def desk(exchange: ExchangeProcess, driver: LockstepDriver, symbol: str) -> Iterator[Desk]:
    driver.to_price(101)
    yield Desk(exchange, symbol)
    exchange.clear_faults()


def test_sweep_when_the_ask_moved_away_then_replaced_and_filled_at_the_ask(
    desk: Desk, trading: TradingClient
) -> None:
    assert desk.attempts() == [(OrderStatus.WORKING, 0)]
    desk.sweep(100, 101.01)
    assert desk.attempts() == [(OrderStatus.REPLACED, 0), (OrderStatus.FILLED, 10)]
    assert trading.get_open_position(desk.symbol).qty == "10"
    # The answer was given before the order met the market; the stream tells the rest.
    assert desk.known()[0] is OrderStatus.REPLACED


def test_sweep_when_partly_filled_then_the_new_order_buys_the_rest_alone(
    exchange: ExchangeProcess, driver: LockstepDriver, trading: TradingClient, symbol: str
) -> None:
    driver.to_price(101)
    exchange.fault("^POST /v2/orders", "partial", qty=4)
    desk = Desk(exchange, symbol)
    desk.gateway.look(desk.orders()[0].order_id, desk.at)
    desk.book()
    desk.sweep(100, 101.01)
    old, new = desk.orders()
    assert (old.status, old.filled_qty) == (OrderStatus.REPLACED, 4)
    assert (new.qty, new.filled_qty, new.remaining) == (10, 4, 6)
    assert trading.get_open_position(symbol).qty == "4"
    # What may still be bought is six shares at no more than 103.
    assert desk.working.costs(desk.store.open_orders()).by_symbol == {symbol: Decimal(618)}


@pytest.mark.parametrize(
    "fault", [{"action": "drop"}, {"action": "status", "status": 504, "commit": True}]
)
def test_sweep_when_the_answer_is_lost_then_the_new_order_is_adopted(
    exchange: ExchangeProcess, desk: Desk, trading: TradingClient, fault: dict[str, object]
) -> None:
    exchange.fault("^PATCH /v2/orders/", **fault)  # type: ignore[arg-type]
    desk.sweep(100, 101.01)
    assert desk.attempts() == [(OrderStatus.REPLACED, 0), (OrderStatus.FILLED, 10)]
    # Until its fill is booked an order counts as open.
    assert desk.known() == [OrderStatus.REPLACED, OrderStatus.WORKING]
    desk.book()
    assert desk.known() == [OrderStatus.REPLACED, OrderStatus.FILLED]
    assert trading.get_open_position(desk.symbol).qty == "10"


def test_sweep_when_the_change_never_arrived_then_sent_once_more(
    exchange: ExchangeProcess, desk: Desk, trading: TradingClient
) -> None:
    exchange.fault("^PATCH /v2/orders/", "drop", commit=False)
    desk.sweep(100, 101.01)
    assert desk.attempts() == [(OrderStatus.REPLACED, 0), (OrderStatus.FILLED, 10)]
    assert trading.get_open_position(desk.symbol).qty == "10"


def test_sweep_when_the_old_order_fills_first_then_refused_and_bought_once(
    exchange: ExchangeProcess, desk: Desk, trading: TradingClient
) -> None:
    exchange.fault("^PATCH /v2/orders/", "fill")
    desk.sweep(100, 101.01)
    assert desk.attempts() == [(OrderStatus.FILLED, 10)]
    assert desk.known()[1] is OrderStatus.REFUSED
    assert trading.get_open_position(desk.symbol).qty == "10"


def test_sweep_when_its_time_is_up_then_cancelled(desk: Desk) -> None:
    desk.sweep(100, 99.60)
    desk.sweep(300, 101.01)
    assert [status for status, _ in desk.attempts()] == [
        OrderStatus.REPLACED,
        OrderStatus.CANCELED,
    ]
    assert desk.known() == [OrderStatus.REPLACED, OrderStatus.CANCELED]
