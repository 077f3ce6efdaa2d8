"""What an order is at the paper exchange, and which states may follow which.

Decided here: the fields of an order, its life as a transition table, and how
it reads on the wire. Before it stands `order_request`, which turns a request's
body into an `OrderTerms`; after it comes `matching`, the only writer of
orders. Quantities and prices are `Decimal`, times nanoseconds since the epoch
(UTC), because the wire shows nanoseconds.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

NAMESPACE: Final = uuid.UUID("3f6c1c58-7d1b-4f0e-9d59-5a7e0d3a8b11")
ZERO: Final = Decimal(0)


class Status(StrEnum):
    """States of an order, in Alpaca's words."""

    PENDING_NEW = "pending_new"
    ACCEPTED = "accepted"
    HELD = "held"
    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    PENDING_CANCEL = "pending_cancel"
    PENDING_REPLACE = "pending_replace"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REPLACED = "replaced"
    REJECTED = "rejected"


TERMINAL: Final = frozenset(
    {Status.FILLED, Status.CANCELED, Status.EXPIRED, Status.REPLACED, Status.REJECTED}
)

_WORKING_NEXT: Final = frozenset(
    {
        Status.PARTIALLY_FILLED,
        Status.FILLED,
        Status.PENDING_CANCEL,
        Status.PENDING_REPLACE,
        Status.CANCELED,
        Status.EXPIRED,
    }
)
TRANSITIONS: Final[dict[Status, frozenset[Status]]] = {
    Status.PENDING_NEW: frozenset({Status.NEW, Status.HELD, Status.REJECTED}),
    Status.ACCEPTED: frozenset(
        {Status.NEW, Status.PENDING_CANCEL, Status.CANCELED, Status.EXPIRED, Status.REJECTED}
    ),
    Status.HELD: frozenset(
        {
            Status.NEW,
            Status.PENDING_CANCEL,
            Status.PENDING_REPLACE,
            Status.CANCELED,
            Status.EXPIRED,
        }
    ),
    Status.NEW: _WORKING_NEXT,
    Status.PARTIALLY_FILLED: _WORKING_NEXT,
    # A fill may overtake a cancel that is on its way.
    Status.PENDING_CANCEL: frozenset({Status.CANCELED, Status.FILLED, Status.EXPIRED}),
    Status.PENDING_REPLACE: frozenset({Status.REPLACED, Status.FILLED}),
    **{status: frozenset() for status in TERMINAL},
}


