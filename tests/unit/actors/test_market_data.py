"""The hub on fakes: its thread is driven step by step through the streams."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from actors.links import RecordBatch
from actors.market_data import MarketDataHub
from actors.position_monitor import PositionMonitor, covered_qty
from actors.recorder import Recorder
from greenlight.domain.audit import DecisionKind
from greenlight.domain.market import Bar, Quote, Split, Tick
from greenlight.domain.orders import Execution, OrderStatus, Role, Side
from greenlight.domain.positions import WatchBand
from greenlight.ports import (
    Booking,
    StepReady,
    StoreUnavailable,
    StreamEvent,
    TradeStreamOpened,
    TradeUpdate,
)
from greenlight.testing import FakeStore
from greenlight.testing_broker import FakeMarketData, FakeStreams
from tests.actor_cases import DESK, EXIT_BY, T0, Surroundings, later, quote

CLOSE = datetime(2013, 10, 7, 20, tzinfo=UTC)


class FlakyStore(FakeStore):
    """Goes away for single calls: `failures` counts, by method, those to fail; `after` likewise,
    but the call has had its effect when the answer is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: Counter[str] = Counter()
        self.after: Counter[str] = Counter()

    def book_fill(self, fill: Execution, fees_usd: Decimal) -> Booking:
        self._maybe(self.failures, "book_fill")
        booking = super().book_fill(fill, fees_usd)
        self._maybe(self.after, "book_fill")
        return booking

    def cash(self) -> Decimal | None:
        self._maybe(self.failures, "cash")
        return super().cash()

    def write_quotes(self, quotes: Sequence[Quote]) -> None:
        self._maybe(self.failures, "write_quotes")
        super().write_quotes(quotes)

    def _maybe(self, counts: Counter[str], method: str) -> None:
        if counts[method]:
            counts[method] -= 1
            raise StoreUnavailable(f"{method} was made to fail")


class LocalMonitors:
    """Position monitors in this process. `asked` are all calls; `failures` of them raise."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._monitors: dict[str, PositionMonitor] = {}
        self.asked: list[tuple[str, str]] = []
        self.failures = 0

    def of(self, method: str) -> list[str]:
        return [symbol for name, symbol in self.asked if name == method]

    def _monitor(self, symbol: str, method: str, now: datetime) -> PositionMonitor:
        self.asked.append((method, symbol))
        if self.failures:
            self.failures -= 1
            raise ConnectionError(f"no actor for {symbol}")
        if symbol not in self._monitors:
            self._monitors[symbol] = PositionMonitor(
                symbol=symbol,
                store=self._around.store,
                broker=self._around.broker,
                notifier=self._around.notifier,
                desk=DESK,
                now=now,
                sleep=self._around.sleep,
            )
        return self._monitors[symbol]

    def on_change(self, symbol: str, seen: Quote | None, now: datetime) -> WatchBand | None:
        return self._monitor(symbol, "on_change", now).on_change(seen, now)

    def on_quotes(
        self, quotes: Sequence[tuple[str, Quote | None]], now: datetime
    ) -> dict[str, WatchBand | None]:
        return {s: self._monitor(s, "on_quotes", now).on_quote(q, now) for s, q in quotes}

    def on_split(self, symbol: str, ratio: Decimal, now: datetime) -> WatchBand | None:
        return self._monitor(symbol, "on_split", now).on_split(ratio, now)

    def check(self, symbol: str, now: datetime) -> WatchBand | None:
        return self._monitor(symbol, "check", now).check(now)


class LocalStrategist:
    """Notes what it is given; waits on `may_go` and raises `failures` times."""

    def __init__(self) -> None:
        self.minutes: list[tuple[list[Bar], list[Quote], datetime]] = []
        self.answer: datetime | None = None
        self.may_go = threading.Event()
        self.may_go.set()
        self.entered = threading.Event()
        self.failures = 0
        self.saves = 0

    def on_minute(
        self, bars: Sequence[Bar], quotes: Sequence[Quote], now: datetime
    ) -> datetime | None:
        self.entered.set()
        assert self.may_go.wait(10)
        if self.failures:
            self.failures -= 1
            raise ConnectionError("no actor strategist")
        self.minutes.append((list(bars), list(quotes), now))
        return self.answer

    def save(self) -> None:
        self.saves += 1


class LocalGate:
    def __init__(self) -> None:
        self.sweeps: list[datetime] = []

    def judge(self, signals: Sequence[Any], now: datetime) -> datetime | None:
        raise AssertionError("market data never judges")

    def sweep(self, now: datetime) -> datetime | None:
        self.sweeps.append(now)
        return None


class LocalRecorder:
    """A recorder that a test can replace, as a restart does."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self.closed: list[datetime] = []
        self.restart()

    def restart(self) -> None:
        self._plain = Recorder(
            store=self._around.store,
            broker=self._around.broker,
            cache=self._around.cache,
            evaluate=lambda now: {"at": now.isoformat()},
            monotonic=lambda: 0.0,
        )

    def record(
        self, batches: Sequence[RecordBatch], *, oldest_kept: int, flush: bool
    ) -> int | None:
        return self._plain.record(batches, oldest_kept=oldest_kept, flush=flush)

    def close_session(self, now: datetime) -> None:
        self.closed.append(now)
        self._plain.close_session(now)


