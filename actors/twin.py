"""The twin: a recorded session decided again, by the code that decided it live.

Before it stand a desk's rows (bars, ledger, forecasts) and the history known
then; after it `jobs.twin`, which holds both sides against each other. The
strategies start where the account did and run over the recorded bars; each
signal is judged on the ledger as it stood (`twin_ledger`). Four things came
from outside and left no row but the decision's own, and are read from there:
the instant of the decision, the quote with its age, equity and buying power.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final, cast

from actors.daily_history import DailyHistory
from actors.equity_watch import EquityWatch
from actors.judging import Forecast, Judge
from actors.links import SignalSeen
from actors.order_gateway import OrderGateway
from actors.refusals import Refusals
from actors.strategist import Strategist
from actors.twin_ledger import TwinLedger
from actors.working_entries import WorkingEntries
from greenlight.domain.alerts import Event
from greenlight.domain.audit import ChainedDecision, Decision, DecisionKind, instant_text
from greenlight.domain.corporate_actions import present_symbols, symbol_changes
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.execution import EntryPolicy
from greenlight.domain.market import Bar, Quote, Session, eastern_date, sessions_between
from greenlight.domain.signals import Strategy, entry_decision_id
from greenlight.ports import (
    Broker,
    BrokerAccount,
    BrokerUnavailable,
    MarketData,
    SentimentModel,
    Store,
)

FROM_THE_ROW: Final = ("at", "bid", "ask", "fresh_quote", "no_leverage.limit", "buying_power.limit")
"""What no other row tells; a change of it shows in what follows from it alone."""
_DAILY: Final = "1Day"
_SWITCH: Final = "file "
"""How the reason of a halt by the file begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinDesk:
    """What the desk was told: the same settings as live.

    `forecast` reads the store's forecasts as of an instant, `sentiment` answers as it
    did. `every_minute`: a strategy decides on minutes.
    """

    desk: str
    strategies: Sequence[Strategy]
    symbols: Sequence[str]
    limits: RiskLimits
    sectors: Mapping[str, str]
    execution: EntryPolicy
    market_data: MarketData
    sentiment: SentimentModel
    forecast: Forecast
    every_minute: bool


def decide_again(store: Store, told: TwinDesk, start: date, end: date) -> list[Decision]:
    """The entry decisions of the sessions from `start` to `end`, both included, made again.

    Returns
    -------
    list[Decision]
        Of kind ENTRY, in the order in which they were made.

    Raises
    ------
    BrokerUnavailable
        The history is not to be had.
    StoreUnavailable
        The store does not answer.
    """
    first = store.first_run()
    if first is None:
        return []
    ledger = TwinLedger(store, told.desk)
    rows = store.decisions(kind=DecisionKind.ENTRY, limit=None)
    gate = _TwinGate(ledger, told, rows)
    strategist = Strategist(
        strategies=told.strategies,
        symbols=told.symbols,
        store=cast(Store, ledger),
        market_data=told.market_data,
        sentiment=told.sentiment,
        gate=gate,
        notifier=_Silent(),
        desk=told.desk,
        monotonic=lambda: 0.0,
        deadline_s=math.inf,
    )
    daily = {strategy.name for strategy in told.strategies if strategy.timeframe == _DAILY}
    adjusted = (row.decision for row in store.decisions(kind=DecisionKind.ADJUST, limit=None))
    names = {*told.symbols, *present_symbols(told.symbols, symbol_changes(adjusted))}
    for session in sessions_between(eastern_date(first.started_at), end):
        minutes = _minutes(store, names, session)
        if not told.every_minute:
            minutes = minutes[:1]
        instants = _instants(rows, session, daily)
        for number, (ended, bars) in enumerate(minutes):
            now = instants.get(instant_text(ended), ended)
            if number == 0:
                now = instants.get(_DAILY, now)
                ledger.stand_at(now)
            strategist.on_minute(bars, [], now)
    return [
        row
        for row in ledger.decided
        if row.kind is DecisionKind.ENTRY and start <= eastern_date(row.at) <= end
    ]


def _minutes(
    store: Store, symbols: Collection[str], session: Session
) -> list[tuple[datetime, list[Bar]]]:
    """The session's recorded bars by the end of their minute."""
    found: dict[datetime, list[Bar]] = {}
    for symbol in sorted(symbols):
        for bar in store.bars(symbol, "1Min", session.open, session.close):
            found.setdefault(bar.end, []).append(bar)
    return sorted(found.items())


