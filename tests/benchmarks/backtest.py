"""The backtest's loop beside a bare compiled one, in one run.

A million minute bars of a made-up share, an RSI(14) below 30 to buy and above 50 to
leave, a 5% stop. The bare loop does no more than hold, mark and count: no costs,
sizes, rules, records or gaps. Beside it: our loop on one symbol with fixed shares,
the strategy's compiled steps with it, and the whole engine (five positions, sizes,
the risk chain, costs) on 20 symbols of 50,000 bars each, per bar of a symbol. All in
turn, the fastest of five turns for each. The goals: on one symbol 53 million bars a
second, which is 20 times what vectorbt's from_order_func did where the bare loop
did 140; the whole engine at least a quarter of the bare loop. How long a first run
takes in a new process, with the compiled code on disk, is told without a goal.
"""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from numba import njit

from greenlight.domain.backtest_arrays import Actions, Bars, BoolArray, Signals, Terms
from greenlight.domain.backtest_fills import CostTerms
from greenlight.domain.backtest_loop import run_bars
from greenlight.domain.backtest_rules import compiled_limits
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.indicators import RSI_STATE, FloatArray, rsi_step
from greenlight.domain.mean_reversion import mean_reversion_signals

NAME = "backtest"
BARS, SYMBOLS, MINUTES, TURNS = 1_000_000, 20, 390, 5
SINGLE_GOAL, SHARE_GOAL = 53.0, 0.25
FREE = CostTerms(0.0, 0.0, 0.0, 0.0, False)
REAL = CostTerms(0.0005, 0.0001, 0.0, 0.0, True)
_START = """
import time
begun = time.perf_counter()
from tests.benchmarks import backtest
backtest.first_run()
print(time.perf_counter() - begun)
"""


@njit(cache=True)
def bare_loop(
    opened: FloatArray, low: FloatArray, close: FloatArray, buy: FloatArray, sell: FloatArray
) -> FloatArray:
    """Hold 100 shares between signals, with a stop; equity after each bar."""
    equity = np.empty(len(close))
    cash, shares, stop = 100_000.0, 0.0, 0.0
    for t in range(len(close)):
        if t > 0:
            if shares > 0.0 and sell[t - 1] > 0.0:
                cash += shares * opened[t]
                shares = 0.0
            elif shares == 0.0 and buy[t - 1] > 0.0:
                shares, stop = 100.0, close[t - 1] * 0.95
                cash -= shares * opened[t]
        if shares > 0.0 and low[t] <= stop:
            cash += shares * min(stop, opened[t])
            shares = 0.0
        equity[t] = cash + shares * close[t]
    return equity


@njit(cache=True)
def rsi_levels(close: FloatArray, low: float, high: float) -> tuple[FloatArray, FloatArray]:
    """1 where Wilder's RSI(14) is below `low`, and where it is above `high`."""
    state = np.zeros(RSI_STATE)
    buy, sell = np.zeros(len(close)), np.zeros(len(close))
    for i in range(len(close)):
        rsi = rsi_step(state, close[i], 14)
        buy[i], sell[i] = rsi < low, rsi > high
    return buy, sell


def made_up(count: int, symbols: int) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Open, high, low, close of random walks: float64[count, symbols]."""
    rng = np.random.default_rng(20131007)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0, 5e-4, size=(count, symbols)), axis=0))
    opened = np.vstack([close[:1], close[:-1]]) * np.exp(rng.normal(0, 1e-4, size=close.shape))
    high = np.maximum(opened, close) * (1 + rng.exponential(2e-4, size=close.shape))
    low = np.minimum(opened, close) * (1 - rng.exponential(2e-4, size=close.shape))
    return opened, high, low, close


def bars_of(prices: tuple[FloatArray, ...]) -> Bars:
    """Minutes of as many sessions as it takes, with returns of their own."""
    count, symbols = prices[3].shape
    at = np.arange(count, dtype=np.int64)
    session = at // MINUTES
    days = int(session[-1]) + 1
    start_s = 1_381_152_600 + 86_400 * session + 60 * (at % MINUTES)
    rng = np.random.default_rng(7)
    return Bars(
        *prices,
        start_s=start_s,
        end_s=start_s + 60,
        session=session,
        leave=np.minimum(np.arange(days) * MINUTES + MINUTES - 10, count),
        returns=rng.normal(0, 0.02, size=(days, symbols)),
        sound=np.ones((days, symbols), dtype=np.bool_),
        sec_usd=np.full(days, 17.4),
        taf_usd=np.full(days, 0.000119),
        taf_cap_usd=np.full(days, 5.95),
        sector=np.arange(symbols, dtype=np.int64) // 2,
        last=np.full(symbols, count - 1, dtype=np.int64),
    )


def signals_of(bar: FloatArray, symbol: FloatArray, close: FloatArray, leave: BoolArray) -> Signals:
    """Signals to buy at these bars; `leave` asks for symbols to be left."""
    count = len(bar)
    return Signals(
        bar=bar.astype(np.int64),
        symbol=symbol.astype(np.int64),
        confidence=np.full(count, 3, dtype=np.int64),
        hold=np.full(count, 3, dtype=np.int64),
        atr=np.full(count, 1.0),
        stop_frac=np.full(count, 0.05),
        target_frac=np.full(count, 0.05),
        reference=close,
        volatility_scale=np.ones(count),
        leave=leave,
    )


NO_EXITS = np.empty((0, 0), dtype=np.bool_)
NOTHING = Actions(
    np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0), np.empty(0)
)


def terms(count: int, fixed_qty: int) -> Terms:
    """One symbol with fixed shares trades at the next open; sized ones rest as the desk's do."""
    return Terms(
        first=0,
        end=count,
        is_judged_at_open=fixed_qty > 0,
        is_left_at_open=True,
        fixed_qty=fixed_qty,
        entry_bars=5,
        reprices=2,
        reprice_bars=2,
        resume_sessions=1,
        start_cash_usd=100_000.0,
    )


