"""The hub on fakes: its thread is driven step by step through the streams."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from greenlight.domain.audit import Decision, DecisionKind, Verdict
from greenlight.domain.market import Split, Tick
from greenlight.domain.orders import Execution, OrderStatus, Role, Side
from greenlight.ports import (
    EquityMark,
    StreamRefused,
    TradeStreamOpened,
    TradeUpdate,
)
from greenlight.testing_broker import FakeStreams
from tests.actor_cases import EXIT_BY, T0, later, quote
from tests.hub_rig import CLOSE, Rig, assert_booked_and_covered, fill_entry, minute_bar, pairs

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


# -- quotes


@pytest.mark.fault("NaN, zero, negative, crossed or out-of-order quote")
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


def test_take_quotes_when_some_are_bad_then_stored_and_told_once_a_kind_and_session(
    start: Start,
) -> None:
    rig = start()
    rig.step(quote(100.0, at=later(1)), at=later(60))
    for second, bid in ((61, 150.0), (62, 170.0), (63, 190.0)):
        rig.step(quote(bid, at=later(second)), at=later(second))
    rig.step(quote(100.0, at=later(1)), at=later(64))
    rows = rig.around.decisions(DecisionKind.DATA)
    assert [(r.symbol, r.reason) for r in rows] == [("AAPL", "absurd"), ("AAPL", "duplicate")]
    assert rows[0].figures["bid"] == 150.0
    assert rows[0].figures["last.bid"] == 100.0
    assert len(rig.around.notifier.alerts) == 2
    rig.stored_quotes()
    counts = rig.around.decisions(DecisionKind.DATA)[2:]
    assert [(r.reason, r.figures["count"]) for r in counts] == [("absurd", 3), ("duplicate", 1)]
    tomorrow = T0 + timedelta(days=1)
    rig.step(quote(100.0, at=tomorrow), quote(150.0, at=tomorrow), at=tomorrow)
    assert len(rig.around.notifier.alerts) == 3


def test_take_quotes_when_the_last_price_came_over_rest_then_the_stream_may_repeat_it(
    start: Start,
) -> None:
    rig = Rig()
    fill_entry(rig)
    known = quote(100.0, at=later(50))
    rig.data.latest["AAPL"] = known
    start(rig)
    rig.step(quote(99.9, at=later(40)), known, at=later(60))
    assert rig.hub.status()["refused"] == {}
    assert rig.stored_quotes() == [quote(99.9, at=later(40)), known]


# -- equity against its limits


def test_note_when_the_day_has_lost_500_dollars_then_entries_are_halted_and_exits_are_not(
    start: Start,
) -> None:
    rig = start()
    rig.store.write_equity(
        [
            EquityMark(
                at=later(-60 * 60 * 66),
                equity_usd=Decimal(100_000),
                cash_usd=Decimal(100_000),
                exposure_usd=Decimal(0),
                source="broker",
            )
        ]
    )
    rig.step(*fill_entry(rig, 200), quote(100.0, at=later(1)), at=later(60))
    rig.step(quote(97.51, at=later(61)), at=later(120))
    assert rig.store.halts_in_force(later(120)) == []
    rig.step(quote(97.48, at=later(121)), at=later(180))
    (halt,) = rig.store.halts_in_force(later(180))
    assert halt.until == later(180) + timedelta(hours=24)
    assert halt.reason.startswith("daily_loss: 502.00 USD")
    rig.step(quote(96.0, at=later(181)), at=later(240))
    assert len(rig.store.halts_in_force(later(240))) == 1
    rig.step(quote(94.9, at=later(241)), at=later(300))
    (row,) = rig.around.decisions(DecisionKind.EXIT)
    assert row.reason == "stop"
    assert len(rig.around.decisions(DecisionKind.HALT)) == 1


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


def test_take_quotes_when_a_crash_is_confirmed_then_the_position_is_left(start: Start) -> None:
    rig = start()
    rig.step(*fill_entry(rig), quote(100.0, at=later(30)), at=later(60))
    for second in (61, 62):
        rig.step(quote(70.0 + second / 100, at=later(second)), at=later(second))
        assert rig.around.decisions(DecisionKind.EXIT) == []
    rig.step(quote(70.0, at=later(63)), at=later(63))
    (row,) = rig.around.decisions(DecisionKind.EXIT)
    assert (row.reason, row.figures["bid"]) == ("stop", 70.0)


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


def test_take_update_when_an_entry_rests_then_its_monitor_is_prepared(start: Start) -> None:
    rig = start()
    rig.step(at=later(30))
    filled = fill_entry(rig)[-1]
    rests = replace(filled, fill=None, order=replace(filled.order, status=OrderStatus.WORKING))
    sells = replace(rests, order=replace(rests.order, side=Side.SELL))
    rig.step(sells, at=later(60))
    assert rig.monitors.asked == []
    rig.step(rests, at=later(120))
    assert rig.monitors.asked == [("prepare", "AAPL")]


def test_stream_when_it_is_refused_then_told_once_for_each_reason(start: Start) -> None:
    rig = start()
    many, slow = StreamRefused(reason="too many (405)"), StreamRefused(reason="slow (407)")
    rig.step(many, many, at=later(60))
    rig.step(slow, many, at=later(120))
    told = [text for text in rig.around.notifier.alerts if "price stream" in text]
    assert [text.rpartition(": ")[2] for text in told] == ["too many (405)", "slow (407)"]


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


def test_half_day_when_it_passes_then_210_minutes_left_at_1250_and_closed_at_1305(
    start: Start,
) -> None:
    # The Friday after Thanksgiving 2012 closed at 13:00 New York, 18:00 UTC.
    opens, closes = (datetime(2012, 11, 23, h, m, tzinfo=UTC) for h, m in ((14, 30), (18, 0)))
    rig = Rig(every_minute=True)
    exit_by = datetime(2012, 11, 23, 17, 50, tzinfo=UTC)
    rig.around.enter(at=datetime(2012, 11, 21, 15, 0, tzinfo=UTC), exit_by=exit_by)
    start(rig)
    left: list[datetime] = []
    for minute in range(1, 240):
        at = opens + timedelta(minutes=minute)
        rig.step(quote(100.0, at=at), minute_bar(at - timedelta(minutes=1)), at=at)
        if not left and rig.around.decisions(DecisionKind.EXIT):
            left.append(at)
    assert left == [exit_by]
    assert rig.recorder.closed == [closes + timedelta(minutes=5)]
    rig.recorder.record([], oldest_kept=0, flush=True)
    beats = rig.store.heartbeat_minutes("desk", opens, opens + timedelta(hours=7))
    assert beats == [opens + timedelta(minutes=i) for i in range(210)]
    # The last bar, which ends with the session, is the last that the strategist sees.
    assert rig.strategist.minutes[-1][2] == closes
    assert len(rig.strategist.minutes) == 210


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


@pytest.mark.parametrize("every_minute", [True, False])
def test_decide_when_the_last_bar_ends_with_the_session_then_handed_on_if_minutes_count(
    every_minute: bool, start: Start
) -> None:
    rig = start(every_minute=every_minute)
    last = minute_bar(CLOSE - timedelta(minutes=1))
    rig.step(last, at=CLOSE)
    rig.step(minute_bar(CLOSE), at=CLOSE + timedelta(minutes=1))
    expected = [[last]] if every_minute else []
    assert [bars for bars, _, _ in rig.strategist.minutes] == expected


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
    assert rig.nightly.closed == rig.recorder.closed
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


def test_flatten_when_asked_then_every_position_is_left_whoever_else_is_dead(
    start: Start,
) -> None:
    rig = start()
    rig.strategist.failures = 10**6
    rig.around.cache.up = False
    rig.push(*fill_entry(rig))
    rig.step(quote(100.0, at=later(1)), at=later(1))
    assert rig.monitors.of("leave") == []
    rig.store.halt(at=later(2), until=None, reason="flatten: enough")
    rig.step(quote(100.0, at=later(3)), at=later(3))
    assert rig.monitors.of("leave") == ["AAPL"]
    (order,) = rig.broker.live("AAPL", Side.SELL)
    assert order.limit_price == Decimal("99.80")
    assert rig.gate.sweeps[-1] == later(3)


def test_flatten_when_asked_for_then_a_restarted_hub_goes_on_with_it(start: Start) -> None:
    rig = start()
    rig.push(*fill_entry(rig))
    rig.store.halt(at=later(0), until=None, reason="flatten: enough")
    rig.hub.stop()
    rig.streams = FakeStreams()
    rig.start()
    rig.step(quote(100.0, at=later(2)), at=later(2))
    assert rig.monitors.of("leave") == ["AAPL"]


def test_flatten_when_a_halt_is_only_a_halt_then_positions_stay(start: Start) -> None:
    rig = start()
    rig.push(*fill_entry(rig))
    rig.store.halt(at=later(0), until=None, reason="manual: flatten: not yet")
    rig.step(quote(100.0, at=later(2)), at=later(2))
    assert rig.monitors.of("leave") == []


def test_take_bars_when_one_cannot_be_true_then_refused_with_a_row_and_handed_to_nobody(
    start: Start,
) -> None:
    rig = start(Rig(every_minute=True))
    good = minute_bar(T0)
    bad = [
        replace(minute_bar(T0, "BAD"), close=math.nan),
        replace(minute_bar(T0, "BAD"), low=-1.0),
        replace(minute_bar(T0, "BAD"), high=99.0),
        replace(minute_bar(T0, "BAD"), volume=-1),
    ]
    rig.step(*bad, good, at=later(60))
    assert [bars for bars, _, _ in rig.strategist.minutes] == [[good]]
    rows = rig.around.decisions(DecisionKind.DATA)
    assert [(r.symbol, r.reason) for r in rows] == [
        ("BAD", "bar_not_finite"),
        ("BAD", "bar_not_positive"),
        ("BAD", "bar_inconsistent"),
    ]
    assert rows[0].figures["close"] is None
    assert rows[1].figures["low"] == -1.0
    assert rig.hub.status()["refused"] == {
        "bar_not_finite": 1,
        "bar_not_positive": 1,
        "bar_inconsistent": 2,
    }
    assert len(rig.around.notifier.alerts) == 3


def test_conclude_when_scores_are_acted_upon_then_reviewed_once_a_session_and_left(
    start: Start,
) -> None:
    rig = Rig(acts_on_scores=True)
    updates = fill_entry(rig)
    start(rig)
    rig.push(*updates)

    def leave(now: datetime) -> list[str]:
        position = rig.store.position("AAPL")
        assert position is not None
        why = Decision(
            decision_id=f"score-{now:%d}",
            at=now,
            kind=DecisionKind.SCORE,
            verdict=Verdict.TAKEN,
            symbol="AAPL",
            strategy=position.strategy,
            reason="score",
            figures={},
        )
        rig.store.leave_by(position, now, why)
        return ["AAPL"]

    rig.gate.on_review = leave
    for minute in (1, 2):
        rig.step(quote(100.0 + minute / 100, at=later(60 * minute)), at=later(60 * minute))
    assert rig.gate.reviews == [later(60)]
    # Its band was drawn anew in the first minute; in the second it left.
    (row,) = rig.around.decisions(DecisionKind.EXIT)
    assert (row.at, row.reason, row.figures["exit_reason"]) == (later(120), "score", "score")
    (order,) = rig.broker.live("AAPL", Side.SELL)
    assert (order.qty, order.limit_price) == (10, Decimal("99.81"))
    tomorrow = T0 + timedelta(days=1)
    rig.gate.on_review = lambda _: []
    rig.step(quote(100.0, at=tomorrow), at=tomorrow)
    assert rig.gate.reviews == [later(60), tomorrow]


def test_conclude_when_scores_are_only_shown_then_never_reviewed(start: Start) -> None:
    rig = start()
    rig.step(quote(100.0, at=later(60)), at=later(60))
    assert rig.gate.reviews == []
