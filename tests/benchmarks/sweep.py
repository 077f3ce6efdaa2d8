"""A sweep of 10 by 10 parameters over 20 symbols, beside vectorbt's in one run.

50,000 made-up minute bars a symbol; 100 shares bought at the next open after an RSI(14)
below a level, sold at the next open after one above another. With a 5% stop inside the
bar it stands beside vectorbt's exact mode (`from_order_func`), without one beside its
rust engine (`from_signals`). Both have to come to the same final equity in every cell.
A rate is bars times cells over seconds, indicators included on our side, on the threads
that this machine gives; of several turns the fastest. The peers live in an environment
of their own (`make bench-peers`); without it only our rates are told. The goals: 50
times the exact mode, 15 times the rust engine; without peers 145 million bars a second,
which is 50 times what was measured where the bare loop did 140.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from greenlight.domain.backtest_rules import compiled_limits
from greenlight.domain.backtest_sweep import Lane, sweep_lanes
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.indicators import RSI_STATE, FloatArray, rsi_step
from tests.benchmarks.backtest import FREE, NOTHING, bars_of, made_up, signals_of, terms

NAME = "sweep"
BARS, SYMBOLS, TURNS = 50_000, 20, 5
LOWS, HIGHS = np.linspace(20.0, 38.0, 10), np.linspace(50.0, 68.0, 10)
EXACT_SHARE, RUST_SHARE, ALONE_GOAL = 50.0, 15.0, 145.0
_PEERS = Path(os.environ.get("GREENLIGHT_PEERS", ".venv-peers")) / "bin" / "python"


@njit(cache=True)
def rsi_line(close: FloatArray) -> FloatArray:
    """Wilder's RSI(14) after each close, NaN at first."""
    state, found = np.zeros(RSI_STATE), np.empty(len(close))
    for i in range(len(close)):
        found[i] = rsi_step(state, close[i], 14)
    return found


def ours(columns: list[tuple[FloatArray, ...]], bars: list[Any], stop: float) -> FloatArray:
    """Final equities, float64[symbols, lows, highs]; indicators once a symbol."""
    lanes = []
    for prices, own in zip(columns, bars, strict=True):
        close = prices[3][:, 0]
        rsi = rsi_line(close)
        entries = []
        for low in LOWS:
            at = np.flatnonzero(rsi < low)
            none = np.empty((0, 0), dtype=np.bool_)
            made = signals_of(at, np.zeros(len(at)), close[at], none)
            entries.append(
                made._replace(
                    hold=np.full(len(at), 1_000_000, dtype=np.int64),
                    stop_frac=np.full(len(at), stop),
                    target_frac=np.full(len(at), np.inf),
                )
            )
        leaves = (rsi[None, :] > HIGHS[:, None])[:, :, None]
        lanes.append(Lane(bars=own, actions=NOTHING, entries=entries, leaves=leaves))
    limits = compiled_limits(RiskLimits())
    return sweep_lanes(lanes, costs=FREE, limits=limits, terms=terms(BARS, 100))


def run() -> dict[str, object]:
    """Measure, print lines for people, return the result."""
    prices = made_up(BARS, SYMBOLS)
    columns = [
        tuple(np.ascontiguousarray(column[:, i : i + 1]) for column in prices)
        for i in range(SYMBOLS)
    ]
    bars = [bars_of(one) for one in columns]
    exact, bare = ours(columns, bars, 0.05), ours(columns, bars, 1.0)
    rates: dict[str, list[float]] = {"exact": [], "bare": []}
    for _ in range(TURNS):
        for name, stop in (("exact", 0.05), ("bare", 1.0)):
            begun = time.perf_counter()
            ours(columns, bars, stop)
            taken_s = time.perf_counter() - begun
            rates[name].append(BARS * exact.size / taken_s / 1e6)
    best = {name: max(found) for name, found in rates.items()}
    print(f"  ours with a stop {best['exact']:.0f} million bars/s, without {best['bare']:.0f}")
    is_ok, goal = best["exact"] >= ALONE_GOAL, ALONE_GOAL
    if _PEERS.exists():
        peers = _peers(prices, columns)
        shares = {
            "exact": best["exact"] / peers["exact_rate"],
            "rust": best["bare"] / peers["rust_rate"],
        }
        count = peers["symbols"]
        is_equal = np.allclose(exact[:count], peers["exact"], rtol=0, atol=1e-6) and np.allclose(
            bare, peers["rust"], rtol=0, atol=1e-6
        )
        print(
            f"  vectorbt exact {peers['exact_rate']:.1f}, rust {peers['rust_rate']:.1f}: "
            f"{shares['exact']:.0f} times (goal {EXACT_SHARE:.0f}) and "
            f"{shares['rust']:.0f} times (goal {RUST_SHARE:.0f}); "
            f"final equities {'equal' if is_equal else 'DIFFER'}"
        )
        is_ok = is_equal and shares["exact"] >= EXACT_SHARE and shares["rust"] >= RUST_SHARE
        goal = max(EXACT_SHARE * peers["exact_rate"], RUST_SHARE * peers["rust_rate"])
    else:
        print("  no peers here: 'make bench-peers' installs them")
    return {
        "name": NAME,
        "value": round(best["exact"], 1),
        "unit": "million bars/s",
        "goal": round(goal, 1),
        "ok": bool(is_ok),
        "spread": [round(min(rates["exact"]), 1), round(best["exact"], 1)],
    }


def _peers(prices: tuple[FloatArray, ...], columns: list[tuple[FloatArray, ...]]) -> dict[str, Any]:
    rsi = np.column_stack([rsi_line(one[3][:, 0]) for one in columns])
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder) / "given.npz", Path(folder) / "answer.npz"
        np.savez(
            given, open=prices[0], low=prices[2], close=prices[3], rsi=rsi, lows=LOWS, highs=HIGHS
        )
        command = [str(_PEERS), "-m", "tests.benchmarks.sweep_peers", str(given), str(answer)]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        if told.returncode:
            raise RuntimeError(f"the peers did not run: {told.stderr.strip()[-500:]}")
        found: dict[str, Any] = json.loads(told.stdout.splitlines()[-1])
        with np.load(answer) as arrays:
            found |= {name: arrays[name] for name in arrays.files}
    return found
