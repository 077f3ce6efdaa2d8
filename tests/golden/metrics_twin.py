"""Answers to the metrics from elsewhere: pandas and statsmodels. Writes metrics.csv.

Run as ``python tests/golden/metrics_twin.py`` where statsmodels is installed.
"""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

FILE = Path(__file__).with_name("metrics.csv")


def rows() -> list[tuple[str, str, str]]:
    """Figure, inputs and answer, the last two as JSON."""
    found: list[tuple[str, object, object]] = []
    for wins, trials in ((0, 1), (1, 1), (3, 10), (16, 30), (30, 30), (161, 223), (5001, 10000)):
        low, high = proportion_confint(wins, trials, alpha=0.05, method="wilson")
        found.append(("wilson", [wins, trials], [float(low), float(high)]))
    for seed, size in ((1, 2), (2, 20), (3, 252), (4, 1000)):
        equity = pd.Series(
            100_000 * np.cumprod(1 + np.random.default_rng(seed).normal(0.0004, 0.01, size + 1))
        ).round(2)
        returns = equity.pct_change().dropna()
        sharpe = returns.mean() / returns.std() * math.sqrt(252)
        found.append(("sharpe", equity.tolist(), float(sharpe)))
        drawdown = float(-(equity / equity.cummax() - 1).min())
        found.append(("drawdown", equity.tolist(), drawdown))
    return [(name, json.dumps(given), json.dumps(answer)) for name, given, answer in found]


if __name__ == "__main__":
    with FILE.open("w", newline="") as file:
        csv.writer(file).writerows([("figure", "given", "answer"), *rows()])
