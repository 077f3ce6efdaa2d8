"""Several strategies at once: each on its own bars, and one that fails harms nobody."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.links import SignalSeen
from actors.strategist import Strategist
from greenlight.domain.audit import Decision, DecisionKind, Verdict
from greenlight.domain.indicators import FloatArray
from greenlight.domain.market import Bar, Quote, Session, eastern_midnight, sessions_between
from greenlight.domain.mean_reversion import MeanReversion
from greenlight.domain.news_reversal import NewsReversal
from greenlight.domain.opening_range import OpeningRange
from greenlight.domain.sentiment import Look
from greenlight.domain.signals import Missed, Signal, Strategy
from greenlight.ports import SentimentModel, StoreUnavailable
from greenlight.testing import FakeNotifier, FakeSentiment, FakeStore
from greenlight.testing_broker import FakeMarketData

SYMBOLS = ("AAPL", "IBM")
SESSIONS = sessions_between(date(2013, 7, 1), date(2013, 10, 31))
FIRST = 60
"""The desk starts on this session; the ones before are history."""
MINUTES = 20
"""Minutes of each session that are played."""
DAYS = 8
ALL: tuple[Strategy, ...] = (
    MeanReversion(period=2, trend_period=10, max_atr_frac=0.0),
    NewsReversal(period=2, volatility_bars=5, min_sigmas=1.0, turn_bars=3),
    OpeningRange(period=2, range_minutes=5, volume_factor=0.5),
)


class Gate:
    """Keeps the signals; raises `failures` times before it takes any."""

    def __init__(self) -> None:
        self.signals: list[Signal] = []
        self.failures = 0

    def judge(self, signals: Sequence[SignalSeen], now: datetime) -> datetime | None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("made to fail")
        self.signals += [seen.signal for seen in signals]
        return now + timedelta(minutes=5)

    def sweep(self, quotes: Sequence[Quote], now: datetime) -> datetime | None:
        raise AssertionError("the strategist never sweeps")


def wave(symbol: str, number: float) -> float:
    shift = SYMBOLS.index(symbol)
    return 100 + 5 * math.sin(number * 1.3 + shift) + 3 * math.sin(number * 0.31)


def make_bar(symbol: str, start: datetime, end: datetime, close: float) -> Bar:
    return Bar(
        symbol=symbol,
        start=start,
        end=end,
        open=close,
        high=close + 0.01,
        low=close - 0.01,
        close=close,
        volume=100,
    )


def daily_bars() -> list[Bar]:
    return [
        make_bar(symbol, eastern_midnight(session.day), session.close, wave(symbol, number))
        for number, session in enumerate(SESSIONS)
        for symbol in SYMBOLS
    ]


def minute_bars(session: Session) -> list[list[Bar]]:
    """By minute; the price of a session rises and falls around 100."""
    day = session.day.toordinal()
    result = []
    for minute in range(MINUTES):
        start = session.open + timedelta(minutes=minute)
        price = [100 + 2 * math.sin(minute * 0.7 + day + i) for i in range(len(SYMBOLS))]
        result.append(
            [
                make_bar(symbol, start, start + timedelta(minutes=1), close)
                for symbol, close in zip(SYMBOLS, price, strict=True)
            ]
        )
    return result


@dataclass
class World:
    """Everything around a strategist that may die."""

    strategies: tuple[Strategy, ...] = ALL
    sentiment: SentimentModel = field(
        default_factory=lambda: FakeSentiment(dict.fromkeys(SYMBOLS, -0.5))
    )
    store: FakeStore = field(default_factory=FakeStore)
    gate: Gate = field(default_factory=Gate)
    notifier: FakeNotifier = field(default_factory=FakeNotifier)
    data: FakeMarketData = field(default_factory=lambda: FakeMarketData(bars=daily_bars()))
    clock_s: float = 0.0

    def start(self) -> Strategist:
        return Strategist(
            strategies=self.strategies,
            symbols=SYMBOLS,
            store=self.store,
            market_data=self.data,
            sentiment=self.sentiment,
            gate=self.gate,
            notifier=self.notifier,
            desk="t",
            monotonic=lambda: self.clock_s,
            deadline_s=1.0,
        )

    def decisions(self) -> list[Decision]:
        return [row.decision for row in self.store.decisions(limit=None)]


def run(
    world: World,
    *,
    sessions: int = DAYS,
    deaths: frozenset[int] = frozenset(),
    failures: frozenset[int] = frozenset(),
) -> list[Signal]:
    """Play minutes; the strategist dies before, the gate fails in, the minutes named."""
    actor = world.start()
    minutes = [bars for s in SESSIONS[FIRST : FIRST + sessions] for bars in minute_bars(s)]
    for number, bars in enumerate(minutes):
        world.data.history += bars
        if number in deaths:
            actor = world.start()
        world.gate.failures = int(number in failures)
        try:
            actor.on_minute(bars, [], bars[0].end)
        except StoreUnavailable:
            actor.on_minute(bars, [], bars[0].end)
        world.gate.failures = 0
        if number % MINUTES == MINUTES - 1:
            actor.save()
    return world.gate.signals


CALM = World()
UNDISTURBED = run(CALM)


def test_decide_when_three_strategies_run_then_each_gives_its_signals() -> None:
    assert {signal.strategy for signal in UNDISTURBED} == {s.name for s in ALL}
    for signal in UNDISTURBED:
        is_minute = signal.strategy == "opening_range"
        assert (signal.at.minute != 0) == is_minute
    # The daily ones act in a session's first minute on the close before it.
    assert len({(s.strategy, s.symbol, s.at) for s in UNDISTURBED}) == len(UNDISTURBED)


@pytest.mark.parametrize("strategy", ALL, ids=lambda s: s.name)
def test_decide_when_a_strategy_runs_alone_then_the_same_signals(strategy: Strategy) -> None:
    alone = run(World(strategies=(strategy,)))
    assert alone == [s for s in UNDISTURBED if s.strategy == strategy.name]


@settings(deadline=None, max_examples=25)
@given(st.frozensets(st.integers(0, DAYS * MINUTES - 1), max_size=8), st.data())
def test_restart_when_killed_and_failing_anywhere_then_same_signals_and_rows(
    deaths: frozenset[int], data: st.DataObject
) -> None:
    failures = data.draw(st.frozensets(st.integers(0, DAYS * MINUTES - 1), max_size=8))
    world = World()
    assert run(world, deaths=deaths, failures=failures) == UNDISTURBED
    assert world.decisions() == CALM.decisions()


def test_decide_when_nobody_reads_the_news_then_falls_are_rows_and_b_stays_out() -> None:
    world = World(sentiment=FakeSentiment())
    signals = run(world)
    assert signals == [s for s in UNDISTURBED if s.strategy != "news_reversal"]
    rows = world.decisions()
    assert rows
    for row in rows:
        assert (row.kind, row.verdict) == (DecisionKind.ENTRY, Verdict.SKIPPED)
        assert (row.strategy, row.reason) == (
            "news_reversal",
            "sentiment unavailable: no headlines",
        )
        assert float(str(row.figures["signal.fall_sigmas"])) >= 1.0
        assert row.figures["signal.at"]


def test_decide_when_news_is_read_then_as_of_the_bars_end() -> None:
    sentiment = FakeSentiment(dict.fromkeys(SYMBOLS, -0.5))
    run(World(sentiment=sentiment))
    closes = {session.close for session in SESSIONS}
    assert sentiment.asked
    assert {at for _, at in sentiment.asked} <= closes


def test_decide_when_bars_lie_outside_the_session_then_passed_over() -> None:
    world = World(strategies=(OpeningRange(period=2, range_minutes=5),))
    actor = world.start()
    before = SESSIONS[FIRST].open - timedelta(minutes=30)
    early = [make_bar(s, before, before + timedelta(minutes=1), 100.0) for s in SYMBOLS]
    assert actor.on_minute(early, [], early[0].end) is None
    actor.save()
    assert world.store.strategy_states("opening_range") == []


def test_decide_when_a_bar_cannot_be_true_then_counted_and_no_indicator_sees_it() -> None:
    world = World()
    actor = world.start()
    for number, bars in enumerate(
        b for s in SESSIONS[FIRST : FIRST + DAYS] for b in minute_bars(s)
    ):
        world.data.history += bars
        bad = [replace(bars[0], close=math.nan), replace(bars[1], low=-1.0)]
        actor.on_minute([*bad, *bars], [], bars[0].end)
        if number % MINUTES == MINUTES - 1:
            actor.save()
    assert world.gate.signals == UNDISTURBED
    times = DAYS * MINUTES
    assert actor.status() == {"faults": {"bar not_finite": times, "bar not_positive": times}}
    rows = [d for d in world.decisions() if d.kind is DecisionKind.DATA]
    firsts = [d for d in rows if "count" not in d.figures]
    assert {(d.reason, d.verdict) for d in firsts} == {
        ("history_bar_not_finite", Verdict.REFUSED),
        ("history_bar_not_positive", Verdict.REFUSED),
    }
    # Told once a kind and session; a session's number is stored when the next one begins.
    assert len(firsts) == len(world.notifier.alerts) == 2 * DAYS
    finals = [d.figures["count"] for d in rows if d.figures.get("is_final")]
    assert finals == [MINUTES] * 2 * (DAYS - 1)


# -- strategies that fail

AT = datetime(2013, 10, 7, 13, 30, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """Gives a good signal on every bar, changed as told; from bar `healthy` on it raises."""

    change: dict[str, object] = field(default_factory=dict)
    healthy: int = 10**9
    world: World | None = None
    takes_s: float = 0.0
    name: str = "broken"
    timeframe: str = "1Min"
    warmup_bars: int = 0

    def new_state(self) -> FloatArray:
        return np.zeros(1)

    def step(self, state: FloatArray, bar: Bar, look: Look) -> Signal | Missed | None:
        state[0] += 1
        if state[0] > self.healthy:
            raise ZeroDivisionError("by a strategy")
        if self.world is not None:
            self.world.clock_s += self.takes_s
        good = Signal(
            strategy=self.name,
            symbol=bar.symbol,
            at=bar.end,
            confidence=3,
            reference_price=bar.close,
            atr_usd=1.0,
            stop_frac=0.05,
            target_frac=0.05,
            hold_sessions=1,
            features={},
        )
        return replace(good, **self.change)  # type: ignore[arg-type]


def play(world: World, minutes: int = 3, start: datetime = AT) -> Strategist:
    actor = world.start()
    for minute in range(minutes):
        at = start + timedelta(minutes=minute)
        bars = [make_bar(s, at, at + timedelta(minutes=1), 100.0) for s in SYMBOLS]
        world.data.history += bars
        actor.on_minute(bars, [], bars[0].end)
    return actor


def check_refused(world: World, actor: Strategist, reason: str, rows: int) -> None:
    assert world.gate.signals == []
    found = world.decisions()
    assert len(found) == rows
    assert {(r.kind, r.verdict, r.strategy) for r in found} == {
        (DecisionKind.ENTRY, Verdict.REFUSED, "broken")
    }
    assert {r.reason for r in found} == {f"strategy_error: {reason}"}
    assert all(r.figures["signal.detail"] for r in found)
    assert actor.status() == {"faults": {f"broken {reason}": rows}}
    # Told once, not once a bar.
    assert len(world.notifier.alerts) == 1
    assert reason in world.notifier.alerts[0]


@pytest.mark.parametrize(
    "change",
    [
        {"confidence": math.nan},
        {"reference_price": math.nan},
        {"stop_frac": math.nan},
        {"atr_usd": math.inf},
        {"stop_frac": 0.5},
    ],
)
def test_guard_when_signal_is_bad_then_counted_stored_told_once_and_not_ordered(
    change: dict[str, object],
) -> None:
    world = World(strategies=(Broken(change=change),))
    check_refused(world, play(world), "bad signal", 6)


def test_guard_when_it_raises_then_counted_stored_told_once_and_state_is_kept() -> None:
    world = World(strategies=(Broken(healthy=0),))
    actor = play(world)
    check_refused(world, actor, "ZeroDivisionError", 6)
    actor.save()
    assert {s.values for s in world.store.strategy_states("broken")} == {(0.0,)}


def test_guard_when_it_takes_too_long_then_counted_stored_told_once_and_not_ordered() -> None:
    world = World()
    world.strategies = (Broken(world=world, takes_s=1.5),)
    check_refused(world, play(world), "too slow", 6)


def test_guard_when_a_session_is_over_then_told_again() -> None:
    world = World(strategies=(Broken(healthy=0),))
    actor = play(world, minutes=1)
    for day in (1, 2):
        at = AT + timedelta(days=day)
        bars = [make_bar(s, at, at + timedelta(minutes=1), 100.0) for s in SYMBOLS]
        actor.on_minute(bars, [], bars[0].end)
    assert len(world.notifier.alerts) == 3


def test_guard_when_one_fails_then_the_others_go_on() -> None:
    world = World(strategies=(*ALL, Broken(healthy=0)))
    assert run(world) == UNDISTURBED
    assert len(world.notifier.alerts) == DAYS
