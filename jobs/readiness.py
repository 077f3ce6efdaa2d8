"""From the store to the seven lights.

Before it stands the store; after it the recorder (which keeps an evaluation
after every session), the page and the command. Reads are bounded to the last
`WINDOW`. Marks and heartbeats are many, so an `Evaluator` remembers those it
has read and asks only for what came since; it can be lost at any time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Final

import numpy as np

from greenlight.domain import metrics
from greenlight.domain.audit import DecisionKind
from greenlight.domain.cash import CASH, in_marks_from
from greenlight.domain.criteria import View
from greenlight.domain.gate import BacktestSummary, Protection
from greenlight.domain.market import Unavailable, eastern_date
from greenlight.domain.metrics import EMPTY_SERIES, EquitySeries, FloatArray, IntArray
from greenlight.domain.paper_evidence import paper_evidence
from greenlight.domain.readiness import (
    Evaluation,
    ReadinessInputs,
    ReadinessPolicy,
    evaluate,
    from_json,
)
from greenlight.ports import Run, Store
from jobs.gate_policy import policy_in_force
from jobs.twin import live_parity

WINDOW: Final = timedelta(days=400)
"""Nothing older is looked at."""
DESK: Final = "desk"
"""Component whose heartbeats count as uptime."""
_LEAD_IN: Final = timedelta(days=10)
"""Readings of coverage from before their window, which tell the state at its start."""
_LATE: Final = timedelta(hours=2)
"""Marks and heartbeats may reach the store this much later than their time."""
_AHEAD: Final = timedelta(days=1)
"""In a replay orders are written before the minute that they fell in."""
_RESUMED_WITHIN: Final = timedelta(days=14)
"""A desk that was away for longer starts its clocks again."""
_TICK: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BOOKED_LATE: Final = timedelta(days=30)
"""A transfer in a mark may be dated so much earlier than it was booked."""
_NO_BACKTEST: Final = "no stored walk-forward"
_WALK_FIGURES: Final = ("sharpe_ann", "max_drawdown_frac", "pbo_frac", "deflated_sharpe_frac")
"""What the seventh criterion takes of a stored walk-forward, in the order of its fields."""
_NO_EVIDENCE: Final = "no evidence process has run"


def evaluate_now(store: Store, now: datetime, policy: ReadinessPolicy) -> Evaluation:
    """The seven lights at an instant, with everything read afresh.

    Raises
    ------
    StoreUnavailable
        The store does not answer.
    """
    return Evaluator(store, policy)(now)


def gather(store: Store, now: datetime, policy: ReadinessPolicy) -> ReadinessInputs:
    """What an evaluation at `now` (aware UTC) rests on, read afresh."""
    return Evaluator(store, policy).gather(now)


def latest_instant(store: Store) -> datetime | None:
    """The newest mark or heartbeat (aware UTC): a replay's present. None before the first."""
    run = store.latest_run()
    if run is None:
        return None
    # A mark a session leads close to the end; the minutes since are few.
    base = run.started_at
    ends = run.started_at + timedelta(days=36525)
    closes = store.equity(base, ends, "broker")
    if closes:
        base = closes[-1].at
    found = [mark.at for mark in store.equity(base, base + WINDOW, "desk")[-1:]]
    found += [
        beat + timedelta(minutes=1)
        for beat in store.heartbeat_minutes(DESK, base, base + WINDOW)[-1:]
    ]
    found += [mark.at for mark in closes[-1:]]
    return max(found, default=None)


def present(store: Store, clock_now: datetime) -> datetime:
    """The time that an evaluation should speak of.

    A replay's is its newest evidence (its start before there is any); a real
    account's is the clock's.
    """
    run = store.latest_run()
    if run is None or run.account_kind != "replay":
        return clock_now
    return latest_instant(store) or run.started_at


