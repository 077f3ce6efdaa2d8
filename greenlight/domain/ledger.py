"""How reports and fills enter the ledger: the rules that every store shares.

Before it stand orders, positions and decisions; after it the stores
(PostgreSQL and the one in memory), which only keep what is decided here: the
plan in an entry's decision, the status after a report, why a trade was left,
which timeframe a bar belongs to, and the decision rows of halts.
Prices are `Decimal` US dollars, times aware UTC.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from decimal import Decimal, InvalidOperation

from greenlight.domain.audit import Decision, DecisionKind, Verdict, instant_text
from greenlight.domain.market import Bar
from greenlight.domain.orders import (
    TERMINAL,
    BrokerOrder,
    Denied,
    OrderIntent,
    OrderKind,
    OrderRecord,
    OrderStatus,
    Rejected,
    Role,
    TimeInForce,
    Unresolved,
    decision_id,
    next_status,
)
from greenlight.domain.positions import ExitPlan, ExitReason

MANUAL = str(ExitReason.MANUAL)
BY_HAND = "manual"
"""Kind of a halt that a person asked for: what stands before the colon of its reason."""
FLATTEN = "flatten"
"""Kind of a halt during which every position is left, and every entry's rest cancelled."""


def is_flatten(halt_reason: str) -> bool:
    """Whether a halt asks for every position to be left."""
    return halt_reason.partition(":")[0] == FLATTEN


def exit_plan(decision: Decision) -> ExitPlan:
    """The exit plan that an entry's decision carries in its figures.

    Parameters
    ----------
    decision : Decision
        With a strategy and the figures ``stop_price``, ``target_price`` (US
        dollars, number or text) and ``exit_by`` (ISO text with an offset).

    Raises
    ------
    ValueError
        One of them is missing or cannot be read, or the target is not above
        the stop: such an entry must not be sent, because nobody would know
        how to leave it.
    """
    figures = decision.figures
    try:
        stop = Decimal(str(figures["stop_price"]))
        target = Decimal(str(figures["target_price"]))
        exit_by = datetime.fromisoformat(str(figures["exit_by"]))
    except (KeyError, InvalidOperation, ValueError) as error:
        raise ValueError(f"decision {decision.decision_id} has no exit plan: {error!r}") from error
    is_ordered = stop.is_finite() and target.is_finite() and 0 < stop < target
    if not decision.strategy or exit_by.tzinfo is None or not is_ordered:
        raise ValueError(
            f"decision {decision.decision_id} has no exit plan: strategy {decision.strategy!r}, "
            f"stop {stop}, target {target}, exit by {exit_by}"
        )
    return ExitPlan(
        decision_id=decision.decision_id,
        strategy=decision.strategy,
        stop_price=stop,
        target_price=target,
        exit_by=exit_by,
    )


def reported_status(current: OrderStatus, filled_qty: int, reported: OrderStatus) -> OrderStatus:
    """The status after a report that may be late or unreadable.

    A report of `WORKING` on an order with fills is an old one, or a refused
    cancel: the order is partially filled. A status that nobody knows
    (`UNRESOLVED`) changes nothing that is known. Everything else goes by
    `orders.next_status`, which raises `InvalidTransition`.
    """
    if reported is OrderStatus.WORKING and filled_qty > 0:
        reported = OrderStatus.PARTIALLY_FILLED
    known = current not in (OrderStatus.INTENDED, OrderStatus.UNRESOLVED)
    if reported is OrderStatus.UNRESOLVED and known:
        return current
    return next_status(current, reported)


def taken_report(
    record: OrderRecord, status: OrderStatus, filled_qty: int, booked_qty: int
) -> tuple[OrderStatus, int]:
    """Status and filled quantity of an order after the broker reported both.

    A report that ends an order ahead of its fills is not taken in yet: until
    they are booked the shares are in no position, and only the open order shows
    that they count against the limits. `booked_qty` is
    the highest cumulative quantity among the order's booked fills. A replacement
    starts with what its predecessors filled, so only its own last fill tells.
    """
    is_end = status in TERMINAL if record.intent.replaces is None else status is OrderStatus.FILLED
    if is_end and filled_qty > booked_qty:
        is_known = record.status not in (OrderStatus.INTENDED, OrderStatus.UNRESOLVED)
        return (record.status if is_known else OrderStatus.WORKING), record.filled_qty
    filled = max(record.filled_qty, filled_qty)
    return reported_status(record.status, filled, status), filled


