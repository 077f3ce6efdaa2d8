"""Soak: a desk at work for a long time while a fault strikes it every ten seconds.

Thirty made-up symbols send about 200 quotes and bars a second, staggered so that
something is always bought and sold. `make soak MINUTES=30` runs it. At the end the
ledger is the exchange's, no position was uncovered for more than five seconds,
every process keeps its memory, and nobody was restarted but by a fault. The last line
is JSON as the benchmarks' is; the faults are those of the seed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import psutil
import ray
import requests
from ray.exceptions import RayError

from cluster import services
from cluster.desk_config import NAMESPACE
from cluster.launch import CORE
from greenlight.domain.market import sessions_between
from greenlight.ports import BrokerUnavailable
from tests.faults.process_desk import GatedDesk, ProcessDesk, process_desk, suspended

GOAL_S = 5.0
SYMBOLS, SPEED = 30, 80.0
"""Four quotes and a bar a minute each: 30 x 5 x 80 / 60 = 200 a second; Alpaca allows 30."""
FIRST, START, END = date(2013, 10, 1), date(2013, 10, 2), date(2013, 10, 11)
CYCLE = 40
EVERY_S, QUIET_S, SAMPLE_S = 10.0, 45.0, 5.0
FLAT = 1.05


def write_history(folder: Path) -> None:
    """Minutes that dip and come back, each symbol at another time of its cycle."""
    folder.mkdir(parents=True)
    for number in range(SYMBOLS):
        lines = ["timestamp,open,high,low,close,volume,bid,ask"]
        for session in sessions_between(FIRST, END):
            price = 100.0
            for minute in range(session.minutes):
                place = (minute + 7 * number) % CYCLE
                price += -0.12 if 14 <= place < 24 else 0.04 + 0.03 * (-1) ** minute
                at = (session.open + timedelta(minutes=minute)).isoformat()
                lines.append(
                    f"{at},{price:.2f},{price + 0.01:.2f},{price - 0.01:.2f},{price:.2f},10000,"
                    f"{price - 0.01:.2f},{price + 0.01:.2f}"
                )
        name = f"S{chr(65 + number // 26)}{chr(65 + number % 26)}"
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")


class SoakDesk(GatedDesk):
    """A desk whose exchange misbehaves when told."""

    def _exchange_flags(self) -> tuple[str, ...]:
        return ("--faults",)


@dataclass(slots=True)
class Observed:
    """What was seen of the desk's processes."""

    pids: dict[str, list[int]] = field(default_factory=dict)
    memory: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)


