"""The exchange's core: takes orders in, replaces and cancels them.

Decided here: the order in which an order request meets Alpaca's rules, and
what a replacement keeps. Before it stands `order_request`; `engine` below it
fills. Like the engine it has no I/O and no clock, so a seeded simulation can
drive it: time comes in as nanoseconds since the epoch (UTC).
"""

from __future__ import annotations

import dataclasses
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final

from cluster.paper_exchange.engine import MatchingEngine, trailing_stop_price
from cluster.paper_exchange.ledger import to_decimal
from cluster.paper_exchange.order_request import (
    CLIENT_ORDER_ID_MAX,
    check_price,
    check_terms,
    decimal_field,
    malformed,
)
from cluster.paper_exchange.orders import (
    ZERO,
    Order,
    OrderTerms,
    Status,
    derived_id,
)
from cluster.paper_exchange.refusal import (
    DUPLICATE_ID,
    FORBIDDEN,
    Refused,
    insufficient_buying_power,
    insufficient_qty,
    order_not_found,
    position_not_found,
    unprocessable,
)
from cluster.paper_exchange.rules import (
    check_advanced,
    check_stop_price,
    check_wash_trade,
    exit_hold,
    position_intent,
    reserved_usd,
    unit_cost,
)

_GTC_NS: Final = 90 * 86_400 * 1_000_000_000
_NOTIONAL_STEP: Final = Decimal("0.000000001")
_NOT_REPLACEABLE: Final = frozenset(
    {Status.ACCEPTED, Status.PENDING_NEW, Status.PENDING_CANCEL, Status.PENDING_REPLACE}
)


