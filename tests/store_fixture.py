"""Stores to test on: in memory, on embedded PostgreSQL, on TimescaleDB.

`store` runs a test on each of the three, `sql_store` on the two real ones. The
servers start once a run; between tests their tables are emptied. TimescaleDB is
taken from GREENLIGHT_TEST_TIMESCALE_URL; without it those tests are skipped,
or in CI (CI=true) fail.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from cluster.services import start_postgres
from greenlight.adapters.timescale import TimescaleStore, migrate
from greenlight.testing import FakeStore

TIMESCALE_VARIABLE = "GREENLIGHT_TEST_TIMESCALE_URL"

_EMPTY = """
TRUNCATE runs, epochs, decisions, orders, fills, positions, trades, dividends, cash_movements,
         halts, strategy_states, ticks, bars, equity, heartbeats, coverage, readiness, forecasts,
         volatility_scores, trials, drills, outbox, headlines, opinions, readings,
         sentiment_state, walkforwards, walkforward_parts,
         universe_returns, out_of_sample, calibrations, twins
RESTART IDENTITY;
UPDATE chain_head SET seq = 0, row_hash = repeat('0', 64)
"""


def empty(url: str) -> None:
    """Take every row out of a migrated database."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_EMPTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server where databases can be made."""

    url: str

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        """A new, empty database, dropped afterwards."""
        name = f"greenlight_test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            yield make_conninfo(self.url, dbname=name)
        finally:
            with psycopg.connect(self.url, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """An embedded PostgreSQL of this run's own."""
    home = Path(tempfile.mkdtemp(prefix="greenlight-test-"))
    service = start_postgres(home)
    try:
        yield Server(url=service.url)
    finally:
        service.stop()
        shutil.rmtree(home)


@pytest.fixture(scope="session")
def timescale_server() -> Server:
    """The TimescaleDB that the environment names."""
    url = os.environ.get(TIMESCALE_VARIABLE)
    if url:
        return Server(url=url)
    reason = f"{TIMESCALE_VARIABLE} names no TimescaleDB"
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, and CI must not leave its tests out")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def postgres_database(postgres_server: Server) -> Iterator[str]:
    """A migrated database on the embedded PostgreSQL."""
    with postgres_server.fresh_database() as url:
        migrate(url)
        yield url


@pytest.fixture(scope="session")
def timescale_database(timescale_server: Server) -> Iterator[str]:
    """A migrated database on TimescaleDB."""
    with timescale_server.fresh_database() as url:
        migrate(url)
        yield url


SQL_STORES = [
    pytest.param("postgres", id="postgres"),
    pytest.param("timescale", id="timescale", marks=pytest.mark.timescale),
]


@pytest.fixture(params=SQL_STORES)
def database(request: pytest.FixtureRequest) -> str:
    """The address of a migrated database without rows, on each real server."""
    url: str = request.getfixturevalue(f"{request.param}_database")
    empty(url)
    return url


@pytest.fixture(params=SQL_STORES)
def server(request: pytest.FixtureRequest) -> Server:
    """Each real server."""
    found: Server = request.getfixturevalue(f"{request.param}_server")
    return found


@pytest.fixture
def sql_store(database: str) -> Iterator[TimescaleStore]:
    """An empty store on each real server."""
    found = TimescaleStore(database)
    yield found
    found.close()


@pytest.fixture(params=[pytest.param("memory", id="memory"), *SQL_STORES])
def store(request: pytest.FixtureRequest) -> Iterator[FakeStore | TimescaleStore]:
    """An empty store of each kind."""
    if request.param == "memory":
        yield FakeStore()
        return
    url: str = request.getfixturevalue(f"{request.param}_database")
    empty(url)
    found = TimescaleStore(url)
    yield found
    found.close()
