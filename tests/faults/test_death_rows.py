"""A process that dies around an order, and one that is asked twice."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from actors.risk_gate import HOLDER
from greenlight.adapters.timescale import TimescaleStore
from greenlight.domain.audit import DecisionKind
from greenlight.domain.orders import Role
from greenlight.ports import BrokerUnavailable, StoreUnavailable
from tests.exchange_fixture import ExchangeProcess, LockstepDriver
from tests.fault_table import Recovery
from tests.faults.plain_desk import PlainDesk, clear
from tests.faults.sim_world import Board, Crash, Fault, Flaky
from tests.store_fixture import empty

POINTS = [
    ("store", "record_intent", "before"),
    ("store", "record_intent", "after"),
    ("broker", "submit", "before"),
    ("broker", "submit", "after"),
    ("store", "record_outcome", "before"),
    ("store", "record_outcome", "after"),
]


@pytest.fixture
def kept(
    exchange: ExchangeProcess, driver: LockstepDriver, postgres_database: str
) -> Iterator[PlainDesk]:
    """A desk whose store is PostgreSQL."""
    clear(exchange, driver)
    empty(postgres_database)
    store = TimescaleStore(postgres_database)
    found = PlainDesk(exchange, driver, store=store)
    found.start()
    yield found
    found.stop()
    store.close()
    clear(exchange, driver)


@pytest.mark.fault("actor dies around the POST or the commit", bound_s=5)
@pytest.mark.parametrize(("port", "method", "phase"), POINTS)
def test_gate_dies_when_around_the_post_or_the_commit_then_one_order_of_one_decision(
    kept: PlainDesk, recovery: Recovery, port: str, method: str, phase: str
) -> None:
    board, seen, now = Board(), kept.seen("ALFA"), kept.clock.now()
    flaky = {
        "store": Flaky(kept.store, board, HOLDER, StoreUnavailable),
        "broker": Flaky(kept.new_broker(), board, HOLDER, BrokerUnavailable),
    }
    gate = kept.new_gate(**flaky)
    board.arm(Fault(step=0, kind="crash", method=method, phase=phase))
    with pytest.raises(Crash):
        gate.judge([seen], now)
    recovery.injected()
    kept.new_gate().judge([seen], now)
    kept.wait_covered()
    recovery.done()
    (taken,) = kept.decisions(DecisionKind.ENTRY)
    name = f"gl-{kept.name}-{taken.decision_id}-entry-1"
    assert kept.orders()[0]["client_order_id"] == name
    assert [order["status"] for order in kept.orders(side="buy")] == ["filled"]


@pytest.mark.fault("actor dies around the POST or the commit", bound_s=5)
@pytest.mark.parametrize(("port", "method", "phase"), POINTS)
def test_monitor_dies_when_around_the_post_or_the_commit_then_one_pair(
    desk: PlainDesk, recovery: Recovery, port: str, method: str, phase: str
) -> None:
    desk.to_price(101)
    desk.stop()
    desk.enter()
    # Booked by nobody yet: the monitor is the first to act on it.
    for fill in desk.broker.executions(desk.began):
        desk.store.book_fill(fill, Decimal(0))
    board = Board()
    board.arm(Fault(step=0, kind="crash", method=method, phase=phase))
    ports = {
        "store": Flaky(desk.store, board, "monitor", StoreUnavailable),
        "broker": Flaky(desk.new_broker(), board, "monitor", BrokerUnavailable),
    }
    with pytest.raises(Crash):
        desk.new_monitor(**ports).check(desk.clock.now())
    recovery.injected()
    desk.check("ALFA", desk.clock.now())
    desk.wait_covered()
    recovery.done()
    assert len([order for order in desk.orders() if order["order_class"] == "oco"]) == 1


@pytest.mark.fault("Ray retries a method")
def test_retried_when_every_method_is_called_three_times_then_no_second_effect(
    desk: PlainDesk,
) -> None:
    desk.to_price(101)
    seen, now = desk.seen("ALFA"), desk.clock.now()
    for _ in range(3):
        desk.judge([seen], now)
    desk.wait_covered()
    for _ in range(3):
        desk.sweep([], now)
        desk.on_change("ALFA", seen.quote, now)
        desk.on_quotes([("ALFA", seen.quote)], now)
        desk.check("ALFA", now)
    roles = [order["client_order_id"].rsplit("-", 2)[1] for order in desk.orders()]
    assert roles == [Role.ENTRY.value, Role.PROTECT.value]
    for _ in range(3):
        desk.leave("ALFA", seen.quote, desk.clock.now())
    desk.wait_flat()
    assert [side for side, _ in desk.executions()] == ["buy", "sell"]
    desk.assert_exact()
