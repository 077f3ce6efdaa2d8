"""Volatility: which model fits a symbol, and what it forecasts for one to five days.

Before it stand daily bars; after it the store, the scorer and the nightly score.
Decided here: when a history is fit to be used, which fits are degenerate, and
the choice among GARCH(1,1) and GJR with Normal and Student-t by BIC.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Final

import numpy as np

from greenlight.domain.forecasts import (
    HORIZON,
    Distribution,
    FailedForecast,
    FitFlag,
    Model,
    VolatilityForecast,
    VolatilityScore,
    annualised_frac,
    qlike,
)
from greenlight.domain.garch import next_variance, series_scale
from greenlight.domain.garch_climb import NU_MAX, NU_MIN, OMEGA_MIN_FRAC
from greenlight.domain.garch_fit import HILLS, maximise
from greenlight.domain.indicators import FloatArray
from greenlight.domain.market import Bar, Split, Unavailable, eastern_date

_EWMA_DECAY: Final = 0.94
_WINDOW_DAYS: Final = 20
_MAX_GAP: Final = timedelta(days=10)
"""Longer than any closure of the exchange since 1990 (seven days in September 2001)."""
_SPLIT_RATIOS: Final = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0)
_SPLIT_NEARNESS: Final = 0.05
_NONE: Final = np.empty((0, 0))
_UNUSABLE: Final = frozenset({FitFlag.NOT_CONVERGED, FitFlag.NOT_FINITE, FitFlag.NU_AT_LEAST})


@dataclass(frozen=True, slots=True, kw_only=True)
class VolatilityPolicy:
    """How a symbol's volatility is fitted.

    Attributes
    ----------
    window : int
        Newest daily returns that a fit uses, about four years.
    min_returns : int
        Fewest daily returns that a fit may use, about a year.
    models : tuple[Model, ...]
        Models to choose from.
    """

    window: int = 1000
    min_returns: int = 250
    models: tuple[Model, ...] = (Model.GARCH, Model.GJR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A fitted model: parameters in arch's order, and what is wrong with them."""

    model: Model
    distribution: Distribution
    params: tuple[float, ...]
    log_likelihood: float
    is_converged: bool
    flags: tuple[FitFlag, ...]
    n_obs: int
    tops: FloatArray | None = field(default=None, compare=False, repr=False)
    """Where a compiled fit looked, for the next one to start from."""

    @property
    def bic(self) -> float:
        """Bayesian information criterion, ``k ln n - 2 ln L`` (Schwarz 1978)."""
        return len(self.params) * math.log(self.n_obs) - 2.0 * self.log_likelihood

    @property
    def is_usable(self) -> bool:
        """Whether a forecast may rest on it."""
        # A Student-t without a level of its own rests on a run of equal returns.
        is_spike = self.distribution is Distribution.STUDENT_T
        is_spike &= FitFlag.OMEGA_AT_BOUND in self.flags
        return not is_spike and not _UNUSABLE & set(self.flags)


def daily_returns_pct(
    bars: Sequence[Bar],
    splits: Sequence[Split],
    now: datetime,
    policy: VolatilityPolicy,
) -> FloatArray | Unavailable:
    """Close-to-close returns of the policy's window, or why the history cannot be used.

    Parameters
    ----------
    bars : Sequence[Bar]
        Daily bars of one symbol, raw prices, oldest first.
    splits : Sequence[Split]
        Splits of that symbol; prices before one are divided by its ratio.
    now : datetime
        Aware; the newest bar may not be much older.

    Returns
    -------
    FloatArray | Unavailable
        Simple returns in percent, dividends left out.
    """
    bars = bars[-(policy.window + 1) :]
    if len(bars) < policy.min_returns + 1:
        needed = policy.min_returns + 1
        return Unavailable(f"history too short: {len(bars)} daily bars, {needed} are needed")
    closes = np.array([bar.close for bar in bars], dtype=np.float64)
    if not (np.isfinite(closes).all() and closes.min() > 0.0):
        return Unavailable("a close is not a positive number")
    for earlier, later in pairwise(bars):
        if later.start <= earlier.start:
            return Unavailable(f"daily bars out of order at {eastern_date(later.start)}")
        if later.start - earlier.start > _MAX_GAP:
            return Unavailable(f"gap in the daily bars before {eastern_date(later.start)}")
    if now - bars[-1].end > _MAX_GAP:
        return Unavailable(f"newest daily bar is of {eastern_date(bars[-1].start)}")
    for split in splits:
        before = bisect_left(bars, split.ex_date, key=lambda bar: eastern_date(bar.start))
        if split.ex_date <= eastern_date(now):
            closes[:before] /= split.ratio
    growth = closes[1:] / closes[:-1]
    for i in np.flatnonzero(np.abs(np.log(growth)) > 0.3):
        ratio = max(growth[i], 1.0 / growth[i])
        if min(abs(ratio / whole - 1.0) for whole in _SPLIT_RATIOS) < _SPLIT_NEARNESS:
            day = eastern_date(bars[int(i) + 1].start)
            return Unavailable(f"jump like an unadjusted split on {day}")
    returns_pct = 100.0 * (growth - 1.0)
    if np.count_nonzero(np.diff(returns_pct)) < returns_pct.size // 2:
        return Unavailable("price hardly moves: half of the returns repeat the one before")
    return np.ascontiguousarray(returns_pct)


