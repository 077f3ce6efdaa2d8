"""The seven criteria, each measured on what is there.

Before it stand the metrics and the gate's terms; after it `readiness`, which
puts them together. What is missing can keep a light from turning green and
never turns one green: trades are held against the positions that closed,
marks of equity against the heartbeats, readings of coverage against the
decisions to protect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import numpy as np

from greenlight.domain import metrics
from greenlight.domain.evidence import Evidence
from greenlight.domain.gate import (
    TITLES,
    Criterion,
    Figure,
    ReadinessInputs,
    ReadinessPolicy,
    State,
)
from greenlight.domain.market import (
    Session,
    Unavailable,
    eastern_date,
    session_at,
    sessions_between,
)
from greenlight.domain.metrics import CoverageReading, EquitySeries
from greenlight.domain.positions import Position
from greenlight.domain.trades import Trade

BOOKS_CLOSED_AFTER: Final = timedelta(minutes=5)
"""From this long after the bell a session must have the broker's mark."""
CHECKED_BEFORE_OPEN: Final = timedelta(minutes=60)
"""Open positions are read at the broker from this long before the open."""
CHECKED_BY: Final = timedelta(minutes=5)
"""And have been by this long after it."""
BEAT_LAG: Final = timedelta(minutes=2)
"""A minute's heartbeat is in the store this long after the minute began."""


