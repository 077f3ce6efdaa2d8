"""Wealth by exact fractions, a leverage and a day at a time, written beside this file.

python tests/golden/wealth_twin.py
"""

from __future__ import annotations

import csv
import json
from fractions import Fraction
from pathlib import Path

CASES = (
    # The strategy's returns, the universe's, the exposure of the session before.
    (["0.01", "-0.02", "0.03"], ["0", "0", "0"], ["0", "0", "0"]),
    (["0.01", "-0.02", "0.03"], ["0.02", "-0.01", "0.04"], ["0.5", "0.7", "0.3"]),
    (["0.10", "-0.10", "0.05"], ["0", "0", "0"], ["1", "1", "1"]),
    (["0.01", "-0.101", "0.05"], ["0", "0", "0"], ["0", "0", "0"]),
    (["0.25", "-0.01"], ["0", "0"], ["0", "0"]),
)


def path(returns: list[str], universe: list[str], exposures: list[str]) -> list[float]:
    found, told = [Fraction(1)], Fraction(0)
    stakes = [Fraction(1, 20)] * 20
    for day, (r, u, e) in enumerate(zip(returns, universe, exposures, strict=True), start=1):
        told += Fraction(e)
        excess = Fraction(r) - told / day * Fraction(u)
        if excess < Fraction(-1, 10):
            stakes = [Fraction(0)] * 20
        gain = min(excess, Fraction(1, 10))
        stakes = [stake * (1 + Fraction(i + 1, 2) * gain) for i, stake in enumerate(stakes)]
        found.append(sum(stakes, Fraction(0)))
    return [float(wealth) for wealth in found]


def main() -> None:
    with Path(__file__).with_name("wealth.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("given", "path"))
        for case in CASES:
            writer.writerow((json.dumps(case), json.dumps(path(*case))))


if __name__ == "__main__":
    main()
