"""Strategist: microseconds a bar of one symbol, the whole way from bar to signals.

Thirty symbols, every strategy on minute bars, compiled and warm: guard, state
copies and sorting are in the time, the gate is not. Beside it each strategy's
step alone, with no other work. The goal is 50 us a symbol and bar for all
strategies together.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from actors.links import SignalSeen
from actors.strategist import Strategist
from greenlight.domain.market import Bar, Quote
from greenlight.domain.mean_reversion import MeanReversion
from greenlight.domain.news_reversal import NewsReversal
from greenlight.domain.opening_range import OpeningRange
from greenlight.domain.sentiment import unread
from greenlight.domain.signals import Strategy
from greenlight.testing import FakeNotifier, FakeSentiment, FakeStore
from greenlight.testing_broker import FakeMarketData

NAME = "strategist"
GOAL_US = 50.0
SYMBOLS = tuple(f"S{i:02}" for i in range(30))
OPEN = datetime(2013, 10, 7, 13, 30, tzinfo=UTC)
MINUTES = 390
REPEATS = 5


class _Gate:
    def __init__(self) -> None:
        self.signals = 0

    def judge(self, signals: Sequence[SignalSeen], now: datetime) -> datetime | None:
        self.signals += len(signals)
        return None

    def sweep(self, quotes: Sequence[Quote], now: datetime) -> datetime | None:
        return None


def _bars() -> list[list[Bar]]:
    minutes = []
    for minute in range(MINUTES):
        start = OPEN + timedelta(minutes=minute)
        bars = []
        for number, symbol in enumerate(SYMBOLS):
            close = 100 + 2 * math.sin(minute * 0.05 + number) + math.sin(minute * 1.7 + number)
            bars.append(
                Bar(
                    symbol=symbol,
                    start=start,
                    end=start + timedelta(minutes=1),
                    open=close,
                    high=close + 0.1,
                    low=close - 0.1,
                    close=close,
                    volume=1000 + minute,
                )
            )
        minutes.append(bars)
    return minutes


def _strategies() -> tuple[Strategy, ...]:
    return (MeanReversion(timeframe="1Min"), NewsReversal(timeframe="1Min"), OpeningRange())


def _session(minutes: list[list[Bar]]) -> tuple[float, int]:
    gate = _Gate()
    actor = Strategist(
        strategies=_strategies(),
        symbols=SYMBOLS,
        store=FakeStore(),
        market_data=FakeMarketData(),
        sentiment=FakeSentiment(dict.fromkeys(SYMBOLS, -0.5)),
        gate=gate,
        notifier=FakeNotifier(),
        desk="bench",
        monotonic=time.monotonic,
        deadline_s=1.0,
    )
    actor.on_minute(minutes[0], [], minutes[0][0].end)
    begun = time.perf_counter()
    for bars in minutes[1:]:
        actor.on_minute(bars, [], bars[0].end)
    took = time.perf_counter() - begun
    return took * 1e6 / ((len(minutes) - 1) * len(SYMBOLS)), gate.signals


def run() -> dict[str, object]:
    """Measure, print lines for people, return the result."""
    minutes = _bars()
    times = []
    for _ in range(REPEATS):
        microseconds, signals = _session(minutes)
        times.append(microseconds)
        print(f"  {microseconds:5.1f} us a symbol and bar, three strategies, {signals} signals")
    for strategy in _strategies():
        state = strategy.new_state()
        bars = [row[0] for row in minutes]
        strategy.step(state, bars[0], unread)
        begun = time.perf_counter()
        for bar in bars[1:]:
            strategy.step(state, bar, unread)
        alone = (time.perf_counter() - begun) * 1e6 / (len(bars) - 1)
        print(f"  {alone:5.1f} us {strategy.name} alone")
    value = statistics.median(times)
    return {
        "name": NAME,
        "value": round(value, 1),
        "unit": "us/bar",
        "goal": GOAL_US,
        "ok": value < GOAL_US,
        "spread": [round(min(times), 1), round(max(times), 1)],
    }