class Rig:
    """A hub in lockstep with everything around it."""

    def __init__(self, *, is_lockstep: bool = True, every_minute: bool = False) -> None:
        self.around = Surroundings(store=FlakyStore())
        self.store: FlakyStore = self.around.store  # type: ignore[assignment]
        self.broker = self.around.broker
        self.data = FakeMarketData()
        self.streams = FakeStreams()
        self.monitors = LocalMonitors(self.around)
        self.strategist = LocalStrategist()
        self.gate = LocalGate()
        self.recorder = LocalRecorder(self.around)
        self._is_lockstep, self._every_minute = is_lockstep, every_minute
        self._seq = 0
        self._second = 0.0

    def _monotonic(self) -> float:
        self._second += 1.0
        return self._second

    def start(self) -> MarketDataHub:
        self.hub = MarketDataHub(
            store=self.store,
            broker=self.broker,
            market_data=self.data,
            streams=self.streams,
            strategist=self.strategist,
            gate=self.gate,
            monitors=self.monitors,
            recorder=self.recorder,
            notifier=self.around.notifier,
            is_lockstep=self._is_lockstep,
            every_minute=self._every_minute,
            now=self.around.clock.now,
            advance=self.around.clock.set,
            monotonic=self._monotonic,
            retry_s=0.0,
        )
        return self.hub

    def push(self, *events: StreamEvent) -> None:
        self.streams.push(*events)

    def ready(self, at: datetime, kind: str = "minute") -> StepReady:
        self._seq += 1
        day = at.date()
        return StepReady(seq=self._seq, at=at, kind=kind, session=day, trade_updates=0)

    def step(self, *events: StreamEvent, at: datetime, kind: str = "minute") -> None:
        """Push events and a step, and wait until the hub says that all is done."""
        step = self.ready(at, kind)
        self.push(*events, step)
        self.streams.wait_acknowledged(step.seq)

    def stored_quotes(self) -> list[Quote]:
        """What has been recorded, after everything kept is flushed by a session's close."""
        self.step(at=CLOSE + timedelta(minutes=6), kind="close")
        return self.store.quotes


Start = Callable[..., Rig]


@contextmanager
def running(rig: Rig) -> Iterator[Rig]:
    hub = rig.start()
    try:
        yield rig
    finally:
        rig.strategist.may_go.set()
        hub.stop()


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:
        yield lambda rig=None, **options: stack.enter_context(running(rig or Rig(**options)))


def minute_bar(start: datetime, symbol: str = "AAPL") -> Bar:
    return Bar(
        symbol=symbol,
        start=start,
        end=start + timedelta(minutes=1),
        open=100.0,
        high=100.5,
        low=99.5,
        close=100.2,
        volume=1000,
    )


def fill_entry(rig: Rig, qty: int = 10) -> list[TradeUpdate]:
    """An entry that fills at the broker; the events, not delivered yet."""
    order_id = rig.around.enter(qty, filled=0)
    updates: list[TradeUpdate] = []
    rig.broker.on_update = updates.append
    rig.broker.fill(order_id, qty, "100.00")
    rig.broker.on_update = lambda _: None
    return updates


