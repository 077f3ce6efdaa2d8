"""Volatility forecasts and their scores, as values.

Before it stand the bars; after it `volatility`, which makes them, the store,
which keeps them, and the scorer, which weighs a position by them. Nothing here
needs an array, so that a position monitor can read a forecast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Final

from greenlight.domain.market import Unavailable

SESSIONS_A_YEAR: Final = 252
HORIZON: Final = 5
"""Sessions ahead that a forecast reaches."""


class Model(StrEnum):
    """Recursion of the variance."""

    GARCH = "garch"
    GJR = "gjr"


class Distribution(StrEnum):
    """Distribution of the standardised shocks."""

    NORMAL = "normal"
    STUDENT_T = "t"


class FitFlag(StrEnum):
    """Why a fit is degenerate, whatever the optimiser says of itself."""

    NOT_CONVERGED = "not_converged"
    NOT_FINITE = "not_finite"
    INTEGRATED = "integrated"
    """Persistence 1 or so close that no level of variance exists."""
    OMEGA_AT_BOUND = "omega_at_bound"
    NO_ARCH = "no_arch"
    """Shocks do not move the variance; beta means nothing then."""
    NU_AT_LEAST = "nu_at_least"
    """Tails so heavy that the likelihood may have no top."""
    NU_AT_MOST = "nu_at_most"
    """Tails like the Normal's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolatilityForecast:
    """Forecast of a symbol's volatility for the sessions after `through`.

    Attributes
    ----------
    at : datetime
        When it was made, aware UTC.
    through : date
        Last session that it knows.
    sigma_pct : tuple[float, ...]
        Standard deviation of the daily return 1, 2, … 5 sessions ahead, percent.
    vol_frac_ann : float
        Root mean of those variances over a year of 252 sessions, as a fraction.
    params : tuple[float, ...]
        In the arch package's order: mu, omega, alpha, (gamma,) beta, (nu).
    """

    symbol: str
    at: datetime
    through: date
    model: Model
    distribution: Distribution
    sigma_pct: tuple[float, ...]
    vol_frac_ann: float
    is_converged: bool
    flags: tuple[FitFlag, ...]
    bic: float
    n_obs: int
    params: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedForecast:
    """No forecast of a symbol could be made at an instant (aware UTC), and why."""

    symbol: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VolatilityScore:
    """How near a method's forecast of one session's variance came.

    `method` is "garch", "ewma" or "window20"; variances are percent squared.
    """

    symbol: str
    session: date
    method: str
    forecast_pct2: float
    realised_pct2: float
    qlike: float


def expected_vol_ann(made: VolatilityForecast, age_sessions: int) -> float | Unavailable:
    """Volatility a year, as a fraction, over the sessions of a forecast still to come.

    Parameters
    ----------
    age_sessions : int
        Sessions that have closed since `made.through`.
    """
    left = made.sigma_pct[age_sessions:]
    if not left:
        return Unavailable(f"the newest forecast is {age_sessions} sessions old")
    return annualised_frac(tuple(sigma**2 for sigma in left))


def mean_losses(scores: Sequence[VolatilityScore]) -> dict[str, float]:
    """Mean QLIKE by method, over the sessions and symbols that every method has."""
    methods = sorted({score.method for score in scores})
    found: dict[tuple[date, str], dict[str, float]] = {}
    for score in scores:
        found.setdefault((score.session, score.symbol), {})[score.method] = score.qlike
    whole = [row for row in found.values() if len(row) == len(methods)]
    if not whole:
        return {}
    return {method: sum(row[method] for row in whole) / len(whole) for method in methods}


def annualised_frac(variances_pct2: tuple[float, ...]) -> float:
    """Root mean of daily variances (percent squared) over a year, as a fraction."""
    return math.sqrt(SESSIONS_A_YEAR * sum(variances_pct2) / len(variances_pct2)) / 100.0


def qlike(forecast_pct2: float, realised_pct2: float) -> float:
    """Quasi-likelihood loss of a variance forecast; smaller is better.

    Notes
    -----
    ``ln h + s / h`` with forecast h and realised variance s: robust to noise in
    an unbiased s such as a squared return (Patton 2011, "Volatility forecast
    comparison using imperfect volatility proxies"). It orders forecasts as
    ``s/h - ln(s/h) - 1`` does, and exists for s = 0.

    Raises
    ------
    ValueError
        The forecast is not positive, or one of them is not finite.
    """
    if not (forecast_pct2 > 0 and math.isfinite(forecast_pct2) and math.isfinite(realised_pct2)):
        raise ValueError(f"no loss of forecast {forecast_pct2} against {realised_pct2}")
    return math.log(forecast_pct2) + realised_pct2 / forecast_pct2
