"""What an order is, how it may change, and how it is named.

Before it stand the decisions (signals judged by risk, exits); after it the
order gateway, which records an `OrderIntent` and then sends it. Prices and
money are `Decimal` US dollars, quantities whole shares, times aware UTC.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_UP, Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final

MAX_CLIENT_ORDER_ID: Final = 128
"""Longest `client_order_id` that Alpaca accepts."""


class Side(StrEnum):
    """Direction of an order."""

    BUY = "buy"
    SELL = "sell"


class Role(StrEnum):
    """What an order does for its position."""

    ENTRY = "entry"
    PROTECT = "protect"
    """The resting OCO pair: a limit at the target, a stop below."""
    EXIT = "exit"
    """A marketable limit that closes the position now."""


class OrderKind(StrEnum):
    """Shape of the order at the broker."""

    LIMIT = "limit"
    OCO = "oco"
    STOP = "stop"


class TimeInForce(StrEnum):
    """How long an order rests."""

    DAY = "day"
    GTC = "gtc"


class OrderStatus(StrEnum):
    """Where an order of ours stands.

    `INTENDED` is recorded and perhaps sent; `UNRESOLVED` was sent and not
    answered; `REFUSED` was answered with a refusal and never existed.
    """

    INTENDED = "intended"
    UNRESOLVED = "unresolved"
    WORKING = "working"
    PARTIALLY_FILLED = "partially_filled"
    CANCEL_PENDING = "cancel_pending"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REPLACED = "replaced"
    REFUSED = "refused"


TERMINAL: Final = frozenset(
    {
        OrderStatus.FILLED,
        OrderStatus.CANCELED,
        OrderStatus.EXPIRED,
        OrderStatus.REPLACED,
        OrderStatus.REFUSED,
    }
)
"""Statuses that no event changes any more."""


class InvalidTransition(ValueError):
    """An order event that its transition table does not know."""


_S = OrderStatus
_LIVE: Final = (_S.WORKING, _S.PARTIALLY_FILLED, _S.CANCEL_PENDING)

TRANSITIONS: Final[Mapping[OrderStatus, frozenset[OrderStatus]]] = MappingProxyType(
    {
        _S.INTENDED: frozenset({*_LIVE, *TERMINAL, _S.UNRESOLVED}),
        _S.UNRESOLVED: frozenset({*_LIVE, *TERMINAL}),
        _S.WORKING: frozenset({*_LIVE, *TERMINAL} - {_S.WORKING}),
        _S.PARTIALLY_FILLED: frozenset({_S.CANCEL_PENDING, *TERMINAL} - {_S.REFUSED}),
        # A replace or cancel that the broker refuses leaves the order working.
        _S.CANCEL_PENDING: frozenset({_S.WORKING, _S.PARTIALLY_FILLED, *TERMINAL} - {_S.REFUSED}),
        **{status: frozenset() for status in TERMINAL},
    }
)
"""From each status, the statuses that may follow; staying is always allowed."""


def next_status(current: OrderStatus, reported: OrderStatus) -> OrderStatus:
    """The status after the broker reported one.

    Parameters
    ----------
    current, reported : OrderStatus
        Where the order stands, and what was reported of it.

    Returns
    -------
    OrderStatus
        `reported`; or `current` where it is terminal, so that a late or
        repeated event never reopens an order.

    Raises
    ------
    InvalidTransition
        The pair is not in the table.
    """
    if reported == current or current in TERMINAL:
        return current
    if reported not in TRANSITIONS[current]:
        raise InvalidTransition(f"an order that is {current} cannot become {reported}")
    return reported


_BROKER_STATUS: Final[Mapping[str, OrderStatus]] = MappingProxyType(
    {
        "new": _S.WORKING,
        "accepted": _S.WORKING,
        "pending_new": _S.WORKING,
        "accepted_for_bidding": _S.WORKING,
        "held": _S.WORKING,
        "stopped": _S.WORKING,
        "suspended": _S.WORKING,
        "calculated": _S.WORKING,
        "pending_replace": _S.WORKING,
        "pending_review": _S.WORKING,
        "partially_filled": _S.PARTIALLY_FILLED,
        "pending_cancel": _S.CANCEL_PENDING,
        "filled": _S.FILLED,
        "canceled": _S.CANCELED,
        "expired": _S.EXPIRED,
        "done_for_day": _S.EXPIRED,
        "replaced": _S.REPLACED,
        "rejected": _S.REFUSED,
    }
)


def status_from_broker(name: str) -> OrderStatus:
    """Translate Alpaca's order status.

    An unknown name is `UNRESOLVED`: it is looked up again, never guessed.
    """
    return _BROKER_STATUS.get(name, OrderStatus.UNRESOLVED)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderIntent:
    """An order that was decided and is about to be sent.

    For `OrderKind.OCO`, `limit_price` is the target and `stop_price` the stop.
    `replaces` names the broker's order whose price this one changes, if any.
    `holder` and `epoch` say who sends it and under which term of office.
    """

    client_order_id: str
    decision_id: str
    role: Role
    attempt: int
    symbol: str
    side: Side
    kind: OrderKind
    qty: int
    limit_price: Decimal | None
    stop_price: Decimal | None
    time_in_force: TimeInForce
    replaces: str | None
    holder: str
    epoch: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerOrder:
    """An order as the broker reports it; `legs` are the children of an OCO."""

    order_id: str
    client_order_id: str
    symbol: str
    side: Side
    order_class: str
    order_type: str
    qty: int
    filled_qty: int
    filled_avg_price: Decimal | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    status: OrderStatus
    broker_status: str
    replaced_by: str | None
    updated_at: datetime
    legs: tuple[BrokerOrder, ...] = ()

    @property
    def remaining(self) -> int:
        """Shares not filled yet."""
        return self.qty - self.filled_qty

    @property
    def is_live(self) -> bool:
        """Whether it can still fill."""
        return self.status not in TERMINAL


def parents(sells: Iterable[BrokerOrder]) -> list[BrokerOrder]:
    """The orders that reserve shares: an OCO pair counts once, by its limit."""
    found = list(sells)
    legs = {leg.order_id for order in found for leg in order.legs}
    return [order for order in found if order.order_id not in legs]


def covered_qty(sells: Iterable[BrokerOrder]) -> int:
    """Shares that live sell stops at the broker protect, each pair by its stop."""
    found = list(sells)
    stops = {o.order_id: o for o in found if o.stop_price is not None and o.is_live}
    for order in found:
        stops |= {g.order_id: g for g in order.legs if g.stop_price is not None and g.is_live}
    return sum(stop.remaining for stop in stops.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRecord:
    """An order of ours as the store holds it: the intent and what became of it."""

    intent: OrderIntent
    order_id: str | None
    status: OrderStatus
    filled_qty: int
    reason: str | None
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One fill. `(order_id, cum_qty)` identifies it on the stream and over REST.

    `position_qty` is the broker's position after it, where the broker says so.
    """

    execution_id: str
    order_id: str
    client_order_id: str | None
    symbol: str
    side: Side
    qty: int
    price: Decimal
    cum_qty: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The broker has the order."""

    order: BrokerOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The broker refused the order; it does not exist there."""

    http_status: int
    code: int | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """We did not send it: a fenced epoch or a closed gateway."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unresolved:
    """Sent, and no answer that says whether the broker has it."""

    reason: str


Outcome = Accepted | Rejected | Denied | Unresolved


def decision_id(*parts: str) -> str:
    """A stable 16-digit name for a decision, from what determines it.

    The same desk, strategy, symbol and instant give the same name after any
    restart, which is what makes a repeated decision harmless.
    """
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).hexdigest()


def client_order_id(desk: str, decision: str, role: Role, attempt: int) -> str:
    """Deterministic order name: one decision, role and attempt, one order.

    Raises
    ------
    ValueError
        The name has characters outside ``A-Za-z0-9._-`` or is longer than 128.
    """
    name = f"gl-{desk}-{decision}-{role}-{attempt}"
    if len(name) > MAX_CLIENT_ORDER_ID or not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        raise ValueError(f"not a valid client order id: {name!r}")
    return name


def round_price(price: float | Decimal, *, up: bool | None = None) -> Decimal:
    """A price the broker takes: two decimals from $1, four below.

    Parameters
    ----------
    price : float | Decimal
        US dollars.
    up : bool | None
        Round up, down, or (None) to the nearest tick, halves to even.

    Notes
    -----
    SEC Rule 612 (Regulation NMS). This is the one place where a float price
    becomes a `Decimal`.
    """
    value = Decimal(repr(price)) if isinstance(price, float) else price
    tick = Decimal("0.01") if value >= 1 else Decimal("0.0001")
    mode = ROUND_HALF_EVEN if up is None else ROUND_UP if up else ROUND_DOWN
    return value.quantize(tick, rounding=mode)
