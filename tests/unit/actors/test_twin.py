"""A morning is decided by the live actors, then again by the twin; and what the twin notices."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from actors.risk_gate import RiskGate
from actors.strategist import Strategist
from actors.twin import TwinDesk, decide_again
from greenlight.domain.audit import (
    ChainedDecision,
    Decision,
    DecisionKind,
    Verdict,
    decisions_digest,
)
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.execution import EntryPolicy
from greenlight.domain.indicators import FloatArray
from greenlight.domain.market import Bar, Quote
from greenlight.domain.sentiment import Look
from greenlight.domain.signals import Signal
from greenlight.domain.twin import DifferenceKind, TwinOutcome
from greenlight.ports import EquityMark
from greenlight.testing import FakeSentiment, FakeStore
from greenlight.testing_broker import FakeMarketData
from jobs.forecasts import ExpectedVolatility
from jobs.twin import run_twin
from tests.actor_cases import DESK, T0, Surroundings, later, signal
from tests.risk_cases import daily_bars

DAY = date(2013, 10, 7)
MINUTE = timedelta(minutes=1)
EXECUTION = EntryPolicy(timeout_s=300, reprices=0, reprice_after_s=100)
CLOSES = {
    # AAPL falls in the first minute and the fourth, A in the second, B in the fifth.
    "AAPL": (100.0, 98.0, 98.0, 98.0, 96.0, 96.0),
    "A": (100.0, 100.0, 98.0, 98.0, 98.0, 98.0),
    "B": (100.0, 100.0, 100.0, 100.0, 100.0, 98.0),
}
"""The rule buys after a fall by more than 1%."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dip:
    """Buys after a minute that fell by more than 1%."""

    name: str = "mean_reversion"
    timeframe: str = "1Min"
    warmup_bars: int = 0

    def new_state(self) -> FloatArray:
        return np.zeros(1)

    def step(self, state: FloatArray, bar: Bar, look: Look) -> Signal | None:
        before = float(state[0])
        state[0] = bar.close
        if bar.close >= 0.99 * before:
            return None
        return signal(bar.symbol, at=bar.end, reference_price=bar.close)


class Altered(FakeStore):
    """A store in which a hand may change what is read: a row of decisions, or a bar."""

    def __init__(self) -> None:
        super().__init__()
        self.row: Callable[[Decision], Decision | None] = lambda row: row
        self.bar: Callable[[Bar], Bar] = lambda bar: bar

    def decisions(self, **asked: Any) -> list[ChainedDecision]:
        found = []
        for row in super().decisions(**asked):
            changed = self.row(row.decision)
            if changed is not None:
                found.append(replace(row, decision=changed))
        return found

    def bars(self, symbol: str, timeframe: str, start: datetime, end: datetime) -> list[Bar]:
        return [self.bar(bar) for bar in super().bars(symbol, timeframe, start, end)]


def minute(symbol: str, number: int, close: float) -> Bar:
    return Bar(
        symbol=symbol,
        start=T0 + (number - 1) * MINUTE,
        end=T0 + number * MINUTE,
        open=close,
        high=close,
        low=close,
        close=close,
        volume=100,
    )


def history() -> FakeMarketData:
    return FakeMarketData(bars=[bar for symbol in CLOSES for bar in daily_bars(symbol)])


@pytest.fixture
def morning() -> Altered:
    """Five minutes lived through: two entries, one skipped, one refused by a halt."""
    store = Altered()
    around = Surroundings(store=store)
    for symbol in CLOSES:
        around.broker.set_price(symbol, "100.00")
    around.follow()
    gate = RiskGate(
        store=store,
        broker=around.broker,
        market_data=history(),
        notifier=around.notifier,
        desk=DESK,
        limits=RiskLimits(),
        sectors={"AAPL": "technology"},
        execution=EXECUTION,
        now=T0,
        sleep=around.sleep,
        forecast=ExpectedVolatility(store),
    )
    strategist = Strategist(
        strategies=[Dip()],
        symbols=list(CLOSES),
        store=store,
        market_data=history(),
        sentiment=FakeSentiment(),
        gate=gate,
        notifier=around.notifier,
        desk=DESK,
        monotonic=lambda: 0.0,
        deadline_s=math.inf,
    )
    for number in range(6):
        now = T0 + number * MINUTE
        around.clock.set(now)
        bars = [minute(symbol, number, closes[number]) for symbol, closes in CLOSES.items()]
        store.write_bars(bars)
        if number == 5:
            store.halt(at=now, until=None, reason="manual: lunch")
        quotes = [quoted(bar, now) for bar in bars]
        strategist.on_minute(bars, quotes, now)
        if number == 1:
            order = store.open_orders("AAPL")[0]
            around.clock.set(now + timedelta(seconds=20))
            assert order.order_id is not None
            around.broker.fill(order.order_id, order.intent.qty, "98.00")
    closed = datetime(2013, 10, 7, 20, 5, tzinfo=T0.tzinfo)
    mark = EquityMark(
        at=closed,
        equity_usd=Decimal(100_000),
        cash_usd=Decimal(100_000),
        exposure_usd=Decimal(0),
        source="broker",
    )
    store.write_equity([mark])
    return store


