"""Sentiment: how much a broken model server delays a decision, in milliseconds.

The strategist takes thirty symbols' minutes and asks for the news on every third,
once without a model and once with the actor and its board at work in the same
process on a server that is killed, hung, cold, busy, or answers prose, half JSON or
a 500-line injection. The value is the worst fault's 99th percentile of a minute less that
without it; the goal is 5 ms.
"""

from __future__ import annotations

import statistics
import time

from greenlight.adapters.no_sentiment import NoSentiment
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


def _minutes_ms(sentiment: SentimentModel, rig: SentimentRig | None) -> list[float]:
    gate = Gate()
    actor = strategist(sentiment, SYMBOLS, FakeStore(), gate)
    took = []
    for number, bars in enumerate(minutes(SYMBOLS, MINUTES)):
        if rig is not None and number % 10 == 0:
            rig.tell(20)
        begun = time.perf_counter()
        actor.on_minute(bars, [], bars[0].end)
        took.append((time.perf_counter() - begun) * 1e3)
        time.sleep(0.003)
    # The first minutes compile and warm up.
    return took[20:]


def _with(fault: str) -> list[float]:
    with StandIn() as server:
        rig = SentimentRig(server.host, symbols=SYMBOLS)
        try:
            if fault == "cold":
                server.load_s = 3600.0
            else:
                rig.tell(4)
                time.sleep(1.5)
            if fault == "killed":
                server.stop()
            elif fault == "injection":
                rig.tell(1, INJECTIONS[-1])
            elif fault not in {"none", "cold"}:
                server.always = fault
            return _minutes_ms(rig.board, rig)
        finally:
            rig.stop()


def _high(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def run() -> dict[str, object]:
    """Measure, print lines for people, return the result."""
    without = [_minutes_ms(NoSentiment(), None) for _ in range(3)]
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