def pairs(rig: Rig) -> list[int]:
    return [order.qty for order in rig.broker.live("AAPL", Side.SELL)]


def assert_booked_and_covered(rig: Rig, qty: int = 10) -> None:
    position = rig.store.position("AAPL")
    assert position is not None
    assert position.qty == qty
    assert covered_qty(list(rig.broker.live("AAPL", Side.SELL))) == qty


# -- quotes


def test_take_quotes_when_some_are_bad_then_refused_counted_and_not_recorded(
    start: Start,
) -> None:
    rig = start()
    good = [quote(100.0, at=later(1)), quote(100.1, at=later(10))]
    bad = [
        quote(float("nan"), at=later(2)),
        replace(quote(at=later(3)), bid=-1.0),
        replace(quote(at=later(4)), bid=101.0, ask=100.0),
        quote(100.0, at=later(0)),
        quote(150.0, at=later(5)),
        quote(0.0, at=later(6)),
    ]
    rig.step(good[0], *bad, good[1], at=later(60))
    assert rig.hub.status()["refused"] == {
        "not_finite": 1,
        "not_positive": 2,
        "crossed": 1,
        "out_of_order": 1,
        "absurd": 1,
    }
    assert rig.stored_quotes() == good


def test_take_quotes_when_a_bad_one_is_below_the_stop_then_nothing_is_sold(start: Start) -> None:
    rig = start()
    rig.step(*fill_entry(rig), quote(100.0, at=later(1)), at=later(60))
    rig.step(quote(40.0, at=later(61)), at=later(120))
    assert [i.role for i in rig.broker.submitted] == [Role.ENTRY, Role.PROTECT]


def test_stale_symbols_when_one_is_silent_for_90_seconds_then_named(start: Start) -> None:
    rig = start()
    rig.step(quote(at=later(0)), quote(50.0, at=later(60), symbol="IBM"), at=later(60))
    assert rig.hub.stale_symbols(later(90)) == []
    assert rig.hub.stale_symbols(later(91)) == ["AAPL"]


# -- fills


def test_take_fill_when_it_comes_three_times_then_booked_once(start: Start) -> None:
    rig = start()
    updates = fill_entry(rig)
    rig.step(*updates, *updates, at=later(60))
    rig.step(*updates, at=later(120))
    assert len(rig.store.fills()) == 1
    assert_booked_and_covered(rig)
    assert rig.monitors.of("on_change") == ["AAPL"]
    assert pairs(rig) == [10]


def test_take_fill_when_stream_missed_it_then_filled_in_over_rest(start: Start) -> None:
    rig = start()
    rig.step(at=later(60))
    fill_entry(rig)
    rig.step(at=later(120))
    assert rig.store.position("AAPL") is None
    rig.step(TradeStreamOpened(), at=later(180))
    assert_booked_and_covered(rig)


def test_take_fill_when_it_was_filled_in_first_then_late_event_changes_nothing(
    start: Start,
) -> None:
    rig = start()
    updates = fill_entry(rig)
    rig.step(TradeStreamOpened(), *updates, at=later(60))
    assert len(rig.store.fills()) == 1
    assert_booked_and_covered(rig)


def test_take_fill_when_order_ended_unseen_then_its_status_is_followed_over_rest(
    start: Start,
) -> None:
    rig = start()
    order_id = rig.around.enter(10, filled=0)
    rig.broker.end(order_id, OrderStatus.EXPIRED)
    rig.step(TradeStreamOpened(), at=later(60))
    assert rig.store.open_orders() == []


def test_start_when_filled_while_down_then_booked_and_protected(start: Start) -> None:
    rig = Rig()
    fill_entry(rig)
    start(rig)
    rig.step(at=later(60))
    assert_booked_and_covered(rig)


