"""The evidence process: a gambler's wealth against a strategy, safe to look at daily.

Decided here: what a day's excess return is, how it is bet on, and how far the
backtest counts. Before it stand daily returns; after it the third criterion and
the calibration. The gambler starts with 1 and bets on the excess by a fixed
mixture of leverages. Without an edge his wealth is expected never to grow, so
the chance that it EVER reaches 1/alpha is at most alpha, whenever one looks and
stops.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

import numpy as np

from greenlight.domain.evidence_rows import OutOfSample
from greenlight.domain.market import Unavailable
from greenlight.domain.metrics import FloatArray

LEVERAGES: Final = tuple(0.5 * step for step in range(1, 21))
"""0.5 to 10 in halves, each with the same stake."""
MAX_LOSS_FRAC: Final = 0.10
"""Largest daily loss that the bets allow for: the highest leverage is ruined by it."""
BACKTEST_CAP: Final = 10.0
"""The backtest multiplies the gambler's wealth by so much at most; paper brings the rest."""
_MOST: Final = 1e12
"""Wealth is shown up to here."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DailyRecord:
    """What a strategy and its universe did in successive sessions, as fractions.

    `returns` are the strategy's after costs, `universe` those of its symbols in
    equal parts; `exposures` is the share of equity that was invested, a session
    EARLIER than the return in the same place. All three have one length.
    """

    returns: FloatArray
    universe: FloatArray
    exposures: FloatArray

    def __post_init__(self) -> None:
        if not len(self.returns) == len(self.universe) == len(self.exposures):
            raise ValueError("a session has a return, its universe's, and an exposure before it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The gambler's wealth and where it comes from.

    `backtest` is the wealth on the out-of-sample days alone, before it is divided
    by the `trials` in the ledger; `paper` that on the account's own days, and
    `path` how it got there, a value a day from 1 on. `days` are the sessions of the
    path after its start. `at` is aware UTC.
    """

    at: datetime
    backtest: float
    trials: int
    paper: float
    days: tuple[date, ...] = field(default=(), repr=False)
    path: tuple[float, ...] = field(default=(1.0,), repr=False)

    @property
    def start(self) -> float:
        """What the backtest lends: its wealth over the trials, at most `BACKTEST_CAP`."""
        return backtest_share(self.backtest, self.trials)

    @property
    def wealth(self) -> float:
        """The evidence: the backtest's share times the paper account's wealth."""
        return self.start * self.paper


def backtest_share(wealth: float, trials: int) -> float:
    """The part of the evidence that a backtest brings.

    Raises
    ------
    ValueError
        There is no trial, or the wealth is not a number.

    Notes
    -----
    ``min(W / N, 10)``. The best of N wealths is at most their sum, so that its
    N-th part is expected to be at most 1, whichever trial was chosen (the
    e-value form of Bonferroni's bound; Vovk and Wang, 2021, "E-values:
    Calibration, combination and applications", Annals of Statistics 49(3)).
    """
    if trials < 1:
        raise ValueError("a backtest is a trial itself")
    if math.isnan(wealth):
        raise ValueError("wealth is not a number")
    return min(wealth / trials, BACKTEST_CAP)


def excess_returns(record: DailyRecord) -> FloatArray:
    """Daily returns beyond what holding would have earned.

    Returns
    -------
    FloatArray
        float64[days], fractions of equity.

    Notes
    -----
    ``x_t = r_t - m_(t-1) u_t`` with the universe's equal-weight return ``u_t`` and
    the mean ``m_(t-1)`` of the exposures of all sessions before ``t``: known the day
    before, so that it cannot be chosen by the outcome.
    """
    count = np.arange(1, len(record.exposures) + 1)
    excess: FloatArray = record.returns - np.cumsum(record.exposures) / count * record.universe
    return excess


