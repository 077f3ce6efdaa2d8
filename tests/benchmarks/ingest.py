"""Ingest: quotes into the store, beside what the server itself can take in.

The recorder's way (batches of quotes through `TimescaleStore.write_quotes`,
from Python values to committed rows) against binary COPY from a file on the
server, which knows no client at all: the same rows into the same empty table
of the same embedded PostgreSQL, in turns. The value is the median over the
pairs of the ratio of their rates; 1.0 is the server's own speed.

The store's way is a pipeline of two processes (formatting here, inserting
there), so it needs two CPUs that are free: where other work or the kernel keeps
both on one CPU, the ratio falls to about 0.6. Run it on a quiet machine.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from actors.recorder import FLUSH_ROWS
from cluster.services import start_postgres
from greenlight.adapters.timescale import TimescaleStore, migrate
from greenlight.domain.market import Quote

NAME = "ingest"
GOAL = 0.90
ROWS = 400_000
PAIRS = 7
SYMBOLS = ("AAPL", "BAC", "GOOG", "IBM", "MSFT", "SPY")
COLUMNS = "symbol, at, bid, ask, bid_size, ask_size"


def quotes() -> list[Quote]:
    """Quotes of six symbols, 10 ms apart, that repeat no value for long."""
    start = datetime(2013, 10, 7, 13, 30, tzinfo=UTC)
    made = []
    for number in range(ROWS):
        bid = 100 + (number * 7919 % 10007) / 100
        made.append(
            Quote(
                symbol=SYMBOLS[number % len(SYMBOLS)],
                at=start + timedelta(milliseconds=10 * number),
                bid=bid,
                ask=bid + 0.01 * (1 + number % 3),
                bid_size=100 * (1 + number % 17),
                ask_size=100 * (1 + number % 23),
            )
        )
    return made


def seconds_by_store(store: TimescaleStore, rows: list[Quote]) -> float:
    """Seconds to write all rows in the recorder's batches."""
    begun = time.perf_counter()
    for first in range(0, len(rows), FLUSH_ROWS):
        store.write_quotes(rows[first : first + FLUSH_ROWS])
    return time.perf_counter() - begun


def seconds_by_server(connection: psycopg.Connection, file: Path) -> float:
    """Seconds the server takes to copy the same rows from its own file."""
    begun = time.perf_counter()
    with connection.transaction():
        connection.execute("SET LOCAL synchronous_commit TO off")
        connection.execute(f"COPY ticks ({COLUMNS}) FROM '{file}' (FORMAT BINARY)".encode())
    return time.perf_counter() - begun


def run() -> dict[str, object]:
    """Measure, print lines for people, return the result."""
    home = Path(tempfile.mkdtemp(prefix="greenlight-bench-"))
    service = start_postgres(home)
    try:
        layout = migrate(service.url)
        store = TimescaleStore(service.url, pool_max=1)
        rows = quotes()
        print(f"layout {layout}, {ROWS:,} quotes in batches of {FLUSH_ROWS:,}, {PAIRS} pairs")
        with psycopg.connect(service.url, autocommit=True) as connection:
            file = home / "postgres" / "quotes.bin"
            store.write_quotes(rows)
            connection.execute(f"COPY ticks ({COLUMNS}) TO '{file}' (FORMAT BINARY)".encode())
            ratios = measure(store, connection, rows, file)
        store.close()
    finally:
        service.stop()
        shutil.rmtree(home)
    value = statistics.median(ratios)
    return {
        "name": NAME,
        "value": round(value, 3),
        "unit": "of the rate of server-side binary COPY",
        "goal": GOAL,
        "ok": value >= GOAL,
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
    }


def measure(
    store: TimescaleStore, connection: psycopg.Connection, rows: list[Quote], file: Path
) -> list[float]:
    """The ratio of each pair, after one pair that warms up."""
    ratios = []
    for pair in range(PAIRS + 1):
        took: dict[str, float] = {}
        for who in ("store", "server") if pair % 2 else ("server", "store"):
            connection.execute("TRUNCATE ticks")
            connection.execute("CHECKPOINT")
            if who == "store":
                took[who] = seconds_by_store(store, rows)
            else:
                took[who] = seconds_by_server(connection, file)
            found = connection.execute("SELECT count(*) FROM ticks").fetchone()
            assert found == (len(rows),)
        if pair == 0:
            continue
        ratios.append(took["server"] / took["store"])
        print(
            f"pair {pair}: store {len(rows) / took['store']:,.0f} rows/s, "
            f"server {len(rows) / took['server']:,.0f} rows/s, ratio {ratios[-1]:.3f}"
        )
    return ratios


if __name__ == "__main__":
    import json

    print(json.dumps(run()))
