"""A stream that is connected and says nothing is found out, told once, and given up."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from actors.stream_watch import StreamWatch
from greenlight.ports import StreamKind
from greenlight.testing_broker import FakeStreams
from tests.actor_cases import DESK, Surroundings, later


@dataclass
class Watched:
    around: Surroundings
    streams: FakeStreams
    watch: StreamWatch

    def is_mute(self, now_s: float, *, in_session: bool = True) -> bool:
        return self.watch.is_mute(now_s, in_session=in_session)


@pytest.fixture
def seen() -> Watched:
    around, streams = Surroundings(), FakeStreams()
    watch = StreamWatch(
        store=around.store, streams=streams, notifier=around.notifier, desk=DESK, now_s=0.0
    )
    return Watched(around, streams, watch)


def test_is_mute_when_prices_come_then_nothing_is_told(seen: Watched) -> None:
    for second in range(0, 600, 60):
        seen.watch.hear_price(second)
        assert not seen.is_mute(second + 59)
    assert (seen.streams.reconnected, seen.around.notifier.alerts) == ([], [])


def test_is_mute_when_no_price_comes_for_90_seconds_then_told_once_and_reconnected(
    seen: Watched,
) -> None:
    for second in range(1, 300):
        seen.is_mute(float(second))
    assert seen.streams.reconnected == [StreamKind.PRICES] * 3
    assert len(seen.around.notifier.alerts) == 1
    seen.watch.hear_price(300.0)
    seen.is_mute(390.0)
    assert len(seen.around.notifier.alerts) == 2


def test_is_mute_when_the_market_is_closed_then_silence_counts_from_the_open(
    seen: Watched,
) -> None:
    for second in range(0, 36_000, 60):
        seen.is_mute(float(second), in_session=False)
    seen.is_mute(36_000.0)
    assert seen.streams.reconnected == []
    seen.is_mute(36_031.0)
    assert seen.streams.reconnected == [StreamKind.PRICES]


def test_is_mute_when_an_accepted_order_is_not_told_of_then_after_two_seconds(
    seen: Watched,
) -> None:
    seen.around.enter(filled=0)
    assert not seen.is_mute(1.0)
    assert not seen.is_mute(2.0)
    assert seen.is_mute(3.0)
    assert seen.streams.reconnected == [StreamKind.TRADES]
    assert len(seen.around.notifier.alerts) == 1
    # What was asked for over REST is not missed again.
    assert not any(seen.is_mute(float(second)) for second in range(4, 30))


def test_is_mute_when_the_order_was_told_of_then_not(seen: Watched) -> None:
    seen.watch.hear_order(seen.around.enter(filled=0))
    assert not any(seen.is_mute(float(second)) for second in range(1, 30))
    other = seen.around.enter(filled=0, symbol="MSFT", at=later(60))
    assert not seen.is_mute(30.0)
    seen.watch.hear_order(other)
    assert not any(seen.is_mute(float(second)) for second in range(31, 60))


def test_is_mute_when_orders_rested_before_the_stream_opened_then_not(seen: Watched) -> None:
    seen.around.enter(filled=0)
    seen.watch.begin_orders()
    assert not any(seen.is_mute(float(second)) for second in range(1, 30))
