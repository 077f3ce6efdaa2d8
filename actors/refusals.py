"""Input that was refused: counted, stored with its reason, told once a session.

Before it stand market data (quotes, bars), the strategist (bars of histories)
and the risk gate (histories); after it the store's decisions of kind `data` and
a person. A row for the first of a symbol, reason and session, one whenever the
count has doubled, one at the session's end: a successor counts on from them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from greenlight.domain.alerts import Event
from greenlight.domain.audit import Decision, DecisionKind, Figure, Verdict, known_figure
from greenlight.domain.market import eastern_midnight
from greenlight.domain.orders import decision_id
from greenlight.ports import Notifier, Store

_COUNTED_FROM: Final = 4
"""The first count that is stored within the session."""


@dataclass(slots=True, kw_only=True)
class _Seen:
    """One symbol and reason in a session; the next count that is stored as it is reached."""

    first: Decision
    latest: datetime
    count: int = 1
    due: int = _COUNTED_FROM
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
            seen.count, seen.latest = seen.count + 1, at
            return
        kept = {name: known_figure(value) for name, value in figures.items()}
        first = self._row(day, symbol, code, "first", reason, at, {**kept, "session": str(day)})
        self._seen[day, symbol, code] = _Seen(first=first, latest=at)

    def store_new(self) -> None:
        """Store the first of each kind and the counts that have doubled; tell what is new."""
        for (day, symbol, code), seen in self._seen.items():
            if not seen.is_stored:
                if self._store.record_decision(seen.first):
                    self._notifier.alert(
                        f"{symbol}: input refused ({seen.first.reason}); "
                        "nothing is ordered on it, and more of it today is only counted",
                        event=Event.INPUT_REFUSED,
                        is_kept=True,
                    )
                else:
                    seen.count += self._stored_count(day, symbol, code)
                seen.is_stored = True
            if seen.count >= seen.due:
                self._store_count(day, symbol, code, seen, seen.latest, is_final=False)
                seen.due = 2 * seen.count

    def close(self, now: datetime) -> None:
        """Store how many there were, and begin anew."""
        self.store_new()
        for (day, symbol, code), seen in self._seen.items():
            self._store_count(day, symbol, code, seen, now, is_final=True)
        self._seen.clear()

    def _store_count(
        self, day: date, symbol: str, code: str, seen: _Seen, at: datetime, *, is_final: bool
    ) -> None:
        figures: dict[str, Figure] = {
            "count": seen.count,
            "session": str(day),
            "is_final": is_final,
        }
        part = f"{'final' if is_final else 'count'}-{seen.count}"
        self._store.record_decision(
            self._row(day, symbol, code, part, seen.first.reason, at, figures)
        )

    def _stored_count(self, day: date, symbol: str, code: str) -> int:
        """How many a former life of this actor has stored; what it had not is lost."""
        rows = self._store.decisions(
            start=eastern_midnight(day), symbol=symbol, kind=DecisionKind.DATA, limit=None
        )
        counts = [
            row.decision.figures.get("count", 1)
            for row in rows
            if row.decision.figures.get("session") == str(day)
            and row.decision.reason.partition(":")[0] == code
        ]
        return max((count for count in counts if isinstance(count, int)), default=0)

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
