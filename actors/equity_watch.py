"""Equity against its limits: what the risk chain judges by, and the halts that follow.

Before it stand the broker's marks at each close and whoever knows equity now
(market data every minute, the risk gate at every signal); after it the halts in
the store, which stop entries and never an exit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from actors.transfers import LAST_MARK, LATE, Moved
from greenlight.domain.alerts import Event
from greenlight.domain.cash import CashMoved
from greenlight.domain.desk_state import RiskLimits, finite
from greenlight.domain.halts import (
    DAILY_LOSS,
    DRAWDOWN,
    HIGH_WINDOW,
    DueHalt,
    EquityAt,
    EquityBase,
    due_halts,
    equity_base,
    halt_kind,
)
from greenlight.domain.market import Session, previous_session
from greenlight.ports import Broker, BrokerRefused, BrokerUnavailable, Halt, Notifier, Store

logger = logging.getLogger(__name__)

_LOOK_AGAIN: Final = timedelta(minutes=5)
"""How soon after a halt the store is asked whether a person has lifted it."""


def base_start(session: Session) -> datetime:
    """From when on halts lifted and cash moved matter to a session, aware UTC."""
    return session.open - HIGH_WINDOW - LATE


class EquityWatch:
    """See the module. It may be asked at any moment; what it knows is in the store.

    Parameters
    ----------
    broker : Broker | None
        Knows the equity before an account's first close. Without one the first
        equity of the session stands for it: whoever protects positions must
        not wait for an answer.
    """

    def __init__(
        self, *, store: Store, broker: Broker | None, notifier: Notifier, limits: RiskLimits
    ) -> None:
        self._store = store
        self._broker = broker
        self._notifier = notifier
        self._limits = limits
        self._base: tuple[Session, EquityBase] | None = None
        self._closes: tuple[Session, list[EquityAt]] | None = None
        self._first: EquityAt | None = None
        self._befores: dict[str, Decimal] = {}
        self._quiet_until: datetime | None = None

    def base(
        self, session: Session, lifted: Sequence[Halt], movements: Sequence[CashMoved]
    ) -> EquityBase:
        """What equity in a session is held against.

        `lifted` (halts) and `movements` (of cash) are those since `base_start(session)`,
        or since an earlier instant.
        """
        found = self._base_of(session, None, lifted, movements)
        if self._base is not None and self._base[0] == session and self._closes is not None:
            self._base = session, found
        return found

    def rebase(self) -> None:
        """Read what `check` holds equity against anew: the owner has moved money."""
        if self._base is not None:
            session = self._base[0]
            self._base = session, self._read_base(session, self._first)

    def _read_base(self, session: Session, first: EquityAt | None) -> EquityBase:
        since = base_start(session)
        lifted = self._store.lifted_halts(since)
        movements = self._store.cash_movements(start=since, limit=None)
        return self._base_of(session, first, lifted, movements)

    def _base_of(
        self,
        session: Session,
        first: EquityAt | None,
        lifted: Sequence[Halt],
        movements: Sequence[CashMoved],
    ) -> EquityBase:
        """Where no close is known, the `first` equity of the session stands for it."""
        start = session.open - HIGH_WINDOW
        closes = self._closes_before(session, start)
        moved = Moved(self._store, movements, closes, self._befores)
        known = [moved.since_told(close) for close in closes]
        if not known and first is not None:
            known = [moved.since_booked(first, first.at)]
        lifts = {
            halt_kind(halt.reason): halt.lifted_at
            for halt in lifted
            if halt.lifted_at is not None and halt.lifted_at >= start
        }
        return equity_base(
            known,
            session.open,
            loss_lift=self._equity_at(lifts.get(DAILY_LOSS), moved),
            drawdown_lift=self._equity_at(lifts.get(DRAWDOWN), moved),
        )

    def _closes_before(self, session: Session, start: datetime) -> list[EquityAt]:
        if self._closes is not None and self._closes[0] == session:
            return self._closes[1]
        closes = [
            EquityAt(at=mark.at, equity_usd=mark.equity_usd)
            for mark in self._store.equity(start, session.open, "broker")
        ]
        # Once the last close is there, nothing before this session changes any more.
        is_whole = bool(closes) and closes[-1].at >= previous_session(session.day).close
        if not closes and (last := self._last_equity()) is not None:
            closes = [EquityAt(at=previous_session(session.day).close, equity_usd=last)]
        run = self._store.latest_run()
        if closes and run is not None and start <= run.started_at < closes[0].at:
            # Cash is no more than equity, so this can only set a high that was reached.
            closes.insert(0, EquityAt(at=run.started_at, equity_usd=run.start_cash_usd))
        if is_whole:
            self._closes = session, closes
        return closes

    def check(
        self,
        equity: Decimal | None,
        session: Session,
        now: datetime,
        is_booked: Callable[[], bool] = lambda: True,
    ) -> None:
        """Halt entries where equity demands it; cheap while it does not.

        `is_booked` says whether the ledger has all that moved the equity: without
        that a withdrawal looks like a loss. It is asked only where it matters.
        """
        known = finite(equity)
        if known is None or (self._quiet_until is not None and now < self._quiet_until):
            return
        if self._base is None or self._base[0] != session:
            if not is_booked():
                return
            self._first = EquityAt(at=now, equity_usd=known)
            self._base = session, self._read_base(session, self._first)
        if not due_halts(known, self._base[1], self._limits, now) or not is_booked():
            return
        # A person may have lifted a halt since: look again before acting.
        self._base = session, self._read_base(session, self._first)
        due = due_halts(known, self._base[1], self._limits, now)
        in_force = {halt_kind(halt.reason) for halt in self._store.halts_in_force(now)}
        for halt in due:
            if halt.kind not in in_force:
                self._halt(halt, now)
        if due:
            self._quiet_until = now + _LOOK_AGAIN

    def _halt(self, halt: DueHalt, now: datetime) -> None:
        self._store.halt(at=now, until=halt.until, reason=halt.reason)
        until = "until 'greenlight resume'" if halt.until is None else "for 24 hours"
        text = f"no new entries {until}: {halt.reason}"
        self._notifier.alert(text, event=Event.HALT, is_kept=True)

    def _equity_at(self, at: datetime | None, moved: Moved) -> EquityAt | None:
        if at is None:
            return None
        marks = self._store.equity(at - LAST_MARK, at + timedelta(microseconds=1), "desk")
        if not marks:
            return None
        return moved.since_booked(EquityAt(at=at, equity_usd=marks[-1].equity_usd), marks[-1].at)

    def _last_equity(self) -> Decimal | None:
        if self._broker is None:
            return None
        try:
            return finite(self._broker.account().last_equity)
        except (BrokerUnavailable, BrokerRefused) as error:
            logger.warning("no account: %s", error, extra={"action": "account"})
            return None