class UnknownTransition(RuntimeError):
    """An order was asked to enter a state that cannot follow its present one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTerms:
    """What a client asks for; prices in dollars, `qty` in shares.

    `trail_percent` is in percent. `take_profit` is a limit price, `stop_loss`
    a stop price, `stop_loss_limit` its limit where the leg is a stop-limit.
    """

    symbol: str
    side: str
    type: str
    time_in_force: str
    qty: Decimal | None
    notional: Decimal | None = None
    order_class: str = ""
    client_order_id: str | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    extended_hours: bool = False
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    stop_loss_limit: Decimal | None = None


@dataclass(slots=True, kw_only=True)
class Order:
    """One order with all that is known of it; `matching` alone changes it.

    `role` is "" for a simple order, else entry, take_profit or stop_loss.
    `is_armed` says that a leg takes part in matching (its entry is filled);
    `is_triggered` that a stop has gone off; `cap` is the limit that a
    triggered buy stop or stop-limit obeys. `is_frozen` keeps an order from
    filling further (a fault). `seq` orders orders by arrival.
    """

    id: str
    client_order_id: str
    seq: int
    symbol: str
    side: str
    type: str
    time_in_force: str
    qty: Decimal
    order_class: str = ""
    role: str = ""
    parent_id: str | None = None
    leg_ids: list[str] = field(default_factory=list)
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    hwm: Decimal | None = None
    extended_hours: bool = False
    position_intent: str = ""
    status: Status = Status.PENDING_NEW
    filled_qty: Decimal = ZERO
    filled_value: Decimal = ZERO
    fill_count: int = 0
    is_armed: bool = True
    is_triggered: bool = False
    is_frozen: bool = False
    cap: Decimal | None = None
    created_ns: int = 0
    updated_ns: int = 0
    submitted_ns: int = 0
    expires_ns: int = 0
    filled_ns: int = 0
    expired_ns: int = 0
    canceled_ns: int = 0
    replaced_ns: int = 0
    replaced_by: str | None = None
    replaces: str | None = None

    @property
    def is_terminal(self) -> bool:
        """No event can follow."""
        return self.status in TERMINAL

    @property
    def is_buy(self) -> bool:
        """The order buys."""
        return self.side == "buy"

    @property
    def is_simple(self) -> bool:
        """Neither a bracket, nor OCO, nor OTO, nor a leg of one."""
        return self.order_class == ""

    @property
    def remaining(self) -> Decimal:
        """Shares not yet filled."""
        return self.qty - self.filled_qty

    def enter(self, status: Status, at_ns: int) -> None:
        """Move to `status`.

        Raises
        ------
        UnknownTransition
            The transition table has no such step.
        """
        if status not in TRANSITIONS[self.status]:
            raise UnknownTransition(f"order {self.id}: {self.status} cannot become {status}")
        self.status = status
        self.updated_ns = at_ns
        if status is Status.FILLED:
            self.filled_ns = at_ns
        elif status is Status.CANCELED:
            self.canceled_ns = at_ns
        elif status is Status.EXPIRED:
            self.expired_ns = at_ns
        elif status is Status.REPLACED:
            self.replaced_ns = at_ns

    def wire(self, legs: list[Order] | None = None) -> dict[str, Any]:
        """The order as Alpaca's JSON; `legs` are rolled up where given."""
        average = None
        if self.filled_qty:
            average = text((self.filled_value / self.filled_qty).quantize(_SIX_PLACES))
        return {
            "id": self.id,
            "client_order_id": self.client_order_id,
            "created_at": rfc3339(self.created_ns),
            "updated_at": rfc3339(self.updated_ns),
            "submitted_at": rfc3339(self.submitted_ns),
            "filled_at": optional_rfc3339(self.filled_ns),
            "expired_at": optional_rfc3339(self.expired_ns),
            "expires_at": optional_rfc3339(self.expires_ns),
            "canceled_at": optional_rfc3339(self.canceled_ns),
            "failed_at": None,
            "replaced_at": optional_rfc3339(self.replaced_ns),
            "replaced_by": self.replaced_by,
            "replaces": self.replaces,
            "asset_id": asset_id(self.symbol),
            "symbol": self.symbol,
            "asset_class": "us_equity",
            "notional": optional_text(self.notional),
            "qty": None if self.notional is not None else text(self.qty),
            "filled_qty": text(self.filled_qty),
            "filled_avg_price": average,
            "order_class": self.order_class,
            "order_type": self.type,
            "type": self.type,
            "side": self.side,
            "position_intent": self.position_intent,
            "time_in_force": self.time_in_force,
            "limit_price": optional_text(self.limit_price),
            "stop_price": optional_text(self.stop_price),
            "status": self.status.value,
            "extended_hours": self.extended_hours,
            "legs": None if legs is None else [leg.wire() for leg in legs],
            "trail_percent": optional_text(self.trail_percent),
            "trail_price": optional_text(self.trail_price),
            "hwm": optional_text(self.hwm),
            "subtag": None,
            "source": None,
        }

    def to_record(self) -> dict[str, Any]:
        """All fields as JSON values, for the journal."""
        record: dict[str, Any] = {}
        for name in _FIELD_NAMES:
            value = getattr(self, name)
            record[name] = str(value) if isinstance(value, Decimal) else value
        return record

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Order:
        """The inverse of `to_record`."""
        values = dict(record)
        for name in _DECIMAL_NAMES:
            if values[name] is not None:
                values[name] = Decimal(values[name])
        values["status"] = Status(values["status"])
        return cls(**values)


_FIELD_NAMES: Final = tuple(f.name for f in fields(Order))
_DECIMAL_NAMES: Final = tuple(f.name for f in fields(Order) if "Decimal" in str(f.type))
_SIX_PLACES: Final = Decimal("0.000001")


@lru_cache(maxsize=4096)
def asset_id(symbol: str) -> str:
    """The identifier of a symbol's asset: the same in every run."""
    return str(uuid.uuid5(NAMESPACE, f"asset:{symbol}"))


def derived_id(text_key: str) -> str:
    """A UUID that depends on nothing but its key."""
    return str(uuid.uuid5(NAMESPACE, text_key))


@lru_cache(maxsize=65536)
def text(value: Decimal) -> str:
    """A decimal as plain text, without exponent or trailing zeros."""
    plain = format(value, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def optional_text(value: Decimal | None) -> str | None:
    """`text`, or None."""
    return None if value is None else text(value)


@lru_cache(maxsize=1024)
def _second_text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def rfc3339(at_ns: int) -> str:
    """Nanoseconds since the epoch as RFC 3339 in UTC."""
    second, nanos = divmod(at_ns, 1_000_000_000)
    if nanos == 0:
        return _second_text(second) + "Z"
    return f"{_second_text(second)}.{nanos:09d}Z"


def optional_rfc3339(at_ns: int) -> str | None:
    """`rfc3339`, or None for 0, which stands for 'has not happened'."""
    return rfc3339(at_ns) if at_ns else None


def to_ns(at: datetime) -> int:
    """An aware instant as nanoseconds since the epoch, exactly to the microsecond."""
    delta = at - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1_000


def to_datetime(at_ns: int) -> datetime:
    """Nanoseconds since the epoch as aware UTC, cut to microseconds."""
    second, nanos = divmod(at_ns, 1_000_000_000)
    return datetime.fromtimestamp(second, UTC).replace(microsecond=nanos // 1_000)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
