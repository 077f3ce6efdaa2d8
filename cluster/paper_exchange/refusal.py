"""Business refusals of the paper exchange, with Alpaca's codes and words.

Decided here: HTTP status, code, message and extra fields of every refusal of
an order. `order_request` and `rules` raise them; `rest` turns them into
answers.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from cluster.paper_exchange.orders import text

FORBIDDEN: Final = 40310000
UNPROCESSABLE: Final = 42210000
NOT_FOUND: Final = 40410000
DUPLICATE_ID: Final = 40010001


class Refused(Exception):
    """The exchange says no: `status` is the HTTP status, `body` the JSON answer."""

    def __init__(self, status: int, code: int | None, message: str, **extra: Any) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.body: dict[str, Any] = {"message": message, **extra}
        if code is not None:
            self.body["code"] = code


def unprocessable(message: str, **extra: Any) -> Refused:
    """A 422 with code 42210000."""
    return Refused(422, UNPROCESSABLE, message, **extra)


def order_not_found(order_id: str) -> Refused:
    """The 404 for an unknown order."""
    return Refused(404, NOT_FOUND, f"order not found for {order_id}")


def position_not_found(symbol: str) -> Refused:
    """The 404 for a symbol without a position."""
    return Refused(404, NOT_FOUND, "position does not exist", symbol=symbol)


def insufficient_buying_power(buying_power: Decimal, cost_basis: Decimal) -> Refused:
    """The 403 for an order that costs more than the account can spend."""
    return Refused(
        403,
        FORBIDDEN,
        "insufficient buying power",
        buying_power=text(buying_power),
        cost_basis=text(cost_basis),
    )


def insufficient_qty(
    *,
    symbol: str,
    requested: Decimal,
    available: Decimal,
    existing: Decimal,
    held: Decimal,
    related: list[str],
) -> Refused:
    """The 403 for selling shares that other orders hold."""
    return Refused(
        403,
        FORBIDDEN,
        "insufficient qty available for order "
        f"(requested: {text(requested)}, available: {text(available)})",
        available=text(available),
        existing_qty=text(existing),
        held_for_orders=text(held),
        related_orders=related,
        symbol=symbol,
    )


def wash_trade(existing_order_id: str, reject_reason: str) -> Refused:
    """The 403 for an order that could trade against one's own."""
    return Refused(
        403,
        FORBIDDEN,
        "potential wash trade detected. use complex orders",
        existing_order_id=existing_order_id,
        reject_reason=reject_reason,
    )
