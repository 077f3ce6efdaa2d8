"""A desk's real parts as plain objects in one process, on the paper exchange.

Gateway, risk gate, position monitors, market data hub, reconciler and the
Alpaca adapters are the product's, in real time; the exchange is the server's
own process, and the test decides when its next minute comes. Only the strategy
is a script, and what is recorded is dropped.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import requests

from actors.links import SignalSeen
from actors.market_data import MarketDataHub
from actors.position_monitor import PositionMonitor
from actors.reconciler import Reconciler, reconciled
from actors.risk_gate import RiskGate
from cluster.wiring import insist
from greenlight.adapters.alpaca_broker import AlpacaBroker
from greenlight.adapters.alpaca_data import AlpacaMarketData, AlpacaStreams
from greenlight.domain.audit import Decision, DecisionKind
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.execution import EntryPolicy
from greenlight.domain.ledger import FLATTEN
from greenlight.domain.market import Bar, Quote
from greenlight.domain.orders import BrokerOrder, Side, covered_qty
from greenlight.domain.positions import WatchBand
from greenlight.ports import Run, Store
from greenlight.testing import FakeNotifier, FakeStore
from tests.exchange_fixture import (
    KEY,
    SECRET,
    SYMBOLS,
    WAVE,
    ExchangeProcess,
    LockstepDriver,
    wait_until,
)
from tests.faults.plain_parts import DeskClock, wish
from tests.faults.sim_desk import NoNightly, NoRecorder

LIMITS = RiskLimits(max_weight_frac=0.01, max_entries_a_minute=60, max_entries_an_hour=200)
"""Nine shares or so, so that no day of tests reaches the limit of its loss."""
POLICY = EntryPolicy(timeout_s=180, reprices=0, reprice_after_s=180)
DEADLINE_S = 5.0
_names = (f"f{number}" for number in itertools.count(1))


class Script:
    """In the strategist's place: wants what the test asks for, on every minute."""

    def __init__(self, desk: PlainDesk) -> None:
        self._desk = desk
        self.wants: set[str] = set()
        self.seen_until: datetime | None = None

    def on_minute(
        self, bars: Sequence[Bar], quotes: Sequence[Quote], now: datetime
    ) -> datetime | None:
        seen = {quote.symbol: quote for quote in quotes}
        wishes = [
            SignalSeen(signal=wish(bar.symbol, bar.end), quote=seen.get(bar.symbol))
            for bar in bars
            if bar.symbol in self.wants
        ]
        try:
            return self._desk.judge(wishes, now) if wishes else None
        finally:
            self.seen_until = max((bar.end for bar in bars), default=self.seen_until)

    def save(self) -> None:
        return None


def gate_ports(url: str, *, desk: str, now: datetime) -> dict[str, Any]:
    """What a risk gate on an exchange needs besides its store."""
    keys = {"base_url": url, "key_id": KEY, "secret_key": SECRET, "deadline_s": DEADLINE_S}
    return {
        "broker": AlpacaBroker(**keys),  # type: ignore[arg-type]
        "market_data": AlpacaMarketData(**keys),  # type: ignore[arg-type]
        "notifier": FakeNotifier(),
        "desk": desk,
        "limits": LIMITS,
        "sectors": {symbol: symbol for symbol in SYMBOLS},
        "execution": POLICY,
        "now": now,
        "sleep": time.sleep,
    }


