"""A strategist that dies anywhere gives the signals of one that lives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.links import SignalSeen
from actors.strategist import Strategist
from greenlight.domain.corporate_actions import symbol_change_decision
from greenlight.domain.market import (
    Bar,
    Quote,
    Split,
    SymbolChange,
    eastern_date,
    eastern_midnight,
    sessions_between,
)
from greenlight.domain.mean_reversion import MeanReversion
from greenlight.domain.sentiment import unread
from greenlight.domain.signals import Signal, Strategy
from greenlight.ports import BrokerUnavailable, StoreUnavailable
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


def run_minutes(
    deaths: set[int], saves: set[int], cut: frozenset[int] = frozenset()
) -> list[Signal]:
    """Signals over forty minutes, of which those that were cut never arrive."""
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
        if number in cut:
            continue
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


@settings(deadline=None, max_examples=30)
@given(st.frozensets(st.integers(0, 39), max_size=20))
def test_minutes_when_the_stream_was_cut_then_later_signals_are_the_undisturbed_ones(
    cut: frozenset[int],
) -> None:
    missed = {OPEN + timedelta(minutes=number + 1) for number in cut}
    expected = [signal for signal in UNDISTURBED_MINUTES if signal.at not in missed]
    assert run_minutes(set(), set(), cut) == expected


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


# -- corporate actions

SPLIT_AT = FIRST + 7
"""AAPL splits 7:1 before this session."""


def split_bars(bars: list[Bar], symbol: str, day: date, ratio: float) -> list[Bar]:
    """What is traded of a stock that splits: raw prices a part of what they were."""
    return [
        replace(
            bar,
            open=bar.open / ratio,
            high=bar.high / ratio,
            low=bar.low / ratio,
            close=bar.close / ratio,
            volume=round(bar.volume * ratio),
        )
        if bar.symbol == symbol and eastern_date(bar.start) >= day
        else bar
        for bar in bars
    ]


def run_days_over_split(deaths: set[int]) -> list[Signal]:
    store, gate = FakeStore(), Gate()
    day = SESSIONS[SPLIT_AT].day
    data = FakeMarketData(
        bars=split_bars(daily_bars(), "AAPL", day, 7.0),
        splits=[Split(symbol="AAPL", ex_date=day, ratio=7.0)],
    )
    actor = strategist(store, data, gate, DAILY)
    for number in range(FIRST, FIRST + 20):
        if number in deaths:
            actor = strategist(store, data, gate, DAILY)
        now = SESSIONS[number].open + timedelta(minutes=1)
        actor.on_minute([], quotes(now), now)
    return gate.signals


OVER_SPLIT = run_days_over_split(set())


def test_decide_when_a_stock_splits_then_the_signals_of_one_that_did_not() -> None:
    assert len(OVER_SPLIT) == len(UNDISTURBED) > 5
    assert any(s.symbol == "AAPL" and s.at >= SESSIONS[SPLIT_AT].open for s in OVER_SPLIT)
    # The bar before the split is decided upon after it, at the new price.
    before_it = SESSIONS[SPLIT_AT - 1].close
    for found, whole in zip(OVER_SPLIT, UNDISTURBED, strict=True):
        assert (found.symbol, found.at, found.confidence) == (
            whole.symbol,
            whole.at,
            whole.confidence,
        )
        ratio = 7.0 if found.symbol == "AAPL" and found.at >= before_it else 1.0
        assert found.reference_price == pytest.approx(whole.reference_price / ratio, rel=1e-12)
        assert found.atr_usd == pytest.approx(whole.atr_usd / ratio, rel=1e-9)
        assert found.features["rsi"] == pytest.approx(whole.features["rsi"], abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.sets(st.integers(FIRST, FIRST + 19)))
def test_restart_when_killed_around_a_split_then_exactly_the_same_signals(deaths: set[int]) -> None:
    assert run_days_over_split(deaths) == OVER_SPLIT


def test_warm_up_when_a_split_lies_in_the_history_then_no_fall_is_seen() -> None:
    day = SESSIONS[FIRST - 10].day
    store, gate = FakeStore(), Gate()
    data = FakeMarketData(
        bars=split_bars(daily_bars(), "AAPL", day, 7.0),
        splits=[Split(symbol="AAPL", ex_date=day, ratio=7.0)],
    )
    actor = strategist(store, data, gate, DAILY)
    for number in range(FIRST, FIRST + 20):
        now = SESSIONS[number].open + timedelta(minutes=1)
        actor.on_minute([], quotes(now), now)
    assert [(s.symbol, s.at) for s in gate.signals] == [(s.symbol, s.at) for s in UNDISTURBED]


def test_minutes_when_a_stock_splits_overnight_then_the_signals_of_one_that_did_not() -> None:
    def run(ratio: float) -> list[Signal]:
        store, gate = FakeStore(), Gate()
        bars = split_bars(
            [b for s in SYMBOLS for b in minute_bars(s, 40)], "AAPL", OPEN.date(), ratio
        )
        splits = [Split(symbol="AAPL", ex_date=OPEN.date(), ratio=ratio)] if ratio != 1 else []
        data = FakeMarketData(splits=splits)
        actor = strategist(store, data, gate, MINUTES)
        # The last minutes of the session before are lived through, not read.
        for start in sorted({b.start for b in bars})[30:]:
            data.history = [b for b in bars if b.start <= start]
            now = start + timedelta(minutes=1)
            actor.on_minute([b for b in bars if b.start == start], quotes(now), now)
        return gate.signals

    whole, found = run(1.0), run(7.0)
    assert [(s.symbol, s.at, s.confidence) for s in found] == [
        (s.symbol, s.at, s.confidence) for s in whole
    ]
    assert any(s.symbol == "AAPL" and s.at > OPEN for s in found)


def test_decide_when_splits_cannot_be_known_then_nothing_is_decided() -> None:
    data, gate = FakeMarketData(bars=daily_bars()), Gate()
    actor = strategist(FakeStore(), data, gate, DAILY)
    now = SESSIONS[FIRST].open + timedelta(minutes=1)
    data.up = False
    with pytest.raises(BrokerUnavailable):
        actor.on_minute([], quotes(now), now)
    data.up = True
    actor.on_minute([], quotes(now), now)
    assert actor.status() == {"faults": {}}


def test_decide_when_a_symbol_is_renamed_then_its_state_goes_on_under_the_new_name() -> None:
    change = SymbolChange(old="AAPL", new="NEWA", day=SESSIONS[SPLIT_AT].day)
    renamed = [replace(b, symbol="NEWA") if b.symbol == "AAPL" else b for b in daily_bars()]

    def run(*, dies: bool) -> list[tuple[str, datetime, float]]:
        store, gate = FakeStore(), Gate()
        data = FakeMarketData(bars=daily_bars())
        actor = strategist(store, data, gate, DAILY)
        for number in range(FIRST, FIRST + 20):
            now = SESSIONS[number].open + timedelta(minutes=1)
            if number == SPLIT_AT:
                store.record_decision(symbol_change_decision("t", change, None, now))
                data.history = renamed
                actor = strategist(store, data, gate, DAILY) if dies else actor
            actor.on_minute([], quotes(now), now)
        return sorted((s.symbol, s.at, float(s.features["rsi"])) for s in gate.signals)

    before = SESSIONS[SPLIT_AT - 1].close
    expected = sorted(
        ("NEWA" if s.symbol == "AAPL" and s.at >= before else s.symbol, s.at, s.features["rsi"])
        for s in UNDISTURBED
    )
    assert run(dies=False) == expected
    assert run(dies=True) == expected
