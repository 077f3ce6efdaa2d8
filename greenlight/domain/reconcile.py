"""What must be corrected so that our ledger and the broker agree.

Before it stand the store's view and the broker's, read at one moment; after it
the reconciler, which applies the corrections. The broker is right about what
happened; the store is right about why. Nothing here sells: a position is
protected or left by its monitor alone. Prices and money are `Decimal` US
dollars, quantities whole shares, times aware UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from greenlight.domain.audit import Figure
from greenlight.domain.ledger import reported_status
from greenlight.domain.orders import (
    BrokerOrder,
    Execution,
    InvalidTransition,
    OrderRecord,
    OrderStatus,
    Role,
    Side,
    covered_qty,
    decision_id,
    parents,
)
from greenlight.domain.positions import Position

LOST_AFTER: Final = timedelta(seconds=180)
"""An order that the broker still does not know this long after its intent never arrived.

Longer than a gateway can be at work on one order: three sends and their look-ups,
each up to the request's deadline.
"""
FOUND_AFTER: Final = timedelta(seconds=5)
"""An order without an answer that the broker does know is settled after this."""
CASH: Final = "cash"
"""What a flag on cash is about."""
CASH_TOLERANCE_USD: Final = Decimal("0.01")
"""Cash that differs by less agrees (one cent; the ledger is exact)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """The store's view.

    `orders` are those that are not at their end; `fills` the keys (order id,
    cumulative quantity) of the fills booked in the window that the broker was
    asked for. `statuses` are those of the broker's open orders that bear a name
    of ours, where the store knows the name.
    """

    orders: tuple[OrderRecord, ...]
    statuses: Mapping[str, OrderStatus]
    positions: tuple[Position, ...]
    fills: Set[tuple[str, int]]
    cash_usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Shares of one symbol at the broker (negative: short) and their average cost."""

    symbol: str
    qty: int
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Theirs:
    """The broker's view.

    `orders` are open, legs included. `reported` has what it says of each order
    of ours that has its id, `named` of each that has none yet; None: it knows no
    such order. `ratios` are splits that take effect today, by symbol: the
    broker may have applied one before us, or we before the broker.
    """

    orders: tuple[BrokerOrder, ...]
    reported: Mapping[str, BrokerOrder | None]
    named: Mapping[str, BrokerOrder | None]
    positions: tuple[Held, ...]
    fills: tuple[Execution, ...]
    cash_usd: Decimal
    ratios: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class BookFill:
    """A fill that we have not booked."""

    fill: Execution
    reason: str = "a fill was missed"

    @property
    def symbol(self) -> str:
        """Symbol of the fill."""
        return self.fill.symbol

    @property
    def figures(self) -> dict[str, Figure]:
        """The fill."""
        fill = self.fill
        return {
            "order_id": fill.order_id,
            "cum_qty": fill.cum_qty,
            "side": str(fill.side),
            "qty": fill.qty,
            "price": str(fill.price),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleOrder:
    """An order that was sent without an answer; `found` None: it never arrived."""

    record: OrderRecord
    found: BrokerOrder | None
    reason: str

    @property
    def symbol(self) -> str:
        """Symbol of the order."""
        return self.record.intent.symbol

    @property
    def figures(self) -> dict[str, Figure]:
        """The order's name and what the broker says."""
        return {
            "client_order_id": self.record.intent.client_order_id,
            "order_id": None if self.found is None else self.found.order_id,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowOrder:
    """An order of ours whose status at the broker we have missed."""

    record: OrderRecord
    status: OrderStatus
    filled_qty: int
    reason: str

    @property
    def symbol(self) -> str:
        """Symbol of the order."""
        return self.record.intent.symbol

    @property
    def figures(self) -> dict[str, Figure]:
        """Before and after."""
        return {
            "client_order_id": self.record.intent.client_order_id,
            "order_id": self.record.order_id,
            "status": str(self.status),
            "status.before": str(self.record.status),
            "filled_qty": self.filled_qty,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelOrder:
    """An order at the broker that must not go on."""

    order: BrokerOrder
    reason: str

    @property
    def symbol(self) -> str:
        """Symbol of the order."""
        return self.order.symbol

    @property
    def figures(self) -> dict[str, Figure]:
        """The order."""
        return {
            "client_order_id": self.order.client_order_id,
            "order_id": self.order.order_id,
            "side": str(self.order.side),
            "qty": self.order.remaining,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptPosition:
    """Shares that no fill explains; they are protected as our own from now on."""

    held: Held
    reason: str = "no fill explains the position"

    @property
    def symbol(self) -> str:
        """Symbol of the shares."""
        return self.held.symbol

    @property
    def figures(self) -> dict[str, Figure]:
        """Shares and their average cost."""
        return {"qty": self.held.qty, "price": str(self.held.price)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Protect:
    """A position that is not covered for its whole size, or promised twice."""

    symbol: str
    qty: int
    covered_qty: int
    selling_qty: int
    reason: str

    @property
    def figures(self) -> dict[str, Figure]:
        """Shares held, under a live stop or an exit, and promised to sells."""
        return {
            "qty": self.qty,
            "covered_qty": self.covered_qty,
            "selling_qty": self.selling_qty,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A difference that no correction explains: a person must see it."""

    symbol: str | None
    what: str
    ours: str
    theirs: str
    reason: str

    @property
    def figures(self) -> dict[str, Figure]:
        """Both sides."""
        return {"what": self.what, "ours": self.ours, "theirs": self.theirs}


Correction = BookFill | SettleOrder | FollowOrder | CancelOrder | AdoptPosition | Protect | Flag


def order_prefix(desk: str) -> str:
    """How the name of every order of a desk begins."""
    return f"gl-{desk}-"


def correction_id(desk: str, correction: Correction, now: datetime) -> str:
    """Stable name of a correction's row: what it is about, and for what may come again, the day."""
    figures = [f"{name}={value}" for name, value in sorted(correction.figures.items())]
    about = [type(correction).__name__, str(correction.symbol), *figures]
    if isinstance(correction, Flag):
        about.append(now.date().isoformat())
    elif not isinstance(correction, BookFill):
        about.append(now.isoformat())
    return decision_id(desk, "reconcile", *about)


def reconcile(ours: Ours, theirs: Theirs, *, desk: str, now: datetime) -> tuple[Correction, ...]:
    """The corrections that make the two views agree, in the order to apply them.

    Parameters
    ----------
    ours, theirs : Ours, Theirs
        Read while no order of the desk was on its way.
    desk : str
        Name of the desk: part of every order's name.
    now : datetime
        Aware UTC.

    Returns
    -------
    tuple of Correction
        Empty where the two agree. Fills first, then orders, positions,
        protection, and last what a person must see.
    """
    qty = {position.symbol: position.qty for position in ours.positions}
    booked, flags = _missed_fills(ours, theirs, qty)
    held = {h.symbol: h for h in theirs.positions}
    adopted, off = _positions(qty, held, theirs.ratios)
    orders = [*_unanswered(ours, theirs, now), *_followed(ours, theirs, flags)]
    cancels = _cancels(ours, theirs, held, order_prefix(desk))
    protects = _protects(ours, theirs, qty, held, {c.order.order_id for c in cancels}, off)
    flags += off.values()
    if not flags:
        flags += _cash(ours, theirs, booked)
    return (*booked, *orders, *cancels, *adopted, *protects, *flags)


def _missed_fills(
    ours: Ours, theirs: Theirs, qty: dict[str, int]
) -> tuple[list[BookFill], list[Flag]]:
    """Fills to book, oldest first; `qty` follows them."""
    booked: list[BookFill] = []
    flags: list[Flag] = []
    seen = set(ours.fills)
    for fill in theirs.fills:
        key = (fill.order_id, fill.cum_qty)
        if key in seen:
            continue
        seen.add(key)
        before = qty.get(fill.symbol, 0)
        after = before + (fill.qty if fill.side is Side.BUY else -fill.qty)
        if after < 0:
            flags.append(
                Flag(
                    symbol=fill.symbol,
                    what="fill",
                    ours=str(before),
                    theirs=f"sold {fill.qty}",
                    reason="the broker sold more than we hold",
                )
            )
            continue
        qty[fill.symbol] = after
        booked.append(BookFill(fill=fill))
    return booked, flags


def _positions(
    qty: dict[str, int], held: Mapping[str, Held], ratios: Mapping[str, Decimal]
) -> tuple[list[AdoptPosition], dict[str, Flag]]:
    """Shares to adopt and differences that nothing explains, by symbol; `qty` follows."""
    adopted: list[AdoptPosition] = []
    off: dict[str, Flag] = {}
    for symbol in sorted({*qty, *held}):
        mine = qty.get(symbol, 0)
        other = held[symbol].qty if symbol in held else 0
        ratio = ratios.get(symbol)
        if mine == other or (ratio is not None and other in (mine * ratio, mine / ratio)):
            continue
        # Shares that are gone under one name and came under another may be a symbol change.
        is_renamed = any(m == other and s not in held for s, m in qty.items() if s != symbol)
        if mine == 0 and other > 0 and not is_renamed:
            adopted.append(AdoptPosition(held=held[symbol]))
            qty[symbol] = other
            continue
        off[symbol] = Flag(
            symbol=symbol,
            what="quantity",
            ours=str(mine),
            theirs=str(other),
            reason="no fill explains the difference in shares",
        )
    return adopted, off


def _unanswered(ours: Ours, theirs: Theirs, now: datetime) -> list[Correction]:
    found: list[Correction] = []
    for record in ours.orders:
        name, age = record.intent.client_order_id, now - record.intent.at
        if record.order_id is not None or name not in theirs.named or age < FOUND_AFTER:
            continue
        order = theirs.named[name]
        if order is not None:
            reason = "the broker has the order that was never answered"
            found.append(SettleOrder(record=record, found=order, reason=reason))
        elif age >= LOST_AFTER:
            reason = "the order never arrived"
            found.append(SettleOrder(record=record, found=None, reason=reason))
    return found


def _followed(ours: Ours, theirs: Theirs, flags: list[Flag]) -> list[Correction]:
    found: list[Correction] = []
    for record in ours.orders:
        if record.order_id is None or record.order_id not in theirs.reported:
            continue
        order = theirs.reported[record.order_id]
        reason = "a report of the order was missed"
        status, filled = OrderStatus.CANCELED, record.filled_qty
        if order is None:
            reason = "the broker no longer has the order"
        else:
            filled = max(filled, order.filled_qty)
            try:
                status = reported_status(record.status, filled, order.status)
            except InvalidTransition as error:
                flags.append(
                    Flag(
                        symbol=record.intent.symbol,
                        what=record.intent.client_order_id,
                        ours=str(record.status),
                        theirs=str(order.status),
                        reason=str(error),
                    )
                )
                continue
        if status is not record.status or filled != record.filled_qty:
            found.append(
                FollowOrder(record=record, status=status, filled_qty=filled, reason=reason)
            )
    return found


def _cancels(
    ours: Ours, theirs: Theirs, held: Mapping[str, Held], prefix: str
) -> list[CancelOrder]:
    found: list[CancelOrder] = []
    recorded = {record.order_id for record in ours.orders}
    buying = {leg.order_id for o in theirs.orders if o.side is Side.BUY for leg in o.legs}
    for order in parents(theirs.orders):
        if not order.is_live or order.order_id in buying:
            continue
        is_named = order.client_order_id.startswith(prefix)
        known = ours.statuses.get(order.client_order_id)
        has = held[order.symbol].qty if order.symbol in held else 0
        reason = None
        if is_named and known is None and order.order_id not in recorded:
            reason = "an order of ours that the store does not know"
        elif is_named and known is OrderStatus.REFUSED:
            reason = "an order that was given up arrived after all"
        elif order.side is Side.SELL and has <= 0:
            reason = "a sell without a position"
        if reason is not None:
            found.append(CancelOrder(order=order, reason=reason))
    return found


def _protects(
    ours: Ours,
    theirs: Theirs,
    qty: Mapping[str, int],
    held: Mapping[str, Held],
    cancelled: Set[str],
    off: Mapping[str, Flag],
) -> list[Protect]:
    found: list[Protect] = []
    leaving = {r.order_id for r in ours.orders if r.intent.role is Role.EXIT and r.order_id}
    for symbol, mine in sorted(qty.items()):
        size = min(mine, held[symbol].qty) if symbol in held else 0
        if size <= 0 or (symbol in theirs.ratios and symbol not in off and mine != size):
            continue
        sells = [
            order
            for order in theirs.orders
            if order.symbol == symbol
            and order.side is Side.SELL
            and order.is_live
            and order.order_id not in cancelled
        ]
        covered, selling = _safe_qty(sells, leaving), _remaining(parents(sells))
        reason = None
        if selling > size:
            reason = "more is promised to sells than is held"
        elif covered < size:
            reason = "the position is not covered"
        if reason is not None:
            found.append(
                Protect(
                    symbol=symbol,
                    qty=size,
                    covered_qty=covered,
                    selling_qty=selling,
                    reason=reason,
                )
            )
    return found


def _safe_qty(sells: list[BrokerOrder], leaving: Set[str]) -> int:
    """Shares under a live stop, or in an exit at work that has no stop beside it."""
    alone = [o for o in parents(sells) if o.order_id in leaving and not o.legs]
    return covered_qty(sells) + _remaining(alone)


def _remaining(orders: Iterable[BrokerOrder]) -> int:
    return sum(order.remaining for order in orders)


def _cash(ours: Ours, theirs: Theirs, booked: Iterable[BookFill]) -> list[Flag]:
    if ours.cash_usd is None:
        return []
    cash = ours.cash_usd
    for correction in booked:
        amount = correction.fill.price * correction.fill.qty
        cash += amount if correction.fill.side is Side.SELL else -amount
    if abs(cash - theirs.cash_usd) < CASH_TOLERANCE_USD:
        return []
    return [
        Flag(
            symbol=None,
            what=CASH,
            ours=f"{cash:.2f}",
            theirs=f"{theirs.cash_usd:.2f}",
            reason="no fill explains the difference in cash",
        )
    ]
