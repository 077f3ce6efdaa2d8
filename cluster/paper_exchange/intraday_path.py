"""A made-up but reproducible minute path through real open, high, low and close.

Decided here: what the paper exchange replays inside a bar that is longer than a
minute. The path is a bridge of random steps pinned to the four real prices at
the places where the bridge itself is highest and lowest, folded into the bar's
range and rounded to cents. It is invented and marked so wherever it is shown.
Before this stand the daily and hour bars; after it the tapes.

The random part uses raw PCG64 words and whole numbers only, and the rest one
rounded float64 operation at a time, so every machine and every Python and NumPy
version makes the same path.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# A change of the algorithm changes this, since stored runs name their data by it.
PATH_VERSION: Final = "path-1"
POINTS: Final = 4
# A step is the sum of four uniform 16-bit numbers less its mean, times a shape
# between 64 and 128; its standard deviation is sqrt((2**32 - 1) / 3) times the
# shape's root mean square, 64 * sqrt(28 / 15).
_STEP_MEAN: Final = 2 * 65_535
_STEP_SD: Final = 37_837.2 * 87.44
# Expected range of a Brownian motion over its standard deviation: sqrt(8 / pi).
_RANGE_PER_SD: Final = 1.6
_MAX_VOLUME: Final = 2**36


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MinutePath:
    """Minute bars of a path: `bar` float64[m, 4] OHLC dollars, `volume` int64[m]."""

    bar: FloatArray
    volume: IntArray


def path_seed(symbol: str, day: date, part: int = 0) -> int:
    """The seed of a symbol's path on a day, and part of the day (an hour bar's hour)."""
    text = f"{symbol}|{day.isoformat()}|{part}|{PATH_VERSION}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")


def minute_path(
    *,
    seed: int,
    minutes: int,
    ohlc: tuple[float, float, float, float],
    volume: int,
    first_minute: int = 0,
    session_minutes: int | None = None,
) -> MinutePath:
    """Make the minute bars of one longer bar.

    Parameters
    ----------
    seed : int
        From `path_seed`.
    minutes : int
        Length of the bar, at least 1.
    ohlc : tuple of float
        Its real open, high, low and close in dollars.
    volume : int
        Its shares, 0 to 2**36.
    first_minute, session_minutes : int
        Where the bar stands in its session; by default it is the session.

    Returns
    -------
    MinutePath
        The first open is the bar's open, the last close its close, the highest
        high its high, the lowest low its low; the volumes add up to its volume
        and are larger at the session's ends. Prices are whole cents unless a
        real price is not.

    Raises
    ------
    ValueError
        The bar cannot be true, or its volume or length is out of range.
    """
    opened, high, low, close = ohlc
    if not (0 < low <= min(opened, close) and max(opened, close) <= high < math.inf):
        raise ValueError(f"open {opened} high {high} low {low} close {close} is no bar")
    if minutes < 1 or not 0 <= volume <= _MAX_VOLUME:
        raise ValueError(f"{minutes} minutes with {volume} shares cannot be split")
    whole = session_minutes or minutes
    count = POINTS * minutes
    words = np.random.PCG64(seed).random_raw(count - 1 + minutes)
    price = _points(words[: count - 1], ohlc, POINTS * first_minute, POINTS * whole)
    points = price.reshape(minutes, POINTS)
    bar = np.empty((minutes, 4))
    bar[:, 0], bar[:, 3] = points[:, 0], points[:, 3]
    bar[:, 1], bar[:, 2] = points.max(axis=1), points.min(axis=1)
    shares = _volumes(words[count - 1 :], volume, first_minute, whole)
    return MinutePath(bar=bar, volume=shares)


def _points(
    words: NDArray[np.uint64],
    ohlc: tuple[float, float, float, float],
    first: int,
    whole: int,
) -> FloatArray:
    opened, high, low, _ = ohlc
    count = len(words) + 1
    if high == low:
        return np.full(count, opened)
    walk = _walk(words, first, whole)
    knots = _knots(walk, ohlc)
    scale = (high - low) / (_RANGE_PER_SD * _STEP_SD * math.sqrt(count - 1))
    price = np.empty(count)
    for (k0, v0), (k1, v1) in pairwise(knots):
        share = np.arange(k1 - k0 + 1, dtype=np.float64) / (k1 - k0)
        rise = walk[k0 : k1 + 1] - walk[k0]
        bridge = rise - share * float(rise[-1])
        price[k0 : k1 + 1] = v0 + share * (v1 - v0) + bridge * scale
    width = high - low
    folded = width - np.abs(np.mod(price - low, 2 * width) - width)
    result = np.clip(np.rint((low + folded) * 100) / 100, low, high)
    for index, value in knots:
        result[index] = value
    return result


# The sum of the steps up to each point; int64, so exact. Steps are larger near
# the session's ends, as real ones are.
def _walk(words: NDArray[np.uint64], first: int, whole: int) -> IntArray:
    mask = np.uint64(0xFFFF)
    total = np.zeros(len(words), dtype=np.int64)
    for shift in (0, 16, 32, 48):
        total += ((words >> np.uint64(shift)) & mask).astype(np.int64)
    edge = 2 * (first + np.arange(len(words), dtype=np.int64)) - (whole - 2)
    shape = 64 + 64 * edge * edge // (whole - 2) ** 2
    walk = np.zeros(len(words) + 1, dtype=np.int64)
    np.cumsum((total - _STEP_MEAN) * shape, out=walk[1:])
    return walk


# The points that carry a real price, in order: first, last, and the highest and
# lowest inner point of the bridge, unless the open or close is that price.
def _knots(walk: IntArray, ohlc: tuple[float, float, float, float]) -> list[tuple[int, float]]:
    opened, high, low, close = ohlc
    last = len(walk) - 1
    bridge = walk * last - walk[-1] * np.arange(last + 1, dtype=np.int64)
    knots = {0: opened, last: close}
    top = 1 + int(np.argmax(bridge[1:-1]))
    bottom = 1 + int(np.argmin(bridge[1:-1]))
    if top == bottom:
        bottom = top + 1 if top + 1 < last else top - 1
    if high not in (opened, close):
        knots[top] = high
    if low not in (opened, close):
        knots[bottom] = low
    return sorted(knots.items())


# Whole shares in proportion to a U shape with noise; each minute gets at least
# one share a point where there are enough.
def _volumes(words: NDArray[np.uint64], volume: int, first: int, whole: int) -> IntArray:
    minutes = len(words)
    floor = POINTS if volume >= POINTS * minutes else 0
    edge = 2 * (first + np.arange(minutes, dtype=np.int64)) - (whole - 1)
    shape = 64 + 192 * edge * edge // max(whole - 1, 1) ** 2
    weight = shape * (128 + (words >> np.uint64(56)).astype(np.int64))
    cumulated = np.cumsum(weight)
    spread = (volume - floor * minutes) * cumulated // cumulated[-1]
    shares: IntArray = np.diff(spread, prepend=np.int64(0)) + floor
    return shares