def outcome_status(
    current: OrderStatus, filled_qty: int, outcome: Rejected | Denied | Unresolved
) -> tuple[OrderStatus, str]:
    """The status and the reason after sending that was not accepted."""
    if isinstance(outcome, Rejected):
        reason = f"{outcome.http_status} {outcome.code}: {outcome.message}"
        return next_status(current, OrderStatus.REFUSED), reason
    if isinstance(outcome, Denied):
        return next_status(current, OrderStatus.REFUSED), outcome.reason
    return reported_status(current, filled_qty, OrderStatus.UNRESOLVED), outcome.reason


def filled_status(current: OrderStatus, qty: int, filled_qty: int) -> OrderStatus:
    """The status after a fill that brought the filled quantity to `filled_qty`.

    A partial fill leaves a pending cancel pending.
    """
    if filled_qty >= qty:
        return next_status(current, OrderStatus.FILLED)
    if current is OrderStatus.CANCEL_PENDING:
        return current
    return next_status(current, OrderStatus.PARTIALLY_FILLED)


def leg_record(parent: OrderRecord, leg: BrokerOrder, at: datetime) -> OrderRecord:
    """Our record of a leg that the broker made of a protective order.

    It protects under the parent's decision, attempt, holder and epoch. What the
    broker says of it is taken in by `taken_report`.
    """
    intent = OrderIntent(
        client_order_id=leg.client_order_id,
        decision_id=parent.intent.decision_id,
        role=Role.PROTECT,
        attempt=parent.intent.attempt,
        symbol=leg.symbol,
        side=leg.side,
        kind=OrderKind.STOP if leg.stop_price is not None else OrderKind.LIMIT,
        qty=leg.qty,
        limit_price=leg.limit_price,
        stop_price=leg.stop_price,
        time_in_force=TimeInForce.GTC,
        replaces=None,
        holder=parent.intent.holder,
        epoch=parent.intent.epoch,
        at=parent.intent.at,
    )
    return OrderRecord(
        intent=intent,
        order_id=leg.order_id,
        status=OrderStatus.INTENDED,
        filled_qty=0,
        reason=None,
        updated_at=at,
    )


def closing_reason(order: OrderIntent | None, decision: Decision | None) -> str:
    """Why a position was left, from the order whose fill closed it.

    Parameters
    ----------
    order : OrderIntent | None
        Our order; None for one that the desk did not send.
    decision : Decision | None
        That order's decision.

    Returns
    -------
    str
        An exit order's decision says it (figure ``exit_reason``); a protective
        order is left at its stop or at its target; all else is manual.
    """
    if order is None or order.role is Role.ENTRY:
        return MANUAL
    if order.role is Role.EXIT:
        return MANUAL if decision is None else str(decision.figures.get("exit_reason", MANUAL))
    return str(ExitReason.STOP if order.kind is OrderKind.STOP else ExitReason.TARGET)


def renamed(plan: ExitPlan, taken: Collection[str]) -> ExitPlan:
    """The plan of a position whose id is not among those `taken` before.

    Shares of an entry that fill after its position was stopped out open a
    second position under the same decision: its id gets a number.
    """
    number, name = 1, plan.decision_id
    while name in taken:
        number += 1
        name = f"{plan.decision_id}.{number}"
    return replace(plan, decision_id=name)


def timeframe(bar: Bar) -> str:
    """The timeframe of a bar: "1Min", "5Min", "1Hour", "1Day".

    A daily bar runs from midnight New York to the close, 13 hours at least.

    Raises
    ------
    ValueError
        The interval is neither whole minutes nor a day.
    """
    seconds = (bar.end - bar.start).total_seconds()
    if 12 * 3600 < seconds <= 25 * 3600:
        return "1Day"
    if seconds <= 0 or seconds % 60 or seconds > 12 * 3600:
        raise ValueError(f"{bar.symbol} {bar.start}: a bar of {seconds} s has no timeframe")
    minutes = int(seconds // 60)
    return f"{minutes}Min" if minutes % 60 else f"{minutes // 60}Hour"


def halt_decision(at: datetime, until: datetime | None, reason: str) -> Decision:
    """The decision row of a halt; the same halt gives the same row."""
    end = None if until is None else instant_text(until)
    return Decision(
        decision_id=decision_id("halt", instant_text(at), str(end), reason),
        at=at,
        kind=DecisionKind.HALT,
        verdict=Verdict.TAKEN,
        symbol=None,
        strategy=None,
        reason=reason,
        figures={"until": end},
    )


def resume_decision(at: datetime, reason: str, lifted: int) -> Decision:
    """The decision row of a person lifting `lifted` halts."""
    return Decision(
        decision_id=decision_id("resume", instant_text(at), reason),
        at=at,
        kind=DecisionKind.RESUME,
        verdict=Verdict.TAKEN,
        symbol=None,
        strategy=None,
        reason=reason,
        figures={"lifted": lifted},
    )
