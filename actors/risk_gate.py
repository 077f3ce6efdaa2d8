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
from datetime import date, datetime, timedelta
from typing import Any, Final

from actors.daily_history import DailyHistory
from actors.equity_watch import EquityWatch, base_start
from actors.links import SignalSeen
from actors.measures import Measures, Stopwatch
from actors.order_gateway import OrderGateway
from actors.reconciler import reconciled_by
from actors.refusals import Refusals
from actors.score_review import ScoreReview
from actors.working_entries import WorkingEntries
from greenlight.domain.audit import (
    Decision,
    DecisionKind,
    Figure,
    Verdict,
    instant_text,
    known_figure,
)
from greenlight.domain.corporate_actions import symbol_changes
from greenlight.domain.desk_state import DeskState, RiskLimits
from greenlight.domain.execution import EntryPolicy
from greenlight.domain.halts import EquityBase
from greenlight.domain.market import (
    Quote,
    Unavailable,
    eastern_date,
    session_at,
    session_end_for_hold,
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
from greenlight.domain.risk import RiskVerdict, judge, verdict_figures
from greenlight.domain.signals import entry_decision_id
from greenlight.domain.sizing import recent_volatility, winners_in_a_row
from greenlight.ports import (
    Broker,
    BrokerAccount,
    BrokerRefused,
    BrokerUnavailable,
    Halt,
    JudgingFacts,
    MarketData,
    Notifier,
    Sleep,
    Store,
)

logger = logging.getLogger(__name__)

OPTIONS: Final[dict[str, Any]] = {"name": "risk-gate", "num_cpus": 0.05, "max_concurrency": 2}
HOLDER: Final = "risk-gate"
LEAVE_BEFORE_CLOSE: Final = timedelta(minutes=10)
"""A position whose time is up is left this long before the close, while there is a market."""
_RATE_WINDOW: Final = timedelta(hours=1)
_UNKNOWN: Final = EquityBase(loss_base_usd=None, high_usd=None)

Forecast = Callable[[str, datetime], "float | Unavailable"]
"""A symbol's expected volatility a year as a fraction, answered at once."""


def no_forecast(_: str, __: datetime) -> Unavailable:
    """The `Forecast` of a desk without one."""
    return Unavailable("there is no forecast")


HaltSwitch = Callable[[], "str | None"]
"""Why no entry may be made now, by a switch outside the store; None: it is off."""


def no_switch() -> None:
    """The `HaltSwitch` of a desk without one."""


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
        self._limits = limits
        self._sectors = dict(sectors)
        self._followed: date | None = None
        self._forecast = forecast
        self._halt_switch = halt_switch
        self._history = DailyHistory(market_data)
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
        self._working.settle_all(now)
        self._scores = None
        if scored is not None:
            self._scores = ScoreReview(
                store=store,
                history=self._history,
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
        facts = self._facts(name, now)
        if facts.decided is not None:
            # A refusal stands when its signal comes again, whatever has changed since.
            sent = self._store.order(client_order_id(self._desk, name, Role.ENTRY, 1))
            if sent is not None:
                self._working.settle(sent, now)
            return False
        account = self._account()
        state = self._desk_state(seen, facts, account, now)
        verdict = judge(signal, state, self._limits)
        if state.session is not None:
            self._watch.check(
                state.equity_usd, state.session, now, lambda: self._is_booked(account)
            )
        self._refusals.store_new()
        decision = self._decision(name, seen, verdict, now)
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
        entry = verdict.entry
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

    def _follow_changes(self, day: date) -> None:
        """Once a day: a company under a new symbol stays in its sector."""
        if self._followed == day:
            return
        rows = self._store.decisions(kind=DecisionKind.ADJUST, limit=None)
        for change in symbol_changes(row.decision for row in rows):
            if change.old in self._sectors:
                self._sectors[change.new] = self._sectors[change.old]
        self._followed = day

    def _facts(self, name: str, now: datetime) -> JudgingFacts:
        session = session_at(now)
        return self._store.judging_facts(
            name,
            now,
            entries_since=now - _RATE_WINDOW,
            equity_since=now if session is None else base_start(session),
            trades=self._limits.winners_to_raise,
        )

    def _desk_state(
        self, seen: SignalSeen, facts: JudgingFacts, account: BrokerAccount | None, now: datetime
    ) -> DeskState:
        symbol, session = seen.signal.symbol, session_at(now)
        self._follow_changes(eastern_date(now))
        positions, costs = facts.positions, self._working.costs(facts.open_orders)
        entries = costs.by_symbol
        base = _UNKNOWN
        if session is not None:
            base = self._watch.base(session, facts.lifted, facts.movements)
        wanted = sorted({symbol, *entries, *(p.symbol for p in positions)})
        returns = self._history.returns(wanted, now)
        for name, problem in self._history.problems.items():
            if name in returns:
                self._refusals.add(eastern_date(now), name, problem, now, {})
        own = returns[symbol]
        return DeskState(
            now=now,
            session=session,
            quote=seen.quote,
            equity_usd=None if account is None else account.equity,
            buying_power_usd=(
                None if account is None else account.buying_power - costs.unreserved_usd
            ),
            loss_base_usd=base.loss_base_usd,
            high_usd=base.high_usd,
            positions=positions,
            entries=entries,
            recent_entries=[decision.at for decision in facts.entries],
            halts=self._halts(facts.halts),
            reconciled=reconciled_by(facts.run, facts.reconciled),
            returns=returns,
            sectors=self._sectors,
            winners_in_a_row=winners_in_a_row(facts.trades),
            forecast_vol_ann=self._forecast(symbol, now),
            recent_vol_ann=own if isinstance(own, Unavailable) else recent_volatility(own.values()),
        )

    def _halts(self, in_force: Sequence[Halt]) -> list[str]:
        reasons = [halt.reason for halt in in_force]
        switched = self._halt_switch()
        return reasons if switched is None else [*reasons, switched]

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

    def _decision(
        self, name: str, seen: SignalSeen, verdict: RiskVerdict, now: datetime
    ) -> Decision:
        signal, entry = seen.signal, verdict.entry
        figures: dict[str, Figure] = {
            f"signal.{key}": known_figure(value) for key, value in signal.features.items()
        }
        figures |= {"signal.at": instant_text(signal.at), "signal.confidence": signal.confidence}
        figures |= verdict_figures(verdict)
        if seen.quote is not None:
            figures |= {"bid": known_figure(seen.quote.bid), "ask": known_figure(seen.quote.ask)}
        if entry is not None:
            exit_by = session_end_for_hold(now, signal.hold_sessions) - LEAVE_BEFORE_CLOSE
            figures |= {
                "qty": entry.qty,
                "limit_price": str(entry.limit_price),
                "max_price": str(entry.max_price),
                "stop_price": str(entry.stop_price),
                "target_price": str(entry.target_price),
                "exit_by": instant_text(exit_by),
            }
        failed = verdict.failed
        if not failed:
            decided = Verdict.TAKEN
        elif failed[0].is_moot:
            decided = Verdict.SKIPPED
        else:
            decided = Verdict.REFUSED
        return Decision(
            decision_id=name,
            at=now,
            kind=DecisionKind.ENTRY,
            verdict=decided,
            symbol=signal.symbol,
            strategy=signal.strategy,
            reason=", ".join(rule.rule for rule in failed) or "all rules passed",
            figures=figures,
        )
