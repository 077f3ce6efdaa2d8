"""Splits, dividends and symbol changes through the hub, its monitors and the ledger.

The position of every test: 10 AAPL bought at $100 on Monday 2013-10-07, stop $95.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from greenlight.domain.audit import DecisionKind
from greenlight.domain.cash import CashActivity
from greenlight.domain.corporate_actions import recorded_splits
from greenlight.domain.market import Split, SymbolChange
from greenlight.domain.orders import Side
from greenlight.ports import BrokerUnavailable, TradeStreamOpened
from tests.actor_cases import later, quote
from tests.hub_rig import Rig, assert_booked_and_covered, fill_entry, pairs

TUESDAY = date(2013, 10, 8)
PRE_OPEN = datetime(2013, 10, 8, 12, 30, tzinfo=UTC)
OPENED = datetime(2013, 10, 8, 13, 31, tzinfo=UTC)
SPLIT = Split(symbol="AAPL", ex_date=TUESDAY, ratio=7.0)
CHANGE = SymbolChange(old="AAPL", new="APPL", day=TUESDAY)

Start = Callable[[], Rig]


@pytest.fixture
def held() -> Iterator[Start]:
    """Starts a hub and buys."""
    with ExitStack() as stack:

        def begin() -> Rig:
            rig = Rig()
            hub = rig.start()
            stack.callback(hub.stop)
            rig.step(*fill_entry(rig), quote(100.0, at=later(1)), at=later(60))
            return rig

        yield begin


def again(rig: Rig) -> None:
    """The hub dies and a successor takes over."""
    rig.hub.stop()
    rig.streams.is_stopped = False
    rig.start()


def broker_splits(rig: Rig) -> None:
    rig.data.actions.append(SPLIT)
    rig.broker.hold("AAPL", 70, "14.285")
    rig.broker.set_price("AAPL", "14.285")


def adjusted(rig: Rig) -> list[str]:
    return [row.reason for row in rig.around.decisions(DecisionKind.ADJUST)]


# -- splits


def test_split_when_the_desk_slept_over_it_then_applied_when_it_wakes(held: Start) -> None:
    rig = held()
    rig.hub.stop()
    broker_splits(rig)
    rig.around.clock.set(datetime(2013, 10, 10, 12, 30, tzinfo=UTC))
    again(rig)
    rig.step(at=rig.around.clock.now(), kind="pre_open")
    assert_booked_and_covered(rig, 70)
    (row,) = rig.around.decisions(DecisionKind.ADJUST)
    assert row.figures["ex_date"] == "2013-10-08"


def test_split_when_the_old_stop_filled_after_it_unseen_then_booked_against_the_new_shares(
    held: Start,
) -> None:
    rig = held()
    rig.hub.stop()
    broker_splits(rig)
    # At $14 the stop of $95 for ten shares goes off at the open, with nobody there.
    rig.around.clock.set(datetime(2013, 10, 8, 13, 30, 5, tzinfo=UTC))
    (pair,) = rig.broker.live("AAPL", Side.SELL)
    rig.broker.fill(pair.legs[0].order_id, 10, "14.20")
    rig.around.clock.set(OPENED)
    again(rig)
    rig.step(quote(14.2, at=OPENED), at=OPENED)
    assert_booked_and_covered(rig, 60)
    assert adjusted(rig) == ["split"]
    assert rig.around.notifier.alerts == []


def test_split_when_each_morning_tells_it_again_then_applied_once(held: Start) -> None:
    rig = held()
    broker_splits(rig)
    for day in range(3):
        rig.step(at=PRE_OPEN + timedelta(days=day), kind="pre_open")
    assert_booked_and_covered(rig, 70)
    assert adjusted(rig) == ["split"]
    assert len(pairs(rig)) == 1


def test_split_when_the_broker_still_shows_yesterdays_quote_then_equity_is_not_marked_with_it(
    held: Start,
) -> None:
    rig = held()
    broker_splits(rig)
    rig.data.latest["AAPL"] = quote(100.0, at=later(3600))
    rig.step(at=PRE_OPEN, kind="pre_open")
    # No quote in the first minute: seventy shares at a hundred dollars would be a record high.
    rig.step(at=OPENED)
    rig.step(quote(14.3, at=OPENED + timedelta(seconds=30)), at=OPENED + timedelta(minutes=1))
    rig.stored_quotes()
    marks = rig.store.equity(PRE_OPEN, PRE_OPEN + timedelta(hours=6), "desk")
    assert [float(mark.equity_usd) for mark in marks] == [pytest.approx(100_001.7)]


def test_split_when_only_watched_then_a_row_for_those_who_read_history() -> None:
    rig = Rig()
    hub = rig.start()
    try:
        rig.data.actions.append(SPLIT)
        for day in range(3):
            rig.step(at=PRE_OPEN + timedelta(days=day), kind="pre_open")
    finally:
        hub.stop()
    rows = rig.around.decisions(DecisionKind.ADJUST)
    assert recorded_splits(rows) == (SPLIT,)
    assert len(rows) == 1
    assert rig.monitors.asked == []


# -- dividends


def test_dividend_when_paid_then_booked_once_and_the_cash_is_the_brokers(held: Start) -> None:
    rig = held()
    rig.around.clock.set(PRE_OPEN)
    rig.broker.pay("AAPL", "0.82")
    for minutes in (0, 1):
        rig.step(at=PRE_OPEN + timedelta(minutes=minutes), kind="pre_open")
    again(rig)
    rig.step(TradeStreamOpened(), at=OPENED)
    (paid,) = rig.store.dividends()
    position = rig.store.position("AAPL")
    assert position is not None
    assert (paid.usd, paid.position_id) == (Decimal("8.20"), position.position_id)
    assert rig.store.cash() == rig.broker.account().cash == Decimal("99008.20")
    (row,) = rig.around.decisions(DecisionKind.ADJUST)
    assert (row.reason, row.symbol, row.figures["usd"]) == ("dividend", "AAPL", "8.20")
    # The trade's own gain stays that of its prices.
    assert position.realized_usd == 0


def test_dividend_when_the_price_falls_by_it_then_equity_goes_on(held: Start) -> None:
    rig = held()
    rig.around.clock.set(PRE_OPEN)
    rig.broker.pay("AAPL", "0.82")
    rig.step(at=PRE_OPEN, kind="pre_open")
    rig.step(quote(100.0 - 0.82, at=OPENED), at=OPENED)
    rig.stored_quotes()
    before, after = rig.store.equity(later(0), PRE_OPEN + timedelta(hours=6), "desk")
    assert float(after.equity_usd - before.equity_usd) == pytest.approx(0.0, abs=1e-9)
    assert after.cash_usd - before.cash_usd == Decimal("8.20")


def test_dividend_when_the_position_was_sold_before_it_was_paid_then_still_its_own(
    held: Start,
) -> None:
    rig = held()
    position = rig.store.position("AAPL")
    assert position is not None
    (pair,) = rig.broker.live("AAPL", Side.SELL)
    rig.broker.on_update = rig.push
    rig.broker.fill(pair.order_id, 10, "105")
    rig.step(at=later(120))
    rig.around.clock.set(PRE_OPEN + timedelta(days=20))
    rig.broker.hold("AAPL", 10, "100")
    rig.broker.pay("AAPL", "0.82")
    rig.broker.hold("AAPL", 0, "100")
    rig.step(at=PRE_OPEN + timedelta(days=21), kind="pre_open")
    (paid,) = rig.store.dividends()
    assert paid.position_id == position.position_id
    assert rig.store.cash() == rig.broker.account().cash


def test_dividend_when_the_store_fails_while_booking_then_tried_again_and_once(
    held: Start,
) -> None:
    rig = held()
    rig.around.clock.set(PRE_OPEN)
    rig.broker.pay("AAPL", "0.82")
    rig.store.failures["cash"] = 2
    rig.step(at=PRE_OPEN, kind="pre_open")
    assert len(rig.store.dividends()) == 1
    assert rig.store.cash() == rig.broker.account().cash


def test_dividend_when_the_broker_does_not_tell_then_nobody_waits_and_the_next_minute_asks(
    held: Start,
) -> None:
    rig = held()
    rig.around.clock.set(PRE_OPEN)
    rig.broker.pay("AAPL", "0.82")
    is_silent = [True]

    def told(after: datetime) -> tuple[CashActivity, ...]:
        if is_silent[0]:
            raise BrokerUnavailable("made to fail")
        return tuple(rig.broker.activities)

    rig.broker.cash_activities = told  # type: ignore[method-assign]
    rig.step(at=PRE_OPEN, kind="pre_open")
    rig.step(quote(94.0, at=OPENED), at=OPENED)
    (left,) = rig.around.decisions(DecisionKind.EXIT)
    assert left.reason == "stop"
    is_silent[0] = False
    rig.step(at=OPENED + timedelta(minutes=1))
    assert [p.usd for p in rig.store.dividends()] == [Decimal("8.20")]


# -- while announcements cannot be had


def test_wake_when_splits_are_not_known_and_the_price_jumps_like_one_then_no_exit(
    held: Start,
) -> None:
    rig = held()
    broker_splits(rig)
    rig.data.up = False
    # At a seventh of the price the old stop would sell everything.
    rig.step(quote(14.3, at=OPENED), at=OPENED)
    rig.step(quote(14.3, at=OPENED + timedelta(seconds=10)), at=OPENED + timedelta(seconds=10))
    assert rig.around.decisions(DecisionKind.EXIT) == []
    (told,) = [text for text in rig.around.notifier.alerts if "splits of today" in text]
    assert "stops at the broker stay" in told
    rig.data.up = True
    rig.step(at=OPENED + timedelta(seconds=31))
    assert_booked_and_covered(rig, 70)
    assert rig.around.decisions(DecisionKind.EXIT) == []


def test_wake_when_splits_are_not_known_and_the_stop_is_reached_then_left(held: Start) -> None:
    rig = held()
    rig.data.up = False
    # Bought at 100, the stop lies 5% below.
    rig.step(quote(94.0, at=OPENED), at=OPENED)
    (row,) = rig.around.decisions(DecisionKind.EXIT)
    assert row.reason == "stop"


def test_open_day_when_nothing_is_held_then_the_minutes_go_on_without_announcements() -> None:
    rig = Rig()
    hub = rig.start()
    try:
        rig.data.up = False
        rig.step(at=OPENED)
        rig.data.up = True
        rig.data.actions.append(SPLIT)
        rig.step(at=OPENED + timedelta(minutes=1))
    finally:
        hub.stop()
    assert adjusted(rig) == ["split"]


# -- symbol changes


def rename(rig: Rig) -> None:
    rig.data.changes.append(CHANGE)
    rig.broker.on_update = rig.push
    rig.broker.rename("AAPL", "APPL")


def test_rename_when_held_then_ledger_monitor_and_stream_follow_before_the_open(
    held: Start,
) -> None:
    rig = held()
    before = rig.store.position("AAPL")
    assert before is not None
    rename(rig)
    rig.step(at=PRE_OPEN, kind="pre_open")
    assert rig.store.position("AAPL") is None
    position = rig.store.position("APPL")
    assert position is not None
    assert (position.position_id, position.qty) == (before.position_id, 10)
    assert position.stop_price == before.stop_price
    (pair,) = rig.broker.live("APPL", Side.SELL)
    assert (pair.qty, pair.legs[0].stop_price) == (10, Decimal("95.00"))
    assert rig.broker.live("AAPL", Side.SELL) == []
    assert rig.streams.renamed[0] == ("AAPL", "APPL")
    (row,) = rig.around.decisions(DecisionKind.ADJUST)
    assert (row.reason, row.symbol) == ("symbol change", "APPL")
    assert row.figures["symbol.before"] == "AAPL"
    # Its own stop works under the new name.
    rig.step(quote(94.0, at=OPENED, symbol="APPL"), at=OPENED)
    (left,) = rig.around.decisions(DecisionKind.EXIT)
    assert (left.symbol, left.reason) == ("APPL", "stop")


def test_rename_when_the_old_names_orders_still_rest_then_cancelled_and_placed_anew(
    held: Start,
) -> None:
    rig = held()
    # A broker that moves the shares and leaves the orders.
    (old,) = rig.broker.live("AAPL", Side.SELL)
    rig.data.changes.append(CHANGE)
    rig.broker.hold("AAPL", 0, "100")
    rig.broker.hold("APPL", 10, "100")
    rig.step(at=PRE_OPEN, kind="pre_open")
    assert old.order_id in rig.broker.cancels
    assert rig.broker.live("AAPL", Side.SELL) == []
    assert [o.qty for o in rig.broker.live("APPL", Side.SELL)] == [10]


def test_rename_when_only_watched_then_a_row_and_the_stream_follows(held: Start) -> None:
    rig = Rig()
    hub = rig.start()
    try:
        rig.data.changes.append(CHANGE)
        rig.step(at=PRE_OPEN, kind="pre_open")
        rig.step(at=PRE_OPEN + timedelta(days=1), kind="pre_open")
    finally:
        hub.stop()
    assert rig.streams.renamed == [("AAPL", "APPL")]
    (row,) = rig.around.decisions(DecisionKind.ADJUST)
    assert row.figures["qty"] == 0


def test_rename_when_the_hub_dies_at_any_call_then_the_successor_finishes_it(
    held: Start,
) -> None:
    rig = held()
    rig.monitors.failures = 1
    rename(rig)
    rig.step(at=PRE_OPEN, kind="pre_open")
    again(rig)
    rig.step(at=PRE_OPEN + timedelta(minutes=1), kind="pre_open")
    assert [o.qty for o in rig.broker.live("APPL", Side.SELL)] == [10]
    assert adjusted(rig) == ["symbol change"]


def test_rename_when_the_new_symbol_is_held_too_then_a_person_is_told(held: Start) -> None:
    rig = held()
    rig.around.enter(5, symbol="APPL", at=later(300))
    rig.data.changes.append(CHANGE)
    rig.step(at=PRE_OPEN, kind="pre_open")
    assert any("AAPL is now APPL" in text for text in rig.around.notifier.alerts)
    assert rig.store.position("AAPL") is not None
    assert rig.store.position("APPL") is not None