def unmeasured(name: str, why: Unavailable) -> Criterion:
    """A criterion whose input is not there."""
    return Criterion(
        name=name,
        title=TITLES[name],
        state=State.INSUFFICIENT,
        value=why,
        threshold=None,
        unit="",
        sample_size=0,
        interval=None,
        reason=why.reason,
        missing=(why.reason,),
        since=None,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """The inputs with what several criteria derive from them."""

    inputs: ReadinessInputs
    policy: ReadinessPolicy
    sessions: list[Session]
    """Those that closed after `since`, begun by now."""
    trades: list[Trade]
    closes: dict[date, float]
    moved: dict[date, float]
    """What the owner had moved into each close."""
    due: list[Session]
    """Those whose close the broker has marked or should have."""
    aged: str | None
    """Why everything is too old, if it is."""
    silent: str | None
    """Why the desk counts as down, if it does."""

    @classmethod
    def of(cls, inputs: ReadinessInputs, policy: ReadinessPolicy) -> View:
        """Derive it."""
        now, since = inputs.now, inputs.since
        window = sessions_between(eastern_date(since), eastern_date(now))
        sessions = [s for s in window if s.close > since and s.open <= now]
        marks = inputs.broker_marks
        last = _last_marks(marks, sessions)
        closes = {day: float(marks.equity_usd[place]) for day, place in last.items()}
        due = [s for s in sessions if s.close + BOOKS_CLOSED_AFTER <= now or s.day in closes]
        return cls(
            inputs=inputs,
            policy=policy,
            sessions=sessions,
            trades=[t for t in inputs.trades if t.closed_at >= since],
            closes=closes,
            moved={day: float(marks.moved_usd[place]) for day, place in last.items()},
            due=due,
            aged=_aged(inputs, policy),
            silent=_silent(inputs, policy),
        )

    @property
    def incomplete(self) -> str | None:
        """How the closed trades and the closed positions disagree, if they do."""
        start = self.inputs.since
        traded = {t.position_id: t.pnl_usd for t in self.trades}
        closed = {
            p.position_id: p.realized_usd
            for p in self.inputs.closed_positions
            if p.closed_at is not None and p.closed_at >= start
        }
        if traded == closed and len(traded) == len(self.trades):
            return None
        return (
            f"ledger incomplete: {_count(len(closed), 'closed position')}, "
            f"{_count(len(self.trades), 'trade')}"
        )


def _last_marks(marks: EquitySeries, sessions: Sequence[Session]) -> dict[date, int]:
    """Place of the last mark after each session's close and on its day."""
    places: dict[date, int] = {}
    at_s = marks.at_s
    for session in sessions:
        close_s = int(session.close.timestamp())
        first, after = np.searchsorted(at_s, [close_s, close_s + 6 * 3600])
        if after > first:
            places[session.day] = int(after) - 1
    return places


def _aged(inputs: ReadinessInputs, policy: ReadinessPolicy) -> str | None:
    newest = [int(s.at_s[-1]) for s in (inputs.desk_marks, inputs.broker_marks) if len(s.at_s)]
    newest += [60 * (int(beat) + 1) for beat in inputs.beats[-1:]]
    if not newest:
        return None
    age = inputs.now - datetime.fromtimestamp(max(newest), UTC)
    if age <= timedelta(days=policy.max_data_age_days):
        return None
    return f"the newest evidence is {age.days} days old"


def _silent(inputs: ReadinessInputs, policy: ReadinessPolicy) -> str | None:
    session = session_at(inputs.now)
    if session is None:
        return None
    heard = max(session.open, inputs.since)
    if len(inputs.beats):
        heard = max(heard, datetime.fromtimestamp(60 * (int(inputs.beats[-1]) + 1), UTC))
    silence = inputs.now - heard
    if silence <= timedelta(seconds=policy.max_silence_s):
        return None
    return f"no heartbeat for {int(silence.total_seconds() // 60)} minutes in an open session"


def _judge(
    *,
    failing: str | None,
    short: Sequence[str],
    stale: Sequence[str | None],
    good: str,
    is_decisive: bool,
) -> tuple[State, str, tuple[str, ...]]:
    """State, reason and what is missing; `is_decisive`: more data cannot mend a failure."""
    old = [reason for reason in stale if reason is not None]
    missing = (*([failing] if failing else []), *short, *old)
    if failing is not None and (is_decisive or not short):
        return State.RED, failing, missing
    if short:
        return State.INSUFFICIENT, "; ".join(short), missing
    if old:
        return State.STALE, "; ".join(old), missing
    return State.GREEN, good, ()


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _short(have: int, need: int, noun: str) -> list[str]:
    """ "12 of 30 closed trades; 18 more needed", or nothing."""
    if have >= need:
        return []
    return [f"{have:,} of {need:,} {noun}; {need - have:,} more needed"]


def duration(view: View) -> Criterion:
    """Calendar days, sessions observed and closed trades; never red."""
    inputs, policy = view.inputs, view.policy
    days = max((inputs.now - inputs.since).days, 0)
    over = [s for s in view.sessions if s.close <= inputs.now]
    observed = len(metrics.sessions_observed(inputs.beats, over, policy.min_session_uptime_frac))
    trades = len(view.trades)
    short = [
        *_short(days, policy.min_days, "calendar days"),
        *_short(observed, policy.min_sessions, "sessions observed"),
        *_short(trades, policy.min_closed_trades, "closed trades"),
    ]
    state, reason, missing = _judge(
        failing=None,
        short=short,
        stale=(view.aged, view.incomplete),
        good=f"{days:,} days, {observed:,} sessions observed, {trades:,} closed trades",
        is_decisive=False,
    )
    return Criterion(
        name="duration",
        title=TITLES["duration"],
        state=state,
        value=float(days),
        threshold=policy.min_days,
        unit="days",
        sample_size=observed,
        interval=None,
        reason=reason,
        missing=missing,
        since=inputs.since,
        figures=(
            Figure(
                name="sessions observed",
                value=float(observed),
                threshold=policy.min_sessions,
                unit="",
            ),
            Figure(
                name="closed trades",
                value=float(trades),
                threshold=policy.min_closed_trades,
                unit="",
            ),
        ),
    )


def win_rate(view: View) -> Criterion:
    """Winners among closed trades, with the profit factor beside it."""
    policy = view.policy
    found = metrics.win_rate(view.trades)
    rate = None if isinstance(found, Unavailable) else found
    failing = good = None
    if rate is not None:
        figures = f"{rate.wins:,} of {_count(rate.trades, 'closed trade')} won ({rate.frac:.1%})"
        good = figures
        if rate.frac <= policy.min_win_rate_frac:
            failing = f"{figures}; more than {policy.min_win_rate_frac:.0%} needed"
    state, reason, missing = _judge(
        failing=failing,
        short=_short(len(view.trades), policy.min_closed_trades, "closed trades"),
        stale=(view.incomplete, view.aged),
        good=good or "",
        is_decisive=False,
    )
    return Criterion(
        name="win_rate",
        title=TITLES["win_rate"],
        state=state,
        value=rate.frac if rate is not None else Unavailable("no closed trade"),
        threshold=policy.min_win_rate_frac,
        unit="frac",
        sample_size=len(view.trades),
        interval=None if rate is None else (rate.low, rate.high),
        reason=reason,
        missing=missing,
        since=view.inputs.since,
        figures=(
            Figure(
                name="profit factor",
                value=metrics.profit_factor(view.trades),
                threshold=policy.target_profit_factor,
                unit="",
            ),
        ),
    )


def sharpe(view: View) -> Criterion:
    """The broker account's annualised Sharpe ratio, and the evidence."""
    inputs, policy = view.inputs, view.policy
    returns = metrics.daily_returns(view.closes, [s.day for s in view.due], view.moved)
    size = len(returns.values)
    value = metrics.sharpe_ann(returns.values)
    needed = 1 / policy.alpha
    short = _short(size, policy.min_sessions, "daily returns")
    failing = None
    if isinstance(value, Unavailable):
        short = short or [value.reason]
    elif value <= policy.min_sharpe_ann:
        failing = f"{value:.2f} over {size:,} days; more than {policy.min_sharpe_ann:.1f} needed"
    evidence = inputs.evidence
    wealth: float | Unavailable
    if isinstance(evidence, Unavailable):
        wealth = evidence
        lacking = [f"evidence of {needed:.0f} needed: {evidence.reason}"]
    else:
        wealth = evidence.wealth
        lacking = [] if wealth >= needed else [f"evidence {wealth:.1f} of {needed:.0f}"]
    state, reason, missing = _judge(
        failing=failing if size >= policy.min_sessions else None,
        short=[*short, *lacking],
        stale=(_unmarked(view), _markless(view), _unbooked(view), view.incomplete, view.aged),
        good=f"{value:.2f} over {size:,} days" if isinstance(value, float) else "",
        is_decisive=True,
    )
    return Criterion(
        name="sharpe",
        title=TITLES["sharpe"],
        state=state,
        value=value,
        threshold=policy.min_sharpe_ann,
        unit="ann",
        sample_size=size,
        interval=None if isinstance(value, Unavailable) else metrics.sharpe_interval(value, size),
        reason=reason,
        missing=missing,
        since=inputs.since,
        figures=(
            Figure(name="evidence", value=wealth, threshold=needed, unit=""),
            *_parts(evidence),
        ),
    )


def _parts(evidence: Evidence | Unavailable) -> tuple[Figure, ...]:
    """Where the evidence comes from."""
    if isinstance(evidence, Unavailable):
        return ()
    return tuple(
        Figure(name=name, value=value, threshold=None, unit="")
        for name, value in (
            ("evidence of the backtest", evidence.backtest),
            ("trials", float(evidence.trials)),
            ("backtest's share", evidence.start),
            ("evidence of paper", evidence.paper),
        )
    )


def _unmarked(view: View) -> str | None:
    days = [s.day for s in view.due if s.day not in view.closes]
    if not days:
        return None
    more = f" and {len(days) - 1:,} more" if len(days) > 1 else ""
    return f"no equity from the broker for the close of {days[-1]}{more}"


def drawdown(view: View) -> Criterion:
    """Largest loss of marked equity, by the desk's minutes and the broker's closes."""
    inputs, policy = view.inputs, view.policy
    worst = metrics.max_drawdown(metrics.merged(inputs.broker_marks, inputs.desk_marks))
    size = len(inputs.broker_marks.at_s) + len(inputs.desk_marks.at_s)
    value = worst if isinstance(worst, Unavailable) else worst.frac
    limit = f"{policy.max_drawdown_frac:.0%}"
    short = _short(len(view.closes), policy.min_sessions, "sessions marked")
    failing, good = None, ""
    if isinstance(worst, Unavailable):
        short.append(worst.reason)
    else:
        trough = eastern_date(datetime.fromtimestamp(worst.trough_s, UTC))
        good = f"{worst.frac:.1%} at most" + (f", on {trough}" if worst.frac > 0 else "")
        if worst.frac >= policy.max_drawdown_frac:
            failing = f"{worst.frac:.1%} on {trough}; less than {limit} needed"
    state, reason, missing = _judge(
        failing=failing,
        short=short,
        stale=(_markless(view), _unmarked(view), _unbooked(view), view.silent, view.aged),
        good=good,
        is_decisive=True,
    )
    return Criterion(
        name="drawdown",
        title=TITLES["drawdown"],
        state=state,
        value=value,
        threshold=policy.max_drawdown_frac,
        unit="frac",
        sample_size=size,
        interval=None,
        reason=reason,
        missing=missing,
        since=inputs.since,
    )


def _unbooked(view: View) -> str | None:
    count = view.inputs.unbooked
    return f"{_count(count, 'movement')} of cash not as it was decided" if count else None


def _markless(view: View) -> str | None:
    """Minutes in which the desk was at work and equity was not marked."""
    beats = view.inputs.beats
    bounds = [
        np.searchsorted(beats, [metrics.minute_of(s.open), metrics.minute_of(s.close)])
        for s in view.sessions
    ]
    if not bounds:
        return None
    worked = np.concatenate([beats[low:high] for low, high in bounds])
    worked = worked[worked >= metrics.minute_of(view.inputs.since)]
    marked = view.inputs.desk_marks.minutes
    places = np.searchsorted(marked, worked)
    inside = np.minimum(places, max(len(marked) - 1, 0))
    lacking = int((marked[inside] != worked).sum()) if len(marked) else len(worked)
    return f"{_count(lacking, 'minute')} at work without a mark of equity" if lacking else None


def stop_coverage(view: View) -> Criterion:
    """Every position covered at the broker for its whole size, now and lately."""
    inputs, policy = view.inputs, view.policy
    start = max(inputs.now - timedelta(days=policy.coverage_days), inputs.since)
    opened = list(inputs.open_positions)
    closed = [p for p in inputs.closed_positions if p.closed_at and p.closed_at >= start]
    gaps = metrics.coverage_gaps([*opened, *closed], inputs.coverage, start, inputs.now)
    longest = max((gap.length_s for gap in gaps), default=0.0)
    uncovered = _uncovered(opened, inputs.coverage)
    long_open = {
        g.position_id for g in gaps if g.end == inputs.now and g.length_s > policy.max_gap_s
    }
    naked = sorted(p.symbol for p in uncovered if p.position_id in long_open)
    failing = None
    if naked:
        failing = f"not wholly covered at the broker: {', '.join(naked)}"
    elif longest > policy.max_gap_s:
        worst = max(gaps, key=lambda gap: gap.length_s)
        failing = (
            f"{worst.symbol} uncovered for {worst.length_s:,.0f} s on "
            f"{eastern_date(worst.start)}; at most {policy.max_gap_s:.0f} s"
        )
    size = len(opened) + len(closed)
    short = [] if size else [f"no position in the last {policy.coverage_days} days"]
    if uncovered:
        short.append(f"stop on its way: {', '.join(sorted(p.symbol for p in uncovered))}")
    now_part = f"{_count(len(opened), 'open position')} covered" if opened else "nothing open"
    state, reason, missing = _judge(
        failing=failing,
        short=short,
        stale=(
            _unread(view, opened),
            _unproven(view, start, [*opened, *closed]),
            view.incomplete,
            view.silent,
            view.aged,
        ),
        good=f"{now_part}, no gap over {policy.max_gap_s:.0f} s in {policy.coverage_days} days",
        is_decisive=True,
    )
    return Criterion(
        name="stop_coverage",
        title=TITLES["stop_coverage"],
        state=state,
        value=longest if size else Unavailable(short[0]),
        threshold=policy.max_gap_s,
        unit="s",
        sample_size=size,
        interval=None,
        reason=reason,
        missing=missing,
        since=start,
    )


def _uncovered(opened: Sequence[Position], readings: Sequence[CoverageReading]) -> list[Position]:
    last = {reading.position_id: reading for reading in readings}
    return [
        p for p in opened if p.position_id not in last or last[p.position_id].covered_qty < p.qty
    ]


def _unread(view: View, opened: Sequence[Position]) -> str | None:
    """Open positions that were not read at the broker for the session that began last."""
    begun = [s for s in view.sessions if s.open + CHECKED_BY <= view.inputs.now]
    if not begun:
        return None
    checked_from = begun[-1].open - CHECKED_BEFORE_OPEN
    last = {reading.position_id: reading.at for reading in view.inputs.coverage}
    unread = sorted(
        p.symbol
        for p in opened
        if p.opened_at < checked_from and last.get(p.position_id, p.opened_at) < checked_from
    )
    return f"stops not checked since {begun[-1].day}: {', '.join(unread)}" if unread else None


def _unproven(view: View, start: datetime, positions: Sequence[Position]) -> str | None:
    """Whether readings and the ledger's decisions to protect do not fit together."""
    inputs = view.inputs
    known = {p.position_id for p in positions}
    strange = sum(r.at >= start and r.position_id not in known for r in inputs.coverage)
    if strange:
        return f"{_count(strange, 'reading')} of a position that the ledger does not have"
    read = {(reading.symbol, reading.at) for reading in inputs.coverage}
    lacking = sum(p.at >= start and (p.symbol, p.at) not in read for p in inputs.protections)
    return f"{_count(lacking, 'stop')} placed without a reading of coverage" if lacking else None


def uptime(view: View) -> Criterion:
    """Market minutes with a heartbeat."""
    inputs, policy = view.inputs, view.policy
    whole = inputs.now - timedelta(days=policy.uptime_days)
    start = max(whole, inputs.since)
    found = metrics.uptime(inputs.beats, view.sessions, start, inputs.now - BEAT_LAG)
    failing, good = None, ""
    short = (
        []
        if start == whole
        else _short((inputs.now - inputs.since).days, policy.uptime_days, "days watched")
    )
    if isinstance(found, Unavailable):
        short = [found.reason]
    else:
        good = f"{found.frac:.2%} of {found.total:,} market minutes"
        if found.frac < policy.min_uptime_frac:
            failing = f"{good}; {policy.min_uptime_frac:.0%} needed"
    state, reason, missing = _judge(
        failing=failing,
        short=short,
        stale=(view.silent, view.aged),
        good=good,
        is_decisive=True,
    )
    return Criterion(
        name="uptime",
        title=TITLES["uptime"],
        state=state,
        value=found if isinstance(found, Unavailable) else found.frac,
        threshold=policy.min_uptime_frac,
        unit="frac",
        sample_size=0 if isinstance(found, Unavailable) else found.total,
        interval=None,
        reason=reason,
        missing=missing,
        since=start,
    )


def backtest(view: View, fingerprint: str) -> Criterion:
    """A recent walk-forward of the same code, parameters and limits."""
    inputs, policy, found = view.inputs, view.policy, view.inputs.backtest
    if isinstance(found, Unavailable):
        return unmeasured("backtest", found)
    failures = [
        text
        for is_failing, text in (
            (
                not found.sharpe_ann > policy.min_sharpe_ann,
                f"Sharpe {found.sharpe_ann:.2f}, more than {policy.min_sharpe_ann:.1f} needed",
            ),
            (
                not found.drawdown_frac < policy.max_drawdown_frac,
                f"drawdown {found.drawdown_frac:.1%}, "
                f"less than {policy.max_drawdown_frac:.0%} needed",
            ),
            (
                not found.pbo_frac < policy.max_pbo_frac,
                f"overfitting {found.pbo_frac:.0%}, less than {policy.max_pbo_frac:.0%} needed",
            ),
            (
                not found.deflated_sharpe >= policy.min_deflated_sharpe,
                f"deflated Sharpe {found.deflated_sharpe:.2f}, "
                f"{policy.min_deflated_sharpe:.2f} needed",
            ),
            (found.has_live_parity is False, "live decisions differ from the backtest's"),
        )
        if is_failing
    ]
    age = inputs.now - found.at
    is_old = not timedelta(0) <= age <= timedelta(days=policy.max_backtest_age_days)
    parity = found.has_live_parity
    state, reason, missing = _judge(
        failing="; ".join(failures) or None,
        short=[parity.reason] if isinstance(parity, Unavailable) else [],
        stale=(
            f"the walk-forward is {age.days} days old" if is_old else None,
            "the walk-forward is of other code, parameters or limits"
            if found.fingerprint != fingerprint
            else None,
            view.aged,
        ),
        good=f"walk-forward of {eastern_date(found.at)}: Sharpe {found.sharpe_ann:.2f}",
        is_decisive=True,
    )
    return Criterion(
        name="backtest",
        title=TITLES["backtest"],
        state=state,
        value=found.sharpe_ann,
        threshold=policy.min_sharpe_ann,
        unit="ann",
        sample_size=1,
        interval=None,
        reason=reason,
        missing=missing,
        since=found.at,
        figures=(
            Figure(
                name="drawdown",
                value=found.drawdown_frac,
                threshold=policy.max_drawdown_frac,
                unit="frac",
            ),
            Figure(
                name="overfitting",
                value=found.pbo_frac,
                threshold=policy.max_pbo_frac,
                unit="frac",
            ),
            Figure(
                name="deflated Sharpe",
                value=found.deflated_sharpe,
                threshold=policy.min_deflated_sharpe,
                unit="",
            ),
        ),
    )
