"""vectorbt on the sweep of `tests.benchmarks.sweep`, in an environment of its own.

It reads prices and the RSI, and writes final equities and rates. It imports nothing
of ours. The exact mode takes seconds a symbol, so it runs on the first few.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import pandas as pd
import vectorbt as vbt
from numba import njit
from vectorbt.portfolio import nb

EXACT_SYMBOLS, CASH, QTY, TURNS = 4, 100_000.0, 100.0, 2


@njit  # type: ignore[misc]
def order_func(  # type: ignore[no-untyped-def]
    c, opened, low, close, entries, exits, stops, sold_at
):
    i = c.i
    for col in range(c.from_col, c.to_col):
        held = c.last_position[col]
        is_asked = i > 0 and exits[i - 1, col]
        if c.call_idx == 0 and held > 0 and (is_asked or opened[i, 0] <= stops[col]):
            sold_at[col] = -1 if is_asked else i
            return col, nb.order_nb(size=-held, price=opened[i, 0])
        is_wanted = i > 0 and entries[i - 1, col] and sold_at[col] != i
        if c.call_idx <= 1 and held == 0 and is_wanted:
            seen = close[i - 1, 0] * (1.0 - 0.05)
            stops[col] = np.ceil(np.round(seen * 100.0, 9)) / 100.0
            return col, nb.order_nb(size=QTY, price=opened[i, 0])
        if c.call_idx <= 2 and held > 0 and low[i, 0] <= stops[col]:
            sold_at[col] = i
            return col, nb.order_nb(size=-held, price=min(stops[col], opened[i, 0]))
    return -1, nb.order_nothing_nb()


def main(given: str, answer: str) -> None:
    with np.load(given) as arrays:
        opened, low, close = arrays["open"], arrays["low"], arrays["close"]
        rsi, lows, highs = arrays["rsi"], arrays["lows"], arrays["highs"]
    cells = [(a, b) for a in lows for b in highs]

    def masks(s: int) -> tuple[Any, Any]:
        entries = np.column_stack([rsi[:, s] < a for a, _ in cells])
        return entries, np.column_stack([rsi[:, s] > b for _, b in cells])

    def exact(s: int) -> Any:
        entries, exits = masks(s)
        column = np.ascontiguousarray
        made = vbt.Portfolio.from_order_func(
            pd.DataFrame(np.repeat(close[:, s : s + 1], len(cells), axis=1)),
            order_func,
            column(opened[:, s : s + 1]),
            column(low[:, s : s + 1]),
            column(close[:, s : s + 1]),
            entries,
            exits,
            np.zeros(len(cells)),
            np.full(len(cells), -1),
            flexible=True,
            init_cash=CASH,
            max_orders=len(close) * 20,
        )
        return made.final_value().to_numpy().reshape(len(lows), len(highs))

    def rust(s: int) -> Any:
        entries, exits = masks(s)
        entries[1:], exits[1:] = entries[:-1].copy(), exits[:-1].copy()
        entries[0], exits[0] = False, False
        made = vbt.Portfolio.from_signals(
            pd.Series(close[:, s]),
            pd.DataFrame(entries),
            pd.DataFrame(exits),
            price=opened[:, s : s + 1],
            size=QTY,
            init_cash=CASH,
            engine="rust",
        )
        return made.final_value().to_numpy().reshape(len(lows), len(highs))

    told: dict[str, Any] = {"symbols": EXACT_SYMBOLS}
    found = {}
    for name, one, count in (("exact", exact, EXACT_SYMBOLS), ("rust", rust, close.shape[1])):
        one(0)
        best = np.inf
        for _ in range(TURNS):
            begun = time.perf_counter()
            found[name] = np.array([one(s) for s in range(count)])
            best = min(best, time.perf_counter() - begun)
        told[f"{name}_rate"] = count * len(close) * len(cells) / best / 1e6
    np.savez(answer, **found)
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