class Evaluator:
    """Evaluates again and again, reading only what is new.

    Parameters
    ----------
    store : Store
        Read only.
    policy : ReadinessPolicy
        The thresholds asked for; those in force may be stricter, see `gate_policy`.
    """

    def __init__(self, store: Store, policy: ReadinessPolicy) -> None:
        self._store = store
        self._asked = policy
        self._run: Run | None = None
        self._since: datetime | None = None
        self._forget()

    def __call__(self, now: datetime) -> Evaluation:
        """The seven lights at an aware UTC instant.

        Raises
        ------
        StoreUnavailable
            The store does not answer.
        """
        policy = policy_in_force(self._store, self._asked, now)
        return evaluate(self._gather(now, policy), policy)

    def gather(self, now: datetime) -> ReadinessInputs:
        """What an evaluation at `now` rests on, and nothing later."""
        return self._gather(now, policy_in_force(self._store, self._asked, now))

    def _gather(self, now: datetime, policy: ReadinessPolicy) -> ReadinessInputs:
        store = self._store
        run = store.latest_run()
        if run is None:
            return _nothing(now)
        since = max(self._clock_start(run), now - WINDOW)
        lately = now - timedelta(days=policy.coverage_days)
        start = max(min(since, lately), now - WINDOW)
        protects = store.decisions(start=lately, kind=DecisionKind.PROTECT, limit=None)
        protections = [
            Protection(symbol=d.symbol, at=d.at)
            for d in (row.decision for row in protects)
            if d.symbol is not None
        ]
        # Each before what is held against it, so that nothing new looks incomplete.
        beats = self._read_beats(since, now)
        desk_marks = self._read_marks("desk", since, now)
        universe = store.universe_returns(eastern_date(since), eastern_date(now))
        inputs = ReadinessInputs(
            now=now,
            run=run,
            since=since,
            beats=beats,
            desk_marks=desk_marks,
            broker_marks=self._read_marks("broker", since, now),
            exposures=_exposures(self._marks["desk"]),
            universe={row.day: row.frac for row in universe},
            unbooked=_unbooked(store, since),
            protections=protections,
            open_positions=[p for p in store.open_positions() if p.opened_at <= now],
            coverage=store.coverage(lately - _LEAD_IN, now + _AHEAD),
            trades=store.trades(start=start, limit=None),
            closed_positions=store.closed_positions(start),
            backtest=latest_walkforward(
                store, run.fingerprint, now, live_parity(store, run, since, now)
            ),
            evidence=Unavailable(_NO_EVIDENCE),
        )
        view = View.of(inputs, policy)
        runs, trials = store.out_of_samples(run.fingerprint), len(store.trials(limit=None))
        return replace(inputs, evidence=paper_evidence(view, runs, trials))

    def _forget(self) -> None:
        self._marks: dict[str, _Marks] = {}
        self._beats: IntArray = np.empty(0, dtype=np.int64)

    def _clock_start(self, run: Run) -> datetime:
        """When the clocks of this account and fingerprint began.

        A desk that comes back unchanged goes on where the last evaluation of
        the same account and fingerprint stood.
        """
        if self._run is not None and self._run.run_id == run.run_id and self._since is not None:
            return self._since
        start = run.started_at
        rows = self._store.evaluations(start - _RESUMED_WITHIN, start + _TICK)
        for _, row in reversed(rows[-1:]):
            try:
                last = from_json(row)
            except (KeyError, TypeError, ValueError):
                break
            is_same = (last.account_kind, last.account_number, last.fingerprint) == (
                run.account_kind,
                run.account_number,
                run.fingerprint,
            )
            if is_same and last.since is not None:
                start = min(start, last.since)
        self._run, self._since = run, start
        self._forget()
        return start

    def _read_marks(self, source: str, since: datetime, now: datetime) -> EquitySeries:
        kept = self._marks.get(source, _NO_MARKS)
        begin = since
        if len(kept.at_us):
            newest = _EPOCH + int(kept.at_us[-1]) * _TICK
            begin = max(since, min(newest, now) - _LATE)
        begin_s = _whole_s(begin)
        begin = datetime.fromtimestamp(begin_s, UTC)
        rows = self._store.equity(begin, now + _TICK, source)
        first = int(np.searchsorted(kept.at_us, 1_000_000 * _whole_s(since)))
        end = int(np.searchsorted(kept.at_us, 1_000_000 * begin_s))
        fresh_us = np.array([_us(row.at) for row in rows], dtype=np.int64)
        fresh_usd = np.array([float(row.equity_usd) for row in rows], dtype=np.float64)
        held_usd = np.array([float(row.exposure_usd) for row in rows], dtype=np.float64)
        marks = _Marks(
            at_us=np.concatenate([kept.at_us[first:end], fresh_us]),
            equity_usd=np.concatenate([kept.equity_usd[first:end], fresh_usd]),
            exposure_usd=np.concatenate([kept.exposure_usd[first:end], held_usd]),
        )
        self._marks[source] = marks
        # Read after the marks, so that every transfer in one of them is known.
        flows = sorted(
            (_us(at), float(row.usd))
            for row in self._store.cash_movements(start=since - _BOOKED_LATE, limit=None)
            if row.is_transfer and row.booked_at is not None and row.booked_at > since
            if (at := in_marks_from(row, source)) is not None
        )
        return EquitySeries(
            at_s=marks.at_us // 1_000_000,
            equity_usd=marks.equity_usd,
            transfers_usd=_moved_by(marks.at_us, flows) if flows else None,
        )

    def _read_beats(self, since: datetime, now: datetime) -> IntArray:
        kept = self._beats
        begin = metrics.minute_of(since)
        first = int(np.searchsorted(kept, begin))
        if len(kept):
            late = int(_LATE / timedelta(minutes=1))
            begin = max(begin, min(int(kept[-1]), metrics.minute_of(now)) - late)
        rows = self._store.heartbeat_minutes(
            DESK, datetime.fromtimestamp(60 * begin, UTC), now + _TICK
        )
        end = int(np.searchsorted(kept, begin))
        self._beats = np.concatenate([kept[first:end], _minutes(rows)])
        return self._beats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Marks:
    """Marks as they were read: microseconds since 1970, and US dollars."""

    at_us: IntArray
    equity_usd: FloatArray
    exposure_usd: FloatArray


