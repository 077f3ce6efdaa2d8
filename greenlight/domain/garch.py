"""GARCH(1,1) and GJR with a constant mean: their likelihood and gradient, compiled.

Before it stand percent returns; after it `garch_fit`, which climbs the
likelihood. Likelihood, first variance and variance bounds are those of the arch
package, so that fits compare with its own. Arrays are float64; parameters come
in arch's order: mu, omega, alpha, gamma of GJR alone, beta, nu of Student-t alone.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from greenlight.domain.indicators import FloatArray

MEAN, VARIANCE, BACKCAST, FLOOR, CEILING, FLOOR_MAX = 0, 1, 2, 3, 4, 5
"""Places in a series' scale."""
GRID_ALPHA = np.array([0.25, 0.2, 0.02, 0.01, 0.1, 0.1, 0.4, 0.05])
"""Alpha of the starts; the first five are enough of a look where one near by is known."""
GRID_PERSISTENCE = np.array([0.4, 0.8, 0.985, 0.995, 0.92, 0.15, 0.55, 0.975])
"""Alpha + beta of the starts."""
START_NU = 8.0
"""Degrees of freedom of the starts."""

_DECAY = 0.94
_BACKCAST_DAYS = 75
_BLOCK = 16  # variances multiplied before a logarithm is taken of their product
_GRID_BLOCK = 24
_LANES = 8
_ROWS = np.array([0, 1, 2, 3, 4, 5])
_ROWS_GARCH = np.array([0, 1, 2, 4, 5])
_LN_2PI = math.log(2.0 * math.pi)
_LN_PI = math.log(math.pi)


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
    scale = np.empty(6)
    scale[MEAN] = mean
    scale[VARIANCE] = variance
    scale[BACKCAST] = backcast
    scale[FLOOR] = variance / 1e8
    scale[CEILING] = 1.0 + squares.max()
    scale[FLOOR_MAX] = max(scale[FLOOR], smooth.max() / 1e6)
    return scale, smooth


@njit(cache=True)
def _bounded(variance: float, smooth: float, scale: FloatArray) -> tuple[float, float]:
    """A variance within its bounds, and the slope of that."""
    low = max(smooth / 1e6, scale[FLOOR])
    if variance < low:
        return low, 0.0
    high = min(max(smooth * 1e6, scale[CEILING]), 1e7 * scale[CEILING])
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
    is_t: bool,
    returns_pct: FloatArray,
    scale: FloatArray,
    smooth: FloatArray,
    gradient: FloatArray,
) -> float:
    """Log-likelihood and its gradient in one pass, of GARCH or, with a gamma, GJR.

    Parameters
    ----------
    theta : float64[4], float64[5] or float64[6]
        mu (percent), omega (percent squared), alpha, gamma (GJR alone), beta, nu
        (Student-t alone).
    is_t : bool
        Student-t shocks, else Normal ones.
    returns_pct : float64[n]
        Daily returns in percent.
    scale, smooth
        From `series_scale`.
    gradient : float64 like `theta`
        Overwritten with the derivative by each parameter.

    Notes
    -----
    ``e = r - mu; s2' = omega + (alpha + gamma [e < 0]) e^2 + beta s2`` (Bollerslev
    1986; gamma: Glosten, Jagannathan and Runkle 1993), with the Student-t scaled
    to unit variance (Bollerslev 1987). The derivatives follow the same recursion
    (Fiorentini, Calzolari and Panattoni 1996).
    """
    n = returns_pct.size
    is_gjr = theta.size - is_t == 5
    mu, omega, alpha = theta[0], theta[1], theta[2]
    gamma = theta[3] if is_gjr else 0.0
    beta = theta[3 + is_gjr]
    nu = theta[theta.size - 1] if is_t else 0.0
    spare = nu - 2.0
    backcast, ceiling, floor = scale[BACKCAST], scale[CEILING], scale[FLOOR_MAX]
    s2 = omega + (alpha + 0.5 * gamma + beta) * backcast
    d_mu, d_omega, d_alpha, d_gamma, d_beta = 0.0, 1.0, backcast, 0.5 * backcast, backcast
    g_mu, g_omega, g_alpha, g_gamma, g_beta, g_nu = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
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
            d_gamma *= slope
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
        push = alpha
        if is_gjr:
            g_gamma += w * d_gamma
            d_gamma = beta * d_gamma
            if e < 0.0:
                push = alpha + gamma
                d_gamma += e2
        d_mu = beta * d_mu - 2.0 * push * e
        d_omega = beta * d_omega + 1.0
        d_alpha = beta * d_alpha + e2
        d_beta = beta * d_beta + s2
        s2 = beta * s2 + (omega + push * e2)
    logs += math.log(product)
    gradient[0], gradient[1], gradient[2] = g_mu, g_omega, g_alpha
    if is_gjr:
        gradient[3] = g_gamma
    gradient[3 + is_gjr] = g_beta
    if not is_t:
        return -0.5 * (n * _LN_2PI + logs + sum_z)
    logs_t += math.log(product_t)
    tails = logs_t - logs - n * math.log(spare)
    half = 0.5 * (nu + 1.0)
    constant = math.lgamma(half) - math.lgamma(0.5 * nu) - 0.5 * (_LN_PI + math.log(spare))
    g_nu = n * 0.5 * (_digamma(half) - _digamma(0.5 * nu) - 1.0 / spare)
    g_nu += -0.5 * tails + half * sum_z / spare
    gradient[theta.size - 1] = g_nu
    return n * constant - 0.5 * logs - half * tails


