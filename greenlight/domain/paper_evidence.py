"""The evidence of one paper account, from what an evaluation rests on.

Before it stand the evidence process and the criteria's view of the store; after
it the third criterion. Complete or not at all: whatever is missing makes the
evidence unavailable.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from greenlight.domain import metrics
from greenlight.domain.criteria import View
from greenlight.domain.evidence import (
    Evidence,
    backtest_wealth,
    excess_returns,
    paper_record,
    wealth_path,
)
from greenlight.domain.evidence_rows import OutOfSample
from greenlight.domain.market import Unavailable, eastern_date


def paper_evidence(view: View, runs: Sequence[OutOfSample], trials: int) -> Evidence | Unavailable:
    """The evidence process on what the view has.

    Parameters
    ----------
    runs : Sequence[OutOfSample]
        The judging days of this fingerprint's walk-forwards; the weakest counts, so
        that another run can only lower it.
    trials : int
        In the ledger.
    """
    inputs = view.inputs
    sessions = [s.day for s in view.due]
    returns = metrics.daily_returns(view.closes, sessions, view.moved)
    if returns.missing:
        return Unavailable(f"no equity from the broker for the close of {returns.missing[-1]}")
    if not returns.days:
        return Unavailable("no daily return yet")
    haircuts: dict[date, float] = {}
    for trade in view.trades:
        day = eastern_date(trade.closed_at)
        haircuts[day] = haircuts.get(day, 0.0) + float(trade.haircut_usd)
    before = dict(zip(sessions[1:], sessions, strict=False))
    record = paper_record(
        returns.days,
        returns.values,
        before=[before[day] for day in returns.days],
        exposures=inputs.exposures,
        universe=inputs.universe,
        haircuts={
            day: usd / view.closes[before[day]] for day, usd in haircuts.items() if day in before
        },
    )
    if isinstance(record, Unavailable):
        return record
    known = [run for run in runs if run.at <= inputs.now and run.trials > 0]
    if not known:
        return Unavailable("no out-of-sample days of a walk-forward")
    count = max(trials, *(run.trials for run in known))
    lent: list[float] = []
    for run in known:
        wealth = backtest_wealth(run, sessions[0])
        if isinstance(wealth, Unavailable):
            return wealth
        lent.append(wealth)
    path = wealth_path(excess_returns(record))
    return Evidence(
        at=inputs.now,
        backtest=min(lent),
        trials=count,
        paper=float(path[-1]),
        days=returns.days,
        path=tuple(path.tolist()),
    )
