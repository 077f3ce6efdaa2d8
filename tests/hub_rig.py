"""A hub with everything around it in memory, for the tests of market data.

Position monitors and the recorder are the real ones in this process; the
strategist and the gate only note what they are asked.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from actors.links import RecordBatch
from actors.market_data import MarketDataHub
from actors.position_monitor import PositionMonitor, covered_qty
from actors.recorder import Recorder
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.market import Bar, Quote
from greenlight.domain.orders import Execution, Side
from greenlight.domain.positions import WatchBand
from greenlight.ports import (
    Booking,
    StepReady,
    StoreUnavailable,
    StreamEvent,
    TradeUpdate,
)
from greenlight.testing import FakeStore
from greenlight.testing_broker import FakeMarketData, FakeStreams
from tests.actor_cases import DESK, Surroundings

CLOSE = datetime(2013, 10, 7, 20, tzinfo=UTC)


class FlakyStore(FakeStore):
    """Goes away for single calls: `failures` counts, by method, those to fail; `after` likewise,
    but the call has had its effect when the answer is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: Counter[str] = Counter()
        self.after: Counter[str] = Counter()

    def book_fill(self, fill: Execution, fees_usd: Decimal) -> Booking:
        self._maybe(self.failures, "book_fill")
        booking = super().book_fill(fill, fees_usd)
        self._maybe(self.after, "book_fill")
        return booking

    def cash(self) -> Decimal | None:
        self._maybe(self.failures, "cash")
        return super().cash()

    def write_quotes(self, quotes: Sequence[Quote]) -> None:
        self._maybe(self.failures, "write_quotes")
        super().write_quotes(quotes)

    def _maybe(self, counts: Counter[str], method: str) -> None:
        if counts[method]:
            counts[method] -= 1
            raise StoreUnavailable(f"{method} was made to fail")


class LocalMonitors:
    """Position monitors in this process. `asked` are all calls; `failures` of them raise."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._monitors: dict[str, PositionMonitor] = {}
        self.asked: list[tuple[str, str]] = []
        self.failures = 0

    def of(self, method: str) -> list[str]:
        return [symbol for name, symbol in self.asked if name == method]

    def _monitor(self, symbol: str, method: str, now: datetime) -> PositionMonitor:
        self.asked.append((method, symbol))
        if self.failures:
            self.failures -= 1
            raise ConnectionError(f"no actor for {symbol}")
        if symbol not in self._monitors:
            self._monitors[symbol] = PositionMonitor(
                symbol=symbol,
                store=self._around.store,
                broker=self._around.broker,
                notifier=self._around.notifier,
                desk=DESK,
                now=now,
                sleep=self._around.sleep,
            )
        return self._monitors[symbol]

    def prepare(self, symbol: str) -> None:
        self.asked.append(("prepare", symbol))

    def on_change(self, symbol: str, seen: Quote | None, now: datetime) -> WatchBand | None:
        return self._monitor(symbol, "on_change", now).on_change(seen, now)

    def on_quotes(
        self, quotes: Sequence[tuple[str, Quote | None]], now: datetime
    ) -> dict[str, WatchBand | None]:
        return {s: self._monitor(s, "on_quotes", now).on_quote(q, now) for s, q in quotes}

    def on_split(
        self, symbol: str, ex_date: date, ratio: Decimal, now: datetime
    ) -> WatchBand | None:
        return self._monitor(symbol, "on_split", now).on_split(ex_date, ratio, now)

    def leave(self, symbol: str, quote: Quote | None, now: datetime) -> WatchBand | None:
        return self._monitor(symbol, "leave", now).leave(quote, now)

    def check(self, symbol: str, now: datetime) -> WatchBand | None:
        return self._monitor(symbol, "check", now).check(now)


class LocalStrategist:
    """Notes what it is given; waits on `may_go` and raises `failures` times."""

    def __init__(self) -> None:
        self.minutes: list[tuple[list[Bar], list[Quote], datetime]] = []
        self.answer: datetime | None = None
        self.may_go = threading.Event()
        self.may_go.set()
        self.entered = threading.Event()
        self.failures = 0
        self.saves = 0

    def on_minute(
        self, bars: Sequence[Bar], quotes: Sequence[Quote], now: datetime
    ) -> datetime | None:
        self.entered.set()
        assert self.may_go.wait(10)
        if self.failures:
            self.failures -= 1
            raise ConnectionError("no actor strategist")
        self.minutes.append((list(bars), list(quotes), now))
        return self.answer

    def save(self) -> None:
        self.saves += 1


class LocalGate:
    def __init__(self) -> None:
        self.sweeps: list[datetime] = []
        self.reviews: list[datetime] = []
        self.on_review: Callable[[datetime], list[str]] = lambda _: []

    def judge(self, signals: Sequence[Any], now: datetime) -> datetime | None:
        raise AssertionError("market data never judges")

    def sweep(self, quotes: Sequence[Quote], now: datetime) -> datetime | None:
        self.sweeps.append(now)
        return None

    def review(self, quotes: Sequence[Quote], now: datetime) -> list[str]:
        self.reviews.append(now)
        return self.on_review(now)


class LocalRecorder:
    """A recorder that a test can replace, as a restart does."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self.closed: list[datetime] = []
        self.restart()

    def restart(self) -> None:
        self._plain = Recorder(
            store=self._around.store,
            broker=self._around.broker,
            cache=self._around.cache,
            evaluate=lambda now: {"at": now.isoformat()},
            monotonic=lambda: 0.0,
        )

    def record(
        self, batches: Sequence[RecordBatch], *, oldest_kept: int, flush: bool
    ) -> int | None:
        return self._plain.record(batches, oldest_kept=oldest_kept, flush=flush)

    def close_session(self, now: datetime) -> None:
        self.closed.append(now)
        self._plain.close_session(now)