@njit(cache=True, fastmath={"contract"})
def grid_heights(
    returns_pct: FloatArray, scale: FloatArray, is_t: bool, lanes: int, skew: float
) -> FloatArray:
    """Log-likelihoods, less a constant, of the first so many starts, in one pass.

    Mean and variance are the sample's. The bounds on a variance are left out:
    a start only has to be near. `skew` is gamma over 2 alpha + gamma, 0 of GARCH.
    """
    mean, unit = scale[MEAN], 1.0 / scale[VARIANCE]
    # One array with rows of _LANES: alpha, beta, omega, variance, two products,
    # sum. Within one array the compiler sees that they do not overlap.
    w = np.ones(7 * _LANES)
    for i in range(lanes):
        w[i] = GRID_ALPHA[i]
        w[_LANES + i] = GRID_PERSISTENCE[i] - GRID_ALPHA[i]
        w[2 * _LANES + i] = 1.0 - GRID_PERSISTENCE[i]
        w[3 * _LANES + i] += GRID_PERSISTENCE[i] * (scale[BACKCAST] * unit - 1.0)
        w[6 * _LANES + i] = 0.0
    weight, weight_t = (-START_NU, START_NU + 1.0) if is_t else (1.0, 0.0)
    by_spare = 1.0 / (START_NU - 2.0)
    n = returns_pct.size
    for block in range(0, n, _GRID_BLOCK):
        for t in range(block, min(block + _GRID_BLOCK, n)):
            e2 = (returns_pct[t] - mean) ** 2 * unit
            push = e2 * (1.0 + skew if returns_pct[t] < mean else 1.0 - skew)
            if is_t:
                for i in range(lanes):
                    s2 = w[3 * _LANES + i]
                    w[4 * _LANES + i] *= s2
                    w[5 * _LANES + i] *= s2 + e2 * by_spare
                    w[3 * _LANES + i] = w[2 * _LANES + i] + w[i] * push + w[_LANES + i] * s2
            else:
                for i in range(lanes):
                    s2 = w[3 * _LANES + i]
                    w[4 * _LANES + i] *= s2
                    w[6 * _LANES + i] += e2 / s2
                    w[3 * _LANES + i] = w[2 * _LANES + i] + w[i] * push + w[_LANES + i] * s2
        for i in range(lanes):
            w[6 * _LANES + i] += weight * math.log(w[4 * _LANES + i])
            w[4 * _LANES + i] = 1.0
            if is_t:
                w[6 * _LANES + i] += weight_t * math.log(w[5 * _LANES + i])
                w[5 * _LANES + i] = 1.0
    return -0.5 * w[6 * _LANES : 6 * _LANES + lanes]


