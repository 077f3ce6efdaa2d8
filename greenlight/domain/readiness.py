"""The gate: seven criteria, each green, red, insufficient or stale; only green is green.

Before it stand the criteria; after it the stored evaluations, the page and
the command. An evaluation speaks of one account and one fingerprint.
"""

from __future__ import annotations

from greenlight.domain import criteria
from greenlight.domain.gate import (
    TITLES,
    Criterion,
    Evaluation,
    Figure,
    ReadinessInputs,
    ReadinessPolicy,
    State,
    from_json,
    to_json,
)
from greenlight.domain.market import Unavailable

__all__ = [
    "TITLES",
    "Criterion",
    "Evaluation",
    "Figure",
    "ReadinessInputs",
    "ReadinessPolicy",
    "State",
    "evaluate",
    "from_json",
    "to_json",
]


def evaluate(inputs: ReadinessInputs, policy: ReadinessPolicy) -> Evaluation:
    """The seven criteria in their order.

    Parameters
    ----------
    inputs : ReadinessInputs
        Nothing later than its `now`.
    policy : ReadinessPolicy
        The thresholds.
    """
    run = inputs.run
    if isinstance(run, Unavailable):
        return Evaluation(
            at=inputs.now,
            since=None,
            account_kind=None,
            account_number=None,
            source=None,
            is_synthetic=False,
            fingerprint=None,
            criteria=tuple(criteria.unmeasured(name, run) for name in TITLES),
        )
    view = criteria.View.of(inputs, policy)
    return Evaluation(
        at=inputs.now,
        since=inputs.since,
        account_kind=run.account_kind,
        account_number=run.account_number,
        source=run.source,
        is_synthetic=run.is_synthetic,
        fingerprint=run.fingerprint,
        criteria=(
            criteria.duration(view),
            criteria.win_rate(view),
            criteria.sharpe(view),
            criteria.drawdown(view),
            criteria.stop_coverage(view),
            criteria.uptime(view),
            criteria.backtest(view, run.fingerprint),
        ),
    )
