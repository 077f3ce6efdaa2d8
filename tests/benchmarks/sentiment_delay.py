"""Sentiment: how much a broken model server delays a decision, in milliseconds.

The strategist takes thirty symbols' minutes and asks for the news on every third,
once without a model and once with the board, which follows the actor in another
process over the desk's own line. There the model server is killed, hung, cold, busy,
or answers prose, half JSON or is given a 500-line injection. The value is the worst
fault's 99th percentile of a minute less that without it; the goal is 5 ms.
"""

from __future__ import annotations

import logging
import multiprocessing
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

from actors.links import SentimentNews
from actors.sentiment_board import SentimentBoard, keep_following
from cluster.fast_lane import Line, LineAddress, LineServer
from greenlight.adapters.no_sentiment import NoSentiment
from greenlight.domain.sentiment import GivenReading
from greenlight.ports import SentimentModel
from greenlight.testing import FakeStore
from tests.injections import INJECTIONS
from tests.ollama_stand_in import StandIn
from tests.sentiment_rig import Gate, SentimentRig, minutes, strategist

NAME = "sentiment_delay"
GOAL_MS = 5.0
SYMBOLS = tuple(f"S{i:02}" for i in range(30))
MINUTES = 300
FAULTS = ("none", "killed", "hang", "cold", "503", "prose", "half", "injection")


def _minutes_ms(sentiment: SentimentModel, tell: Callable[[], object]) -> list[float]:
    gate = Gate()
    actor = strategist(sentiment, SYMBOLS, FakeStore(), gate)
    took = []
    for number, bars in enumerate(minutes(SYMBOLS, MINUTES)):
        if number % 10 == 0:
            tell()
        begun = time.perf_counter()
        actor.on_minute(bars, [], bars[0].end)
        took.append((time.perf_counter() - begun) * 1e3)
        time.sleep(0.003)
    # The first minutes compile and warm up.
    return took[20:]


class _House:
    """What lives in another process: the server, the actor, and what goes wrong."""

    def __init__(self, fault: str) -> None:
        self._server = StandIn()
        self._server.start()
        self._rig = SentimentRig(self._server.host, symbols=SYMBOLS)
        if fault == "cold":
            self._server.load_s = 3600.0
        else:
            self._rig.tell(4)
            time.sleep(1.5)
        if fault == "killed":
            self._server.stop()
        elif fault == "injection":
            self._rig.tell(1, INJECTIONS[-1])
        elif fault not in {"none", "cold"}:
            self._server.always = fault

    def tell(self) -> None:
        self._rig.tell(20)

    def news(self, life: str, version: int, given: Sequence[GivenReading]) -> SentimentNews:
        return self._rig.news(life, version, given)


def _serve(fault: str, pipe: Connection) -> None:
    logging.disable(logging.CRITICAL)
    pipe.send(LineServer(_House(fault), "127.0.0.1").address)
    pipe.recv()


class _Link:
    """The desk's own line to the actor's process."""

    def __init__(self, address: LineAddress) -> None:
        self._line = Line(address)
        self._turn = threading.Lock()

    def call(self, method: str, *args: Any) -> Any:
        with self._turn:
            return self._line.receive(self._line.send(method, args, {}), 10.0)[1]

    def news(self, life: str, version: int, given: Sequence[GivenReading]) -> SentimentNews:
        found: SentimentNews = self.call("news", life, version, given)
        return found


def _with(fault: str) -> list[float]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=_serve, args=(fault, there), daemon=True)
    child.start()
    try:
        address = here.recv()
        teller = _Link(address)
        board = SentimentBoard(
            link=_Link(address),
            weight=1.0,
            half_life=timedelta(days=1),
            monotonic=time.monotonic,
        )
        following = keep_following(board)
        found = _minutes_ms(board, lambda: teller.call("tell"))
        following.set()
        return found
    finally:
        here.send("end")
        child.join(10)


def _high(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def run() -> dict[str, object]:
    """Measure, print lines for people, return the result."""
    without = [_minutes_ms(NoSentiment(), lambda: None) for _ in range(3)]
    base = statistics.median(_high(one) for one in without)
    middle = statistics.median(value for one in without for value in one)
    print(f"  {middle:6.2f} ms median {base:6.2f} ms p99 a minute without a model")
    delays = []
    for fault in FAULTS:
        found = _with(fault)
        delays.append(_high(found) - base)
        print(
            f"  {statistics.median(found):6.2f} ms median {_high(found):6.2f} ms p99 "
            f"{max(found):6.2f} ms at most: {fault}"
        )
    value = max(delays)
    return {
        "name": NAME,
        "value": round(value, 2),
        "unit": "ms",
        "goal": GOAL_MS,
        "ok": value < GOAL_MS,
        "spread": [round(min(delays), 2), round(max(delays), 2)],
    }