@njit(cache=True, fastmath={"contract"})
def information(
    theta: FloatArray, is_t: bool, returns_pct: FloatArray, scale: FloatArray
) -> FloatArray:
    """Expected information, the curvature that a climb starts from.

    Student-t: that of location, scale and nu (Lange, Little and Taylor 1989),
    with the scale s^2 = sigma^2 (nu - 2) / nu.
    """
    is_gjr = theta.size - is_t == 5
    mu, omega, alpha = theta[0], theta[1], theta[2]
    gamma = theta[3] if is_gjr else 0.0
    beta = theta[3 + is_gjr]
    by_mean, by_variance, by_both, by_nu = 1.0, 0.5, 0.0, 0.0
    if is_t:
        nu = theta[theta.size - 1]
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
    backcast, floor = scale[BACKCAST], scale[FLOOR_MAX]
    s2 = omega + (alpha + 0.5 * gamma + beta) * backcast
    d_mu, d_omega, d_alpha, d_gamma, d_beta = 0.0, 1.0, backcast, 0.5 * backcast, backcast
    m00, m01, m02, m03, m11, m12, m13, m22, m23, m33 = (0.0,) * 10
    f0, f1, f2, f3, inverses = (0.0,) * 5
    c0, c1, c2, c3, own_gamma, f4 = (0.0,) * 6
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
        push = alpha
        if is_gjr:
            q4 = w * d_gamma
            c0 += q0 * q4
            c1 += q1 * q4
            c2 += q2 * q4
            c3 += q3 * q4
            own_gamma += q4 * q4
            f4 += q4
            d_gamma = beta * d_gamma
            if e < 0.0:
                push = alpha + gamma
                d_gamma += e2
        d_mu = beta * d_mu - 2.0 * push * e
        d_omega = beta * d_omega + 1.0
        d_alpha = beta * d_alpha + e2
        d_beta = beta * d_beta + s2
        s2 = beta * s2 + (omega + push * e2)
    full = np.array(
        [
            [m00, m01, m02, c0, m03, f0],
            [m01, m11, m12, c1, m13, f1],
            [m02, m12, m22, c2, m23, f2],
            [c0, c1, c2, own_gamma, c3, f4],
            [m03, m13, m23, c3, m33, f3],
            [f0, f1, f2, f4, f3, 0.0],
        ]
    )
    full[:5, :5] *= by_variance
    full[:5, 5] *= by_both
    full[5, :5] *= by_both
    full[0, 0] += by_mean * inverses
    full[5, 5] = by_nu * returns_pct.size
    rows = _ROWS if is_gjr else _ROWS_GARCH
    matrix = np.empty((theta.size, theta.size))
    for i in range(theta.size):
        for j in range(theta.size):
            matrix[i, j] = full[rows[i], rows[j]]
    return matrix


@njit(cache=True)
def next_variance(
    recursion: FloatArray, returns_pct: FloatArray, scale: FloatArray, smooth: FloatArray
) -> float:
    """Variance (percent squared) of the day after a series, of GARCH or GJR.

    Parameters
    ----------
    recursion : float64[5]
        mu, omega, alpha, gamma (0 for GARCH), beta.
    returns_pct : float64[n]
        Daily returns in percent.
    scale, smooth
        From `series_scale`.
    """
    mu, omega, alpha, gamma, beta = recursion
    s2 = omega + (alpha + 0.5 * gamma + beta) * scale[BACKCAST]
    for t in range(returns_pct.size):
        s2, _ = _bounded(s2, smooth[t], scale)
        e = returns_pct[t] - mu
        push = alpha + gamma if e < 0.0 else alpha
        s2 = omega + push * e * e + beta * s2
    return float(s2)
