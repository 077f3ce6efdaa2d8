"""Health: what the parts of the desk say of themselves, put together.

Before it stand the probes; after it `health_server` and `health_metrics`.
Decided here: which parts there are, how long each may be silent, and which of
them the desk needs. What hangs or fails is told, never waited for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from actors.measures import Measures, StreamLife
from actors.reconciler import reconciled
from cluster.launch import CORE, REPORTER, SUPERVISOR
from cluster.probes import Reading
from cluster.supervision import CrashLoop, SupervisorStatus
from greenlight.domain.audit import DecisionKind
from greenlight.domain.gate import ReadinessPolicy
from greenlight.domain.health import Component, ComponentState, judge_answer, judge_stream
from greenlight.domain.market import Unavailable
from greenlight.domain.metrics import coverage_gaps
from greenlight.domain.sentiment_status import SentimentStatus
from greenlight.ports import BrokerAccount, Halt, Store, Tally
from jobs.readiness import present

TURN_WITHIN_S: Final = 10.0
"""A supervisor that has not ended a turn for so long is dead: ten periods, or two waits for
the store."""
HEARD_WITHIN_S: Final = 8.0
"""An actor silent for so long is down; the supervisor replaces it after half of that."""
STREAM_WITHIN_S: Final = 90.0
"""Streams silent for so long in a session are down: a minute bar and a half."""
STORE_WITHIN_S: Final = 30.0
BROKER_WITHIN_S: Final = 45.0
CACHE_WITHIN_S: Final = 30.0
SENTIMENT_WITHIN_S: Final = 30.0
"""Three questions and their time-outs, each."""
_POLICY: Final = ReadinessPolicy()
_LEAD_IN: Final = timedelta(days=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """What the store tells at `now` (aware UTC).

    `naked_s` are the seconds in which positions were not wholly covered at the
    broker in the window of the stop-coverage criterion, `longest_naked_s` the longest
    of them in a row, `naked` the symbols that are uncovered now. `is_reconciled` says
    whether the last reconciliation since the start was clean, `drift` in how many
    things the ledger and the broker differed at it.
    """

    now: datetime
    tallies: Sequence[Tally]
    halts: Sequence[Halt]
    open_positions: int
    naked_s: float
    longest_naked_s: float
    naked: tuple[str, ...]
    is_reconciled: bool
    drift: int | Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What every probe knows; `cache` is None where the desk has none, `sentiment` where
    no model reads the news.

    `desk_s` are seconds since the desk's process came up.
    """

    desk_s: float
    supervisor: Reading[SupervisorStatus]
    stream: Reading[StreamLife]
    store: Reading[StoreFacts]
    broker: Reading[BrokerAccount]
    cache: Reading[bool] | None
    measures: Mapping[str, Reading[Measures]]
    sentiment: Reading[SentimentStatus] | None = None


def read_store(store: Store, clock_now: datetime) -> StoreFacts:
    """Ask the store for all that is counted there.

    Raises
    ------
    StoreUnavailable
        It does not answer.
    """
    now = present(store, clock_now)
    start = now - timedelta(days=_POLICY.coverage_days)
    opened = store.open_positions()
    readings = store.coverage(start - _LEAD_IN, now + timedelta(days=1))
    gaps = coverage_gaps([*opened, *store.closed_positions(start)], readings, start, now)
    last = {reading.position_id: reading for reading in readings}
    naked = [
        p.symbol
        for p in opened
        if p.position_id not in last or last[p.position_id].covered_qty < p.qty
    ]
    return StoreFacts(
        now=now,
        tallies=store.tallies(),
        halts=store.halts_in_force(now),
        open_positions=len(opened),
        naked_s=sum(gap.length_s for gap in gaps),
        longest_naked_s=max((gap.length_s for gap in gaps), default=0.0),
        naked=tuple(naked),
        is_reconciled=reconciled(store) is True,
        drift=_drift(store),
    )


def _drift(store: Store) -> int | Unavailable:
    found = reconciled(store)
    if found is True:
        return 0
    run, rows = store.latest_run(), store.decisions(kind=DecisionKind.RECONCILE, limit=1)
    if run is not None and rows and rows[-1].decision.at >= run.started_at:
        differences = rows[-1].decision.figures.get("differences")
        if isinstance(differences, int):
            return differences
    return found if isinstance(found, Unavailable) else Unavailable("not known")


