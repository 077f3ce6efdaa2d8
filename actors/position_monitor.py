"""The position monitor: one a position, the second of its two stops.

Before it stands the booking of a fill; after it the broker. It keeps a GTC
OCO pair (target and stop) resting for the whole position, watches the quotes
itself, and leaves by the exit protocol: change the target's price to a
marketable one, and only where the broker refuses that, cancel, wait for the
release, and sell what is free. It never sends a sell beside a resting one.

The constructor is the recovery path: take the epoch, settle orders whose
sender died, read the broker, protect. It imports neither pandas nor numpy.
"""

from __future__ import annotations

import itertools
import logging
import threading
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from actors.order_gateway import OrderGateway
from greenlight.domain.alerts import Event
from greenlight.domain.audit import Decision, DecisionKind, Figure, Verdict, instant_text
from greenlight.domain.corporate_actions import SPLIT
from greenlight.domain.market import Quote, eastern_date
from greenlight.domain.orders import (
    Accepted,
    BrokerOrder,
    OrderKind,
    OrderStatus,
    Outcome,
    Rejected,
    Role,
    Side,
    TimeInForce,
    client_order_id,
    covered_qty,
    decision_id,
    parents,
    round_price,
)
from greenlight.domain.positions import (
    ExitReason,
    Position,
    WatchBand,
    apply_split,
    exit_reason,
    watch_band,
)
from greenlight.ports import (
    Broker,
    BrokerRefused,
    BrokerUnavailable,
    Coverage,
    Notifier,
    Sleep,
    Store,
)

__all__ = ["OPTIONS", "PositionMonitor", "covered_qty", "monitor_name", "parents"]

logger = logging.getLogger(__name__)

OPTIONS: Final[dict[str, Any]] = {"num_cpus": 0.05, "max_concurrency": 4}
EXIT_SLACK: Final = Decimal("0.002")
"""How far below the bid the first exit's limit lies (20 bps); each attempt adds as much."""
REPRICE_AFTER: Final = timedelta(seconds=5)
"""An exit that has not filled is priced again after this."""
RETRY_AFTER: Final = timedelta(seconds=1)
"""What the broker did not take, or did not tell, is tried again after this."""
_NOT_ROUTED: Final = "accepted status"
"""In Alpaca's refusal to replace an order that still waits for the open."""


def monitor_name(symbol: str) -> str:
    """Name of the monitor of a symbol, as actor and as holder of its epoch."""
    return f"position-monitor:{symbol}"


