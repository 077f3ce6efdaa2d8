"""The desk under simulation: the real actors, each a process that may die.

Market data's hub, the risk gate, the monitors, the gateway and the reconciler
are the product's; the strategist is a script, the recorder keeps nothing. A
process dies by `Crash`; whoever asked it finds the next one, as the links over
Ray do, and its constructor is the recovery.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from actors.links import RecordBatch, SignalSeen
from actors.market_data import MarketDataHub
from actors.position_monitor import PositionMonitor, monitor_name
from actors.reconciler import Reconciler
from actors.risk_gate import HOLDER, RiskGate
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.execution import EntryPolicy
from greenlight.domain.market import Bar, Quote, Tick
from greenlight.domain.positions import WatchBand
from greenlight.domain.signals import Signal
from greenlight.ports import (
    BrokerUnavailable,
    Run,
    StepReady,
    Store,
    StoreUnavailable,
    StreamEvent,
    StreamKind,
)
from greenlight.testing import FakeNotifier, FakeStore
from greenlight.testing_broker import FakeMarketData
from tests.faults.sim_world import (
    CASH,
    START,
    SYMBOLS,
    Crash,
    Flaky,
    World,
    flaky_broker,
)
from tests.risk_cases import daily_bars

DESK = "sim"
HUB = "hub"
LIMITS = RiskLimits(max_positions=2, max_entries_a_minute=60, max_entries_an_hour=200)
RESTART_S = 1.0
HISTORY = [bar for symbol in SYMBOLS for bar in daily_bars(symbol)]


class Streams:
    """What reaches the hub that lives now."""

    def __init__(self, world: World) -> None:
        self._world = world

    def start(self, sink: Callable[[StreamEvent], None]) -> None:
        self._world.sink = sink

    def acknowledge(self, step: StepReady) -> None:
        raise AssertionError("no lockstep here")

    def reconnect(self, kind: StreamKind) -> None:
        return None

    def rename(self, old: str, new: str) -> None:
        raise AssertionError("no symbol changes here")

    def stop(self) -> None:
        self._world.sink = None


class NoRecorder:
    def record(
        self, batches: Sequence[RecordBatch], *, oldest_kept: int, flush: bool
    ) -> int | None:
        return batches[-1].seq if batches else -1

    def close_session(self, now: datetime) -> None:
        return None


class NoNightly:
    def close_session(self, now: datetime) -> None:
        return None

    def finish(self) -> None:
        return None


class SimDesk:
    """All processes of one desk.

    Parameters
    ----------
    store : FakeStore
        The one store; every process sees it through its own faults.
    store_twin : Callable[[Store], Any]
        Stands between the processes and the store: a rule left out on purpose.
    monitor_class : type[PositionMonitor]
        The monitor, or a twin of it without one rule.
    """

    def __init__(
        self,
        world: World,
        store: FakeStore,
        *,
        store_twin: Callable[[Store], Any],
        monitor_class: type[PositionMonitor],
    ) -> None:
        self.world = world
        self.store = store
        self.notifier = FakeNotifier()
        self.data = FakeMarketData(bars=HISTORY)
        self._twin = store_twin
        self._monitor_class = monitor_class
        self._hub: MarketDataHub | None = None
        self._hub_back_at = world.now()
        self._gate: RiskGate | None = None
        self._monitors: dict[str, PositionMonitor] = {}
        self.zombies: list[tuple[str, Any]] = []
        self._seconds = 0.0
        self._step = 0
        store.start_run(
            Run(
                run_id="sim",
                started_at=START,
                account_kind="paper",
                account_number="PA-SIM",
                source="simulation",
                is_synthetic=True,
                start_cash_usd=CASH,
                fingerprint="f",
            )
        )

    def ports(self, owner: str) -> dict[str, Any]:
        """Store, broker and notifier of one process."""
        return {
            "store": Flaky(self._twin(self.store), self.world.board, owner, StoreUnavailable),
            "broker": flaky_broker(self.world, owner),
            "notifier": self.notifier,
            "desk": DESK,
        }

    @property
    def is_up(self) -> bool:
        return self._hub is not None

    # -- processes
    def kill(self, owner: str) -> None:
        """A process dies between two of its calls."""
        if owner == HUB:
            self._lose_hub()
        elif owner == HOLDER:
            self._gate = None
        else:
            self._monitors.pop(owner.removeprefix(monitor_name("")), None)

    def kill_all(self) -> None:
        self._gate = None
        self._monitors.clear()
        self._lose_hub()

    def _lose_hub(self) -> None:
        self.world.sink = None
        self._hub = None
        self._hub_back_at = self.world.now() + timedelta(seconds=RESTART_S)

    def part(self, owner: str) -> None:
        """A process is cut off and replaced, and does not know it."""
        old: Any = self._gate if owner == HOLDER else self._monitors.get(owner.rpartition(":")[2])
        if old is not None:
            self.kill(owner)
            self.zombies.append((owner, old))

    def wake_zombies(self) -> None:
        """What was cut off goes on with what it was about to do."""
        for owner, old in self.zombies:
            try:
                if owner == HOLDER:
                    old.judge(self.signals(self._step, is_sure=True), self.world.now())
                    old.sweep([], self.world.now() + timedelta(minutes=10))
                else:
                    symbol = owner.rpartition(":")[2]
                    old.leave(self.quote(symbol), self.world.now())
                    old.check(self.world.now())
            except (Crash, StoreUnavailable, BrokerUnavailable):
                continue
            except Exception as error:
                if type(error).__name__ != "FencedError":
                    raise
        self.zombies.clear()

    def _insist(self, make: Callable[[], Any]) -> Any:
        while True:
            try:
                return make()
            except (StoreUnavailable, BrokerUnavailable):
                self.world.sleep(0.5)

    def _asked(self, owner: str, find: Callable[[], Any], ask: Callable[[Any], Any]) -> Any:
        """Ask a process, and the next one where it died of it."""
        while True:
            try:
                return ask(find())
            except Crash as crash:
                if crash.owner != owner:
                    raise
                self.kill(owner)
                self.world.sleep(RESTART_S)

    def _find_gate(self) -> RiskGate:
        if self._gate is None:
            self._gate = self._insist(
                lambda: RiskGate(
                    **self.ports(HOLDER),
                    market_data=self.data,
                    limits=LIMITS,
                    sectors={symbol: f"sector {symbol}" for symbol in SYMBOLS},
                    execution=EntryPolicy(timeout_s=20, reprices=2, reprice_after_s=6),
                    now=self.world.now(),
                    sleep=self.world.sleep,
                )
            )
        return self._gate

    def _find_monitor(self, symbol: str) -> PositionMonitor:
        if symbol not in self._monitors:
            self._monitors[symbol] = self._insist(
                lambda: self._monitor_class(
                    symbol=symbol,
                    **self.ports(monitor_name(symbol)),
                    now=self.world.now(),
                    sleep=self.world.sleep,
                )
            )
        return self._monitors[symbol]

    # -- links
    def judge(self, signals: Sequence[SignalSeen], now: datetime) -> datetime | None:
        due: datetime | None = self._asked(
            HOLDER, self._find_gate, lambda gate: gate.judge(signals, now)
        )
        return due

    def sweep(self, quotes: Sequence[Quote], now: datetime) -> datetime | None:
        due: datetime | None = self._asked(
            HOLDER, self._find_gate, lambda gate: gate.sweep(quotes, now)
        )
        return due

    def _monitor(self, symbol: str, ask: Callable[[PositionMonitor], Any]) -> WatchBand | None:
        band: WatchBand | None = self._asked(
            monitor_name(symbol), lambda: self._find_monitor(symbol), ask
        )
        return band

    def review(self, quotes: Sequence[Quote], now: datetime) -> list[str]:
        raise AssertionError("scores are not acted upon here")

    def prepare(self, symbol: str) -> None:
        return None

    def on_change(self, symbol: str, quote: Quote | None, now: datetime) -> WatchBand | None:
        return self._monitor(symbol, lambda m: m.on_change(quote, now))

    def on_quotes(
        self, quotes: Sequence[tuple[str, Quote | None]], now: datetime
    ) -> dict[str, WatchBand | None]:
        return {s: self._monitor(s, lambda m, q=q: m.on_quote(q, now)) for s, q in quotes}

    def on_split(self, symbol: str, ratio: Decimal, now: datetime) -> WatchBand | None:
        return self._monitor(symbol, lambda m: m.on_split(ratio, now))

    def leave(self, symbol: str, quote: Quote | None, now: datetime) -> WatchBand | None:
        return self._monitor(symbol, lambda m: m.leave(quote, now))

    def check(self, symbol: str, now: datetime) -> WatchBand | None:
        return self._monitor(symbol, lambda m: m.check(now))

    # -- the script in the strategist's place
    def on_minute(
        self, bars: Sequence[Bar], quotes: Sequence[Quote], now: datetime
    ) -> datetime | None:
        wishes = self.signals(self._step)
        return self.judge(wishes, now) if wishes else None

    def save(self) -> None:
        return None

    def signals(self, step: int, *, is_sure: bool = False) -> list[SignalSeen]:
        """What the script wants at a step."""
        found = []
        for symbol in SYMBOLS:
            if not is_sure and self.world.draw("signal", step, symbol).random() > 0.5:
                continue
            wish = Signal(
                strategy="script",
                symbol=symbol,
                at=self.world.now(),
                confidence=5,
                reference_price=self.world.prices[symbol],
                atr_usd=1.0,
                stop_frac=0.015,
                target_frac=0.015,
                hold_sessions=0,
                features={},
            )
            found.append(SignalSeen(signal=wish, quote=self.quote(symbol)))
        return found

    def quote(self, symbol: str) -> Quote:
        market = self.world.core.markets[symbol]
        return Quote(
            symbol=symbol,
            at=self.world.now(),
            bid=market.bid,
            ask=market.ask,
            bid_size=100,
            ask_size=100,
        )

    # -- time
    def _monotonic(self) -> float:
        self._seconds += 1.0
        return self._seconds

    def _make_hub(self) -> MarketDataHub:
        ports = self.ports(HUB)
        hub = MarketDataHub(
            **ports,
            market_data=self.data,
            streams=Streams(self.world),
            strategist=self,
            gate=self,
            monitors=self,
            recorder=NoRecorder(),
            nightly=NoNightly(),
            symbols=SYMBOLS,
            limits=LIMITS,
            reconciler=Reconciler(**ports, market_data=self.data, sleep=self.world.sleep),
            is_lockstep=False,
            is_threaded=False,
            every_minute=True,
            now=self.world.now,
            advance=lambda _: None,
            monotonic=self._monotonic,
            retry_s=0.0,
        )
        hub.recover()
        return hub

    def turn(self, step: int, *, bars: bool) -> None:
        """One step: new quotes (and bars), and everything that they cause."""
        self._step = step
        try:
            if self._hub is None:
                if self.world.now() < self._hub_back_at:
                    return
                self._hub = self._make_hub()
            events: list[Quote | Bar | Tick] = [self.quote(symbol) for symbol in SYMBOLS]
            if bars:
                events += [self._bar(symbol) for symbol in SYMBOLS]
            for event in events:
                if self.world.sink is not None:
                    self.world.sink(event)
            self._hub.turn()
        except Crash as crash:
            self.kill(crash.owner)

    def _bar(self, symbol: str) -> Bar:
        price = self.world.prices[symbol]
        end = self.world.now()
        return Bar(
            symbol=symbol,
            start=end - timedelta(minutes=1),
            end=end,
            open=price,
            high=price,
            low=price,
            close=price,
            volume=1,
        )
