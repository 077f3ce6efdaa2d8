"""The reporter: tells a person what happened, and answers what they ask.

Before it stands the outbox; after it the messenger. It only reads what others
wrote, besides the outbox and what a person commands, so trading never waits for it:
nobody calls it, and killing it loses nothing. Two threads: one sends alerts, puts
reports into the outbox when they are due and looks for what nobody else tells
(milestones, a full disk, lights that turned); one listens to commands.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from actors.commands import Commander
from actors.dispatch import Dispatcher
from actors.measures import Measures
from greenlight.domain.alerts import EXITS, Alert, Event, Posted, Status
from greenlight.domain.audit import Figure, instant_text
from greenlight.domain.market import Unavailable, eastern_date
from greenlight.domain.message_text import LIMIT, label, report_text, split
from greenlight.domain.reports import Period, Report, Span, dollars, due, session_due
from greenlight.ports import Message, Messenger, Run, Sleep, Store, StoreUnavailable

logger = logging.getLogger(__name__)

OPTIONS: Final[dict[str, Any]] = {"name": "reporter", "num_cpus": 0.05, "max_concurrency": 2}
LISTEN_S: Final = 20.0
"""Longest wait of one question to the messenger."""
WATCH_EVERY: Final = timedelta(seconds=5)
_TOO_OLD: Final = timedelta(days=7)
_AWAY_AFTER: Final = timedelta(seconds=10)
_AWAY_AGAIN: Final = timedelta(minutes=15)
_MIN_FREE_FRAC: Final = 0.05
"""Share of the disk that must be free (ours)."""
_GAP_S: Final = 5.0
"""Longest time that a position may lack its stop (the gate's)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where a report and what else is told come from; each is a plain function.

    `report` makes a report of the span that has the day; `draw` its picture (PNG);
    `last_session` is the day of the last session closed at an instant; `free_frac` the
    free share of the disk; `present` the desk's time (in a replay the replay's).
    """

    report: Callable[[Period, datetime, date], Report | Unavailable]
    draw: Callable[[Report], bytes]
    last_session: Callable[[datetime], date]
    free_frac: Callable[[], float]
    present: Callable[[], datetime]


class Reporter:
    """See the module. A constructor starts both threads where `is_started`.

    Parameters
    ----------
    now : Callable[[], datetime]
        The clock on the wall, aware UTC: when messages are sent.
    is_current : Callable[[], bool]
        Whether no other desk has taken over the store.
    milestone_usd : float
        Each so much of net P&L is told.
    """

    def __init__(
        self,
        *,
        store: Store,
        messenger: Messenger,
        dispatcher: Callable[[Callable[[], str], Callable[[Posted], bytes | None]], Dispatcher],
        commander: Commander | None,
        sources: Sources,
        now: Callable[[], datetime],
        sleep: Sleep,
        is_current: Callable[[], bool],
        milestone_usd: float,
        is_started: bool = True,
    ) -> None:
        self._store = store
        self._messenger = messenger
        self._commander = commander
        self._sources = sources
        self._now = now
        self._sleep = sleep
        self._is_current = is_current
        self._milestone_usd = milestone_usd
        self._run: Run | None = None
        self._watched_at: datetime | None = None
        self._posted: set[Span] = set()
        self._counted_seq: int | None = None
        self._is_cleared = False
        self._away_since: datetime | None = None
        self._away_told_at: datetime | None = None
        self._is_fenced = False
        self._dispatcher = dispatcher(self.source, self._picture)
        if is_started:
            self._start("tell", self.turn)
            if commander is not None:
                self._start("listen", self.listen)

    @property
    def is_fenced(self) -> bool:
        """Whether another desk has taken over: this one tells nothing any more."""
        return self._is_fenced

    def ping(self) -> str:
        """Answer, as proof of life."""
        return "reporter"

    def measures(self) -> Measures:
        """How many alerts wait."""
        waiting = len(self._store.open_alerts(limit=1000))
        return Measures(latencies={}, queues={"alerts": waiting}, faults={})

    def source(self) -> str:
        """What every message names in bold."""
        run = self._run = self._run or self._store.latest_run()
        if run is None:
            return "PAPER"
        return label(run.account_kind, source=run.source, is_synthetic=run.is_synthetic)

    # -- telling

    def turn(self) -> float:
        """Watch, then send what is next; seconds after which to call again."""
        now = self._now()
        try:
            if not self._is_current():
                self._is_fenced = True
                return 1.0
            self._back(now)
            if self._watched_at is None or now - self._watched_at >= WATCH_EVERY:
                self._watched_at = now
                self.watch()
            return self._dispatcher.step()
        except StoreUnavailable as error:
            self._away(error, now)
            return 1.0

    def watch(self) -> None:
        """Put into the outbox what is due and what nobody else tells."""
        run = self._store.latest_run()
        first = self._store.first_run()
        if run is None or first is None:
            return
        self._run = run
        now = self._sources.present()
        if not self._is_cleared:
            self._let_go(now)
            self._is_cleared = True
        for within in due(now, self._sources.last_session(session_due(now)), first.started_at):
            if within not in self._posted:
                self._post(within, now)
                self._posted.add(within)
        self._look_at_disk(now)
        self._look_at_lights(now)
        self._look_at_money(run.account_number, now)
        self._look_at_cover(now)

    def _let_go(self, now: datetime) -> None:
        """Leave alone what nobody was there to tell for long, such as a replay's."""
        for row in self._store.open_alerts(limit=100_000):
            if row.status is Status.WAITING and now - row.alert.at > _TOO_OLD:
                note = "older than a week when the reporter began"
                self._store.mark_alert(row.seq, Status.OFF, doubts=0, at=self._now(), note=note)

    def _post(self, within: Span, now: datetime) -> None:
        name = f"{Event.REPORT}:{within.period}:{within.first}"
        if any(row.alert.key == f"{name}:1" for row in self._store.alerts(start=_days_ago(now))):
            return
        found = self._sources.report(within.period, now, within.last)
        if isinstance(found, Unavailable):
            return
        parts = split(report_text(found), LIMIT)
        facts = {"period": within.period.value, "day": within.last.isoformat()}
        for number, text in enumerate(parts, 1):
            self._store.put_alert(
                Alert(
                    key=f"{name}:{number}",
                    at=now,
                    event=Event.REPORT,
                    facts={**facts, "text": text, "has_chart": False},
                )
            )
        chart: dict[str, Figure] = {
            **facts,
            "text": f"{within.period.value} chart, {within.last}",
            "has_chart": True,
        }
        self._store.put_alert(Alert(key=f"{name}:chart", at=now, event=Event.REPORT, facts=chart))

    def _picture(self, row: Posted) -> bytes | None:
        facts = row.alert.facts
        if not facts.get("has_chart"):
            return None
        day = date.fromisoformat(str(facts["day"]))
        try:
            found = self._sources.report(Period(str(facts["period"])), row.alert.at, day)
            return None if isinstance(found, Unavailable) else self._sources.draw(found)
        except StoreUnavailable:
            raise
        except Exception:
            # Whatever broke in drawing, the words of the report have been sent.
            logger.exception("no chart", extra={"action": "draw"})
            return None

    # -- what nobody else tells

    def _look_at_disk(self, now: datetime) -> None:
        free = self._sources.free_frac()
        if free < _MIN_FREE_FRAC:
            self._put(Event.DISK, str(eastern_date(now)), now, f"{free:.1%} of the disk is free")

    def _look_at_lights(self, now: datetime) -> None:
        rows = self._store.evaluations(now - timedelta(days=5), now + timedelta(seconds=1))[-2:]
        if len(rows) < 2:
            return
        (_, before), (at, after) = rows
        if bool(before.get("is_ready")) == bool(after.get("is_ready")):
            return
        event = Event.PROMOTED if after.get("is_ready") else Event.DEMOTED
        self._put(event, instant_text(at), at, "see /readiness")

    def _look_at_money(self, account: str, now: datetime) -> None:
        exits = [r.seq for r in self._store.alerts(limit=50) if r.alert.event in EXITS.values()]
        if not exits or exits[-1] == self._counted_seq:
            return
        self._counted_seq = exits[-1]
        net = sum((trade.net_usd for trade in self._store.trades(limit=None)), start=0)
        level = int(float(net) / self._milestone_usd)
        if level:
            text = f"net P&L {dollars(float(net))} since the start"
            self._put(Event.PNL_MILESTONE, f"{account}:{level}", now, text)

    def _look_at_cover(self, now: datetime) -> None:
        newest = {
            row.position_id: row for row in self._store.coverage(now - timedelta(minutes=5), now)
        }
        for position in self._store.open_positions():
            row = newest.get(position.position_id)
            if row is None or row.covered_qty >= row.position_qty:
                continue
            if (now - row.at).total_seconds() > _GAP_S:
                text = f"{row.covered_qty} of {row.position_qty} shares have a stop at the broker"
                key = f"{position.position_id}:{now:%Y%m%dT%H}"
                self._put(Event.NAKED_POSITION, key, now, text, position.symbol)

    def _put(
        self, event: Event, name: str, at: datetime, reason: str, symbol: str | None = None
    ) -> None:
        self._store.put_alert(
            Alert(
                key=f"{event}:{name}", at=at, event=event, symbol=symbol, facts={"reason": reason}
            )
        )

    # -- a store that is away

    def _away(self, error: StoreUnavailable, now: datetime) -> None:
        since = self._away_since = self._away_since or now
        told = self._away_told_at
        if now - since < _AWAY_AFTER or (told is not None and now - told < _AWAY_AGAIN):
            return
        # The outbox itself is away, so this one message goes past it.
        logger.error("store away: %s", error, extra={"action": "reporter"})
        source = "PAPER" if self._run is None else self.source()
        text = f"🗄 <b>{source}</b> database: it does not answer; no entries, stops stay"
        self._messenger.send(Message(text=text))
        self._away_told_at = now

    def _back(self, now: datetime) -> None:
        since, self._away_since = self._away_since, None
        if self._away_told_at is not None and since is not None:
            away_s = (now - since).total_seconds()
            self._away_told_at = None
            reason = f"it answers again after {away_s:.0f} s"
            self._put(Event.DATABASE, instant_text(since), self._sources.present(), reason)

    # -- listening

    def listen(self) -> float:
        """Answer what was asked since the last call."""
        assert self._commander is not None
        for asked in self._messenger.asked(LISTEN_S):
            self._commander.handle(asked)
        return 0.0

    def _start(self, name: str, step: Callable[[], float]) -> None:
        threading.Thread(target=self._loop, args=(step,), name=name, daemon=True).start()

    def _loop(self, step: Callable[[], float]) -> None:
        while True:
            try:
                wait_s = step()
            except Exception:
                # Whatever broke, the next alert is tried again.
                logger.exception("a turn failed", extra={"action": "reporter"})
                wait_s = 1.0
            if wait_s:
                self._sleep(wait_s)


def _days_ago(now: datetime) -> datetime:
    return now - timedelta(days=40)
