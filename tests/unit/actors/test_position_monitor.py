"""Two stops on every share, never a sell too many."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import pytest

from actors.position_monitor import PositionMonitor, covered_qty, parents
from greenlight.domain.audit import DecisionKind
from greenlight.domain.orders import (
    BrokerOrder,
    OrderIntent,
    OrderStatus,
    Rejected,
    Role,
    Side,
    TimeInForce,
    Unresolved,
)
from greenlight.ports import BrokerUnavailable
from tests.actor_cases import DESK, EXIT_BY, T0, Surroundings, later, quote
from tests.faults.sim_world import Board, Fault, Flaky

NO_REPLACE = Rejected(http_status=422, code=42210000, message="order parameters are not changed")


class Watch(NamedTuple):
    around: Surroundings
    monitor: PositionMonitor


def monitor(around: Surroundings, now: datetime = T0) -> PositionMonitor:
    return PositionMonitor(
        symbol="AAPL",
        store=around.store,
        broker=around.broker,
        notifier=around.notifier,
        desk=DESK,
        now=now,
        sleep=around.sleep,
    )


@pytest.fixture
def around() -> Surroundings:
    return Surroundings()


@pytest.fixture
def held(around: Surroundings) -> Watch:
    """Ten shares bought at $100 with their pair resting."""
    around.enter()
    watch = Watch(around, monitor(around))
    watch.monitor.on_change(quote(), T0)
    assert_safe(around)
    return watch


def sells(around: Surroundings) -> list[BrokerOrder]:
    return around.broker.live("AAPL", Side.SELL)


def sent(around: Surroundings, role: Role) -> list[OrderIntent]:
    return [intent for intent in around.broker.submitted if intent.role is role]


def holding(around: Surroundings) -> int:
    return sum(p.qty for p in around.broker.positions() if p.symbol == "AAPL")


def assert_safe(around: Surroundings, *, is_covered: bool = True) -> None:
    """Working sells never exceed what is held; every share lies under a live stop."""
    working, held_qty = sum(o.remaining for o in sells(around)), holding(around)
    assert working <= held_qty
    if is_covered:
        assert covered_qty(list(sells(around))) == held_qty


def coverage(around: Surroundings) -> tuple[int, int]:
    row = around.store.coverage(T0 - timedelta(days=1), T0 + timedelta(days=30))[-1]
    return row.position_qty, row.covered_qty


# -- protection


def test_protect_when_entry_filled_then_pair_of_target_and_stop(held: Watch) -> None:
    (pair,) = sells(held.around)
    assert (pair.order_class, pair.qty, pair.limit_price) == ("oco", 10, Decimal("105.00"))
    assert [leg.stop_price for leg in pair.legs] == [Decimal("95.00")]
    (intent,) = sent(held.around, Role.PROTECT)
    assert intent.time_in_force is TimeInForce.GTC
    (row,) = held.around.decisions(DecisionKind.PROTECT)
    assert (row.figures["qty"], row.figures["stop_price"]) == (10, "95.00")
    assert coverage(held.around) == (10, 10)


def test_protect_when_asked_again_then_nothing_is_sent(held: Watch) -> None:
    before = len(held.around.broker.submitted)
    held.monitor.on_change(quote(), later(1))
    held.monitor.check(later(2))
    assert len(held.around.broker.submitted) == before
    assert len(sells(held.around)) == 1


def test_protect_when_entry_fills_in_parts_then_each_part_gets_its_stop(
    around: Surroundings,
) -> None:
    entry = around.enter(10, filled=4)
    watch = monitor(around)
    watch.on_change(quote(), T0)
    assert_safe(around)
    assert [o.qty for o in sells(around)] == [4]
    for part in (1, 5):
        around.book(around.broker.fill(entry, part, "100.05"))
        watch.on_change(quote(), later(part))
        assert_safe(around)
    assert sorted(o.qty for o in sells(around)) == [1, 4, 5]
    assert coverage(around) == (10, 10)


def test_protect_when_pair_was_cancelled_out_of_band_then_placed_again(held: Watch) -> None:
    (pair,) = sells(held.around)
    held.around.broker.end(pair.order_id, OrderStatus.CANCELED)
    held.monitor.on_change(None, later(1))
    assert_safe(held.around)
    names = [intent.client_order_id for intent in sent(held.around, Role.PROTECT)]
    assert len(set(names)) == 2


def test_protect_when_a_manual_sell_rests_uncovered_then_replaced_by_a_pair(
    around: Surroundings,
) -> None:
    around.enter()
    around.broker.submit(
        replace(
            around.broker.submitted[0],
            client_order_id="by-hand",
            side=Side.SELL,
            qty=6,
            limit_price=Decimal("120.00"),
        )
    )
    monitor(around).on_change(quote(), T0)
    assert_safe(around)
    assert [o.order_class for o in sells(around)] == ["oco"]


def test_protect_when_broker_no_longer_holds_the_shares_then_nothing_is_placed(
    held: Watch,
) -> None:
    # The stop filled and its event is still on the way.
    around = held.around
    (pair,) = sells(around)
    around.broker.fill(pair.legs[0].order_id, 10, "94.90")
    before = len(around.broker.submitted)
    held.monitor.on_change(quote(94.8), later(1))
    assert len(around.broker.submitted) == before
    assert holding(around) == 0


def test_protect_when_broker_is_away_then_waits_and_the_next_look_protects(
    around: Surroundings,
) -> None:
    around.enter()
    watch = monitor(around)
    around.broker.up = False
    band = watch.on_change(quote(), T0)
    assert band is not None
    around.broker.up = True
    watch.check(later(1))
    assert_safe(around)


def test_protect_when_answer_is_lost_then_adopted_and_only_one_pair(around: Surroundings) -> None:
    around.enter()
    around.broker.answer_next(Unresolved(reason="ReadTimeout"), committed=True)
    monitor(around).on_change(quote(), T0)
    assert_safe(around)
    assert len(sent(around, Role.PROTECT)) == 1
    assert around.notifier.alerts == []


def test_protect_when_price_is_through_the_stop_then_left_at_once_and_alert(
    around: Surroundings,
) -> None:
    around.enter()
    around.broker.set_price("AAPL", "94.00")
    monitor(around).on_change(quote(93.99), later(1))
    (exit_order,) = sent(around, Role.EXIT)
    # 93.99 less 20 bps is 93.802..., down to the cent.
    assert (exit_order.qty, exit_order.limit_price) == (10, Decimal("93.80"))
    assert len(around.notifier.alerts) == 1
    assert "no stop at the broker for 10 shares" in around.notifier.alerts[0]
    assert_safe(around, is_covered=False)
    (row,) = around.decisions(DecisionKind.EXIT)
    assert row.reason == "stop"


def test_protect_when_stop_is_refused_without_a_quote_then_left_on_the_next_one(
    around: Surroundings,
) -> None:
    around.enter()
    around.broker.set_price("AAPL", "94.00")
    watch = monitor(around)
    band = watch.on_change(None, later(1))
    assert band is not None
    assert sent(around, Role.EXIT) == []
    # Every quote wakes it now, even one above the stop.
    assert not band.low < 96.0 < band.high
    watch.on_quote(quote(96.0), later(2))
    assert len(sent(around, Role.EXIT)) == 1


# -- leaving


@pytest.mark.parametrize(
    ("bid", "at", "reason", "limit"),
    [
        (95.00, later(60), "stop", "94.81"),
        (105.00, later(60), "target", "104.79"),
        (101.00, EXIT_BY, "time", "100.79"),
    ],
)
def test_leave_when_plan_says_so_then_target_is_repriced(
    held: Watch, bid: float, at: datetime, reason: str, limit: str
) -> None:
    around = held.around
    (pair,) = sells(around)
    held.monitor.on_quote(quote(bid, at=at), at)
    (intent,) = sent(around, Role.EXIT)
    assert (intent.replaces, intent.limit_price, intent.qty) == (pair.order_id, Decimal(limit), 10)
    assert around.broker.cancels == []
    # Never naked: the stop leg still rests.
    assert_safe(around)
    (row,) = around.decisions(DecisionKind.EXIT)
    assert (row.reason, row.figures["bid"]) == (reason, bid)


def test_look_when_the_broker_did_not_tell_then_again_after_a_second_and_protected(
    around: Surroundings,
) -> None:
    around.enter()
    watch = monitor(around)
    around.broker.up = False
    band = watch.on_change(quote(100.0), later(1))
    around.broker.up = True
    assert band is not None
    assert band.wake_at == later(2)
    watch.on_quote(quote(100.0), later(2))
    assert covered_qty(list(sells(around))) == 10


def test_start_when_asked_first_about_a_quote_then_protects_before_it_decides(
    around: Surroundings,
) -> None:
    around.enter()
    monitor(around).on_quote(quote(100.0), later(1))
    assert covered_qty(list(sells(around))) == 10


def test_exit_when_the_entry_still_rests_then_its_rest_is_cancelled_first(
    around: Surroundings,
) -> None:
    order_id = around.enter(10, filled=4)
    around.broker.set_price("AAPL", "95.00")
    monitor(around).on_change(quote(94.9), later(1))
    entry = around.broker.order(order_id)
    assert entry is not None
    assert entry.status is OrderStatus.CANCELED
    assert [i.qty for i in sent(around, Role.EXIT)] == [4]


def test_leave_when_a_person_asks_then_target_is_repriced_and_asked_again_only_later(
    held: Watch,
) -> None:
    around = held.around
    band = held.monitor.leave(quote(100.0), later(60))
    assert band is not None
    assert not band.low < 100.0 < band.high
    for seconds in (61, 62, 63):
        held.monitor.leave(quote(100.0), later(seconds))
    (intent,) = sent(around, Role.EXIT)
    assert (intent.limit_price, intent.qty) == (Decimal("99.80"), 10)
    (row,) = around.decisions(DecisionKind.EXIT)
    assert row.reason == "manual"
    assert_safe(around)
    held.monitor.leave(quote(100.0), later(66))
    assert len(sent(around, Role.EXIT)) == 2


def test_leave_when_a_person_asks_without_a_quote_then_left_on_the_next_one(held: Watch) -> None:
    held.monitor.leave(None, later(60))
    assert sent(held.around, Role.EXIT) == []
    held.monitor.on_quote(quote(100.0), later(61))
    assert len(sent(held.around, Role.EXIT)) == 1


def test_leave_when_exit_fills_then_closed_with_its_reason_and_nothing_rests(
    held: Watch,
) -> None:
    around = held.around
    around.follow()
    held.monitor.on_quote(quote(95.0), later(60))
    (order,) = sells(around)
    around.broker.fill(order.order_id, 10, "94.95")
    assert held.monitor.on_change(quote(95.0), later(61)) is None
    assert sells(around) == []
    (trade,) = around.store.trades()
    # Ten shares from 100.00 to 94.95.
    assert (trade.exit_reason, trade.pnl_usd) == ("stop", Decimal("-50.50"))
    assert around.store.open_orders() == []


def test_leave_when_bid_is_inside_the_band_then_nothing_happens(held: Watch) -> None:
    before = len(held.around.broker.submitted)
    band = held.monitor.on_quote(quote(100.0), later(60))
    assert band is not None
    assert (band.low, band.high, band.wake_at) == (95.0, 105.0, EXIT_BY)
    assert len(held.around.broker.submitted) == before


def test_leave_when_exit_does_not_fill_then_priced_lower_after_five_seconds(held: Watch) -> None:
    around = held.around
    held.monitor.on_quote(quote(95.0), later(60))
    held.monitor.on_quote(quote(94.0), later(64))
    assert len(sent(around, Role.EXIT)) == 1
    held.monitor.on_quote(quote(94.0), later(65))
    limits = [intent.limit_price for intent in sent(around, Role.EXIT)]
    # 94 less 40 bps is 93.624.
    assert limits == [Decimal("94.81"), Decimal("93.62")]
    assert len({intent.client_order_id for intent in sent(around, Role.EXIT)}) == 2
    assert_safe(around)


def test_leave_when_change_is_refused_then_cancelled_first_and_sold_after(held: Watch) -> None:
    around = held.around
    (pair,) = sells(around)
    around.broker.replace_refusal = NO_REPLACE
    held.monitor.on_quote(quote(95.0), later(60))
    assert around.broker.cancels == [pair.order_id]
    first, second = sent(around, Role.EXIT)
    assert (first.replaces, second.replaces) == (pair.order_id, None)
    (exit_order,) = sells(around)
    assert (exit_order.qty, exit_order.client_order_id) == (10, second.client_order_id)
    assert_safe(around, is_covered=False)


def test_leave_when_the_market_is_closed_then_the_pair_stays_and_again_each_second(
    held: Watch,
) -> None:
    around = held.around
    (pair,) = sells(around)
    around.broker.replace_refusal = Rejected(
        http_status=422, code=42210000, message="cannot replace order in accepted status"
    )
    held.monitor.on_quote(quote(95.0), later(60))
    held.monitor.on_quote(quote(95.0), later(60.5))
    assert len(sent(around, Role.EXIT)) == 1
    assert around.broker.cancels == []
    assert [order.order_id for order in sells(around)] == [pair.order_id]
    assert_safe(around)
    around.broker.replace_refusal = None
    held.monitor.on_quote(quote(95.0), later(61))
    (order,) = sells(around)
    # The second attempt: 95 less 40 bps.
    assert order.limit_price == Decimal("94.62")
    assert_safe(around)


@pytest.mark.parametrize("method", ["positions", "open_orders"])
def test_protect_when_a_question_fails_half_way_then_looked_at_again_after_a_second(
    around: Surroundings, method: str
) -> None:
    around.enter()
    board = Board()
    board.arm(Fault(step=0, kind="broker_lost", method=method))
    broker = Flaky(around.broker, board, "monitor", BrokerUnavailable)
    watch = PositionMonitor(
        symbol="AAPL",
        store=around.store,
        broker=broker,
        notifier=around.notifier,
        desk=DESK,
        now=T0,
        sleep=around.sleep,
    )
    band = watch.on_change(quote(), T0)
    assert band is not None
    assert band.wake_at == later(1)
    watch.on_quote(quote(), later(1))
    assert_safe(around)


def test_leave_when_change_is_refused_and_cancel_hangs_then_nothing_is_sold_beside_it(
    held: Watch,
) -> None:
    around = held.around
    around.broker.replace_refusal = NO_REPLACE
    around.broker.is_cancel_slow = True
    held.monitor.on_quote(quote(95.0), later(60))
    assert len(sent(around, Role.EXIT)) == 1
    assert_safe(around)
    around.broker.finish_cancels()
    held.monitor.on_quote(quote(95.0), later(66))
    (exit_order,) = sells(around)
    assert exit_order.qty == 10
    assert_safe(around, is_covered=False)


def test_leave_when_stop_fills_while_it_is_cancelled_then_no_second_sell(held: Watch) -> None:
    around = held.around
    around.broker.replace_refusal = NO_REPLACE

    def fill_stop(order: BrokerOrder) -> None:
        around.broker.on_cancel = lambda _: None
        around.broker.fill(order.legs[0].order_id, 10, "94.90")

    around.broker.on_cancel = fill_stop
    held.monitor.on_quote(quote(95.0), later(60))
    assert holding(around) == 0
    assert sells(around) == []
    assert len(around.broker.fills) == 2


def test_leave_when_target_fills_partly_first_then_broker_may_finish_it(held: Watch) -> None:
    around = held.around
    (pair,) = sells(around)
    around.book(around.broker.fill(pair.order_id, 3, "105.00"))
    held.monitor.on_change(quote(105.0), later(60))
    assert_safe(around)
    held.monitor.on_quote(quote(105.0), later(60))
    assert sent(around, Role.EXIT) == []
    # Five seconds on it takes over for the seven that are left.
    held.monitor.on_quote(quote(105.0), later(66))
    assert_safe(around)
    (order,) = sells(around)
    assert order.remaining == 7


def test_leave_when_position_has_three_pairs_then_each_is_repriced(around: Surroundings) -> None:
    entry = around.enter(10, filled=4)
    watch = monitor(around)
    watch.on_change(quote(), T0)
    around.book(around.broker.fill(entry, 6, "100.00"))
    watch.on_change(quote(), later(1))
    watch.on_quote(quote(95.0), later(60))
    assert sorted(intent.qty for intent in sent(around, Role.EXIT)) == [4, 6]
    assert_safe(around)


def test_leave_when_broker_is_away_then_tried_again_on_the_next_quote(held: Watch) -> None:
    around = held.around
    around.broker.up = False
    held.monitor.on_quote(quote(95.0), later(60))
    around.broker.up = True
    held.monitor.on_quote(quote(94.0), later(66))
    orders = sells(around)
    assert sum(o.remaining for o in orders) == 10
    assert min(o.limit_price or Decimal(999) for o in orders) < Decimal(94)
    assert_safe(around)


def test_leave_when_a_successor_lives_then_zombie_sells_nothing(held: Watch) -> None:
    around = held.around
    monitor(around, later(1))
    before = len(around.broker.submitted)
    held.monitor.on_quote(quote(90.0), later(60))
    assert len(around.broker.submitted) == before


# -- recovery


def test_start_when_predecessor_died_before_the_pair_was_sent_then_one_pair(
    around: Surroundings,
) -> None:
    around.enter()

    def die(_: OrderIntent) -> None:
        raise KeyboardInterrupt

    around.broker.on_submit = die
    with pytest.raises(KeyboardInterrupt):
        monitor(around).on_change(quote(), T0)
    around.broker.on_submit = lambda _: None
    monitor(around, later(2)).on_change(quote(), later(2))
    assert_safe(around)
    assert len(sells(around)) == 1
    assert len({i.client_order_id for i in sent(around, Role.PROTECT)}) == 1


def test_start_when_stop_vanished_while_down_then_placed_again_under_a_new_name(
    held: Watch,
) -> None:
    around = held.around
    (pair,) = sells(around)
    around.broker.end(pair.order_id, OrderStatus.CANCELED)
    monitor(around, later(5)).on_change(None, later(5))
    assert_safe(around)
    assert len({i.client_order_id for i in sent(around, Role.PROTECT)}) == 2


def test_finish_when_position_closed_and_a_sell_is_left_then_orphan_is_cancelled(
    held: Watch,
) -> None:
    around = held.around
    around.book(around.broker.fill(sells(around)[0].order_id, 10, "105.00"))
    # A sell of ours that still rests although the position is gone.
    around.broker.hold("AAPL", 5, "100")
    intent = replace(sent(around, Role.PROTECT)[0], client_order_id="gl-t-orphan", qty=5)
    intent = replace(intent, epoch=around.store.epoch(intent.holder))
    around.store.record_intent(intent, None)
    around.store.record_outcome(intent.client_order_id, around.broker.submit(intent), later(1))
    assert held.monitor.on_change(None, later(2)) is None
    assert sells(around) == []


def test_finish_when_manual_sell_of_others_rests_then_left_alone(held: Watch) -> None:
    around = held.around
    around.book(around.broker.fill(sells(around)[0].order_id, 10, "105.00"))
    assert held.monitor.on_change(None, later(2)) is None
    assert around.broker.cancels == []


# -- splits

NEXT_DAY = datetime(2013, 10, 8, 12, 45, tzinfo=UTC)


def split(around: Surroundings, ratio: int) -> None:
    """What the broker does overnight: more shares, and the resting pair untouched."""
    qty = holding(around)
    around.broker.hold("AAPL", qty * ratio, Decimal(100) / ratio)
    around.broker.set_price("AAPL", Decimal(100) / ratio)


def test_split_when_seven_for_one_then_new_pair_of_seventy_at_a_seventh(held: Watch) -> None:
    around = held.around
    (old,) = sells(around)
    split(around, 7)
    band = held.monitor.on_split(NEXT_DAY.date(), Decimal(7), NEXT_DAY)
    assert around.broker.cancels == [old.order_id]
    (pair,) = sells(around)
    # 95 / 7 = 13.571..., up; 105 / 7 = 15.
    assert (pair.qty, pair.limit_price) == (70, Decimal("15.00"))
    assert pair.legs[0].stop_price == Decimal("13.58")
    assert_safe(around)
    assert band is not None
    assert (band.low, band.high) == (13.58, 15.0)
    (row,) = around.decisions(DecisionKind.ADJUST)
    assert (row.figures["qty.before"], row.figures["qty"]) == (10, 70)


def test_split_when_told_three_times_then_applied_once(held: Watch) -> None:
    around = held.around
    split(around, 7)
    for _ in range(2):
        held.monitor.on_split(NEXT_DAY.date(), Decimal(7), NEXT_DAY)
    monitor(around, NEXT_DAY).on_split(NEXT_DAY.date(), Decimal(7), NEXT_DAY)
    position = around.store.position("AAPL")
    assert position is not None
    assert (position.qty, position.stop_price) == (70, Decimal("13.58"))
    assert len(around.decisions(DecisionKind.ADJUST)) == 1
    assert_safe(around)


def test_split_when_bought_on_the_ex_date_then_not_applied(around: Surroundings) -> None:
    around.enter()
    monitor(around).on_split(later(60).date(), Decimal(7), later(60))
    position = around.store.position("AAPL")
    assert position is not None
    assert position.qty == 10
    assert around.decisions(DecisionKind.ADJUST) == []
    assert_safe(around)


def test_split_when_broker_is_away_after_the_ledger_changed_then_repeat_replaces_the_old_pair(
    held: Watch,
) -> None:
    around = held.around
    split(around, 7)
    around.broker.up = False
    with pytest.raises(ConnectionError):
        held.monitor.on_split(NEXT_DAY.date(), Decimal(7), NEXT_DAY)
    around.broker.up = True
    held.monitor.on_split(NEXT_DAY.date(), Decimal(7), NEXT_DAY)
    assert {o.legs[0].stop_price for o in sells(around)} == {Decimal("13.58")}
    assert_safe(around)


def test_split_when_reverse_and_told_twice_then_applied_once(held: Watch) -> None:
    around = held.around
    around.broker.hold("AAPL", 5, "200")
    around.broker.set_price("AAPL", "200")
    for _ in range(2):
        held.monitor.on_split(NEXT_DAY.date(), Decimal("0.5"), NEXT_DAY)
    position = around.store.position("AAPL")
    assert position is not None
    assert (position.qty, position.stop_price) == (5, Decimal("190.00"))
    assert_safe(around)


def test_split_when_a_fraction_would_be_left_then_a_person_is_told_and_the_stop_stays(
    held: Watch,
) -> None:
    around = held.around
    held.monitor.on_split(NEXT_DAY.date(), Decimal("0.25"), NEXT_DAY)
    position = around.store.position("AAPL")
    assert position is not None
    assert position.qty == 10
    assert len(around.notifier.alerts) == 1
    assert "AAPL" in around.notifier.alerts[0]
    assert len(sells(around)) == 1


# -- what counts as covered


def test_covered_when_legs_are_listed_twice_then_counted_once(held: Watch) -> None:
    flat = [o for o in held.around.broker.open_orders("AAPL") if o.side is Side.SELL]
    assert len(flat) == 2
    assert covered_qty(flat) == 10
    assert [o.order_type for o in parents(flat)] == ["limit"]


def test_covered_when_stop_leg_is_dead_then_not_counted(held: Watch) -> None:
    (pair,) = sells(held.around)
    dead = replace(pair, legs=(replace(pair.legs[0], status=OrderStatus.CANCELED),))
    assert covered_qty([dead]) == 0
