"""The outside of a simulated desk: a clock, an exchange, a stream, and faults between.

The exchange is the paper exchange's matching core in this process; time is
virtual and moves only when somebody sleeps or the schedule goes on. All that
is random follows from the seed, by key, so that leaving a fault out changes
nothing else.
"""

from __future__ import annotations

import dataclasses
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from cluster.paper_exchange.engine import ExchangeSettings
from cluster.paper_exchange.matching import ExchangeCore
from cluster.paper_exchange.order_request import parse_terms
from cluster.paper_exchange.orders import Order, Status, to_ns
from cluster.paper_exchange.refusal import Refused
from greenlight.adapters.alpaca_broker import (
    _order_body,
    _replace_body,
    parse_activity,
    parse_order,
)
from greenlight.adapters.alpaca_data import _trade_update
from greenlight.domain.cash import CashActivity
from greenlight.domain.orders import (
    TERMINAL,
    Accepted,
    BrokerOrder,
    Execution,
    OrderIntent,
    Outcome,
    Rejected,
    Unresolved,
)
from greenlight.ports import (
    BrokerAccount,
    BrokerPosition,
    BrokerUnavailable,
    StoreUnavailable,
    StreamEvent,
    TradeStreamOpened,
)

SYMBOLS = ("AAPL", "A", "B")
START = datetime(2013, 10, 7, 14, 30, tzinfo=UTC)
CLOSE = datetime(2013, 10, 7, 20, 0, tzinfo=UTC)
CASH = Decimal(100_000)


