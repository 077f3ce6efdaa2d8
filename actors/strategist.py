"""The strategist: bars in, signals to the risk gate.

Before it stands market data; after it the risk gate. What the strategies
remember is in the store after every session, and bars since then come from
the broker's history, so a strategist that died goes on as if it had not. A
repeated minute gives the same signals, whose decisions have the same names.
A strategy that fails is counted, recorded and told, and orders nothing.

Every price that a strategy sees is for a share of today: before the first
decision after a split its state is made anew from history in today's shares.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, Final

from actors.links import GateLink, SignalSeen
from actors.measures import Measures
from actors.refusals import Refusals
from greenlight.domain.audit import (
    Decision,
    DecisionKind,
    Figure,
    Verdict,
    instant_text,
    known_figure,
)
from greenlight.domain.corporate_actions import (
    present_symbol,
    present_symbols,
    split_adjusted,
    symbol_changes,
)
from greenlight.domain.indicators import FloatArray
from greenlight.domain.market import (
    Bar,
    Quote,
    Split,
    bar_refusal,
    eastern_date,
    eastern_midnight,
    previous_session,
    session_at,
    session_on,
)
from greenlight.domain.orders import decision_id
from greenlight.domain.sentiment import unread
from greenlight.domain.signals import Missed, Signal, Strategy, entry_decision_id, signal_fault
from greenlight.ports import MarketData, Notifier, SentimentModel, Store, StrategyState

logger = logging.getLogger(__name__)

OPTIONS: Final[dict[str, Any]] = {"name": "strategist", "num_cpus": 0.2, "max_concurrency": 2}
_CALENDAR_DAYS_A_SESSION: Final = 1.6
"""Calendar days in which a session is sure to lie, on the average over weeks."""
_SPLITS_BACK: Final = timedelta(days=365)
"""A state may be so old when the desk comes up again; splits are known for as long."""
_DAILY: Final = "1Day"
_SAMPLE_AT: Final = datetime(2013, 10, 7, 14, 30, tzinfo=UTC)

_Key = tuple[str, str]
_Work = list[tuple[Strategy, Bar]]


class Strategist:
    """Runs every strategy over all symbols.

    Parameters
    ----------
    strategies : Sequence[Strategy]
        Each one's timeframe says which bars it takes: "1Min" as they come,
        "1Day" in the first minute of the next session, when there is a market
        to act in.
    desk : str
        Name of the desk; part of every decision's id.
    monotonic : Callable[[], float]
        Seconds of a clock that never goes back; times the steps.
    deadline_s : float
        A step that took longer, in seconds, is not acted upon.
    """

    def __init__(
        self,
        *,
        strategies: Sequence[Strategy],
        symbols: Sequence[str],
        store: Store,
        market_data: MarketData,
        sentiment: SentimentModel,
        gate: GateLink,
        notifier: Notifier,
        desk: str,
        monotonic: Callable[[], float],
        deadline_s: float,
    ) -> None:
        self._daily = tuple(s for s in strategies if s.timeframe == _DAILY)
        self._minutely = tuple(s for s in strategies if s.timeframe != _DAILY)
        self._symbols = tuple(symbols)
        self._store = store
        self._market_data = market_data
        self._sentiment = sentiment
        self._gate = gate
        self._notifier = notifier
        self._desk = desk
        self._monotonic = monotonic
        self._deadline_s = deadline_s
        self._states: dict[_Key, FloatArray] = {}
        self._seen: dict[_Key, datetime] = {}
        self._recovered: dict[str, datetime] = {}
        self._decided: date | None = None
        self._splits: tuple[Split, ...] = ()
        self._followed: date | None = None
        self._faults: Counter[_Key] = Counter()
        self._told: set[tuple[str, str, date]] = set()
        self._refusals = Refusals(store=store, notifier=notifier, desk=desk)
        for strategy in strategies:
            self._compile(strategy)

    def ping(self) -> str:
        """Answer, as proof of life."""
        return "strategist"

    def status(self) -> dict[str, object]:
        """Failed steps by "strategy reason", and refused bars by "bar reason"."""
        return {"faults": {" ".join(key): count for key, count in self._faults.items()}}

    def measures(self) -> Measures:
        """Failed steps and refused bars since this actor began."""
        faults = {" ".join(key): count for key, count in self._faults.items()}
        return Measures(latencies={}, queues={}, faults=faults)

    def on_minute(
        self, bars: Sequence[Bar], quotes: Sequence[Quote], now: datetime
    ) -> datetime | None:
        """See `StrategistLink.on_minute`."""
        today = eastern_date(now)
        if self._followed != today:
            self._refusals.close(now)
            self._follow_actions(today, now)
        is_first = bool(self._daily) and self._decided != today
        work = self._daily_work(eastern_midnight(today), now) if is_first else []
        work += self._minute_work(bars, now)
        self._refusals.store_new()
        work.sort(key=lambda w: (w[1].start, w[1].symbol))
        result = self._decide(work, quotes, now)
        if is_first:
            self._decided = today
            self.save()
        return result

    def save(self) -> None:
        """See `StrategistLink.save`."""
        self._store.save_strategy_states(
            [
                StrategyState(
                    strategy=name,
                    symbol=symbol,
                    at=at,
                    values=tuple(self._states[name, symbol].tolist()),
                )
                for (name, symbol), at in self._seen.items()
            ]
        )

    # -- a minute
    def _daily_work(self, midnight: datetime, now: datetime) -> _Work:
        for strategy in self._daily:
            if strategy.name not in self._recovered:
                self._recover(strategy, before=midnight, now=now)
        since = min(
            self._seen.get((strategy.name, symbol), self._recovered[strategy.name])
            for strategy in self._daily
            for symbol in self._symbols
        )
        history = self._market_data.bars(self._symbols, _DAILY, since, midnight)
        return [
            (strategy, bar)
            for strategy in self._daily
            for symbol in self._symbols
            for bar in self._usable(self._in_todays_shares(history[symbol]), now)
        ]

    def _minute_work(self, bars: Sequence[Bar], now: datetime) -> _Work:
        bars = _in_session(self._usable(bars, now)) if self._minutely else []
        if not bars:
            return []
        first = min(bar.start for bar in bars)
        for strategy in self._minutely:
            if strategy.name not in self._recovered:
                self._recover(strategy, before=first, now=now)
            elif self._has_gap(strategy, first):
                for symbol in self._symbols:
                    start = self._seen.get((strategy.name, symbol), first)
                    self._warm_up(strategy, symbol, start, first, now)
        return [(strategy, bar) for strategy in self._minutely for bar in bars]

    def _has_gap(self, strategy: Strategy, first: datetime) -> bool:
        """Whether minutes of a session passed without any bar, as where the stream was cut."""
        seen = [at for (name, _), at in self._seen.items() if name == strategy.name]
        session = session_on(eastern_date(first))
        if not seen or session is None:
            return False
        last = max(seen)
        if last >= session.open:
            return last < first
        return first > session.open or last < previous_session(session.day).close

    def _usable(self, bars: Sequence[Bar], now: datetime) -> list[Bar]:
        usable = []
        for bar in bars:
            reason = bar_refusal(bar)
            if reason is None:
                usable.append(bar)
                continue
            self._faults["bar", reason] += 1
            figures: dict[str, Figure] = {"bar.start": instant_text(bar.start), "close": bar.close}
            code = f"history_bar_{reason}"
            self._refusals.add(eastern_date(now), bar.symbol, code, now, figures)
        return usable

    def _decide(self, work: _Work, quotes: Sequence[Quote], now: datetime) -> datetime | None:
        by_symbol = {quote.symbol: quote for quote in quotes}
        before = {key: (state.copy(), self._seen.get(key)) for key, state in self._states.items()}
        try:
            seen = []
            for strategy, bar in work:
                result = self._step(strategy, bar, now)
                if isinstance(result, Signal):
                    self._log(result)
                    seen.append(SignalSeen(signal=result, quote=by_symbol.get(result.symbol)))
                elif isinstance(result, Missed):
                    self._record(result, Verdict.SKIPPED, now)
            return self._gate.judge(seen, now) if seen else None
        except Exception:
            # The minute will come again: forget it, so that it gives the same signals.
            for key, (state, at) in before.items():
                self._states[key] = state
                if at is None:
                    self._seen.pop(key, None)
                else:
                    self._seen[key] = at
            raise

    def _step(self, strategy: Strategy, bar: Bar, now: datetime | None) -> Signal | Missed | None:
        """One step, guarded; without `now` (history) a failure is counted, not recorded."""
        key = (strategy.name, bar.symbol)
        if key not in self._states:
            self._states[key] = strategy.new_state()
        seen = self._seen.get(key)
        if seen is not None and bar.end <= seen:
            return None
        self._seen[key] = bar.end
        state = self._states[key].copy()
        begun_s = self._monotonic()
        try:
            result = strategy.step(state, bar, partial(self._sentiment.read, bar.symbol, bar.end))
        except Exception as error:
            # What it had half changed is thrown away with the copy.
            self._fail(strategy, bar, now, type(error).__name__, f"{error}")
            return None
        self._states[key] = state
        took_s = self._monotonic() - begun_s
        if took_s > self._deadline_s and now is not None:
            self._fail(strategy, bar, now, "too slow", f"{took_s:.3f} s")
            return None
        fault = signal_fault(result, strategy.name, bar) if isinstance(result, Signal) else None
        if fault is not None:
            self._fail(strategy, bar, now, "bad signal", fault)
            return None
        return result

    def _fail(
        self, strategy: Strategy, bar: Bar, now: datetime | None, reason: str, detail: str
    ) -> None:
        self._faults[strategy.name, reason] += 1
        logger.error(
            "%s on %s: %s (%s)",
            strategy.name,
            bar.symbol,
            reason,
            detail,
            extra={"action": "strategy_fault", "symbol": bar.symbol},
        )
        if now is None:
            return
        failed = Missed(
            strategy=strategy.name,
            symbol=bar.symbol,
            at=bar.end,
            reason=f"strategy_error: {reason}",
            features={"detail": detail, "close": bar.close, "deadline_s": self._deadline_s},
        )
        self._record(failed, Verdict.REFUSED, now)
        key = (strategy.name, reason, eastern_date(now))
        if key not in self._told:
            self._told.add(key)
            self._notifier.alert(
                f"strategy {strategy.name} fails on {bar.symbol}: {reason} ({detail}); "
                "nothing is ordered on it"
            )

    def _log(self, signal: Signal) -> None:
        logger.info(
            "signal",
            extra={
                "action": "signal",
                "correlation_id": entry_decision_id(self._desk, signal),
                "symbol": signal.symbol,
                "strategy": signal.strategy,
                "confidence": signal.confidence,
            },
        )

    def _record(self, missed: Missed, verdict: Verdict, now: datetime) -> None:
        parts = (missed.strategy, missed.symbol, instant_text(missed.at), verdict)
        figures = {f"signal.{name}": known_figure(v) for name, v in missed.features.items()}
        self._store.record_decision(
            Decision(
                decision_id=decision_id(self._desk, *parts),
                at=now,
                kind=DecisionKind.ENTRY,
                verdict=verdict,
                symbol=missed.symbol,
                strategy=missed.strategy,
                reason=missed.reason,
                figures={**figures, "signal.at": instant_text(missed.at)},
            )
        )

    # -- corporate actions
    def _follow_actions(self, today: date, now: datetime) -> None:
        """Once a day, before its first decision: new names, then splits.

        Raises `BrokerUnavailable` where the splits cannot be known: nothing is
        decided on a price that may be of another share.
        """
        rows = self._store.decisions(kind=DecisionKind.ADJUST, limit=None)
        changes = symbol_changes(row.decision for row in rows)
        names = present_symbols(self._symbols, changes)
        if names != self._symbols:
            self._states = {
                (n, present_symbol(s, changes)): v for (n, s), v in self._states.items()
            }
            self._seen = {(n, present_symbol(s, changes)): v for (n, s), v in self._seen.items()}
            self._symbols = names
        strategies = (*self._daily, *self._minutely)
        longest = max((timedelta(days=_warmup_days(s)) for s in strategies), default=_SPLITS_BACK)
        first = today - _SPLITS_BACK - longest
        self._splits = self._market_data.splits(self._symbols, first, today)
        for strategy in strategies:
            for symbol in self._symbols:
                ex_date = self._split_since(strategy, symbol, today)
                if ex_date is not None:
                    self._rebuild(strategy, symbol, ex_date, now)
        self._followed = today

    def _split_since(self, strategy: Strategy, symbol: str, today: date) -> date | None:
        """The last split that the state of a symbol has not seen, by its ex-date."""
        seen = self._seen.get((strategy.name, symbol))
        if seen is None:
            return None
        unseen = [
            split.ex_date
            for split in self._splits
            if split.symbol == symbol and eastern_date(seen) < split.ex_date <= today
        ]
        return max(unseen, default=None)

    def _rebuild(self, strategy: Strategy, symbol: str, ex_date: date, now: datetime) -> None:
        """The state after the bars it has seen, made of them in the new shares.

        It begins at an instant that depends on the ex-date alone, so that a
        strategist which died meanwhile makes the same.
        """
        key = strategy.name, symbol
        seen = self._seen.pop(key)
        warmup = timedelta(days=_warmup_days(strategy))
        start = eastern_midnight(ex_date) - warmup
        self._states[key] = strategy.new_state()
        self._warm_up(strategy, symbol, start if start < seen else seen - warmup, seen, now)
        self._seen[key] = seen
        logger.info("state made anew", extra={"action": "split", "symbol": symbol})

    def _warm_up(
        self, strategy: Strategy, symbol: str, start: datetime, end: datetime, now: datetime
    ) -> None:
        """Move the state over history that ended by `end`; nothing is decided on it."""
        history = self._market_data.bars([symbol], strategy.timeframe, start, end)
        bars = self._usable(self._in_todays_shares(history[symbol]), now)
        for bar in bars if strategy.timeframe == _DAILY else _in_session(bars):
            if bar.end <= end:
                self._step(strategy, bar, None)

    def _in_todays_shares(self, bars: Sequence[Bar]) -> list[Bar]:
        # Splits that are known are those up to today.
        return split_adjusted(bars, self._splits, date.max)

    # -- recovery
    def _compile(self, strategy: Strategy) -> None:
        """One step on a made-up bar: compiling takes seconds, which no bar should wait."""
        bar = Bar(
            symbol="SAMPLE",
            start=_SAMPLE_AT,
            end=_SAMPLE_AT + timedelta(minutes=1),
            open=100.0,
            high=101.0,
            low=99.0,
            close=100.0,
            volume=100,
        )
        try:
            strategy.step(strategy.new_state(), bar, unread)
        except Exception:
            # It will fail on real bars too, and there it is recorded.
            logger.exception("%s fails", strategy.name, extra={"action": "strategy_fault"})

    def _recover(self, strategy: Strategy, *, before: datetime, now: datetime) -> None:
        name, faults = strategy.name, self._faults.copy()
        for symbol in self._symbols:
            self._states[name, symbol] = strategy.new_state()
            self._seen.pop((name, symbol), None)
        rows = self._store.decisions(kind=DecisionKind.ADJUST, limit=None)
        changes = symbol_changes(row.decision for row in rows)
        for saved in self._store.strategy_states(name):
            symbol = present_symbol(saved.symbol, changes)
            state = self._states.get((name, symbol))
            is_older = saved.at < self._seen.get((name, symbol), saved.at)
            if is_older or state is None or len(saved.values) != len(state) or saved.at > before:
                continue
            state[:] = saved.values
            self._seen[name, symbol] = saved.at
        warmup = timedelta(days=_warmup_days(strategy))
        for symbol in self._symbols:
            ex_date = self._split_since(strategy, symbol, eastern_date(before))
            if ex_date is not None:
                self._rebuild(strategy, symbol, ex_date, now)
            if strategy.timeframe == _DAILY and (name, symbol) in self._seen:
                # Daily bars since then are decided now, in `_decide`. Minute bars since
                # then are decided or too old to act upon, and only move the state.
                continue
            start = self._seen.get((name, symbol), before - warmup)
            self._warm_up(strategy, symbol, start, before, now)
        self._recovered[name] = before
        self._record_recovery(name, self._faults - faults, now)
        self.save()
        logger.info("%s is warm", name, extra={"action": "recover", "symbols": len(self._symbols)})

    def _record_recovery(self, strategy: str, faults: Counter[_Key], now: datetime) -> None:
        """One row for each reason that bars of the history failed for, with their number."""
        for (name, reason), count in sorted(faults.items()):
            if name != strategy:
                continue
            self._store.record_decision(
                Decision(
                    decision_id=decision_id(self._desk, name, reason, "warm-up", instant_text(now)),
                    at=now,
                    kind=DecisionKind.DATA,
                    verdict=Verdict.REFUSED,
                    symbol=None,
                    strategy=name,
                    reason=f"strategy_error: {reason} in the history",
                    figures={"count": count, "session": str(eastern_date(now)), "is_final": True},
                )
            )


def _in_session(bars: Sequence[Bar]) -> list[Bar]:
    """Without the bars of extended hours, which Alpaca's history has too."""
    return [bar for bar in bars if session_at(bar.start) is not None]


def _warmup_days(strategy: Strategy) -> float:
    bars_a_session = 1 if strategy.timeframe == _DAILY else 390
    sessions = -(-strategy.warmup_bars // bars_a_session)
    return 7 + sessions * _CALENDAR_DAYS_A_SESSION
