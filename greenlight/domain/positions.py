"""What a position is, how fills change it, when it must be left.

Before it stands the risk gate (the plan: stop, target, time); after it the
position monitor, which acts on `exit_reason`. A monitor imports this file and
nothing heavier. Prices are `Decimal` US dollars, quantities whole shares.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from greenlight.domain.market import Quote
from greenlight.domain.orders import Execution, Side, round_price

ADOPTED: Final = "adopted"
"""Strategy name of a position that the desk did not open."""


class ExitReason(StrEnum):
    """Why a position is left."""

    STOP = "stop"
    TARGET = "target"
    TIME = "time"
    SCORE = "score"
    """Its score fell; the desk acts on scores only where it is told to."""
    MANUAL = "manual"
    """Somebody else's order, or `greenlight flatten`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitPlan:
    """How a position is to be left; decided with the entry, before the order.

    `exit_by` is the instant from which it is left at the market's price.
    """

    decision_id: str
    strategy: str
    stop_price: Decimal
    target_price: Decimal
    exit_by: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A long position in whole shares, open while `qty` is above zero.

    `position_id` is the id of the entry decision. `cost_usd` is what the
    shares now held cost; `realized_usd` the gain of those already sold.
    """

    position_id: str
    symbol: str
    strategy: str
    qty: int
    cost_usd: Decimal
    realized_usd: Decimal
    stop_price: Decimal
    target_price: Decimal
    opened_at: datetime
    exit_by: datetime
    closed_at: datetime | None = None

    @property
    def correlation_id(self) -> str:
        """Id of the entry's decision, also where the entry opened a second position."""
        return self.position_id.partition(".")[0]

    @property
    def is_open(self) -> bool:
        """Whether shares are held."""
        return self.qty > 0

    @property
    def avg_price(self) -> Decimal:
        """Average cost of a share held; zero shares have none and raise."""
        if self.qty == 0:
            raise ValueError(f"{self.symbol}: a closed position has no average price")
        return self.cost_usd / self.qty


class OversoldError(ValueError):
    """A sell fill larger than the position: the ledger and the broker disagree."""


def apply_fill(position: Position | None, fill: Execution, plan: ExitPlan | None) -> Position:
    """The position after a fill.

    Parameters
    ----------
    position : Position | None
        The open position of the fill's symbol, if there is one.
    fill : Execution
        The fill.
    plan : ExitPlan | None
        The plan of the entry the fill belongs to. None for an order that the
        desk did not send, which opens an adopted position: stop 5% below and
        target 10% above its price, left by time only when a person says so.

    Raises
    ------
    OversoldError
        A sell exceeds what is held.
    """
    amount = fill.price * fill.qty
    if fill.side is Side.SELL:
        if position is None or fill.qty > position.qty:
            held = 0 if position is None else position.qty
            raise OversoldError(f"{fill.symbol}: sold {fill.qty}, held {held}")
        # To a hundredth of a cent, so that sums stay exact; the last sale takes the rest.
        cost = (position.cost_usd * fill.qty / position.qty).quantize(Decimal("0.0001"))
        if fill.qty == position.qty:
            cost = position.cost_usd
        qty = position.qty - fill.qty
        return replace(
            position,
            qty=qty,
            cost_usd=position.cost_usd - cost,
            realized_usd=position.realized_usd + amount - cost,
            closed_at=fill.at if qty == 0 else None,
        )
    if position is not None:
        return replace(position, qty=position.qty + fill.qty, cost_usd=position.cost_usd + amount)
    plan = plan or adopted_plan(fill.order_id, fill.price, fill.at)
    return Position(
        position_id=plan.decision_id,
        symbol=fill.symbol,
        strategy=plan.strategy,
        qty=fill.qty,
        cost_usd=amount,
        realized_usd=Decimal(0),
        stop_price=plan.stop_price,
        target_price=plan.target_price,
        opened_at=fill.at,
        exit_by=plan.exit_by,
    )


def adopted_plan(source_id: str, price: Decimal, at: datetime) -> ExitPlan:
    """How a position that the desk did not open is protected.

    Stop 5% below and target 10% above the price paid; ten years of time,
    because only a person knows why it was opened.
    """
    return ExitPlan(
        decision_id=f"{ADOPTED}-{source_id}",
        strategy=ADOPTED,
        stop_price=round_price(price * Decimal("0.95"), up=True),
        target_price=round_price(price * Decimal("1.10"), up=True),
        exit_by=at.replace(year=at.year + 10, day=min(at.day, 28)),
    )


def apply_split(position: Position, ratio: Decimal) -> Position:
    """The position after a split of `ratio` new shares for each old one.

    Quantity times ratio, stop and target divided by it (to the tick, the stop
    upward so that the risk does not grow); the cost stays.

    Raises
    ------
    ValueError
        The split leaves a fraction of a share: the broker pays cash for it,
        and a person must look.
    """
    qty = position.qty * ratio
    if qty != int(qty):
        raise ValueError(f"{position.symbol}: {position.qty} x {ratio} is not whole shares")
    return replace(
        position,
        qty=int(qty),
        stop_price=round_price(position.stop_price / ratio, up=True),
        target_price=round_price(position.target_price / ratio),
    )


def exit_reason(position: Position, quote: Quote | None, now: datetime) -> ExitReason | None:
    """Whether and why the position must be left now.

    Parameters
    ----------
    position : Position
        An open position.
    quote : Quote | None
        The last good quote; None (no quote) still lets time decide.
    now : datetime
        Aware UTC.

    Returns
    -------
    ExitReason | None
        `STOP` when the bid is at or below the stop, `TARGET` when it is at or
        above the target, `TIME` from `exit_by` on; the first that holds.
    """
    if quote is not None:
        if quote.bid <= float(position.stop_price):
            return ExitReason.STOP
        if quote.bid >= float(position.target_price):
            return ExitReason.TARGET
    return ExitReason.TIME if now >= position.exit_by else None


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchBand:
    """The quotes and instants between which a position's decision cannot change.

    Market data wakes a monitor when the bid leaves (`low`, `high`) or the
    clock reaches `wake_at`.
    """

    symbol: str
    low: float
    high: float
    wake_at: datetime

    @property
    def is_leaving(self) -> bool:
        """Whether an exit is at work: no bid lies inside."""
        return self.low > self.high


def watch_band(position: Position) -> WatchBand:
    """The band inside which `exit_reason` is None."""
    return WatchBand(
        symbol=position.symbol,
        low=float(position.stop_price),
        high=float(position.target_price),
        wake_at=position.exit_by,
    )
