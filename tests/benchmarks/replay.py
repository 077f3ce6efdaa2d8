"""Replay: sessions a minute through the whole desk, every actor at work.

Five symbols in minute steps, strategy A on minute bars, so that every step
goes through market data, the strategist and the recorder, and every position
through its monitor. The clock starts when the desk is up and stops when the
exchange has seen the last step acknowledged. The goal is a trading year of
252 sessions in five minutes.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from tests.desk_harness import running_desk

NAME = "replay"
GOAL = 252 / 5
START, END = "2012-01-03", "2012-12-31"
REPEATS = 2


def once(home: Path) -> tuple[float, int, int]:
    """Sessions a minute, trades closed, and peak resident MiB of all the desk's processes."""
    with running_desk(home, start=START, end=END, timeframe="1Min") as running:
        store = running.store()
        begun = time.perf_counter()
        running.finish(timeout_s=900)
        seconds = time.perf_counter() - begun
        me = psutil.Process()
        memory = sum(p.memory_info().rss for p in [me, *me.children(recursive=True)])
        first = store.latest_run()
        assert first is not None
        sessions = len(store.evaluations(first.started_at, running.desk.replay_state().now)) + 1
        trades = len(store.trades(limit=None))
        store.close()
    return sessions * 60 / seconds, trades, memory // 2**20


def run() -> dict[str, object]:
    """Measure, print lines for people, return the result."""
    rates = []
    for _ in range(REPEATS):
        home = Path(tempfile.mkdtemp(prefix="greenlight-bench-"))
        try:
            rate, trades, memory = once(home)
        finally:
            shutil.rmtree(home, ignore_errors=True)
        rates.append(rate)
        print(
            f"  {rate:6.1f} sessions a minute, a year of 252 in {252 / rate:.1f} min, "
            f"{trades} trades closed, {memory} MiB in all processes"
        )
    value = statistics.median(rates)
    return {
        "name": NAME,
        "value": round(value, 1),
        "unit": "sessions/min",
        "goal": round(GOAL, 1),
        "ok": value >= GOAL,
        "spread": [round(min(rates), 1), round(max(rates), 1)],
    }
