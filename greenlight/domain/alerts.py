"""Which events a person is told of, how loudly, and what becomes of each telling.

Before it stand the ledger and the decisions, whose transactions write the alert
with its cause; after it the reporter, which sends them in their order. An alert
is a fact and not yet a text (`alert_text`). Its key names the cause, so the same
cause is told once. A position monitor imports this file, so it stays light.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from greenlight.domain.audit import Decision, DecisionKind, Figure, Verdict, instant_text
from greenlight.domain.orders import (
    Execution,
    OrderIntent,
    OrderRecord,
    Outcome,
    Rejected,
    Role,
)
from greenlight.domain.positions import ExitReason, Position
from greenlight.domain.trades import Trade


class Event(StrEnum):
    """What a person is told of; each is something to act upon."""

    POSITION_OPENED = "position_opened"
    STOP_HIT = "stop_hit"
    TARGET_HIT = "target_hit"
    TIME_EXIT = "time_exit"
    SCORE_EXIT = "score_exit"
    MANUAL_EXIT = "manual_exit"
    HALT = "halt"
    RESUMED = "resumed"
    NAKED_POSITION = "naked_position"
    BREAKER = "breaker"
    DRIFT = "drift"
    PROMOTED = "promoted"
    DEMOTED = "demoted"
    PNL_MILESTONE = "pnl_milestone"
    DISK = "disk"
    DATABASE = "database"
    INPUT_REFUSED = "input_refused"
    TROUBLE = "trouble"
    """Anything else that an actor tells."""
    REPORT = "report"
    """A part of a daily, weekly or monthly report; its chart has an empty text."""


class Loudness(StrEnum):
    """How an event is told."""

    ON = "on"
    SILENT = "silent"
    """Without a sound."""
    OFF = "off"
    """Kept in the store and on the page alone."""


CRITICAL: Final = frozenset(
    {
        Event.HALT,
        Event.NAKED_POSITION,
        Event.DRIFT,
        Event.DEMOTED,
        Event.DISK,
        Event.DATABASE,
    }
)
"""Always sent, never folded, and repeated until somebody acknowledges them."""
QUIET: Final = frozenset({Event.POSITION_OPENED, Event.RESUMED, Event.INPUT_REFUSED})
"""Silent unless a setting says otherwise."""
THROTTLED: Final = frozenset({Event.INPUT_REFUSED, Event.TROUBLE, Event.BREAKER})
"""Repeats within `THROTTLE` are counted instead of sent."""
_TOLD_FIGURES: Final = ("until", "lifted", "what", "ours", "theirs")
THROTTLE: Final = timedelta(minutes=10)
REMIND_AFTER: Final = timedelta(minutes=15)
"""Time between two reminders of what nobody has acknowledged."""
EXITS: Final[Mapping[str, Event]] = {
    ExitReason.STOP: Event.STOP_HIT,
    ExitReason.TARGET: Event.TARGET_HIT,
    ExitReason.TIME: Event.TIME_EXIT,
    ExitReason.SCORE: Event.SCORE_EXIT,
    ExitReason.MANUAL: Event.MANUAL_EXIT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One thing to tell. `at` is aware UTC, `facts` what the text is made of.

    `key` names its cause: a second alert of the same key is the same one.
    """

    key: str
    at: datetime
    event: Event
    symbol: str | None = None
    position_id: str | None = None
    facts: Mapping[str, Figure]

    @property
    def is_critical(self) -> bool:
        """Whether it is repeated until it is acknowledged."""
        return self.event in CRITICAL


# -- from causes


def opened(position: Position, fill: Execution, entry: OrderIntent | None) -> Alert:
    """The alert of the fill that opened a position; `entry` is its order, where it is ours."""
    return Alert(
        key=f"{Event.POSITION_OPENED}:{position.position_id}",
        at=fill.at,
        event=Event.POSITION_OPENED,
        symbol=position.symbol,
        position_id=position.position_id,
        facts={
            "qty": fill.qty,
            "ordered_qty": None if entry is None else entry.qty,
            "price": str(fill.price),
            "stop_price": str(position.stop_price),
            "target_price": str(position.target_price),
            "exit_by": instant_text(position.exit_by),
            "strategy": position.strategy,
        },
    )


