"""Traders without an edge on real prices, for the calibration of the gate.

Three kinds, each of which may earn what holding earns and no more. "random_entry"
buys by chance and holds one to three sessions. "sign_flipped" trades where a simple
rule does (a fall over three sessions, held for three), long or short by chance.
"time_shuffled" holds what that rule held at another time. Before it stands a table
of daily returns; after it the gate's compiled twin.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from greenlight.domain.calibration import Traders
from greenlight.domain.metrics import FloatArray, IntArray

KINDS: Final = ("random_entry", "sign_flipped", "time_shuffled")
_WEIGHT: Final = 0.20
"""Share of equity in each position."""
_ENTRY: Final = 0.5
"""Chance that random entry buys a symbol that it does not hold: about 330 trades a year."""
_HOLD: Final = 3
_FALL: Final = 3
_RANDOM: Final = 0
_FLIPPED: Final = 1

SignArray = NDArray[np.int8]


def draw_history_traders(
    kind: str, market: FloatArray, first: IntArray, sessions: int, rng: np.random.Generator
) -> Traders:
    """Traders of one kind, each from a session of its own on.

    Parameters
    ----------
    market : FloatArray
        float64[days, symbols]: daily returns, fractions, dividends left out.
    first : IntArray
        int64[traders]: the day at which each begins; `sessions` days must follow.

    Raises
    ------
    ValueError
        There is no such kind, or a window leaves the table.
    """
    if kind not in KINDS:
        raise ValueError(f"there is no kind {kind}; there are {', '.join(KINDS)}")
    if not len(first) or first.min() < 0 or first.max() + sessions > len(market):
        raise ValueError(f"{sessions} sessions leave the {len(market)} days")
    shape = (len(first), sessions, market.shape[1])
    base = _rule(market)
    shift = rng.integers(2 * _HOLD, len(market) - 2 * _HOLD, len(first))
    return Traders(
        *_trade(KINDS.index(kind), market, base, first, shift, rng.random(shape), rng.random(shape))
    )


@njit(cache=True)
def _rule(market: FloatArray) -> SignArray:
    """The number of the session of a position that the rule holds (1 to 3); 0: none."""
    found = np.zeros(market.shape, dtype=np.int8)
    for s in range(market.shape[1]):
        for t in range(_FALL, market.shape[0]):
            held = found[t - 1, s]
            if 0 < held < _HOLD:
                found[t, s] = held + 1
                continue
            fell = True
            for back in range(1, _FALL + 1):
                fell = fell and market[t - back, s] < 0
            found[t, s] = 1 if fell else 0
    return found


@njit(cache=True)
def _trade(
    kind: int,
    market: FloatArray,
    base: SignArray,
    first: IntArray,
    shift: IntArray,
    entry: FloatArray,
    hold: FloatArray,
) -> tuple[FloatArray, FloatArray, IntArray, IntArray]:
    traders, sessions, symbols = entry.shape
    returns, excess = np.zeros((traders, sessions)), np.zeros((traders, sessions))
    closed = np.zeros((traders, sessions), dtype=np.int64)
    won = np.zeros((traders, sessions), dtype=np.int64)
    days = market.shape[0]
    for i in range(traders):
        left = np.zeros(symbols, dtype=np.int64)
        sign = np.ones(symbols)
        gain = np.ones(symbols)
        told = 0.0
        for t in range(sessions):
            day = first[i] + t
            universe = exposure = total = 0.0
            for s in range(symbols):
                universe += market[day, s] / symbols
                if left[s] == 0:
                    gain[s], sign[s] = 1.0, 1.0
                    if kind == _RANDOM:
                        if entry[i, t, s] < _ENTRY:
                            left[s] = 1 + int(_HOLD * hold[i, t, s])
                    else:
                        at = day if kind == _FLIPPED else (day + shift[i]) % days
                        if base[at, s] == 1:
                            left[s] = _HOLD
                            if kind == _FLIPPED and hold[i, t, s] < 0.5:
                                sign[s] = -1.0
                if left[s] > 0:
                    move = sign[s] * market[day, s]
                    total += _WEIGHT * move
                    exposure += _WEIGHT * sign[s]
                    gain[s] *= 1 + move
                    left[s] -= 1
                    if left[s] == 0:
                        closed[i, t] += 1
                        won[i, t] += 1 if gain[s] > 1 else 0
            returns[i, t] = total
            # The mean exposure of the sessions before; the first is not bet on.
            excess[i, t] = 0.0 if t == 0 else total - told / t * universe
            told += exposure
    return returns, excess, closed, won
