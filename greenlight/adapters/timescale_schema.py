"""The store's schema: numbered migrations, and how the large tables lie on disk.

`migrate` runs once when the desk comes up, before any actor opens the store;
`timescale.py` checks the version that it left. Which of three layouts a server
gets is decided here: plain PostgreSQL with block-range indexes, TimescaleDB
under the Apache licence (hypertables), or under the Timescale licence
(compression, a continuous aggregate and retention besides).
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Final

import psycopg
from psycopg.abc import RV, PQGen

from greenlight.ports import SchemaError, StoreUnavailable

_log = logging.getLogger(__name__)

PLAIN: Final = "plain"
APACHE: Final = "timescale-apache"
COMMUNITY: Final = "timescale-community"
HYPERTABLES: Final = ("bars", "equity", "heartbeats", "ticks")
"""Tables that become hypertables where TimescaleDB is there."""

_LOCK_KEY: Final = 0x677265656E  # "green": one migration at a time on a database
_MIGRATION: Final = re.compile(r"(\d{4})_(\w+)\.sql")
_NAME: Final = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)

_INTERVAL_S: Final = 0.1
"""Between two looks at signals, as psycopg has it."""

_RECORD: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL
)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One numbered step of the schema."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the step's text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def _read(name: str) -> str:
    return resources.files("greenlight.adapters.sql").joinpath(name).read_text("utf-8")


@lru_cache(maxsize=1)
def migrations() -> tuple[Migration, ...]:
    """All steps, in order.

    Raises
    ------
    SchemaError
        The numbers do not run 1, 2, 3 … without a gap.
    """
    found = []
    for entry in resources.files("greenlight.adapters.sql").iterdir():
        if match := _MIGRATION.fullmatch(entry.name):
            found.append(Migration(version=int(match[1]), name=match[2], sql=_read(entry.name)))
    found.sort(key=lambda step: step.version)
    if [step.version for step in found] != list(range(1, len(found) + 1)):
        raise SchemaError(f"migrations are not numbered in a row: {[s.version for s in found]}")
    return tuple(found)


@lru_cache(maxsize=8)
def named_queries(file: str) -> dict[str, str]:
    """The statements of an SQL file by the name in the comment above each."""
    parts = _NAME.split(_read(file))
    names, bodies = parts[1::2], parts[2::2]
    if len(set(names)) != len(names):
        raise SchemaError(f"{file} names a query twice")
    queries = {}
    for name, body in zip(names, bodies, strict=True):
        lines = [line for line in body.splitlines() if not line.startswith("--")]
        queries[name] = "\n".join(lines).strip().rstrip(";")
    return queries


def latest_version() -> int:
    """The version that this program brings a store to."""
    return migrations()[-1].version


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that gives up on a server which hangs.

    `deadline_s` is the longest wait for one statement, in seconds; None waits for ever.
    """

    deadline_s: float | None = None

    def wait(
        self, gen: PQGen[RV], interval: float = _INTERVAL_S, timeout: float | None = None
    ) -> RV:
        """See `psycopg.Connection.wait`.

        Raises
        ------
        psycopg.OperationalError
            No answer within `deadline_s`; the connection is closed.
        """
        began_s = time.monotonic()
        try:
            return super().wait(gen, interval, self.deadline_s if timeout is None else timeout)
        except psycopg.OperationalError as error:
            if timeout is not None or not self._is_late(began_s):
                raise
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer within {self.deadline_s:g} s") from error

    def _is_late(self, began_s: float) -> bool:
        return self.deadline_s is not None and time.monotonic() - began_s >= self.deadline_s


def connect(url: str, timeout_s: float, deadline_s: float | None = None) -> Connection:
    """A connection in autocommit mode whose times are UTC.

    Parameters
    ----------
    timeout_s : float
        Seconds to wait for the server to accept it; at least 2.
    deadline_s : float | None
        Of each statement; None where a migration may take its time.

    Raises
    ------
    StoreUnavailable
        Nothing answered within `timeout_s`.
    """
    try:
        connection = Connection.connect(
            url, autocommit=True, connect_timeout=max(2, round(timeout_s))
        )
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"the store does not answer: {error}") from error
    connection.deadline_s = deadline_s
    try:
        connection.execute("SET timezone TO 'UTC'")
    except psycopg.OperationalError as error:
        connection.close()
        raise StoreUnavailable(f"the store does not answer: {error}") from error
    return connection


def applied_version(connection: psycopg.Connection[tuple[Any, ...]]) -> int:
    """The schema version of a database; 0 before the first migration."""
    row = connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return 0
    row = connection.execute("SELECT coalesce(max(version), 0) FROM schema_migrations").fetchone()
    assert row is not None
    return int(row[0])


