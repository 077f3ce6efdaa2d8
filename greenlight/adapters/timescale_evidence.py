"""The store's evidence: what was seen, measured and remembered; and its statements.

Before it stand the recorder, the strategist and the nightly work; after it
metrics, readiness and the pages. `timescale` adds the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, datetime
from typing import Any, Final

import psycopg

from greenlight.adapters import timescale_bulk as bulk
from greenlight.adapters import timescale_rows as rows
from greenlight.adapters import timescale_schema as schema
from greenlight.adapters.timescale_pool import BULK_S, Connection, ConnectionPool
from greenlight.domain import ledger
from greenlight.domain.drills import Drill
from greenlight.domain.evidence_rows import OutOfSample, UniverseReturn
from greenlight.domain.forecasts import FailedForecast, VolatilityForecast, VolatilityScore
from greenlight.domain.market import Bar, Quote, Tick
from greenlight.domain.trials import Trial, WalkForward
from greenlight.domain.twin import TwinOutcome
from greenlight.ports import (
    Coverage,
    EquityMark,
    Heartbeat,
    StrategyState,
)

_BULK_ROWS: Final = 5000
"""A call with more rows is a bulk load, which may take longer."""


class EvidenceTables:
    """The connections, and the tables that no order depends on."""

    def __init__(
        self,
        url: str,
        *,
        pool_max: int = 4,
        connect_timeout_s: float = 5,
        deadline_s: float = BULK_S,
    ) -> None:
        self._queries = schema.named_queries("queries.sql")
        self._pool = ConnectionPool(
            url,
            size=pool_max,
            timeout_s=connect_timeout_s,
            deadline_s=deadline_s,
            on_first=schema.check_version,
        )
        # Evidence that can be made again: a round trip less for each write, and no disk.
        self._evidence_pool = ConnectionPool(
            url,
            size=1,
            timeout_s=connect_timeout_s,
            deadline_s=deadline_s,
            on_first=schema.check_version,
            is_durable=False,
        )

    def close(self) -> None:
        """Close the connections; later calls raise `StoreUnavailable`."""
        self._pool.close()
        self._evidence_pool.close()

    def describe(self) -> str:
        """What was found: "plain", "timescale-apache" or "timescale-community"."""
        with self._pool.borrow() as connection:
            return schema.describe(connection)

    # -- evidence

    def write_bars(self, bars: Sequence[Bar]) -> None:
        """Bulk; a repeated bar is left as it was."""
        values = (
            (
                b.symbol,
                ledger.timeframe(b),
                b.start,
                b.end,
                b.open,
                b.high,
                b.low,
                b.close,
                b.volume,
            )
            for b in bars
        )
        if bars:
            is_bulk = len(bars) > _BULK_ROWS
            self._copy_new(bulk.BARS, values, is_durable=False, is_bulk=is_bulk)

    def write_quotes(self, quotes: Sequence[Quote]) -> None:
        """Bulk append into the ticks table."""
        values = ((q.symbol, q.at, q.bid, q.ask, q.bid_size, q.ask_size) for q in quotes)
        if quotes:
            self._copy(bulk.QUOTES, values, is_bulk=len(quotes) > _BULK_ROWS)

    def write_ticks(self, ticks: Sequence[Tick]) -> None:
        """Bulk append into the ticks table."""
        values = ((t.symbol, t.at, t.price, t.size) for t in ticks)
        if ticks:
            self._copy(bulk.TICKS, values, is_bulk=len(ticks) > _BULK_ROWS)

    def write_equity(self, marks: Sequence[EquityMark]) -> None:
        """Bulk; a repeated instant and source is left as it was."""
        values = ((m.at, m.source, m.equity_usd, m.cash_usd, m.exposure_usd) for m in marks)
        if marks:
            self._copy_new(bulk.EQUITY, values, is_durable=True)

    def write_heartbeats(self, beats: Sequence[Heartbeat]) -> None:
        """Bulk; a repeated beat is left as it was."""
        values = ((b.component, b.at) for b in beats)
        if beats:
            self._copy_new(bulk.HEARTBEATS, values, is_durable=False)

    def write_coverage(self, coverage: Sequence[Coverage]) -> None:
        """Append coverage as read from the broker."""
        values = ((c.position_id, c.symbol, c.at, c.position_qty, c.covered_qty) for c in coverage)
        if coverage:
            self._copy(bulk.COVERAGE, values)

    def bars(self, symbol: str, timeframe: str, start: datetime, end: datetime) -> list[Bar]:
        """Stored bars with start <= bar start < end, oldest first."""
        found = self._read("bars", symbol=symbol, timeframe=timeframe, start=start, end=end)
        return [rows.bar_of(row) for row in found]

    def equity(self, start: datetime, end: datetime, source: str) -> list[EquityMark]:
        """Marks in [start, end), oldest first."""
        return [
            rows.mark_of(row) for row in self._read("equity", start=start, end=end, source=source)
        ]

    def heartbeat_minutes(self, component: str, start: datetime, end: datetime) -> list[datetime]:
        """The distinct minutes (UTC, truncated) in [start, end) with a heartbeat."""
        found = self._read("heartbeat_minutes", component=component, start=start, end=end)
        return [rows.utc(row[0]) for row in found]

    def coverage(self, start: datetime, end: datetime) -> list[Coverage]:
        """Coverage rows in [start, end), oldest first."""
        return [rows.coverage_of(row) for row in self._read("coverage", start=start, end=end)]

    # -- strategy memory, evaluations

    def save_strategy_states(self, states: Sequence[StrategyState]) -> None:
        """Replace what is remembered of the given strategies and symbols."""
        values = [
            {"strategy": s.strategy, "symbol": s.symbol, "at": s.at, "figures": list(s.values)}
            for s in states
        ]
        self._write_many("upsert_strategy_state", values)

    def strategy_states(self, strategy: str) -> list[StrategyState]:
        """What a strategy remembers, by symbol."""
        return [rows.state_of(row) for row in self._read("strategy_states", strategy=strategy)]

    def save_evaluation(self, at: datetime, evaluation: Mapping[str, object]) -> None:
        """Store a readiness evaluation; a repeated instant replaces nothing."""
        self._write("insert_evaluation", at=at, evaluation=rows.json_text(dict(evaluation)))

    def evaluations(
        self, start: datetime, end: datetime
    ) -> list[tuple[datetime, dict[str, object]]]:
        """Stored evaluations in [start, end), oldest first."""
        found = self._read("evaluations", start=start, end=end)
        return [(rows.utc(row[0]), row[1]) for row in found]

    # -- drills

    def record_drill(self, drill: Drill) -> bool:
        """Store a drill; False where one of the same kind and instant is there already."""
        with self._pool.borrow() as connection:
            return self._run(connection, "insert_drill", rows.drill_values(drill)).rowcount == 1

    def drills(self, *, start: datetime | None = None, limit: int | None = 1000) -> list[Drill]:
        """Drills oldest first, the last `limit` of them."""
        return [rows.drill_of(row) for row in self._read("drills", start=start, limit=limit)]

    # -- volatility

    def write_forecasts(self, made: Sequence[VolatilityForecast | FailedForecast]) -> None:
        """Store forecasts and failed attempts; a repeated symbol and instant stays."""
        self._write_many("insert_forecast", [rows.forecast_values(row) for row in made])

    def latest_forecasts(self, start: datetime, end: datetime) -> list[VolatilityForecast]:
        """The newest forecast of each symbol made in [start, end), by symbol."""
        found = self._read("latest_forecasts", start=start, end=end)
        return [rows.forecast_of(row) for row in found]

    def failed_forecasts(self, start: datetime, end: datetime) -> list[FailedForecast]:
        """Attempts in [start, end) that failed, oldest first."""
        found = self._read("failed_forecasts", start=start, end=end)
        return [rows.failed_forecast_of(row) for row in found]

    def write_volatility_scores(self, scores: Sequence[VolatilityScore]) -> None:
        """Store scores; a repeated session, symbol and method stays."""
        self._write_many("insert_volatility_score", [rows.score_values(row) for row in scores])

    def volatility_scores(self, start: date, end: date) -> list[VolatilityScore]:
        """Scores of the sessions from `start` to `end`, both included."""
        found = self._read("volatility_scores", start=start, end=end)
        return [rows.score_of(row) for row in found]

    # -- trials

    def record_trial(self, trial: Trial) -> bool:
        """Keep a trial; False where it was there already."""
        with self._pool.borrow() as connection:
            return self._one(connection, "insert_trial", **rows.trial_values(trial)) is not None

    def trials(self, limit: int | None = 1000) -> list[Trial]:
        """Trials oldest first (the last `limit` of them)."""
        return [rows.trial_of(row) for row in self._read("trials", limit=limit)]

    # -- walk-forwards

    def keep_walkforward_part(self, run_id: str, part: int, result: bytes) -> None:
        """Keep a part of a run that has not ended; a repeated one stays."""
        self._write("insert_walkforward_part", run_id=run_id, part=part, result=result)

    def walkforward_parts(self, run_id: str) -> dict[int, bytes]:
        """The kept parts of a run that has not ended, by number."""
        found = self._read("walkforward_parts", run_id=run_id)
        return {part: bytes(result) for part, result in found}

    def record_walkforward(self, done: WalkForward) -> None:
        """Keep a run that ended, and let its parts go."""
        self._write("upsert_walkforward", **rows.walkforward_values(done))

    def walkforwards(self, limit: int | None = 1000) -> list[WalkForward]:
        """Runs that ended, oldest first (the last `limit` of them)."""
        return [rows.walkforward_of(row) for row in self._read("walkforwards", limit=limit)]

    # -- the gate

    def write_universe_returns(self, returns: Sequence[UniverseReturn]) -> None:
        """Store returns of the universe; a repeated day stays."""
        values = [{"day": r.day, "frac": r.frac, "symbols": r.symbols} for r in returns]
        self._write_many("insert_universe_return", values)

    def universe_returns(self, start: date, end: date) -> list[UniverseReturn]:
        """Returns of the universe from `start` to `end`, both included."""
        found = self._read("universe_returns", start=start, end=end)
        return [UniverseReturn(day=row[0], frac=row[1], symbols=row[2]) for row in found]

    def record_out_of_sample(self, run: OutOfSample) -> None:
        """Keep a walk-forward's judging days; a repeated run stays."""
        self._write("insert_out_of_sample", **rows.out_of_sample_values(run))

    def out_of_samples(self, fingerprint: str) -> list[OutOfSample]:
        """The judging days of a fingerprint's walk-forwards, oldest first."""
        found = self._read("out_of_samples", fingerprint=fingerprint)
        return [rows.out_of_sample_of(row) for row in found]

    def record_calibration(
        self, at: datetime, policy_hash: str, report: Mapping[str, object]
    ) -> None:
        """Keep how often the gate was wrong; a repeated instant stays."""
        text = rows.json_text(dict(report))
        self._write("insert_calibration", at=at, policy_hash=policy_hash, report=text)

    def latest_calibration(self, now: datetime) -> tuple[datetime, str, dict[str, object]] | None:
        """The newest calibration up to `now`."""
        for at, policy_hash, report in self._read("latest_calibration", now=now):
            return rows.utc(at), policy_hash, report
        return None

    # -- twins

    def record_twin(self, outcome: TwinOutcome) -> None:
        """Keep what a session's twin came to; run again, it takes its own place."""
        self._write("upsert_twin", **rows.twin_values(outcome))

    def twins(self, start: date, end: date) -> list[TwinOutcome]:
        """Outcomes of the sessions from `start` to `end`, in their order."""
        return [rows.twin_of(row) for row in self._read("twins", start=start, end=end)]

    # -- one statement

    def _run(
        self, connection: Connection, query: str, values: Mapping[str, Any]
    ) -> psycopg.Cursor[tuple[Any, ...]]:
        return connection.execute(self._queries[query], values)

    def _one(self, connection: Connection, query: str, **values: Any) -> rows.Row | None:
        return self._run(connection, query, values).fetchone()

    def _read(self, query: str, **values: Any) -> list[rows.Row]:
        with self._pool.borrow() as connection, connection.cursor(binary=True) as cursor:
            return cursor.execute(self._queries[query], values).fetchall()

    def _read_together(self, *asked: tuple[str, Mapping[str, Any]]) -> list[list[rows.Row]]:
        """Several reads in one round trip, each on its own: no common snapshot."""
        with self._pool.borrow() as connection, ExitStack() as stack:
            cursors = [stack.enter_context(connection.cursor(binary=True)) for _ in asked]
            with connection.pipeline():
                for cursor, (query, values) in zip(cursors, asked, strict=True):
                    cursor.execute(self._queries[query], values)
            return [cursor.fetchall() for cursor in cursors]

    def _write(self, query: str, **values: Any) -> None:
        with self._pool.borrow() as connection:
            self._run(connection, query, values)

    def _write_many(self, query: str, values: Sequence[Mapping[str, Any]]) -> None:
        if values:
            with self._transaction(is_durable=False) as connection, connection.cursor() as cursor:
                cursor.executemany(self._queries[query], values)

    @contextmanager
    def _transaction(
        self, *, is_durable: bool = True, is_bulk: bool = False
    ) -> Iterator[Connection]:
        pool = self._pool if is_durable else self._evidence_pool
        with pool.borrow(is_bulk=is_bulk) as connection, connection.transaction():
            yield connection

    # -- bulk

    def _copy(
        self, table: bulk.BulkTable, values: Iterable[rows.Row], *, is_bulk: bool = False
    ) -> None:
        with self._evidence_pool.borrow(is_bulk=is_bulk) as connection:
            bulk.copy_rows(connection, table, values)

    def _copy_new(
        self,
        table: bulk.BulkTable,
        values: Iterable[rows.Row],
        *,
        is_durable: bool,
        is_bulk: bool = False,
    ) -> None:
        with self._transaction(is_durable=is_durable, is_bulk=is_bulk) as connection:
            bulk.copy_new_rows(connection, table, values)
