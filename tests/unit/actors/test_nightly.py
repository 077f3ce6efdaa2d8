"""The nightly work: what it runs, and what it tells where that breaks."""

from __future__ import annotations

from datetime import UTC, datetime

from actors.nightly import Nightly
from greenlight.ports import BrokerUnavailable
from greenlight.testing import FakeNotifier

CLOSE = datetime(2013, 10, 7, 20, 5, tzinfo=UTC)


def test_close_session_when_called_then_forecasts_at_that_instant() -> None:
    asked: list[datetime] = []
    notifier = FakeNotifier()
    Nightly(forecast=asked.append, notifier=notifier).close_session(CLOSE)
    assert asked == [CLOSE]
    assert notifier.alerts == []


def test_close_session_when_the_work_breaks_then_told_and_not_raised() -> None:
    def away(_: datetime) -> None:
        raise BrokerUnavailable("no bars")

    notifier = FakeNotifier()
    Nightly(forecast=away, notifier=notifier).close_session(CLOSE)
    assert notifier.alerts == ["no volatility forecasts tonight (no bars); the last ones stay"]


def test_close_session_when_there_is_a_twin_then_it_runs_also_without_forecasts() -> None:
    def away(_: datetime) -> None:
        raise BrokerUnavailable("no bars")

    compared: list[datetime] = []
    notifier = FakeNotifier()
    Nightly(forecast=away, notifier=notifier, twin=compared.append).close_session(CLOSE)
    assert compared == [CLOSE]
    assert len(notifier.alerts) == 1


def test_close_session_when_the_twin_breaks_then_told_and_not_raised() -> None:
    def away(_: datetime) -> None:
        raise BrokerUnavailable("no bars")

    notifier = FakeNotifier()
    Nightly(forecast=lambda _: None, notifier=notifier, twin=away).close_session(CLOSE)
    (told,) = notifier.alerts
    assert "were not compared with their twins (no bars)" in told