class ExchangeCore(MatchingEngine):
    """One account at the paper exchange."""

    # -- orders in ----------------------------------------------------------

    def submit(self, terms: OrderTerms, now_ns: int) -> dict[str, Any]:
        """Take an order in, and match it at once where the market is open.

        Returns
        -------
        dict
            The order as it stood before it was matched, legs rolled up.

        Raises
        ------
        Refused
            A rule forbids the order; nothing has changed.
        """
        check_terms(terms)
        self._check_client_id(terms.client_order_id)
        market = self.markets.get(terms.symbol)
        if market is None:
            raise unprocessable(f'asset "{terms.symbol}" not found')
        held = self.ledger.qty(terms.symbol)
        qty = self._share_qty(terms)
        check_advanced(terms, held, market)
        check_stop_price(terms.side, terms.stop_price, market)
        if terms.order_class == "oco":
            check_stop_price(terms.side, terms.stop_loss, market)
        intent = position_intent(terms.side, held)
        self._check_quantity(terms, qty, held)
        live = self.live[terms.symbol].values()
        if not terms.order_class:
            check_wash_trade(terms.side, terms.type, terms.limit_price, live)
        if intent.endswith("_to_open"):
            unit = unit_cost(terms.side, terms.limit_price, terms.stop_price, market)
            self._check_buying_power(unit * qty)
        order, legs = self._build(terms, qty, intent, now_ns)
        for each in (order, *legs):
            self.add(each)
        if order.status is Status.ACCEPTED:
            self.emit("accepted", order, now_ns)
        else:
            self.emit("pending_new", order, now_ns)
        answer = order.wire(legs if legs else None)
        self._route(order, now_ns)
        return answer

    def replace(self, order_id: str, body: dict[str, Any], now_ns: int) -> dict[str, Any]:
        """Replace an order by one with other parameters.

        Parameters
        ----------
        order_id : str
            The order to replace.
        body : dict
            Any of qty, time_in_force, limit_price, stop_price, trail,
            client_order_id.
        now_ns : int
            Time of the request.

        Returns
        -------
        dict
            The new order, as it stood before it was matched.

        Raises
        ------
        Refused
            The old order stays as it was.

        Notes
        -----
        The quantity is that of the whole order: what the old order had filled
        counts for the new one too.
        """
        old = self.order(order_id)
        self._check_replaceable(old)
        new = self._replacement(old, body, now_ns)
        old.enter(Status.PENDING_REPLACE, now_ns)
        old.enter(Status.REPLACED, now_ns)
        old.replaced_by = new.id
        self.live[old.symbol].pop(old.id)
        self._relink(old, new)
        self.add(new)
        self.emit("replaced", old, now_ns)
        answer = new.wire()
        if new.status is Status.ACCEPTED:
            self.emit("accepted", new, now_ns)
        elif new.status is Status.PENDING_NEW:
            self._route(new, now_ns)
        return answer

    def request_cancel(self, order_id: str, now_ns: int) -> None:
        """Ask for a cancel; `complete_cancels` carries it out.

        Raises
        ------
        Refused
            404 for an unknown order, 422 for one that ended otherwise than by
            a cancel.
        """
        order = self.order(order_id)
        if order.status in (Status.CANCELED, Status.PENDING_CANCEL):
            return
        if order.is_terminal:
            raise unprocessable(f'order is already in "{order.status}" state')
        order.enter(Status.PENDING_CANCEL, now_ns)
        self.emit("pending_cancel", order, now_ns)

    def complete_cancels(self, now_ns: int) -> None:
        """Carry out every cancel that was asked for and not overtaken by a fill."""
        for order in self._all_live():
            if order.status is Status.PENDING_CANCEL:
                self.finish(order, Status.CANCELED, now_ns)

    def close_position(
        self,
        symbol: str,
        now_ns: int,
        *,
        qty: Decimal | None = None,
        percent: Decimal | None = None,
    ) -> dict[str, Any]:
        """Send the market order that closes a position, or a part of it.

        Raises
        ------
        Refused
            404 without a position, 403 where orders hold the shares.
        """
        held = self.ledger.qty(symbol)
        if not held:
            raise position_not_found(symbol)
        wanted = qty if qty is not None else abs(held)
        if percent is not None:
            wanted = (abs(held) * percent / 100).quantize(_NOTIONAL_STEP, ROUND_DOWN)
        return self.submit(
            OrderTerms(
                symbol=symbol,
                side="sell" if held > 0 else "buy",
                type="market",
                time_in_force="day",
                qty=wanted,
            ),
            now_ns,
        )

    # -- views --------------------------------------------------------------

    def order(self, order_id: str) -> Order:
        """An order by its id; a 404 where there is none."""
        order = self.orders.get(order_id)
        if order is None:
            raise order_not_found(order_id)
        return order

    def legs(self, order: Order) -> list[Order]:
        """The present legs of an order."""
        return [self.orders[leg_id] for leg_id in order.leg_ids]

    @property
    def buying_power(self) -> Decimal:
        """Dollars that a new order may cost."""
        gross = self.ledger.gross_buying_power(self.markets)
        return max(ZERO, gross - reserved_usd(self._all_live(), self.markets))

    # -- the steps of admission ---------------------------------------------

    def _check_client_id(self, client_order_id: str | None) -> None:
        if client_order_id is not None and client_order_id in self.by_client_id:
            raise Refused(422, DUPLICATE_ID, "client_order_id must be unique")

    def _share_qty(self, terms: OrderTerms) -> Decimal:
        if terms.qty is not None:
            return terms.qty
        assert terms.notional is not None
        market = self.markets[terms.symbol]
        price = market.ask if market.has_nbbo else market.price
        if price <= 0:
            raise unprocessable(f'no price for "{terms.symbol}" to size a notional order by')
        return (terms.notional / to_decimal(price)).quantize(_NOTIONAL_STEP, ROUND_DOWN)

    def _check_quantity(self, terms: OrderTerms, qty: Decimal, held: Decimal) -> None:
        intent = position_intent(terms.side, held)
        if intent.endswith("_to_close"):
            self._check_available(terms.symbol, qty, ZERO)
            return
        if intent != "sell_to_open":
            return
        live = self.live[terms.symbol].values()
        if any(order.is_buy and order.position_intent == "buy_to_open" for order in live):
            raise Refused(403, FORBIDDEN, "cannot open a short sell while a long buy order is open")
        if self.settings.multiplier == 1:
            raise Refused(403, FORBIDDEN, "account is not allowed to short")
        if qty != qty.to_integral_value():
            raise unprocessable("fractional orders cannot be sold short")

    def _check_available(self, symbol: str, qty: Decimal, released: Decimal) -> None:
        available = self.qty_available(symbol) + released
        if qty <= available:
            return
        existing = abs(self.ledger.qty(symbol))
        holding = [
            order.id
            for order in self.live[symbol].values()
            if exit_hold(order, self.sibling(order)) > 0
        ]
        raise insufficient_qty(
            symbol=symbol,
            requested=qty,
            available=available,
            existing=existing,
            held=existing - available,
            related=holding,
        )

    def _check_buying_power(self, cost: Decimal, released: Decimal = ZERO) -> None:
        available = self.buying_power + released
        if cost > available:
            raise insufficient_buying_power(available, cost)

    def _build(
        self, terms: OrderTerms, qty: Decimal, intent: str, now_ns: int
    ) -> tuple[Order, list[Order]]:
        self.seq += 1
        client_id = terms.client_order_id or derived_id(f"generated:{self.seq}")
        kind = terms.order_class
        order = Order(
            id=derived_id(f"order:{client_id}"),
            client_order_id=client_id,
            seq=self.seq,
            symbol=terms.symbol,
            side=terms.side,
            type=terms.type,
            time_in_force=terms.time_in_force,
            qty=qty,
            notional=terms.notional,
            order_class=kind,
            role={"": "", "oco": "take_profit"}.get(kind, "entry"),
            limit_price=terms.take_profit if kind == "oco" else terms.limit_price,
            stop_price=terms.stop_price,
            trail_price=terms.trail_price,
            trail_percent=terms.trail_percent,
            extended_hours=terms.extended_hours,
            position_intent=intent,
            status=Status.PENDING_NEW if self.is_open else Status.ACCEPTED,
            created_ns=now_ns,
            updated_ns=now_ns,
            submitted_ns=now_ns,
            expires_ns=self._expiry(terms.time_in_force, now_ns),
        )
        if order.type == "trailing_stop":
            price = self.markets[order.symbol].price
            if price <= 0:
                raise unprocessable(f'no price for "{order.symbol}" to trail')
            order.hwm = to_decimal(price)
            order.stop_price = trailing_stop_price(order, order.hwm)
        legs = []
        if terms.take_profit is not None and kind != "oco":
            legs.append(self._leg(order, "take_profit", "limit", limit=terms.take_profit))
        if terms.stop_loss is not None:
            type_ = "stop" if terms.stop_loss_limit is None else "stop_limit"
            legs.append(
                self._leg(
                    order, "stop_loss", type_, limit=terms.stop_loss_limit, stop=terms.stop_loss
                )
            )
        order.leg_ids = [leg.id for leg in legs]
        return order, legs

    def _leg(
        self,
        parent: Order,
        role: str,
        type_: str,
        *,
        limit: Decimal | None = None,
        stop: Decimal | None = None,
    ) -> Order:
        self.seq += 1
        is_oco = parent.order_class == "oco"
        side = parent.side
        intent = parent.position_intent
        if not is_oco:
            side = "sell" if parent.is_buy else "buy"
            intent = f"{side}_to_close"
        client_id = derived_id(f"leg:{role}:{parent.client_order_id}")
        return dataclasses.replace(
            parent,
            id=derived_id(f"order:{client_id}"),
            client_order_id=client_id,
            seq=self.seq,
            side=side,
            type=type_,
            role=role,
            parent_id=parent.id,
            leg_ids=[],
            limit_price=limit,
            stop_price=stop,
            position_intent=intent,
            status=Status.HELD,
            is_armed=is_oco,
        )

    def _expiry(self, time_in_force: str, now_ns: int) -> int:
        return now_ns + _GTC_NS if time_in_force == "gtc" else self.day_expiry_ns

    def _route(self, order: Order, now_ns: int) -> None:
        # An order that arrives in the session meets the NBBO in force at once.
        if order.status is not Status.PENDING_NEW:
            return
        order.enter(Status.NEW, now_ns)
        self.emit("new", order, now_ns)
        if self.hold_next is not None:
            self.force_fill(order.id, now_ns, min(self.hold_next, order.remaining))
            return
        market = self.markets[order.symbol]
        if market.has_nbbo:
            self._match(order, market, now_ns, float("nan"))

    # -- the steps of a replacement -------------------------------------------

    @staticmethod
    def _check_replaceable(old: Order) -> None:
        if old.status is Status.REPLACED:
            raise unprocessable("order already replaced")
        if old.is_terminal:
            raise unprocessable("order is not open")
        if old.status in _NOT_REPLACEABLE:
            raise unprocessable(f"cannot replace order in {old.status} status")
        if old.notional is not None:
            raise unprocessable("notional orders cannot be replaced")

    def _replacement(self, old: Order, body: dict[str, Any], now_ns: int) -> Order:
        client_id = body.get("client_order_id") or None
        if client_id is not None and (
            not isinstance(client_id, str) or len(client_id) > CLIENT_ORDER_ID_MAX
        ):
            raise malformed(
                f"client_order_id must be no more than {CLIENT_ORDER_ID_MAX} characters"
            )
        self._check_client_id(client_id)
        changes = self._changes(old, body)
        self.seq += 1
        client_id = client_id or derived_id(f"replaces:{old.id}")
        status = Status.PENDING_NEW if self.is_open else Status.ACCEPTED
        new = dataclasses.replace(
            old,
            id=derived_id(f"order:{client_id}"),
            client_order_id=client_id,
            seq=self.seq,
            leg_ids=list(old.leg_ids),
            status=Status.HELD if old.status is Status.HELD else status,
            replaces=old.id,
            created_ns=now_ns,
            updated_ns=now_ns,
            submitted_ns=now_ns,
            **changes,
        )
        if "time_in_force" in changes:
            new.expires_ns = self._expiry(new.time_in_force, now_ns)
        if new.type == "trailing_stop":
            assert new.hwm is not None
            new.stop_price = trailing_stop_price(new, new.hwm)
        self._check_replacement(old, new)
        return new

    @staticmethod
    def _changes(old: Order, body: dict[str, Any]) -> dict[str, Any]:
        wanted: dict[str, Any] = {
            name: decimal_field(body, name) for name in ("qty", "limit_price", "stop_price")
        }
        trail = decimal_field(body, "trail")
        if trail is not None:
            wanted["trail_price" if old.trail_price is not None else "trail_percent"] = trail
        wanted["time_in_force"] = body.get("time_in_force") or None
        changes = {
            name: value
            for name, value in wanted.items()
            if value is not None and value != getattr(old, name)
        }
        if not changes:
            raise unprocessable("order parameters are not changed")
        if "qty" in changes:
            if old.role:
                raise unprocessable("qty cannot be changed for advanced orders")
            if changes["qty"] != changes["qty"].to_integral_value():
                raise unprocessable("qty must be a whole number of shares")
            if changes["qty"] <= old.filled_qty:
                raise unprocessable("qty must be > filled_qty")
        if "limit_price" in changes and old.type not in ("limit", "stop_limit"):
            raise unprocessable(f"{old.type} orders must not have limit price")
        if "stop_price" in changes and old.type not in ("stop", "stop_limit"):
            raise unprocessable(f"{old.type} orders must not have stop price")
        if trail is not None and (old.type != "trailing_stop" or trail <= 0):
            raise unprocessable("trail must be > 0 and is for trailing stop orders")
        for name in ("limit_price", "stop_price"):
            check_price(name, changes.get(name))
        return changes

    def _check_replacement(self, old: Order, new: Order) -> None:
        check_terms(
            OrderTerms(
                symbol=new.symbol,
                side=new.side,
                type=new.type,
                time_in_force=new.time_in_force,
                qty=new.qty,
                limit_price=new.limit_price,
                stop_price=None if new.type == "trailing_stop" else new.stop_price,
                trail_price=new.trail_price,
                trail_percent=new.trail_percent,
                extended_hours=new.extended_hours,
            )
        )
        market = self.markets[new.symbol]
        if new.type in ("stop", "stop_limit") and not new.is_triggered:
            check_stop_price(new.side, new.stop_price, market)
        if new.is_simple:
            others = [o for o in self.live[new.symbol].values() if o.id != old.id]
            check_wash_trade(new.side, new.type, new.limit_price, others)
        if new.position_intent.endswith("_to_close"):
            if new.qty > old.qty:
                hold = exit_hold(old, self.sibling(old))
                self._check_available(new.symbol, new.remaining, hold)
            return
        # While both stand, the larger of the two is reserved.
        costs = [
            unit_cost(o.side, o.limit_price, o.stop_price, market) * o.remaining for o in (old, new)
        ]
        if costs[1] > costs[0]:
            self._check_buying_power(costs[1], released=costs[0])

    def _relink(self, old: Order, new: Order) -> None:
        for leg in self.legs(old):
            leg.parent_id = new.id
            self.changed[leg.id] = leg
        if old.parent_id is not None:
            parent = self.orders[old.parent_id]
            parent.leg_ids = [new.id if i == old.id else i for i in parent.leg_ids]
            self.changed[parent.id] = parent

    # -- faults ---------------------------------------------------------------

    def force_fill(self, order_id: str, now_ns: int, qty: Decimal | None = None) -> None:
        """Fill an order at the NBBO in force, whatever its price (a fault switch).

        With `qty` the order fills for that many shares and then no further.
        """
        order = self.order(order_id)
        market = self.markets[order.symbol]
        if order.is_terminal or not market.has_nbbo:
            return
        price = to_decimal(market.ask if order.is_buy else market.bid)
        if qty is not None:
            order.is_frozen = True
        self.fill(order, now_ns, price, order.remaining if qty is None else qty)