def test_take_fill_when_it_sells_more_than_is_held_then_a_person_is_told(start: Start) -> None:
    rig = start()
    rig.broker.hold("AAPL", 5, "100.00")
    rig.step(*fill_entry(rig), at=later(60))
    (pair,) = rig.broker.live("AAPL", Side.SELL)
    order = replace(pair, order_id="o-99", client_order_id="by-hand", qty=15, filled_qty=15)
    oversold = Execution(
        execution_id="x",
        order_id="o-99",
        client_order_id="by-hand",
        symbol="AAPL",
        side=Side.SELL,
        qty=15,
        price=Decimal(100),
        cum_qty=15,
        at=later(61),
    )
    rig.step(TradeUpdate(event="fill", at=later(61), order=order, fill=oversold), at=later(120))
    assert len(rig.around.notifier.alerts) == 1
    assert "sold 15, held 10" in rig.around.notifier.alerts[0]
    rig.step(at=later(180))


def test_take_update_when_the_stop_was_cancelled_then_placed_again(start: Start) -> None:
    rig = start()
    rig.step(*fill_entry(rig), at=later(60))
    updates: list[TradeUpdate] = []
    rig.broker.on_update = updates.append
    (pair,) = rig.broker.live("AAPL", Side.SELL)
    rig.broker.end(pair.order_id, OrderStatus.CANCELED)
    rig.broker.on_update = lambda _: None
    assert pairs(rig) == []
    rig.step(*updates, at=later(120))
    assert pairs(rig) == [10]


# -- bands


def test_wake_monitors_when_bid_stays_inside_then_nobody_is_asked(start: Start) -> None:
    rig = start()
    rig.step(*fill_entry(rig), quote(100.0, at=later(1)), at=later(60))
    for number, bid in enumerate((95.01, 104.99, 100.0), start=2):
        rig.step(quote(bid, at=later(60 * number)), at=later(60 * number))
    assert rig.monitors.of("on_quotes") == []
    rig.step(quote(95.0, at=later(300)), at=later(300))
    assert rig.monitors.of("on_quotes") == ["AAPL"]
    (row,) = rig.around.decisions(DecisionKind.EXIT)
    assert row.reason == "stop"


def test_wake_monitors_when_another_symbol_moves_then_not_asked(start: Start) -> None:
    rig = start()
    rig.step(*fill_entry(rig), quote(100.0, at=later(1)), at=later(60))
    rig.step(quote(1.0, at=later(61), symbol="IBM"), at=later(120))
    assert rig.monitors.of("on_quotes") == []


def test_wake_monitors_when_time_is_up_then_left_on_the_last_quote(start: Start) -> None:
    rig = start()
    rig.step(*fill_entry(rig), at=later(60))
    rig.step(quote(101.0, at=EXIT_BY), at=EXIT_BY)
    (row,) = rig.around.decisions(DecisionKind.EXIT)
    assert row.reason == "time"


def test_wake_monitors_when_market_is_closed_then_not_asked(start: Start) -> None:
    rig = start()
    rig.step(*fill_entry(rig), quote(100.0, at=later(1)), at=later(60))
    evening = CLOSE + timedelta(minutes=2)
    rig.step(quote(94.0, at=evening), at=evening)
    assert rig.monitors.of("on_quotes") == []


# -- the day


def test_open_day_when_a_split_takes_effect_then_position_is_adjusted_before_the_open(
    start: Start,
) -> None:
    rig = start()
    rig.data.actions.append(Split(symbol="AAPL", ex_date=date(2013, 10, 8), ratio=7.0))
    rig.step(*fill_entry(rig), quote(100.0, at=later(1)), at=later(60))
    rig.broker.hold("AAPL", 70, "14.285")
    rig.broker.set_price("AAPL", "14.285")
    before_open = datetime(2013, 10, 8, 12, 45, tzinfo=UTC)
    rig.step(at=before_open, kind="pre_open")
    rig.step(at=before_open + timedelta(minutes=15), kind="pre_open")
    assert rig.monitors.of("on_split") == ["AAPL"]
    assert_booked_and_covered(rig, 70)
    opened = datetime(2013, 10, 8, 13, 31, tzinfo=UTC)
    # The first quote at a seventh of the price is neither absurd nor below the stop.
    rig.step(quote(14.3, at=opened), at=opened)
    assert rig.hub.status()["refused"] == {}
    assert rig.around.decisions(DecisionKind.EXIT) == []