def quoted(bar: Bar, now: datetime) -> Quote:
    at = now - timedelta(seconds=1.25)
    ask = bar.close + 0.02
    return Quote(symbol=bar.symbol, at=at, bid=bar.close, ask=ask, bid_size=1, ask_size=1)


def told(store: FakeStore) -> TwinDesk:
    return TwinDesk(
        desk=DESK,
        strategies=[Dip()],
        symbols=list(CLOSES),
        limits=RiskLimits(),
        sectors={"AAPL": "technology"},
        execution=EXECUTION,
        market_data=history(),
        sentiment=FakeSentiment(),
        forecast=ExpectedVolatility(store),
        every_minute=True,
    )


def outcome(store: FakeStore) -> TwinOutcome:
    found = run_twin(
        store,
        lambda start, end: decide_again(store, told(store), start, end),
        [DAY],
        at=later(86400),
        fingerprint="f" * 64,
    )
    assert [one.session for one in found] == [DAY]
    return found[0]


def test_twin_when_nothing_was_touched_then_every_decision_is_equal(morning: Altered) -> None:
    rows = [r.decision for r in morning.decisions(kind=DecisionKind.ENTRY, limit=None)]
    assert [(r.symbol, str(r.verdict), r.reason) for r in rows] == [
        ("AAPL", "taken", "all rules passed"),
        ("A", "taken", "all rules passed"),
        ("AAPL", "skipped", "one_position_a_symbol"),
        ("B", "refused", "not_halted"),
    ]
    found = outcome(morning)
    assert (found.decisions, found.differences) == (4, ())
    again = decide_again(morning, told(morning), DAY, DAY)
    assert decisions_digest(again) == decisions_digest(rows)


def test_twin_when_it_has_run_then_the_store_is_as_before(morning: Altered) -> None:
    before = morning.decisions(limit=None), morning.open_orders(), morning.epoch("risk-gate")
    outcome(morning)
    after = morning.decisions(limit=None), morning.open_orders(), morning.epoch("risk-gate")
    assert after == before


@pytest.mark.parametrize(
    ("symbol", "change"),
    [
        ("A", {"qty": 1}),
        ("A", {"stop_price": "1.00"}),
        ("A", {"max_positions": 0}),
        ("A", {"correlation": 0.5}),
        ("A", {"signal.confidence": 1}),
        ("B", {"not_halted": None}),
        ("A", {"no_leverage.limit": 90_000.0}),
        ("A", {"bid": 97.0}),
    ],
)
def test_twin_when_a_row_was_changed_by_hand_then_it_is_found(
    morning: Altered, symbol: str, change: dict[str, Any]
) -> None:
    def alter(row: Decision) -> Decision:
        if row.kind is not DecisionKind.ENTRY or row.symbol != symbol:
            return row
        return replace(row, figures={**row.figures, **change})

    morning.row = alter
    parted = outcome(morning).differences
    assert [(one.symbol, one.kind) for one in parted] == [(symbol, DifferenceKind.CHANGED)]


def test_twin_when_a_verdict_was_changed_by_hand_then_it_is_found(morning: Altered) -> None:
    def alter(row: Decision) -> Decision:
        return replace(row, verdict=Verdict.SKIPPED) if row.symbol == "B" else row

    morning.row = alter
    (parted,) = outcome(morning).differences
    assert parted.figures == {"verdict": ("skipped", "refused")}


def test_twin_when_a_decision_was_removed_then_it_is_missed(morning: Altered) -> None:
    morning.row = lambda row: None if row.symbol == "B" else row
    (parted,) = outcome(morning).differences
    assert (parted.symbol, parted.kind) == ("B", DifferenceKind.MISSED)


def test_twin_when_a_decision_was_added_then_it_is_unmet(morning: Altered) -> None:
    row = morning.decisions(kind=DecisionKind.ENTRY, limit=1)[0].decision
    morning.record_decision(replace(row, decision_id="made-up"))
    (parted,) = outcome(morning).differences
    assert (parted.decision_id, parted.kind) == ("made-up", DifferenceKind.UNMET)


def test_twin_when_a_bar_was_changed_then_the_decision_on_it_is_found(morning: Altered) -> None:
    def alter(bar: Bar) -> Bar:
        is_it = bar.symbol == "A" and bar.end == T0 + 2 * MINUTE
        return replace(bar, close=99.5) if is_it else bar

    morning.bar = alter
    parted = {(one.symbol, one.kind) for one in outcome(morning).differences}
    assert ("A", DifferenceKind.UNMET) in parted


def test_twin_when_the_strategy_had_seen_the_next_bar_then_it_is_found(morning: Altered) -> None:
    """As if live bars had come a minute before their time."""
    morning.bar = lambda bar: replace(bar, start=bar.start + MINUTE, end=bar.end + MINUTE)
    found = outcome(morning)
    kinds = {one.kind for one in found.differences}
    assert kinds == {DifferenceKind.MISSED, DifferenceKind.UNMET}
    assert len(found.differences) == 8


def test_twin_when_a_halt_was_removed_then_what_it_refused_is_found(morning: Altered) -> None:
    morning.row = lambda row: None if row.kind is DecisionKind.HALT else row
    (parted,) = outcome(morning).differences
    assert (parted.symbol, parted.figures["verdict"]) == ("B", ("refused", "taken"))
