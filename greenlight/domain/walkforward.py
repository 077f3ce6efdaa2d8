"""Walk-forward: which days choose, which days judge, and how much of it was luck.

Before it stand the daily returns of every set of parameters (`jobs.walkforward`);
after it the gate's seventh criterion and the report. Days are rows of a window's
sessions; returns are simple, of single sessions, as fractions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Final

import numpy as np

from greenlight.domain import performance
from greenlight.domain.indicators import FloatArray
from greenlight.domain.market import Unavailable
from greenlight.domain.metrics import SESSIONS_A_YEAR, IntArray
from greenlight.domain.trials import Trial

BLOCKS: Final = 16
"""Blocks of the symmetric cross-validation; Bailey et al. (2017) use 16: 12,870 splits."""
_CHUNK: Final = 1024
_FLAT: Final = 1e-12
"""A standard deviation this small beside the returns is a rounding error."""


# -- folds


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Rows of the sessions that choose the parameters, and of those that judge them.

    Each range is half open. Between the two lies the embargo.
    """

    train_first: int
    train_end: int
    test_first: int
    test_end: int


def folds(
    sessions: int, *, count: int, train_sessions: int, embargo: int, is_anchored: bool
) -> tuple[Fold, ...]:
    """Cut a window of sessions into folds whose judging days follow one another.

    Parameters
    ----------
    sessions : int
        Of the whole window.
    train_sessions : int
        Days that choose: of every fold where they roll, of the first where they
        are anchored at the window's start and grow.
    embargo : int
        Sessions left out before the judging days, so that no trade lies in both.

    Returns
    -------
    tuple[Fold, ...]
        The judging days are of nearly equal length and end with the window.

    Raises
    ------
    ValueError
        A count is not positive, or the window leaves a fold without a judging day.

    Notes
    -----
    Pardo (2008), "The Evaluation and Optimization of Trading Strategies", chapter
    11, for walk-forward; the embargo is López de Prado's (2018), "Advances in
    Financial Machine Learning", chapter 7.
    """
    if count < 1 or train_sessions < 2 or embargo < 0:
        raise ValueError(
            f"{count} folds of {train_sessions} sessions with an embargo of {embargo}: "
            "there must be a fold, two sessions, and no less than no embargo"
        )
    first = train_sessions + embargo
    if sessions - first < count:
        raise ValueError(
            f"{sessions} sessions are too few for {count} folds: {train_sessions} choose "
            f"and {embargo} lie between before the first that judges"
        )
    cuts = [first + (sessions - first) * i // count for i in range(count + 1)]
    return tuple(
        Fold(
            train_first=0 if is_anchored else start - first,
            train_end=start - embargo,
            test_first=start,
            test_end=end,
        )
        for start, end in pairwise(cuts)
    )


def daily_sharpes(returns: FloatArray) -> FloatArray:
    """Sharpe ratio of a session for each row of float64[sets, sessions]; 0 where none varies.

    A set that never trades is taken for one that earns nothing, so that it can be
    ranked: a search may well find that not to trade was best.
    """
    if returns.shape[1] < 2:
        return np.zeros(len(returns))
    return _ratio(returns.mean(axis=1), returns.std(axis=1, ddof=1))


def _ratio(mean: FloatArray, deviation: FloatArray) -> FloatArray:
    is_flat = deviation <= _FLAT * np.maximum(1.0, np.abs(mean))
    found: FloatArray = np.where(is_flat, 0.0, mean / np.where(is_flat, 1.0, deviation))
    return found


def best_set(returns: FloatArray) -> int:
    """The row with the highest Sharpe ratio; of equals the first."""
    return int(np.argmax(daily_sharpes(returns)))


# -- overfitting


@dataclass(frozen=True, slots=True, kw_only=True)
class Overfitting:
    """Probability that the set chosen in sample does no better than the median outside.

    `splits` is how many ways the days were halved, `sets` how many were chosen from.
    """

    pbo_frac: float
    splits: int
    sets: int


def overfitting(returns: FloatArray, blocks: int = BLOCKS) -> Overfitting | Unavailable:
    """Probability of backtest overfitting by symmetric cross-validation.

    Parameters
    ----------
    returns : float64[sets, sessions]
        Of every set that was tried, on the same days.
    blocks : int
        Even; the days are cut into so many, a remainder at the start left out.

    Raises
    ------
    ValueError
        `blocks` is odd or less than 2.

    Notes
    -----
    For each choice of half the blocks the set with the highest Sharpe ratio in them
    is ranked by its ratio in the other half: ``w = rank / (sets + 1)``, ties at
    their mean rank, and ``PBO = P(log(w / (1 - w)) <= 0)``. Bailey, Borwein, López
    de Prado and Zhu (2017), "The Probability of Backtest Overfitting", J. of
    Computational Finance 20(4).
    """
    if blocks < 2 or blocks % 2:
        raise ValueError(f"{blocks} blocks cannot be halved")
    sets, sessions = returns.shape
    if sets < 2:
        return Unavailable(f"{sets} set of parameters; there was nothing to choose from")
    length = sessions // blocks
    if length < 2:
        return Unavailable(f"{sessions} sessions make no {blocks} blocks of two days")
    parts = returns[:, sessions - length * blocks :].reshape(sets, blocks, length)
    # Centred, so that the sums of squares keep their digits.
    parts = parts - parts.mean(axis=(1, 2), keepdims=True)
    level = returns[:, sessions - length * blocks :].mean(axis=1)
    sums, squares = parts.sum(axis=2), (parts**2).sum(axis=2)
    chosen = np.array(list(combinations(range(blocks), blocks // 2)))
    days = length * blocks // 2
    lost = 0
    for start in range(0, len(chosen), _CHUNK):
        rows = chosen[start : start + _CHUNK]
        mask = np.zeros((len(rows), blocks))
        np.put_along_axis(mask, rows, 1.0, axis=1)
        inside = _sharpes(mask @ sums.T, mask @ squares.T, level, days)
        outside = _sharpes((1 - mask) @ sums.T, (1 - mask) @ squares.T, level, days)
        best = np.take_along_axis(outside, inside.argmax(axis=1)[:, None], axis=1)
        below = (outside < best).sum(axis=1)
        equal = (outside == best).sum(axis=1)
        rank = below + (equal + 1) / 2
        lost += int((rank <= (sets + 1) / 2).sum())
    return Overfitting(pbo_frac=lost / len(chosen), splits=len(chosen), sets=sets)


def _sharpes(sums: FloatArray, squares: FloatArray, level: FloatArray, days: int) -> FloatArray:
    mean = sums / days
    variance = np.maximum(squares / days - mean**2, 0.0) * days / (days - 1)
    return _ratio(mean + level, np.sqrt(variance))


# -- luck


@dataclass(frozen=True, slots=True, kw_only=True)
class Deflation:
    """A Sharpe ratio beside the one that luck alone would have brought.

    `deflated_sharpe` is the probability that the ratio is not luck, `luckiest_ann`
    the annualised ratio to expect of the best of `trials` without any edge.
    """

    deflated_sharpe: float
    trials: int
    luckiest_ann: float


def deflation(returns: Sequence[float], ledger: Sequence[Trial]) -> Deflation | Unavailable:
    """Deflate the Sharpe ratio of daily returns by all that was ever tried.

    Parameters
    ----------
    ledger : Sequence[Trial]
        The whole trial ledger. How many were tried is counted there and nowhere else:
        one that is there twice counts once.

    Notes
    -----
    See `performance.deflated_sharpe`. The variance is that of the Sharpe ratios in the
    ledger; a trial that never traded has none, and still counts as one.
    """
    found = performance.moments(returns)
    if isinstance(found, Unavailable):
        return found
    distinct = {trial.trial_id: trial for trial in ledger}
    known = [trial.figures.get("sharpe_ann") for trial in distinct.values()]
    ratios = np.array([ratio for ratio in known if ratio is not None])
    variance = float(ratios.var(ddof=1)) / SESSIONS_A_YEAR if len(ratios) > 1 else 0.0
    trials = max(1, len(distinct))
    probability = performance.deflated_sharpe(found, trials, variance)
    if isinstance(probability, Unavailable):
        return probability
    return Deflation(
        deflated_sharpe=probability,
        trials=trials,
        luckiest_ann=performance.luckiest_sharpe(trials, variance) * math.sqrt(SESSIONS_A_YEAR),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BeyondHolding:
    """Probability, if no set beat holding, that the best looks as good as it does."""

    p_lower: float
    p_consistent: float
    p_upper: float


def beyond_holding(
    returns: FloatArray, holding: Sequence[float], *, seed: int, draws: int = 1000
) -> BeyondHolding | Unavailable:
    """Test whether the best of all sets earned more a day than holding the universe did.

    Parameters
    ----------
    returns : float64[sets, sessions]
    holding : Sequence[float]
        Daily returns of holding, on the same sessions.

    Raises
    ------
    ValueError
        The two are not of one length.

    Notes
    -----
    Hansen (2005), "A Test for Superior Predictive Ability", J. of Business & Economic
    Statistics 23(4), by the arch package, on losses ``-r``, with its stationary bootstrap.
    """
    if returns.shape[1] != len(holding):
        raise ValueError(f"{returns.shape[1]} sessions beside {len(holding)} of holding")
    varying = returns[returns.std(axis=1) > 0]
    if len(holding) < performance.FEW or not len(varying):
        return Unavailable(f"{len(varying)} sets that traded on {len(holding)} sessions")
    # Imported here because it loads pandas and scipy.
    from arch.bootstrap import SPA

    test = SPA(-np.asarray(holding, dtype=np.float64), -varying.T, reps=draws, seed=seed)
    test.compute()
    lower, consistent, upper = (float(p) for p in test.pvalues.to_numpy())
    return BeyondHolding(p_lower=lower, p_consistent=consistent, p_upper=upper)


# -- months


@dataclass(frozen=True, slots=True, kw_only=True)
class Months:
    """Months in which something was held, their mean return, and the idle ones apart."""

    traded: int
    idle: int
    mean_frac: float | Unavailable


def months(month: IntArray, returns: FloatArray, is_held: IntArray) -> Months:
    """Mean return of the months in which anything was held.

    Parameters
    ----------
    month : int64[sessions]
        A number of each session's calendar month.
    returns : float64[sessions]
    is_held : int64[sessions]
        Other than 0 where a share was held in the session.

    Notes
    -----
    A month's return compounds its sessions'. A month without a position is left out
    of the mean: it says nothing of the trades, and would only thin their mean out.
    """
    traded = []
    names = np.unique(month)
    for name in names:
        inside = month == name
        if is_held[inside].any():
            traded.append(float(np.prod(1 + returns[inside]) - 1))
    mean = sum(traded) / len(traded) if traded else Unavailable("nothing was ever held")
    return Months(traded=len(traded), idle=len(names) - len(traded), mean_frac=mean)
