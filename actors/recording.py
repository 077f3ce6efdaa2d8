"""What market data keeps for the recorder until it is in the store.

Before it stands the hub, which adds what was seen; after it the recorder. A
batch is kept until the recorder has stored it, so losing a recorder loses
nothing. While the store is away for long, the oldest quotes and ticks give way;
bars, marks of equity and heartbeats never do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from actors.links import RecordBatch, RecorderLink
from greenlight.domain.market import Bar, Quote, Tick
from greenlight.ports import EquityMark, Heartbeat

MOST_ROWS: Final = 500_000
"""Quotes and ticks that are kept at most: 40 minutes at 200 a second."""
_ROWS: Final = 300
_AFTER_S: Final = 0.5

logger = logging.getLogger(__name__)


def thinned(batches: Sequence[RecordBatch], most: int) -> list[RecordBatch]:
    """The batches with the last `most` quotes and ticks at least; older ones give way whole."""
    kept: list[RecordBatch] = []
    rows = 0
    for batch in reversed(batches):
        kept.append(batch if rows < most else replace(batch, quotes=(), ticks=()))
        rows += len(batch.quotes) + len(batch.ticks)
    return kept[::-1]


class Recording:
    """See the module.

    Parameters
    ----------
    monotonic : Callable[[], float]
        Seconds of a clock that never goes back; paces the sending.
    """

    def __init__(self, recorder: RecorderLink, monotonic: Callable[[], float]) -> None:
        self._recorder = recorder
        self._monotonic = monotonic
        self._quotes: list[Quote] = []
        self._ticks: list[Tick] = []
        self._bars: list[Bar] = []
        self._marks: list[EquityMark] = []
        self._beats: list[Heartbeat] = []
        self._sent: list[RecordBatch] = []
        self._seq = 0
        self._sent_s = monotonic()
        self._unflushed_rows = 0

    @property
    def rows(self) -> int:
        """Quotes and ticks that have not been sent."""
        return len(self._quotes) + len(self._ticks)

    @property
    def unflushed(self) -> int:
        """Batches that were sent and are not known to be in the store."""
        return len(self._sent)

    def resume(self) -> None:
        """Count on from where the recorder is; what an earlier hub sent is there or gone."""
        held = self._recorder.record([], oldest_kept=0, flush=True)
        self._seq = 0 if held is None else held + 1

    def keep(self, quotes: Sequence[Quote], ticks: Sequence[Tick]) -> None:
        """Keep what was seen for a later batch."""
        self._quotes += quotes
        self._ticks += ticks
        if self.rows > MOST_ROWS:
            self._quotes = self._quotes[-MOST_ROWS // 2 :]
            self._ticks = self._ticks[-MOST_ROWS // 2 :]

    def add(self, quotes: Sequence[Quote], ticks: Sequence[Tick], bars: Sequence[Bar]) -> None:
        """Keep what was seen, and send it when there is enough of it."""
        self.keep(quotes, ticks)
        self._bars += bars
        is_due = self._monotonic() - self._sent_s >= _AFTER_S
        if self.rows >= _ROWS or (is_due and (self.rows or self._beats)):
            self.send(flush=False)

    def add_beat(self, beat: Heartbeat) -> None:
        """Keep a heartbeat for the next batch."""
        self._beats.append(beat)

    def add_mark(self, mark: EquityMark) -> None:
        """Keep an equity mark for the next batch."""
        self._marks.append(mark)

    def send(self, *, flush: bool) -> None:
        """Send what is kept; with `flush` it is in the store when this returns."""
        batch = RecordBatch(
            seq=self._seq,
            quotes=tuple(self._quotes),
            ticks=tuple(self._ticks),
            bars=tuple(self._bars),
            equity=tuple(self._marks),
            heartbeats=tuple(self._beats),
        )
        self._seq += 1
        self._sent.append(batch)
        self._unflushed_rows += len(batch.quotes) + len(batch.ticks)
        if self._unflushed_rows > 2 * MOST_ROWS:
            logger.warning("the oldest quotes give way", extra={"action": "thin_recording"})
            self._sent = thinned(self._sent, MOST_ROWS)
            self._unflushed_rows = MOST_ROWS
        self._quotes, self._ticks, self._bars = [], [], []
        self._marks, self._beats = [], []
        self._sent_s = self._monotonic()
        oldest = self._sent[0].seq
        flushed = self._recorder.record([batch], oldest_kept=oldest, flush=flush)
        if flushed is None:
            flushed = self._recorder.record(self._sent, oldest_kept=oldest, flush=True)
        if flushed is not None:
            self._sent = [kept for kept in self._sent if kept.seq > flushed]
            self._unflushed_rows = sum(len(kept.quotes) + len(kept.ticks) for kept in self._sent)
