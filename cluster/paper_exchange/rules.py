"""Alpaca's rules for an order against the account and the market.

Decided here: held quantities, wash trades, stop prices, base prices of
advanced orders, reserved buying power. Before it stands `order_request`
(rules that need no context); after it `matching`, which takes the order in.
Every function is pure: orders and prices in, a figure or a refusal out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from cluster.paper_exchange.ledger import Market, to_decimal
from cluster.paper_exchange.orders import ZERO, Order, OrderTerms, Status, text
from cluster.paper_exchange.refusal import unprocessable, wash_trade

_CENT: Final = Decimal("0.01")
_COLLAR_FROM: Final = Decimal(50)
_COLLAR_LOW: Final = Decimal("1.04")
_COLLAR_HIGH: Final = Decimal("1.025")
_SHORT_MARGIN: Final = Decimal("1.03")


def position_intent(side: str, held: Decimal) -> str:
    """What an order does to a position of `held` signed shares."""
    if side == "buy":
        return "buy_to_close" if held < 0 else "buy_to_open"
    return "sell_to_close" if held > 0 else "sell_to_open"


def buy_stop_cap(stop_price: Decimal) -> Decimal:
    """The limit of a triggered buy stop: 4% above it under $50, else 2.5%."""
    collar = _COLLAR_LOW if stop_price < _COLLAR_FROM else _COLLAR_HIGH
    return (stop_price * collar).quantize(_CENT)


def exit_hold(order: Order, sibling: Order | None) -> Decimal:
    """Shares of the position that a live exit order reserves.

    Legs whose entry is not filled reserve none, and an OCO pair reserves once,
    through its take-profit.
    """
    if not order.position_intent.endswith("_to_close") or not order.is_armed:
        return ZERO
    is_paired = sibling is not None and not sibling.is_terminal
    if is_paired and order.role == "stop_loss":
        return ZERO
    return order.remaining


def check_stop_price(side: str, stop_price: Decimal | None, market: Market) -> None:
    """Refuse a stop that the present price has already passed.

    Raises
    ------
    Refused
        422, with `market_price` and `stop_price`.
    """
    if stop_price is None or market.price <= 0:
        return
    price = to_decimal(market.price)
    if side == "sell" and stop_price >= price:
        word = "less"
    elif side == "buy" and stop_price <= price:
        word = "greater"
    else:
        return
    raise unprocessable(
        f"stop price must be {word} than current price",
        market_price=text(price),
        stop_price=text(stop_price),
    )


def check_advanced(terms: OrderTerms, held: Decimal, market: Market) -> None:
    """Refuse a bracket, OTO or OCO order on the wrong side or with crossed legs.

    Raises
    ------
    Refused
        422: an entry class on an exit, OCO on an entry, or a leg that does not
        lie at least a cent beyond the base price.
    """
    kind = terms.order_class
    if not kind:
        return
    is_exit = position_intent(terms.side, held).endswith("_to_close")
    if kind == "oco" and not is_exit:
        raise unprocessable("oco orders must be exit orders")
    if kind != "oco" and is_exit:
        raise unprocessable(f"{kind} orders must be entry orders")
    exit_side = terms.side if kind == "oco" else ("sell" if terms.side == "buy" else "buy")
    base = _base_price(terms, market)
    if base is None:
        return
    sign = 1 if exit_side == "sell" else -1
    if terms.stop_loss is not None and (base - terms.stop_loss) * sign < _CENT:
        comparison = "<= base_price - 0.01" if sign > 0 else ">= base_price + 0.01"
        raise unprocessable(
            f"stop_loss.stop_price must be {comparison}",
            base_price=text(base),
            stop_price=text(terms.stop_loss),
        )
    if (
        kind != "oco"
        and terms.take_profit is not None
        and (terms.take_profit - base) * sign < _CENT
    ):
        comparison = ">= base_price + 0.01" if sign > 0 else "<= base_price - 0.01"
        raise unprocessable(
            f"take_profit.limit_price must be {comparison}",
            base_price=text(base),
            limit_price=text(terms.take_profit),
        )


def _base_price(terms: OrderTerms, market: Market) -> Decimal | None:
    # An OCO's legs are judged against each other: its base is the target.
    if terms.order_class == "oco":
        return terms.take_profit
    if terms.limit_price is not None:
        return terms.limit_price
    return to_decimal(market.price) if market.price > 0 else None


def check_wash_trade(
    side: str, type_: str, limit_price: Decimal | None, live: Iterable[Order]
) -> None:
    """Refuse a simple order that could meet one's own on the other side.

    Raises
    ------
    Refused
        403: either order is a market or stop order, or buy limit ≥ sell limit.
    """
    if type_ == "trailing_stop":
        return
    for other in live:
        if other.side == side or not other.is_simple or other.type == "trailing_stop":
            continue
        if type_ != "limit" or other.type != "limit":
            raise wash_trade(other.id, "opposite side market/stop order exists")
        assert limit_price is not None
        assert other.limit_price is not None
        buy, sell = (
            (limit_price, other.limit_price) if side == "buy" else (other.limit_price, limit_price)
        )
        if buy >= sell:
            raise wash_trade(other.id, "opposite side limit order exists")


def unit_cost(
    side: str,
    limit_price: Decimal | None,
    stop_price: Decimal | None,
    market: Market,
) -> Decimal:
    """Dollars a share that an entry order reserves; 0 where no price is known."""
    if limit_price is not None:
        price = limit_price
    elif stop_price is not None:
        price = buy_stop_cap(stop_price) if side == "buy" else stop_price
    elif market.has_nbbo:
        price = to_decimal(market.ask)
    else:
        price = to_decimal(market.price)
    return price if side == "buy" else price * _SHORT_MARGIN


def reserved_usd(live: Iterable[Order], markets: Mapping[str, Market]) -> Decimal:
    """Buying power that the live entry orders hold."""
    total = ZERO
    for order in live:
        if order.position_intent.endswith("_to_open") and order.status is not Status.HELD:
            unit = unit_cost(order.side, order.limit_price, order.stop_price, markets[order.symbol])
            total += unit * order.remaining
    return total
