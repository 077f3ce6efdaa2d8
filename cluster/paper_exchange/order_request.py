"""From the JSON of an order request to terms, or a refusal.

Decided here: everything about a request that can be judged without knowing
the account or the market: fields, sub-penny prices, fractional rules, which
types and times in force go together. Before it stands `trading_rest`, after
it `rules`, which judges against the account and the market.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Final

from cluster.paper_exchange.orders import OrderTerms, text
from cluster.paper_exchange.refusal import DUPLICATE_ID, Refused, unprocessable

TYPES: Final = ("market", "limit", "stop", "stop_limit", "trailing_stop")
TIMES_IN_FORCE: Final = ("day", "gtc", "ioc", "fok", "opg", "cls")
CLASSES: Final = ("", "simple", "bracket", "oco", "oto")
CLIENT_ORDER_ID_MAX: Final = 128
_STOPS: Final = ("stop", "stop_limit", "trailing_stop")
_CENT: Final = Decimal("0.01")
_HUNDREDTH_CENT: Final = Decimal("0.0001")


def malformed(message: str) -> Refused:
    """The 422 for a request that lacks or garbles a field."""
    return Refused(422, DUPLICATE_ID, message)


def parse_terms(body: dict[str, Any]) -> OrderTerms:
    """Judge a request's body by itself.

    Parameters
    ----------
    body : dict
        The parsed JSON; numbers as `Decimal` or as text.

    Raises
    ------
    Refused
        A field is missing, garbled or not allowed beside the others.
    """
    order_class = str(body.get("order_class") or "")
    _choose("order_class", order_class, CLASSES)
    order_class = "" if order_class == "simple" else order_class
    type_ = _choose("type", str(body.get("type") or ""), TYPES)
    take_profit = _leg_price(body, "take_profit", "limit_price")
    limit_price = decimal_field(body, "limit_price")
    if order_class == "oco" and type_ == "limit" and limit_price is None:
        limit_price = take_profit
    terms = OrderTerms(
        symbol=str(body.get("symbol") or "").upper(),
        side=_choose("side", str(body.get("side") or ""), ("buy", "sell")),
        type=type_,
        time_in_force=_choose(
            "time_in_force", str(body.get("time_in_force") or "day"), TIMES_IN_FORCE
        ),
        qty=decimal_field(body, "qty"),
        notional=decimal_field(body, "notional"),
        order_class=order_class,
        client_order_id=_client_order_id(body),
        limit_price=limit_price,
        stop_price=decimal_field(body, "stop_price"),
        trail_price=decimal_field(body, "trail_price"),
        trail_percent=decimal_field(body, "trail_percent"),
        extended_hours=body.get("extended_hours") in (True, "true", "True"),
        take_profit=take_profit,
        stop_loss=_leg_price(body, "stop_loss", "stop_price"),
        stop_loss_limit=_leg_price(body, "stop_loss", "limit_price"),
    )
    check_terms(terms)
    return terms


def check_terms(terms: OrderTerms) -> None:
    """Judge terms by themselves.

    Raises
    ------
    Refused
        The terms contradict each other or a rule that needs no context.
    """
    if not terms.symbol:
        raise malformed("symbol is required")
    if (terms.qty is None) == (terms.notional is None):
        raise malformed("qty or notional is required, but not both")
    _check_quantity(terms)
    if terms.type in ("limit", "stop_limit") and terms.limit_price is None:
        raise unprocessable(f"{terms.type} orders require limit price")
    if terms.type in ("stop", "stop_limit") and terms.stop_price is None:
        raise unprocessable(f"{terms.type} orders require stop price")
    if terms.type in ("market", "stop", "trailing_stop") and terms.limit_price is not None:
        raise unprocessable(f"{terms.type} orders must not have limit price")
    for name in ("limit_price", "stop_price", "take_profit", "stop_loss", "stop_loss_limit"):
        check_price(name, getattr(terms, name))
    _check_type_and_time(terms)
    _check_class(terms)


def check_price(name: str, price: Decimal | None) -> None:
    """Refuse a price that is not positive, or finer than its tick.

    From one dollar a price has two decimals, below it four.
    """
    if price is None:
        return
    if price <= 0:
        raise unprocessable(f"{name} must be > 0")
    tick = _CENT if price >= 1 else _HUNDREDTH_CENT
    if price % tick:
        raise unprocessable(
            f"invalid {name} {text(price)}. "
            "sub-penny increment does not fulfill minimum pricing criteria"
        )


def decimal_field(body: dict[str, Any], name: str) -> Decimal | None:
    """A number of the body, or None where it is absent.

    Raises
    ------
    Refused
        The field is there but is no finite number.
    """
    value = body.get(name)
    if value is None or value == "":
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation as error:
        raise malformed(f"{name} is not a number") from error
    if not number.is_finite():
        raise malformed(f"{name} is not a number")
    return number


def _check_quantity(terms: OrderTerms) -> None:
    amount = terms.qty if terms.qty is not None else terms.notional
    assert amount is not None
    if amount <= 0:
        raise unprocessable("qty must be > 0" if terms.qty is not None else "notional must be > 0")
    if terms.notional is None and amount == amount.to_integral_value():
        return
    if terms.order_class:
        raise unprocessable("fractional orders must be simple orders")
    if terms.time_in_force != "day":
        raise unprocessable("fractional orders must be DAY orders")
    if terms.notional is not None and terms.type != "market":
        raise unprocessable("notional orders must be market orders")


def _check_type_and_time(terms: OrderTerms) -> None:
    if terms.type in _STOPS and terms.time_in_force not in ("day", "gtc"):
        raise unprocessable("stop orders must be DAY or GTC orders")
    if terms.time_in_force in ("opg", "cls") and terms.type not in ("market", "limit"):
        raise unprocessable("opg and cls orders must be market or limit orders")
    if terms.type == "trailing_stop":
        if (terms.trail_price is None) == (terms.trail_percent is None):
            raise unprocessable("trailing stop orders require trail_price or trail_percent")
        trail = terms.trail_price if terms.trail_price is not None else terms.trail_percent
        assert trail is not None
        if trail <= 0:
            raise unprocessable("trail must be > 0")
        if terms.order_class:
            raise unprocessable("trailing stop orders must be simple orders")
    if terms.extended_hours and (
        terms.type != "limit" or terms.time_in_force not in ("day", "gtc")
    ):
        raise unprocessable("extended hours order must be DAY or GTC limit orders")


def _check_class(terms: OrderTerms) -> None:
    kind = terms.order_class
    if not kind:
        if terms.take_profit is not None or terms.stop_loss is not None:
            raise unprocessable("simple orders must not have take_profit or stop_loss")
        return
    if terms.time_in_force not in ("day", "gtc"):
        raise unprocessable(f"{kind} orders must be DAY or GTC orders")
    if terms.extended_hours:
        raise unprocessable(f"{kind} orders must not be extended hours orders")
    if kind in ("bracket", "oco"):
        if terms.take_profit is None:
            raise unprocessable(f"{kind} orders require take_profit.limit_price")
        if terms.stop_loss is None:
            raise unprocessable(f"{kind} orders require stop_loss.stop_price")
    elif (terms.take_profit is None) == (terms.stop_loss is None):
        raise unprocessable("oto orders require either take_profit or stop_loss")
    if kind == "oco" and terms.type != "limit":
        raise unprocessable("oco orders must be limit orders")
    if kind != "oco" and terms.type in _STOPS:
        raise unprocessable(f"{kind} orders must be market or limit orders")


def _choose(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise malformed(f"invalid {name}: {value!r}")
    return value


def _leg_price(body: dict[str, Any], leg: str, name: str) -> Decimal | None:
    value = body.get(leg)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise malformed(f"{leg} is not an object")
    return decimal_field(value, name)


def _client_order_id(body: dict[str, Any]) -> str | None:
    value = body.get("client_order_id")
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > CLIENT_ORDER_ID_MAX:
        raise malformed(f"client_order_id must be no more than {CLIENT_ORDER_ID_MAX} characters")
    return value
