"""What a walk-forward came to: the choice of each fold, and the days that judged it.

Before it stand all parts of `jobs.walkforward`; after it the figures and the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from greenlight.adapters.history import FloatArray, IntArray
from greenlight.domain.backtest import BacktestResult, simulate
from greenlight.domain.walkforward import Fold, daily_sharpes
from jobs.backtest import strategy_wishes
from jobs.walkforward import Ground, Part, parts_of, scale_sizes, window_terms


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Walk:
    """Every set on the judging days of all folds, and which set each fold chose.

    `tests` is float64[sets, sessions] of daily returns; `chosen` names a row of it
    for each fold, and `chosen_returns` are theirs; `train_sharpes` (float64[sets,
    folds]) are of single sessions. `details` are the chosen sets' trades, by fold.
    """

    tests: FloatArray
    chosen: tuple[int, ...]
    chosen_returns: FloatArray
    train_sharpes: FloatArray
    details: tuple[BacktestResult, ...]


def assemble(ground: Ground, parts: Sequence[Part], *, with_details: bool = True) -> Walk:
    """Choose in each fold, and put the judging days one after the other.

    Parameters
    ----------
    with_details : bool
        Trade the chosen sets once more, for their trades.
    """
    chunks, count = parts_of(ground), len(ground.candidates)
    trains: list[list[FloatArray]] = [[] for _ in ground.folds]
    tests: list[list[FloatArray]] = [[] for _ in ground.folds]
    for (fold, _, _), part in zip(chunks, parts, strict=True):
        trains[fold].append(daily_sharpes(part.train))
        tests[fold].append(part.test)
    sharpes = np.column_stack([np.concatenate(found) for found in trains])
    judged = [np.vstack(found) for found in tests]
    chosen = tuple(int(row) for row in sharpes.argmax(axis=0))
    assert sharpes.shape == (count, len(ground.folds))
    return Walk(
        tests=np.hstack(judged),
        chosen=chosen,
        chosen_returns=np.concatenate(
            [found[row] for found, row in zip(judged, chosen, strict=True)]
        ),
        train_sharpes=sharpes,
        details=tuple(
            _detail(ground, fold, row)
            for fold, row in zip(ground.folds, chosen, strict=True)
            if with_details
        ),
    )


def _detail(ground: Ground, fold: Fold, row: int) -> BacktestResult:
    plan, board = ground.candidates[row].plan, ground.board
    known = int(ground.bars[fold.test_end])
    wishes = strategy_wishes(board, plan.strategies, end=known)
    terms = window_terms(ground, plan, fold.test_first, fold.test_end)
    scale_sizes(ground, wishes, terms)
    return simulate(board.market, wishes, limits=plan.limits, costs=plan.costs, terms=terms)


def judged_rows(ground: Ground) -> IntArray:
    """The board's sessions that the folds judge, in order."""
    first, end = ground.folds[0].test_first, ground.folds[-1].test_end
    found: IntArray = ground.board.market.bars.session[ground.bars[first:end]]
    return found


def holding_returns(ground: Ground) -> FloatArray:
    """Daily returns of holding all symbols in equal parts, on the judging days.

    Mean of the symbols that have a return that day (dividends left out), 0 where none has.
    """
    returns = ground.board.market.bars.returns[judged_rows(ground)]
    known = np.isfinite(returns)
    count = known.sum(axis=1)
    total = np.where(known, returns, 0.0).sum(axis=1)
    found: FloatArray = np.divide(total, count, out=np.zeros(len(count)), where=count > 0)
    return found
