"""A desk's sessions held against their twins, and what that says of the gate.

Before it stand the store's rows and the decisions made again (`actors.twin`, handed
in by whoever composes); after it the command, the nightly work and readiness, which
asks whether every recorded session decided as its twin.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Final

from greenlight.domain.audit import Decision, DecisionKind
from greenlight.domain.market import Unavailable, eastern_date, eastern_midnight
from greenlight.domain.twin import PnlSplit, TwinOutcome, differences, pnl_split
from greenlight.ports import Run, Store

DecideAgain = Callable[[date, date], list[Decision]]
"""The entry decisions of the sessions between two days, both included, made again."""
_LONGEST: Final = timedelta(days=30)
"""A trade that closed was opened no longer ago; the seeds hold one to three sessions."""
_TICK: Final = timedelta(microseconds=1)


def recorded_sessions(store: Store, start: datetime, end: datetime) -> list[date]:
    """The sessions with a mark of the broker in [start, end], in their order."""
    return sorted({eastern_date(mark.at) for mark in store.equity(start, end + _TICK, "broker")})


def run_twin(
    store: Store,
    decide_again: DecideAgain,
    days: Sequence[date],
    *,
    at: datetime,
    fingerprint: str,
) -> list[TwinOutcome]:
    """Hold sessions against their twins.

    Parameters
    ----------
    days : Sequence[date]
        The sessions, in their order.
    at : datetime
        When it is run, aware UTC.
    fingerprint : str
        Of the code and the settings that decide again.

    Returns
    -------
    list[TwinOutcome]
        One a session, in their order; nothing is stored.

    Raises
    ------
    StoreUnavailable
        The store does not answer.
    """
    run = store.latest_run()
    if run is None or not days:
        return []
    begin, stop = eastern_midnight(days[0]), eastern_midnight(days[-1] + timedelta(days=1))
    again = decide_again(days[0], days[-1])
    chain = store.decisions(start=begin - _LONGEST, end=stop, limit=None)
    rows = [row.decision for row in chain]
    ours = _by_day(row for row in rows if row.kind is DecisionKind.ENTRY)
    theirs = _by_day(again)
    earlier = {row.decision_id: row for row in rows if row.at < begin}
    made = {row.decision_id: row for row in again}
    positions = {p.position_id: p for p in store.closed_positions(begin)}
    trades = store.trades(start=begin, limit=None)
    outcomes = []
    for day in days:
        mine, other = ours.get(day, []), theirs.get(day, [])
        splits = [
            # Of an entry before the window only the desk's own decision is known.
            pnl_split(t, positions.get(t.position_id), rows, made.get(e) or earlier.get(e))
            for t in trades
            if eastern_date(t.closed_at) == day
            for e in [t.position_id.partition(".")[0]]
        ]
        outcomes.append(
            TwinOutcome(
                session=day,
                account_number=run.account_number,
                at=at,
                fingerprint=fingerprint,
                decisions=len({row.decision_id for row in (*mine, *other)}),
                differences=differences(mine, other),
                pnl=sum((s for s in splits if s is not None), PnlSplit()),
                unvalued=sum(split is None for split in splits),
            )
        )
    return outcomes


def live_parity(store: Store, run: Run, since: datetime, now: datetime) -> bool | Unavailable:
    """Whether the desk decided as its twin in every session recorded since an instant.

    The session of `now` may still lack its twin: that is run after the close. A
    missing one before it, or no decision at all, is not known, and never True.
    """
    days = recorded_sessions(store, since, now)
    found = {
        outcome.session: outcome
        for outcome in store.twins(eastern_date(since), eastern_date(now))
        if outcome.account_number == run.account_number and outcome.fingerprint == run.fingerprint
    }
    compared = [found[day] for day in days if day in found]
    if any(not outcome.is_equal for outcome in compared):
        return False
    missing = _missing(days, found, eastern_date(now))
    if missing:
        return Unavailable(
            f"{len(missing)} of {len(days)} sessions were not compared with their twin, the "
            f"first of {missing[0]}; run 'greenlight twin'"
        )
    if not any(outcome.decisions for outcome in compared):
        return Unavailable("no decision was made that a twin could be compared with")
    return True


def _missing(days: list[date], found: Collection[date], today: date) -> list[date]:
    return [day for day in days if day not in found and day != today]


def _by_day(rows: Iterable[Decision]) -> dict[date, list[Decision]]:
    found: dict[date, list[Decision]] = {}
    for row in rows:
        found.setdefault(eastern_date(row.at), []).append(row)
    return found