def check_version(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Refuse a database of another version than this program's.

    Raises
    ------
    SchemaError
        The schema is newer, or older and not migrated yet.
    """
    found, known = applied_version(connection), latest_version()
    if found > known:
        raise SchemaError(
            f"the store's schema is version {found}, this program knows up to {known}: "
            "install the newer program"
        )
    if found < known:
        raise SchemaError(
            f"the store's schema is version {found}, this program needs {known}: "
            "start the desk once, which migrates it"
        )


def migrate(
    url: str,
    *,
    target: int | None = None,
    tick_retention_days: int | None = None,
    connect_timeout_s: float = 5,
) -> str:
    """Bring a database to this program's schema; a second call changes nothing.

    Parameters
    ----------
    url : str
        ``postgresql://…`` of the database.
    target : int | None
        Stop at this version, without a layout; None is the newest.
    tick_retention_days : int | None
        Under the Timescale licence, drop ticks older than this many days of
        the server's clock. None keeps all, which a replay of old days needs.
    connect_timeout_s : float
        Seconds to wait for the server.

    Returns
    -------
    str
        The layout: `PLAIN`, `APACHE` or `COMMUNITY`.

    Raises
    ------
    SchemaError
        The schema is newer than this program, or a step that ran was changed.
    StoreUnavailable
        The server does not answer.
    """
    with connect(url, connect_timeout_s) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK_KEY,))
        connection.execute(_RECORD)
        _refuse_foreign(connection)
        done = applied_version(connection)
        for step in migrations()[done:target]:
            with connection.transaction():
                connection.execute(step.sql)
                connection.execute(
                    "INSERT INTO schema_migrations VALUES (%s, %s, %s)",
                    (step.version, step.name, step.checksum),
                )
            _log.info("schema migrated", extra={"action": "migrate", "version": step.version})
        if applied_version(connection) < latest_version():
            return describe(connection)
        _ensure_extension(connection)
        layout = describe(connection)
        _lay_out(connection, layout, tick_retention_days)
        return layout


def _refuse_foreign(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    rows = connection.execute(
        "SELECT version, checksum FROM schema_migrations ORDER BY version"
    ).fetchall()
    known = migrations()
    if rows and rows[-1][0] > len(known):
        raise SchemaError(
            f"the store's schema is version {rows[-1][0]}, this program knows up to "
            f"{len(known)}: install the newer program"
        )
    for (version, checksum), step in zip(rows, known, strict=False):
        if version != step.version or checksum != step.checksum:
            raise SchemaError(
                f"migration {version} of the store is not this program's migration "
                f"{step.version} ({step.name}): it was changed by hand or by another program"
            )


def _ensure_extension(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    # Creating the extension on a server that did not preload it ends the
    # connection with a FATAL, so the setting is asked first.
    row = connection.execute(
        "SELECT current_setting('shared_preload_libraries', true), "
        "EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb'), "
        "EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')"
    ).fetchone()
    assert row is not None
    preloaded, is_available, is_there = row
    if is_there or not is_available or "timescaledb" not in (preloaded or ""):
        return
    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    except psycopg.errors.InsufficientPrivilege as error:
        _log.warning(
            "TimescaleDB is available, but this role may not create it: plain tables",
            extra={"action": "migrate", "error": str(error)},
        )


def describe(connection: psycopg.Connection[tuple[Any, ...]]) -> str:
    """Which layout the server allows: `PLAIN`, `APACHE` or `COMMUNITY`."""
    row = connection.execute(
        "SELECT current_setting('timescaledb.license', true) "
        "FROM pg_extension WHERE extname = 'timescaledb'"
    ).fetchone()
    if row is None:
        return PLAIN
    return COMMUNITY if row[0] == "timescale" else APACHE


def _lay_out(
    connection: psycopg.Connection[tuple[Any, ...]], layout: str, tick_retention_days: int | None
) -> None:
    steps = named_queries("layout.sql")
    prefix = "plain_brin_" if layout == PLAIN else "hypertable_"
    with connection.transaction():
        for name, sql in steps.items():
            if name.startswith(prefix):
                connection.execute(sql)
        if layout != COMMUNITY:
            connection.execute(steps["plain_minute_bars"])
            return
        row = connection.execute(steps["community_is_aggregated"]).fetchone()
        if row is not None and not row[0]:
            connection.execute(steps["community_drop_plain_view"])
            connection.execute(steps["community_minute_bars"])
            connection.execute(steps["community_compress_ticks"])
            connection.execute(steps["community_compress_bars"])
        connection.execute(steps["community_refresh_minute_bars"])
        connection.execute(steps["community_compression_policy_ticks"])
        connection.execute(steps["community_compression_policy_bars"])
        connection.execute(steps["community_drop_retention_ticks"])
        if tick_retention_days is not None:
            connection.execute(steps["community_retention_ticks"], {"days": tick_retention_days})
