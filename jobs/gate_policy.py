"""The thresholds in force, from the settings and the decision chain.

Before it stand the settings; after it every evaluation. The desk records what it was
started with; everyone else only reads.
"""

from __future__ import annotations

from datetime import datetime

from greenlight.domain.audit import DecisionKind
from greenlight.domain.gate import ReadinessPolicy
from greenlight.domain.gate_policy import PolicyChange, policy_changes, policy_decision
from greenlight.domain.gate_policy import policy_in_force as domain_policy_in_force
from greenlight.ports import Store


def recorded_changes(store: Store) -> list[PolicyChange]:
    """All changes of the thresholds, in the order of the chain."""
    rows = store.decisions(kind=DecisionKind.POLICY, limit=None)
    return policy_changes(row.decision for row in rows)


def policy_in_force(store: Store, asked: ReadinessPolicy, now: datetime) -> ReadinessPolicy:
    """The thresholds that an evaluation at `now` is held to."""
    return domain_policy_in_force(asked, recorded_changes(store), now)


def adopt_policy(store: Store, desk: str, asked: ReadinessPolicy, now: datetime) -> bool:
    """Record the thresholds that a desk was started with; False where they are the last ones."""
    changes = recorded_changes(store)
    last = changes[-1].policy if changes else ReadinessPolicy()
    return asked != last and store.record_decision(policy_decision(desk, asked, now))
