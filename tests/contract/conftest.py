"""Stores for the contract tests."""

from tests.store_fixture import (
    database,
    postgres_database,
    postgres_server,
    server,
    sql_store,
    store,
    timescale_database,
    timescale_server,
)

__all__ = [
    "database",
    "postgres_database",
    "postgres_server",
    "server",
    "sql_store",
    "store",
    "timescale_database",
    "timescale_server",
]
