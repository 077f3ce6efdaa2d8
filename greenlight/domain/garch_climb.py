"""GARCH and GJR: one climb up the likelihood, compiled.

Before it stands `garch`, the likelihood; after it `garch_fit`, which climbs from
several starts. Decided here: the box that parameters lie in (arch's), the
optimiser's coordinates, and when a climb has arrived or is given up.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from greenlight.domain.garch import VARIANCE, information, log_likelihood
from greenlight.domain.indicators import FloatArray

NU_MIN = 2.05
"""Fewest degrees of freedom of a fitted Student-t."""
NU_MAX = 500.0
"""Most degrees of freedom of a fitted Student-t."""
OMEGA_MIN_FRAC = 1e-8
"""Smallest omega, as a fraction of the returns' variance."""
OMEGA_MAX_FRAC = 10.0
"""Largest omega, as a fraction of the returns' variance."""

_TOLERANCE = 1e-7  # predicted gain in log-likelihood at which a climb ends
_MAX_PASSES = 100
_REACH = np.array([np.inf, 2.0, 0.4, 0.4, 0.4])  # farthest step by coordinate
_REACH_NU = 0.2
_SAME_DISTANCE = 1.0  # in standard errors, squared


# The optimiser's coordinates: mu, log omega, persistence; of GARCH alpha's share
# of the persistence; of GJR the share of rises, alpha / 2, and the share of falls,
# (alpha + gamma) / 2, of what rises leave; 1/nu. Each lies in an interval, so that
# its bounds are plain. They are arch's, save that GJR's alpha may pass 1: seen on
# two degenerate series of 1,600, with nu at its least.


@njit(cache=True)
def shock_weight(theta: FloatArray, is_t: bool) -> float:
    """What a squared shock adds to the next variance on average, as a fraction."""
    return float(theta[2] + 0.5 * theta[3] if theta.size - is_t == 5 else theta[2])


@njit(cache=True)
def persistence(theta: FloatArray, is_t: bool) -> float:
    """How much of a variance above its level is left a day later, as a fraction."""
    return float(shock_weight(theta, is_t) + theta[theta.size - 1 - is_t])


@njit(cache=True)
def _to_theta(x: FloatArray, is_t: bool, theta: FloatArray) -> None:
    k = x.size
    theta[0] = x[0]
    theta[1] = math.exp(x[1])
    if k - is_t == 5:
        fall = x[2] * (1.0 - x[3]) * x[4]
        theta[2] = 2.0 * x[2] * x[3]
        theta[3] = 2.0 * fall - theta[2]
        theta[4] = x[2] * (1.0 - x[3]) - fall
    else:
        theta[2] = x[2] * x[3]
        theta[3] = x[2] - theta[2]
    if is_t:
        theta[k - 1] = 1.0 / x[k - 1]


@njit(cache=True)
def _to_x(theta: FloatArray, is_t: bool, low: FloatArray, high: FloatArray) -> FloatArray:
    k = theta.size
    x = theta.copy()
    x[1] = math.log(max(theta[1], 1e-300))
    x[2] = persistence(theta, is_t)
    x[3] = theta[2] / x[2] if x[2] > 0.0 else 0.5
    if k - is_t == 5:
        rest = x[2] - 0.5 * theta[2]
        x[3] *= 0.5
        x[4] = 0.5 * (theta[2] + theta[3]) / rest if rest > 0.0 else 0.5
    if is_t:
        x[k - 1] = 1.0 / theta[k - 1]
    return np.minimum(np.maximum(x, low), high)