def wealth_path(excess: FloatArray) -> FloatArray:
    """Wealth of the gambler after each day.

    Parameters
    ----------
    excess : FloatArray
        float64[days], daily excess returns as fractions.

    Returns
    -------
    FloatArray
        float64[days + 1], from 1 on.

    Raises
    ------
    ValueError
        An excess return is not finite.

    Notes
    -----
    ``W_t = mean over f of prod_(s <= t) (1 + f x_s)`` for f = 0.5 … 10. With
    ``E[x_t | past] <= 0`` and ``x_t >= -0.1`` every product is a non-negative
    supermartingale, and so is their mean; by Ville's inequality
    ``P(ever W_t >= 1/alpha) <= alpha`` (Ville, 1939; Waudby-Smith and Ramdas, 2024,
    "Estimating means of bounded random variables by betting", J. of the Royal
    Statistical Society B 86(1)). A day that loses more than the bound breaks the
    bets: wealth is 0 from there on. A gain counts up to the same bound, which can
    only lower wealth.
    """
    if not bool(np.isfinite(excess).all()):
        raise ValueError("an excess return is not finite")
    bets = np.minimum(excess, MAX_LOSS_FRAC)[:, None] * np.array(LEVERAGES)
    is_broken = np.logical_or.accumulate(excess < -MAX_LOSS_FRAC)
    with np.errstate(divide="ignore", over="ignore"):
        grown = np.cumsum(np.log(np.maximum(1 + bets, 0.0)), axis=0)
        wealth = np.where(is_broken, 0.0, np.exp(np.minimum(grown, 700.0)).mean(axis=1))
    path: FloatArray = np.minimum(np.concatenate([[1.0], wealth]), _MOST)
    return path


def paper_record(
    days: Sequence[date],
    returns: Sequence[float],
    *,
    before: Sequence[date],
    exposures: Mapping[date, float],
    universe: Mapping[date, float],
    haircuts: Mapping[date, float],
) -> DailyRecord | Unavailable:
    """The paper account's days, complete or not at all: a day left out could help.

    Parameters
    ----------
    days, returns
        Sessions with a daily return of the account, in order.
    before : Sequence[date]
        The session before each of them.
    exposures : Mapping[date, float]
        Share of equity that was invested, by session.
    universe : Mapping[date, float]
        Equal-weight return of the universe, by session.
    haircuts : Mapping[date, float]
        What a paper account leaves out of the costs, over equity, by session; 0
        where there is none.
    """
    for name, known, wanted in (
        ("exposure", exposures, before),
        ("return of the universe", universe, days),
    ):
        lacking = [day for day in wanted if not math.isfinite(known.get(day, math.nan))]
        if lacking:
            return Unavailable(f"no {name} of {lacking[0]}")
    costs = np.array([haircuts.get(day, 0.0) for day in days], dtype=np.float64)
    net = np.array(returns, dtype=np.float64) - costs
    if not bool(np.isfinite(net).all()):
        return Unavailable("a daily return is not finite")
    return DailyRecord(
        returns=net,
        universe=np.array([universe[day] for day in days], dtype=np.float64),
        exposures=np.array([exposures[day] for day in before], dtype=np.float64),
    )


def backtest_wealth(run: OutOfSample, until: date) -> float | Unavailable:
    """The gambler's wealth on the out-of-sample days before a day.

    Parameters
    ----------
    until : date
        The paper account's first session; what came from then on is counted there.

    Notes
    -----
    The first judged day only tells the exposure, and is not bet on.
    """
    days = [row for row in run.days if row.day < until]
    if len(days) < 2:
        return Unavailable(f"no out-of-sample days before {until}")
    if len({row.day for row in days}) != len(days):
        return Unavailable("an out-of-sample day is there twice")
    days.sort(key=lambda row: row.day)
    record = DailyRecord(
        returns=np.array([row.return_frac for row in days[1:]], dtype=np.float64),
        universe=np.array([row.universe_frac for row in days[1:]], dtype=np.float64),
        exposures=np.array([row.exposure_frac for row in days[:-1]], dtype=np.float64),
    )
    excess = excess_returns(record)
    if not bool(np.isfinite(excess).all()):
        return Unavailable("an out-of-sample day is not finite")
    return float(wealth_path(excess)[-1])
