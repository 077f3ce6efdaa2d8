"""What a walk-forward says in numbers: for the terminal, the store and the gate.

Before it stands `jobs.walkforward`; after it the store, the command and the report.
Every figure is defined in `metrics`, `performance` or `walkforward`; one that has no
value is `Unavailable`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import numpy as np

from greenlight.adapters.history import FloatArray, IntArray
from greenlight.domain import performance
from greenlight.domain.backtest import BacktestResult
from greenlight.domain.evidence_rows import JudgedDay
from greenlight.domain.market import Unavailable
from greenlight.domain.metrics import (
    SESSIONS_A_YEAR,
    EquitySeries,
    max_drawdown,
    profit_factor,
    sharpe_ann,
    win_rate,
)
from greenlight.domain.trials import Trial
from greenlight.domain.walkforward import (
    Months,
    beyond_holding,
    daily_sharpes,
    deflation,
    months,
    overfitting,
)
from jobs.walkforward import Ground
from jobs.walkforward_result import Walk, holding_returns, judged_rows

_SEED: Final = 20131007
Value = float | Unavailable


def walk_figures(ground: Ground, walk: Walk, ledger: Sequence[Trial]) -> dict[str, Value]:
    """The figures of the judging days, of the sets that each fold chose.

    Parameters
    ----------
    ledger : Sequence[Trial]
        The whole trial ledger, this walk-forward's own sets included.
    """
    returns = walk.chosen_returns.tolist()
    equity = equity_of(walk.chosen_returns)
    count = len(returns)
    trades = [trade for detail in walk.details for trade in detail.trades]
    fall = max_drawdown(EquitySeries(at_s=np.arange(count + 1), equity_usd=equity))
    fall_frac = fall if isinstance(fall, Unavailable) else fall.frac
    growth = performance.cagr_frac(1.0, float(equity[-1]), count)
    found, won = performance.moments(returns), win_rate(trades)
    interval = performance.sharpe_bootstrap(returns, seed=_SEED)
    fitted = overfitting(walk.tests)
    luck = deflation(returns, ledger)
    beyond = beyond_holding(walk.tests, holding_returns(ground).tolist(), seed=_SEED)
    idle = walk_months(ground, walk)
    return {
        "sharpe_ann": sharpe_ann(returns),
        "sharpe_low_ann": interval if isinstance(interval, Unavailable) else interval[0],
        "sharpe_high_ann": interval if isinstance(interval, Unavailable) else interval[1],
        "train_sharpe_ann": float(walk.train_sharpes.max(axis=0).mean())
        * float(np.sqrt(SESSIONS_A_YEAR)),
        "return_frac": float(equity[-1] - 1),
        "holding_return_frac": float(np.prod(1 + holding_returns(ground)) - 1),
        "cagr_frac": growth,
        "volatility_ann_frac": performance.volatility_ann(returns),
        "sortino_ann": performance.sortino_ann(returns),
        "max_drawdown_frac": fall_frac,
        "calmar_ann": fall_frac
        if isinstance(fall_frac, Unavailable)
        else performance.calmar(growth, fall_frac),
        "pbo_frac": fitted if isinstance(fitted, Unavailable) else fitted.pbo_frac,
        "deflated_sharpe_frac": luck if isinstance(luck, Unavailable) else luck.deflated_sharpe,
        "luckiest_sharpe_ann": luck if isinstance(luck, Unavailable) else luck.luckiest_ann,
        "trials": luck if isinstance(luck, Unavailable) else float(luck.trials),
        "spa_p_frac": beyond if isinstance(beyond, Unavailable) else beyond.p_consistent,
        "probabilistic_sharpe_frac": found
        if isinstance(found, Unavailable)
        else performance.probabilistic_sharpe(found),
        "min_track_record_sessions": found
        if isinstance(found, Unavailable)
        else performance.min_track_record(found),
        "sessions": float(count),
        "trades": float(len(trades)),
        "win_rate_frac": won if isinstance(won, Unavailable) else won.frac,
        "profit_factor": profit_factor(trades),
        "expectancy_usd": performance.expectancy_usd(trades),
        "fees_usd": float(sum(trade.fees_usd for trade in trades)),
        "traded_months": float(idle.traded),
        "idle_months": float(idle.idle),
        "mean_month_frac": idle.mean_frac,
    }


def set_figures(returns: FloatArray) -> dict[str, float | None]:
    """What the ledger keeps of one set: its daily returns on all judging days, in figures."""
    ratio = sharpe_ann(returns.tolist())
    return {
        "sharpe_ann": None if isinstance(ratio, Unavailable) else ratio,
        "return_frac": float(np.prod(1 + returns) - 1),
    }


def walk_months(ground: Ground, walk: Walk) -> Months:
    """Months of the judging days; idle ones are counted apart."""
    rows = judged_rows(ground)
    names = np.array([_month(ground, row) for row in rows.tolist()])
    return months(names, walk.chosen_returns, _held(ground, walk.details))


def _month(ground: Ground, row: int) -> int:
    day = ground.board.sessions[row].day
    return 12 * day.year + day.month - 1


def judged_days(ground: Ground, walk: Walk) -> tuple[JudgedDay, ...]:
    """The judging days as the evidence process takes them, with each fold's choice."""
    exposures = []
    for fold, detail in zip(ground.folds, walk.details, strict=True):
        begins = ground.bars[fold.test_first : fold.test_end + 1] - ground.bars[fold.test_first]
        shares = detail.exposure_usd / detail.marks.equity_usd
        exposures.append(np.add.reduceat(shares, begins[:-1]) / np.diff(begins))
    columns = (walk.chosen_returns, np.concatenate(exposures), holding_returns(ground))
    return tuple(
        JudgedDay(
            day=ground.board.sessions[row].day,
            return_frac=float(gain),
            exposure_frac=float(share),
            universe_frac=float(universe),
        )
        for row, gain, share, universe in zip(judged_rows(ground).tolist(), *columns, strict=True)
    )


def _held(ground: Ground, details: Sequence[BacktestResult]) -> IntArray:
    """Whether a share was held at any mark, or sold, in each judging session."""
    found = []
    for fold, detail in zip(ground.folds, details, strict=True):
        begins = ground.bars[fold.test_first : fold.test_end + 1] - ground.bars[fold.test_first]
        invested = np.add.reduceat(detail.exposure_usd, begins[:-1]) > 0
        at_s = detail.marks.at_s
        for trade in detail.trades:
            for at in (trade.opened_at, trade.closed_at):
                bar = min(int(np.searchsorted(at_s, _seconds(at))), len(at_s) - 1)
                invested[int(np.searchsorted(begins, bar, side="right")) - 1] = True
        found.append(invested.astype(np.int64))
    return np.concatenate(found)


def _seconds(at: datetime) -> float:
    return at.timestamp()


def equity_of(returns: FloatArray) -> FloatArray:
    """Equity that begins with 1, one longer than the returns."""
    found: FloatArray = np.concatenate([[1.0], np.cumprod(1 + returns)])
    return found


def best_sets(walk: Walk, count: int) -> list[tuple[int, float]]:
    """The sets with the highest Sharpe ratio on the judging days, annualised, best first."""
    ratios = daily_sharpes(walk.tests) * np.sqrt(SESSIONS_A_YEAR)
    order = np.argsort(-ratios, kind="stable")[:count]
    return [(int(row), float(ratios[row])) for row in order]


def known(figures: Mapping[str, Value]) -> dict[str, float | None]:
    """Figures as the store keeps them: None for those that have no value."""
    return {
        name: None if isinstance(value, Unavailable) else value for name, value in figures.items()
    }
