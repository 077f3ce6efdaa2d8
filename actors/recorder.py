"""The recorder: what was seen and what the desk was worth, in batches into the store.

Before it stands market data, which keeps every batch until this actor says
that it is in the store; after it metrics and readiness. Losing a recorder
loses nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from actors.links import RecordBatch
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
FLUSH_ROWS: Final = 2000
"""Rows after which a flush happens without being asked."""
FLUSH_AGE: Final = timedelta(minutes=30)
"""Market time after which one happens at the latest, so that little is sent again."""

Evaluate = Callable[[datetime], dict[str, object]]


class Recorder:
    """Buffers batches and writes them by COPY.

    Parameters
    ----------
    evaluate : Evaluate
        Computes the readiness evaluation at an instant, as JSON.
    """

    def __init__(self, *, store: Store, broker: Broker, cache: Cache, evaluate: Evaluate) -> None:
        self._store = store
        self._broker = broker
        self._cache = cache
        self._evaluate = evaluate
        self._buffer: list[RecordBatch] = []
        self._rows = 0
        self._flushed = -1
        self._since: datetime | None = None

    def ping(self) -> str:
        """Answer, as proof of life."""
        return "recorder"

    def record(self, batches: Sequence[RecordBatch], *, flush: bool) -> int:
        """See `RecorderLink.record`."""
        last = self._buffer[-1].seq if self._buffer else self._flushed
        for batch in batches:
            if batch.seq <= last:
                continue
            last = batch.seq
            self._buffer.append(batch)
            self._rows += len(batch.quotes) + len(batch.ticks) + len(batch.bars) + 2
            for beat in batch.heartbeats:
                self._since = self._since or beat.at
                is_due = beat.at - self._since >= FLUSH_AGE
                flush = flush or is_due
        if self._buffer:
            newest = self._buffer[-1]
            self._cache.put_quotes(newest.quotes)
            for beat in newest.heartbeats:
                self._cache.beat(beat.component, beat.at)
        if flush or self._rows >= FLUSH_ROWS:
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
        if not self._buffer:
            return
        batches = self._buffer
        # Quotes and ticks are appended and would double; they go last, so that a
        # failure before them repeats only what the store recognises.
        self._store.write_bars([bar for b in batches for bar in b.bars])
        self._store.write_equity([mark for b in batches for mark in b.equity])
        self._store.write_heartbeats([beat for b in batches for beat in b.heartbeats])
        self._store.write_coverage([row for b in batches for row in b.coverage])
        self._store.write_ticks([tick for b in batches for tick in b.ticks])
        self._store.write_quotes([quote for b in batches for quote in b.quotes])
        self._flushed = batches[-1].seq
        self._buffer, self._rows, self._since = [], 0, None