class Watcher:
    """Looks at processes and memory every five seconds."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._began_s = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(SAMPLE_S):
            for name, pid in actor_pids().items():
                pids = self._observed.pids.setdefault(name, [])
                if pid not in pids:
                    pids.append(pid)
            at_s = time.monotonic() - self._began_s
            for name, mib in memory_mib().items():
                self._observed.memory.setdefault(name, []).append((at_s, mib))


def actor_pids() -> dict[str, int]:
    """Process ids of the actors that answer."""
    asked = {}
    for row in ray.util.list_named_actors(all_namespaces=True):
        with suppress(RayError, ValueError):
            asked[row["name"]] = ray.get_actor(row["name"], namespace=NAMESPACE).pid.remote()
    found = {}
    for name, reference in asked.items():
        with suppress(RayError):
            found[name] = ray.get(reference, timeout=2)
    return found


def memory_mib() -> dict[str, float]:
    """MiB that each kind of process has for itself: the mean over its processes."""
    found: dict[str, list[float]] = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            words = process.cmdline()
            name = words[0].split(".")[0].split(":")[-1] if words else process.name()
            name = name if words and words[0].startswith("ray::") else process.name()
            if "cluster.paper_exchange" in words:
                name = "paper exchange"
            found.setdefault(name, []).append(process.memory_full_info().uss / 2**20)
    found["this program"] = [psutil.Process().memory_full_info().uss / 2**20]
    return {name: statistics.fmean(values) for name, values in found.items()}


class Faults:
    """The faults, and the one source of chance."""

    def __init__(self, rig: ProcessDesk, observed: Observed, seed: int) -> None:
        self._rig = rig
        self._observed = observed
        self._random = random.Random(seed)
        self.struck: Counter[str] = Counter()
        self._kinds: tuple[tuple[str, Callable[[], None]], ...] = (
            ("kill an actor", self._kill),
            ("hang an actor", self._hang),
            ("cut the data stream", lambda: self._disconnect("data")),
            ("cut the trade stream", lambda: self._disconnect("trade_updates")),
            ("answer 503 with a page", self._refuse),
            ("lose the answers to orders", lambda: self._rule("POST /v2/orders", "drop", count=2)),
            ("never answer", lambda: self._rule("GET /v2/", "hold", count=2)),
            ("cut every connection", rig.gate.cut),
            ("refuse every connection", self._shut),
            ("kill the cache", self._kill_cache),
            ("hang the database", self._hang_database),
        )

    def strike(self) -> str:
        """The next fault, seen through."""
        name, act = self._random.choice(self._kinds)
        self.struck[name] += 1
        act()
        return name

    def clear(self) -> None:
        """Nothing misbehaves any more."""
        requests.delete(f"{self._rig.direct_url}/control/faults", timeout=5)

    def _victim(self) -> str | None:
        living = actor_pids()
        names = sorted(n for n in living if n in CORE or n.startswith("position-monitor"))
        return self._random.choice(names) if names else None

    def _kill(self) -> None:
        name = self._victim()
        if name is not None and self._rig.kill(name):
            self._observed.kills[name] += 1

    def _hang(self) -> None:
        name = self._victim()
        if name is not None:
            os.kill(self._rig.pid(name), signal.SIGSTOP)
            self._observed.kills[name] += 1

    def _disconnect(self, stream: str) -> None:
        url = f"{self._rig.direct_url}/control/disconnect"
        requests.post(url, params={"stream": stream}, timeout=5)

    def _refuse(self) -> None:
        options = {"status": 503, "body": "<html>no</html>", "content_type": "text/html"}
        self._rule("/v2/(orders|positions|account)", "status", count=6, **options)

    def _rule(self, match: str, action: str, **options: object) -> None:
        rule = {"match": match, "action": action, **options}
        requests.post(f"{self._rig.direct_url}/control/faults", json=rule, timeout=5)

    def _shut(self) -> None:
        self._rig.gate.shut()
        time.sleep(2)
        self._rig.gate.open()

    def _kill_cache(self) -> None:
        self._rig.redis().kill()
        time.sleep(1)
        services.start_redis(self._rig.home)

    def _hang_database(self) -> None:
        with suspended(self._rig.postgres_family()):
            time.sleep(3)


def settled(rig: ProcessDesk, bound_s: float) -> dict[str, object]:
    """Compare the two ledgers until they agree, at most for so long."""
    until = time.monotonic() + bound_s
    while True:
        with suppress(BrokerUnavailable):
            sent = rig.executed()
            booked = rig.booked()
            theirs = {(p.symbol, p.qty) for p in rig.broker.positions()}
            ours = {(p.symbol, p.qty) for p in rig.ledger.open_positions()}
            differ = {
                "executions_not_booked": len(sent - booked),
                "fills_not_executed": len(booked - rig.executed()),
                "positions_that_differ": len(theirs ^ ours),
                "fills": len(booked),
            }
            is_equal = not any(differ[name] for name in list(differ)[:3])
            if is_equal or time.monotonic() > until:
                return {**differ, "is_equal": is_equal}
        time.sleep(0.5)


def growth(samples: list[tuple[float, float]], total_s: float) -> float | None:
    """Median of the last third over that of the middle third; None with too few samples."""
    middle = [mib for at_s, mib in samples if total_s / 3 <= at_s < 2 * total_s / 3]
    last = [mib for at_s, mib in samples if at_s >= 2 * total_s / 3]
    if len(middle) < 3 or len(last) < 3:
        return None
    return statistics.median(last) / statistics.median(middle)


def run(minutes: float, seed: int) -> dict[str, object]:
    """Soak, print lines for people, return the result."""
    base = Path(tempfile.mkdtemp(prefix="greenlight-soak-"))
    write_history(base / "history")
    settings = {
        "source": f"csv:{base / 'history'}",
        "start": START,
        "end": END,
        "speed": SPEED,
        "timeframe": "1Min",
        "target_frac": 0.004,
        "store_deadline_s": 2,
    }
    observed = Observed()
    try:
        with process_desk(base / "home", SoakDesk, **settings) as rig:
            began_s, rows = time.monotonic(), _rows(rig)
            watcher, faults = Watcher(observed), Faults(rig, observed, seed)
            watch = rig.watched(bound_s=float("inf"))
            naked = watch.__enter__()
            until_s = began_s + 60 * minutes - QUIET_S
            while (left_s := until_s - time.monotonic()) > 0:
                time.sleep(min(EVERY_S, left_s))
                at_s, before_s = time.monotonic() - began_s, naked.longest_s
                name = faults.strike()
                print(f"  {at_s:7.1f} s  {name} (uncovered so far {before_s:.1f} s)", flush=True)
            faults.clear()
            time.sleep(QUIET_S)
            took_s = time.monotonic() - began_s
            ledger = settled(rig, 30)
            rate = (_rows(rig) - rows) / took_s
            watcher.stop()
            watch.__exit__(None, None, None)
            supervisor = ray.get_actor("supervisor", namespace=NAMESPACE)
            replaced = ray.get(supervisor.call.remote("status")).replaced
    finally:
        shutil.rmtree(base, ignore_errors=True)
    restarts = {name: len(pids) - 1 for name, pids in observed.pids.items() if len(pids) > 1}
    unexpected = {n: k - observed.kills[n] for n, k in restarts.items() if k > observed.kills[n]}
    grown = {}
    for name, samples in sorted(observed.memory.items()):
        ratio = growth(samples, took_s)
        last_mib = samples[-1][1]
        if ratio is not None:
            print(f"  {last_mib:6.0f} MiB  {name}  x{ratio:.3f}")
            if ratio > FLAT:
                grown[name] = round(ratio, 3)
    print(f"  faults: {dict(faults.struck)}")
    print(f"  restarts {restarts}; by faults {dict(observed.kills)}; silent {dict(replaced)}")
    print(f"  {rate:.0f} quotes and bars recorded a second; ledger {ledger}")
    is_ok = naked.longest_s <= GOAL_S and ledger["is_equal"] and not unexpected and not grown
    return {
        "name": "soak",
        "value": round(naked.longest_s, 2),
        "unit": "s uncovered at the longest",
        "goal": GOAL_S,
        "ok": bool(is_ok),
        "spread": [0.0, round(naked.longest_s, 2)],
        "minutes": round(took_s / 60, 1),
        "seed": seed,
        "faults": sum(faults.struck.values()),
        "rows_a_second": round(rate),
        "ledger": ledger,
        "unexpected_restarts": unexpected,
        "grown": grown,
    }


def _rows(rig: ProcessDesk) -> int:
    (found,) = rig.ask("SELECT (SELECT count(*) FROM ticks) + (SELECT count(*) FROM bars)")
    return int(str(found[0]))


def main() -> int:
    """Run it and print the result; 1 where something was not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    result = run(given.minutes, given.seed)
    print(json.dumps(result), flush=True)
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
