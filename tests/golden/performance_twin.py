"""Answers of empyrical and scipy on made-up daily returns, written beside this file.

In an environment of their own:

    uv venv /tmp/peers && uv pip install --python /tmp/peers/bin/python \
        empyrical-reloaded scipy numpy pandas
    /tmp/peers/bin/python tests/golden/performance_twin.py
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import empyrical
import numpy as np
from scipy import stats


def main() -> None:
    rng = np.random.default_rng(20080102)
    path = Path(__file__).with_name("performance.csv")
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("returns", "benchmark", "answers"))
        for count, mean, scale in ((30, 0.001, 0.01), (252, 0.0004, 0.012), (120, -0.001, 0.02)):
            market = np.round(rng.standard_t(4, count) * scale / 2, 8)
            returns = np.round(0.6 * market + rng.standard_t(4, count) * scale / 2 + mean, 8)
            equity = np.cumprod(np.append(1.0, 1 + returns))
            below = equity < np.maximum.accumulate(equity)
            runs = "".join("x" if is_below else " " for is_below in below).split()
            answers = {
                "cagr": empyrical.cagr(returns),
                "volatility": empyrical.annual_volatility(returns),
                "sortino": empyrical.sortino_ratio(returns),
                "calmar": empyrical.calmar_ratio(returns),
                "longest_drawdown": max(map(len, runs), default=0),
                "beta": empyrical.beta(returns, market),
                "skewness": stats.skew(returns),
                "kurtosis": stats.kurtosis(returns, fisher=False),
            }
            told = {name: float(value) for name, value in answers.items()}
            writer.writerow(
                (json.dumps(returns.tolist()), json.dumps(market.tolist()), json.dumps(told))
            )


if __name__ == "__main__":
    main()
