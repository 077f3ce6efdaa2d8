"""GARCH(1,1) with a constant mean: likelihood, gradient and fit, compiled.

Before it stand percent returns; after it `volatility`, which chooses a model and
forecasts. Likelihood, first variance and variance bounds are those of the arch
package, so that fits compare with its own. Arrays are float64; parameters come
in arch's order: mu, omega, alpha, beta and, for Student-t, nu.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit

from greenlight.domain.indicators import FloatArray

NU_MIN: Final = 2.05
"""Fewest degrees of freedom of a fitted Student-t."""
NU_MAX: Final = 500.0
"""Most degrees of freedom of a fitted Student-t."""
OMEGA_MIN_FRAC: Final = 1e-8
"""Smallest omega, as a fraction of the returns' variance."""
OMEGA_MAX_FRAC: Final = 10.0
"""Largest omega, as a fraction of the returns' variance."""

_DECAY = 0.94
_BACKCAST_DAYS = 75
_BLOCK = 8  # variances multiplied before a logarithm is taken of their product
_TOLERANCE = 1e-7  # predicted gain in log-likelihood at which a fit ends
_MAX_STEPS = 200
_REACH = np.array([np.inf, 2.0, 0.4, 0.4, 0.2])  # farthest step by coordinate
_GRID_BLOCK = 24
_LANES = 8
_GUARDS = 5
# Starts: the first five are enough of a look where a start near by is known.
_GRID_ALPHA = np.array([0.25, 0.2, 0.02, 0.01, 0.1, 0.1, 0.4, 0.05])
_GRID_PERSISTENCE = np.array([0.4, 0.8, 0.985, 0.995, 0.92, 0.15, 0.55, 0.975])
_LOW, _MIDDLE, _HIGH, _HIGHEST, _LOWEST = 0, 1, 2, 3, 5
_LOW_MARGIN = 4.0  # log-likelihood by which another hill may start lower
_HIGH_MARGIN = 4.0
_MIDDLE_MARGIN = 8.0
_NO_FENCE = np.array([-1.0, 2.0, 2.0])
_FENCE_LOW = np.array([-1.0, 0.8, 2.0])
_FENCE_HIGH = np.array([0.95, 2.0, 0.04])
_START_NU = 8.0
_LN_2PI = math.log(2.0 * math.pi)
_LN_PI = math.log(math.pi)

# Columns of a series' scale.
_MEAN, _VARIANCE, _BACKCAST, _FLOOR, _CEILING, _FLOOR_MAX, _SCALES = 0, 1, 2, 3, 4, 5, 6


