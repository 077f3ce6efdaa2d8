"""GARCH(1,1): climbing the likelihood, from several starts where it is rough, compiled.

Before it stands `garch`, the likelihood; after it `volatility`, which chooses a
model and forecasts. Decided here: the box that parameters lie in (arch's), from
where to climb, and when a climb has arrived.
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
    information,
    log_likelihood,
    series_scale,
)
from greenlight.domain.indicators import FloatArray

NU_MIN = 2.05
"""Fewest degrees of freedom of a fitted Student-t."""
NU_MAX = 500.0
"""Most degrees of freedom of a fitted Student-t."""
OMEGA_MIN_FRAC = 1e-8
"""Smallest omega, as a fraction of the returns' variance."""
OMEGA_MAX_FRAC = 10.0
"""Largest omega, as a fraction of the returns' variance."""
HILLS = 4
"""Rows that a fit keeps for the next: its parameters and the tops of lower hills."""

_TOLERANCE = 1e-7  # predicted gain in log-likelihood at which a climb ends
_MAX_PASSES = 100
_REACH = np.array([np.inf, 2.0, 0.4, 0.4, 0.2])  # farthest step by coordinate
_LANES = GRID_ALPHA.size
_GUARDS = 5
_LOW, _MIDDLE, _HIGH, _HIGHEST, _LOWEST = 0, 1, 2, 3, 5  # starts by their persistence
_FLAT = _LANES  # a start beside the grid, almost without shocks
_FLAT_ALPHA, _FLAT_PERSISTENCE = 0.001, 0.998
# Log-likelihood by which another hill may start lower and still be climbed.
_LOW_MARGIN = 4.0
_HIGH_MARGIN = 4.0
_MIDDLE_MARGIN = 8.0
_FAR = 30.0
_SAME_DISTANCE = 1.0  # in standard errors, squared
_SAME = 1e-5  # closer log-likelihoods are of one top
_NO_FENCE = np.array([-1.0, 2.0, 2.0])
_FENCE_LOW = np.array([-1.0, 0.8, 2.0])
_FENCE_HIGH = np.array([0.95, 2.0, 0.04])


# The optimiser's coordinates: mu, log omega, persistence, alpha's share of the
# persistence, 1/nu. Each lies in an interval, so that its bounds are plain.


@njit(cache=True)
def _to_theta(x: FloatArray, theta: FloatArray) -> None:
    theta[0] = x[0]
    theta[1] = math.exp(x[1])
    theta[2] = x[2] * x[3]
    theta[3] = x[2] - theta[2]
    if x.size == 5:
        theta[4] = 1.0 / x[4]


