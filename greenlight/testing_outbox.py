"""The store's stand-in, its outbox; `testing_store` adds the ledger."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

from greenlight.domain.alerts import OPEN, Alert, Posted, Status, require_next
from greenlight.testing_evidence import FakeEvidence, last_of

_TOLD = frozenset({Status.SENT, Status.MAYBE})


class FakeOutbox(FakeEvidence):
    """What a person is to be told, in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._outbox: dict[str, Posted] = {}

    def put_alert(self, alert: Alert) -> bool:
        """Keep an alert; False where its key is there already."""
        with self._turn():
            return self._post(alert)

    def open_alerts(self, limit: int = 100) -> list[Posted]:
        """The first alerts that are not at their end."""
        with self._turn():
            return [row for row in self._outbox.values() if row.status in OPEN][:limit]

    def unacknowledged_alerts(self, limit: int = 100) -> list[Posted]:
        """Critical alerts that were told and that nobody has acknowledged."""
        with self._turn():
            return [row for row in self._outbox.values() if _is_unacknowledged(row)][:limit]

    def alerts(self, *, start: datetime | None = None, limit: int | None = 1000) -> list[Posted]:
        """Alerts in the order of writing, the last `limit` of them."""
        with self._turn():
            rows = self._outbox.values()
            return last_of((r for r in rows if start is None or r.alert.at >= start), limit)

    def mark_alert(
        self, seq: int, status: Status, *, doubts: int, at: datetime, note: str | None = None
    ) -> None:
        """Write how far the telling has come; raises `LookupError` or `ValueError`."""
        with self._turn():
            found = next((row for row in self._outbox.values() if row.seq == seq), None)
            if found is None:
                raise LookupError(f"no alert {seq}")
            require_next(found.status, status)
            self._outbox[found.alert.key] = replace(
                found, status=status, doubts=doubts, changed_at=at, note=note
            )

    def acknowledge_alerts(self, at: datetime) -> int:
        """Acknowledge every critical alert that was told; how many there were."""
        with self._turn():
            seen = [row for row in self._outbox.values() if _is_unacknowledged(row)]
            for row in seen:
                self._outbox[row.alert.key] = replace(row, acked_at=at)
            return len(seen)

    def _post(self, alert: Alert) -> bool:
        if alert.key in self._outbox:
            return False
        facts = json.loads(json.dumps(dict(alert.facts)))
        self._outbox[alert.key] = Posted(
            seq=len(self._outbox) + 1,
            alert=replace(alert, at=alert.at.astimezone(UTC), facts=facts),
            status=Status.WAITING,
            doubts=0,
            changed_at=None,
            acked_at=None,
            note=None,
        )
        return True


def _is_unacknowledged(row: Posted) -> bool:
    return row.alert.is_critical and row.acked_at is None and row.status in _TOLD
