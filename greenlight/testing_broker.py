"""In-memory stand-ins for the broker, its market data and its streams.

What `greenlight.testing` is for the store, this file is for the outside: a
broker whose answers are scripted, history from a list, and streams that a test
pushes by hand. Nothing fills or moves by itself. Prices are `Decimal` US
dollars at the broker's edge, times aware UTC.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal

from greenlight.domain import ledger
from greenlight.domain.cash import CashActivity, CashMoved
from greenlight.domain.corporate_actions import DividendPaid
from greenlight.domain.market import Bar, Quote, Split, SymbolChange
from greenlight.domain.orders import (
    Accepted,
    BrokerOrder,
    Execution,
    OrderIntent,
    OrderKind,
    OrderStatus,
    Outcome,
    Rejected,
    Side,
    Unresolved,
)
from greenlight.ports import (
    BrokerAccount,
    BrokerPosition,
    BrokerUnavailable,
    Clock,
    StepReady,
    StreamEvent,
    StreamKind,
    TradeUpdate,
)

_NAMES: dict[OrderStatus, str] = {
    OrderStatus.WORKING: "new",
    OrderStatus.CANCEL_PENDING: "pending_cancel",
    OrderStatus.REFUSED: "rejected",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scripted:
    outcome: Outcome
    is_committed: bool


class FakeBroker:
    """`greenlight.ports.Broker` in memory.

    Orders rest until `fill`; an OCO is a limit with a stop leg that share one
    reservation. Sends, cancels, fills and all else that moves cash are kept in
    `submitted`, `cancels`, `fills` and `activities`.

    Parameters
    ----------
    clock : Clock
        Times of orders and fills.
    cash : Decimal
        US dollars at the start.

    Attributes
    ----------
    up : bool
        False: questions raise `BrokerUnavailable`, commands are unresolved.
    replace_refusal : Rejected | None
        What every change of a price is answered with.
    is_cancel_slow : bool
        Cancels stay pending until `finish_cancels`.
    on_submit : Callable[[OrderIntent], None]
        Called with every send before it has any effect.
    on_cancel : Callable[[BrokerOrder], None]
        Called with every live order before it is cancelled.
    on_update : Callable[[TradeUpdate], None]
        Called with every fill, finished cancel and replaced order, as the trade stream would.
    """

    def __init__(self, clock: Clock, *, cash: Decimal = Decimal(100_000)) -> None:
        self.up = True
        self.replace_refusal: Rejected | None = None
        self.is_cancel_slow = False
        self.is_trading_blocked = False
        self.on_submit: Callable[[OrderIntent], None] = lambda _: None
        self.on_cancel: Callable[[BrokerOrder], None] = lambda _: None
        self.on_update: Callable[[TradeUpdate], None] = lambda _: None
        self.submitted: list[OrderIntent] = []
        self.cancels: list[str] = []
        self.fills: list[Execution] = []
        self.activities: list[CashActivity] = []
        self._clock = clock
        self._cash = cash
        self._orders: dict[str, BrokerOrder] = {}
        self._sibling: dict[str, str] = {}
        self._holdings: dict[str, int] = {}
        self._paid: dict[str, Decimal] = {}
        self._prices: dict[str, Decimal] = {}
        self._script: deque[_Scripted] = deque()
        self._hidden = 0

    # -- what a test arranges
    def answer_next(self, outcome: Outcome, *, committed: bool = False) -> None:
        """Answer one of the next sends, in order, with an outcome; `committed`: it took effect."""
        self._script.append(_Scripted(outcome=outcome, is_committed=committed))

    def hide_lookups(self, times: int) -> None:
        """Let the next look-ups by name find nothing, as just after an accept."""
        self._hidden = times

    def set_price(self, symbol: str, price: str | Decimal) -> None:
        """The market's price: a sell stop at or above it is refused."""
        self._prices[symbol] = Decimal(price)

    def hold(self, symbol: str, qty: int, price: str | Decimal) -> None:
        """Own shares that no order of the desk bought; 0 takes them away."""
        self._holdings[symbol], self._paid[symbol] = qty, Decimal(price) * qty
        self._prices.setdefault(symbol, Decimal(price))

    def rename(self, old: str, new: str) -> None:
        """Give the shares of a symbol a new name; its live orders are cancelled."""
        for order in list(self._orders.values()):
            if order.symbol == old and order.is_live:
                self._finish(order, OrderStatus.CANCELED)
        for table in (self._holdings, self._paid, self._prices):
            if old in table:
                table[new] = table.pop(old)  # type: ignore[assignment]

    def pay(self, symbol: str, usd_a_share: str, *, at: datetime | None = None) -> DividendPaid:
        """Pay a cash dividend for the shares held."""
        qty, rate = Decimal(self._holdings.get(symbol, 0)), Decimal(usd_a_share)
        paid = DividendPaid(
            activity_id=f"div-{len(self.activities) + 1}",
            symbol=symbol,
            at=at or self._clock.now(),
            usd=(qty * rate).quantize(Decimal("0.01")),
            qty=qty,
            usd_a_share=rate,
        )
        self._cash += paid.usd
        self.activities.append(paid)
        return paid

    def move_cash(
        self,
        activity_type: str,
        usd: str,
        *,
        at: datetime | None = None,
        symbol: str | None = None,
    ) -> CashMoved:
        """Charge or credit the account otherwise: a fee, interest, a transfer."""
        moved = CashMoved(
            activity_id=f"cash-{len(self.activities) + 1}",
            activity_type=activity_type,
            at=at or self._clock.now(),
            usd=Decimal(usd),
            symbol=symbol,
            description=f"{activity_type} of a test",
        )
        self._cash += moved.usd
        self.activities.append(moved)
        return moved

    def cancel_activity(self, activity_id: str) -> None:
        """Take a dividend or a movement of cash back."""
        for place, row in enumerate(self.activities):
            if row.activity_id == activity_id:
                self._cash -= row.usd
                self.activities[place] = replace(row, usd=Decimal(0))

    def fill(self, order_id: str, qty: int, price: str | Decimal) -> Execution:
        """Fill shares of a live order; the other one of a pair shrinks or is cancelled.

        Raises
        ------
        ValueError
            The order is not live, or has fewer shares left.
        """
        order = self._orders[order_id]
        if not order.is_live or not 0 < qty <= order.remaining:
            raise ValueError(f"{order_id} is {order.status} with {order.remaining} left, not {qty}")
        value, now = Decimal(price), self._clock.now()
        filled = order.filled_qty + qty
        paid = (order.filled_avg_price or Decimal(0)) * order.filled_qty + value * qty
        is_done = filled == order.qty
        order = replace(
            order,
            filled_qty=filled,
            filled_avg_price=paid / filled,
            status=OrderStatus.FILLED if is_done else OrderStatus.PARTIALLY_FILLED,
            updated_at=now,
        )
        self._put(order)
        sign = 1 if order.side is Side.BUY else -1
        self._holdings[order.symbol] = self._holdings.get(order.symbol, 0) + sign * qty
        self._paid[order.symbol] = self._paid.get(order.symbol, Decimal(0)) + sign * value * qty
        self._cash -= sign * value * qty
        fill = Execution(
            execution_id=f"x-{order_id}-{filled}",
            order_id=order_id,
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            qty=qty,
            price=value,
            cum_qty=filled,
            at=now,
        )
        self.fills.append(fill)
        event = "fill" if is_done else "partial_fill"
        self.on_update(TradeUpdate(event=event, at=now, order=self._whole(order), fill=fill))
        other = self._orders.get(self._sibling.get(order_id, ""))
        if other is not None and other.is_live:
            if is_done:
                self._finish(other, OrderStatus.CANCELED)
            else:
                self._put(replace(other, qty=other.qty - qty))
        return fill

    def end(self, order_id: str, status: OrderStatus) -> None:
        """End a live order and its pair otherwise: cancelled out of band, expired."""
        order = self._orders[order_id]
        for each in (order, self._orders.get(self._sibling.get(order_id, ""))):
            if each is not None and each.is_live:
                self._finish(each, status)

    def finish_cancels(self) -> None:
        """Let every pending cancel happen."""
        for order in list(self._orders.values()):
            if order.status is OrderStatus.CANCEL_PENDING:
                self._finish(order, OrderStatus.CANCELED)

    def live(self, symbol: str, side: Side) -> list[BrokerOrder]:
        """Live orders of a symbol and side, each pair once, oldest first."""
        legs = set(self._legs().values())
        return [
            self._whole(order)
            for order in self._orders.values()
            if order.symbol == symbol
            and order.side is side
            and order.is_live
            and order.order_id not in legs
        ]

    # -- commands
    def submit(self, intent: OrderIntent) -> Outcome:
        """Take the order, refuse it, or answer as `answer_next` said."""
        self.submitted.append(intent)
        self.on_submit(intent)
        if self._script:
            scripted = self._script.popleft()
            if scripted.is_committed:
                self._take(intent)
            return scripted.outcome
        if not self.up:
            return Unresolved(reason="the broker was taken away")
        return self._take(intent)

    def cancel(self, order_id: str) -> Outcome | None:
        """Cancel an order and its pair, at once or when `finish_cancels` is called."""
        self.cancels.append(order_id)
        if not self.up:
            return Unresolved(reason="the broker was taken away")
        order = self._orders.get(order_id)
        if order is None:
            return Rejected(
                http_status=404, code=40410000, message=f"order not found for {order_id}"
            )
        if order.is_live:
            self.on_cancel(self._whole(order))
            order = self._orders[order_id]
        if not order.is_live:
            if order.status is OrderStatus.CANCELED:
                return None
            message = f'order is already in "{order.status}" state'
            return Rejected(http_status=422, code=42210000, message=message)
        for each in (order, self._orders.get(self._sibling.get(order_id, ""))):
            if each is None or not each.is_live:
                continue
            if self.is_cancel_slow:
                self._put(replace(each, status=OrderStatus.CANCEL_PENDING))
            else:
                self._finish(each, OrderStatus.CANCELED)
        return None

    # -- questions
    def find_order(self, client_order_id: str) -> BrokerOrder | None:
        """The order of that name, unless look-ups are hidden."""
        self._answer()
        if self._hidden:
            self._hidden -= 1
            return None
        return self._named(client_order_id)

    def order(self, order_id: str) -> BrokerOrder | None:
        """The order of that id with its legs."""
        self._answer()
        order = self._orders.get(order_id)
        return None if order is None else self._whole(order)

    def open_orders(self, symbol: str | None = None) -> tuple[BrokerOrder, ...]:
        """Live orders, legs included."""
        self._answer()
        return tuple(
            self._whole(order)
            for order in self._orders.values()
            if order.is_live and symbol in (None, order.symbol)
        )

    def positions(self) -> tuple[BrokerPosition, ...]:
        """Holdings, less what open sells reserve."""
        self._answer()
        return tuple(
            BrokerPosition(
                symbol=symbol,
                qty=qty,
                qty_available=qty - self._reserved(symbol),
                avg_entry_price=self._paid[symbol] / qty,
                current_price=self._prices.get(symbol),
            )
            for symbol, qty in self._holdings.items()
            if qty
        )

    def account(self) -> BrokerAccount:
        """Cash, and holdings at their last price; open buys reserve buying power."""
        self._answer()
        worth = sum(
            (qty * self._prices.get(s, Decimal(0)) for s, qty in self._holdings.items()),
            Decimal(0),
        )
        return BrokerAccount(
            account_number="PA-FAKE",
            status="ACTIVE",
            equity=self._cash + worth,
            last_equity=self._cash + worth,
            cash=self._cash,
            buying_power=self._power(),
            is_trading_blocked=self.is_trading_blocked,
        )

    def executions(self, after: datetime) -> tuple[Execution, ...]:
        """Fills at or after an instant, without our names, as the activities have them."""
        self._answer()
        return tuple(replace(f, client_order_id=None) for f in self.fills if f.at >= after)

    def cash_activities(self, after: datetime) -> tuple[CashActivity, ...]:
        """What moved cash besides fills after an instant."""
        self._answer()
        return tuple(row for row in self.activities if row.at > after)

    # -- inside
    def _answer(self) -> None:
        if not self.up:
            raise BrokerUnavailable("the broker was taken away")

    def _legs(self) -> dict[str, str]:
        return {
            p: leg for p, leg in self._sibling.items() if self._orders[leg].order_type == "stop"
        }

    def _whole(self, order: BrokerOrder) -> BrokerOrder:
        leg = self._legs().get(order.order_id)
        return order if leg is None else replace(order, legs=(self._orders[leg],))

    def _put(self, order: BrokerOrder) -> None:
        name = _NAMES.get(order.status, order.status.value)
        self._orders[order.order_id] = replace(order, broker_status=name)

    def _finish(self, order: BrokerOrder, status: OrderStatus) -> None:
        order = replace(order, status=status, updated_at=self._clock.now())
        self._put(order)
        self.on_update(TradeUpdate(event=status.value, at=order.updated_at, order=order, fill=None))

    def _named(self, client_order_id: str) -> BrokerOrder | None:
        for order in self._orders.values():
            if order.client_order_id == client_order_id:
                return self._whole(order)
        return None

    def _reserved(self, symbol: str) -> int:
        return sum(order.remaining for order in self.live(symbol, Side.SELL))

    def _power(self) -> Decimal:
        buys = (o for o in self._orders.values() if o.side is Side.BUY and o.is_live)
        return self._cash - sum(
            (o.remaining * (o.limit_price or Decimal(0)) for o in buys), Decimal(0)
        )

    def _take(self, intent: OrderIntent) -> Outcome:
        existing = self._named(intent.client_order_id)
        if existing is not None:
            return Accepted(order=existing)
        if intent.replaces is not None:
            return self._replace(intent, intent.replaces)
        if intent.side is Side.SELL:
            available = self._holdings.get(intent.symbol, 0) - self._reserved(intent.symbol)
            if intent.qty > available:
                message = (
                    "insufficient qty available for order "
                    f"(requested: {intent.qty}, available: {available})"
                )
                return Rejected(http_status=403, code=40310000, message=message)
        elif intent.qty * (intent.limit_price or Decimal(0)) > self._power():
            return Rejected(http_status=403, code=40310000, message="insufficient buying power")
        market, stop = self._prices.get(intent.symbol), intent.stop_price
        if stop is not None and market is not None and stop >= market:
            message = "stop price must be less than current price"
            return Rejected(http_status=422, code=42210000, message=message)
        order = self._new(intent, intent.client_order_id, limit_price=intent.limit_price)
        if intent.kind is OrderKind.OCO:
            leg = self._new(intent, f"leg-{intent.client_order_id}", stop_price=stop)
            self._sibling[order.order_id] = leg.order_id
            self._sibling[leg.order_id] = order.order_id
        return Accepted(order=self._whole(self._orders[order.order_id]))

    def _new(
        self,
        intent: OrderIntent,
        name: str,
        *,
        limit_price: Decimal | None = None,
        stop_price: Decimal | None = None,
    ) -> BrokerOrder:
        is_stop = intent.kind is OrderKind.STOP or stop_price is not None
        order = BrokerOrder(
            order_id=f"o-{len(self._orders) + 1}",
            client_order_id=name,
            symbol=intent.symbol,
            side=intent.side,
            order_class="oco" if intent.kind is OrderKind.OCO else "",
            order_type="stop" if is_stop else "limit",
            qty=intent.qty,
            filled_qty=0,
            filled_avg_price=None,
            limit_price=None if is_stop else limit_price,
            stop_price=intent.stop_price if is_stop else None,
            status=OrderStatus.WORKING,
            broker_status="new",
            replaced_by=None,
            updated_at=self._clock.now(),
        )
        self._put(order)
        return order

    def _replace(self, intent: OrderIntent, order_id: str) -> Outcome:
        old = self._orders.get(order_id)
        if old is None:
            message = f"order not found for {order_id}"
            return Rejected(http_status=404, code=40410000, message=message)
        if self.replace_refusal is not None:
            return self.replace_refusal
        if not old.is_live:
            return Rejected(http_status=422, code=42210000, message="order is not open")
        # A new order with the old one's quantity, class and pair.
        new = replace(
            self._new(intent, intent.client_order_id, limit_price=intent.limit_price),
            qty=old.qty,
            filled_qty=old.filled_qty,
            filled_avg_price=old.filled_avg_price,
            order_class=old.order_class,
        )
        self._put(new)
        self._put(replace(old, replaced_by=new.order_id))
        self._finish(self._orders[order_id], OrderStatus.REPLACED)
        other = self._sibling.pop(order_id, None)
        if other is not None:
            self._sibling[new.order_id] = other
            self._sibling[other] = new.order_id
        return Accepted(order=self._whole(self._orders[new.order_id]))