class LocalNightly:
    def __init__(self) -> None:
        self.closed: list[datetime] = []

    def close_session(self, now: datetime) -> None:
        self.closed.append(now)

    def finish(self) -> None:
        return None


class Rig:
    """A hub in lockstep with everything around it."""

    def __init__(
        self,
        *,
        is_lockstep: bool = True,
        every_minute: bool = False,
        acts_on_scores: bool = False,
    ) -> None:
        self.around = Surroundings(store=FlakyStore())
        self.store: FlakyStore = self.around.store  # type: ignore[assignment]
        self.broker = self.around.broker
        self.data = FakeMarketData()
        self.streams = FakeStreams()
        self.monitors = LocalMonitors(self.around)
        self.strategist = LocalStrategist()
        self.gate = LocalGate()
        self.recorder = LocalRecorder(self.around)
        self.nightly = LocalNightly()
        self._is_lockstep, self._every_minute = is_lockstep, every_minute
        self._acts_on_scores = acts_on_scores
        self._seq = 0
        self._second = 0.0

    def _monotonic(self) -> float:
        self._second += 1.0
        return self._second

    def start(self) -> MarketDataHub:
        self.hub = MarketDataHub(
            store=self.store,
            broker=self.broker,
            market_data=self.data,
            streams=self.streams,
            strategist=self.strategist,
            gate=self.gate,
            monitors=self.monitors,
            recorder=self.recorder,
            nightly=self.nightly,
            notifier=self.around.notifier,
            desk=DESK,
            symbols=("AAPL",),
            limits=RiskLimits(),
            reconciler=self.around.reconciler(self.data),
            is_lockstep=self._is_lockstep,
            every_minute=self._every_minute,
            now=self.around.clock.now,
            advance=self.around.clock.set,
            monotonic=self._monotonic,
            acts_on_scores=self._acts_on_scores,
            retry_s=0.0,
        )
        return self.hub

    def push(self, *events: StreamEvent) -> None:
        self.streams.push(*events)

    def ready(self, at: datetime, kind: str = "minute") -> StepReady:
        self._seq += 1
        day = at.date()
        return StepReady(seq=self._seq, at=at, kind=kind, session=day, trade_updates=0)

    def step(self, *events: StreamEvent, at: datetime, kind: str = "minute") -> None:
        """Push events and a step, and wait until the hub says that all is done."""
        step = self.ready(at, kind)
        self.push(*events, step)
        self.streams.wait_acknowledged(step.seq)

    def stored_quotes(self) -> list[Quote]:
        """What has been recorded, after everything kept is flushed by a session's close."""
        self.step(at=CLOSE + timedelta(minutes=6), kind="close")
        return self.store.quotes


def minute_bar(start: datetime, symbol: str = "AAPL") -> Bar:
    return Bar(
        symbol=symbol,
        start=start,
        end=start + timedelta(minutes=1),
        open=100.0,
        high=100.5,
        low=99.5,
        close=100.2,
        volume=1000,
    )


def fill_entry(rig: Rig, qty: int = 10) -> list[TradeUpdate]:
    """An entry that fills at the broker; the events, not delivered yet."""
    order_id = rig.around.enter(qty, filled=0)
    updates: list[TradeUpdate] = []
    rig.broker.on_update = updates.append
    rig.broker.fill(order_id, qty, "100.00")
    rig.broker.on_update = lambda _: None
    return updates


def pairs(rig: Rig) -> list[int]:
    return [order.qty for order in rig.broker.live("AAPL", Side.SELL)]


def assert_booked_and_covered(rig: Rig, qty: int = 10) -> None:
    position = rig.store.position("AAPL")
    assert position is not None
    assert position.qty == qty
    assert covered_qty(list(rig.broker.live("AAPL", Side.SELL))) == qty