def test_open_day_when_nothing_happened_then_each_position_is_checked_once_a_day(
    start: Start,
) -> None:
    rig = start()
    rig.step(at=later(30))
    rig.step(*fill_entry(rig), at=later(60))
    assert rig.monitors.of("check") == []
    morning = datetime(2013, 10, 8, 13, 0, tzinfo=UTC)
    for minutes in (0, 31, 32):
        rig.step(at=morning + timedelta(minutes=minutes))
    assert rig.monitors.of("check") == ["AAPL"]


def test_decide_when_strategy_is_daily_then_first_minute_of_the_session_only(
    start: Start,
) -> None:
    rig = start()
    for number in (0, 1, 2):
        at = later(60 * (number + 1))
        rig.step(minute_bar(later(60 * number)), quote(at=at), at=at)
    assert [(bars, at) for bars, _, at in rig.strategist.minutes] == [([minute_bar(T0)], later(60))]
    assert rig.strategist.minutes[0][1] == [quote(at=later(60))]


def test_decide_when_strategy_wants_every_minute_then_every_minute(start: Start) -> None:
    rig = start(every_minute=True)
    for number in (0, 1, 2):
        rig.step(minute_bar(later(60 * number)), at=later(60 * (number + 1)))
    assert [bars for bars, _, _ in rig.strategist.minutes] == [
        [minute_bar(later(60 * n))] for n in (0, 1, 2)
    ]


def test_decide_when_gate_named_an_instant_then_swept_from_then_on(start: Start) -> None:
    rig = start()
    rig.strategist.answer = later(300)
    rig.step(minute_bar(T0), at=later(60))
    before = len(rig.gate.sweeps)
    rig.step(at=later(299))
    assert len(rig.gate.sweeps) == before
    rig.step(at=later(301))
    assert rig.gate.sweeps[before:] == [later(301)]


def test_close_day_when_five_minutes_after_the_bell_then_once(start: Start) -> None:
    rig = start(every_minute=True)
    rig.step(quote(at=later(1)), at=later(60))
    rig.step(at=CLOSE + timedelta(minutes=4), kind="close")
    assert rig.recorder.closed == []
    for minutes in (5, 6, 60):
        rig.step(at=CLOSE + timedelta(minutes=minutes), kind="close")
    assert rig.recorder.closed == [CLOSE + timedelta(minutes=5)]
    assert rig.strategist.saves == 1
    window = (T0, CLOSE + timedelta(hours=1))
    assert len(rig.store.equity(*window, "broker")) == 1


def test_note_when_minutes_pass_then_heartbeats_and_equity_at_mid(start: Start) -> None:
    rig = start()
    rig.step(*fill_entry(rig), quote(101.0, at=later(30)), at=later(60))
    rig.step(at=later(75))
    rig.step(quote(102.0, at=later(110)), at=later(120))
    rig.stored_quotes()
    window = (T0 - timedelta(hours=1), CLOSE)
    assert rig.store.heartbeat_minutes("desk", *window) == [T0, later(60)]
    marks = rig.store.equity(*window, "desk")
    # 99,000 in cash and ten shares at 101.01, then 102.01.
    assert [m.equity_usd for m in marks] == [Decimal("100010.1"), Decimal("100020.1")]
    assert marks[0].cash_usd == 99_000


def test_note_when_a_held_symbol_has_no_price_then_no_equity_is_made_up(start: Start) -> None:
    rig = start()
    rig.step(*fill_entry(rig), at=later(60))
    rig.stored_quotes()
    assert rig.store.equity(T0, CLOSE, "desk") == []


# -- what goes wrong


def test_acknowledge_when_strategist_still_works_then_not_before_it_is_done(
    start: Start,
) -> None:
    rig = start()
    rig.strategist.may_go.clear()
    step = rig.ready(later(60))
    rig.push(minute_bar(T0), step)
    assert rig.strategist.entered.wait(10)
    assert rig.streams.acknowledged == []
    rig.strategist.may_go.set()
    rig.streams.wait_acknowledged(step.seq)
    assert len(rig.strategist.minutes) == 1


def test_acknowledge_when_strategist_fails_then_step_is_repeated_with_the_same_bars(
    start: Start,
) -> None:
    rig = start()
    rig.strategist.failures = 2
    rig.step(minute_bar(T0), quote(at=later(30)), at=later(60))
    assert [bars for bars, _, _ in rig.strategist.minutes] == [[minute_bar(T0)]]
    assert rig.stored_quotes() == [quote(at=later(30))]
    assert rig.store.bars("AAPL", "1Min", T0, CLOSE) == [minute_bar(T0)]


