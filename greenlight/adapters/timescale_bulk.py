"""Bulk writes into the store by binary COPY.

Before it stand the recorder's batches; after it the evidence tables. Decided
here: the columns and types of each table's rows, and how a repeated row is
left as it was (COPY knows no conflict rule, so such rows go through a
temporary table of the connection).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

# Not public, but what `Copy.write_row` calls. That sends 32 KiB at a time, for which the
# server waits, and costs two more calls a row: together an eighth of the rate.
from psycopg._copy_base import format_row_binary

from greenlight.adapters.timescale_pool import Connection

_CHUNK_BYTES: Final = 8192
_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER: Final = b"\xff\xff"


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkTable:
    """A table's columns and their PostgreSQL types, in the order of the rows."""

    name: str
    types: dict[str, str]

    @property
    def columns(self) -> str:
        """The columns as SQL."""
        return ", ".join(self.types)


_SYMBOL_AT: Final = {"symbol": "text", "at": "timestamptz"}

QUOTES: Final = BulkTable(
    name="ticks",
    types=_SYMBOL_AT | {"bid": "float8", "ask": "float8", "bid_size": "int4", "ask_size": "int4"},
)
TICKS: Final = BulkTable(name="ticks", types=_SYMBOL_AT | {"price": "float8", "size": "int4"})
BARS: Final = BulkTable(
    name="bars",
    types={"symbol": "text", "timeframe": "text"}
    | {"starts_at": "timestamptz", "ends_at": "timestamptz"}
    | {"open": "float8", "high": "float8", "low": "float8", "close": "float8", "volume": "int8"},
)
EQUITY: Final = BulkTable(
    name="equity",
    types={"at": "timestamptz", "source": "text"}
    | {"equity_usd": "numeric", "cash_usd": "numeric", "exposure_usd": "numeric"},
)
HEARTBEATS: Final = BulkTable(name="heartbeats", types={"component": "text", "at": "timestamptz"})
COVERAGE: Final = BulkTable(
    name="coverage",
    types={"position_id": "text"} | _SYMBOL_AT | {"position_qty": "int4", "covered_qty": "int4"},
)


def copy_rows(connection: Connection, table: BulkTable, rows: Iterable[tuple[Any, ...]]) -> None:
    """Append rows, all or none."""
    _copy(connection, table.name, table, rows)


def copy_new_rows(
    connection: Connection, table: BulkTable, rows: Iterable[tuple[Any, ...]]
) -> None:
    """Append the rows whose unique key is not there yet, inside the caller's transaction."""
    stage = f"stage_{table.name}"
    connection.execute(
        f"CREATE TEMP TABLE IF NOT EXISTS {stage} (LIKE {table.name}) ON COMMIT DELETE ROWS",
        prepare=False,
    )
    _copy(connection, stage, table, rows)
    connection.execute(
        f"INSERT INTO {table.name} ({table.columns}) SELECT {table.columns} FROM {stage} "
        "ON CONFLICT DO NOTHING"
    )


def _copy(
    connection: Connection, target: str, table: BulkTable, rows: Iterable[tuple[Any, ...]]
) -> None:
    statement = f"COPY {target} ({table.columns}) FROM STDIN (FORMAT BINARY)"
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(list(table.types.values()))
        transformer = copy.formatter.transformer
        chunk = bytearray(_SIGNATURE)
        for row in rows:
            format_row_binary(row, transformer, chunk)
            if len(chunk) >= _CHUNK_BYTES:
                copy.write(chunk)
                chunk = bytearray()
        copy.write(chunk + _TRAILER)