def components(seen: Readings) -> tuple[Component, ...]:
    """Every part of the desk and how it stands, the supervisor first after the desk itself."""
    desk = Component(
        name="desk", state=ComponentState.UP, age_s=0.0, reason=f"up for {seen.desk_s:.0f} s"
    )
    return (
        desk,
        _supervisor(seen.supervisor),
        _asked("store", seen.store, STORE_WITHIN_S),
        _asked("broker", seen.broker, BROKER_WITHIN_S),
        _stream(seen.stream),
        _cache(seen.cache),
        *_sentiment(seen.sentiment),
        *_actors(seen.supervisor),
    )


def is_live(seen: Readings) -> bool:
    """Whether somebody watches over the desk: its supervisor has ended a turn lately."""
    return _supervisor(seen.supervisor).state is ComponentState.UP


def _asked(
    name: str, reading: Reading[StoreFacts] | Reading[BrokerAccount], limit_s: float
) -> Component:
    return judge_answer(name, reading.age_s, limit_s=limit_s, problem=reading.problem)


def _since(
    silent_s: float | Unavailable | None, reading: Reading[SupervisorStatus] | Reading[StreamLife]
) -> float | Unavailable:
    """How long ago, where the answer that tells it is itself some seconds old."""
    if isinstance(reading.age_s, Unavailable):
        return Unavailable(reading.problem or reading.age_s.reason)
    if silent_s is None:
        return Unavailable("no answer since it was started or lost")
    return silent_s if isinstance(silent_s, Unavailable) else silent_s + reading.age_s


def _supervisor(reading: Reading[SupervisorStatus]) -> Component:
    status = reading.value
    turned_s = None if isinstance(status, Unavailable) else status.turned_s
    return judge_answer(SUPERVISOR, _since(turned_s, reading), limit_s=TURN_WITHIN_S)


def _actors(reading: Reading[SupervisorStatus]) -> list[Component]:
    """Every actor that is desired; before the supervisor tells, those that always are."""
    status = reading.value
    if isinstance(status, Unavailable):
        return [judge_answer(n, _since(None, reading), limit_s=HEARD_WITHIN_S) for n in CORE]
    return [
        judge_answer(
            name,
            _since(status.heard_s.get(name), reading),
            limit_s=HEARD_WITHIN_S,
            problem=_in_words(status.loops.get(name)),
            # Trading goes on while nobody is told.
            is_needed=name != REPORTER,
        )
        for name in status.desired or CORE
    ]


def _in_words(loop: CrashLoop | None) -> str | None:
    if loop is None:
        return None
    return f"crashed {loop.short_lives} times in a row; next start in {loop.wait_s:.0f} s"


def _stream(reading: Reading[StreamLife]) -> Component:
    life = reading.value
    if isinstance(life, Unavailable):
        unknown = Unavailable(reading.problem or life.reason)
        return judge_answer("broker-stream", unknown, limit_s=STREAM_WITHIN_S)
    return judge_stream(
        "broker-stream",
        _since(life.silent_s, reading),
        is_in_session=life.is_in_session,
        limit_s=STREAM_WITHIN_S,
    )


def _cache(reading: Reading[bool] | None) -> Component:
    if reading is None:
        return Component(
            name="cache",
            state=ComponentState.DEGRADED,
            age_s=Unavailable("there is none"),
            reason="no cache; the desk trades without",
        )
    problem = "it does not answer" if reading.value is False else reading.problem
    return judge_answer(
        "cache", reading.age_s, limit_s=CACHE_WITHIN_S, problem=problem, is_needed=False
    )


def _sentiment(reading: Reading[SentimentStatus] | None) -> list[Component]:
    if reading is None:
        return []
    status = reading.value
    problem = reading.problem if isinstance(status, Unavailable) else status.absence
    return [
        judge_answer(
            "sentiment",
            reading.age_s,
            limit_s=SENTIMENT_WITHIN_S,
            problem=problem or reading.problem,
            is_needed=False,
        )
    ]
