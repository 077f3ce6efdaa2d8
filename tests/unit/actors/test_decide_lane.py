"""The decide lane: what waits, what is dropped, and what a failure leaves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime

import pytest

from actors.decide_lane import DecideLane
from actors.links import SignalSeen
from greenlight.domain.market import Bar, Quote
from greenlight.ports import StoreUnavailable
from tests.actor_cases import T0, later
from tests.exchange_fixture import wait_until


class SlowStrategist:
    """Decides when it is let; `fails` makes it raise."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.begun = threading.Event()
        self.minutes: list[datetime] = []
        self.fails: Exception | None = None

    def on_minute(
        self, bars: Sequence[Bar], quotes: Sequence[Quote], now: datetime
    ) -> datetime | None:
        self.begun.set()
        self.free.wait(5)
        if self.fails is not None:
            raise self.fails
        self.minutes.append(now)
        return None

    def save(self) -> None:
        return None


class IdleGate:
    def __init__(self) -> None:
        self.sweeps: list[datetime] = []

    def judge(self, signals: Sequence[SignalSeen], now: datetime) -> datetime | None:
        return None

    def sweep(self, quotes: Sequence[Quote], now: datetime) -> datetime | None:
        self.sweeps.append(now)
        return None

    def review(self, quotes: Sequence[Quote], now: datetime) -> list[str]:
        return ["AAPL"]


BAR = Bar(symbol="AAPL", start=T0, end=later(60), open=1.0, high=1.0, low=1.0, close=1.0, volume=1)


@pytest.fixture
def make() -> Callable[..., tuple[DecideLane, SlowStrategist, IdleGate]]:
    def build(**options: bool) -> tuple[DecideLane, SlowStrategist, IdleGate]:
        strategist, gate = SlowStrategist(), IdleGate()
        settings = {"acts_on_scores": False, "is_threaded": True, "is_lockstep": False}
        lane = DecideLane(strategist=strategist, gate=gate, **{**settings, **options})
        return lane, strategist, gate

    return build


def test_hand_over_when_the_strategist_is_slow_then_the_oldest_minutes_are_dropped(
    make: Callable[..., tuple[DecideLane, SlowStrategist, IdleGate]],
) -> None:
    lane, strategist, _ = make()
    lane.hand_over([BAR], [], T0)
    assert strategist.begun.wait(5)
    begun = time.monotonic()
    for minute in range(1, 21):
        lane.hand_over([BAR], [], later(60 * minute))
    assert time.monotonic() - begun < 1
    strategist.free.set()
    wait_until(lambda: lane.waiting == 0 and len(strategist.minutes) == 9)
    assert strategist.minutes == [T0, *(later(60 * minute) for minute in range(13, 21))]
    lane.stop()


@pytest.mark.parametrize("error", [StoreUnavailable("away"), ValueError("broken")])
def test_hand_over_when_a_minute_fails_then_unwell_until_one_succeeds(
    make: Callable[..., tuple[DecideLane, SlowStrategist, IdleGate]], error: Exception
) -> None:
    lane, strategist, _ = make()
    strategist.free.set()
    strategist.fails = error
    lane.hand_over([BAR], [], T0)
    wait_until(lambda: not lane.is_well)
    strategist.fails = None
    lane.hand_over([BAR], [], later(60))
    wait_until(lambda: lane.is_well)
    assert strategist.minutes == [later(60)]
    lane.stop()


def test_hand_over_when_not_threaded_then_decided_at_once_with_sweep_and_review(
    make: Callable[..., tuple[DecideLane, SlowStrategist, IdleGate]],
) -> None:
    lane, strategist, gate = make(is_threaded=False, acts_on_scores=True)
    strategist.free.set()
    assert lane.is_due(T0)
    lane.hurry(T0)
    lane.hand_over([BAR], [], T0)
    assert (gate.sweeps, strategist.minutes) == ([T0], [T0])
    assert list(lane.to_leave()) == ["AAPL"]
    assert not lane.is_due(T0)
