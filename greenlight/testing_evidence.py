"""The store's stand-in, its evidence: what was seen, measured and remembered.

`testing_store` adds the ledger, as `timescale` does to `timescale_evidence`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TypeVar

from greenlight.domain import ledger
from greenlight.domain.drills import Drill, DrillKind
from greenlight.domain.evidence_rows import OutOfSample, UniverseReturn
from greenlight.domain.forecasts import FailedForecast, VolatilityForecast, VolatilityScore
from greenlight.domain.market import Bar, Quote, Tick
from greenlight.domain.trials import Trial, WalkForward
from greenlight.domain.twin import TwinOutcome
from greenlight.ports import (
    Coverage,
    EquityMark,
    Heartbeat,
    StoreUnavailable,
    StrategyState,
)

_T = TypeVar("_T")


class FakeEvidence:
    """The tables that no order depends on. Set `up` to False to take them away."""

    def __init__(self) -> None:
        self.up = True
        self._lock = threading.RLock()
        self._bars: dict[tuple[str, str, datetime], Bar] = {}
        self._equity: dict[tuple[str, datetime], EquityMark] = {}
        self._beats: set[tuple[str, datetime]] = set()
        self._coverage: list[Coverage] = []
        self._states: dict[tuple[str, str], StrategyState] = {}
        self._evaluations: dict[datetime, str] = {}
        self._forecasts: dict[tuple[str, datetime], VolatilityForecast | FailedForecast] = {}
        self._scores: dict[tuple[date, str, str], VolatilityScore] = {}
        self._trials: dict[str, Trial] = {}
        self._walks: dict[str, WalkForward] = {}
        self._walk_parts: dict[tuple[str, int], bytes] = {}
        self._universe: dict[date, UniverseReturn] = {}
        self._out_of_sample: dict[str, OutOfSample] = {}
        self._calibrations: dict[datetime, tuple[str, str]] = {}
        self._twins: dict[tuple[date, str], TwinOutcome] = {}
        self._drills: dict[tuple[datetime, DrillKind], Drill] = {}
        self.quotes: list[Quote] = []
        self.ticks: list[Tick] = []

    # -- evidence

    def write_bars(self, bars: Sequence[Bar]) -> None:
        """Keep bars; a repeated one is left as it was."""
        with self._turn():
            keys = [(bar.symbol, ledger.timeframe(bar), bar.start) for bar in bars]
            for key, bar in zip(keys, bars, strict=True):
                self._bars.setdefault(key, bar)

    def write_quotes(self, quotes: Sequence[Quote]) -> None:
        """Append to `quotes`."""
        with self._turn():
            self.quotes.extend(quotes)

    def write_ticks(self, ticks: Sequence[Tick]) -> None:
        """Append to `ticks`."""
        with self._turn():
            self.ticks.extend(ticks)

    def write_equity(self, marks: Sequence[EquityMark]) -> None:
        """Keep marks; a repeated instant and source is left as it was."""
        with self._turn():
            for mark in marks:
                self._equity.setdefault((mark.source, mark.at), mark)

    def write_heartbeats(self, beats: Sequence[Heartbeat]) -> None:
        """Keep beats; a repeated one is left as it was."""
        with self._turn():
            self._beats.update((beat.component, beat.at) for beat in beats)

    def write_coverage(self, coverage: Sequence[Coverage]) -> None:
        """Append coverage as read from the broker."""
        with self._turn():
            self._coverage.extend(coverage)

    def bars(self, symbol: str, timeframe: str, start: datetime, end: datetime) -> list[Bar]:
        """Stored bars with start <= bar start < end, oldest first."""
        with self._turn():
            found = [
                bar
                for (name, frame, at), bar in self._bars.items()
                if name == symbol and frame == timeframe and start <= at < end
            ]
            return sorted(found, key=lambda bar: bar.start)

    def equity(self, start: datetime, end: datetime, source: str) -> list[EquityMark]:
        """Marks in [start, end), oldest first."""
        with self._turn():
            found = [
                mark
                for (name, at), mark in self._equity.items()
                if name == source and start <= at < end
            ]
            return sorted(found, key=lambda mark: mark.at)

    def heartbeat_minutes(self, component: str, start: datetime, end: datetime) -> list[datetime]:
        """The distinct minutes (UTC, truncated) in [start, end) with a heartbeat."""
        with self._turn():
            return sorted(
                {
                    at.astimezone(UTC).replace(second=0, microsecond=0)
                    for name, at in self._beats
                    if name == component and start <= at < end
                }
            )

    def coverage(self, start: datetime, end: datetime) -> list[Coverage]:
        """Coverage rows in [start, end), oldest first."""
        with self._turn():
            found = [row for row in self._coverage if start <= row.at < end]
            return sorted(found, key=lambda row: row.at)

    def save_strategy_states(self, states: Sequence[StrategyState]) -> None:
        """Replace what is remembered of the given strategies and symbols."""
        with self._turn():
            self._states.update({(s.strategy, s.symbol): s for s in states})

    def strategy_states(self, strategy: str) -> list[StrategyState]:
        """What a strategy remembers, by symbol."""
        with self._turn():
            found = [state for state in self._states.values() if state.strategy == strategy]
            return sorted(found, key=lambda state: state.symbol)

    def save_evaluation(self, at: datetime, evaluation: Mapping[str, object]) -> None:
        """Store a readiness evaluation; a repeated instant replaces nothing."""
        text = json.dumps(dict(evaluation), allow_nan=False)
        with self._turn():
            self._evaluations.setdefault(at, text)

    def evaluations(
        self, start: datetime, end: datetime
    ) -> list[tuple[datetime, dict[str, object]]]:
        """Stored evaluations in [start, end), oldest first."""
        with self._turn():
            found = sorted((at, text) for at, text in self._evaluations.items())
            return [(at, json.loads(text)) for at, text in found if start <= at < end]

    # -- drills

    def record_drill(self, drill: Drill) -> bool:
        """Keep a drill; False where one of the same kind and instant is there already."""
        with self._turn():
            return self._drills.setdefault((drill.at, drill.kind), drill) is drill

    def drills(self, *, start: datetime | None = None, limit: int | None = 1000) -> list[Drill]:
        """Drills oldest first, the last `limit` of them."""
        with self._turn():
            found = [drill for _, drill in sorted(self._drills.items(), key=lambda item: item[0])]
            return last_of((d for d in found if start is None or d.at >= start), limit)

    # -- volatility

    def write_forecasts(self, made: Sequence[VolatilityForecast | FailedForecast]) -> None:
        """Keep forecasts and failed attempts; a repeated symbol and instant stays."""
        with self._turn():
            for row in made:
                self._forecasts.setdefault((row.symbol, row.at), row)

    def latest_forecasts(self, start: datetime, end: datetime) -> list[VolatilityForecast]:
        """The newest forecast of each symbol made in [start, end), by symbol."""
        with self._turn():
            found: dict[str, VolatilityForecast] = {}
            for (symbol, at), row in sorted(self._forecasts.items(), key=lambda item: item[0]):
                if isinstance(row, VolatilityForecast) and start <= at < end:
                    found[symbol] = row
            return list(found.values())

    def failed_forecasts(self, start: datetime, end: datetime) -> list[FailedForecast]:
        """Attempts in [start, end) that failed, oldest first."""
        with self._turn():
            rows = self._forecasts.values()
            found = [r for r in rows if isinstance(r, FailedForecast) and start <= r.at < end]
            return sorted(found, key=lambda row: (row.at, row.symbol))

    def write_volatility_scores(self, scores: Sequence[VolatilityScore]) -> None:
        """Keep scores; a repeated session, symbol and method stays."""
        with self._turn():
            for score in scores:
                self._scores.setdefault((score.session, score.symbol, score.method), score)

    def volatility_scores(self, start: date, end: date) -> list[VolatilityScore]:
        """Scores of the sessions from `start` to `end`, both included."""
        with self._turn():
            return [row for key, row in sorted(self._scores.items()) if start <= key[0] <= end]

    # -- trials

    def record_trial(self, trial: Trial) -> bool:
        """Keep a trial; False where it was there already."""
        with self._turn():
            return self._trials.setdefault(trial.trial_id, trial) is trial

    def trials(self, limit: int | None = 1000) -> list[Trial]:
        """Trials oldest first (the last `limit` of them)."""
        with self._turn():
            kept = sorted(self._trials.values(), key=lambda trial: (trial.at, trial.trial_id))
            return last_of(kept, limit)

    # -- walk-forwards

    def keep_walkforward_part(self, run_id: str, part: int, result: bytes) -> None:
        """Keep a part of a run that has not ended; a repeated one stays."""
        with self._turn():
            self._walk_parts.setdefault((run_id, part), result)

    def walkforward_parts(self, run_id: str) -> dict[int, bytes]:
        """The kept parts of a run that has not ended, by number."""
        with self._turn():
            return {n: kept for (run, n), kept in sorted(self._walk_parts.items()) if run == run_id}

    def record_walkforward(self, done: WalkForward) -> None:
        """Keep a run that ended, and let its parts go."""
        with self._turn():
            self._walks[done.run_id] = done
            for key in [key for key in self._walk_parts if key[0] == done.run_id]:
                del self._walk_parts[key]

    def walkforwards(self, limit: int | None = 1000) -> list[WalkForward]:
        """Runs that ended, oldest first (the last `limit` of them)."""
        with self._turn():
            return last_of(sorted(self._walks.values(), key=lambda w: (w.at, w.run_id)), limit)

    # -- the gate

    def write_universe_returns(self, returns: Sequence[UniverseReturn]) -> None:
        """Keep returns of the universe; a repeated day stays."""
        with self._turn():
            for row in returns:
                self._universe.setdefault(row.day, row)

    def universe_returns(self, start: date, end: date) -> list[UniverseReturn]:
        """Returns of the universe from `start` to `end`, both included."""
        with self._turn():
            return [row for day, row in sorted(self._universe.items()) if start <= day <= end]

    def record_out_of_sample(self, run: OutOfSample) -> None:
        """Keep a walk-forward's judging days; a repeated run stays."""
        with self._turn():
            self._out_of_sample.setdefault(run.run_id, run)

    def out_of_samples(self, fingerprint: str) -> list[OutOfSample]:
        """The judging days of a fingerprint's walk-forwards, oldest first."""
        with self._turn():
            found = [r for r in self._out_of_sample.values() if r.fingerprint == fingerprint]
            return sorted(found, key=lambda run: (run.at, run.run_id))

    def record_calibration(
        self, at: datetime, policy_hash: str, report: Mapping[str, object]
    ) -> None:
        """Keep how often the gate was wrong; a repeated instant stays."""
        text = json.dumps(dict(report), allow_nan=False)
        with self._turn():
            self._calibrations.setdefault(at, (policy_hash, text))

    def latest_calibration(self, now: datetime) -> tuple[datetime, str, dict[str, object]] | None:
        """The newest calibration up to `now`."""
        with self._turn():
            at = max((at for at in self._calibrations if at <= now), default=None)
            if at is None:
                return None
            policy_hash, text = self._calibrations[at]
            return at, policy_hash, json.loads(text)

    # -- twins

    def record_twin(self, outcome: TwinOutcome) -> None:
        """Keep what a session's twin came to; run again, it takes its own place."""
        with self._turn():
            self._twins[outcome.session, outcome.account_number] = outcome

    def twins(self, start: date, end: date) -> list[TwinOutcome]:
        """Outcomes of the sessions from `start` to `end`, in their order."""
        with self._turn():
            return [one for (day, _), one in sorted(self._twins.items()) if start <= day <= end]

    def _turn(self) -> threading.RLock:
        if not self.up:
            raise StoreUnavailable("the store was taken away")
        return self._lock


def last_of(rows: Iterable[_T], limit: int | None) -> list[_T]:
    found = list(rows)
    return found if limit is None else found[max(0, len(found) - limit) :]
