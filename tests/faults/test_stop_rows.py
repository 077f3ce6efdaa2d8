"""Stops that are missing, refused, held or faster than the desk."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from greenlight.domain.audit import DecisionKind
from greenlight.domain.orders import OrderStatus
from tests.exchange_fixture import wait_until
from tests.fault_table import Recovery
from tests.faults.plain_desk import POLICY, PlainDesk

REFUSED_REPLACE = {
    "status": 422,
    "body": '{"code":42210000,"message":"order parameters are not changed"}',
}


def sold(desk: PlainDesk) -> list[int]:
    """Shares of every sale at the broker."""
    return [qty for side, qty in desk.executions() if side == "sell"]


def stop_of(desk: PlainDesk) -> str:
    """Broker's id of the stop leg that rests."""
    (stop,) = [order for order in desk.sells() if order.stop_price is not None]
    return stop.order_id


# -- while the desk is down


@pytest.mark.fault("stop refused because the price is through it", bound_s=5)
def test_stop_refused_when_the_price_is_through_it_then_left_at_once_with_an_alert(
    desk: PlainDesk, recovery: Recovery
) -> None:
    desk.to_price(101)
    desk.stop()
    desk.enter()
    desk.to_price(98)
    recovery.injected()
    desk.start(is_awaited=False)
    desk.wait_flat()
    recovery.done()
    assert len(desk.notifier.alerts) == 1
    assert "no stop at the broker" in desk.notifier.alerts[0]
    ((_, bought), (side, qty)) = desk.executions()
    assert (side, qty) == ("sell", bought)
    desk.assert_exact()


@pytest.mark.fault("stop missing after a restart", bound_s=5)
def test_stop_missing_when_the_desk_restarts_then_placed_again(
    desk: PlainDesk, recovery: Recovery
) -> None:
    qty = desk.hold()
    desk.stop()
    desk.exchange.request("DELETE", "/v2/orders")
    wait_until(lambda: desk.sells() == [])
    recovery.injected()
    desk.start(is_awaited=False)
    desk.wait_covered()
    recovery.done()
    assert desk.covered() == qty
    assert len([o for o in desk.orders() if o["order_class"] == "oco"]) == 2


@pytest.mark.fault("stop filled while the desk was down", bound_s=5)
def test_stop_filled_when_the_desk_was_down_then_booked_once(
    desk: PlainDesk, recovery: Recovery
) -> None:
    qty = desk.hold()
    desk.stop()
    desk.to_price(98)
    assert desk.held() == 0
    recovery.injected()
    desk.start()
    desk.wait_flat()
    recovery.done()
    assert sold(desk) == [qty]
    (trade,) = desk.store.trades()
    assert (trade.qty, trade.exit_reason) == (qty, "stop")
    desk.stop()
    desk.start()
    assert len(desk.booked()) == 2
    desk.assert_exact()


# -- against an exit


@pytest.mark.fault("stop placed again after the exit", bound_s=5)
def test_stop_again_when_the_exits_fill_is_told_late_then_no_orphan_and_never_short(
    desk: PlainDesk, recovery: Recovery
) -> None:
    qty = desk.hold()
    desk.exchange.fault("^trade_updates:fill:ALFA", "delay", delay_s=1.0)
    recovery.injected()
    desk.flatten()
    wait_until(lambda: desk.held() == 0)
    # The ledger still has the shares: whoever looks now would protect them.
    assert desk.store.position("ALFA") is not None
    desk.check("ALFA", desk.clock.now())
    assert desk.sells() == []
    desk.wait_flat()
    recovery.done()
    assert sold(desk) == [qty]
    assert desk.held() == 0
    desk.assert_exact()


@pytest.mark.fault("stop placed again after the exit", bound_s=5)
def test_stop_again_when_an_orphan_rests_then_cancelled(
    desk: PlainDesk, recovery: Recovery
) -> None:
    desk.hold()
    desk.stop()
    # Sold by hand, and a stop of ours left behind for shares that were bought again.
    desk.exchange.request("DELETE", "/v2/positions?cancel_orders=true")
    desk.post(symbol="ALFA", side="buy", qty="5")
    order = {"side": "sell", "type": "stop", "stop_price": "90", "time_in_force": "gtc"}
    name = f"gl-{desk.name}-orphan-protect-1"
    desk.post(symbol="ALFA", qty="5", client_order_id=name, **order)
    recovery.injected()
    desk.start()
    desk.wait_covered()
    recovery.done()
    (orphan,) = [o for o in desk.orders() if o["client_order_id"] == name]
    assert orphan["status"] == "canceled"
    assert desk.covered() == 5
    desk.assert_exact()