@njit(cache=True)
def _pull(gradient: FloatArray, theta: FloatArray, is_t: bool, x: FloatArray) -> None:
    """Turn a derivative by each parameter into one by each coordinate, in place."""
    k = x.size
    gradient[1] *= theta[1]
    if k - is_t == 5:
        by_rise, by_fall = 2.0 * (gradient[2] - gradient[3]), 2.0 * gradient[3]
        by_rest = x[4] * by_fall + (1.0 - x[4]) * gradient[4]
        gradient[2] = x[3] * by_rise + (1.0 - x[3]) * by_rest
        gradient[3] = x[2] * (by_rise - by_rest)
        gradient[4] = x[2] * (1.0 - x[3]) * (by_fall - gradient[4])
    else:
        by_alpha, by_beta = gradient[2], gradient[3]
        gradient[2] = x[3] * by_alpha + (1.0 - x[3]) * by_beta
        gradient[3] = x[2] * (by_alpha - by_beta)
    if is_t:
        gradient[k - 1] *= -theta[k - 1] * theta[k - 1]


@njit(cache=True)
def _curvature(
    theta: FloatArray, is_t: bool, x: FloatArray, returns_pct: FloatArray, scale: FloatArray
) -> FloatArray:
    """The expected information by coordinate."""
    b = information(theta, is_t, returns_pct, scale)
    for i in range(x.size):
        _pull(b[i], theta, is_t, x)
    b = b.T.copy()
    for i in range(x.size):
        _pull(b[i], theta, is_t, x)
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
def climb(
    theta0: FloatArray,
    is_t: bool,
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

    `fence` holds least and largest persistence and largest share of shocks; a
    climb that steps out of it is given up, for it goes up a hill known already.
    So is one that will not come up to `target`, the log-likelihood of the top
    `known`, or has come so near that top that it is the same.
    """
    k = theta0.size
    x = _to_x(theta0, is_t, low, high)
    x_known = _to_x(known, is_t, low, high)
    theta, gradient = np.empty(k), np.empty(k)
    _to_theta(x, is_t, theta)
    value = log_likelihood(theta, is_t, returns_pct, scale, smooth, gradient)
    if not math.isfinite(value):
        return theta, -np.inf, False, 1
    _pull(gradient, theta, is_t, x)
    g, g_new = gradient, np.empty(k)
    b = _curvature(theta, is_t, x, returns_pct, scale)
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
            is_flat = shock_weight(theta, is_t) < 0.03 or x[2] < 0.7 or x[2] > 0.9995
            if not is_flat or (is_checked and gain < 0.02 * _TOLERANCE):
                return theta, value, True, passes
            # On flat ground what BFGS has learnt of the curvature can mislead.
            if not is_checked:
                is_checked = True
                b = _curvature(theta, is_t, x, returns_pct, scale)
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
                reach = _REACH_NU if is_t and i == k - 1 else _REACH[i]
                size = min(size, reach / max(abs(step[i]), 1e-300))
        is_better = False
        for _ in range(40):
            slope = 0.0
            for i in range(k):
                x_new[i] = min(max(x[i] + size * step[i], low[i]), high[i])
                moved[i] = x_new[i] - x[i]
                slope += g[i] * moved[i]
            _to_theta(x_new, is_t, theta_new)
            new = log_likelihood(theta_new, is_t, returns_pct, scale, smooth, g_new)
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
        _pull(g_new, theta_new, is_t, x_new)
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
        is_out = x[2] < fence[0] or x[2] > fence[1]
        is_out |= shock_weight(theta, is_t) > fence[2] * x[2]
        if is_out and value < target:
            return theta, value, False, passes


@njit(cache=True)
def box(scale: FloatArray, k: int, is_t: bool) -> tuple[FloatArray, FloatArray]:
    """Least and largest of each coordinate."""
    low, high = np.zeros(k), np.ones(k)
    low[0], high[0] = -np.inf, np.inf
    low[1] = math.log(OMEGA_MIN_FRAC * scale[VARIANCE])
    high[1] = math.log(OMEGA_MAX_FRAC * scale[VARIANCE])
    if is_t:
        low[k - 1], high[k - 1] = 1.0 / NU_MAX, 1.0 / NU_MIN
    return low, high
