"""What the probes of a healthy desk know, for the tests of health and metrics."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

from actors.measures import BOUNDS_S, Latencies, Measures, StreamLife
from cluster.health import Readings, StoreFacts
from cluster.launch import CORE
from cluster.probes import Reading
from cluster.supervision import SupervisorStatus
from greenlight.domain.market import Unavailable
from greenlight.ports import BrokerAccount, Halt, Tally

T = TypeVar("T")
NOW = datetime(2013, 10, 7, 14, 30, tzinfo=UTC)
MONITOR = "position-monitor:AAPL"
ACCOUNT = BrokerAccount(
    account_number="PA1",
    status="ACTIVE",
    equity=Decimal(1),
    last_equity=Decimal(1),
    cash=Decimal(1),
    buying_power=Decimal(1),
    is_trading_blocked=False,
)
STATUS = SupervisorStatus(
    turned_s=0.5,
    desired=(*CORE, MONITOR),
    heard_s=dict.fromkeys((*CORE, MONITOR), 1.0),
    replaced={"recorder": 2},
    loops={},
)
FACTS = StoreFacts(
    now=NOW,
    tallies=(
        Tally(of="decisions", label="entry", detail="refused", count=3),
        Tally(of="decisions", label="entry", detail="taken", count=2),
        Tally(of="fills", label="buy", detail="", count=4),
        Tally(of="orders", label="entry", detail="refused", count=1),
        Tally(of="orders", label="protect", detail="working", count=2),
        Tally(of="trades", label="stop", detail="", count=1),
    ),
    halts=(
        Halt(halt_id=1, at=NOW, until=None, reason="manual", lifted_at=None, lifted_reason=None),
    ),
    open_positions=1,
    naked_s=1.5,
    longest_naked_s=1.0,
    naked=("AAPL",),
    is_reconciled=True,
    drift=0,
)
# One of 2 ms, one of 30 s.
LATENCIES = Latencies(counts=(0, 1, *([0] * (len(BOUNDS_S) - 2)), 1), sum_s=30.002)
HUB = Measures(
    latencies={"tick_to_exit": LATENCIES},
    queues={"events": 7, "decisions": 0},
    faults={"crossed": 5},
)


def known(value: T, age_s: float = 1.0) -> Reading[T]:
    return Reading(value=value, age_s=age_s, problem=None)


def silent(problem: str | None = None) -> Reading[Any]:
    """Asked, and never answered."""
    never = Unavailable("it has not answered yet")
    return Reading(value=Unavailable("not asked yet"), age_s=never, problem=problem)


HEALTHY = Readings(
    desk_s=60.0,
    supervisor=known(STATUS),
    stream=known(StreamLife(silent_s=2.0, is_in_session=True)),
    store=known(FACTS),
    broker=known(ACCOUNT),
    cache=known(True),
    measures={"market-data": known(HUB)},
)


def readings(**changes: Any) -> Readings:
    return replace(HEALTHY, **changes)