_NO_MARKS: Final = _Marks(
    at_us=np.empty(0, dtype=np.int64),
    equity_usd=np.empty(0, dtype=np.float64),
    exposure_usd=np.empty(0, dtype=np.float64),
)


def latest_walkforward(
    store: Store, fingerprint: str, now: datetime, has_live_parity: bool | Unavailable
) -> BacktestSummary | Unavailable:
    """The newest walk-forward up to `now`, of this fingerprint where there is one."""
    done = [row for row in store.walkforwards(limit=100) if row.at <= now]
    if not done:
        return Unavailable(_NO_BACKTEST)
    own = [row for row in done if row.fingerprint == fingerprint]
    newest = (own or done)[-1]
    known = [newest.figures.get(name) for name in _WALK_FIGURES]
    sharpe, drawdown, pbo, deflated = known
    if sharpe is None or drawdown is None or pbo is None or deflated is None:
        lacking = _WALK_FIGURES[known.index(None)]
        return Unavailable(f"the walk-forward of {eastern_date(newest.at)} has no {lacking}")
    return BacktestSummary(
        at=newest.at,
        fingerprint=newest.fingerprint,
        sharpe_ann=sharpe,
        drawdown_frac=drawdown,
        pbo_frac=pbo,
        deflated_sharpe=deflated,
        has_live_parity=has_live_parity,
    )


def _unbooked(store: Store, since: datetime) -> int:
    """How many movements of cash the chain and the ledger do not both have."""
    start = since - _BOOKED_LATE
    decided = Counter(
        (str(d.figures.get("activity_id")), str(d.figures.get("usd")), d.at)
        for d in (
            row.decision
            for row in store.decisions(start=start, kind=DecisionKind.ADJUST, limit=None)
        )
        if d.reason.startswith(CASH)
    )
    booked = Counter(
        (row.activity_id, str(row.usd), row.at)
        for row in store.cash_movements(start=start, limit=None)
    )
    return ((decided - booked) + (booked - decided)).total()


def _exposures(marks: _Marks) -> dict[date, float]:
    """Mean share of equity that was invested at the marks of each New York day."""
    if not len(marks.at_us):
        return {}
    # A session lies within one UTC day.
    day = marks.at_us // 86_400_000_000
    first = np.flatnonzero(np.diff(day, prepend=day[0] - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = marks.exposure_usd / marks.equity_usd
    means = np.add.reduceat(shares, first) / np.diff(np.append(first, len(day)))
    return {
        eastern_date(_EPOCH + timedelta(days=int(day[place]), hours=18)): float(mean)
        for place, mean in zip(first, means, strict=True)
    }


def _us(at: datetime) -> int:
    return (at - _EPOCH) // _TICK


def _moved_by(at_us: IntArray, flows: Sequence[tuple[int, float]]) -> FloatArray:
    """The sum of the flows up to each instant."""
    sums = np.concatenate([[0.0], np.cumsum([usd for _, usd in flows])])
    found: FloatArray = sums[np.searchsorted([at for at, _ in flows], at_us, side="right")]
    return found


def _minutes(rows: Sequence[datetime]) -> IntArray:
    return np.array([metrics.minute_of(row) for row in rows], dtype=np.int64)


def _whole_s(at: datetime) -> int:
    """The first whole second that is not before an instant."""
    return -int(-at.timestamp() // 1)


def _nothing(now: datetime) -> ReadinessInputs:
    return ReadinessInputs(
        now=now,
        run=Unavailable("the desk has not run yet; start it with 'greenlight up'"),
        since=now,
        trades=(),
        closed_positions=(),
        open_positions=(),
        broker_marks=EMPTY_SERIES,
        desk_marks=EMPTY_SERIES,
        beats=np.empty(0, dtype=np.int64),
        coverage=(),
        protections=(),
        backtest=Unavailable(_NO_BACKTEST),
        evidence=Unavailable(_NO_EVIDENCE),
    )