@njit(cache=True)
def series_scale(returns_pct: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What a likelihood needs of a series beforehand.

    Returns
    -------
    tuple[FloatArray, FloatArray]
        Mean, variance, backcast, lower and upper bound of any variance and the
        largest lower bound; and the exponentially weighted variance by day.
    """
    n = returns_pct.size
    mean = returns_pct.mean()
    squares = (returns_pct - mean) ** 2
    variance = squares.mean()
    days = min(_BACKCAST_DAYS, n)
    weight, total, backcast = 1.0, 0.0, 0.0
    for t in range(days):
        backcast += weight * squares[t]
        total += weight
        weight *= _DECAY
    backcast /= total
    smooth = np.empty(n)
    smooth[0] = backcast
    for t in range(1, n):
        smooth[t] = (1.0 - _DECAY) * squares[t - 1] + _DECAY * smooth[t - 1]
    scale = np.empty(_SCALES)
    scale[_MEAN] = mean
    scale[_VARIANCE] = variance
    scale[_BACKCAST] = backcast
    scale[_FLOOR] = variance / 1e8
    scale[_CEILING] = 1.0 + squares.max()
    scale[_FLOOR_MAX] = max(scale[_FLOOR], smooth.max() / 1e6)
    return scale, smooth


@njit(cache=True)
def _bounded(variance: float, smooth: float, scale: FloatArray) -> tuple[float, float]:
    """A variance within its bounds, and the slope of that."""
    low = max(smooth / 1e6, scale[_FLOOR])
    if variance < low:
        return low, 0.0
    high = min(max(smooth * 1e6, scale[_CEILING]), 1e7 * scale[_CEILING])
    if variance > high:
        if math.isinf(variance):
            return high + 1000.0, 0.0
        return high + math.log(variance / high), 1.0 / variance
    return variance, 1.0


@njit(cache=True)
def _digamma(x: float) -> float:
    # Recurrence up to 6, then the asymptotic series: Abramowitz & Stegun 6.3.18.
    shift = 0.0
    while x < 6.0:
        shift -= 1.0 / x
        x += 1.0
    f = 1.0 / (x * x)
    series = f * (1 / 12 - f * (1 / 120 - f * (1 / 252 - f * (1 / 240 - f * (1 / 132)))))
    return shift + math.log(x) - 0.5 / x - series


@njit(cache=True, fastmath={"contract"})
def log_likelihood(
    theta: FloatArray,
    returns_pct: FloatArray,
    scale: FloatArray,
    smooth: FloatArray,
    gradient: FloatArray,
) -> float:
    """Log-likelihood and its gradient in one pass; Student-t where `theta` has five values.

    Parameters
    ----------
    theta : float64[4] or float64[5]
        mu (percent), omega (percent squared), alpha, beta, nu.
    returns_pct : float64[n]
        Daily returns in percent.
    scale, smooth
        From `series_scale`.
    gradient : float64 like `theta`
        Overwritten with the derivative by each parameter.

    Notes
    -----
    ``e = r - mu; s2' = omega + alpha e^2 + beta s2`` (Bollerslev 1986), with the
    Student-t scaled to unit variance (Bollerslev 1987). The derivatives follow
    the same recursion (Fiorentini, Calzolari and Panattoni 1996).
    """
    n = returns_pct.size
    mu, omega, alpha, beta = theta[0], theta[1], theta[2], theta[3]
    is_t = theta.size == 5
    nu = theta[4] if is_t else 0.0
    spare = nu - 2.0
    backcast, ceiling, floor = scale[_BACKCAST], scale[_CEILING], scale[_FLOOR_MAX]
    s2 = omega + (alpha + beta) * backcast
    d_mu, d_omega, d_alpha, d_beta = 0.0, 1.0, backcast, backcast
    g_mu, g_omega, g_alpha, g_beta, g_nu = 0.0, 0.0, 0.0, 0.0, 0.0
    product, product_t, logs, logs_t, sum_z = 1.0, 1.0, 0.0, 0.0, 0.0
    for t in range(n):
        if not floor <= s2 <= ceiling:
            s2, slope = _bounded(s2, smooth[t], scale)
            d_mu, d_omega, d_alpha, d_beta = (
                d_mu * slope,
                d_omega * slope,
                d_alpha * slope,
                d_beta * slope,
            )
        e = returns_pct[t] - mu
        e2 = e * e
        product *= s2
        if is_t:
            d = s2 * spare + e2
            product_t *= d
            both = 1.0 / (s2 * d)
            inverse = d * both
            share = s2 * both
            w = 0.5 * inverse * ((nu + 1.0) * e2 * share - 1.0)
            by_e = (nu + 1.0) * e * share
            sum_z += e2 * share
        else:
            inverse = 1.0 / s2
            z = e2 * inverse
            w = 0.5 * inverse * (z - 1.0)
            by_e = e * inverse
            sum_z += z
        if t % _BLOCK == _BLOCK - 1:
            logs += math.log(product)
            product = 1.0
            if is_t:
                logs_t += math.log(product_t)
                product_t = 1.0
        g_mu += by_e + w * d_mu
        g_omega += w * d_omega
        g_alpha += w * d_alpha
        g_beta += w * d_beta
        d_mu = beta * d_mu - 2.0 * alpha * e
        d_omega = beta * d_omega + 1.0
        d_alpha = beta * d_alpha + e2
        d_beta = beta * d_beta + s2
        s2 = beta * s2 + (omega + alpha * e2)
    logs += math.log(product)
    gradient[0], gradient[1], gradient[2], gradient[3] = g_mu, g_omega, g_alpha, g_beta
    if not is_t:
        return -0.5 * (n * _LN_2PI + logs + sum_z)
    logs_t += math.log(product_t)
    tails = logs_t - logs - n * math.log(spare)
    half = 0.5 * (nu + 1.0)
    constant = math.lgamma(half) - math.lgamma(0.5 * nu) - 0.5 * (_LN_PI + math.log(spare))
    g_nu = n * 0.5 * (_digamma(half) - _digamma(0.5 * nu) - 1.0 / spare)
    g_nu += -0.5 * tails + half * sum_z / spare
    gradient[4] = g_nu
    return n * constant - 0.5 * logs - half * tails


@njit(cache=True, fastmath={"contract"})
def _grid(
    returns_pct: FloatArray, scale: FloatArray, is_t: bool, lanes: int
) -> FloatArray:
    """Log-likelihoods, less a constant, of the first so many starts, in one pass.

    Mean and variance are the sample's. The bounds on a variance are left out:
    a start only has to be near.
    """
    mean, unit = scale[_MEAN], 1.0 / scale[_VARIANCE]
    # One array with rows of _LANES: alpha, beta, omega, variance, two products,
    # sum. Within one array the compiler sees that they do not overlap.
    w = np.ones(7 * _LANES)
    for i in range(lanes):
        w[i] = _GRID_ALPHA[i]
        w[_LANES + i] = _GRID_PERSISTENCE[i] - _GRID_ALPHA[i]
        w[2 * _LANES + i] = 1.0 - _GRID_PERSISTENCE[i]
        w[3 * _LANES + i] += _GRID_PERSISTENCE[i] * (scale[_BACKCAST] * unit - 1.0)
        w[6 * _LANES + i] = 0.0
    weight, weight_t = (-_START_NU, _START_NU + 1.0) if is_t else (1.0, 0.0)
    by_spare = 1.0 / (_START_NU - 2.0)
    n = returns_pct.size
    for block in range(0, n, _GRID_BLOCK):
        for t in range(block, min(block + _GRID_BLOCK, n)):
            e2 = (returns_pct[t] - mean) ** 2 * unit
            if is_t:
                for i in range(lanes):
                    s2 = w[3 * _LANES + i]
                    w[4 * _LANES + i] *= s2
                    w[5 * _LANES + i] *= s2 + e2 * by_spare
                    w[3 * _LANES + i] = w[2 * _LANES + i] + w[i] * e2 + w[_LANES + i] * s2
            else:
                for i in range(lanes):
                    s2 = w[3 * _LANES + i]
                    w[4 * _LANES + i] *= s2
                    w[6 * _LANES + i] += e2 / s2
                    w[3 * _LANES + i] = w[2 * _LANES + i] + w[i] * e2 + w[_LANES + i] * s2
        for i in range(lanes):
            w[6 * _LANES + i] += weight * math.log(w[4 * _LANES + i])
            w[4 * _LANES + i] = 1.0
            if is_t:
                w[6 * _LANES + i] += weight_t * math.log(w[5 * _LANES + i])
                w[5 * _LANES + i] = 1.0
    return -0.5 * w[6 * _LANES : 6 * _LANES + lanes]


@njit(cache=True, fastmath={"contract"})
def _information(
    theta: FloatArray, returns_pct: FloatArray, scale: FloatArray
) -> FloatArray:
    """Expected information, the curvature that a climb starts from.

    Student-t: that of location, scale and nu (Lange, Little and Taylor 1989),
    with the scale s^2 = sigma^2 (nu - 2) / nu.
    """
    k = theta.size
    mu, omega, alpha, beta = theta[0], theta[1], theta[2], theta[3]
    by_mean, by_variance, by_both, by_nu = 1.0, 0.5, 0.0, 0.0
    if k == 5:
        nu = theta[4]
        kappa = 2.0 / (nu * (nu - 2.0))
        by_mean = (nu + 1.0) * nu / ((nu + 3.0) * (nu - 2.0))
        by_variance = 0.5 * nu / (nu + 3.0)
        cross = -1.0 / ((nu + 1.0) * (nu + 3.0))
        by_both = by_variance * kappa + cross
        h = 1e-4 * nu
        trigammas = _digamma(0.5 * nu + h) - _digamma(0.5 * nu - h)
        trigammas -= _digamma(0.5 * nu + 0.5 + h) - _digamma(0.5 * nu + 0.5 - h)
        own = 0.125 * trigammas / h - 0.5 * (nu + 5.0) / (nu * (nu + 1.0) * (nu + 3.0))
        by_nu = own + kappa * (2.0 * cross + kappa * by_variance)
    backcast, floor = scale[_BACKCAST], scale[_FLOOR_MAX]
    s2 = omega + (alpha + beta) * backcast
    d_mu, d_omega, d_alpha, d_beta = 0.0, 1.0, backcast, backcast
    m00, m01, m02, m03, m11, m12, m13, m22, m23, m33 = (0.0,) * 10
    f0, f1, f2, f3, inverses = (0.0,) * 5
    for t in range(returns_pct.size):
        s2 = max(s2, floor)
        e = returns_pct[t] - mu
        e2 = e * e
        w = 1.0 / s2
        q0, q1, q2, q3 = w * d_mu, w * d_omega, w * d_alpha, w * d_beta
        inverses += w
        f0 += q0
        f1 += q1
        f2 += q2
        f3 += q3
        m00 += q0 * q0
        m01 += q0 * q1
        m02 += q0 * q2
        m03 += q0 * q3
        m11 += q1 * q1
        m12 += q1 * q2
        m13 += q1 * q3
        m22 += q2 * q2
        m23 += q2 * q3
        m33 += q3 * q3
        d_mu = beta * d_mu - 2.0 * alpha * e
        d_omega = beta * d_omega + 1.0
        d_alpha = beta * d_alpha + e2
        d_beta = beta * d_beta + s2
        s2 = beta * s2 + (omega + alpha * e2)
    full = np.array(
        [
            [m00, m01, m02, m03, f0],
            [m01, m11, m12, m13, f1],
            [m02, m12, m22, m23, f2],
            [m03, m13, m23, m33, f3],
            [f0, f1, f2, f3, 0.0],
        ]
    )
    full[:4, :4] *= by_variance
    full[:4, 4] *= by_both
    full[4, :4] *= by_both
    full[0, 0] += by_mean * inverses
    full[4, 4] = by_nu * returns_pct.size
    return np.ascontiguousarray(full[:k, :k])


# The optimiser's coordinates: mu, log omega, persistence, alpha's share of the
# persistence, 1/nu. Each lies in an interval, so that its bounds are plain.


@njit(cache=True)
def _to_theta(x: FloatArray) -> FloatArray:
    theta = x.copy()
    theta[1] = math.exp(x[1])
    theta[2] = x[2] * x[3]
    theta[3] = x[2] - theta[2]
    if x.size == 5:
        theta[4] = 1.0 / x[4]
    return theta


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
def _jacobian(theta: FloatArray, x: FloatArray) -> FloatArray:
    """Derivative of each parameter (row) by each coordinate (column)."""
    j = np.zeros((x.size, x.size))
    j[0, 0] = 1.0
    j[1, 1] = theta[1]
    j[2, 2], j[2, 3] = x[3], x[2]
    j[3, 2], j[3, 3] = 1.0 - x[3], -x[2]
    if x.size == 5:
        j[4, 4] = -theta[4] * theta[4]
    return j


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
) -> tuple[FloatArray, float, bool, int]:
    """Projected BFGS uphill from a start; parameters, log-likelihood, converged, passes.

    `fence` holds least and largest persistence and largest share of alpha; a
    climb that steps out of it is given up, for it goes up a hill known already.
    So is one that will not come up to `target`.
    """
    k = theta0.size
    x = _to_x(theta0, low, high)
    theta = _to_theta(x)
    gradient = np.empty(k)
    value = log_likelihood(theta, returns_pct, scale, smooth, gradient)
    j = _jacobian(theta, x)
    g = j.T @ gradient
    b = j.T @ _information(theta, returns_pct, scale) @ j
    passes = 2
    is_free = np.empty(k)
    is_checked = False
    for _ in range(_MAX_STEPS):
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
                j = _jacobian(theta, x)
                b = j.T @ _information(theta, returns_pct, scale) @ j
                passes += 1
                continue
        if passes > 8 and value + 10.0 * gain + 0.5 < target or passes > 40 and value < target:
            return theta, value, False, passes
        # Far steps are cut: the curvature holds only near by.
        size = 1.0
        for i in range(1, k):
            if is_free[i] != 0.0:
                size = min(size, _REACH[i] / max(abs(step[i]), 1e-300))
        is_better = False
        for _ in range(40):
            x_new = np.minimum(np.maximum(x + size * step, low), high)
            theta_new = _to_theta(x_new)
            moved = x_new - x
            slope = 0.0
            for i in range(k):
                slope += g[i] * moved[i]
            new = log_likelihood(theta_new, returns_pct, scale, smooth, gradient)
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
        g_new = _jacobian(theta_new, x_new).T @ gradient
        y = g - g_new
        by = b @ moved
        sy, sbs = 0.0, 0.0
        for i in range(k):
            sy += moved[i] * y[i]
            sbs += moved[i] * by[i]
        if sbs > 0.0:
            if sy < 0.1 * sbs:  # Powell's damping keeps the curvature positive
                mix = 0.9 * sbs / (sbs - sy)
                y = mix * y + (1.0 - mix) * by
                sy = 0.1 * sbs
            for i in range(k):
                for m in range(k):
                    b[i, m] += y[i] * y[m] / sy - by[i] * by[m] / sbs
        x, theta, value, g = x_new, theta_new, new, g_new
        is_out = x[2] < fence[0] or x[2] > fence[1] or x[3] > fence[2]
        if is_out and value < target:
            return theta, value, False, passes
    return theta, value, False, passes


@njit(cache=True)
def _box(scale: FloatArray, k: int) -> tuple[FloatArray, FloatArray]:
    low, high = np.zeros(k), np.ones(k)
    low[0], high[0] = -np.inf, np.inf
    low[1] = math.log(OMEGA_MIN_FRAC * scale[_VARIANCE])
    high[1] = math.log(OMEGA_MAX_FRAC * scale[_VARIANCE])
    if k == 5:
        low[4], high[4] = 1.0 / NU_MAX, 1.0 / NU_MIN
    return low, high


@njit(cache=True)
def _start(lane: int, scale: FloatArray, k: int) -> FloatArray:
    theta = np.empty(k)
    theta[0] = scale[_MEAN]
    theta[1] = scale[_VARIANCE] * (1.0 - _GRID_PERSISTENCE[lane])
    theta[2] = _GRID_ALPHA[lane]
    theta[3] = _GRID_PERSISTENCE[lane] - _GRID_ALPHA[lane]
    if k == 5:
        theta[4] = _START_NU
    return theta


@njit(cache=True)
def maximise(
    returns_pct: FloatArray, start: FloatArray, is_t: bool
) -> tuple[FloatArray, float, bool, int]:
    """The highest log-likelihood that the climbs from several starts reach.

    Parameters
    ----------
    returns_pct : float64[n]
        Daily returns in percent, finite and not all equal.
    start : float64[k]
        Parameters near by, such as those of the day before; empty for none.
    is_t : bool
        Student-t, five parameters; else Normal, four.

    Returns
    -------
    tuple
        Parameters, log-likelihood, whether the climb converged, and how many
        passes over the series were made.

    Notes
    -----
    The likelihood often has a second hill, at low persistence or at an alpha
    close to 0. A grid of starts shows whether one can be there; only then is
    it climbed too. With a start near by five points of the grid are enough.
    """
    k = 5 if is_t else 4
    scale, smooth = series_scale(returns_pct)
    low, high = _box(scale, k)
    is_warm = start.size == k
    heights = _grid(returns_pct, scale, is_t, _GUARDS if is_warm else _LANES)
    top = np.argmax(heights)
    lowest, middle, highest = _LOW, _MIDDLE, _HIGH
    for i in range(_HIGHEST + 1, heights.size):
        if _GRID_PERSISTENCE[i] < 0.7:
            lowest = i if heights[i] > heights[lowest] else lowest
        elif _GRID_PERSISTENCE[i] < 0.95:
            middle = i if heights[i] > heights[middle] else middle
        else:
            highest = i if heights[i] > heights[highest] else highest
    first = start if is_warm else _start(top, scale, k)
    best, value, is_converged, passes = first, -np.inf, False, 0
    for hill in range(4):
        lane, fence = -1, _NO_FENCE
        persistence = best[2] + best[3]
        is_low, is_high = persistence < 0.7, best[2] < 0.03 and persistence > 0.95
        if hill == 1 and not is_high:
            if heights[_HIGHEST] > heights[_HIGH] - _HIGH_MARGIN:
                lane = _HIGH if heights[_HIGH] > heights[_HIGHEST] else _HIGHEST
                fence = _FENCE_HIGH
        elif hill == 2:
            if is_low:
                lane = _LOWEST
            elif heights[lowest] > heights[middle] - _LOW_MARGIN:
                lane, fence = lowest, _FENCE_LOW
        elif hill == 3 and is_low:
            lane = highest if heights[highest] > heights[middle] else middle
        elif hill == 3 and is_high and heights[middle] > heights[highest] - _MIDDLE_MARGIN:
            lane = middle
        if hill == 0 or lane >= 0:
            other, reached, is_done, more = _climb(
                first if hill == 0 else _start(lane, scale, k), returns_pct, scale, smooth, low, high, fence, value
            )
            passes += more
            if reached > value:
                best, value, is_converged = other, reached, is_done
    return best, value, is_converged, passes