def _instants(
    rows: Sequence[ChainedDecision], session: Session, daily: set[str]
) -> dict[str, datetime]:
    """When the session's decisions were made: by their bar's end, daily ones together."""
    found: dict[str, datetime] = {}
    for row in rows:
        decision = row.decision
        if session.open <= decision.at < session.close + timedelta(hours=1):
            is_daily = decision.strategy in daily
            key = _DAILY if is_daily else str(decision.figures.get("signal.at"))
            found[key] = min(found.get(key, decision.at), decision.at)
    return found


class _Silent:
    """A `Notifier` that tells nobody: what there was to tell was told then."""

    def alert(self, text: str, *, event: Event = Event.TROUBLE, is_kept: bool = False) -> None:
        pass


class _RecordedAccount:
    """The part of `Broker` that is asked where an account has no close yet."""

    def __init__(self) -> None:
        self.seen: BrokerAccount | None = None

    def account(self) -> BrokerAccount:
        if self.seen is None:
            raise BrokerUnavailable("the row tells no account")
        return self.seen


class _TwinGate:
    """A `GateLink` that judges each signal on what stood before its own row, and sends nothing."""

    def __init__(
        self,
        ledger: TwinLedger,
        told: TwinDesk,
        rows: Sequence[ChainedDecision],
    ) -> None:
        store, notifier = cast(Store, ledger), _Silent()
        self._recorded = _RecordedAccount()
        broker = cast(Broker, self._recorded)
        self._ledger = ledger
        self._desk = told.desk
        self._rows = {row.decision.decision_id: row for row in rows}
        self._row: ChainedDecision | None = None
        gateway = OrderGateway(
            store=store, broker=broker, desk=told.desk, holder="twin", sleep=lambda _: None
        )
        self._working = WorkingEntries(
            store=store,
            gateway=gateway,
            desk=told.desk,
            policy=told.execution,
            limits=told.limits,
        )
        self._judge = Judge(
            store=store,
            desk=told.desk,
            limits=told.limits,
            sectors=told.sectors,
            history=DailyHistory(told.market_data),
            watch=EquityWatch(store=store, broker=broker, notifier=notifier, limits=told.limits),
            costs=self._working.costs,
            refusals=Refusals(store=store, notifier=notifier, desk=told.desk),
            forecast=told.forecast,
            halt_switch=self._switch,
        )

    def judge(self, signals: Sequence[SignalSeen], now: datetime) -> datetime | None:
        """See `GateLink.judge`."""
        for seen in signals:
            name = entry_decision_id(self._desk, seen.signal)
            row = self._row = self._rows.get(name)
            at = now if row is None else row.decision.at
            self._ledger.stand_at(at, None if row is None else row.seq)
            facts = self._judge.facts(name, at)
            unreserved = self._working.costs(facts.open_orders).unreserved_usd
            quote = None if row is None else _quote(row.decision)
            account = None if row is None else _account(row.decision, unreserved)
            self._recorded.seen = account
            again = SignalSeen(signal=seen.signal, quote=quote)
            found = self._judge.decide(again, facts, account, at)
            self._ledger.record_decision(found.decision)
        return None

    def sweep(self, quotes: Sequence[Quote], now: datetime) -> datetime | None:
        """Nothing rests."""
        return None

    def review(self, quotes: Sequence[Quote], now: datetime) -> list[str]:
        """Nothing is held."""
        return []

    def _switch(self) -> str | None:
        """The halt by the file, which no row but the decision's own tells."""
        row = self._row
        told = "" if row is None else str(row.decision.figures.get("not_halted") or "")
        last = told.split("; ")[-1]
        return last if last.startswith(_SWITCH) else None


def _account(decision: Decision, unreserved_usd: Decimal) -> BrokerAccount | None:
    """The account that the decision saw, from its figures."""
    equity, power = _usd(decision, "no_leverage.limit"), _usd(decision, "buying_power.limit")
    if equity is None:
        return None
    return BrokerAccount(
        account_number="",
        status="ACTIVE",
        equity=equity,
        last_equity=equity + (_usd(decision, "daily_loss") or Decimal(0)),
        cash=equity,
        buying_power=Decimal("NaN") if power is None else power + unreserved_usd,
        is_trading_blocked=False,
    )


def _usd(decision: Decision, name: str) -> Decimal | None:
    value = decision.figures.get(name)
    return Decimal(repr(value)) if isinstance(value, int | float) else None


def _quote(decision: Decision) -> Quote | None:
    """The quote that the decision saw, from its figures."""
    bid, ask, age_s = (decision.figures.get(name) for name in ("bid", "ask", "fresh_quote"))
    if not all(isinstance(value, int | float) for value in (bid, ask, age_s)):
        return None
    return Quote(
        symbol=str(decision.symbol),
        at=decision.at - timedelta(seconds=float(age_s or 0)),
        bid=float(bid or 0),
        ask=float(ask or 0),
        bid_size=0,
        ask_size=0,
    )
