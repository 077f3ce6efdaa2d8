"""What a series of equity says: return, risk, and how sure one can be of either.

Before it stand the backtest and marked equity; after it the gate and the
reports. `metrics` has the Sharpe ratio, the largest drawdown, win rate and
profit factor. Returns are simple, of single sessions, as fractions; a year has
252. A figure that cannot be computed is `Unavailable` with its reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from greenlight.domain.market import Unavailable
from greenlight.domain.metrics import SESSIONS_A_YEAR, FloatArray, sharpe_ann
from greenlight.domain.trades import Trade

_NORMAL: Final = NormalDist()
_EULER: Final = 0.5772156649015329
FEW: Final = 20
"""Fewer returns make no blocks to draw: a month (ours)."""


def cagr_frac(start_usd: float, end_usd: float, sessions: int) -> float | Unavailable:
    """Compound annual growth rate over so many sessions' returns, as a fraction.

    Notes
    -----
    ``(end / start)^(252 / sessions) - 1``.
    """
    if sessions < 1 or start_usd <= 0 or end_usd <= 0:
        return Unavailable(f"no growth from {start_usd} to {end_usd} in {sessions} sessions")
    return float((end_usd / start_usd) ** (SESSIONS_A_YEAR / sessions) - 1)


def volatility_ann(returns: Sequence[float]) -> float | Unavailable:
    """Volatility a year of daily returns, as a fraction: ``sqrt(252) s`` of the sample."""
    if len(returns) < 2:
        return Unavailable(f"{len(returns)} daily returns; a volatility needs two")
    return math.sqrt(SESSIONS_A_YEAR) * float(np.std(returns, ddof=1))


def sortino_ann(returns: Sequence[float]) -> float | Unavailable:
    """Annualised Sortino ratio of daily returns against 0.

    Notes
    -----
    ``sqrt(252) mean(r) / sqrt(mean(min(r, 0)^2))``, the mean over all days;
    Sortino and van der Meer (1991), "Downside risk", J. of Portfolio Management 17(4).
    """
    values = np.asarray(returns, dtype=np.float64)
    downside = float(np.sqrt(np.mean(np.minimum(values, 0.0) ** 2))) if len(values) else 0.0
    if downside == 0.0:
        return Unavailable("no daily return below 0")
    return math.sqrt(SESSIONS_A_YEAR) * float(values.mean()) / downside


def calmar(cagr: float | Unavailable, drawdown_frac: float) -> float | Unavailable:
    """Annual growth over the largest drawdown, both as fractions.

    Notes
    -----
    Young (1991), "Calmar Ratio: A Smoother Tool", Futures 20(1); over the whole
    window instead of three years.
    """
    if isinstance(cagr, Unavailable):
        return cagr
    return cagr / drawdown_frac if drawdown_frac > 0 else Unavailable("equity never fell")


def longest_drawdown(equity_usd: FloatArray) -> int:
    """Most marks in a row that equity lay below a peak that it had reached before."""
    below = equity_usd < np.maximum.accumulate(equity_usd)
    longest = run = 0
    for is_below in below.tolist():
        run = run + 1 if is_below else 0
        longest = max(longest, run)
    return longest


def expectancy_usd(trades: Sequence[Trade]) -> float | Unavailable:
    """Mean gain of a closed trade after fees, US dollars."""
    if not trades:
        return Unavailable("no closed trade")
    return float(sum(trade.net_usd for trade in trades)) / len(trades)


def exposure_frac(exposure_usd: FloatArray, equity_usd: FloatArray) -> float | Unavailable:
    """Mean share of equity that was invested, over all marks."""
    if not len(equity_usd) or float(equity_usd.min()) <= 0:
        return Unavailable("no mark of equity above 0")
    return float(np.mean(exposure_usd / equity_usd))


def turnover_ann(traded_usd: float, equity_usd: FloatArray, sessions: int) -> float | Unavailable:
    """How often a year equity is turned over.

    Notes
    -----
    Half of all that was bought and sold, over mean equity and the years: 1 is
    the whole of equity bought and sold once a year.
    """
    if sessions < 1 or not len(equity_usd) or float(equity_usd.mean()) <= 0:
        return Unavailable("no session with equity above 0")
    return traded_usd / 2 / float(equity_usd.mean()) * SESSIONS_A_YEAR / sessions


# -- how sure


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """What the probability of a Sharpe ratio rests on, of single sessions' returns.

    `sharpe` is not annualised; `kurtosis` is 3 for the Normal. Both are the
    population's.
    """

    sharpe: float
    skewness: float
    kurtosis: float
    count: int


def moments(returns: Sequence[float]) -> Moments | Unavailable:
    """Moments of daily returns; the Sharpe ratio is `metrics.sharpe_ann`, of a day."""
    annual = sharpe_ann(returns)
    if isinstance(annual, Unavailable):
        return annual
    values = np.asarray(returns, dtype=np.float64)
    scaled = (values - values.mean()) / values.std()
    return Moments(
        sharpe=annual / math.sqrt(SESSIONS_A_YEAR),
        skewness=float(np.mean(scaled**3)),
        kurtosis=float(np.mean(scaled**4)),
        count=len(values),
    )


def _unit_error(found: Moments) -> float:
    """Standard error of the daily Sharpe ratio times the root of the count less one."""
    square = 1 - found.skewness * found.sharpe + (found.kurtosis - 1) / 4 * found.sharpe**2
    return math.sqrt(max(square, 0.0))


def probabilistic_sharpe(found: Moments, benchmark: float = 0.0) -> float | Unavailable:
    """Probability that the true Sharpe ratio of a session exceeds a benchmark's.

    Parameters
    ----------
    benchmark : float
        Of a single session, not annualised.

    Notes
    -----
    ``Phi((q - q*) sqrt(n - 1) / sqrt(1 - skew q + (kurt - 1) / 4 q^2))``; Bailey
    and López de Prado (2012), "The Sharpe Ratio Efficient Frontier", J. of Risk 15(2).
    """
    error = _unit_error(found)
    if error == 0.0 or found.count < 2:
        return Unavailable("the moments leave no standard error")
    return _NORMAL.cdf((found.sharpe - benchmark) * math.sqrt(found.count - 1) / error)


def min_track_record(
    found: Moments, benchmark: float = 0.0, confidence: float = 0.95
) -> float | Unavailable:
    """How many returns it takes to be so sure that the true ratio exceeds a benchmark's.

    Notes
    -----
    ``1 + (1 - skew q + (kurt - 1) / 4 q^2) (z / (q - q*))^2``; Bailey and López de
    Prado (2012), as above.
    """
    if found.sharpe <= benchmark:
        return Unavailable("the Sharpe ratio does not exceed the benchmark")
    ratio = _NORMAL.inv_cdf(confidence) / (found.sharpe - benchmark)
    return 1 + _unit_error(found) ** 2 * ratio**2


def luckiest_sharpe(trials: int, variance: float) -> float:
    """The Sharpe ratio to expect of the best of so many trials without any edge.

    Parameters
    ----------
    trials : int
        Independent ones, at least 1.
    variance : float
        Of the trials' ratios, in the unit of the answer, squared.

    Raises
    ------
    ValueError
        There are no trials, or the variance is negative.

    Notes
    -----
    ``sqrt(V) ((1 - g) z(1 - 1/N) + g z(1 - 1/(N e)))`` with Euler's constant g;
    Bailey and López de Prado (2014), "The Deflated Sharpe Ratio", J. of Portfolio
    Management 40(5). One trial has no luck to take off: 0.
    """
    if trials < 1 or variance < 0:
        raise ValueError(f"{trials} trials with a variance of {variance}")
    if trials == 1:
        return 0.0
    first = _NORMAL.inv_cdf(1 - 1 / trials)
    second = _NORMAL.inv_cdf(1 - 1 / (trials * math.e))
    return math.sqrt(variance) * ((1 - _EULER) * first + _EULER * second)


def deflated_sharpe(found: Moments, trials: int, variance: float) -> float | Unavailable:
    """Probability that a Sharpe ratio is not the luck of so many trials.

    `variance` is that of the trials' ratios of single sessions; see `luckiest_sharpe`.
    """
    return probabilistic_sharpe(found, luckiest_sharpe(trials, variance))


def sharpe_bootstrap(
    returns: Sequence[float], *, seed: int, draws: int = 1000, confidence: float = 0.95
) -> tuple[float, float] | Unavailable:
    """Interval of the annualised Sharpe ratio where returns hang together over days.

    Parameters
    ----------
    seed : int
        The same seed gives the same interval.

    Notes
    -----
    Percentiles of the stationary bootstrap (Politis and Romano 1994) with blocks of
    the length that Patton, Politis and White (2009) derive, both by the arch package.
    """
    if len(returns) < FEW:
        return Unavailable(f"{len(returns)} daily returns; the bootstrap needs {FEW}")
    # Imported here because it loads pandas and scipy.
    from arch.bootstrap import StationaryBootstrap, optimal_block_length

    values = np.asarray(returns, dtype=np.float64)
    if isinstance(sharpe_ann(returns), Unavailable):
        return Unavailable("the daily returns do not vary")
    length = max(1, round(float(optimal_block_length(values)["stationary"].iloc[0])))
    drawn = StationaryBootstrap(length, values, seed=seed).apply(_ratio, draws)[:, 0]
    known = drawn[np.isfinite(drawn)]
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _ratio(values: FloatArray) -> FloatArray:
    found = sharpe_ann(values.tolist())
    return np.array([math.nan if isinstance(found, Unavailable) else found])


# -- beside the market


@dataclass(frozen=True, slots=True, kw_only=True)
class BesideMarket:
    """A desk beside what holding the benchmark would have earned; fractions.

    `beta` is of daily returns. `matched_ann` is what holding the benchmark with
    the desk's own exposure, known the day before, would have earned in a year,
    and `excess_ann` what the desk earned beyond it; both are simple sums.
    """

    beta: float
    matched_ann: float
    excess_ann: float


def beside_market(
    returns: Sequence[float], exposures_frac: Sequence[float], benchmark: Sequence[float]
) -> BesideMarket | Unavailable:
    """Compare daily returns with a benchmark's of the same sessions.

    Parameters
    ----------
    exposures_frac : Sequence[float]
        The invested share of equity at the close before each return.

    Raises
    ------
    ValueError
        The three are not of one length.

    Notes
    -----
    ``beta = cov(r, m) / var(m)``; ``matched = 252 mean(w m)``; so an uptrend that
    was merely held is no edge.
    """
    if not len(returns) == len(exposures_frac) == len(benchmark):
        raise ValueError(
            f"{len(returns)} returns, {len(exposures_frac)} exposures, {len(benchmark)} benchmarks"
        )
    own, market = np.asarray(returns, dtype=np.float64), np.asarray(benchmark, dtype=np.float64)
    variance = float(market.var()) if len(market) else 0.0
    if variance == 0.0:
        return Unavailable("the benchmark does not move")
    matched = np.asarray(exposures_frac, dtype=np.float64) * market
    covariance = float(np.mean((own - own.mean()) * (market - market.mean())))
    return BesideMarket(
        beta=covariance / variance,
        matched_ann=SESSIONS_A_YEAR * float(matched.mean()),
        excess_ann=SESSIONS_A_YEAR * float((own - matched).mean()),
    )
