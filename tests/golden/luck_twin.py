"""Answers of skfolio on luck, and of a slow count on overfitting, beside this file.

The probabilistic and the deflated ratio and the best of N are skfolio's. The shortest
track record is the length at which scipy's Normal reaches the confidence, found by
bisection. (jsharpe follows its authors' later paper, which takes the variance under the
hypothesis and T for T - 1, so it answers something else.) Overfitting is counted split
by split in plain Python. In an environment of its own:

    uv venv /tmp/luck && uv pip install --python /tmp/luck/bin/python skfolio==1.12.2
    /tmp/luck/bin/python tests/golden/luck_twin.py
"""

from __future__ import annotations

import csv
import json
import math
import statistics
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy import optimize, stats
from skfolio.measures import (
    deflated_sharpe_ratio,
    expected_max_sharpe_ratio,
    probabilistic_sharpe_ratio,
)


def sharpe(values: list[float]) -> float:
    return statistics.fmean(values) / statistics.stdev(values)


def shortest(ratio: float, benchmark: float, skew: float, kurtosis: float) -> float:
    def short_of(count: float) -> float:
        error = math.sqrt((1 - skew * ratio + (kurtosis - 1) / 4 * ratio**2) / (count - 1))
        return float(stats.norm.cdf((ratio - benchmark) / error)) - 0.95

    return float(optimize.brentq(short_of, 2, 1e7, xtol=1e-9))


def overfitting(returns: list[list[float]], blocks: int) -> float:
    length = len(returns[0]) // blocks
    skipped = len(returns[0]) - length * blocks
    lost = splits = 0
    for chosen in combinations(range(blocks), blocks // 2):
        days = [d for b in chosen for d in range(skipped + b * length, skipped + (b + 1) * length)]
        others = [d for d in range(skipped, len(returns[0])) if d not in set(days)]
        inside = [sharpe([row[d] for d in days]) for row in returns]
        outside = [sharpe([row[d] for d in others]) for row in returns]
        best = inside.index(max(inside))
        rank = 1 + sum(other < outside[best] for other in outside)
        share = rank / (len(returns) + 1)
        lost += math.log(share / (1 - share)) <= 0
        splits += 1
    return lost / splits


def main() -> None:
    rng = np.random.default_rng(20140901)
    with Path(__file__).with_name("luck.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("returns", "trial_sharpes", "answers"))
        for count, mean, scale, trials in ((120, 0.002, 0.01, 12), (500, 0.001, 0.012, 40)):
            returns = np.round(rng.standard_t(4, count) * scale + mean, 8)
            ratios = np.round(rng.normal(0, 0.04, trials), 8)
            ratio = float(returns.mean() / returns.std(ddof=1))
            skew, kurtosis = (
                float(stats.skew(returns)),
                float(stats.kurtosis(returns, fisher=False)),
            )
            answers = {
                "psr": probabilistic_sharpe_ratio(returns, benchmark_sharpe_ratio=0.01),
                "min_trl": shortest(ratio, 0.01, skew, kurtosis),
                "luckiest": expected_max_sharpe_ratio(trials, float(np.std(ratios, ddof=1))),
                "dsr": deflated_sharpe_ratio(returns, ratios),
            }
            told = {name: float(value) for name, value in answers.items()}
            writer.writerow(
                (json.dumps(returns.tolist()), json.dumps(ratios.tolist()), json.dumps(told))
            )
    with Path(__file__).with_name("overfitting.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("returns", "blocks", "pbo"))
        for sets, count, blocks, edge in ((5, 33, 4, 0.0), (8, 64, 6, 0.0), (6, 50, 4, 0.004)):
            table = rng.normal(0, 0.01, (sets, count))
            table[0] += edge
            rows = np.round(table, 8).tolist()
            writer.writerow((json.dumps(rows), blocks, repr(overfitting(rows, blocks))))


if __name__ == "__main__":
    main()
