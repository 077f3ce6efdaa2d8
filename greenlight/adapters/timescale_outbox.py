"""The store's outbox: what a person is to be told, and how far the telling has come.

Before it stand the ledger's transactions, which write an alert with its cause
(`timescale`); after it the reporter, the page and the reports.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from greenlight.adapters import timescale_rows as rows
from greenlight.adapters.timescale_evidence import EvidenceTables
from greenlight.adapters.timescale_pool import Connection
from greenlight.domain.alerts import Alert, Event, Posted, Status, require_next


class OutboxTables(EvidenceTables):
    """The outbox, beside the tables that no order depends on."""

    def put_alert(self, alert: Alert) -> bool:
        """Keep an alert that has no other row; False where its key is there already."""
        with self._pool.borrow() as connection:
            return self._post(connection, alert)

    def open_alerts(self, limit: int = 100) -> list[Posted]:
        """The first alerts that are not at their end, in the order of writing."""
        return [_posted(row) for row in self._read("open_alerts", limit=limit)]

    def unacknowledged_alerts(self, limit: int = 100) -> list[Posted]:
        """Critical alerts that were told and that nobody has acknowledged."""
        return [_posted(row) for row in self._read("unacknowledged_alerts", limit=limit)]

    def alerts(self, *, start: datetime | None = None, limit: int | None = 1000) -> list[Posted]:
        """Alerts in the order of writing, the last `limit` of them."""
        return [_posted(row) for row in self._read("alerts", start=start, limit=limit)]

    def mark_alert(
        self, seq: int, status: Status, *, doubts: int, at: datetime, note: str | None = None
    ) -> None:
        """Write how far the telling has come.

        Raises
        ------
        LookupError
            There is no such alert.
        ValueError
            The status cannot follow the one before.
        """
        with self._transaction() as connection:
            row = self._one(connection, "lock_alert", seq=seq)
            if row is None:
                raise LookupError(f"no alert {seq}")
            require_next(Status(row[0]), status)
            values = {"seq": seq, "status": str(status), "doubts": doubts, "at": at, "note": note}
            self._run(connection, "update_alert", values)

    def acknowledge_alerts(self, at: datetime) -> int:
        """Acknowledge every critical alert that was told; how many there were."""
        with self._pool.borrow() as connection:
            return self._run(connection, "acknowledge_alerts", {"at": at}).rowcount

    def _post(self, connection: Connection, alert: Alert) -> bool:
        return self._run(connection, "insert_alert", _values(alert)).rowcount == 1


def _values(alert: Alert) -> dict[str, Any]:
    """Parameters of `insert_alert`."""
    return {
        "key": alert.key,
        "at": alert.at,
        "event": str(alert.event),
        "is_critical": alert.is_critical,
        "symbol": alert.symbol,
        "position_id": alert.position_id,
        "facts": rows.json_text(dict(alert.facts)),
    }


def _posted(row: rows.Row) -> Posted:
    """A row of `alerts`."""
    return Posted(
        seq=row[0],
        alert=Alert(
            key=row[1],
            at=rows.utc(row[2]),
            event=Event(row[3]),
            symbol=row[4],
            position_id=row[5],
            facts=row[6],
        ),
        status=Status(row[7]),
        doubts=row[8],
        changed_at=rows.utc_or_none(row[9]),
        acked_at=rows.utc_or_none(row[10]),
        note=row[11],
    )
