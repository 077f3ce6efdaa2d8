"""The intraday path once more, point by point in plain Python.

The slow twin of `cluster.paper_exchange.intraday_path`: it follows the written
algorithm (path-1), not the code, shares with it only PCG64's words, and made the
checksum in the test. `python tests/golden/intraday_path_twin.py` prints it.
"""

from __future__ import annotations

import hashlib
import math
import struct
from itertools import pairwise

import numpy as np


def seed(symbol: str, day: str, part: int = 0) -> int:
    text = f"{symbol}|{day}|{part}|path-1".encode()
    return int(hashlib.blake2b(text, digest_size=16).hexdigest(), 16)


def path(
    seed: int, minutes: int, ohlc: tuple[float, float, float, float], volume: int
) -> tuple[list[list[float]], list[int]]:
    opened, high, low, close = ohlc
    count = 4 * minutes
    words = [int(w) for w in np.random.PCG64(seed).random_raw(count - 1 + minutes)]

    walk = [0]
    for i in range(count - 1):
        total = sum((words[i] >> (16 * k)) % 65536 for k in range(4)) - 131070
        edge = 2 * i - (count - 2)
        walk.append(walk[-1] + total * (64 + (64 * edge * edge) // (count - 2) ** 2))
    last = count - 1
    bridge = [walk[k] * last - walk[last] * k for k in range(count)]
    inner = range(1, last)
    top = max(inner, key=lambda k: bridge[k])
    bottom = min(inner, key=lambda k: bridge[k])
    pins = {0: opened, last: close}
    if high not in (opened, close):
        pins[top] = high
    if low not in (opened, close):
        pins[bottom] = low

    price = [opened] * count
    if high > low:
        scale = (high - low) / (1.6 * (37_837.2 * 87.44) * math.sqrt(last))
        places = sorted(pins)
        for a, b in pairwise(places):
            for k in range(a, b):
                share = (k - a) / (b - a)
                wobble = ((walk[k] - walk[a]) - share * (walk[b] - walk[a])) * scale
                raw = pins[a] + share * (pins[b] - pins[a]) + wobble
                turned = (raw - low) % (2 * (high - low))
                inside = (high - low) - abs(turned - (high - low))
                price[k] = min(max(round((low + inside) * 100) / 100, low), high)
        for k, value in pins.items():
            price[k] = value
    bars = []
    for m in range(minutes):
        four = price[4 * m : 4 * m + 4]
        bars.append([four[0], max(four), min(four), four[3]])

    floor = 4 if volume >= 4 * minutes else 0
    weights = []
    for m in range(minutes):
        edge = 2 * m - (minutes - 1)
        shape = 64 + (192 * edge * edge) // max(minutes - 1, 1) ** 2
        weights.append(shape * (128 + (words[count - 1 + m] >> 56)))
    shares, given, sum_so_far = [], 0, 0
    for weight in weights:
        sum_so_far += weight
        due = (volume - floor * minutes) * sum_so_far // sum(weights)
        shares.append(due - given + floor)
        given = due
    return bars, shares


def checksum(bars: list[list[float]], shares: list[int]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for bar in bars:
        digest.update(struct.pack("<4d", *bar))
    for share in shares:
        digest.update(struct.pack("<q", share))
    return digest.hexdigest()


if __name__ == "__main__":
    # AAPL on 2013-03-01, as the sample data has it.
    made = path(seed("AAPL", "2013-03-01"), 390, (438.0, 438.1799, 429.98, 430.47), 19_730_300)
    print(checksum(*made))  # noqa: T201 - a generator prints what it made
