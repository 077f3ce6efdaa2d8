"""How market events turn into fills.

Decided here: when an order fills, at which price and for how many shares;
what a fill, a cancel or an expiry does to the other orders of its group; what
the open and the close do. Before it stands `matching`, which admits orders;
after it `state`, which keeps what changed, and `streams`, which tells it.
No I/O and no clock: time comes in as nanoseconds since the epoch (UTC).

Notes
-----
As on Alpaca's paper venue: only the NBBO counts, sizes do not, there are no
fees, and a share `partial_fill_probability` of executions is partial, drawn
from a hash of symbol, side and instant. An order's name is not in it: a desk
that had to send an order under a second name meets the same market.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final

from cluster.paper_exchange.ledger import Ledger, Market, to_decimal
from cluster.paper_exchange.orders import (
    ZERO,
    Order,
    Status,
    derived_id,
    rfc3339,
    text,
    to_datetime,
)
from cluster.paper_exchange.rules import buy_stop_cap, exit_hold
from greenlight.domain.market import eastern_date

_WORKING: Final = frozenset({Status.NEW, Status.PARTIALLY_FILLED, Status.PENDING_CANCEL})
_HUNDRED: Final = Decimal(100)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeSettings:
    """What the venue is like; `cash` in dollars, the probability a fraction."""

    cash: Decimal = Decimal(100_000)
    multiplier: int = 2
    partial_fill_probability: float = 0.1


def draw(key: str) -> float:
    """A number in [0, 1) that depends on nothing but the key."""
    return int.from_bytes(blake2b(key.encode(), digest_size=7).digest(), "big") / (1 << 56)


class MatchingEngine:
    """Orders, ledger and markets of one account, and the rules of execution."""

    def __init__(self, symbols: Iterable[str], settings: ExchangeSettings) -> None:
        self.settings = settings
        self.ledger = Ledger(
            settings.cash, multiplier=settings.multiplier, last_equity=settings.cash
        )
        self.markets = {symbol: Market() for symbol in symbols}
        self.orders: dict[str, Order] = {}
        self.by_client_id: dict[str, str] = {}
        self.live: dict[str, dict[str, Order]] = {symbol: {} for symbol in self.markets}
        self.activities: list[dict[str, Any]] = []
        self.is_open = False
        self.day_expiry_ns = 0
        self.seq = 0
        # A fault switch: the next order fills for so much and then no further.
        self.hold_next: Decimal | None = None
        # What happened since it was last collected.
        self.updates: list[dict[str, Any]] = []
        self.changed: dict[str, Order] = {}
        self.is_ledger_changed = False

    # -- market events ------------------------------------------------------

    def on_event(self, symbol: str, at_ns: int, bid: float, ask: float, trade: float) -> None:
        """Take in one tape event and match the symbol's live orders against it.

        Parameters
        ----------
        symbol : str
            The symbol.
        at_ns : int
            When it happened.
        bid, ask : float
            NBBO from now on, dollars.
        trade : float
            Price of a print, or NaN where the event is a quote alone.
        """
        market = self.markets[symbol]
        market.bid, market.ask, market.quote_ns = bid, ask, at_ns
        is_first = not market.is_opened
        market.is_opened = True
        if trade == trade:
            market.last, market.last_ns = trade, at_ns
        if not market.has_nbbo:
            return
        live = self.live[symbol]
        if is_first and live:
            self._auction(live, market, at_ns, "opg", trade)
        for order in list(live.values()):
            self._match(order, market, at_ns, trade)

    def is_touched(
        self, symbol: str, max_bid: float, min_ask: float, min_trade: float, max_trade: float
    ) -> bool:
        """Whether events within these extremes could change any live order."""
        for order in self.live[symbol].values():
            if order.status not in _WORKING and not (
                order.status is Status.HELD and order.is_armed
            ):
                continue
            if order.type == "trailing_stop" or order.time_in_force in ("ioc", "fok", "opg"):
                return True
            limit = order.limit_price
            if order.stop_price is not None and not order.is_triggered:
                stop = float(order.stop_price)
                if max_trade >= stop if order.is_buy else min_trade <= stop:
                    return True
            elif (
                order.is_triggered
                or limit is None
                or (min_ask <= float(limit) if order.is_buy else max_bid >= float(limit))
            ):
                return True
        return False

    def _match(self, order: Order, market: Market, at_ns: int, trade: float) -> None:
        if order.status is Status.HELD:
            if not order.is_armed or order.role != "stop_loss":
                return
        elif order.status not in _WORKING or not order.is_armed:
            return
        if order.is_frozen or order.time_in_force in ("opg", "cls"):
            return
        limit = order.limit_price
        if order.type in ("stop", "stop_limit", "trailing_stop"):
            if not order.is_triggered:
                self._watch_stop(order, market, at_ns, trade)
            if not order.is_triggered or order.is_terminal:
                return
            limit = order.cap
        price = market.ask if order.is_buy else market.bid
        if limit is None or (price <= float(limit) if order.is_buy else price >= float(limit)):
            self.fill(order, at_ns, to_decimal(price), self._fill_qty(order, at_ns))
        if order.time_in_force in ("ioc", "fok") and not order.is_terminal:
            self.finish(order, Status.CANCELED, at_ns)

    def _watch_stop(self, order: Order, market: Market, at_ns: int, trade: float) -> None:
        # Only a print inside the NBBO counts.
        if not market.bid <= trade <= market.ask:
            return
        if order.type == "trailing_stop":
            self._trail(order, to_decimal(trade))
        assert order.stop_price is not None
        stop = float(order.stop_price)
        if trade < stop if order.is_buy else trade > stop:
            return
        order.is_triggered = True
        if order.type == "stop_limit":
            order.cap = order.limit_price
        elif order.is_buy and order.type == "stop":
            order.cap = buy_stop_cap(order.stop_price)
        self.changed[order.id] = order
        if order.status is Status.HELD:
            sibling = self.sibling(order)
            order.enter(Status.NEW, at_ns)
            if sibling is not None and not sibling.is_terminal:
                self.finish(sibling, Status.CANCELED, at_ns, with_group=False)
            self.emit("new", order, at_ns)

    def _trail(self, order: Order, price: Decimal) -> None:
        sign = -1 if order.is_buy else 1
        if order.hwm is not None and (price - order.hwm) * sign <= 0:
            return
        order.hwm = price
        order.stop_price = trailing_stop_price(order, price)
        self.changed[order.id] = order

    def _fill_qty(self, order: Order, at_ns: int) -> Decimal:
        remaining = order.remaining
        probability = self.settings.partial_fill_probability
        if remaining < 2 or order.time_in_force == "fok" or probability <= 0:
            return remaining
        key = f"{order.symbol}:{order.side}:{at_ns}"
        if draw(key) >= probability:
            return remaining
        return Decimal(1 + math.floor(draw(key + ":qty") * float(remaining - 1)))

    # -- executions ---------------------------------------------------------

    def fill(self, order: Order, at_ns: int, price: Decimal, qty: Decimal) -> None:
        """Execute `qty` shares at `price` and let the group follow.

        An exit never fills beyond the position: where a reverse split has left
        less than the order asks for, what is left fills and the rest is cancelled.
        """
        is_capped = False
        if order.position_intent.endswith("_to_close"):
            held = abs(self.ledger.qty(order.symbol))
            is_capped = held < qty
            qty = min(qty, held)
        if qty > 0:
            self._execute(order, at_ns, price, qty)
        if is_capped and not order.is_terminal:
            self.finish(order, Status.CANCELED, at_ns)

    def _execute(self, order: Order, at_ns: int, price: Decimal, qty: Decimal) -> None:
        if order.status is Status.HELD:
            order.enter(Status.NEW, at_ns)
        order.filled_qty += qty
        order.filled_value += qty * price
        order.fill_count += 1
        is_complete = order.remaining <= 0
        if is_complete:
            order.enter(Status.FILLED, at_ns)
            self._forget(order)
        elif order.status is not Status.PENDING_CANCEL:
            order.enter(Status.PARTIALLY_FILLED, at_ns)
        order.updated_ns = at_ns
        self.ledger.book(order.symbol, qty if order.is_buy else -qty, price)
        self.is_ledger_changed = True
        event = "fill" if is_complete else "partial_fill"
        execution_id = derived_id(f"execution:{order.id}:{order.fill_count}")
        stamp = to_datetime(at_ns).strftime("%Y%m%d%H%M%S%f")[:17]
        self.activities.append(
            {
                "id": f"{stamp}::{execution_id}",
                "activity_type": "FILL",
                "transaction_time": rfc3339(at_ns),
                "type": event,
                "price": text(price),
                "qty": text(qty),
                "side": order.side,
                "symbol": order.symbol,
                "leaves_qty": text(order.remaining),
                "order_id": order.id,
                "cum_qty": text(order.filled_qty),
                "order_status": order.status.value,
            }
        )
        self.emit(
            event,
            order,
            at_ns,
            execution_id=execution_id,
            price=text(price),
            qty=text(qty),
            position_qty=text(self.ledger.qty(order.symbol)),
        )
        self._group_after_fill(order, at_ns, qty, is_complete)

    def _group_after_fill(self, order: Order, at_ns: int, qty: Decimal, is_complete: bool) -> None:
        if order.role == "entry":
            if is_complete:
                self._arm_legs(order, at_ns)
            return
        sibling = self.sibling(order)
        if sibling is None or sibling.is_terminal:
            return
        if is_complete:
            self.finish(sibling, Status.CANCELED, at_ns, with_group=False)
        else:
            sibling.qty -= qty
            self.changed[sibling.id] = sibling

    def _arm_legs(self, entry: Order, at_ns: int) -> None:
        legs = [self.orders[leg_id] for leg_id in entry.leg_ids]
        for leg in legs:
            if leg.is_terminal:
                continue
            leg.is_armed = True
            self.changed[leg.id] = leg
            # Beside a take-profit the stop stays held until it goes off.
            if leg.role == "stop_loss" and len(legs) > 1:
                continue
            leg.enter(Status.NEW, at_ns)
            self.emit("new", leg, at_ns)

    def finish(self, order: Order, status: Status, at_ns: int, *, with_group: bool = True) -> None:
        """Cancel or expire an order; `with_group` takes its group along."""
        order.enter(status, at_ns)
        self._forget(order)
        self.emit(status.value, order, at_ns)
        if not with_group:
            return
        # When one order of a group is cancelled, every open one of it is.
        parent = self.orders[order.parent_id] if order.parent_id else order
        for other in (parent, *(self.orders[leg_id] for leg_id in parent.leg_ids)):
            if not other.is_terminal:
                self.finish(other, status, at_ns, with_group=False)

    def sibling(self, order: Order) -> Order | None:
        """The other exit of an OCO pair or of a bracket, or None."""
        if order.role not in ("take_profit", "stop_loss"):
            return None
        parent = self.orders[order.parent_id] if order.parent_id else order
        wanted = "stop_loss" if order.role == "take_profit" else "take_profit"
        if parent.role == wanted:
            return parent
        for leg_id in parent.leg_ids:
            if self.orders[leg_id].role == wanted:
                return self.orders[leg_id]
        return None

    # -- sessions -----------------------------------------------------------

    def open_session(self, at_ns: int) -> None:
        """Route the orders that wait; there is no NBBO until the first quote."""
        self.is_open = True
        for market in self.markets.values():
            market.forget_quote()
        for order in self._all_live():
            if order.status is Status.ACCEPTED:
                order.enter(Status.NEW, at_ns)
                self.emit("new", order, at_ns)

    def close_auction(self, at_ns: int) -> None:
        """Fill closing orders at the last print and stop trading."""
        for symbol, live in self.live.items():
            market = self.markets[symbol]
            if live and market.has_nbbo and market.is_opened:
                self._auction(live, market, at_ns, "cls", market.last)
        self.is_open = False

    def end_session(self, at_ns: int) -> None:
        """Expire what was good until now, and remember the session's equity."""
        for order in self._all_live():
            if order.is_terminal:
                continue
            if order.time_in_force == "gtc":
                if order.expires_ns <= at_ns:
                    self.finish(order, Status.CANCELED, at_ns)
            elif order.expires_ns <= at_ns:
                self.finish(order, Status.EXPIRED, at_ns)
        self.ledger.last_equity = self.ledger.equity(self.markets)
        self.is_ledger_changed = True

    def split(self, symbol: str, ratio: Decimal) -> None:
        """Adjust position and prices to a split; resting orders stay as they are."""
        self.ledger.split(symbol, ratio)
        self.markets[symbol].split(float(ratio))
        self.is_ledger_changed = True

    def pay_dividend(self, symbol: str, usd_a_share: Decimal, at_ns: int) -> None:
        """Pay the holder in cash, with an account activity; a short position pays."""
        qty, usd = self.ledger.pay(symbol, usd_a_share)
        if not usd:
            return
        self.is_ledger_changed = True
        at = to_datetime(at_ns)
        name = derived_id(f"dividend:{symbol}:{at.date()}")
        self.activities.append(
            {
                "id": f"{at:%Y%m%d}000000000::{name}",
                "activity_type": "DIV",
                "date": at.date().isoformat(),
                "created_at": rfc3339(at_ns),
                "net_amount": text(usd),
                "description": f"Cash DIV @ {usd_a_share}, {symbol}",
                "status": "executed",
                "symbol": symbol,
                "qty": text(qty),
                "per_share_amount": text(usd_a_share),
            }
        )

    def move_cash(
        self, kind: str, usd: Decimal, at_ns: int, *, symbol: str | None, description: str
    ) -> dict[str, Any]:
        """Charge or credit the account besides trading, with an account activity."""
        self.ledger.cash += usd
        self.is_ledger_changed = True
        day = eastern_date(to_datetime(at_ns))
        name = derived_id(f"cash:{len(self.activities)}:{at_ns}")
        row = {
            "id": f"{day:%Y%m%d}000000000::{name}",
            "activity_type": kind,
            "date": day.isoformat(),
            "created_at": rfc3339(at_ns),
            "net_amount": text(usd),
            "description": description,
            "status": "executed",
        }
        if symbol is not None:
            row["symbol"] = symbol
        self.activities.append(row)
        return row

    def rename(self, old: str, new: str, at_ns: int) -> None:
        """A symbol change: the position moves, the orders under the old symbol are cancelled."""
        for order in list(self.live[old].values()):
            if not order.is_terminal:
                self.finish(order, Status.CANCELED, at_ns)
        self.ledger.rename(old, new)
        former, market = self.markets[old], self.markets[new]
        if not market.previous_close:
            market.previous_close = former.previous_close
        if not market.last:
            market.last, market.last_size = former.last, former.last_size
            market.last_ns = former.last_ns
        self.is_ledger_changed = True

    def _auction(
        self, live: dict[str, Order], market: Market, at_ns: int, kind: str, price: float
    ) -> None:
        # The auction's price is the print, held within the NBBO in force.
        paid = price if price == price and price > 0 else (market.bid + market.ask) / 2
        paid = min(max(paid, market.bid), market.ask)
        for order in list(live.values()):
            if order.time_in_force != kind or order.status not in _WORKING or order.is_frozen:
                continue
            limit = order.limit_price
            if limit is None or (paid <= float(limit) if order.is_buy else paid >= float(limit)):
                self.fill(order, at_ns, to_decimal(paid), order.remaining)
            if not order.is_terminal:
                self.finish(order, Status.CANCELED, at_ns)

    # -- bookkeeping --------------------------------------------------------

    def qty_available(self, symbol: str) -> Decimal:
        """Shares of a position that no open exit order holds; never negative."""
        held = sum(
            (exit_hold(order, self.sibling(order)) for order in self.live[symbol].values()), ZERO
        )
        return max(ZERO, abs(self.ledger.qty(symbol)) - held)

    def emit(self, event: str, order: Order, at_ns: int, **fill: str) -> None:
        """Note a trade update for the stream, and the order for the journal."""
        self.changed[order.id] = order
        stamp = rfc3339(at_ns)
        self.updates.append(
            {"event": event, "timestamp": stamp, "at": stamp, "order": order.wire(), **fill}
        )

    def add(self, order: Order) -> None:
        """Take an order into the book."""
        self.orders[order.id] = order
        self.by_client_id[order.client_order_id] = order.id
        self.live[order.symbol][order.id] = order
        self.changed[order.id] = order

    def _forget(self, order: Order) -> None:
        self.live[order.symbol].pop(order.id, None)

    def _all_live(self) -> list[Order]:
        orders = [order for live in self.live.values() for order in live.values()]
        return sorted(orders, key=lambda order: order.seq)


def trailing_stop_price(order: Order, hwm: Decimal) -> Decimal:
    """Stop price of a trailing stop whose high-water mark is `hwm`."""
    if order.trail_price is not None:
        distance = order.trail_price
    else:
        assert order.trail_percent is not None
        distance = hwm * order.trail_percent / _HUNDRED
    return hwm + distance if order.is_buy else hwm - distance