@pytest.mark.fault("cancel races the stop's fill", bound_s=5)
def test_cancel_when_the_pair_fills_first_then_no_second_sell(
    desk: PlainDesk, recovery: Recovery
) -> None:
    qty = desk.hold()
    desk.exchange.fault("^PATCH /v2/orders", "status", **REFUSED_REPLACE)
    desk.exchange.fault("^DELETE /v2/orders/", "fill")
    recovery.injected()
    desk.flatten()
    desk.wait_flat()
    recovery.done()
    desk.step(2)
    assert sold(desk) == [qty]
    assert desk.held() == 0
    desk.assert_exact()


@pytest.mark.fault("exit sell 403 for held quantity", bound_s=5)
def test_exit_when_a_stop_holds_every_share_then_released_first_and_sold(
    desk: PlainDesk, recovery: Recovery
) -> None:
    desk.stop()
    desk.post(symbol="ALFA", side="buy")
    stop: dict[str, Any] = {"type": "stop", "stop_price": "90", "time_in_force": "gtc"}
    desk.post(symbol="ALFA", side="sell", **stop)
    desk.start()
    desk.wait_covered()
    body = {"symbol": "ALFA", "side": "sell", "qty": "10", "type": "market"}
    plain = desk.exchange.request("POST", "/v2/orders", json={**body, "time_in_force": "day"})
    assert plain.status_code == 403
    assert "insufficient qty" in plain.json()["message"]
    recovery.injected()
    desk.flatten()
    desk.wait_flat()
    recovery.done()
    assert sold(desk) == [10]
    desk.assert_exact()


@pytest.mark.fault("exit sell 403 for held quantity", bound_s=5)
def test_exit_when_the_release_is_slow_then_the_403_is_not_the_end(
    desk: PlainDesk, recovery: Recovery
) -> None:
    qty = desk.hold()
    body = '{"code":40310000,"message":"insufficient qty available for order"}'
    desk.exchange.fault("^PATCH /v2/orders", "status", **REFUSED_REPLACE)
    desk.exchange.fault("^POST /v2/orders", "status", status=403, body=body)
    recovery.injected()
    desk.flatten()
    desk.wait_flat()
    recovery.done()
    assert sold(desk) == [qty]
    desk.assert_exact()


# -- entries in part, and legs