class Crash(BaseException):
    """The process of `owner` dies here."""

    def __init__(self, owner: str) -> None:
        super().__init__(owner)
        self.owner = owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One misfortune from step `step` on.

    `owner` and `method` say whose calls of what it strikes (empty: anybody's,
    any), `phase` whether the call has had its effect, `skip` how many pass
    before it, `count` how many it strikes.
    """

    step: int
    kind: str
    owner: str = ""
    method: str = ""
    phase: str = "before"
    skip: int = 0
    count: int = 1
    seconds: float = 0.0
    symbol: str = ""

    def __str__(self) -> str:
        shown = [f"step {self.step}: {self.kind}"]
        for field in dataclasses.fields(self)[2:]:
            value = getattr(self, field.name)
            if value != field.default:
                shown.append(f"{field.name}={value}")
        return " ".join(shown)


@dataclass(slots=True)
class _Armed:
    fault: Fault
    skip: int
    count: int
    until_step: int


class Board:
    """The faults that are in force."""

    ARMED_FOR = 40
    """Steps after which a fault that found nothing to strike is over."""

    def __init__(self) -> None:
        self.armed: list[_Armed] = []
        self.fired: list[Fault] = []
        self.on_fire: Callable[[], None] = lambda: None

    def arm(self, fault: Fault) -> None:
        self.armed.append(
            _Armed(fault, fault.skip, fault.count, until_step=fault.step + self.ARMED_FOR)
        )

    def step(self, number: int) -> None:
        self.armed = [a for a in self.armed if a.count > 0 and number < a.until_step]

    def strike(self, kind: str, owner: str = "", method: str = "", phase: str = "") -> Fault | None:
        """The fault that strikes here, used up by one."""
        for armed in self.armed:
            fault = armed.fault
            if fault.kind != kind or armed.count <= 0:
                continue
            if (fault.owner and not owner.startswith(fault.owner)) or (
                fault.method and fault.method != method
            ):
                continue
            if phase and fault.phase != phase:
                continue
            if armed.skip > 0:
                armed.skip -= 1
                continue
            armed.count -= 1
            self.fired.append(fault)
            self.on_fire()
            return fault
        return None


class Flaky:
    """A port as one process sees it: any call may fail or be the process's last.

    Parameters
    ----------
    lost : type[Exception]
        What a call without an answer raises.
    """

    def __init__(self, target: Any, board: Board, owner: str, lost: type[Exception]) -> None:
        self._target = target
        self._board = board
        self._owner = owner
        self._lost = lost

    def __getattr__(self, name: str) -> Any:
        plain = getattr(self._target, name)
        port = "store" if self._lost is StoreUnavailable else "broker"

        def call(*args: Any, **kwargs: Any) -> Any:
            self._meet(port, name, "before")
            answer = plain(*args, **kwargs)
            self._meet(port, name, "after")
            return answer

        def command(*args: Any) -> Any:
            # Orders and cancels never raise: without an answer they are unresolved.
            if self._board.strike("crash", self._owner, name, "before"):
                raise Crash(self._owner)
            if self._board.strike("broker_lost", self._owner, name, "before"):
                return Unresolved(reason="lost on the way")
            answer = plain(*args)
            if self._board.strike("crash", self._owner, name, "after"):
                raise Crash(self._owner)
            if self._board.strike("broker_lost", self._owner, name, "after"):
                return Unresolved(reason="the answer was lost")
            return answer

        return command if port == "broker" and name in ("submit", "cancel") else call

    def _meet(self, port: str, name: str, phase: str) -> None:
        if self._board.strike("crash", self._owner, name, phase):
            raise Crash(self._owner)
        if self._board.strike(f"{port}_lost", self._owner, name, phase):
            raise self._lost(f"{name} was lost {phase} its effect")


class World:
    """The exchange on virtual time.

    Attributes
    ----------
    on_accept : Callable[[OrderIntent], None]
        Told of every order of the desk that the exchange takes.
    on_time : Callable[[float], None]
        Told how many seconds pass, before they do.
    """

    def __init__(self, seed: int, board: Board) -> None:
        self.seed = seed
        self.board = board
        settings = ExchangeSettings(cash=CASH, partial_fill_probability=0.15)
        self.core = ExchangeCore(SYMBOLS, settings)
        self.core.day_expiry_ns = to_ns(CLOSE)
        self._now = START
        self.prices = dict.fromkeys(SYMBOLS, 100.0)
        for symbol in SYMBOLS:
            self.core.markets[symbol].previous_close = 100.0
        self.core.open_session(self.now_ns)
        for symbol in SYMBOLS:
            self.core.on_event(symbol, self.now_ns, 100.0, 100.02, 100.0)
        self.on_accept: Callable[[OrderIntent], None] = lambda _: None
        self.on_time: Callable[[float], None] = lambda _: None
        self.sink: Callable[[StreamEvent], None] | None = None
        self._cancels: deque[tuple[datetime, str]] = deque()
        self._held_back: list[tuple[datetime, StreamEvent]] = []
        self._reconnect_at: datetime | None = None
        self.by_hand: set[str] = set()
        self._hidden = 0

    # -- time
    def now(self) -> datetime:
        return self._now

    @property
    def now_ns(self) -> int:
        return to_ns(self._now)

    def draw(self, *key: object) -> random.Random:
        return random.Random(f"{self.seed}:{':'.join(map(str, key))}")

    def sleep(self, seconds: float) -> None:
        """Virtual time passes; cancels are carried out and held messages come in."""
        self.on_time(seconds)
        self._now += timedelta(seconds=seconds)
        self._finish_cancels()
        self.collect()
        self._release()

    @property
    def is_withholding(self) -> bool:
        """Whether the desk has not been told something that happened."""
        return bool(self._held_back) or self._reconnect_at is not None

    # -- the market
    def tick(self, step: int) -> None:
        """Every symbol's next quote and print."""
        for symbol in SYMBOLS:
            move = self.draw("price", step, symbol).gauss(0, 0.0025)
            self.prices[symbol] = max(1.0, self.prices[symbol] * (1 + move))
            bid = round(self.prices[symbol], 2)
            ask = round(bid + 0.02, 2)
            self.core.on_event(symbol, self.now_ns, bid, ask, bid)
        self.collect()

    # -- the trade stream
    def collect(self) -> None:
        """What happened at the exchange goes on its way to the desk."""
        updates, self.core.updates = self.core.updates, []
        for raw in updates:
            event = _trade_update(raw)
            if self._reconnect_at is not None:
                continue
            if fault := self.board.strike("stream_cut"):
                self._reconnect_at = self._now + timedelta(seconds=fault.seconds)
                continue
            fault = self.board.strike("stream_slow")
            if fault or self._held_back:
                delay_s = fault.seconds if fault else 0.0
                due = self._now + timedelta(seconds=delay_s)
                due = max([due, *(at for at, _ in self._held_back)])
                self._held_back.append((due, event))
                continue
            self._deliver(event)
            if fault := self.board.strike("stream_again"):
                for _ in range(2):
                    self._deliver(event)

    def _release(self) -> None:
        while self._held_back and self._held_back[0][0] <= self._now:
            self._deliver(self._held_back.pop(0)[1])
        if self._reconnect_at is not None and self._reconnect_at <= self._now:
            self._reconnect_at = None
            self._held_back.clear()
            self._deliver(TradeStreamOpened())

    def _deliver(self, event: StreamEvent) -> None:
        if self.sink is not None:
            self.sink(event)

    # -- what a person does
    def buy_by_hand(self, symbol: str, qty: int, step: int) -> None:
        self.by_hand.add(symbol)
        body = {
            "symbol": symbol,
            "qty": str(qty),
            "side": "buy",
            "type": "market",
            "time_in_force": "day",
            "client_order_id": f"web-{step}",
        }
        self._try(lambda: self.core.submit(parse_terms(body), self.now_ns))

    def cancel_by_hand(self, symbol: str) -> None:
        for order in list(self.core.live[symbol].values()):
            if not order.is_buy and order.status is not Status.HELD:
                self._try(lambda order=order: self.core.request_cancel(order.id, self.now_ns))
        self.core.complete_cancels(self.now_ns)
        self.collect()

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Refused:
            return
        finally:
            self.collect()

    # -- the broker's port
    def submit(self, intent: OrderIntent) -> Outcome:
        if self.board.strike("refuse", method=str(intent.role)):
            return Rejected(http_status=422, code=42210000, message="refused by a fault")
        if intent.side == "buy" and (fault := self.board.strike("partial")):
            self.core.hold_next = Decimal(int(fault.seconds))
        try:
            if intent.replaces is not None:
                raw = self.core.replace(intent.replaces, _replace_body(intent), self.now_ns)
            else:
                raw = self.core.submit(parse_terms(_order_body(intent)), self.now_ns)
        except Refused as refusal:
            if refusal.status == 422 and "must be unique" in refusal.message:
                found = self.find_order(intent.client_order_id)
                return Unresolved(reason="duplicate") if found is None else Accepted(order=found)
            code = refusal.body.get("code")
            return Rejected(http_status=refusal.status, code=code, message=refusal.message)
        finally:
            self.core.hold_next = None
        self.on_accept(intent)
        self.collect()
        if fault := self.board.strike("hide"):
            self._hidden = 3
        return Accepted(order=parse_order(raw))

    def cancel(self, order_id: str) -> Outcome | None:
        order = self.core.orders.get(order_id)
        if order is not None and self.board.strike("fill_on_cancel"):
            self.core.force_fill(order_id, self.now_ns)
        try:
            self.core.request_cancel(order_id, self.now_ns)
        except Refused as refusal:
            self.collect()
            code = refusal.body.get("code")
            return Rejected(http_status=refusal.status, code=code, message=refusal.message)
        fault = self.board.strike("slow_cancel")
        due = self._now + timedelta(seconds=fault.seconds if fault else 0.005)
        self._cancels.append((due, order_id))
        self.collect()
        return None

    def _finish_cancels(self) -> None:
        waiting, self._cancels = self._cancels, deque()
        for due, order_id in waiting:
            order = self.core.orders[order_id]
            if due > self._now:
                self._cancels.append((due, order_id))
            elif order.status is Status.PENDING_CANCEL:
                self.core.finish(order, Status.CANCELED, self.now_ns)

    def find_order(self, client_order_id: str) -> BrokerOrder | None:
        if self._hidden:
            self._hidden -= 1
            return None
        order_id = self.core.by_client_id.get(client_order_id)
        return None if order_id is None else self.order(order_id)

    def order(self, order_id: str) -> BrokerOrder | None:
        order = self.core.orders.get(order_id)
        return None if order is None else self._read(order)

    def _read(self, order: Order) -> BrokerOrder:
        return parse_order(order.wire(self.core.legs(order) if order.leg_ids else None))

    def open_orders(self, symbol: str | None = None) -> tuple[BrokerOrder, ...]:
        # As the adapter reads them: `held` legs show only below their parents.
        found: dict[str, BrokerOrder] = {}
        for name, book in self.core.live.items():
            if symbol not in (None, name):
                continue
            for order in sorted(book.values(), key=lambda o: o.seq):
                if order.status is Status.HELD:
                    continue
                whole = self._read(order)
                for each in (whole, *whole.legs):
                    if each.status not in TERMINAL:
                        found.setdefault(each.order_id, each)
        return tuple(found.values())

    def positions(self) -> tuple[BrokerPosition, ...]:
        return tuple(
            BrokerPosition(
                symbol=symbol,
                qty=int(p.qty),
                qty_available=int(self.core.qty_available(symbol)),
                avg_entry_price=p.average,
                current_price=None,
            )
            for symbol, p in sorted(self.core.ledger.positions.items())
        )

    def account(self) -> BrokerAccount:
        ledger = self.core.ledger
        equity = ledger.equity(self.core.markets)
        return BrokerAccount(
            account_number="PA-SIM",
            status="ACTIVE",
            equity=equity,
            last_equity=CASH,
            cash=ledger.cash,
            buying_power=self.core.buying_power,
            is_trading_blocked=False,
        )

    def cash_activities(self, after: datetime) -> tuple[CashActivity, ...]:
        return ()

    def executions(self, after: datetime) -> tuple[Execution, ...]:
        found: Sequence[Execution] = [parse_activity(row) for row in self.core.activities]
        return tuple(fill for fill in found if fill.at >= after)


def flaky_broker(world: World, owner: str) -> Any:
    """The exchange as one process reaches it."""
    return Flaky(world, world.board, owner, BrokerUnavailable)