@njit(cache=True)
def _to_x(theta: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    x = theta.copy()
    x[1] = math.log(max(theta[1], 1e-300))
    x[2] = theta[2] + theta[3]
    x[3] = theta[2] / x[2] if x[2] > 0.0 else 0.5
    if theta.size == 5:
        x[4] = 1.0 / theta[4]
    return np.minimum(np.maximum(x, low), high)


@njit(cache=True)
def _pull(gradient: FloatArray, theta: FloatArray, x: FloatArray) -> None:
    """Turn a derivative by each parameter into one by each coordinate, in place."""
    by_alpha, by_beta = gradient[2], gradient[3]
    gradient[1] *= theta[1]
    gradient[2] = x[3] * by_alpha + (1.0 - x[3]) * by_beta
    gradient[3] = x[2] * (by_alpha - by_beta)
    if x.size == 5:
        gradient[4] *= -theta[4] * theta[4]


@njit(cache=True)
def _curvature(
    theta: FloatArray, x: FloatArray, returns_pct: FloatArray, scale: FloatArray
) -> FloatArray:
    """The expected information by coordinate."""
    b = information(theta, returns_pct, scale)
    for i in range(x.size):
        _pull(b[i], theta, x)
    b = b.T.copy()
    for i in range(x.size):
        _pull(b[i], theta, x)
    return b


@njit(cache=True)
def _solve(matrix: FloatArray, rhs: FloatArray, is_free: FloatArray) -> FloatArray:
    """Solve the free part of a symmetric system by Cholesky, with a ridge where it needs one."""
    k = rhs.size
    ridge = 0.0
    lower = np.zeros((k, k))
    while True:
        is_done = True
        for i in range(k):
            if is_free[i] == 0.0:
                continue
            for j in range(i + 1):
                if is_free[j] == 0.0:
                    continue
                total = matrix[i, j]
                if i == j:
                    total += ridge * max(abs(matrix[i, i]), 1e-10)
                for m in range(j):
                    if is_free[m] != 0.0:
                        total -= lower[i, m] * lower[j, m]
                if i == j:
                    if not total > 1e-13 * abs(matrix[i, i]) + 1e-300:
                        is_done = False
                        break
                    lower[i, i] = math.sqrt(total)
                else:
                    lower[i, j] = total / lower[j, j]
            if not is_done:
                break
        if is_done:
            break
        ridge = 1e-10 if ridge == 0.0 else 10.0 * ridge
        if not ridge < 1e10:  # something is not finite
            return np.zeros(k)
    out = np.zeros(k)
    for i in range(k):
        if is_free[i] != 0.0:
            total = rhs[i]
            for m in range(i):
                total -= lower[i, m] * out[m]
            out[i] = total / lower[i, i]
    for i in range(k - 1, -1, -1):
        if is_free[i] != 0.0:
            total = out[i]
            for m in range(i + 1, k):
                total -= lower[m, i] * out[m]
            out[i] = total / lower[i, i]
    return out


@njit(cache=True)
def _climb(
    theta0: FloatArray,
    returns_pct: FloatArray,
    scale: FloatArray,
    smooth: FloatArray,
    low: FloatArray,
    high: FloatArray,
    fence: FloatArray,
    target: float,
    known: FloatArray,
) -> tuple[FloatArray, float, bool, int]:
    """Projected BFGS uphill from a start; parameters, log-likelihood, converged, passes.

    `fence` holds least and largest persistence and largest share of alpha; a
    climb that steps out of it is given up, for it goes up a hill known already.
    So is one that will not come up to `target`, the log-likelihood of the top
    `known`, or has come so near that top that it is the same.
    """
    k = theta0.size
    x = _to_x(theta0, low, high)
    x_known = _to_x(known, low, high)
    theta, gradient = np.empty(k), np.empty(k)
    _to_theta(x, theta)
    value = log_likelihood(theta, returns_pct, scale, smooth, gradient)
    if not math.isfinite(value):
        return theta, -np.inf, False, 1
    _pull(gradient, theta, x)
    g, g_new = gradient, np.empty(k)
    b = _curvature(theta, x, returns_pct, scale)
    passes = 2
    is_free, moved, y, by = np.empty(k), np.empty(k), np.empty(k), np.empty(k)
    x_new, theta_new = np.empty(k), np.empty(k)
    is_checked = False
    while True:
        for i in range(k):
            at_bound = (x[i] <= low[i] and g[i] <= 0.0) or (x[i] >= high[i] and g[i] >= 0.0)
            is_free[i] = 0.0 if at_bound else 1.0
        step = _solve(b, g, is_free)
        gain = 0.0
        for i in range(k):
            gain += step[i] * g[i]
        if gain < 2.0 * _TOLERANCE:
            is_flat = theta[2] < 0.03 or x[2] < 0.7 or x[2] > 0.9995
            if not is_flat or (is_checked and gain < 0.02 * _TOLERANCE):
                return theta, value, True, passes
            # On flat ground what BFGS has learnt of the curvature can mislead.
            if not is_checked:
                is_checked = True
                b = _curvature(theta, x, returns_pct, scale)
                passes += 1
                continue
        is_hopeless = passes > 8 and value + 5.0 * gain + 0.5 < target
        is_slow = passes > 30 and value < target
        if value < target and value > target - 2.0:
            distance = 0.0
            for i in range(k):
                for m in range(k):
                    distance += (x[i] - x_known[i]) * b[i, m] * (x[m] - x_known[m])
            is_slow |= distance < _SAME_DISTANCE
        if is_hopeless or is_slow or passes > _MAX_PASSES:
            return theta, value, False, passes
        # Far steps are cut: the curvature holds only near by.
        size = 1.0
        for i in range(1, k):
            if is_free[i] != 0.0:
                size = min(size, _REACH[i] / max(abs(step[i]), 1e-300))
        is_better = False
        for _ in range(40):
            slope = 0.0
            for i in range(k):
                x_new[i] = min(max(x[i] + size * step[i], low[i]), high[i])
                moved[i] = x_new[i] - x[i]
                slope += g[i] * moved[i]
            _to_theta(x_new, theta_new)
            new = log_likelihood(theta_new, returns_pct, scale, smooth, g_new)
            passes += 1
            if new >= value + 1e-4 * slope and slope >= 0.0:
                is_better = True
                break
            if not math.isfinite(new):
                size *= 0.1
                continue
            # Where the parabola through both values and the slope is highest.
            bend = 2.0 * (slope - (new - value))
            size *= min(max(slope / bend, 0.1), 0.5) if bend > 0.0 else 0.1
        if not is_better or (new == value and passes > 50):
            return theta, value, gain < 1e-6, passes
        _pull(g_new, theta_new, x_new)
        sy, sbs = 0.0, 0.0
        for i in range(k):
            y[i] = g[i] - g_new[i]
            by[i] = 0.0
            for m in range(k):
                by[i] += b[i, m] * moved[m]
            sy += moved[i] * y[i]
            sbs += moved[i] * by[i]
        if sbs > 0.0:
            if sy < 0.1 * sbs:  # Powell's damping keeps the curvature positive
                mix = 0.9 * sbs / (sbs - sy)
                for i in range(k):
                    y[i] = mix * y[i] + (1.0 - mix) * by[i]
                sy = 0.1 * sbs
            for i in range(k):
                for m in range(k):
                    b[i, m] += y[i] * y[m] / sy - by[i] * by[m] / sbs
        x, x_new, theta, theta_new, g, g_new = x_new, x, theta_new, theta, g_new, g
        value = new
        is_out = x[2] < fence[0] or x[2] > fence[1] or x[3] > fence[2]
        if is_out and value < target:
            return theta, value, False, passes


@njit(cache=True)
def _box(scale: FloatArray, k: int) -> tuple[FloatArray, FloatArray]:
    low, high = np.zeros(k), np.ones(k)
    low[0], high[0] = -np.inf, np.inf
    low[1] = math.log(OMEGA_MIN_FRAC * scale[VARIANCE])
    high[1] = math.log(OMEGA_MAX_FRAC * scale[VARIANCE])
    if k == 5:
        low[4], high[4] = 1.0 / NU_MAX, 1.0 / NU_MIN
    return low, high


@njit(cache=True)
def _start(lane: int, scale: FloatArray, k: int) -> FloatArray:
    alpha, persistence = _FLAT_ALPHA, _FLAT_PERSISTENCE
    if lane != _FLAT:
        alpha, persistence = GRID_ALPHA[lane], GRID_PERSISTENCE[lane]
    theta = np.empty(k)
    theta[0] = scale[MEAN]
    theta[1] = scale[VARIANCE] * (1.0 - persistence)
    theta[2] = alpha
    theta[3] = persistence - alpha
    if k == 5:
        theta[4] = START_NU
    return theta


@njit(cache=True)
def maximise(
    returns_pct: FloatArray, near: FloatArray, is_t: bool
) -> tuple[FloatArray, float, bool, int, float]:
    """The highest log-likelihood that the climbs from several starts reach.

    Parameters
    ----------
    returns_pct : float64[n]
        Daily returns in percent.
    near : float64[HILLS, k]
        What an earlier fit of a series near by returned (or its first row, the
        parameters, above rows of NaN); no rows for none.
    is_t : bool
        Student-t, five parameters; else Normal, four.

    Returns
    -------
    tuple
        Parameters and what else a later fit can start from, as `near`;
        log-likelihood, whether its climb converged, how many passes over the
        series were made, and the returns' variance. Where that is not positive
        and finite nothing was fitted.

    Notes
    -----
    The likelihood often has a second hill, at low persistence or at an alpha
    close to 0. A grid of starts shows whether one can be there; only then is it
    climbed too, from where its top was before.
    """
    k = 5 if is_t else 4
    scale, smooth = series_scale(returns_pct)
    variance = scale[VARIANCE]
    tops = np.full((HILLS, k), np.nan)
    if not 0.0 < variance < np.inf:
        return tops, -np.inf, False, 0, variance
    low, high = _box(scale, k)
    is_warm = near.shape[0] == HILLS
    heights = grid_heights(returns_pct, scale, is_t, _GUARDS if is_warm else _LANES)
    top = int(np.argmax(heights))
    lowest, middle, highest = _LOW, _MIDDLE, _HIGH
    for i in range(_HIGHEST + 1, heights.size):
        if GRID_PERSISTENCE[i] < 0.7:
            lowest = i if heights[i] > heights[lowest] else lowest
        elif GRID_PERSISTENCE[i] < 0.95:
            middle = i if heights[i] > heights[middle] else middle
        else:
            highest = i if heights[i] > heights[highest] else highest
    best = near[0] if is_warm else _start(top, scale, k)
    value, is_converged, passes = -np.inf, False, 0
    for hill in range(HILLS):
        lane, fence = -1, _NO_FENCE
        persistence = best[2] + best[3]
        is_low, is_high = persistence < 0.7, best[2] < 0.03 and persistence > 0.95
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
        at = best if hill == 0 else _start(lane, scale, k)
        if hill > 0 and is_warm and math.isfinite(near[hill, 0]):
            at = near[hill]
        other, reached, is_done, more = _climb(
            at, returns_pct, scale, smooth, low, high, fence, value, best
        )
        passes += more
        if is_done and abs(reached - value) > _SAME:
            tops[hill] = other
        if reached > value:
            best, value, is_converged = other, reached, is_done
    tops[0] = best
    return tops, value, is_converged, passes, variance
