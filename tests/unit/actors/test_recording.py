"""What is to be recorded is kept, and never without end."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.links import RecordBatch
from actors.recording import MOST_ROWS, Recording, thinned
from greenlight.ports import Heartbeat, StoreUnavailable
from tests.actor_cases import T0, quote
from tests.ledger_cases import bar


class AwayRecorder:
    """A recorder whose store does not answer; once it does, it has lost what it had."""

    def __init__(self) -> None:
        self.is_away = True
        self.stored: list[RecordBatch] = []

    def record(
        self, batches: Sequence[RecordBatch], *, oldest_kept: int, flush: bool
    ) -> int | None:
        if self.is_away:
            raise StoreUnavailable("away")
        if not flush:
            return None
        self.stored += batches
        return batches[-1].seq

    def close_session(self, now: object) -> None:
        raise StoreUnavailable("away")


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(1, 200))
def test_thinned_when_too_many_then_the_newest_stay_and_nothing_else_goes(
    sizes: list[int], most: int
) -> None:
    batches = [
        RecordBatch(seq=n, quotes=(quote(),) * size, bars=(bar(),), heartbeats=(BEAT,))
        for n, size in enumerate(sizes)
    ]
    found = thinned(batches, most)
    assert [b.seq for b in found] == [b.seq for b in batches]
    assert [(b.bars, b.heartbeats) for b in found] == [(b.bars, b.heartbeats) for b in batches]
    kept = [len(b.quotes) for b in found]
    assert sum(kept) >= min(most, sum(sizes))
    assert sum(kept) < most + max(sizes, default=0) or sum(kept) == sum(sizes)
    gone = [n for n, size in enumerate(sizes) if size and not kept[n]]
    assert gone == [n for n in range(len(gone) and gone[-1] + 1) if sizes[n]]


BEAT = Heartbeat(component="desk", at=T0)


def test_send_when_the_store_stays_away_then_quotes_are_bounded_and_marks_stay() -> None:
    recorder = AwayRecorder()
    recording = Recording(recorder, lambda: 0.0)
    many = [quote()] * 60_000
    for _ in range(40):
        recording.add_beat(BEAT)
        with pytest.raises(StoreUnavailable):
            recording.add(many, [], [])
    recorder.is_away = False
    recording.send(flush=False)
    assert MOST_ROWS <= sum(len(b.quotes) for b in recorder.stored) <= 2 * MOST_ROWS
    assert sum(len(b.heartbeats) for b in recorder.stored) == 40
    assert recording.unflushed == 0


def test_keep_when_nothing_can_be_sent_then_the_newest_are_kept() -> None:
    recording = Recording(AwayRecorder(), lambda: 0.0)
    for _ in range(12):
        recording.keep([quote()] * 60_000, [])
    assert MOST_ROWS // 2 <= recording.rows <= MOST_ROWS
