"""GARCH(1,1) and GJR: climbing from several starts where the likelihood is rough, compiled.

Before it stands `garch_climb`, one climb; after it `volatility`, which chooses a
model and forecasts. Decided here: from where to climb.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from greenlight.domain.garch import (
    GRID_ALPHA,
    GRID_PERSISTENCE,
    MEAN,
    START_NU,
    VARIANCE,
    grid_heights,
    series_scale,
)
from greenlight.domain.garch_climb import box, climb, persistence, shock_weight
from greenlight.domain.indicators import FloatArray

HILLS = 4
"""Rows that a fit keeps for the next: its parameters and the tops of lower hills."""

_LANES = GRID_ALPHA.size
_GUARDS = 5
_LOW, _MIDDLE, _HIGH, _HIGHEST, _LOWEST = 0, 1, 2, 3, 5  # starts by their persistence
_FLAT = _LANES  # a start beside the grid, almost without shocks
_FLAT_ALPHA, _FLAT_PERSISTENCE = 0.001, 0.998
# Gamma over 2 alpha + gamma of GJR's starts: falls move the variance more; rises
# where next to nothing moves it.
_SKEW, _FLAT_SKEW = 0.5, -0.5
# Log-likelihood by which another hill may start lower and still be climbed.
_LOW_MARGIN = 4.0
_HIGH_MARGIN = 4.0
_MIDDLE_MARGIN = 8.0
_FAR = 30.0
_SAME = 1e-5  # closer log-likelihoods are of one top
_NO_FENCE = np.array([-1.0, 2.0, 2.0])
_FENCE_LOW = np.array([-1.0, 0.8, 2.0])
_FENCE_HIGH = np.array([0.95, 2.0, 0.04])


@njit(cache=True)
def _start(lane: int, scale: FloatArray, is_gjr: bool, is_t: bool) -> FloatArray:
    weight, kept = _FLAT_ALPHA, _FLAT_PERSISTENCE
    if lane != _FLAT:
        weight, kept = GRID_ALPHA[lane], GRID_PERSISTENCE[lane]
    k = 4 + is_gjr + is_t
    theta = np.empty(k)
    theta[0] = scale[MEAN]
    theta[1] = scale[VARIANCE] * (1.0 - kept)
    theta[2] = weight
    if is_gjr:
        skew = _FLAT_SKEW if lane == _FLAT else _SKEW
        theta[2] = weight * (1.0 - skew)
        theta[3] = 2.0 * weight * skew
    theta[3 + is_gjr] = kept - weight
    if is_t:
        theta[k - 1] = START_NU
    return theta


@njit(cache=True)
def maximise(
    returns_pct: FloatArray, near: FloatArray, is_gjr: bool, is_t: bool
) -> tuple[FloatArray, float, bool, int, float]:
    """The highest log-likelihood that the climbs from several starts reach.

    Parameters
    ----------
    returns_pct : float64[n]
        Daily returns in percent.
    near : float64[HILLS, k]
        What an earlier fit of a series near by returned (or its first row, the
        parameters, above rows of NaN); no rows for none.
    is_gjr : bool
        GJR, else GARCH.
    is_t : bool
        Student-t shocks, else Normal ones.

    Returns
    -------
    tuple
        Parameters (see `garch.log_likelihood`) and what else a later fit can
        start from, as `near`; log-likelihood, whether its climb converged, how
        many passes over the series were made, and the returns' variance. Where
        that is not positive and finite nothing was fitted.

    Notes
    -----
    The likelihood often has a second hill, at low persistence or at an alpha
    close to 0. A grid of starts shows whether one can be there; only then is it
    climbed too. GARCH climbs it from where its top was before, and gives up a
    climb that will not come up to the first; GJR does neither.
    """
    k = 4 + is_gjr + is_t
    scale, smooth = series_scale(returns_pct)
    variance = scale[VARIANCE]
    if not 0.0 < variance < np.inf:
        return np.full((HILLS, k), np.nan), -np.inf, False, 0, variance
    low, high = box(scale, k, is_t)
    if is_gjr:
        found = _highest_gjr(returns_pct, near, is_t, scale, smooth, low, high)
    else:
        found = _highest_garch(returns_pct, near, is_t, scale, smooth, low, high)
    tops, value, is_converged, passes = found
    return tops, value, is_converged, passes, variance


@njit(cache=True)
def _highest_garch(
    returns_pct: FloatArray,
    near: FloatArray,
    is_t: bool,
    scale: FloatArray,
    smooth: FloatArray,
    low: FloatArray,
    high: FloatArray,
) -> tuple[FloatArray, float, bool, int]:
    tops = np.full((HILLS, low.size), np.nan)
    is_warm = near.shape[0] == HILLS
    heights = grid_heights(returns_pct, scale, is_t, _GUARDS if is_warm else _LANES, 0.0)
    top = int(np.argmax(heights))
    lowest, middle, highest = _LOW, _MIDDLE, _HIGH
    for i in range(_HIGHEST + 1, heights.size):
        if GRID_PERSISTENCE[i] < 0.7:
            lowest = i if heights[i] > heights[lowest] else lowest
        elif GRID_PERSISTENCE[i] < 0.95:
            middle = i if heights[i] > heights[middle] else middle
        else:
            highest = i if heights[i] > heights[highest] else highest
    best = near[0] if is_warm else _start(top, scale, False, is_t)
    value, is_converged, passes = -np.inf, False, 0
    for hill in range(HILLS):
        lane, fence = -1, _NO_FENCE
        kept = best[2] + best[3]
        is_low, is_high = kept < 0.7, best[2] < 0.03 and kept > 0.95
        if hill == 1 and not is_high:
            lane = _HIGH if heights[_HIGH] > heights[_HIGHEST] else _HIGHEST
            fence = _FENCE_HIGH
            is_steep = heights[_HIGHEST] < heights[_HIGH] - _HIGH_MARGIN
            if is_steep or heights[lane] < heights[top] - _FAR:
                lane = -1
        elif hill == 1:
            lane = _FLAT
        elif hill == 2:
            if is_low:
                lane = _LOWEST
            elif heights[lowest] > max(heights[middle] - _LOW_MARGIN, heights[top] - _FAR):
                lane, fence = lowest, _FENCE_LOW
        elif hill == 3 and is_low:
            lane = highest if heights[highest] > heights[middle] else middle
        elif hill == 3 and is_high and heights[middle] > heights[highest] - _MIDDLE_MARGIN:
            lane = middle
        if hill > 0 and lane < 0:
            continue
        at = best if hill == 0 else _start(lane, scale, False, is_t)
        if hill > 0 and is_warm and math.isfinite(near[hill, 0]):
            at = near[hill]
        other, reached, is_done, more = climb(
            at, is_t, returns_pct, scale, smooth, low, high, fence, value, best
        )
        passes += more
        if is_done and abs(reached - value) > _SAME:
            tops[hill] = other
        if reached > value:
            best, value, is_converged = other, reached, is_done
    tops[0] = best
    return tops, value, is_converged, passes


@njit(cache=True)
def _highest_gjr(
    returns_pct: FloatArray,
    near: FloatArray,
    is_t: bool,
    scale: FloatArray,
    smooth: FloatArray,
    low: FloatArray,
    high: FloatArray,
) -> tuple[FloatArray, float, bool, int]:
    # Cold or warm, each kind of persistence is climbed from its best start, and to
    # its top: of 800 windows seven lost theirs where a climb was given up early.
    tops = np.full((HILLS, low.size), np.nan)
    heights = grid_heights(returns_pct, scale, is_t, _LANES, _SKEW)
    top = int(np.argmax(heights))
    is_warm = near.shape[0] == HILLS
    lanes = np.array([top, _HIGHEST, _LOW, _MIDDLE, _HIGH, _FLAT])
    for i in range(_LANES):
        kind = 2 if GRID_PERSISTENCE[i] < 0.7 else 3 if GRID_PERSISTENCE[i] < 0.95 else 4
        lanes[kind] = i if heights[i] > heights[lanes[kind]] else lanes[kind]
    best, value, is_converged, passes = tops[0].copy(), -np.inf, False, 0
    for i in range(lanes.size):
        lane = lanes[i]
        at = near[0] if i == 0 and is_warm else _start(lane, scale, True, is_t)
        if i == 0:
            best = at
        elif lane == _FLAT:
            if shock_weight(best, is_t) > 0.03 or persistence(best, is_t) < 0.95:
                continue
        elif (lane == top and not is_warm) or (i > 1 and heights[lane] < heights[top] - _FAR):
            continue
        other, reached, is_done, more = climb(
            at, is_t, returns_pct, scale, smooth, low, high, _NO_FENCE, -np.inf, at
        )
        passes += more
        if reached > value:
            best, value, is_converged = other, reached, is_done
    tops[0] = best
    return tops, value, is_converged, passes