def fit_garch(
    returns_pct: FloatArray,
    distribution: Distribution,
    near: FloatArray | None = None,
    *,
    model: Model = Model.GARCH,
) -> Fit:
    """Fit a GARCH(1,1) or GJR with a constant mean by maximum likelihood, compiled.

    Parameters
    ----------
    returns_pct : FloatArray
        Daily returns in percent.
    distribution : Distribution
        Of the shocks.
    near : FloatArray | None
        `Fit.tops` of an earlier fit of the same model and distribution to a series
        near by.
    model : Model
        Recursion of the variance.

    Raises
    ------
    ValueError
        A return is not finite, or they are all equal.
    """
    if returns_pct.size < 2:
        raise ValueError("returns must be finite and not all equal")
    is_t = distribution is Distribution.STUDENT_T
    tops, log_likelihood, is_converged, _, variance = maximise(
        np.ascontiguousarray(returns_pct, dtype=np.float64),
        _NONE if near is None else near,
        model is Model.GJR,
        is_t,
    )
    if not 0.0 < variance < math.inf:
        raise ValueError("returns must be finite and not all equal")
    return _judged(
        model=model,
        distribution=distribution,
        params=tuple(tops[0].tolist()),
        tops=tops,
        log_likelihood=log_likelihood,
        is_converged=is_converged,
        variance_pct2=variance,
        n_obs=returns_pct.size,
    )


def tops_of(params: Sequence[float]) -> FloatArray:
    """What a fit can start from where only an earlier one's parameters are known."""
    tops = np.full((HILLS, len(params)), np.nan)
    tops[0] = params
    return tops


def variances_pct2(fit: Fit | VolatilityForecast, returns_pct: FloatArray) -> tuple[float, ...]:
    """Variance of the return (percent squared) 1, 2, … `HORIZON` sessions ahead.

    Notes
    -----
    ``h[1] = omega + (alpha + gamma [e < 0]) e^2 + beta s2`` and from then on
    ``h[k+1] = omega + (alpha + gamma / 2 + beta) h[k]``.
    """
    mu, omega, alpha = fit.params[:3]
    gamma, beta = fit.params[3:5] if fit.model is Model.GJR else (0.0, fit.params[3])
    scale, smooth = series_scale(returns_pct)
    recursion = np.array([mu, omega, alpha, gamma, beta])
    ahead = [float(next_variance(recursion, returns_pct, scale, smooth))]
    while len(ahead) < HORIZON:
        ahead.append(omega + (alpha + 0.5 * gamma + beta) * ahead[-1])
    return tuple(ahead)


def is_fit_due(previous: VolatilityForecast | None, through: date) -> bool:
    """Whether parameters are fitted anew: in the first session of a week, and without any.

    In between the recursion runs on with the parameters there are.
    """
    return previous is None or previous.through.isocalendar()[:2] != through.isocalendar()[:2]


def forecast(
    *,
    symbol: str,
    now: datetime,
    bars: Sequence[Bar],
    splits: Sequence[Split],
    previous: VolatilityForecast | None,
    policy: VolatilityPolicy,
) -> VolatilityForecast | FailedForecast:
    """Forecast with the week's parameters, or fit every model and take the lowest BIC's.

    Parameters
    ----------
    bars, splits
        As in `daily_returns_pct`.
    previous : VolatilityForecast | None
        The last one of this symbol; it gives the week's parameters (see `is_fit_due`),
        and the fit of the same model starts from it.

    Returns
    -------
    VolatilityForecast | FailedForecast
        Of a degenerate fit only where there is no other, with its flags.
    """
    returns_pct = daily_returns_pct(bars, splits, now, policy)
    if isinstance(returns_pct, Unavailable):
        return FailedForecast(symbol=symbol, at=now, reason=returns_pct.reason)
    through = eastern_date(bars[-1].start)
    best: Fit | VolatilityForecast | Unavailable | None = previous
    if best is None or is_fit_due(previous, through):
        best = _best_fit(returns_pct, previous, policy)
    if isinstance(best, Unavailable):
        return FailedForecast(symbol=symbol, at=now, reason=best.reason)
    ahead = variances_pct2(best, returns_pct)
    if not all(math.isfinite(variance) and variance > 0.0 for variance in ahead):
        return FailedForecast(symbol=symbol, at=now, reason=f"forecast not finite: {ahead}")
    return VolatilityForecast(
        symbol=symbol,
        at=now,
        through=through,
        model=best.model,
        distribution=best.distribution,
        sigma_pct=tuple(math.sqrt(variance) for variance in ahead),
        vol_frac_ann=annualised_frac(ahead),
        is_converged=best.is_converged,
        flags=best.flags,
        bic=best.bic,
        n_obs=best.n_obs,
        params=best.params,
    )