class PositionMonitor:
    """Protects the position of one symbol; see the module.

    Parameters
    ----------
    now : datetime
        Aware UTC; the present of the recovery.
    sleep : Sleep
        Waits, in seconds, while the broker cancels.
    desk_epoch : int | None
        See `OrderGateway`.
    """

    def __init__(
        self,
        *,
        symbol: str,
        store: Store,
        broker: Broker,
        notifier: Notifier,
        desk: str,
        now: datetime,
        sleep: Sleep,
        desk_epoch: int | None = None,
    ) -> None:
        self._symbol = symbol
        self._store = store
        self._broker = broker
        self._notifier = notifier
        self._desk = desk
        self._sleep = sleep
        self._lock = threading.Lock()
        self._exiting: ExitReason | None = None
        self._exit_sent: datetime | None = None
        # When to look at the broker's orders, because nobody has in this life or it did not tell.
        self._look_at: datetime | None = now
        # What the last look showed, so that an exit asks nobody before it acts. Every
        # fill and every lost order brings an `on_change`, which looks again.
        self._position: Position | None = None
        self._resting: list[BrokerOrder] | None = None
        self._attempts: dict[tuple[str, Role], int] = {}
        self._scored_out: bool | None = None
        self._gateway = OrderGateway(
            store=store,
            broker=broker,
            desk=desk,
            holder=monitor_name(symbol),
            sleep=sleep,
            desk_epoch=desk_epoch,
        )
        own = [r for r in store.open_orders(symbol) if r.intent.role is not Role.ENTRY]
        self._gateway.settle_all(own, now)

    def ping(self) -> str:
        """Answer, as proof of life."""
        return monitor_name(self._symbol)

    @property
    def is_fenced(self) -> bool:
        """Whether another monitor has taken over, so that this one should end."""
        return self._gateway.is_fenced

    # -- what it is asked
    def on_change(self, quote: Quote | None, now: datetime) -> WatchBand | None:
        """See `MonitorsLink.on_change`."""
        with self._lock:
            return self._protect(quote, now)

    def on_quote(self, quote: Quote | None, now: datetime) -> WatchBand | None:
        """See `MonitorsLink.on_quotes`."""
        with self._lock:
            if self._look_at is not None and now >= self._look_at:
                self._protect(quote, now)
            position = self._position or self._store.position(self._symbol)
            if position is None:
                self._finish(now)
                return None
            reason = exit_reason(position, quote, now) or self._exiting
            if reason is ExitReason.TIME and self._is_scored_out(position):
                reason = ExitReason.SCORE
            if reason is not None and quote is not None:
                self._exit(position, reason, quote, now)
            return self._band(position)

    def _is_scored_out(self, position: Position) -> bool:
        """Whether its time is up because of its score; asked of the store but once."""
        if self._scored_out is None:
            rows = self._store.decisions(
                start=position.opened_at,
                symbol=self._symbol,
                kind=DecisionKind.SCORE,
                limit=None,
            )
            self._scored_out = any(row.decision.verdict is Verdict.TAKEN for row in rows)
        return self._scored_out

    def on_split(self, ex_date: date, ratio: Decimal, now: datetime) -> WatchBand | None:
        """See `MonitorsLink.on_split`. Repeated, or told days later, it applies once."""
        with self._lock:
            position = self._store.position(self._symbol)
            if position is None:
                self._finish(now)
                return None
            if eastern_date(position.opened_at) >= ex_date:
                # Bought after the split took effect.
                return self._protect(None, now)
            self._adjust(position, ex_date, ratio, now)
            # Also where the split was applied before, by a life that ended half-way.
            if self._has_stale_stop():
                self._cancel_sells(now)
            return self._protect(None, now)

    def leave(self, quote: Quote | None, now: datetime) -> WatchBand | None:
        """See `MonitorsLink.leave`. Asked again and again while the request stands."""
        with self._lock:
            position = self._position or self._store.position(self._symbol)
            if position is None:
                self._finish(now)
                return None
            reason = self._exiting or ExitReason.MANUAL
            if quote is None:
                self._exiting = reason
            else:
                self._exit(position, reason, quote, now)
            return self._band(position)

    def check(self, now: datetime) -> WatchBand | None:
        """See `MonitorsLink.check`."""
        with self._lock:
            return self._protect(None, now)

    # -- splits
    def _adjust(self, position: Position, ex_date: date, ratio: Decimal, now: datetime) -> None:
        """Apply a split to the ledger, once whoever asks how often."""
        name = decision_id(self._desk, position.position_id, SPLIT, ex_date.isoformat())
        if self._store.decision(name) is not None:
            return
        figures: dict[str, Figure] = {
            "ex_date": ex_date.isoformat(),
            "ratio": str(ratio),
            "qty.before": position.qty,
            "stop_price.before": str(position.stop_price),
        }
        decision = Decision(
            decision_id=name,
            at=now,
            kind=DecisionKind.ADJUST,
            verdict=Verdict.TAKEN,
            symbol=self._symbol,
            strategy=position.strategy,
            reason=SPLIT,
            figures=figures,
        )
        try:
            after = apply_split(position, ratio)
        except ValueError as error:
            # Raising would hold up every other position; the resting pair stays.
            reason = f"{SPLIT}: {error}"
            refused = replace(decision, verdict=Verdict.REFUSED, reason=reason)
            if self._store.record_decision(refused):
                text = f"{reason}; adjust the position by hand"
                self._notifier.alert(text, is_kept=True)
            return
        figures |= {
            "qty": after.qty,
            "stop_price": str(after.stop_price),
            "target_price": str(after.target_price),
        }
        self._store.adjust_position(after, decision)

    def _has_stale_stop(self) -> bool:
        position = self._store.position(self._symbol)
        stops = {o.stop_price for o in self._sells() if o.stop_price is not None}
        return position is not None and not stops <= {position.stop_price}

    # -- protection
    def _band(self, position: Position) -> WatchBand:
        band = watch_band(position)
        if self._exiting is None:
            if self._look_at is not None:
                band = replace(band, wake_at=min(band.wake_at, self._look_at))
            return band
        # While an exit is at work every quote and every second matters.
        return WatchBand(
            symbol=self._symbol, low=float("inf"), high=float("-inf"), wake_at=position.opened_at
        )

    def _sells(self) -> list[BrokerOrder]:
        orders = self._broker.open_orders(self._symbol)
        return [order for order in orders if order.side is Side.SELL]

    def _protect(self, quote: Quote | None, now: datetime) -> WatchBand | None:
        self._resting = self._look_at = None
        position = self._position = self._store.position(self._symbol)
        if position is None:
            self._finish(now)
            return None
        try:
            self._cover(position, quote, now)
        except (BrokerUnavailable, BrokerRefused) as error:
            # The resting pair stays where it is; whether there is one is soon looked at again.
            logger.warning("the broker does not tell: %s", error, extra={"action": "protect"})
            self._resting, self._look_at = None, now + RETRY_AFTER
        return self._band(position)

    def _cover(self, position: Position, quote: Quote | None, now: datetime) -> None:
        was_exiting = self._exiting is not None
        sells = self._sells()
        covered, selling = covered_qty(sells), sum(o.remaining for o in parents(sells))
        if selling > position.qty or (covered < selling and self._exiting is None):
            self._cancel_sells(now)
            sells, covered, selling = [], 0, 0
        missing = position.qty - selling
        if missing > 0 and self._exiting is None:
            # What the broker no longer holds was sold, and its fill is on the way.
            missing = min(missing, self._available())
        if missing > 0 and self._exiting is None:
            outcome = self._place_pair(position, missing, now)
            if isinstance(outcome, Accepted):
                covered += outcome.order.remaining
                sells.append(outcome.order)
            elif quote is not None:
                self._exit(position, ExitReason.STOP, quote, now)
            else:
                self._exiting = ExitReason.STOP
        if was_exiting and selling == 0 and quote is not None:
            # The exit is no longer at work: cancelled above, or by somebody else.
            self._exit_sent = None
            self._exit(position, self._exiting or ExitReason.STOP, quote, now)
        if self._exiting is None:
            self._resting = sells
            if covered < position.qty:
                self._look_at = now + RETRY_AFTER
            # Asked now, so that an exit does not wait for the answer.
            self._last_attempt(position, Role.EXIT)
        self._write_coverage(position, covered, now)

    def _place_pair(self, position: Position, qty: int, now: datetime) -> Outcome:
        attempt, name = self._next_attempt(position, Role.PROTECT)
        decision = Decision(
            decision_id=name,
            at=now,
            kind=DecisionKind.PROTECT,
            verdict=Verdict.TAKEN,
            symbol=self._symbol,
            strategy=position.strategy,
            reason="position not covered",
            figures={
                "qty": qty,
                "position_qty": position.qty,
                "stop_price": str(position.stop_price),
                "target_price": str(position.target_price),
                "exit_by": instant_text(position.exit_by),
                "attempt": attempt,
            },
        )
        outcome = self._gateway.send(
            decision=decision,
            decision_id=name,
            role=Role.PROTECT,
            attempt=attempt,
            symbol=self._symbol,
            side=Side.SELL,
            kind=OrderKind.OCO,
            qty=qty,
            limit_price=position.target_price,
            stop_price=position.stop_price,
            time_in_force=TimeInForce.GTC,
            at=now,
            correlation_id=position.correlation_id,
        )
        if not isinstance(outcome, Accepted):
            self._notifier.alert(
                f"{self._symbol}: no stop at the broker for {qty} shares ({outcome}); leaving",
                event=Event.NAKED_POSITION,
                # What the broker refused is told with its row.
                is_kept=isinstance(outcome, Rejected),
            )
        return outcome

    def _write_coverage(self, position: Position, covered: int, now: datetime) -> None:
        row = Coverage(
            position_id=position.position_id,
            symbol=self._symbol,
            at=now,
            position_qty=position.qty,
            covered_qty=min(covered, position.qty),
        )
        self._store.write_coverage([row])

    def _next_attempt(self, position: Position, role: Role) -> tuple[int, str]:
        """The first attempt of this position and role that the store does not know, named."""
        attempt = self._last_attempt(position, role) + 1
        self._attempts[position.position_id, role] = attempt
        return attempt, self._attempt_name(position, role, attempt)

    def _last_attempt(self, position: Position, role: Role) -> int:
        """The last attempt there was, 0 before the first; asked of the store but once."""
        key = (position.position_id, role)
        if key not in self._attempts:
            for attempt in itertools.count(1):
                name = self._attempt_name(position, role, attempt)
                if self._store.order(client_order_id(self._desk, name, role, attempt)) is None:
                    self._attempts[key] = attempt - 1
                    break
        return self._attempts[key]

    def _attempt_name(self, position: Position, role: Role, attempt: int) -> str:
        return decision_id(self._desk, position.position_id, role.value, str(attempt))

    # -- leaving
    def _exit(self, position: Position, reason: ExitReason, quote: Quote, now: datetime) -> None:
        is_waiting = self._exit_sent is not None and now < self._exit_sent + REPRICE_AFTER
        if self._exiting is not None and is_waiting:
            return
        try:
            sells = self._resting if self._resting is not None else self._sells()
        except (BrokerUnavailable, BrokerRefused) as error:
            logger.warning("cannot read orders: %s", error, extra={"action": "exit"})
            self._exiting = reason
            return
        self._resting = None
        if self._exiting is None and any(
            order.status is OrderStatus.PARTIALLY_FILLED for order in sells
        ):
            # The broker's own stop or target is at work; judge again on the next quote.
            self._exiting, self._exit_sent = reason, now
            return
        self._exiting, self._exit_sent = reason, now
        free = position.qty
        for parent in parents(sells):
            outcome = self._send_exit(position, reason, quote, parent.remaining, now, parent)
            if isinstance(outcome, Rejected) and _NOT_ROUTED in outcome.message:
                # The market is closed: the pair stays, and the exit goes out at the open.
                self._exit_sent = now - REPRICE_AFTER + RETRY_AFTER
                free -= parent.remaining
                continue
            if isinstance(outcome, Accepted):
                free -= parent.remaining
                continue
            done = self._gateway.cancel(parent.order_id, now)
            if done is None:
                # Not released yet: nothing may be sold beside it.
                return
            if done.status is OrderStatus.FILLED:
                return
        if free > 0:
            self._cancel_entries(now)
            try:
                available = self._available()
            except (BrokerUnavailable, BrokerRefused) as error:
                logger.warning("cannot read shares: %s", error, extra={"action": "exit"})
                self._exit_sent = now - REPRICE_AFTER + RETRY_AFTER
                return
            if available > 0:
                outcome = self._send_exit(position, reason, quote, min(free, available), now, None)
                if not isinstance(outcome, Accepted):
                    # Nothing is at work for these shares.
                    self._exit_sent = now - REPRICE_AFTER + RETRY_AFTER

    def _cancel_entries(self, now: datetime) -> None:
        """A simple sell is refused as a wash trade while a buy of ours rests."""
        for record in self._store.open_orders(self._symbol):
            if record.intent.role is Role.ENTRY and record.order_id is not None:
                self._gateway.cancel(record.order_id, now)

    def _available(self) -> int:
        """Shares that no order holds, as the broker says."""
        for position in self._broker.positions():
            if position.symbol == self._symbol:
                return max(position.qty_available, 0)
        return 0

    def _send_exit(
        self,
        position: Position,
        reason: ExitReason,
        quote: Quote,
        qty: int,
        now: datetime,
        parent: BrokerOrder | None,
    ) -> Outcome:
        attempt, name = self._next_attempt(position, Role.EXIT)
        slack = min(EXIT_SLACK * attempt, Decimal("0.05"))
        limit = round_price(Decimal(repr(quote.bid)) * (1 - slack), up=False)
        figures: dict[str, Figure] = {
            "exit_reason": reason.value,
            "qty": qty,
            "bid": quote.bid,
            "ask": quote.ask,
            "limit_price": str(limit),
            "stop_price": str(position.stop_price),
            "target_price": str(position.target_price),
            "exit_by": instant_text(position.exit_by),
            "attempt": attempt,
            "replaces_target": parent is not None,
        }
        decision = Decision(
            decision_id=name,
            at=now,
            kind=DecisionKind.EXIT,
            verdict=Verdict.TAKEN,
            symbol=self._symbol,
            strategy=position.strategy,
            reason=reason.value,
            figures=figures,
        )
        return self._gateway.send(
            decision=decision,
            decision_id=name,
            role=Role.EXIT,
            attempt=attempt,
            symbol=self._symbol,
            side=Side.SELL,
            kind=OrderKind.LIMIT,
            qty=qty,
            limit_price=limit,
            stop_price=None,
            time_in_force=TimeInForce.DAY,
            at=now,
            replaces=None if parent is None else parent.order_id,
            correlation_id=position.correlation_id,
        )

    def _cancel_sells(self, now: datetime) -> None:
        for order in parents(self._sells()):
            if self._gateway.cancel(order.order_id, now) is None:
                logger.error(
                    "a sell could not be cancelled",
                    extra={"action": "cancel", "symbol": self._symbol},
                )

    def _finish(self, now: datetime) -> None:
        """The position is closed: nothing of ours may keep selling."""
        self._position = self._resting = None
        self._attempts.clear()
        self._scored_out = None
        self._exiting = self._exit_sent = self._look_at = None
        if any(r.intent.side is Side.SELL for r in self._store.open_orders(self._symbol)):
            try:
                self._cancel_sells(now)
            except (BrokerUnavailable, BrokerRefused) as error:
                # The reconciler cancels a sell without a position, too.
                logger.warning("cannot read orders: %s", error, extra={"action": "finish"})
