"""What was refused lately, from the store's rows: input, and strategies that failed.

Before it stand the rows that market data, the strategist and the risk gate
write; after it `greenlight status`. Nothing is counted in memory here, so the
figures survive the actors that wrote them.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from greenlight.domain.audit import DecisionKind, Verdict
from greenlight.domain.market import eastern_date
from greenlight.ports import Store

_WINDOW: Final = timedelta(days=4)
"""How far back refused input is shown: over a long weekend."""
_STRATEGY_ERROR: Final = "strategy_error"


def refused_input(store: Store, now: datetime) -> list[dict[str, Any]]:
    """What was refused in the last session that had any; one row a symbol or strategy and reason.

    `count` is how often; where `is_counted` is False, the session is not over
    and it may be more. A failing step of a strategy is a row of its own in the
    store, so its count is always exact.
    """
    kinds: dict[tuple[object, ...], dict[str, Any]] = {}
    for row in store.decisions(start=now - _WINDOW, kind=DecisionKind.DATA, limit=None):
        decision, figures = row.decision, row.decision.figures
        session, count = figures.get("session"), figures.get("count")
        # After the colon stands a detail, but of a strategy the kind of its error.
        is_input = decision.strategy is None
        code = decision.reason.partition(":")[0] if is_input else decision.reason
        key = (session, decision.symbol, decision.strategy, code)
        kept = kinds.setdefault(
            key,
            {
                "session": session,
                "symbol": decision.symbol,
                "strategy": decision.strategy,
                "count": 1,
                "is_counted": False,
            },
        )
        kept["reason"] = decision.reason
        if isinstance(count, int):
            kept["count"] = max(count, kept["count"])
        kept["is_counted"] = kept["is_counted"] or figures.get("is_final") is True
    for row in store.decisions(start=now - _WINDOW, kind=DecisionKind.ENTRY, limit=None):
        decision = row.decision
        is_fault = decision.reason.startswith(_STRATEGY_ERROR)
        if decision.verdict is not Verdict.REFUSED or not is_fault:
            continue
        session = str(eastern_date(decision.at))
        kept = kinds.setdefault(
            (session, decision.symbol, decision.strategy, decision.reason),
            {
                "session": session,
                "symbol": decision.symbol,
                "strategy": decision.strategy,
                "reason": decision.reason,
                "count": 0,
                "is_counted": True,
            },
        )
        kept["count"] += 1
    last = max((str(row["session"]) for row in kinds.values()), default=None)
    return [row for row in kinds.values() if row["session"] == last]


def in_words(row: dict[str, Any]) -> str:
    """One row of `refused_input` for a person."""
    what = " ".join(part for part in (row["strategy"], row["symbol"]) if part)
    more = "" if row["is_counted"] else " or more"
    return f"{what}: {row['reason']} ({row['count']:,} times{more}, session {row['session']})"
