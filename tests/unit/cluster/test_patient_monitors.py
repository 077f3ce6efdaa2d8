"""Monitors in real time: the silent one waits for itself, the others are answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal

import pytest

from cluster.fast_lane import Line, LineServer
from cluster.patient_monitors import ASK_AGAIN, PATIENCE_S, Connect, PatientMonitors
from greenlight.domain.market import Quote
from greenlight.domain.positions import WatchBand
from tests.actor_cases import T0, later
from tests.exchange_fixture import wait_until


class Monitor:
    """Answers while it is free; notes what it was asked."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.free = threading.Event()
        self.free.set()
        self.fails = False
        self.asked: list[str] = []

    def _answer(self, method: str, now: datetime) -> WatchBand:
        self.free.wait(10)
        self.asked.append(method)
        if self.fails:
            raise ValueError("broken")
        return WatchBand(symbol=self.symbol, low=1.0, high=2.0, wake_at=now)

    def on_change(self, quote: Quote | None, now: datetime) -> WatchBand:
        return self._answer("on_change", now)

    def on_quote(self, quote: Quote | None, now: datetime) -> WatchBand:
        return self._answer("on_quote", now)

    def check(self, now: datetime) -> WatchBand:
        return self._answer("check", now)

    def leave(self, quote: Quote | None, now: datetime) -> WatchBand:
        return self._answer("leave", now)


class Waiting:
    """Stands for the monitors that are waited for."""

    def __init__(self) -> None:
        self.splits: list[str] = []

    def prepare(self, symbol: str) -> None: ...

    def on_change(self, symbol: str, quote: Quote | None, now: datetime) -> None: ...

    def on_quotes(self, quotes: object, now: datetime) -> dict[str, WatchBand | None]:
        return {}

    def on_split(self, symbol: str, ex_date: date, ratio: Decimal, now: datetime) -> None:
        self.splits.append(symbol)

    def leave(self, symbol: str, quote: Quote | None, now: datetime) -> None: ...

    def check(self, symbol: str, now: datetime) -> None: ...


class Street:
    """Monitors by symbol, each behind a line of its own that can be cut and is not up at once."""

    def __init__(self) -> None:
        self.monitors = {symbol: Monitor(symbol) for symbol in ("AAA", "BBB")}
        self.servers = {s: LineServer(m, "127.0.0.1") for s, m in self.monitors.items()}
        self.is_up = dict.fromkeys(self.monitors, True)
        self.lines: dict[str, Line] = {}
        self.prepared: list[str] = []
        self.waiting = Waiting()
        self.link = PatientMonitors(self._way, self.prepared.append, self.waiting)

    def _way(self, symbol: str) -> Connect:
        def connect() -> Line | None:
            if not self.is_up[symbol]:
                return None
            self.lines[symbol] = Line(self.servers[symbol].address)
            return self.lines[symbol]

        return connect


@pytest.fixture
def street() -> Iterator[Street]:
    found = Street()
    yield found
    for monitor in found.monitors.values():
        monitor.free.set()


def is_late(band: WatchBand | None, now: datetime) -> bool:
    return band is not None and band.wake_at == now + ASK_AGAIN and band.low < -1e300


def both(street: Street, now: datetime) -> dict[str, WatchBand | None]:
    return street.link.on_quotes([("AAA", None), ("BBB", None)], now)


def test_on_quotes_when_one_hangs_then_the_other_is_answered_and_waited_for_once(
    street: Street,
) -> None:
    assert {band.low for band in both(street, T0).values() if band} == {1.0}
    street.monitors["AAA"].free.clear()
    begun = time.monotonic()
    bands = both(street, later(1))
    assert is_late(bands["AAA"], later(1))
    assert bands["BBB"] is not None
    assert bands["BBB"].low == 1.0
    assert time.monotonic() - begun < PATIENCE_S + 0.5
    begun = time.monotonic()
    for second in range(2, 12):
        assert is_late(both(street, later(second))["AAA"], later(second))
    assert time.monotonic() - begun < 0.5
    street.monitors["AAA"].free.set()
    wait_until(lambda: not is_late(both(street, later(30))["AAA"], later(30)))
    # What it missed may have been a change of its position.
    assert "on_change" in street.monitors["AAA"].asked
    assert both(street, later(40))["AAA"] is not None
    assert street.monitors["AAA"].asked[-1] == "on_quote"


def test_on_change_when_the_monitor_is_not_up_then_late_and_told_once_it_is(
    street: Street,
) -> None:
    street.is_up["AAA"] = False
    begun = time.monotonic()
    assert is_late(street.link.on_change("AAA", None, T0), T0)
    assert time.monotonic() - begun < 0.5
    street.is_up["AAA"] = True
    assert street.link.on_quotes([("AAA", None)], later(1))["AAA"] is not None
    assert street.monitors["AAA"].asked == ["on_change"]


@pytest.mark.parametrize("method", ["check", "leave"])
def test_check_and_leave_when_the_line_was_cut_then_asked_over_a_new_one(
    street: Street, method: str
) -> None:
    street.link.on_change("AAA", None, T0)
    street.lines["AAA"].close()
    if method == "check":
        band = street.link.check("AAA", later(1))
    else:
        band = street.link.leave("AAA", None, later(1))
    assert band == WatchBand(symbol="AAA", low=1.0, high=2.0, wake_at=later(1))
    assert street.monitors["AAA"].asked == ["on_change", method]


def test_on_quotes_when_the_line_is_cut_in_the_middle_then_late_and_told_of_a_change(
    street: Street,
) -> None:
    both(street, T0)
    street.monitors["AAA"].free.clear()
    threading.Timer(0.1, street.lines["AAA"].close).start()
    assert is_late(both(street, later(1))["AAA"], later(1))
    street.monitors["AAA"].free.set()
    assert not is_late(both(street, later(2))["AAA"], later(2))
    assert street.monitors["AAA"].asked[-1] == "on_change"


def test_on_quotes_when_one_fails_then_it_alone_is_asked_again(street: Street) -> None:
    street.monitors["AAA"].fails = True
    bands = both(street, T0)
    assert is_late(bands["AAA"], T0)
    assert bands["BBB"] is not None
    assert bands["BBB"].low == 1.0
    street.monitors["AAA"].fails = False
    assert not is_late(both(street, later(1))["AAA"], later(1))
    assert street.monitors["AAA"].asked == ["on_quote", "on_change"]


def test_on_split_when_asked_then_it_is_waited_for(street: Street) -> None:
    street.link.on_split("AAA", date(2014, 6, 9), Decimal(7), T0)
    street.link.prepare("BBB")
    assert street.waiting.splits == ["AAA"]
    assert street.prepared == ["BBB"]