class FakeMarketData:
    """`greenlight.ports.MarketData` from lists. Set `up` to False to take it away."""

    def __init__(
        self,
        *,
        bars: Iterable[Bar] = (),
        quotes: Iterable[Quote] = (),
        splits: Iterable[Split] = (),
        changes: Iterable[SymbolChange] = (),
    ) -> None:
        self.up = True
        self.history = list(bars)
        self.latest = {quote.symbol: quote for quote in quotes}
        self.actions = list(splits)
        self.changes = list(changes)

    def bars(
        self, symbols: Sequence[str], timeframe: str, start: datetime, end: datetime
    ) -> dict[str, list[Bar]]:
        """Bars of that timeframe with start <= bar start < end."""
        self._answer()
        found = sorted(self.history, key=lambda bar: bar.start)
        return {
            symbol: [
                bar
                for bar in found
                if bar.symbol == symbol
                and start <= bar.start < end
                and ledger.timeframe(bar) == timeframe
            ]
            for symbol in symbols
        }

    def latest_quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """The quotes given for these symbols."""
        self._answer()
        return {symbol: self.latest[symbol] for symbol in symbols if symbol in self.latest}

    def splits(self, symbols: Sequence[str], start: date, end: date) -> tuple[Split, ...]:
        """Splits with an ex-date from `start` to `end`."""
        self._answer()
        return tuple(s for s in self.actions if s.symbol in symbols and start <= s.ex_date <= end)

    def symbol_changes(
        self, symbols: Sequence[str], start: date, end: date
    ) -> tuple[SymbolChange, ...]:
        """New names of these symbols from `start` to `end`."""
        self._answer()
        return tuple(c for c in self.changes if c.old in symbols and start <= c.day <= end)

    def _answer(self) -> None:
        if not self.up:
            raise BrokerUnavailable("market data was taken away")


