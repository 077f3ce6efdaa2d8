"""One id leads through the log from a signal to the last fill of its position."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from actors.measures import Latencies
from actors.risk_gate import RiskGate
from actors.strategist import Strategist
from cluster.json_log import JsonFormatter
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.execution import EntryPolicy
from greenlight.domain.indicators import FloatArray
from greenlight.domain.market import Bar
from greenlight.domain.orders import Side
from greenlight.domain.sentiment import Look
from greenlight.domain.signals import Signal, entry_decision_id
from greenlight.ports import TradeUpdate
from greenlight.testing import FakeSentiment
from greenlight.testing_broker import FakeMarketData
from tests.actor_cases import DESK, T0, later, quote, signal
from tests.hub_rig import Rig, minute_bar
from tests.risk_cases import daily_bars


@dataclass(frozen=True, slots=True, kw_only=True)
class Eager:
    """Buys on the minute bar that ends at 10:30."""

    name: str = "mean_reversion"
    timeframe: str = "1Min"
    warmup_bars: int = 0

    def new_state(self) -> FloatArray:
        return np.zeros(1)

    def step(self, state: FloatArray, bar: Bar, look: Look) -> Signal | None:
        return signal(at=bar.end) if bar.end == T0 else None


class Lines(logging.Handler):
    """Keeps every line as the log has it, read again."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter(process="test", secrets=()))
        self.rows: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.rows.append(json.loads(self.format(record)))


@pytest.fixture
def lines() -> Any:
    handler, actors = Lines(), logging.getLogger("actors")
    before = actors.level
    actors.addHandler(handler)
    actors.setLevel(logging.INFO)
    yield handler
    actors.removeHandler(handler)
    actors.setLevel(before)


def make_gate(rig: Rig) -> RiskGate:
    seconds = iter([10.0, 10.25])
    return RiskGate(
        store=rig.store,
        broker=rig.broker,
        market_data=FakeMarketData(bars=daily_bars("AAPL")),
        notifier=rig.around.notifier,
        desk=DESK,
        limits=RiskLimits(),
        sectors={"AAPL": "technology"},
        execution=EntryPolicy(timeout_s=300, reprices=0, reprice_after_s=100),
        now=T0,
        sleep=rig.around.sleep,
        monotonic=lambda: next(seconds),
    )


def make_strategist(rig: Rig, gate: RiskGate) -> Strategist:
    return Strategist(
        strategies=[Eager()],
        symbols=["AAPL"],
        store=rig.store,
        market_data=FakeMarketData(),
        sentiment=FakeSentiment(),
        gate=gate,
        notifier=rig.around.notifier,
        desk=DESK,
        monotonic=lambda: 0.0,
        deadline_s=math.inf,
    )


def test_log_when_a_signal_became_a_closed_trade_then_one_id_finds_every_step(
    lines: Lines,
) -> None:
    rig = Rig()
    gate = make_gate(rig)
    make_strategist(rig, gate).on_minute(
        [minute_bar(T0 - timedelta(minutes=1))], [quote(99.98)], T0
    )
    updates: list[TradeUpdate] = []
    rig.broker.on_update = updates.append
    hub = rig.start()
    try:
        (entry,) = rig.broker.live("AAPL", Side.BUY)
        rig.broker.fill(entry.order_id, 150, "100.00")
        rig.broker.fill(entry.order_id, 49, "100.00")
        rig.step(*updates, quote(100.0, at=later(1)), at=later(60))
        updates.clear()
        rig.step(quote(94.0, at=later(119)), at=later(120))
        for leaving in [o for o in rig.broker.live("AAPL", Side.SELL) if o.legs]:
            rig.broker.fill(leaving.order_id, leaving.qty, "93.90")
        rig.step(*updates, at=later(180))
        exits = hub.measures().latencies["tick_to_exit"]
    finally:
        hub.stop()
    name = entry_decision_id(DESK, signal(at=T0))
    story = [row for row in lines.rows if row.get("correlation_id") == name]
    told = [f"{row['action']} {row.get('role') or row.get('side') or ''}".strip() for row in story]
    assert told == [
        *("signal", "judge", "order entry", "fill buy"),
        *("order protect", "fill buy", "order protect"),
        # Each part of the entry has a pair of its own, and leaves by it.
        *("order exit", "order exit", "fill sell", "fill sell", "close"),
    ]
    # Every order and fill is there under the names that the broker knows too.
    sent = {intent.client_order_id for intent in rig.broker.submitted}
    assert {row["client_order_id"] for row in story if row["action"] == "order"} == sent
    bought = [row for row in story if row["message"] == "buy filled"]
    assert [row["client_order_id"] for row in bought] == [entry.client_order_id] * 2
    assert story[-1]["exit_reason"] == "stop"
    assert sum(exits.counts) == 1
    assert gate.measures().latencies["signal_to_order"].sum_s == pytest.approx(0.25)


def test_log_when_the_signal_was_refused_then_its_id_tells_why(lines: Lines) -> None:
    rig = Rig()
    rig.store.halt(at=T0, until=None, reason="manual: test")
    gate = make_gate(rig)
    make_strategist(rig, gate).on_minute(
        [minute_bar(T0 - timedelta(minutes=1))], [quote(99.98)], T0
    )
    name = entry_decision_id(DESK, signal(at=T0))
    story = [row for row in lines.rows if row.get("correlation_id") == name]
    assert [row["action"] for row in story] == ["signal", "judge"]
    assert story[-1]["verdict"] == "refused"
    assert "halt" in story[-1]["message"]
    none = gate.measures().latencies["signal_to_order"]
    assert none == Latencies(counts=(0,) * len(none.counts), sum_s=0.0)


def test_entry_decision_id_when_position_reopens_then_same_correlation() -> None:
    rig = Rig()
    rig.around.enter(10)
    held = rig.store.position("AAPL")
    assert held is not None
    assert held.correlation_id == held.position_id.partition(".")[0]
    assert "." not in entry_decision_id(DESK, signal(at=datetime(2013, 10, 4, 20, tzinfo=UTC)))
