"""Ray itself repeats a call whose actor died of it; the order stays one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import ray

from actors.links import SignalSeen
from greenlight.adapters.timescale import TimescaleStore
from greenlight.domain.audit import DecisionKind
from greenlight.domain.orders import OrderIntent, Outcome
from tests.exchange_fixture import ExchangeProcess, LockstepDriver
from tests.fault_table import Recovery
from tests.faults.plain_desk import PlainDesk, clear, gate_ports
from tests.store_fixture import empty


class LastPost:
    """A broker whose first order is the last thing that its process does."""

    def __init__(self, broker: Any, sent: Path) -> None:
        self._broker, self._sent = broker, sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    def submit(self, intent: OrderIntent) -> Outcome:
        outcome: Outcome = self._broker.submit(intent)
        if not self._sent.exists():
            self._sent.touch()
            os._exit(1)
        return outcome


class Gate:
    """The risk gate in a process of its own."""

    def __init__(self, url: str, database: str, desk: str, now: datetime, sent: Path) -> None:
        from actors.risk_gate import RiskGate

        ports = gate_ports(url, desk=desk, now=now)
        broker = LastPost(ports.pop("broker"), sent)
        self._gate = RiskGate(**ports, broker=broker, store=TimescaleStore(database))  # type: ignore[arg-type]

    def judge(self, signals: list[SignalSeen], now: datetime) -> int:
        self._gate.judge(signals, now)
        return os.getpid()


@pytest.fixture
def node() -> Iterator[None]:
    ray.init(
        address="local",
        num_cpus=1,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=128 * 1024 * 1024,
    )
    yield
    ray.shutdown()


@pytest.mark.fault("Ray retries a method", bound_s=30)
def test_retried_when_the_actor_died_of_its_post_then_the_repeat_makes_no_second_order(
    exchange: ExchangeProcess,
    driver: LockstepDriver,
    postgres_database: str,
    node: None,
    tmp_path: Path,
    recovery: Recovery,
) -> None:
    clear(exchange, driver)
    empty(postgres_database)
    desk = PlainDesk(exchange, driver, store=TimescaleStore(postgres_database))
    desk.start()
    sent, now, seen = tmp_path / "sent", desk.clock.now(), desk.seen("ALFA")
    actor = (
        ray.remote(Gate)
        .options(max_restarts=-1, max_task_retries=-1)
        .remote(exchange.url, postgres_database, desk.name, now, sent)
    )
    recovery.injected()
    ray.get(actor.judge.remote([seen], now), timeout=60)
    desk.wait_covered()
    recovery.done()
    assert sent.exists()
    assert [order["status"] for order in desk.orders(side="buy")] == ["filled"]
    assert len(desk.decisions(DecisionKind.ENTRY)) == 1
    desk.assert_exact()
    desk.stop()
    clear(exchange, driver)