class FakeStreams:
    """`greenlight.ports.Streams` that a test pushes by hand, from any thread."""

    def __init__(self) -> None:
        self.acknowledged: list[StepReady] = []
        self.reconnected: list[StreamKind] = []
        self.renamed: list[tuple[str, str]] = []
        self.is_stopped = False
        self._sink: Callable[[StreamEvent], None] | None = None
        self._changed = threading.Condition()

    def start(self, sink: Callable[[StreamEvent], None]) -> None:
        """Deliver to `sink` from now on."""
        with self._changed:
            self._sink = sink
            self._changed.notify_all()

    def acknowledge(self, step: StepReady) -> None:
        """Keep the step."""
        with self._changed:
            self.acknowledged.append(step)
            self._changed.notify_all()

    def reconnect(self, kind: StreamKind) -> None:
        """Keep which it was."""
        self.reconnected.append(kind)

    def rename(self, old: str, new: str) -> None:
        """Keep both names."""
        self.renamed.append((old, new))

    def stop(self) -> None:
        """Deliver nothing any more."""
        with self._changed:
            self.is_stopped = True
            self._sink = None
            self._changed.notify_all()

    def push(self, *events: StreamEvent, timeout_s: float = 10.0) -> None:
        """Deliver events in order, once somebody has started the streams.

        Raises
        ------
        TimeoutError
            Nobody started them in time.
        """
        with self._changed:
            if not self._changed.wait_for(self._is_settled, timeout_s):
                raise TimeoutError("nobody started the streams")
            sink = self._sink
        if sink is not None and not self.is_stopped:
            for event in events:
                sink(event)

    def wait_acknowledged(self, seq: int, *, timeout_s: float = 10.0) -> StepReady:
        """The acknowledgement of a step, waited for.

        Raises
        ------
        TimeoutError
            It did not come in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._find(seq) is not None, timeout_s):
                raise TimeoutError(f"step {seq} was not acknowledged")
            found = self._find(seq)
        assert found is not None
        return found

    def _is_settled(self) -> bool:
        return self._sink is not None or self.is_stopped

    def _find(self, seq: int) -> StepReady | None:
        return next((step for step in self.acknowledged if step.seq == seq), None)