class PlainDesk:
    """See the module. `start` is a new life; the store outlives `stop`.

    Parameters
    ----------
    store : Store | None
        None keeps everything in memory.
    deadline_s : float
        Of every request, in seconds.
    """

    def __init__(
        self,
        exchange: ExchangeProcess,
        driver: LockstepDriver,
        *,
        store: Store | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self.exchange, self.driver = exchange, driver
        self.name = next(_names)
        self.store: Store = store or FakeStore()
        self.notifier = FakeNotifier()
        self.deadline_s = deadline_s
        self.broker = self.new_broker()
        self.clock = DeskClock(datetime.fromisoformat(driver.current["at"]))
        self.script = Script(self)
        self.hub: MarketDataHub | None = None
        self._gate: RiskGate | None = None
        self._monitors: dict[str, PositionMonitor] = {}
        self._making = threading.RLock()
        # The exchange's time stands still between its minutes: what comes now is after it.
        self.began = self.clock.now() - timedelta(seconds=1)
        account = self.broker.account()
        self.store.start_run(
            Run(
                run_id=self.name,
                started_at=self.began,
                account_kind="paper",
                account_number=account.account_number,
                source="wave",
                is_synthetic=True,
                start_cash_usd=account.cash,
                fingerprint="f" * 64,
            )
        )

    # -- its life
    def new_broker(self, url: str | None = None) -> AlpacaBroker:
        return AlpacaBroker(
            base_url=url or self.exchange.url,
            key_id=KEY,
            secret_key=SECRET,
            deadline_s=self.deadline_s,
        )

    def market_data(self) -> AlpacaMarketData:
        return AlpacaMarketData(
            base_url=self.exchange.url,
            key_id=KEY,
            secret_key=SECRET,
            deadline_s=self.deadline_s,
        )

    def new_gate(self, **ports: Any) -> RiskGate:
        """A risk gate in its next life."""
        fields = gate_ports(self.exchange.url, desk=self.name, now=self.clock.now())
        own: dict[str, Any] = {
            "store": self.store,
            "broker": self.new_broker(),
            "notifier": self.notifier,
        }
        self._gate = RiskGate(**{**fields, **own, **ports})
        return self._gate

    def start(self, *, is_awaited: bool = True) -> None:
        """Begin a life: everything recovers by being made."""
        ports: dict[str, Any] = {
            "store": self.store,
            "notifier": self.notifier,
            "desk": self.name,
        }
        data, broker = self.market_data(), self.new_broker()
        self.hub = MarketDataHub(
            **ports,
            broker=broker,
            market_data=data,
            streams=AlpacaStreams(
                data_url=self.exchange.ws_url + "/v2/iex",
                trade_url=self.exchange.ws_url + "/stream",
                control_url=None,
                key_id=KEY,
                secret_key=SECRET,
                symbols=SYMBOLS,
                wants_daily=False,
                wants_ticks=False,
            ),
            strategist=self.script,
            gate=self,
            monitors=self,
            recorder=NoRecorder(),
            nightly=NoNightly(),
            symbols=SYMBOLS,
            limits=LIMITS,
            reconciler=Reconciler(**ports, broker=broker, market_data=data, sleep=time.sleep),
            is_lockstep=False,
            every_minute=True,
            now=self.clock.now,
            advance=self.clock.advance,
            monotonic=self.clock.seconds,
        )
        if is_awaited:
            wait_until(lambda: self.streams() == 2)
            wait_until(self.is_reconciled)

    def stop(self) -> None:
        """End the life; what rests at the broker stays there."""
        if self.hub is None:
            return
        self.hub.stop()
        self.hub = self._gate = None
        self._monitors.clear()
        wait_until(lambda: self.streams() == 0)

    def streams(self) -> int:
        """How many of the two streams are connected."""
        counts = self.exchange.state()["connections"]
        return int(counts["data"]) + int(counts["trade_updates"])

    def is_reconciled(self) -> bool:
        return reconciled(self.store) is True

    # -- the exchange's time
    def step(self, steps: int = 1) -> None:
        """The exchange's next minutes; the desk's clock goes on with them."""
        for _ in range(steps):
            self.driver.step()
            self.clock.advance(datetime.fromisoformat(self.driver.current["at"]))

    def to_price(self, price: int) -> None:
        """Go on until every symbol trades at a price: 100 and 101 on their way up, 99 down."""
        self.step()
        while not (0 < self.driver.minute <= 360 and self._place() == WAVE.index(price)):
            self.step()

    def want(self, *symbols: str) -> None:
        """Let the script buy, from the next minute on."""
        present = datetime.fromisoformat(self.driver.current["at"])
        wait_until(lambda: self.script.seen_until == present)
        self.script.wants = set(symbols)

    def _place(self) -> int:
        return (self.driver.minute - 1) % len(WAVE)

    def to_open(self) -> None:
        """Go on, where need be, to a minute of a session."""
        while not 0 < self.driver.minute <= 360:
            self.step()

    # -- what a test makes happen
    def seen(self, symbol: str, **changes: object) -> SignalSeen:
        """A wish with the exchange's present quote."""
        quote = self.market_data().latest_quotes([symbol])[symbol]
        return SignalSeen(signal=wish(symbol, self.clock.now(), **changes), quote=quote)

    def enter(self, symbol: str = "ALFA", **changes: object) -> None:
        """Have the gate judge a wish to buy."""
        self.judge([self.seen(symbol, **changes)], self.clock.now())

    def hold(self, symbol: str = "ALFA", **changes: object) -> int:
        """Buy at 101 with the stop at 98.99, and wait until it is protected; the shares.

        The price goes on to 102, 101, 100 and 99, where the bid is below the stop, and 98.
        """
        self.to_price(101)
        self.enter(symbol, **changes)
        self.wait_covered(symbol)
        return self.held(symbol)

    def flatten(self) -> None:
        """Ask, as a person does, for every position to be left."""
        self.store.halt(at=self.clock.now(), until=None, reason=f"{FLATTEN}: test")

    def post(self, **fields: Any) -> dict[str, Any]:
        """An order by hand."""
        body = {"qty": "10", "time_in_force": "day", "type": "market", **fields}
        answer = self.exchange.request("POST", "/v2/orders", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def cut(self, stream: str) -> None:
        """Cut a stream's connection."""
        url = f"{self.exchange.url}/control/disconnect?stream={stream}"
        assert requests.post(url, timeout=5).json()["was_open"]

    # -- what a test looks at
    def held(self, symbol: str = "ALFA") -> int:
        """Shares at the broker; negative if it were short."""
        return sum(p.qty for p in self.broker.positions() if p.symbol == symbol)

    def sells(self, symbol: str = "ALFA") -> list[BrokerOrder]:
        return [o for o in self.broker.open_orders(symbol) if o.side is Side.SELL]

    def covered(self, symbol: str = "ALFA") -> int:
        return covered_qty(self.sells(symbol))

    def is_covered(self, symbol: str = "ALFA") -> bool:
        """Whether the ledger has the broker's shares, and all lie under a live stop."""
        position, held = self.store.position(symbol), self.held(symbol)
        return position is not None and position.qty == held == self.covered(symbol)

    def is_flat(self, symbol: str = "ALFA") -> bool:
        """Whether neither the ledger nor the broker has shares, and nothing sells."""
        is_out = self.store.position(symbol) is None and self.held(symbol) == 0
        return is_out and self.sells(symbol) == []

    def wait_covered(self, symbol: str = "ALFA", within_s: float = 6.0) -> None:
        wait_until(lambda: self.is_covered(symbol), within_s)

    def wait_flat(self, symbol: str = "ALFA", within_s: float = 6.0) -> None:
        wait_until(lambda: self.is_flat(symbol), within_s)

    def orders(self, **query: str) -> list[dict[str, Any]]:
        """The desk's own orders at the broker, oldest first, legs left out."""
        params = {"status": "all", "limit": "500", "direction": "asc", **query}
        rows = self.exchange.request("GET", "/v2/orders", params=params).json()
        return [row for row in rows if row["client_order_id"].startswith(f"gl-{self.name}-")]

    def executions(self) -> list[tuple[str, int]]:
        """What the broker has executed since the desk began: side and shares."""
        found = self.broker.executions(self.began)
        return [(fill.side.value, fill.qty) for fill in found]

    def booked(self) -> list[tuple[str, int]]:
        """What the ledger has of it."""
        return [(fill.side.value, fill.qty) for fill in self.store.fills(limit=None)]

    def decisions(self, kind: DecisionKind) -> list[Decision]:
        return [row.decision for row in self.store.decisions(kind=kind, limit=None)]

    def refusals(self, symbol: str = "ALFA") -> list[str]:
        """The rules that refused the symbol's wishes, the oldest first."""
        rows = self.decisions(DecisionKind.ENTRY)
        return [row.reason for row in rows if row.symbol == symbol]

    def assert_exact(self) -> None:
        """The ledger is the broker's, to the share and to the cent."""
        assert sorted(self.booked()) == sorted(self.executions())
        assert self.store.cash() == self.broker.account().cash

    # -- links: each actor is made when it is first asked
    def gate(self) -> RiskGate:
        with self._making:
            return self._gate or insist(self.new_gate)

    def judge(self, signals: Sequence[SignalSeen], now: datetime) -> datetime | None:
        return self.gate().judge(signals, now)

    def sweep(self, quotes: Sequence[Quote], now: datetime) -> datetime | None:
        return self.gate().sweep(quotes, now)

    def review(self, quotes: Sequence[Quote], now: datetime) -> list[str]:
        return self.gate().review(quotes, now)

    def new_monitor(self, symbol: str = "ALFA", **ports: Any) -> PositionMonitor:
        """A symbol's monitor in its next life."""
        fields: dict[str, Any] = {
            "symbol": symbol,
            "store": self.store,
            "broker": self.new_broker(),
            "notifier": self.notifier,
            "desk": self.name,
            "now": self.clock.now(),
            "sleep": time.sleep,
        }
        return PositionMonitor(**{**fields, **ports})

    def monitor(self, symbol: str = "ALFA") -> PositionMonitor:
        with self._making:
            if symbol not in self._monitors:
                self._monitors[symbol] = insist(lambda: self.new_monitor(symbol))
            return self._monitors[symbol]

    def prepare(self, symbol: str) -> None:
        self.monitor(symbol)

    def on_change(self, symbol: str, quote: Quote | None, now: datetime) -> WatchBand | None:
        return self.monitor(symbol).on_change(quote, now)

    def on_quotes(
        self, quotes: Sequence[tuple[str, Quote | None]], now: datetime
    ) -> dict[str, WatchBand | None]:
        return {symbol: self.monitor(symbol).on_quote(quote, now) for symbol, quote in quotes}

    def on_split(
        self, symbol: str, ex_date: date, ratio: Decimal, now: datetime
    ) -> WatchBand | None:
        return self.monitor(symbol).on_split(ex_date, ratio, now)

    def leave(self, symbol: str, quote: Quote | None, now: datetime) -> WatchBand | None:
        return self.monitor(symbol).leave(quote, now)

    def check(self, symbol: str, now: datetime) -> WatchBand | None:
        return self.monitor(symbol).check(now)


def clear(exchange: ExchangeProcess, driver: LockstepDriver) -> None:
    """Neither orders nor positions nor faults, in an open market."""
    exchange.clear_faults()
    while not 0 < driver.minute <= 330:
        driver.step()
    exchange.request("DELETE", "/v2/positions?cancel_orders=true")
    driver.step()
    assert exchange.request("GET", "/v2/positions").json() == []
    assert exchange.request("GET", "/v2/orders").json() == []
