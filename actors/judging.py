"""How a signal is judged: the desk's state put together, the chain run, the decision worded.

Before it stands a signal with its quote; after it the risk gate, which records
and sends. It changes nothing, so that the twin judges a recorded session with
the same code: what differs is whose store and account it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from actors.daily_history import DailyHistory
from actors.equity_watch import EquityWatch, base_start
from actors.links import SignalSeen
from actors.reconciler import reconciled_by
from actors.refusals import Refusals
from actors.working_entries import EntryCosts
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
from greenlight.domain.halts import EquityBase
from greenlight.domain.market import (
    Unavailable,
    eastern_date,
    session_at,
    session_end_for_hold,
)
from greenlight.domain.orders import OrderRecord
from greenlight.domain.risk import RiskVerdict, judge, verdict_figures
from greenlight.domain.signals import entry_decision_id
from greenlight.domain.sizing import recent_volatility, winners_in_a_row
from greenlight.ports import BrokerAccount, Halt, JudgingFacts, Store

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A decision with what it was made from."""

    state: DeskState
    verdict: RiskVerdict
    decision: Decision


class Judge:
    """See the module.

    Parameters
    ----------
    costs : Callable[[Sequence[OrderRecord]], EntryCosts]
        What open entries may still cost.
    refusals : Refusals
        Told of histories that cannot be used.
    """

    def __init__(
        self,
        *,
        store: Store,
        desk: str,
        limits: RiskLimits,
        sectors: Mapping[str, str],
        history: DailyHistory,
        watch: EquityWatch,
        costs: Callable[[Sequence[OrderRecord]], EntryCosts],
        refusals: Refusals,
        forecast: Forecast = no_forecast,
        halt_switch: HaltSwitch = no_switch,
    ) -> None:
        self._store = store
        self._desk = desk
        self._limits = limits
        self._sectors = dict(sectors)
        self._history = history
        self._watch = watch
        self._costs = costs
        self._refusals = refusals
        self._forecast = forecast
        self._halt_switch = halt_switch
        self._followed: date | None = None

    def facts(self, name: str, now: datetime) -> JudgingFacts:
        """What a judgement of that name rests on in the store at an instant, aware UTC."""
        session = session_at(now)
        return self._store.judging_facts(
            name,
            now,
            entries_since=now - _RATE_WINDOW,
            equity_since=now if session is None else base_start(session),
            trades=self._limits.winners_to_raise,
        )

    def decide(
        self, seen: SignalSeen, facts: JudgingFacts, account: BrokerAccount | None, now: datetime
    ) -> Judgement:
        """Judge a signal at an instant, aware UTC; without an account the chain refuses."""
        state = self._desk_state(seen, facts, account, now)
        verdict = judge(seen.signal, state, self._limits)
        name = entry_decision_id(self._desk, seen.signal)
        decision = self._decision(name, seen, verdict, now)
        return Judgement(state=state, verdict=verdict, decision=decision)

    def _follow_changes(self, day: date) -> None:
        """Once a day: a company under a new symbol stays in its sector."""
        if self._followed == day:
            return
        rows = self._store.decisions(kind=DecisionKind.ADJUST, limit=None)
        for change in symbol_changes(row.decision for row in rows):
            if change.old in self._sectors:
                self._sectors[change.new] = self._sectors[change.old]
        self._followed = day

    def _desk_state(
        self, seen: SignalSeen, facts: JudgingFacts, account: BrokerAccount | None, now: datetime
    ) -> DeskState:
        symbol, session = seen.signal.symbol, session_at(now)
        self._follow_changes(eastern_date(now))
        positions, costs = facts.positions, self._costs(facts.open_orders)
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
