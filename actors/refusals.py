"""Input that was refused: counted, stored with its reason, told once a session.

Before it stand market data (quotes) and the risk gate (histories); after it
the store's decisions of kind `data` and a person. Two rows at most a symbol,
reason and session: what the first one was, and at the session's end how many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from greenlight.domain.audit import Decision, DecisionKind, Figure, Verdict, known_figure
from greenlight.domain.orders import decision_id
from greenlight.ports import Notifier, Store


@dataclass(slots=True, kw_only=True)
class _Seen:
    """One symbol and reason in a session."""

    first: Decision
    count: int = 1
    is_stored: bool = False


class Refusals:
    """See the module. Nothing reaches the store before `store_new`, so adding never fails."""

    def __init__(self, *, store: Store, notifier: Notifier, desk: str) -> None:
        self._store = store
        self._notifier = notifier
        self._desk = desk
        self._seen: dict[tuple[date, str, str], _Seen] = {}
        self.by_reason: Counter[str] = Counter()

    def add(
        self, day: date, symbol: str, reason: str, at: datetime, figures: Mapping[str, Figure]
    ) -> None:
        """Count one. `reason` is a code, perhaps with a detail after a colon."""
        code = reason.partition(":")[0]
        self.by_reason[code] += 1
        seen = self._seen.get((day, symbol, code))
        if seen is not None:
            seen.count += 1
            return
        kept = {name: known_figure(value) for name, value in figures.items()}
        first = self._row(day, symbol, code, "first", reason, at, {**kept, "session": str(day)})
        self._seen[day, symbol, code] = _Seen(first=first)

    def store_new(self) -> None:
        """Store the first of each kind, and tell a person where it is new to the store."""
        for seen in self._seen.values():
            if seen.is_stored:
                continue
            if self._store.record_decision(seen.first):
                self._notifier.alert(
                    f"{seen.first.symbol}: input refused ({seen.first.reason}); "
                    "nothing is ordered on it, and more of it today is only counted"
                )
            seen.is_stored = True

    def close(self, now: datetime) -> None:
        """Store how many there were, and begin anew."""
        self.store_new()
        for (day, symbol, code), seen in self._seen.items():
            figures: dict[str, Figure] = {"count": seen.count, "session": str(day)}
            row = self._row(day, symbol, code, "count", seen.first.reason, now, figures)
            self._store.record_decision(row)
        self._seen.clear()

    def _row(
        self,
        day: date,
        symbol: str,
        code: str,
        part: str,
        reason: str,
        at: datetime,
        figures: Mapping[str, Figure],
    ) -> Decision:
        return Decision(
            decision_id=decision_id(self._desk, "refused-input", str(day), symbol, code, part),
            at=at,
            kind=DecisionKind.DATA,
            verdict=Verdict.REFUSED,
            symbol=symbol,
            strategy=None,
            reason=reason,
            figures=figures,
        )
