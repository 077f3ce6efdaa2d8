"""Reports read from the store.

Before it stands the store; after it the reporter, the page and the `greenlight
report` command, which all take the same computation (`domain.reports`). Reads
are bounded to `WINDOW`. Nothing is written.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Final

import numpy as np

from greenlight.domain.audit import DecisionKind
from greenlight.domain.cash import CashMoved, in_marks_from
from greenlight.domain.corporate_actions import recorded_splits, split_adjusted
from greenlight.domain.market import (
    Session,
    Unavailable,
    eastern_date,
    eastern_midnight,
    previous_session,
    session_on,
    sessions_between,
)
from greenlight.domain.metrics import EquitySeries, FloatArray, merged
from greenlight.domain.reports import Period, Report, ReportInputs, Span, report, span
from greenlight.ports import EquityMark, Run, Store

WINDOW: Final = timedelta(days=400)
"""Nothing older is looked at."""
_BOOKS: Final = timedelta(hours=6)
"""The broker's mark of a session is written within so long after its close."""
_LATE: Final = timedelta(days=30)
"""A transfer in a mark may be dated so much earlier than it was booked."""
_LAST_BARS: Final = timedelta(minutes=30)
_TICK: Final = timedelta(microseconds=1)


def make_report(
    store: Store, period: Period, now: datetime, *, day: date | None = None
) -> Report | Unavailable:
    """The report of the span that contains `day`, as far as `now` (aware UTC) knows it.

    Parameters
    ----------
    day : date | None
        In New York; None: that of the last session that has closed.

    Raises
    ------
    StoreUnavailable
        The store does not answer.
    """
    run, first = store.latest_run(), store.first_run()
    if run is None or first is None:
        return Unavailable("the desk has not run yet; start it with 'greenlight up'")
    within = span(period, day or last_closed(now))
    return report(gather_report(store, within, now, run=run, since=first.started_at))


def last_closed(now: datetime) -> date:
    """The day of the last session whose close lies at or before an aware instant."""
    today = session_on(eastern_date(now))
    if today is not None and today.close <= now:
        return today.day
    return previous_session(eastern_date(now)).day


def gather_report(
    store: Store, within: Span, now: datetime, *, run: Run, since: datetime
) -> ReportInputs:
    """What a report rests on."""
    end = min(now, eastern_midnight(within.last + timedelta(days=1)))
    start = max(since, end - WINDOW)
    sessions = [
        s
        for s in sessions_between(eastern_date(start), eastern_date(end))
        if s.close > start and s.close <= end
    ]
    closes = store.equity(start, end + _TICK, "broker")
    minutes = store.equity(start, end + _TICK, "desk")
    transfers = [
        row
        for row in store.cash_movements(start=start - _LATE, limit=None)
        if row.is_transfer and row.booked_at is not None and row.booked_at > start
    ]
    base = previous_session(sessions[0].day if sessions else eastern_date(start)).day
    broker = _series(closes, transfers, "broker")
    by_day = _closes(sessions, closes)
    before = _before(store, start, since, run)
    return ReportInputs(
        now=now,
        span=within,
        account_kind=run.account_kind,
        source=run.source,
        is_synthetic=run.is_synthetic,
        sessions=[base, *(s.day for s in sessions)],
        closes={base: before, **{d: float(closes[i].equity_usd) for d, i in by_day.items()}},
        moved={base: 0.0, **{d: float(broker.moved_usd[i]) for d, i in by_day.items()}},
        marks=merged(broker, _series(minutes, transfers, "desk")),
        trades=[t for t in store.trades(start=start, limit=None) if t.closed_at <= end],
        open_positions=_open_at(store, end),
        market=_market(store, sessions) if within.period is Period.MONTHLY else {},
    )


def _before(store: Store, start: datetime, since: datetime, run: Run) -> float:
    """Equity that the first return counts from: the start cash, or the mark before the window."""
    if start > since:
        marks = store.equity(start - timedelta(days=7), start, "broker")
        if marks:
            return float(marks[-1].equity_usd)
    first = store.first_run()
    return float((first or run).start_cash_usd)


def _closes(sessions: Sequence[Session], marks: Sequence[EquityMark]) -> dict[date, int]:
    """Place of the last mark after each session's close and on its day."""
    instants = [mark.at for mark in marks]
    found: dict[date, int] = {}
    for session in sessions:
        place = bisect_right(instants, session.close + _BOOKS) - 1
        if place >= 0 and instants[place] >= session.close:
            found[session.day] = place
    return found


def _series(
    marks: Sequence[EquityMark], transfers: Sequence[CashMoved], source: str
) -> EquitySeries:
    flows = sorted(
        (at.timestamp(), float(row.usd))
        for row in transfers
        if (at := in_marks_from(row, source)) is not None
    )
    instants = np.array([mark.at.timestamp() for mark in marks], dtype=np.float64)
    moved: FloatArray | None = None
    if flows:
        sums = np.concatenate([[0.0], np.cumsum([usd for _, usd in flows])])
        moved = sums[np.searchsorted([at for at, _ in flows], instants, side="right")]
    return EquitySeries(
        at_s=instants.astype(np.int64),
        equity_usd=np.array([float(mark.equity_usd) for mark in marks], dtype=np.float64),
        transfers_usd=moved,
    )


def _open_at(store: Store, end: datetime) -> int:
    held = [p for p in store.open_positions() if p.opened_at <= end]
    later = [p for p in store.closed_positions(end + _TICK) if p.opened_at <= end]
    return len(held) + len(later)


def _market(store: Store, sessions: Sequence[Session]) -> dict[date, float]:
    """Mean daily return of the symbols that were ever traded; splits are taken out."""
    if not sessions:
        return {}
    symbols = sorted(
        {t.symbol for t in store.trades(limit=None)} | {p.symbol for p in store.open_positions()}
    )
    rows = store.decisions(kind=DecisionKind.ADJUST, limit=None)
    splits = recorded_splits(row.decision for row in rows)
    today = sessions[-1].day
    closes: dict[date, dict[str, float]] = {}
    for symbol in symbols:
        last = [
            bars[-1]
            for s in sessions
            if (bars := store.bars(symbol, "1Min", s.close - _LAST_BARS, s.close))
        ]
        for bar in split_adjusted(last, splits, today):
            closes.setdefault(eastern_date(bar.start), {})[symbol] = bar.close
    days = sorted(closes)
    found: dict[date, float] = {}
    for before, day in pairwise(days):
        moves = [
            closes[day][symbol] / closes[before][symbol] - 1
            for symbol in closes[day]
            if symbol in closes[before]
        ]
        if moves:
            found[day] = sum(moves) / len(moves)
    return found


def chart_of(store: Store, found: Report) -> EquitySeries:
    """Marked equity of a report's days, from the mark before them, for its chart."""
    first = eastern_midnight(found.span.first)
    end = min(found.at, eastern_midnight(found.span.last + timedelta(days=1))) + _TICK
    source = "desk" if found.span.period is not Period.MONTHLY else "broker"
    before = store.equity(first - timedelta(days=7), first, "broker")[-1:]
    return _series([*before, *store.equity(first, end, source)], (), source)
