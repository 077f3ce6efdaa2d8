"""The desk's streams on a lockstep exchange: a step comes after its own data, always."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from datetime import datetime

import pytest
import requests

from greenlight.adapters.alpaca_data import AlpacaStreams
from greenlight.domain.market import Bar
from greenlight.ports import StepReady, StreamEvent, StreamRefused
from tests.exchange_fixture import KEY, SECRET, ExchangeProcess

WATCHED = ("ALFA", "BETA", "GAMA")
STEPS = 240


class Follower:
    """Acknowledges steps; keeps those that came without the bars of their minute."""

    def __init__(self, exchange: ExchangeProcess) -> None:
        self._events: queue.SimpleQueue[StreamEvent] = queue.SimpleQueue()
        self._ends: set[tuple[str, datetime]] = set()
        self.early: list[StepReady] = []
        self.bars = 0
        self.streams = AlpacaStreams(
            data_url=exchange.ws_url + "/v2/iex",
            trade_url=exchange.ws_url + "/stream",
            control_url=exchange.ws_url + "/control/lockstep",
            key_id=KEY,
            secret_key=SECRET,
            symbols=WATCHED,
            wants_daily=False,
            wants_ticks=False,
        )
        self.streams.start(self._events.put)

    def step(self) -> StepReady:
        while True:
            event = self._events.get(timeout=20)
            if isinstance(event, Bar):
                self.bars += 1
                self._ends.add((event.symbol, event.end))
            elif isinstance(event, StepReady):
                if event.kind == "minute" and not all((s, event.at) in self._ends for s in WATCHED):
                    self.early.append(event)
                self.streams.acknowledge(event)
                return event


@pytest.fixture
def follower(exchange: ExchangeProcess) -> Iterator[Follower]:
    follower = Follower(exchange)
    yield follower
    follower.streams.stop()


@pytest.mark.parametrize("cut", [(), ("data",), ("trade_updates",), ("data", "trade_updates")])
def test_streams_when_cut_again_and_again_then_a_step_comes_after_its_bars(
    exchange: ExchangeProcess, follower: Follower, cut: tuple[str, ...]
) -> None:
    seen = set()
    for number in range(STEPS):
        seen.add(follower.step().seq)
        if number % 40 == 20:
            for stream in cut:
                requests.post(f"{exchange.url}/control/disconnect?stream={stream}", timeout=5)
    assert len(seen) > STEPS - 30
    assert follower.early == []


def test_streams_when_connected_then_no_bar_comes_twice(
    exchange: ExchangeProcess, follower: Follower
) -> None:
    first = follower.step()
    while first.kind != "minute":
        first = follower.step()
    before = follower.bars
    for _ in range(10):
        follower.step()
    time.sleep(0.2)
    assert follower.bars - before <= 10 * len(WATCHED)


def test_streams_when_there_are_too_many_symbols_then_the_refusal_is_told(
    exchange: ExchangeProcess,
) -> None:
    events: queue.SimpleQueue[StreamEvent] = queue.SimpleQueue()
    streams = AlpacaStreams(
        data_url=exchange.ws_url + "/v2/iex",
        trade_url=exchange.ws_url + "/stream",
        control_url=exchange.ws_url + "/control/lockstep",
        key_id=KEY,
        secret_key=SECRET,
        symbols=[f"S{number}" for number in range(31)],
        wants_daily=False,
        wants_ticks=False,
    )
    streams.start(events.put)
    try:
        until = time.monotonic() + 20
        while True:
            event = events.get(timeout=max(0.1, until - time.monotonic()))
            if isinstance(event, StreamRefused):
                break
        assert event.reason == "symbol limit exceeded (405)"
    finally:
        streams.stop()