def single(close: FloatArray, buy: FloatArray, sell: FloatArray) -> Signals:
    """The bare loop's signals for ours."""
    at = np.flatnonzero(buy)
    return signals_of(at, np.zeros(len(at)), close[at], sell.reshape(-1, 1) > 0)


def first_run() -> None:
    """What a new process does before its first result."""
    prices = made_up(5000, 1)
    close = np.ascontiguousarray(prices[3][:, 0])
    buy, sell = rsi_levels(close, 30.0, 50.0)
    limits = compiled_limits(RiskLimits())
    run_bars(bars_of(prices), single(close, buy, sell), NOTHING, FREE, limits, terms(5000, 100))


def fastest(*timed: Callable[[], object]) -> list[float]:
    """Seconds of each, in turn, the best of several turns."""
    best = [math.inf] * len(timed)
    for _ in range(TURNS):
        for i, one in enumerate(timed):
            begun = time.perf_counter()
            one()
            best[i] = min(best[i], time.perf_counter() - begun)
    return best


def run() -> dict[str, object]:
    """Measure, print lines for people, return the result."""
    first_run()
    took = [
        float(
            subprocess.run([sys.executable, "-c", _START], capture_output=True, check=True).stdout
        )
        for _ in range(3)
    ]
    prices = made_up(BARS, 1)
    opened, _, low, close = (np.ascontiguousarray(column[:, 0]) for column in prices)
    buy, sell = rsi_levels(close, 30.0, 50.0)
    one, limits = bars_of(prices), compiled_limits(RiskLimits())
    wanted = single(close, buy, sell)
    many_prices = made_up(BARS // SYMBOLS, SYMBOLS)
    many = bars_of(many_prices)
    fired = [
        mean_reversion_signals(
            *(np.ascontiguousarray(column[:, i]) for column in many_prices[1:]),
            14,
            30.0,
            0,
            0.0,
            0.0,
            0.05,
            0.05,
        )
        for i in range(SYMBOLS)
    ]
    at, symbol = np.nonzero(np.column_stack([found[:, 0] for found in fired]))
    wishes = signals_of(at, symbol, many_prices[3][at, symbol], NO_EXITS)

    def with_steps() -> None:
        found, left = rsi_levels(close, 30.0, 50.0)
        run_bars(one, single(close, found, left), NOTHING, FREE, limits, terms(BARS, 100))

    def whole() -> tuple[object, int]:
        return run_bars(many, wishes, NOTHING, REAL, limits, terms(BARS // SYMBOLS, 0))

    timed = fastest(
        lambda: bare_loop(opened, low, close, buy, sell),
        lambda: run_bars(one, wanted, NOTHING, FREE, limits, terms(BARS, 100)),
        with_steps,
        whole,
    )
    bare, ours, stepped, engine = (BARS / seconds / 1e6 for seconds in timed)
    is_ok = ours >= SINGLE_GOAL and engine >= SHARE_GOAL * bare
    print(f"  bare loop {bare:.0f} million bars/s")
    print(
        f"  our loop on one symbol {ours:.0f} (goal {SINGLE_GOAL:.0f}), with the RSI {stepped:.0f}"
    )
    print(
        f"  whole engine on {SYMBOLS} symbols {engine:.0f}, {engine / bare:.2f} of the bare loop "
        f"(goal {SHARE_GOAL}); {len(at):,} signals, {whole()[1]:,} trades"
    )
    print(f"  first run in a new process {min(took):.2f} to {max(took):.2f} s")
    return {
        "name": NAME,
        "value": round(ours, 1),
        "unit": "million bars/s",
        "goal": SINGLE_GOAL,
        "ok": bool(is_ok),
        "spread": [round(stepped, 1), round(ours, 1)],
    }
