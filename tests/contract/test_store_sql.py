"""What the store on a real server promises beyond the contract.

Migrations, layout, concurrency, a transaction cut in the middle, a server
that goes away, and a chain that somebody changed by hand.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psutil
import psycopg
import pytest

from cluster.services import start_postgres
from greenlight.adapters import timescale_schema as schema
from greenlight.adapters.timescale import TimescaleStore, migrate
from greenlight.domain.audit import first_broken
from greenlight.domain.market import Quote, Tick
from greenlight.domain.orders import Side
from greenlight.ports import FencedError, SchemaError, StoreUnavailable
from tests.ledger_cases import T0, bar, decision, fill, intent, minute, open_position, send_entry
from tests.store_fixture import Server, empty

FREE = Decimal(0)


def ask(url: str, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(sql.encode()).fetchall()


def do(url: str, sql: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.encode())


def await_true(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def _is_waiting_for_a_lock(database: str) -> bool:
    sql = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return ask(database, sql) != [(0,)]


# -- migrations and layout


def test_migrate_when_run_twice_then_the_second_changes_nothing(server: Server) -> None:
    catalogue = (
        "SELECT table_name::text, column_name::text, data_type::text "
        "FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
    )
    with server.fresh_database() as url:
        first = migrate(url)
        tables, done = ask(url, catalogue), ask(url, "SELECT * FROM schema_migrations")
        assert migrate(url) == first
        assert ask(url, catalogue) == tables
        assert ask(url, "SELECT * FROM schema_migrations") == done
        assert len(done) == schema.latest_version()


@pytest.mark.parametrize("version", range(schema.latest_version()))
def test_migrate_when_at_an_earlier_version_then_forward_with_its_rows(
    server: Server, version: int
) -> None:
    with server.fresh_database() as url:
        migrate(url, target=version)
        if version >= 1:
            do(url, "INSERT INTO epochs VALUES ('desk', 41)")
        migrate(url)
        store = TimescaleStore(url)
        assert store.take_epoch("desk") == (42 if version >= 1 else 1)
        store.write_bars([bar()])
        assert store.bars("AAPL", "1Min", T0, minute(1)) == [bar()]
        store.close()


def test_migrate_when_schema_is_newer_then_refused_with_both_versions(server: Server) -> None:
    known = schema.latest_version()
    with server.fresh_database() as url:
        migrate(url)
        do(url, f"INSERT INTO schema_migrations VALUES ({known + 3}, 'later', 'c')")
        with pytest.raises(SchemaError, match=rf"version {known + 3}.* up to {known}"):
            migrate(url)
        store = TimescaleStore(url)
        with pytest.raises(SchemaError, match=rf"version {known + 3}.* up to {known}"):
            store.latest_run()
        store.close()


def test_store_when_never_migrated_then_refused(server: Server) -> None:
    with server.fresh_database() as url:
        store = TimescaleStore(url)
        with pytest.raises(SchemaError, match="version 0"):
            store.latest_run()
        migrate(url)
        assert store.latest_run() is None
        store.close()


def test_migrate_when_a_done_step_was_changed_then_refused(server: Server) -> None:
    with server.fresh_database() as url:
        migrate(url)
        do(url, "UPDATE schema_migrations SET checksum = 'other' WHERE version = 1")
        with pytest.raises(SchemaError, match="migration 1 "):
            migrate(url)


def test_migrate_when_two_run_at_once_then_both_succeed(server: Server) -> None:
    with server.fresh_database() as url, ThreadPoolExecutor(2) as pool:
        layouts = list(pool.map(migrate, [url, url]))
        assert layouts[0] == layouts[1]
        assert ask(url, "SELECT count(*) FROM schema_migrations") == [(schema.latest_version(),)]


def test_migrate_when_a_step_fails_then_it_leaves_nothing(server: Server) -> None:
    with server.fresh_database() as url:
        migrate(url, target=1)
        do(url, "CREATE TABLE readiness (mine text)")  # the second step wants that name
        with pytest.raises(psycopg.errors.DuplicateTable):
            migrate(url)
        assert ask(url, "SELECT max(version), to_regclass('bars') FROM schema_migrations") == [
            (1, None)
        ]
        do(url, "DROP TABLE readiness")
        migrate(url)
        assert ask(url, "SELECT max(version) FROM schema_migrations") == [
            (schema.latest_version(),)
        ]


def test_layout_when_plain_then_block_range_indexes(postgres_database: str) -> None:
    store = TimescaleStore(postgres_database)
    assert store.describe() == "plain"
    store.close()
    found = ask(
        postgres_database,
        "SELECT tablename::text FROM pg_indexes WHERE indexdef LIKE '%USING brin%' ORDER BY 1",
    )
    assert found == [("bars",), ("equity",), ("heartbeats",), ("ticks",)]


def _plan_of_bars(url: str, start: datetime, end: datetime) -> str:
    query = schema.named_queries("queries.sql")["bars"]
    given = {"symbol": "AAPL", "timeframe": "1Min", "start": start, "end": end}
    with (
        psycopg.connect(url, autocommit=True) as connection,
        psycopg.ClientCursor(connection) as cursor,
    ):
        cursor.execute(f"EXPLAIN (COSTS OFF) {query}".encode(), given)
        return "\n".join(str(row[0]) for row in cursor.fetchall())


def _write_three_years(url: str) -> None:
    store = TimescaleStore(url)
    store.write_bars([bar(1440 * day) for day in range(0, 3 * 365, 5)])
    store.close()
    do(url, "ANALYZE bars")


def test_bars_when_a_window_is_asked_for_then_found_by_the_index_and_bounded_by_it(
    postgres_database: str,
) -> None:
    empty(postgres_database)
    _write_three_years(postgres_database)
    plan = _plan_of_bars(postgres_database, T0 + timedelta(days=400), T0 + timedelta(days=420))
    assert "Seq Scan" not in plan
    condition = next(line for line in plan.splitlines() if "Index Cond" in line)
    assert "starts_at >=" in condition
    assert "starts_at <" in condition


@pytest.mark.timescale
def test_bars_when_a_window_is_asked_for_then_only_its_chunks_are_touched(
    timescale_database: str,
) -> None:
    empty(timescale_database)
    _write_three_years(timescale_database)
    start, end = T0 + timedelta(days=400), T0 + timedelta(days=420)
    plan = _plan_of_bars(timescale_database, start, end)
    chunks = ask(
        timescale_database,
        "SELECT chunk_name::text, range_start, range_end FROM timescaledb_information.chunks "
        "WHERE hypertable_name = 'bars'",
    )
    inside = {name for name, first, last in chunks if first < end and last > start}  # type: ignore[operator]
    touched = {name for name, _, _ in chunks if str(name) in plan}
    assert touched == inside
    assert 1 <= len(touched) <= 2 < 12 <= len(chunks)


@pytest.mark.timescale
def test_layout_when_timescaledb_then_exactly_four_hypertables(timescale_database: str) -> None:
    store = TimescaleStore(timescale_database)
    licence = ask(timescale_database, "SELECT current_setting('timescaledb.license')")[0][0]
    expected = {"apache": "timescale-apache", "timescale": "timescale-community"}
    assert store.describe() == expected[str(licence)]
    store.close()
    found = ask(
        timescale_database,
        "SELECT hypertable_name::text FROM timescaledb_information.hypertables ORDER BY 1",
    )
    assert found == [("bars",), ("equity",), ("heartbeats",), ("ticks",)]


@pytest.mark.timescale
def test_migrate_when_extension_comes_later_then_rows_move_into_hypertables(
    timescale_server: Server,
) -> None:
    with timescale_server.fresh_database() as url:
        migrate(url, target=schema.latest_version() - 1)
        with schema.connect(url, 5) as connection:
            for step in schema.migrations()[-1:]:
                connection.execute(step.sql.encode())
                connection.execute(
                    "INSERT INTO schema_migrations VALUES (%s, %s, %s)",
                    (step.version, step.name, step.checksum),
                )
        store = TimescaleStore(url)
        assert store.describe() == "plain"
        store.write_bars([bar(0), bar(1)])
        assert migrate(url) != "plain"
        assert store.bars("AAPL", "1Min", T0, minute(9)) == [bar(0), bar(1)]
        store.write_bars([bar(1), bar(2)])
        assert len(store.bars("AAPL", "1Min", T0, minute(9))) == 3
        store.close()


def test_minute_bars_when_prints_are_recorded_then_first_max_min_last_sum(
    sql_store: TimescaleStore, database: str
) -> None:
    sql_store.write_quotes([Quote(symbol="AAPL", at=T0, bid=1.0, ask=2.0, bid_size=1, ask_size=1)])
    prints = [(30, 101.0, 5), (0, 100.0, 10), (59.9, 99.0, 20), (60, 98.0, 1)]
    sql_store.write_ticks(
        [Tick(symbol="AAPL", at=minute(s / 60), price=p, size=n) for s, p, n in prints]
    )
    found = ask(
        database,
        "SELECT open, high, low, close, volume FROM minute_bars ORDER BY starts_at",
    )
    assert found == [(100.0, 101.0, 99.0, 99.0, 35), (98.0, 98.0, 98.0, 98.0, 1)]


def test_write_quotes_when_recorded_then_every_value_is_in_its_column(
    sql_store: TimescaleStore, database: str
) -> None:
    sql_store.write_quotes(
        [Quote(symbol="AAPL", at=T0, bid=99.99, ask=100.01, bid_size=3, ask_size=4)]
    )
    found = ask(database, "SELECT symbol, at, bid, ask, bid_size, ask_size, price, size FROM ticks")
    assert found == [("AAPL", T0, 99.99, 100.01, 3, 4, None, None)]


# -- several at once


def test_book_fill_when_two_threads_book_the_same_then_once(sql_store: TimescaleStore) -> None:
    send_entry(sql_store, qty=40)
    for number in range(1, 21):
        again = fill(qty=2, cum_qty=2 * number)
        barrier = threading.Barrier(2)

        def book(_: int, again=again, barrier=barrier) -> bool:  # type: ignore[no-untyped-def]
            barrier.wait()
            return sql_store.book_fill(again, FREE).is_duplicate

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(book, range(2))) == [False, True]
    position = sql_store.position("AAPL")
    assert position is not None
    assert position.qty == sum(f.qty for f in sql_store.fills()) == 40


def test_book_fill_when_threads_book_different_ones_then_none_is_lost(
    sql_store: TimescaleStore,
) -> None:
    fills = [fill(f"o{n}", qty=n, at=minute(n)) for n in range(1, 21)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: sql_store.book_fill(one, FREE), fills))
    position = sql_store.position("AAPL")
    assert position is not None
    assert position.qty == 210


def test_record_decision_when_threads_append_then_one_unbroken_chain(
    sql_store: TimescaleStore,
) -> None:
    names = [f"d{n}" for n in range(40)] * 2
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda name: sql_store.record_decision(decision(name)), names))
    assert sum(made) == 40
    rows = sql_store.decisions()
    assert [row.seq for row in rows] == list(range(1, 41))
    assert first_broken(rows) is None


def test_take_epoch_when_an_intent_is_being_recorded_then_it_waits(
    sql_store: TimescaleStore, database: str
) -> None:
    sql_store.take_epoch("desk")
    with psycopg.connect(database) as blocker, ThreadPoolExecutor(2) as pool:
        blocker.execute("LOCK TABLE orders IN EXCLUSIVE MODE")
        sent = pool.submit(sql_store.record_intent, intent(), decision())
        await_true(lambda: _is_waiting_for_a_lock(database))
        taken = pool.submit(sql_store.take_epoch, "desk")
        time.sleep(0.1)
        assert not taken.done()
        blocker.rollback()
        assert sent.result(10)
        assert taken.result(10) == 2
    with pytest.raises(FencedError):
        sql_store.record_intent(intent("gl-second"), None)


# -- cut in the middle


def test_book_fill_when_the_connection_is_cut_inside_then_all_or_nothing(
    sql_store: TimescaleStore, database: str
) -> None:
    open_position(sql_store)
    before = sql_store.position("AAPL")
    sell = fill("o-stop", side=Side.SELL, price="95", at=minute(9))
    with psycopg.connect(database) as blocker, ThreadPoolExecutor(1) as pool:
        # The trade is the last row a closing fill writes.
        blocker.execute("LOCK TABLE trades IN EXCLUSIVE MODE")
        booking = pool.submit(sql_store.book_fill, sell, FREE)
        await_true(lambda: _is_waiting_for_a_lock(database))
        do(
            database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        with pytest.raises(StoreUnavailable):
            booking.result(10)
    assert sql_store.position("AAPL") == before
    assert len(sql_store.fills()) == 1
    assert sql_store.trades() == []
    done = sql_store.book_fill(sell, FREE)
    assert not done.is_duplicate
    assert done.trade is not None
    assert sql_store.book_fill(sell, FREE).is_duplicate


def test_record_intent_when_the_connection_is_cut_inside_then_no_decision_either(
    sql_store: TimescaleStore, database: str
) -> None:
    sql_store.take_epoch("desk")
    with psycopg.connect(database) as blocker, ThreadPoolExecutor(1) as pool:
        blocker.execute("LOCK TABLE orders IN EXCLUSIVE MODE")
        sent = pool.submit(sql_store.record_intent, intent(), decision())
        await_true(lambda: _is_waiting_for_a_lock(database))
        do(
            database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        with pytest.raises(StoreUnavailable):
            sent.result(10)
    assert sql_store.decisions() == []
    assert sql_store.record_intent(intent(), decision())
    assert first_broken(sql_store.decisions()) is None


# -- changed by hand


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE decisions SET reason = 'better' WHERE seq = 3",
        "UPDATE decisions SET figures = '{\"rsi\": 31}' WHERE seq = 3",
        "UPDATE decisions SET at = at + interval '1 microsecond' WHERE seq = 3",
        "UPDATE decisions SET previous_hash = row_hash WHERE seq = 3",
        "DELETE FROM decisions WHERE seq = 2",
    ],
)
def test_chain_when_a_row_was_changed_by_hand_then_the_row_is_found(
    sql_store: TimescaleStore, database: str, change: str
) -> None:
    for number in range(5):
        sql_store.record_decision(decision(f"d{number}", figures={"rsi": 30.5}))
    assert first_broken(sql_store.decisions(limit=None)) is None
    do(database, change)
    broken = first_broken(sql_store.decisions(limit=None))
    assert broken is not None
    assert broken.seq == 3


def test_order_when_its_row_is_corrupt_then_raises(
    sql_store: TimescaleStore, database: str
) -> None:
    send_entry(sql_store)
    do(database, "UPDATE orders SET status = 'perhaps'")
    with pytest.raises(ValueError, match="perhaps"):
        sql_store.order("gl-entry")


# -- a server that goes away


def test_store_when_connections_were_cut_while_idle_then_the_next_call_works(
    sql_store: TimescaleStore, database: str
) -> None:
    sql_store.take_epoch("desk")
    do(
        database,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    time.sleep(0.1)
    assert sql_store.take_epoch("desk") == 2


def test_store_when_every_connection_is_taken_then_unavailable_in_time(database: str) -> None:
    store = TimescaleStore(database, pool_max=1, connect_timeout_s=0.2)
    store.take_epoch("desk")
    with psycopg.connect(database) as blocker, ThreadPoolExecutor(1) as pool:
        blocker.execute("LOCK TABLE epochs IN ACCESS EXCLUSIVE MODE")
        waiting = pool.submit(store.take_epoch, "desk")
        await_true(lambda: _is_waiting_for_a_lock(database))
        with pytest.raises(StoreUnavailable, match="no connection was free"):
            store.latest_run()
        blocker.rollback()
        assert waiting.result(10) == 2
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.latest_run()


def test_store_when_a_statement_takes_too_long_then_unavailable_but_a_bulk_load_may(
    database: str,
) -> None:
    store = TimescaleStore(database, deadline_s=1)
    store.take_epoch("desk")
    many = [bar(number) for number in range(5001)]
    with psycopg.connect(database) as blocker, ThreadPoolExecutor(1) as pool:
        blocker.execute("LOCK TABLE bars IN ACCESS EXCLUSIVE MODE")
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable, match="timeout"):
            store.write_bars([bar()])
        assert time.monotonic() - begun < 1
        loading = pool.submit(store.write_bars, many)
        time.sleep(1.5)
        blocker.rollback()
        loading.result(10)
    assert len(store.bars("AAPL", "1Min", T0, minute(5001))) == 5001
    # The connection is held to the deadline again.
    with psycopg.connect(database) as blocker:
        blocker.execute("LOCK TABLE bars IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreUnavailable, match="timeout"):
            store.write_bars([bar()])
    store.close()


@pytest.fixture
def own_home(tmp_path: Path) -> Iterator[Path]:
    """A home folder whose server a test may stop and start."""
    yield tmp_path
    start_postgres(tmp_path).stop()


def test_store_when_the_server_is_down_then_unavailable_and_back_at_once(own_home: Path) -> None:
    service = start_postgres(own_home)
    migrate(service.url)
    store = TimescaleStore(service.url)
    open_position(store)
    service.stop()
    for call in (
        store.open_positions,
        lambda: store.record_decision(decision("d2")),
        lambda: store.write_bars([bar()]),
        store.describe,
    ):
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable):
            call()
        assert time.monotonic() - begun < 5
    with pytest.raises(StoreUnavailable):
        TimescaleStore(service.url).latest_run()
    start_postgres(own_home)
    position = store.position("AAPL")
    assert position is not None
    assert position.qty == 10
    assert store.record_decision(decision("d2"))
    store.close()


def test_store_when_the_server_hangs_then_unavailable_within_the_deadline(own_home: Path) -> None:
    service = start_postgres(own_home)
    migrate(service.url)
    store = TimescaleStore(service.url, connect_timeout_s=2, deadline_s=1)
    open_position(store)

    def facts() -> object:
        return store.judging_facts("d", minute(1), entries_since=T0, equity_since=T0, trades=1)

    facts()
    first = psutil.Process(service.pid)
    family = [first, *first.children(recursive=True)]
    for process in family:
        process.suspend()
    try:
        # The first call, of several reads at once, finds an open connection; the
        # second must open one.
        for call, limit_s in ((facts, 1.5), (store.open_positions, 2.5)):
            begun = time.monotonic()
            with pytest.raises(StoreUnavailable):
                call()
            assert time.monotonic() - begun < limit_s
        with pytest.raises(StoreUnavailable):
            store.record_decision(decision("d2"))
    finally:
        for process in family:
            process.resume()
    assert [p.qty for p in store.open_positions()] == [10]
    assert store.record_decision(decision("d2"))
    store.close()


def test_store_when_nothing_ever_listened_then_unavailable(tmp_path: Path) -> None:
    store = TimescaleStore(f"postgresql://postgres@/x?host={tmp_path}")
    with pytest.raises(StoreUnavailable):
        store.latest_run()
    with pytest.raises(StoreUnavailable):
        migrate(f"postgresql://postgres@/x?host={tmp_path}")