@pytest.mark.fault("entry partly filled, then idle", bound_s=5)
def test_partial_entry_when_nothing_more_comes_then_rest_cancelled_and_stop_for_the_part(
    desk: PlainDesk, recovery: Recovery
) -> None:
    desk.to_price(100)
    desk.want("ALFA")
    desk.exchange.fault("^POST /v2/orders", "partial", qty=4)
    recovery.injected()
    desk.step()
    desk.wait_covered()
    recovery.done()
    desk.script.wants.clear()
    assert desk.covered() == 4
    (entry,) = desk.orders(side="buy")
    desk.step(int(POLICY.timeout_s // 60))
    wait_until(lambda: desk.orders(side="buy")[0]["status"] == "canceled")
    wait_until(lambda: desk.store.open_orders("ALFA") != [])
    record = desk.store.order(entry["client_order_id"])
    assert record is not None
    wait_until(lambda: status(desk, entry) is OrderStatus.CANCELED)
    assert desk.is_covered()
    assert desk.covered() == 4
    desk.assert_exact()


def status(desk: PlainDesk, entry: dict[str, Any]) -> OrderStatus | None:
    record = desk.store.order(entry["client_order_id"])
    return None if record is None else record.status


@pytest.mark.fault("cancelling the remainder kills the legs", bound_s=5)
def test_remainder_cancelled_when_its_legs_die_too_then_a_new_stop(
    desk: PlainDesk, recovery: Recovery
) -> None:
    desk.to_price(101)
    desk.exchange.fault("^POST /v2/orders", "partial", qty=4)
    legs = {"take_profit": {"limit_price": "120"}, "stop_loss": {"stop_price": "90"}}
    order = {"type": "limit", "limit_price": "110", "order_class": "bracket", **legs}
    entry = desk.post(symbol="ALFA", side="buy", **order)
    wait_until(lambda: desk.held() == 4)
    recovery.injected()
    desk.exchange.request("DELETE", f"/v2/orders/{entry['id']}")
    wait_until(lambda: order_status(desk, entry["id"]) == "canceled")
    desk.wait_covered()
    recovery.done()
    assert [order_status(desk, leg["id"]) for leg in entry["legs"]] == ["canceled"] * 2
    assert desk.covered() == desk.held() == 4
    desk.assert_exact()


def order_status(desk: PlainDesk, order_id: str) -> str:
    return str(desk.exchange.request("GET", f"/v2/orders/{order_id}").json()["status"])


@pytest.mark.fault("order id changes on replace", bound_s=5)
def test_replaced_when_a_person_moves_the_stop_then_the_new_order_is_followed(
    desk: PlainDesk, recovery: Recovery
) -> None:
    qty = desk.hold()
    old = stop_of(desk)
    new = desk.exchange.request("PATCH", f"/v2/orders/{old}", json={"stop_price": "99.5"}).json()
    assert new["id"] != old
    wait_until(lambda: stop_of(desk) == new["id"])
    assert desk.is_covered()
    desk.to_price(99)
    recovery.injected()
    desk.wait_flat()
    recovery.done()
    assert sold(desk) == [qty]
    # The order that sold is the person's.
    assert [trade.exit_reason for trade in desk.store.trades()] == ["manual"]
    desk.step()
    wait_until(desk.is_reconciled)
    assert desk.notifier.alerts == []
    desk.assert_exact()


@pytest.mark.fault("order id changes on replace", bound_s=5)
def test_replaced_when_the_exit_is_a_new_order_then_its_fill_closes_the_position(
    desk: PlainDesk, recovery: Recovery
) -> None:
    qty = desk.hold()
    recovery.injected()
    desk.flatten()
    desk.wait_flat()
    recovery.done()
    replaced = {order["status"] for order in desk.orders() if order["replaced_by"]}
    assert replaced == {"replaced"}
    assert sold(desk) == [qty]
    assert desk.store.open_orders() == []
    desk.assert_exact()


@pytest.mark.fault("PATCH refused in accepted", bound_s=5)
def test_patch_refused_when_the_market_is_closed_then_old_stop_counts_and_again_at_the_open(
    desk: PlainDesk, recovery: Recovery
) -> None:
    qty = desk.hold(stop_frac=0.05)
    while desk.driver.current["kind"] != "pre_open":
        desk.step()
    desk.exchange.request("DELETE", "/v2/orders")
    desk.wait_covered()
    (pair,) = [order for order in desk.sells() if order.stop_price is None]
    assert pair.broker_status == "accepted"
    desk.flatten()
    for _ in range(3):
        desk.leave("ALFA", desk.seen("ALFA").quote, desk.clock.now())
        assert desk.covered() == qty
    assert [order.order_id for order in desk.sells() if order.stop_price is None] == [pair.order_id]
    desk.to_open()
    recovery.injected()
    desk.wait_flat()
    recovery.done()
    assert sold(desk) == [qty]
    desk.assert_exact()


@pytest.mark.fault("held leg not in status=open")
def test_held_leg_when_open_orders_hide_it_then_the_position_counts_as_covered(
    desk: PlainDesk,
) -> None:
    qty = desk.hold()
    stop = stop_of(desk)
    shown = desk.exchange.request("GET", "/v2/orders", params={"status": "open"}).json()
    assert order_status(desk, stop) == "held"
    assert stop not in {order["id"] for order in shown}
    desk.stop()
    desk.start()
    desk.step(2)
    rows = desk.store.coverage(desk.began, desk.clock.now())
    assert rows[-1].covered_qty == rows[-1].position_qty == qty
    assert desk.notifier.alerts == []
    assert len([o for o in desk.orders() if o["order_class"] == "oco"]) == 1
    reasons = [row.reason for row in desk.decisions(DecisionKind.RECONCILE)]
    assert not any("not covered" in reason for reason in reasons)


# -- what a person does beside the desk


@pytest.mark.fault("manual order or position at the broker", bound_s=5)
def test_manual_buy_when_the_desk_runs_then_adopted_and_protected(
    desk: PlainDesk, recovery: Recovery
) -> None:
    desk.to_price(101)
    recovery.injected()
    desk.post(symbol="ALFA", side="buy", qty="7")
    desk.wait_covered()
    recovery.done()
    position = desk.store.position("ALFA")
    assert position is not None
    assert (position.qty, position.strategy) == (7, "adopted")
    # 5% below and 10% above 101.01, to the cent upward.
    assert (position.stop_price, position.target_price) == (Decimal("95.96"), Decimal("111.12"))
    desk.assert_exact()


@pytest.mark.fault("manual order or position at the broker", bound_s=5)
def test_manual_position_when_it_was_there_at_the_start_then_adopted_and_protected(
    desk: PlainDesk, recovery: Recovery
) -> None:
    desk.stop()
    desk.post(symbol="ALFA", side="buy", qty="7")
    desk.step()
    other = PlainDesk(desk.exchange, desk.driver)
    recovery.injected()
    other.start()
    other.wait_covered()
    recovery.done()
    position = other.store.position("ALFA")
    assert position is not None
    assert (position.qty, position.strategy) == (7, "adopted")
    other.stop()


@pytest.mark.fault("manual order or position at the broker", bound_s=5)
def test_manual_sale_when_the_desk_was_down_then_booked_and_the_rest_protected(
    desk: PlainDesk, recovery: Recovery
) -> None:
    qty = desk.hold()
    desk.stop()
    desk.exchange.request("DELETE", "/v2/orders")
    wait_until(lambda: desk.sells() == [])
    desk.post(symbol="ALFA", side="sell", qty="3")
    recovery.injected()
    desk.start()
    desk.wait_covered()
    recovery.done()
    assert desk.covered() == desk.held() == qty - 3
    desk.assert_exact()
