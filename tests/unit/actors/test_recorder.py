"""Batches reach the store once each, whoever dies."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.links import RecordBatch
from actors.recorder import FLUSH_AFTER_S, FLUSH_ROWS, Recorder
from greenlight.domain.market import Tick
from greenlight.ports import EquityMark, Heartbeat, StoreUnavailable
from tests.actor_cases import T0, Surroundings, later, quote
from tests.ledger_cases import bar


class Seconds:
    """A monotonic clock that stands still."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def around() -> Surroundings:
    return Surroundings()


def recorder(around: Surroundings, seconds: Seconds | None = None) -> Recorder:
    return Recorder(
        store=around.store,
        broker=around.broker,
        cache=around.cache,
        evaluate=lambda now: {"at": now.isoformat()},
        monotonic=seconds or Seconds(),
    )


def batch(seq: int) -> RecordBatch:
    """A batch that its quote's instant tells apart."""
    return RecordBatch(seq=seq, quotes=(quote(at=later(seq)),))


def stored(around: Surroundings) -> list[datetime]:
    return [q.at for q in around.store.quotes]


def test_record_when_flushed_then_everything_is_in_the_store(around: Surroundings) -> None:
    mark = EquityMark(
        at=T0,
        equity_usd=Decimal(1),
        cash_usd=Decimal(1),
        exposure_usd=Decimal(0),
        source="desk",
    )
    full = RecordBatch(
        seq=0,
        quotes=(quote(),),
        ticks=(Tick(symbol="AAPL", at=T0, price=100.0, size=5),),
        bars=(bar(),),
        equity=(mark,),
        heartbeats=(Heartbeat(component="desk", at=T0),),
    )
    assert recorder(around).record([full], oldest_kept=0, flush=True) == 0
    day = (T0 - timedelta(days=1), T0 + timedelta(days=1))
    assert around.store.quotes == [quote()]
    assert around.store.ticks == list(full.ticks)
    assert around.store.bars("AAPL", "1Min", *day) == [bar()]
    assert around.store.equity(*day, "desk") == [mark]
    assert around.store.heartbeat_minutes("desk", *day) == [T0]
    assert around.cache.quotes(["AAPL"]) == {"AAPL": quote()}
    assert around.cache.beats() == {"desk": T0}


def test_record_when_not_asked_to_flush_then_buffered_until_time_or_rows(
    around: Surroundings,
) -> None:
    seconds = Seconds()
    actor = recorder(around, seconds)
    assert actor.record([batch(0)], oldest_kept=0, flush=False) == -1
    assert stored(around) == []
    seconds.now_s = FLUSH_AFTER_S
    assert actor.record([batch(1)], oldest_kept=0, flush=False) == 1
    assert stored(around) == [later(0), later(1)]
    many = RecordBatch(seq=2, quotes=(quote(),) * FLUSH_ROWS)
    assert actor.record([many], oldest_kept=2, flush=False) == 2


def test_record_when_a_batch_comes_again_then_stored_once(around: Surroundings) -> None:
    actor = recorder(around)
    actor.record([batch(0)], oldest_kept=0, flush=False)
    actor.record([batch(0), batch(1)], oldest_kept=0, flush=True)
    assert actor.record([batch(1)], oldest_kept=0, flush=True) == 1
    assert stored(around) == [later(0), later(1)]


def test_record_when_former_recorder_took_batches_with_it_then_asks_for_them(
    around: Surroundings,
) -> None:
    recorder(around).record([batch(0), batch(1)], oldest_kept=0, flush=False)
    successor = recorder(around)
    assert successor.record([batch(2)], oldest_kept=0, flush=False) is None
    assert successor.record([batch(n) for n in range(3)], oldest_kept=0, flush=True) == 2
    assert stored(around) == [later(0), later(1), later(2)]


def test_record_when_a_call_was_lost_then_asks_for_it(around: Surroundings) -> None:
    actor = recorder(around)
    actor.record([batch(0), batch(1)], oldest_kept=0, flush=False)
    assert actor.record([batch(3)], oldest_kept=0, flush=False) is None
    assert actor.record([batch(n) for n in range(4)], oldest_kept=0, flush=True) == 3
    assert stored(around) == [later(n) for n in range(4)]


def test_record_when_successor_meets_batches_already_stored_then_starts_there(
    around: Surroundings,
) -> None:
    assert recorder(around).record([batch(7)], oldest_kept=7, flush=True) == 7


@given(st.lists(st.sampled_from(["send", "lose", "restart", "flush"]), max_size=40))
def test_record_when_calls_are_lost_and_recorders_die_then_every_batch_once(
    events: list[str],
) -> None:
    around = Surroundings()
    actor = recorder(around)
    kept: list[RecordBatch] = []
    seq = 0

    def send(new: list[RecordBatch], *, flush: bool) -> None:
        oldest = kept[0].seq if kept else seq
        done = actor.record(new, oldest_kept=oldest, flush=flush)
        if done is None:
            done = actor.record(kept, oldest_kept=oldest, flush=True)
        assert done is not None
        kept[:] = [b for b in kept if b.seq > done]

    for event in events:
        if event == "restart":
            actor = recorder(around)
            continue
        kept.append(batch(seq))
        seq += 1
        if event != "lose":
            send([kept[-1]], flush=event == "flush")
    kept.append(batch(seq))
    seq += 1
    send([kept[-1]], flush=True)
    assert stored(around) == [later(n) for n in range(seq)]
    assert kept == []


def test_record_when_store_is_away_then_kept_and_written_later(around: Surroundings) -> None:
    actor = recorder(around)
    around.store.up = False
    with pytest.raises(StoreUnavailable):
        actor.record([batch(0)], oldest_kept=0, flush=True)
    around.store.up = True
    assert actor.record([batch(1)], oldest_kept=0, flush=True) == 1
    assert stored(around) == [later(0), later(1)]


def test_record_when_cache_is_away_then_store_still_has_it(around: Surroundings) -> None:
    around.cache.up = False
    recorder(around).record([batch(0)], oldest_kept=0, flush=True)
    assert stored(around) == [later(0)]


def test_close_session_when_broker_answers_then_its_equity_and_the_evaluation(
    around: Surroundings,
) -> None:
    around.broker.hold("AAPL", 10, "100.00")
    close = later(3600)
    recorder(around).close_session(close)
    window = (T0, close + timedelta(seconds=1))
    (mark,) = around.store.equity(*window, "broker")
    # 100,000 in cash and ten shares at $100.
    assert (mark.equity_usd, mark.cash_usd, mark.exposure_usd) == (101_000, 100_000, 1_000)
    assert around.store.evaluations(*window) == [(close, {"at": close.isoformat()})]


def test_close_session_when_broker_is_away_then_no_mark_but_an_evaluation(
    around: Surroundings,
) -> None:
    actor = recorder(around)
    actor.record([batch(0)], oldest_kept=0, flush=False)
    around.broker.up = False
    actor.close_session(later(3600))
    window = (T0, later(7200))
    assert around.store.equity(*window, "broker") == []
    assert len(around.store.evaluations(*window)) == 1
    assert stored(around) == [later(0)]
