"""One replay three times: the live actors, their twin, and the compiled engine.

All three strategies trade the default data with made-up headlines, read by the lexicon.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from actors.twin import TwinDesk, decide_again
from cluster.backtest_input import history_board, open_history
from cluster.twin_input import told_desk
from greenlight.domain.audit import Decision, DecisionKind, Verdict
from greenlight.domain.backtest import DEFAULT_COSTS, Judged
from greenlight.domain.market import Unavailable, eastern_date
from greenlight.domain.twin import TwinOutcome
from greenlight.domain.volatility import VolatilityPolicy
from greenlight.settings import Settings, load_settings
from jobs.backtest import BacktestPlan, backtest
from jobs.twin import live_parity, recorded_sessions, run_twin
from tests.desk_harness import running_desk

STRATEGIES = "mean_reversion,opening_range,news_reversal"
_READ_BACK = timedelta(days=10)

Row = tuple[str | None, str | None, datetime, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What came of it: the live rows, the twins, the gate's answer, the engine's verdicts."""

    live: list[Decision]
    again: list[Decision]
    outcomes: list[TwinOutcome]
    parity: bool | Unavailable
    engine: tuple[Judged, ...]

    def live_rows(self) -> list[Row]:
        """Strategy, symbol, instant and reason of each live decision."""
        return sorted((d.strategy, d.symbol, d.at, d.reason) for d in self.live)  # type: ignore[type-var]

    def engine_rows(self) -> list[Row]:
        """The same of the engine's."""
        rows = [
            (j.strategy, j.symbol, j.at, ", ".join(j.refused_by) or "all rules passed")
            for j in self.engine
        ]
        return sorted(rows)  # type: ignore[arg-type]

    def quantities(self) -> list[tuple[int, int]]:
        """Shares of what both took: live and engine."""
        taken = {(j.strategy, j.symbol, j.at): j.qty for j in self.engine if not j.refused_by}
        return [
            (int(str(d.figures["qty"])), taken[d.strategy, d.symbol, d.at])  # type: ignore[index]
            for d in self.live
            if d.verdict is Verdict.TAKEN and (d.strategy, d.symbol, d.at) in taken
        ]


def compare(home: Path, start: str, end: str) -> Compared:
    """Replay the days through the live actors, then decide them again twice."""
    asked: Mapping[str, Any] = {
        "start": start,
        "end": end,
        "strategies": STRATEGIES,
        "sentiment": "lexicon",
        "headlines": "synthetic",
    }
    settings = load_settings(home=home, **asked)
    with running_desk(home, **asked) as running:
        running.finish(timeout_s=540)
        store = running.store()
        run, first = store.latest_run(), store.first_run()
        assert run is not None
        assert first is not None
        told = told_desk(settings, store, first, None)
        at = datetime(2100, 1, 1, tzinfo=UTC)
        outcomes = run_twin(
            store,
            lambda a, b: decide_again(store, told, a, b),
            recorded_sessions(store, first.started_at, at),
            at=at,
            fingerprint=run.fingerprint,
        )
        for outcome in outcomes:
            store.record_twin(outcome)
        closes = store.equity(run.started_at, at, "broker")
        found = Compared(
            live=[r.decision for r in store.decisions(kind=DecisionKind.ENTRY, limit=None)],
            again=decide_again(store, told, settings.start, settings.end),
            outcomes=outcomes,
            parity=live_parity(store, run, run.started_at, closes[-1].at),
            engine=_engine(settings, told),
        )
        store.close()
    return found


def _engine(settings: Settings, told: TwinDesk) -> tuple[Judged, ...]:
    board = history_board(settings, told.strategies, open_history(settings.source))
    scores: dict[str, dict[Any, float]] = {}
    for session in board.sessions:
        for symbol in board.market.symbols:
            if session.day >= settings.start - _READ_BACK:
                found = told.sentiment.read(symbol, session.close)
                if not isinstance(found, Unavailable):
                    scores.setdefault(symbol, {})[eastern_date(session.close)] = found.score
    plan = BacktestPlan(
        strategies=tuple(told.strategies),
        start=settings.start,
        limits=settings.limits(),
        costs=DEFAULT_COSTS,
        entry=settings.entry_policy(),
        start_cash_usd=settings.start_cash_usd,
        policy=VolatilityPolicy(),
    )
    return backtest(replace(board, scores=scores), plan).judged