def closed(trade: Trade) -> Alert:
    """The alert of a closed round trip; the event is why it was left."""
    event = EXITS.get(trade.exit_reason, Event.MANUAL_EXIT)
    return Alert(
        key=f"{event}:{trade.position_id}",
        at=trade.closed_at,
        event=event,
        symbol=trade.symbol,
        position_id=trade.position_id,
        facts={
            "qty": trade.qty,
            "entry_price": str(trade.entry_price),
            "exit_price": str(trade.exit_price),
            "net_usd": str(trade.net_usd),
            "return_frac": float(trade.return_frac),
            "strategy": trade.strategy,
            "exit_reason": trade.exit_reason,
            "opened_at": instant_text(trade.opened_at),
        },
    )


def of_decision(decision: Decision) -> Alert | None:
    """The alert of a decision that a person must know of; None for all others.

    A halt, its end, a difference from the broker that stays, the first refused
    input of its kind on a day, and a corporate action that could not be followed.
    """
    event = _event_of(decision)
    if event is None:
        return None
    figures = {name: decision.figures[name] for name in _TOLD_FIGURES if name in decision.figures}
    return Alert(
        key=f"{event}:{decision.decision_id}",
        at=decision.at,
        event=event,
        symbol=decision.symbol,
        facts={"reason": decision.reason, **figures},
    )


def _event_of(decision: Decision) -> Event | None:
    if decision.kind is DecisionKind.HALT:
        return Event.HALT
    if decision.kind is DecisionKind.RESUME:
        return Event.RESUMED
    if decision.verdict is not Verdict.REFUSED:
        return None
    if decision.kind is DecisionKind.RECONCILE and "differences" not in decision.figures:
        return Event.DRIFT
    if decision.kind is DecisionKind.DATA and "count" not in decision.figures:
        return Event.INPUT_REFUSED
    return Event.TROUBLE if decision.kind is DecisionKind.ADJUST else None


def of_outcome(order: OrderRecord, outcome: Outcome, at: datetime) -> Alert | None:
    """The alert of a protective order that was refused: its shares have no stop; else None."""
    intent = order.intent
    if intent.role is not Role.PROTECT or intent.replaces is not None:
        # Where a change of price is refused, the resting order stays.
        return None
    if not isinstance(outcome, Rejected):
        return None
    return Alert(
        key=f"{Event.NAKED_POSITION}:{intent.client_order_id}",
        at=at,
        event=Event.NAKED_POSITION,
        symbol=intent.symbol,
        facts={"qty": intent.qty, "reason": outcome.message},
    )