def rolling_pct2(
    returns_pct: FloatArray, distribution: Distribution, *, window: int, refit_every: int
) -> FloatArray:
    """GARCH's variance of each next day (percent squared), refitted as time goes on.

    Parameters
    ----------
    returns_pct : FloatArray
        Daily returns in percent, longer than `window`.
    window : int
        Newest returns that a fit uses.
    refit_every : int
        Days between fits; each starts from the one before. After one that is
        not usable the parameters stay; where the first is not, Normal stands in.

    Returns
    -------
    FloatArray
        One value for each return after the first `window`, each made of returns
        before it alone.
    """
    made = np.empty(returns_pct.size - window)
    near: FloatArray | None = None
    recursion = np.empty(5)
    for i in range(made.size):
        seen = returns_pct[i : i + window]
        if i % refit_every == 0:
            fit = fit_garch(seen, distribution, near)
            if fit.is_usable:
                near = fit.tops
            elif near is None:
                fit = fit_garch(seen, Distribution.NORMAL)
            if fit.is_usable or near is None:
                recursion[:] = (*fit.params[:3], 0.0, fit.params[3])
        made[i] = next_variance(recursion, seen, *series_scale(seen))
    return made


def ewma_pct2(returns_pct: FloatArray) -> float:
    """Next session's variance (percent squared) by RiskMetrics' average, decay 0.94."""
    # The last 200 weigh all but 4e-6.
    recent = returns_pct[-200:]
    weights = _EWMA_DECAY ** np.arange(recent.size - 1, -1, -1)
    return float(weights @ recent**2 / weights.sum())


def window_pct2(returns_pct: FloatArray) -> float:
    """Next session's variance (percent squared) by the last 20 squared returns."""
    return float(np.mean(returns_pct[-_WINDOW_DAYS:] ** 2))


def scores(made: VolatilityForecast, returns_pct: FloatArray, bar: Bar) -> list[VolatilityScore]:
    """Losses of a forecast, of EWMA and of the 20-day window in the session after it.

    Parameters
    ----------
    made : VolatilityForecast
        Made before that session.
    returns_pct : FloatArray
        Daily returns up to and with that session.
    bar : Bar
        That session's bar.
    """
    realised = float(returns_pct[-1] ** 2)
    methods = {
        "garch": made.sigma_pct[0] ** 2,
        "ewma": ewma_pct2(returns_pct[:-1]),
        "window20": window_pct2(returns_pct[:-1]),
    }
    return [
        VolatilityScore(
            symbol=made.symbol,
            session=eastern_date(bar.start),
            method=method,
            forecast_pct2=variance,
            realised_pct2=realised,
            qlike=qlike(variance, realised),
        )
        for method, variance in methods.items()
        if variance > 0.0
    ]


def _best_fit(
    returns_pct: FloatArray, previous: VolatilityForecast | None, policy: VolatilityPolicy
) -> Fit | Unavailable:
    fits = []
    for distribution in Distribution:
        for model in policy.models:
            near = None
            if previous is not None:
                is_same = previous.model is model and previous.distribution is distribution
                near = tops_of(previous.params) if is_same else None
            fits.append(fit_garch(returns_pct, distribution, near, model=model))
    usable = [fit for fit in fits if fit.is_usable]
    if not usable:
        reason = "; ".join(f"{f.model} {f.distribution}: {', '.join(f.flags)}" for f in fits)
        return Unavailable(f"no fit is usable: {reason}")
    return min(usable, key=lambda fit: (len(fit.flags) > 0, fit.bic))


def _judged(
    *,
    model: Model,
    distribution: Distribution,
    params: tuple[float, ...],
    log_likelihood: float,
    is_converged: bool,
    variance_pct2: float,
    n_obs: int,
    tops: FloatArray | None = None,
) -> Fit:
    flags = []
    if not is_converged:
        flags.append(FitFlag.NOT_CONVERGED)
    if not (math.isfinite(log_likelihood) and all(map(math.isfinite, params))):
        flags.append(FitFlag.NOT_FINITE)
    omega, alpha = params[1], params[2]
    gamma, beta = params[3:5] if model is Model.GJR else (0.0, params[3])
    if alpha + 0.5 * gamma + beta > 1.0 - 1e-4:
        flags.append(FitFlag.INTEGRATED)
    if omega < 2.0 * OMEGA_MIN_FRAC * variance_pct2:
        flags.append(FitFlag.OMEGA_AT_BOUND)
    if alpha < 1e-4 and alpha + gamma < 1e-4:
        flags.append(FitFlag.NO_ARCH)
    if distribution is Distribution.STUDENT_T and params[-1] < 1.01 * NU_MIN:
        flags.append(FitFlag.NU_AT_LEAST)
    if distribution is Distribution.STUDENT_T and params[-1] > 0.99 * NU_MAX:
        flags.append(FitFlag.NU_AT_MOST)
    return Fit(
        model=model,
        distribution=distribution,
        params=params,
        log_likelihood=log_likelihood,
        is_converged=is_converged,
        flags=tuple(flags),
        n_obs=n_obs,
        tops=tops,
    )
