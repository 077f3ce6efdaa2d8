"""Sends the outbox's alerts, one after another, in their order.

Before it stands the store, where alerts lie with their causes; after it the
messenger. What comes next is decided in `greenlight.domain.alerts`. "Sending" is
written before the request: after a crash, or where an answer was cut off, the message
is sent once more, marked as a possible duplicate, as soon as the other side answers.
A second time would risk a second duplicate, so the row then stays a maybe, and the
next message says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from greenlight.domain.alerts import (
    THROTTLE,
    Event,
    Loudness,
    Posted,
    Status,
    Telling,
    after_cut,
    group,
    is_reminder_due,
    plan,
)
from greenlight.domain.message_text import alert_text, plain
from greenlight.ports import (
    Delivered,
    Delivery,
    Doubtful,
    Message,
    Messenger,
    NotDelivered,
    Refused,
    Store,
)

logger = logging.getLogger(__name__)

IDLE_S: Final = 0.5
"""Between two looks at an empty outbox; a stop's alert leaves within it."""
_PROBE_S: Final = 1.0
_REMIND_LOOK: Final = timedelta(seconds=30)
_LISTED: Final = 5
_AT_ONCE: Final = 1000
"""Rows looked at; more than throttled ones can pile up in front of a critical one."""


class Dispatcher:
    """See the module.

    Parameters
    ----------
    source : Callable[[], str]
        What every message names in bold; see `message_text.label`.
    chosen : Mapping[Event, Loudness]
        How loud each event is.
    now : Callable[[], datetime]
        The clock on the wall, aware UTC.
    draw : Callable[[Posted], bytes | None]
        The picture of a report's row; None where it has none.
    """

    def __init__(
        self,
        *,
        store: Store,
        messenger: Messenger,
        source: Callable[[], str],
        chosen: Mapping[Event, Loudness],
        now: Callable[[], datetime],
        draw: Callable[[Posted], bytes | None],
    ) -> None:
        self._store = store
        self._messenger = messenger
        self._source = source
        self._chosen = chosen
        self._now = now
        self._draw = draw
        self._missed = 0
        self._reminded_at: datetime | None = None
        self._looked_at: datetime | None = None
        since = now() - THROTTLE
        told = [row for row in store.alerts(limit=500) if row.status is Status.SENT]
        self._last_told = {
            name: row.changed_at
            for row in told
            if (name := group(row.alert)) and row.changed_at and row.changed_at > since
        }

    def step(self) -> float:
        """Send what is next; seconds after which to call again.

        Raises
        ------
        StoreUnavailable
            The store does not answer; what was being sent counts as doubtful.
        """
        now = self._now()
        rows = self._store.open_alerts(limit=_AT_ONCE)
        found = plan(rows, last_told=self._last_told, chosen=self._chosen, now=now)
        for row in found.off:
            self._store.mark_alert(row.seq, Status.OFF, doubts=row.doubts, at=now)
        if found.next is None:
            self._remind(now)
            return IDLE_S
        row = found.next.row
        if row.status is Status.SENDING:
            # Nobody knows what became of the last request: its sender died.
            self._cut(row, "its sender was stopped", now)
            return 0.0
        if row.status is Status.DOUBTFUL and not self._messenger.is_answering():
            return _PROBE_S
        return self._tell(found.next)

    def _tell(self, telling: Telling) -> float:
        row = telling.row
        message = self._message(telling)
        self._store.mark_alert(row.seq, Status.SENDING, doubts=row.doubts, at=self._now())
        outcome = self._messenger.send(message)
        return self._note(telling, outcome, self._now())

    def _note(self, telling: Telling, outcome: Delivery, now: datetime) -> float:
        row = telling.row
        if isinstance(outcome, Delivered):
            self._store.mark_alert(row.seq, Status.SENT, doubts=row.doubts, at=now)
            for other in telling.folded:
                self._store.mark_alert(
                    other.seq, Status.FOLDED, doubts=0, at=now, note=f"in {row.seq}"
                )
            name = group(row.alert)
            if name is not None:
                self._last_told[name] = now
            self._missed = 0
            return 0.0
        if isinstance(outcome, NotDelivered):
            status = Status.DOUBTFUL if row.doubts else Status.WAITING
            self._store.mark_alert(row.seq, status, doubts=row.doubts, at=now, note=outcome.reason)
            return outcome.again_after_s
        if isinstance(outcome, Refused):
            logger.error("refused: %s", outcome.reason, extra={"action": "tell", "seq": row.seq})
            self._store.mark_alert(
                row.seq, Status.REFUSED, doubts=row.doubts, at=now, note=outcome.reason
            )
            return 0.0
        self._cut(row, outcome.reason, now)
        return 0.0

    def _cut(self, row: Posted, reason: str, now: datetime) -> None:
        doubts = row.doubts + 1
        status = after_cut(doubts)
        self._missed += status is Status.MAYBE
        self._store.mark_alert(row.seq, status, doubts=doubts, at=now, note=reason)

    def _message(self, telling: Telling) -> Message:
        row = telling.row
        text = alert_text(
            row.alert,
            self._source(),
            folded=len(telling.folded),
            is_duplicate=row.doubts > 0,
            missed=self._missed,
        )
        png = self._draw(row) if row.alert.event is Event.REPORT else None
        return Message(text=text, is_silent=telling.is_silent, png=png)

    def _remind(self, now: datetime) -> None:
        if self._looked_at is not None and now - self._looked_at < _REMIND_LOOK:
            return
        self._looked_at = now
        rows = self._store.unacknowledged_alerts()
        if not is_reminder_due(rows, self._reminded_at, now):
            return
        heads = [alert_text(r.alert, self._source()).split("\n")[0] for r in rows[-_LISTED:]]
        more = [f"and {len(rows) - _LISTED} more"] if len(rows) > _LISTED else []
        text = "\n".join([f"⏰ {len(rows)} not acknowledged; /ack", *heads, *more])
        outcome = self._messenger.send(Message(text=text))
        if isinstance(outcome, Delivered | Doubtful):
            self._reminded_at = now
        logger.warning("reminded: %s", plain(text), extra={"action": "remind"})