def told(event: Event, text: str, at: datetime) -> Alert:
    """The alert of what an actor says in its own words."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Alert(
        key=f"{event}:{digest}:{instant_text(at)}", at=at, event=event, facts={"reason": text}
    )


# -- what becomes of it


class Status(StrEnum):
    """How far the telling of an alert has come."""

    WAITING = "waiting"
    SENDING = "sending"
    """Written before the request, so that a crash leaves it to be seen."""
    DOUBTFUL = "doubtful"
    """A request was cut off: it may have arrived."""
    SENT = "sent"
    MAYBE = "maybe"
    """Two requests were cut off; a third could be a second duplicate."""
    FOLDED = "folded"
    """Counted in another message."""
    OFF = "off"
    REFUSED = "refused"
    """The messenger will never take it."""


OPEN: Final = frozenset({Status.WAITING, Status.SENDING, Status.DOUBTFUL})
"""Not at their end."""
MAX_DOUBTS: Final = 2
"""Requests that may have arrived; after so many none follows."""

_NEXT: Final[Mapping[Status, frozenset[Status]]] = {
    Status.WAITING: frozenset({Status.SENDING, Status.FOLDED, Status.OFF}),
    Status.SENDING: frozenset(
        {Status.SENT, Status.WAITING, Status.DOUBTFUL, Status.MAYBE, Status.REFUSED}
    ),
    Status.DOUBTFUL: frozenset({Status.SENDING}),
}


def require_next(before: Status, after: Status) -> None:
    """Check a step of an alert's life.

    Raises
    ------
    ValueError
        `after` cannot follow `before`.
    """
    if after not in _NEXT.get(before, frozenset()):
        raise ValueError(f"an alert that is {before} cannot become {after}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """An alert in the outbox: its place, and how far its telling has come.

    `doubts` counts requests that may have arrived. `changed_at` (aware UTC) is
    when `status` was last written; None before the first attempt. `note` says why
    it is refused, or which row it was folded into.
    """

    seq: int
    alert: Alert
    status: Status
    doubts: int
    changed_at: datetime | None
    acked_at: datetime | None
    note: str | None


def after_cut(doubts: int) -> Status:
    """What a row becomes whose request was cut off, counted into `doubts`."""
    return Status.MAYBE if doubts >= MAX_DOUBTS else Status.DOUBTFUL


def loudness(event: Event, chosen: Mapping[Event, Loudness]) -> Loudness:
    """How an event is told: as chosen, else as `QUIET` says. A critical one is always heard."""
    if event in CRITICAL:
        return Loudness.ON
    return chosen.get(event, Loudness.SILENT if event in QUIET else Loudness.ON)


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """One message: the row that is sent, how, and the rows that it counts besides."""

    row: Posted
    is_silent: bool
    folded: tuple[Posted, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do with the open rows now: rows that are not sent at all, and the next message."""

    off: tuple[Posted, ...]
    next: Telling | None


def plan(
    rows: Sequence[Posted],
    *,
    last_told: Mapping[str, datetime],
    chosen: Mapping[Event, Loudness],
    now: datetime,
) -> Plan:
    """Decide what is told next.

    Parameters
    ----------
    rows : Sequence[Posted]
        The open rows in their order.
    last_told : Mapping[str, datetime]
        When a message of each group was last sent (see `group`).
    chosen : Mapping[Event, Loudness]
        How loud each event is; missing ones as `loudness` says.
    now : datetime
        Aware UTC.

    Notes
    -----
    The first row that may be told is next, so the order of a position is kept. Rows
    of a throttled event wait until `THROTTLE` after the last message of their
    group; then one is sent and carries the number of the others.
    """
    off = tuple(r for r in rows if r.status is Status.WAITING and _is_off(r, chosen))
    for row in rows:
        if row in off:
            continue
        name = group(row.alert)
        if name is None:
            return Plan(off=off, next=_telling(row, chosen, ()))
        since = last_told.get(name)
        if row.status is Status.WAITING and since is not None and now - since < THROTTLE:
            continue
        others = tuple(
            r
            for r in rows
            if r is not row and r.status is Status.WAITING and group(r.alert) == name
        )
        return Plan(off=off, next=_telling(row, chosen, others))
    return Plan(off=off, next=None)


def group(alert: Alert) -> str | None:
    """Which alerts count as repeats of one another; None: each is told by itself."""
    if alert.event not in THROTTLED:
        return None
    said = str(alert.facts.get("reason", "")).partition(":")[0]
    return f"{alert.event}:{said}"


def _is_off(row: Posted, chosen: Mapping[Event, Loudness]) -> bool:
    return loudness(row.alert.event, chosen) is Loudness.OFF


def _telling(row: Posted, chosen: Mapping[Event, Loudness], folded: tuple[Posted, ...]) -> Telling:
    is_silent = loudness(row.alert.event, chosen) is Loudness.SILENT
    return Telling(row=row, is_silent=is_silent, folded=folded)


def is_reminder_due(
    unacknowledged: Sequence[Posted], last_reminder: datetime | None, now: datetime
) -> bool:
    """Whether criticals that nobody has acknowledged are to be said again."""
    said = [row.changed_at for row in unacknowledged if row.changed_at is not None]
    if not said:
        return False
    latest = max([*said, *([] if last_reminder is None else [last_reminder])])
    return now - latest >= REMIND_AFTER
