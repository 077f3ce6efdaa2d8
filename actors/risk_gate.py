"""The risk gate: judges signals, sizes them, records the decision, sends the entry.

Before it stands the strategist; after it the broker and, once an entry fills,
the position monitor. What rests is worked by `working_entries`. It keeps nothing
but its gateway and the session's daily histories: every judgement reads
positions, orders, trades and halts from the store and the account from the broker.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from actors.daily_history import DailyHistory
from actors.equity_watch import EquityWatch
from actors.judging import Forecast, HaltSwitch, Judge, no_forecast, no_switch
from actors.links import SignalSeen
from actors.measures import Measures, Stopwatch
from actors.order_gateway import OrderGateway
from actors.refusals import Refusals
from actors.score_review import ScoreReview
from actors.working_entries import WorkingEntries
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.execution import EntryPolicy
from greenlight.domain.market import (
    Quote,
    session_at,
)
from greenlight.domain.orders import (
    Accepted,
    OrderKind,
    Role,
    Side,
    TimeInForce,
    client_order_id,
)
from greenlight.domain.reconcile import CASH_TOLERANCE_USD
from greenlight.domain.signals import entry_decision_id
from greenlight.ports import (
    Broker,
    BrokerAccount,
    BrokerRefused,
    BrokerUnavailable,
    MarketData,
    Notifier,
    Sleep,
    Store,
)

logger = logging.getLogger(__name__)

OPTIONS: Final[dict[str, Any]] = {"name": "risk-gate", "num_cpus": 0.05, "max_concurrency": 2}
HOLDER: Final = "risk-gate"


class RiskGate:
    """See the module. The constructor settles entries whose sender died.

    Parameters
    ----------
    sectors : Mapping[str, str]
        Sector by symbol.
    execution : EntryPolicy
        How long an entry rests, and how often it is priced again.
    forecast : Forecast
        Where the expected volatility comes from.
    halt_switch : HaltSwitch
        Asked before every entry.
    desk_epoch : int | None
        See `OrderGateway`.
    scored : Sequence[str] | None
        The universe that scores are acted upon in; None: they are not.
    monotonic : Callable[[], float]
        Seconds of a clock that never goes back; measures, and decides nothing.
    """

    def __init__(
        self,
        *,
        store: Store,
        broker: Broker,
        market_data: MarketData,
        notifier: Notifier,
        desk: str,
        limits: RiskLimits,
        sectors: Mapping[str, str],
        execution: EntryPolicy,
        now: datetime,
        sleep: Sleep,
        forecast: Forecast = no_forecast,
        halt_switch: HaltSwitch = no_switch,
        desk_epoch: int | None = None,
        scored: Sequence[str] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._broker = broker
        self._desk = desk
        history = DailyHistory(market_data)
        self._monotonic = monotonic
        self._signal_to_order = Stopwatch()
        self._refusals = Refusals(store=store, notifier=notifier, desk=desk)
        self._watch = EquityWatch(store=store, broker=broker, notifier=notifier, limits=limits)
        # The strategist's signals and market data's sweeps come on threads of their own.
        self._turn = threading.Lock()
        self._gateway = OrderGateway(
            store=store,
            broker=broker,
            desk=desk,
            holder=HOLDER,
            sleep=sleep,
            desk_epoch=desk_epoch,
        )
        self._working = WorkingEntries(
            store=store, gateway=self._gateway, desk=desk, policy=execution, limits=limits
        )
        self._judge = Judge(
            store=store,
            desk=desk,
            limits=limits,
            sectors=sectors,
            history=history,
            watch=self._watch,
            costs=self._working.costs,
            refusals=self._refusals,
            forecast=forecast,
            halt_switch=halt_switch,
        )
        self._working.settle_all(now)
        self._scores = None
        if scored is not None:
            self._scores = ScoreReview(
                store=store,
                history=history,
                desk=desk,
                symbols=scored,
                sectors=sectors,
                limits=limits,
                forecast=forecast,
            )

    def ping(self) -> str:
        """Answer, as proof of life."""
        return HOLDER

    def measures(self) -> Measures:
        """How long signals took to become orders, since this actor began."""
        latencies = {"signal_to_order": self._signal_to_order.read()}
        return Measures(latencies=latencies, queues={}, faults=dict(self._refusals.by_reason))

    @property
    def is_fenced(self) -> bool:
        """Whether another gate has taken over, so that this one should end."""
        return self._gateway.is_fenced

    def judge(self, signals: Sequence[SignalSeen], now: datetime) -> datetime | None:
        """See `GateLink.judge`. Signals are judged one by one in the order given."""
        arrived_s = self._monotonic()
        with self._turn:
            for seen in signals:
                if self._judge_one(seen, now):
                    self._signal_to_order.add(self._monotonic() - arrived_s)
            return self._working.next_look(now)

    def sweep(self, quotes: Sequence[Quote], now: datetime) -> datetime | None:
        """See `GateLink.sweep`."""
        with self._turn:
            self._working.sweep(quotes, now)
            if session_at(now) is None:
                self._refusals.close(now)
            return self._working.next_look(now)

    def review(self, quotes: Sequence[Quote], now: datetime) -> list[str]:
        """See `GateLink.review`."""
        with self._turn:
            return [] if self._scores is None else self._scores.act(quotes, now)

    # -- one signal
    def _judge_one(self, seen: SignalSeen, now: datetime) -> bool:
        """Whether the broker has accepted an entry on it now."""
        signal = seen.signal
        name = entry_decision_id(self._desk, signal)
        facts = self._judge.facts(name, now)
        if facts.decided is not None:
            # A refusal stands when its signal comes again, whatever has changed since.
            sent = self._store.order(client_order_id(self._desk, name, Role.ENTRY, 1))
            if sent is not None:
                self._working.settle(sent, now)
            return False
        account = self._account()
        found = self._judge.decide(seen, facts, account, now)
        if found.state.session is not None:
            self._watch.check(
                found.state.equity_usd, found.state.session, now, lambda: self._is_booked(account)
            )
        self._refusals.store_new()
        decision = found.decision
        logger.info(
            "signal %s: %s",
            decision.verdict,
            decision.reason,
            extra={
                "action": "judge",
                "correlation_id": name,
                "symbol": signal.symbol,
                "strategy": signal.strategy,
                "verdict": decision.verdict,
            },
        )
        entry = found.verdict.entry
        if entry is None:
            self._store.record_decision(decision)
            return False
        outcome = self._gateway.send(
            decision=decision,
            decision_id=name,
            role=Role.ENTRY,
            attempt=1,
            symbol=signal.symbol,
            side=Side.BUY,
            kind=OrderKind.LIMIT,
            qty=entry.qty,
            limit_price=entry.limit_price,
            stop_price=None,
            time_in_force=TimeInForce.DAY,
            at=now,
        )
        return isinstance(outcome, Accepted)

    def _account(self) -> BrokerAccount | None:
        try:
            account = self._broker.account()
        except (BrokerUnavailable, BrokerRefused) as error:
            logger.warning("no account: %s", error, extra={"action": "account"})
            return None
        return None if account.is_trading_blocked else account

    def _is_booked(self, account: BrokerAccount | None) -> bool:
        """Whether the ledger has all that moved the broker's cash: a withdrawal is no loss."""
        cash = self._store.cash()
        return account is None or cash is None or abs(account.cash - cash) < CASH_TOLERANCE_USD
