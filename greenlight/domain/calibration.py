"""How often the gate is wrong: made-up traders and the gate's verdict on them.

Decided here: the traders' returns and trades, a compiled twin of the criteria that
depend on them (1 to 4; a test holds it against the criteria themselves, session by
session), and what the rates say. Criteria 5 to 7 count as green, so that a promotion
rate without an edge is an upper bound. Before it stand the evidence and the policy;
after it the job that fans the traders out.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from greenlight.domain.evidence import (
    BACKTEST_CAP,
    LEVERAGES,
    MAX_LOSS_FRAC,
)
from greenlight.domain.gate import ReadinessPolicy
from greenlight.domain.metrics import SESSIONS_A_YEAR, FloatArray, IntArray

STREAK_DAYS: Final = 21
"""Calendar days for which every evaluation must have been green: three weeks."""
SESSIONS: Final = 252
"""Sessions that a trader is watched for."""
JUDGED_SESSIONS: Final = 5 * 252
"""Out-of-sample sessions of the backtest: five years."""
TRIALS: Final = 100
"""Trials in the ledger: a trader without an edge brings the luckiest of so many."""
MODELS: Final = ("t4", "ar1", "regimes", "dead_weeks", "uptrend")
"""Kinds of daily returns; see `draw_traders`."""
VOLATILITY_ANN: Final = 0.10
_AR: Final = 0.15
"""Autocorrelation of the "ar1" model from one day to the next."""
_DEAD_SHARE: Final = 0.10
"""Share of weeks without a trade in the "dead_weeks" model."""
_STAY: Final = (0.98, 0.95)
"""Chance that a calm, or a stormy, day follows its like."""
_SCALES: Final = (0.7, 1.6)
"""Volatility of calm and of stormy days, before both are scaled to the whole."""
_DRIFT_ANN: Final = 0.5
"""By how much calm days are better, as a Sharpe ratio; stormy ones make up for it."""
_HELD: Final = 0.6
"""Exposure of the "uptrend" model."""
_UPTREND: Final = (1.5, 0.16)
"""Sharpe ratio and volatility a year of its universe."""

BoolArray = NDArray[np.bool_]
_LEVERAGES: Final = np.array(LEVERAGES)
_ROOT_YEAR: Final = math.sqrt(SESSIONS_A_YEAR)


class Traders(NamedTuple):
    """What some traders did, a row each; daily arrays are [traders, sessions].

    `returns` and `excess` are fractions (excess is beyond holding, see
    `evidence.excess_returns`); `closed` and `won` count trades.
    """

    returns: FloatArray
    excess: FloatArray
    closed: IntArray
    won: IntArray


class Bounds(NamedTuple):
    """The policy's thresholds as the twin takes them."""

    min_days: float
    min_sessions: float
    min_closed_trades: float
    min_win_rate_frac: float
    min_sharpe_ann: float
    max_drawdown_frac: float
    needed: float


def bounds_of(policy: ReadinessPolicy) -> Bounds:
    """The thresholds that the twin judges by; `needed` is 1/alpha."""
    return Bounds(
        min_days=policy.min_days,
        min_sessions=policy.min_sessions,
        min_closed_trades=policy.min_closed_trades,
        min_win_rate_frac=policy.min_win_rate_frac,
        min_sharpe_ann=policy.min_sharpe_ann,
        max_drawdown_frac=policy.max_drawdown_frac,
        needed=1 / policy.alpha,
    )


def policy_hash(policy: ReadinessPolicy) -> str:
    """SHA-256 of the thresholds: a calibration of other ones is no evidence."""
    told = json.dumps(asdict(policy), sort_keys=True, allow_nan=False)
    return hashlib.sha256(told.encode()).hexdigest()


# -- the traders


