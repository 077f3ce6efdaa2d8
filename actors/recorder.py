"""The recorder: what was seen and what the desk was worth, in batches into the store.

Before it stands market data, which keeps every batch until this actor says
that it is in the store; after it metrics and readiness. Losing a recorder
loses nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from actors.links import RecordBatch
from actors.measures import Measures
from actors.recording import MOST_ROWS, thinned
from greenlight.ports import (
    Broker,
    BrokerRefused,
    BrokerUnavailable,
    Cache,
    EquityMark,
    Store,
)

logger = logging.getLogger(__name__)

OPTIONS: Final[dict[str, Any]] = {"name": "recorder", "num_cpus": 0.1, "max_concurrency": 1}
FLUSH_ROWS: Final = 100_000
"""Rows after which a flush happens without being asked."""
FLUSH_AFTER_S: Final = 1.0
"""Seconds after which it happens at the latest, so that a page shows the present."""

Evaluate = Callable[[datetime], dict[str, object]]


class Recorder:
    """Buffers batches and writes them by COPY.

    Parameters
    ----------
    evaluate : Evaluate
        Computes the readiness evaluation at an instant, as JSON.
    monotonic : Callable[[], float]
        Seconds of a clock that never goes back; paces the flushes.
    """

    def __init__(
        self,
        *,
        store: Store,
        broker: Broker,
        cache: Cache,
        evaluate: Evaluate,
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._broker = broker
        self._cache = cache
        self._evaluate = evaluate
        self._monotonic = monotonic
        self._buffer: list[RecordBatch] = []
        self._rows = 0
        self._flushed = -1
        self._flushed_s = monotonic()

    def ping(self) -> str:
        """Answer, as proof of life."""
        return "recorder"

    def measures(self) -> Measures:
        """What waits to be written."""
        queues = {"recorder_rows": self._rows, "recorder_batches": len(self._buffer)}
        return Measures(latencies={}, queues=queues, faults={})

    def record(
        self, batches: Sequence[RecordBatch], *, oldest_kept: int, flush: bool
    ) -> int | None:
        """See `RecorderLink.record`."""
        held = self._buffer[-1].seq if self._buffer else self._flushed
        for batch in batches:
            if batch.seq > max(held + 1, oldest_kept):
                return None
            if batch.seq <= held:
                continue
            held = batch.seq
            self._buffer.append(batch)
            self._rows += len(batch.quotes) + len(batch.ticks) + len(batch.bars)
        if self._rows > 2 * MOST_ROWS:
            # The store has been away for long: what market data lets go, this does too.
            self._buffer = thinned(self._buffer, MOST_ROWS)
            self._rows = MOST_ROWS
        if self._buffer:
            newest = self._buffer[-1]
            self._cache.put_quotes(newest.quotes)
            for beat in newest.heartbeats[-1:]:
                self._cache.beat(beat.component, beat.at)
        is_due = self._monotonic() - self._flushed_s >= FLUSH_AFTER_S
        if flush or is_due or self._rows >= FLUSH_ROWS:
            self._flush()
        return self._flushed

    def close_session(self, now: datetime) -> None:
        """See `RecorderLink.close_session`."""
        self._flush()
        try:
            account = self._broker.account()
        except (BrokerUnavailable, BrokerRefused) as error:
            # The day then has no mark of the broker, and readiness says so.
            logger.warning("no account at the close: %s", error, extra={"action": "account"})
        else:
            mark = EquityMark(
                at=now,
                equity_usd=account.equity,
                cash_usd=account.cash,
                exposure_usd=account.equity - account.cash,
                source="broker",
            )
            self._store.write_equity([mark])
        self._store.save_evaluation(now, self._evaluate(now))

    def _flush(self) -> None:
        batches = self._buffer
        # Quotes and ticks are appended and would double; they go last, so that a
        # failure before them repeats only what the store recognises.
        self._store.write_bars([bar for b in batches for bar in b.bars])
        self._store.write_equity([mark for b in batches for mark in b.equity])
        self._store.write_heartbeats([beat for b in batches for beat in b.heartbeats])
        self._store.write_ticks([tick for b in batches for tick in b.ticks])
        self._store.write_quotes([quote for b in batches for quote in b.quotes])
        if batches:
            self._flushed = batches[-1].seq
        self._buffer, self._rows, self._flushed_s = [], 0, self._monotonic()
