"""A strategist that dies anywhere gives the signals of one that lives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.links import SignalSeen
from actors.strategist import Strategist
from greenlight.domain.market import Bar, Quote, eastern_midnight, sessions_between
from greenlight.domain.mean_reversion import MeanReversion
from greenlight.domain.sentiment import unread
from greenlight.domain.signals import Signal, Strategy
from greenlight.ports import StoreUnavailable
from greenlight.testing import FakeNotifier, FakeSentiment, FakeStore
from greenlight.testing_broker import FakeMarketData

SYMBOLS = ("AAPL", "IBM")
DAILY = MeanReversion(period=2, trend_period=0)
MINUTES = MeanReversion(period=2, timeframe="1Min", trend_period=0)
SESSIONS = sessions_between(date(2013, 7, 1), date(2013, 10, 31))
FIRST = 60
"""The desk starts on this session; the ones before are history."""


class Gate:
    """Keeps the signals; raises `failures` times before it takes any."""

    def __init__(self) -> None:
        self.signals: list[Signal] = []
        self.quotes: list[Quote | None] = []
        self.failures = 0

    def judge(self, signals: Sequence[SignalSeen], now: datetime) -> datetime | None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("made to fail")
        self.signals += [seen.signal for seen in signals]
        self.quotes += [seen.quote for seen in signals]
        return now + timedelta(minutes=5)

    def sweep(self, quotes: Sequence[Quote], now: datetime) -> datetime | None:
        raise AssertionError("the strategist never sweeps")


def price(symbol: str, number: int) -> float:
    """Waves that cross below any threshold every few bars, another for each symbol."""
    shift = SYMBOLS.index(symbol)
    return 100 + 5 * math.sin(number * 1.3 + shift) + 3 * math.sin(number * 0.31)


def daily_bars() -> list[Bar]:
    return [
        make_bar(symbol, eastern_midnight(session.day), session.close, number)
        for number, session in enumerate(SESSIONS)
        for symbol in SYMBOLS
    ]


def make_bar(symbol: str, start: datetime, end: datetime, number: int) -> Bar:
    close = price(symbol, number)
    return Bar(
        symbol=symbol,
        start=start,
        end=end,
        open=close,
        high=close + 0.5,
        low=close - 0.5,
        close=close,
        volume=100,
    )


OPEN = datetime(2013, 10, 7, 13, 30, tzinfo=UTC)


def minute_bars(symbol: str, count: int) -> list[Bar]:
    # The session before warms up; the present one is traded.
    before = datetime(2013, 10, 4, 19, 0, tzinfo=UTC)
    starts = [before + timedelta(minutes=i) for i in range(60)]
    starts += [OPEN + timedelta(minutes=i) for i in range(count)]
    return [make_bar(symbol, s, s + timedelta(minutes=1), i) for i, s in enumerate(starts)]


def strategist(
    store: FakeStore, data: FakeMarketData, gate: Gate, *strategies: Strategy
) -> Strategist:
    return Strategist(
        strategies=strategies,
        symbols=SYMBOLS,
        store=store,
        market_data=data,
        sentiment=FakeSentiment(),
        gate=gate,
        notifier=FakeNotifier(),
        desk="t",
        monotonic=lambda: 0.0,
        deadline_s=1.0,
    )


def quotes(now: datetime) -> list[Quote]:
    return [Quote(symbol=s, at=now, bid=100.0, ask=100.1, bid_size=1, ask_size=1) for s in SYMBOLS]


def run_days(deaths: set[int], *, failures: frozenset[int] = frozenset()) -> list[Signal]:
    """Signals over twenty sessions; the strategist dies before the sessions named.

    Where the gate fails, the minute comes again, as market data does it.
    """
    store, gate = FakeStore(), Gate()
    data = FakeMarketData(bars=daily_bars())
    actor = strategist(store, data, gate, DAILY)
    for number in range(FIRST, FIRST + 20):
        if number in deaths:
            actor = strategist(store, data, gate, DAILY)
        now = SESSIONS[number].open + timedelta(minutes=1)
        if number in failures:
            gate.failures = 1
        try:
            actor.on_minute([], quotes(now), now)
        except StoreUnavailable:
            actor.on_minute([], quotes(now), now)
        gate.failures = 0
    return gate.signals


def run_minutes(deaths: set[int], saves: set[int]) -> list[Signal]:
    store, gate = FakeStore(), Gate()
    count = 40
    bars = {s: minute_bars(s, count) for s in SYMBOLS}
    data = FakeMarketData()
    actor = strategist(store, data, gate, MINUTES)
    for number in range(count):
        arrived = [bars[s][60 + number] for s in SYMBOLS]
        data.history = [b for s in SYMBOLS for b in bars[s][: 60 + number + 1]]
        if number in deaths:
            actor = strategist(store, data, gate, MINUTES)
        if number in saves:
            actor.save()
        now = OPEN + timedelta(minutes=number + 1)
        actor.on_minute(arrived, quotes(now), now)
    return gate.signals


UNDISTURBED = run_days(set())
UNDISTURBED_MINUTES = run_minutes(set(), set())


def test_decide_when_days_go_by_then_signals_of_a_plain_run_over_the_bars() -> None:
    expected: list[Signal] = []
    bars = daily_bars()
    states = {symbol: DAILY.new_state() for symbol in SYMBOLS}
    since = eastern_midnight(SESSIONS[FIRST].day)
    for bar in bars[: 2 * (FIRST + 19)]:
        signal = DAILY.step(states[bar.symbol], bar, unread)
        if signal is not None and bar.end >= since:
            expected.append(signal)
    assert len(expected) > 5
    # What the last session before the start said is history, not a signal.
    key = [(s.symbol, s.at, s.confidence) for s in expected]
    assert [(s.symbol, s.at, s.confidence) for s in UNDISTURBED] == key


@settings(deadline=None, max_examples=30)
@given(st.sets(st.integers(FIRST + 1, FIRST + 19)))
def test_restart_when_killed_between_any_days_then_same_signals(deaths: set[int]) -> None:
    assert run_days(deaths) == UNDISTURBED


@settings(deadline=None, max_examples=30)
@given(st.sets(st.integers(FIRST + 1, FIRST + 19)), st.frozensets(st.integers(FIRST, FIRST + 19)))
def test_repeat_when_gate_fails_on_any_days_then_same_signals(
    deaths: set[int], failures: frozenset[int]
) -> None:
    assert run_days(deaths, failures=failures) == UNDISTURBED


@settings(deadline=None, max_examples=30)
@given(st.sets(st.integers(1, 39)), st.sets(st.integers(1, 39)))
def test_restart_when_killed_between_any_minutes_then_same_signals(
    deaths: set[int], saves: set[int]
) -> None:
    assert len(UNDISTURBED_MINUTES) > 3
    assert run_minutes(deaths, saves) == UNDISTURBED_MINUTES


def test_decide_when_the_same_minute_comes_twice_then_signals_once() -> None:
    store, gate = FakeStore(), Gate()
    data = FakeMarketData(bars=daily_bars())
    actor = strategist(store, data, gate, DAILY)
    for number in range(FIRST, FIRST + 20):
        now = SESSIONS[number].open + timedelta(minutes=1)
        for _ in range(2):
            actor.on_minute([], quotes(now), now)
    assert gate.signals == UNDISTURBED


def test_decide_when_gate_fails_then_state_is_untouched_and_raises() -> None:
    store, gate = FakeStore(), Gate()
    data = FakeMarketData(bars=daily_bars())
    actor = strategist(store, data, gate, DAILY)
    signal_at = UNDISTURBED[0].at
    for number in range(FIRST, FIRST + 20):
        now = SESSIONS[number].open + timedelta(minutes=1)
        if SESSIONS[number - 1].close == signal_at:
            break
        actor.on_minute([], quotes(now), now)
    actor.save()
    before = store.strategy_states(DAILY.name)
    gate.failures = 3
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            actor.on_minute([], quotes(now), now)
        actor.save()
        assert store.strategy_states(DAILY.name) == before
    assert gate.signals == []
    assert actor.on_minute([], quotes(now), now) == now + timedelta(minutes=5)
    assert gate.signals[0] == UNDISTURBED[0]


def test_decide_when_a_symbol_has_no_quote_then_the_gate_is_told_so() -> None:
    store, gate = FakeStore(), Gate()
    actor = strategist(store, FakeMarketData(bars=daily_bars()), gate, DAILY)
    for number in range(FIRST, FIRST + 20):
        actor.on_minute([], [], SESSIONS[number].open + timedelta(minutes=1))
    assert gate.quotes == [None] * len(UNDISTURBED)


def test_decide_when_there_is_no_signal_then_the_gate_is_not_asked() -> None:
    gate = Gate()
    data = FakeMarketData(bars=daily_bars()[:8])
    actor = strategist(FakeStore(), data, gate, MeanReversion())
    now = SESSIONS[4].open + timedelta(minutes=1)
    assert actor.on_minute([], quotes(now), now) is None
    assert gate.signals == []


def test_start_when_stored_state_has_another_shape_then_warmed_up_from_history() -> None:
    store = FakeStore()
    data = FakeMarketData(bars=daily_bars())
    first = strategist(store, data, Gate(), DAILY)
    now = SESSIONS[FIRST].open + timedelta(minutes=1)
    first.on_minute([], quotes(now), now)
    saved = store.strategy_states(DAILY.name)
    store.save_strategy_states(
        [
            type(s)(strategy=s.strategy, symbol=s.symbol, at=s.at, values=s.values[:-1])
            for s in saved
        ]
    )
    second = strategist(store, data, Gate(), DAILY)
    second.on_minute([], quotes(now), now)
    assert store.strategy_states(DAILY.name) == saved