def draw_traders(
    model: str, sharpe_ann: float, traders: int, sessions: int, rng: np.random.Generator
) -> Traders:
    """Made-up traders of a true annualised Sharpe ratio beyond holding.

    Parameters
    ----------
    model : str
        "t4": independent, Student's t with 4 degrees of freedom. "ar1": the same with
        autocorrelation 0.15. "regimes": calm and stormy spells, better in calm.
        "dead_weeks": t4 with a tenth of the weeks without a trade. "uptrend": t4 beyond
        holding six tenths of a universe that rises (Sharpe ratio 1.5).

    Raises
    ------
    ValueError
        There is no such model.

    Notes
    -----
    10% volatility a year beyond holding, about 300 trades: one a session, two in
    each fifth. A session's two trades share its gain, each with noise of its own.
    """
    if model not in MODELS:
        raise ValueError(f"there is no model {model}; there are {', '.join(MODELS)}")
    shape, sd = (traders, sessions), VOLATILITY_ANN / _ROOT_YEAR
    noise = rng.standard_t(4, shape) / math.sqrt(2)
    mean = np.full(shape, sharpe_ann * sd / _ROOT_YEAR)
    if model == "ar1":
        noise = _autocorrelated(noise, _AR)
    elif model == "regimes":
        stormy = _storms(rng.random(shape), *_STAY)
        share = (1 - _STAY[0]) / (2 - _STAY[0] - _STAY[1])
        calm, storm = _SCALES
        whole = math.sqrt((1 - share) * calm * calm + share * storm * storm)
        noise = noise * np.where(stormy, storm, calm) / whole
        drift = _DRIFT_ANN * sd / _ROOT_YEAR
        mean += np.where(stormy, -drift * (1 - share) / share, drift)
    excess = mean + sd * noise
    closed = np.ones(shape, dtype=np.int64)
    closed[:, 4::5] = 2
    if model == "dead_weeks":
        weeks = rng.random((traders, -(-sessions // 5))) < _DEAD_SHARE
        dead = np.repeat(weeks, 5, axis=1)[:, :sessions]
        excess, closed = np.where(dead, 0.0, excess), np.where(dead, 0, closed)
    returns = excess
    if model == "uptrend":
        ratio, volatility = _UPTREND
        daily = volatility / _ROOT_YEAR
        universe = daily * (ratio / _ROOT_YEAR + rng.standard_t(4, shape) / math.sqrt(2))
        returns = excess + _HELD * universe
    split = sd * rng.standard_normal(shape)
    half = returns / 2
    double = (half + split > 0).astype(np.int64) + (half - split > 0).astype(np.int64)
    won = np.where(closed == 2, double, (returns > 0) & (closed == 1)).astype(np.int64)
    return Traders(returns=returns, excess=excess, closed=closed, won=won)


@njit(cache=True)
def _autocorrelated(noise: FloatArray, share: float) -> FloatArray:
    found = noise.copy()
    scale = math.sqrt(1 - share * share)
    for i in range(noise.shape[0]):
        for t in range(1, noise.shape[1]):
            found[i, t] = share * found[i, t - 1] + scale * noise[i, t]
    return found


@njit(cache=True)
def _storms(chance: FloatArray, calm_stays: float, storm_stays: float) -> BoolArray:
    found = np.zeros(chance.shape, dtype=np.bool_)
    share = (1 - calm_stays) / (2 - calm_stays - storm_stays)
    for i in range(chance.shape[0]):
        found[i, 0] = chance[i, 0] < share
        for t in range(1, chance.shape[1]):
            stays = storm_stays if found[i, t - 1] else calm_stays
            found[i, t] = found[i, t - 1] == (chance[i, t] < stays)
    return found


# -- the gate's compiled twin


@njit(cache=True)
def final_wealth(excess: FloatArray) -> FloatArray:
    """`evidence.wealth_path`'s last value, of every row."""
    found = np.empty(excess.shape[0])
    stakes = np.empty(len(_LEVERAGES))
    for i in range(excess.shape[0]):
        stakes[:] = 1.0
        for t in range(excess.shape[1]):
            _bet(stakes, excess[i, t])
        found[i] = stakes.mean()
    return found


@njit(cache=True)
def _bet(stakes: FloatArray, excess: float) -> None:
    if excess < -MAX_LOSS_FRAC:
        stakes[:] = 0.0
        return
    gain = min(excess, MAX_LOSS_FRAC)
    for k in range(len(stakes)):
        stakes[k] *= max(1 + _LEVERAGES[k] * gain, 0.0)


@njit(cache=True)
def green_sessions(
    traders: Traders, lent: FloatArray, days: IntArray, bounds: Bounds
) -> tuple[BoolArray, BoolArray]:
    """Whether criteria 1 to 4 are green after each session.

    Parameters
    ----------
    lent : FloatArray
        float64[traders]: what each one's backtest lends to the evidence.
    days : IntArray
        int64[sessions + 1]: whole days since the clocks began, after each session. The
        first session only gives the close that the first return is taken from.
    bounds : Bounds
        Of the policy.

    Returns
    -------
    tuple[BoolArray, BoolArray]
        bool[traders, sessions], by this policy and by its bare thresholds (no evidence).
    """
    shape = traders.returns.shape
    full, bare = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    stakes = np.empty(len(_LEVERAGES))
    for i in range(shape[0]):
        stakes[:] = 1.0
        mean = spread = worst = 0.0
        equity = peak = 1.0
        trades = wins = 0
        for t in range(shape[1]):
            value = traders.returns[i, t]
            delta = value - mean
            mean += delta / (t + 1)
            spread += delta * (value - mean)
            equity *= 1 + value
            peak = max(peak, equity)
            worst = max(worst, 1 - equity / peak)
            trades += traders.closed[i, t]
            wins += traders.won[i, t]
            _bet(stakes, traders.excess[i, t])
            if (
                days[t + 1] < bounds.min_days
                or t + 1 < bounds.min_sessions
                or trades < bounds.min_closed_trades
                or wins <= bounds.min_win_rate_frac * trades
                or worst >= bounds.max_drawdown_frac
                or spread <= 0
            ):
                continue
            deviation = math.sqrt(spread / t)
            if _ROOT_YEAR * mean / deviation <= bounds.min_sharpe_ann:
                continue
            bare[i, t] = True
            full[i, t] = lent[i] * stakes.mean() >= bounds.needed
    return full, bare


@njit(cache=True)
def promoted_after(green: BoolArray, days: IntArray, streak_days: int) -> IntArray:
    """The session (from 1 on) at which each row had been green for so long; 0: never.

    `days` is as in `green_sessions`; every session from the streak's first one on
    must be green.
    """
    found = np.zeros(green.shape[0], dtype=np.int64)
    for i in range(green.shape[0]):
        since = -1
        for t in range(green.shape[1]):
            if not green[i, t]:
                since = -1
                continue
            if since < 0:
                since = days[t + 1]
            if days[t + 1] - since >= streak_days:
                found[i] = t + 1
                break
    return found


def lent_by(wealth: FloatArray, *, is_luckiest: bool, rng: np.random.Generator) -> FloatArray:
    """What the backtests lend; see `evidence.backtest_share`.

    Parameters
    ----------
    wealth : FloatArray
        float64[traders], the gambler's wealth on each one's out-of-sample days.
    is_luckiest : bool
        Each brings the luckiest of `TRIALS` of them, drawn with replacement: who has
        no edge chose among trials by luck.
    """
    chosen = wealth
    if is_luckiest:
        chosen = wealth[rng.integers(0, len(wealth), (len(wealth), TRIALS))].max(axis=1)
    found: FloatArray = np.minimum(chosen / TRIALS, BACKTEST_CAP)
    return found


# -- what it says


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How many were promoted, with the 95% interval, and after how many sessions (median)."""

    promoted: int
    traders: int
    low_frac: float
    high_frac: float
    median_sessions: float | None

    @property
    def frac(self) -> float:
        """Share of the traders that were promoted."""
        return self.promoted / self.traders


def rate_of(sessions: IntArray) -> Rate:
    """The rate of promotions, from each trader's session of it (0: never)."""
    passed = sessions[sessions > 0]
    low, high = clopper_pearson(len(passed), len(sessions))
    return Rate(
        promoted=len(passed),
        traders=len(sessions),
        low_frac=low,
        high_frac=high,
        median_sessions=float(np.median(passed)) if len(passed) else None,
    )


def clopper_pearson(hits: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of a proportion.

    Raises
    ------
    ValueError
        No trials, or more hits than trials.

    Notes
    -----
    Quantiles of the beta distribution; Clopper and Pearson (1934), "The use of
    confidence or fiducial limits", Biometrika 26.
    """
    from scipy.special import betaincinv

    if trials < 1 or not 0 <= hits <= trials:
        raise ValueError(f"{hits} hits of {trials} trials")
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, trials - hits + 1, tail))
    high = 1.0 if hits == trials else float(betaincinv(hits + 1, trials - hits, 1 - tail))
    return low, high