@pytest.mark.parametrize("method", ["book_fill", "cash"])
def test_acknowledge_when_store_fails_at_a_fill_then_booked_and_protected_before(
    start: Start, method: str
) -> None:
    rig = start()
    rig.step(at=later(30))
    updates = fill_entry(rig)
    rig.store.failures[method] = 1
    rig.step(*updates, at=later(60))
    assert_booked_and_covered(rig)
    assert len(rig.store.fills()) == 1


def test_acknowledge_when_answer_of_the_booking_is_lost_then_monitor_still_learns_of_it(
    start: Start,
) -> None:
    rig = start()
    rig.step(at=later(30))
    updates = fill_entry(rig)
    rig.store.after["book_fill"] = 1
    rig.step(*updates, at=later(60))
    assert_booked_and_covered(rig)
    rig.step(quote(at=later(61)), at=later(120))
    assert rig.hub.status()["bands"] == ["AAPL"]


def test_acknowledge_when_monitor_is_away_at_a_fill_then_asked_again_before(
    start: Start,
) -> None:
    rig = start()
    rig.step(at=later(30))
    updates = fill_entry(rig)
    rig.monitors.failures = 1
    rig.step(*updates, at=later(60))
    assert_booked_and_covered(rig)


def test_acknowledge_when_store_is_down_for_a_while_then_waits_and_nothing_is_lost(
    start: Start,
) -> None:
    rig = start()
    rig.step(quote(at=later(1)), at=later(30))
    updates = fill_entry(rig)
    rig.store.up = False
    step = rig.ready(later(60))
    rig.push(*updates, quote(100.5, at=later(50)), step)
    with pytest.raises(TimeoutError):
        rig.streams.wait_acknowledged(step.seq, timeout_s=0.05)
    rig.store.up = True
    rig.streams.wait_acknowledged(step.seq)
    assert_booked_and_covered(rig)
    assert rig.stored_quotes() == [quote(at=later(1)), quote(100.5, at=later(50))]


def test_record_when_recorder_is_restarted_then_batches_come_again_and_once(
    start: Start,
) -> None:
    rig = start()
    expected = []
    for number in range(1, 7):
        at = later(60 * number)
        expected.append(quote(100 + number / 10, at=at))
        if number in (3, 5):
            rig.recorder.restart()
        rig.step(expected[-1], at=at)
    assert rig.stored_quotes() == expected


def test_record_when_the_flush_fails_then_written_on_the_next(start: Start) -> None:
    rig = start()
    rig.step(quote(at=later(1)), at=later(60))
    rig.store.failures["write_quotes"] = 1
    assert rig.stored_quotes() == [quote(at=later(1))]


def test_take_ticks_when_they_come_then_recorded(start: Start) -> None:
    rig = start()
    tick = Tick(symbol="AAPL", at=later(1), price=100.0, size=5)
    rig.step(tick, quote(at=later(1)), at=later(60))
    rig.stored_quotes()
    assert rig.store.ticks == [tick]


def test_ping_when_stopped_then_raises_so_that_it_is_replaced(start: Start) -> None:
    rig = start()
    assert rig.hub.ping() == "market-data"
    rig.hub.stop()
    assert rig.streams.is_stopped
    with pytest.raises(RuntimeError, match="protect lane has ended"):
        rig.hub.ping()


# -- without lockstep


def test_real_time_when_strategist_hangs_then_exits_still_go(start: Start) -> None:
    rig = Rig(is_lockstep=False)
    rig.around.enter()
    left = threading.Event()
    rig.broker.on_submit = lambda intent: left.set() if intent.role is Role.EXIT else None
    start(rig)
    rig.strategist.may_go.clear()
    rig.push(minute_bar(T0), quote(at=later(60)))
    rig.around.clock.set(later(60))
    rig.push(quote(100.0, at=later(61)))
    assert rig.strategist.entered.wait(10)
    rig.push(quote(94.0, at=later(62)))
    assert left.wait(10)
    assert rig.strategist.minutes == []
