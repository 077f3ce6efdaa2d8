"""The life of an order, bullet by bullet of what Alpaca documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderStatus, QueryOrderStatus
from alpaca.trading.models import Order
from alpaca.trading.requests import (
    GetOrderByIdRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopOrderRequest,
    TrailingStopOrderRequest,
)

from tests.exchange_fixture import KEY, SECRET, ExchangeProcess, LockstepDriver, wait_until

KINDS = {
    "market": MarketOrderRequest,
    "limit": LimitOrderRequest,
    "stop": StopOrderRequest,
    "stop_limit": StopLimitOrderRequest,
    "trailing": TrailingStopOrderRequest,
}


def send(trading: TradingClient, symbol: str, side: str, kind: str = "market", **f: Any) -> Order:
    values = {"qty": 10, "time_in_force": "day" if kind == "market" else "gtc", **f}
    order = trading.submit_order(KINDS[kind](symbol=symbol, side=side, **values))
    assert isinstance(order, Order)
    return order


def status(trading: TradingClient, order: Order) -> OrderStatus:
    return trading.get_order_by_id(order.id).status


def oco(trading: TradingClient, symbol: str, target: float, stop: float) -> tuple[Order, Order]:
    send(trading, symbol, "buy")
    order = send(
        trading,
        symbol,
        "sell",
        "limit",
        limit_price=target,
        order_class="oco",
        take_profit={"limit_price": target},
        stop_loss={"stop_price": stop},
    )
    assert order.legs is not None
    return order, order.legs[0]


def test_life_when_market_closed_then_accepted_until_the_open(
    driver: LockstepDriver, trading: TradingClient, symbol: str
) -> None:
    driver.ensure_closed()
    order = send(trading, symbol, "buy")
    assert (order.status, status(trading, order)) == (OrderStatus.ACCEPTED, OrderStatus.ACCEPTED)
    driver.step()
    filled = trading.get_order_by_id(order.id)
    # The first quote of the wave's day is 100.01.
    assert (filled.status, filled.filled_avg_price) == (OrderStatus.FILLED, "100.01")


@pytest.mark.parametrize("tif", ["day", "gtc", "ioc", "fok"])
def test_life_when_marketable_then_filled_under_any_time_in_force(
    trading: TradingClient, symbol: str, tif: str
) -> None:
    order = send(trading, symbol, "buy", "limit", limit_price=110, time_in_force=tif)
    assert status(trading, order) is OrderStatus.FILLED


@pytest.mark.parametrize(("tif", "end"), [("day", "expired"), ("gtc", "new"), ("cls", "filled")])
def test_life_when_session_ends_then_by_time_in_force(
    driver: LockstepDriver, trading: TradingClient, symbol: str, tif: str, end: str
) -> None:
    price = 200 if tif == "cls" else 80
    order = send(trading, symbol, "buy", "limit", limit_price=price, time_in_force=tif)
    assert status(trading, order) is OrderStatus.NEW
    driver.until(lambda step: step["kind"] == "close")
    assert status(trading, order) == end


def test_life_when_opening_order_then_filled_at_the_open(
    driver: LockstepDriver, trading: TradingClient, symbol: str
) -> None:
    driver.ensure_closed()
    order = send(trading, symbol, "buy", time_in_force="opg")
    driver.step()
    assert trading.get_order_by_id(order.id).filled_avg_price == "100"


def test_life_when_limit_rests_then_filled_once_the_ask_touches_it(
    driver: LockstepDriver, trading: TradingClient, symbol: str
) -> None:
    driver.to_price(101)
    order = send(trading, symbol, "buy", "limit", limit_price=99.01)
    driver.until(lambda _: status(trading, order) is OrderStatus.FILLED, 8)
    assert (driver.price, trading.get_order_by_id(order.id).filled_avg_price) == (99, "99.01")


def test_life_when_sell_stop_triggers_then_filled_at_the_bid(
    driver: LockstepDriver, trading: TradingClient, symbol: str
) -> None:
    driver.to_price(101)
    send(trading, symbol, "buy")
    order = send(trading, symbol, "sell", "stop", stop_price=99)
    driver.until(lambda _: status(trading, order) is OrderStatus.FILLED, 8)
    assert (driver.price, trading.get_order_by_id(order.id).filled_avg_price) == (99, "98.99")


def test_life_when_stop_limit_triggers_then_waits_for_its_limit(
    driver: LockstepDriver, trading: TradingClient, symbol: str
) -> None:
    driver.to_price(101)
    send(trading, symbol, "buy")
    order = send(trading, symbol, "sell", "stop_limit", stop_price=99, limit_price=100.99)
    driver.to_price(98)
    assert status(trading, order) is OrderStatus.NEW
    driver.to_price(101)
    assert trading.get_order_by_id(order.id).filled_avg_price == "100.99"


def test_life_when_trailing_stop_then_follows_the_high_and_sells_below_it(
    driver: LockstepDriver, trading: TradingClient, symbol: str
) -> None:
    driver.to_price(100)
    send(trading, symbol, "buy")
    order = send(trading, symbol, "sell", "trailing", trail_price=2.5)
    driver.to_price(102)
    raised = trading.get_order_by_id(order.id)
    assert (raised.hwm, raised.stop_price) == ("102", "99.5")
    driver.until(lambda _: status(trading, order) is OrderStatus.FILLED, 8)
    assert driver.price == 99


def test_life_when_cancelled_then_pending_cancel_can_be_seen(
    wave_source: str, tmp_path: Path
) -> None:
    options = ("--lockstep", "--cancel-delay", "0.5")
    with ExchangeProcess(wave_source, tmp_path, *options) as exchange:
        trading = TradingClient(KEY, SECRET, url_override=exchange.url)
        order = send(trading, "ALFA", "buy", "limit", limit_price=80)
        trading.cancel_order_by_id(order.id)
        assert status(trading, order) is OrderStatus.PENDING_CANCEL
        trading.cancel_order_by_id(order.id)
        wait_until(lambda: status(trading, order) is OrderStatus.CANCELED)
        trading.cancel_order_by_id(order.id)
        assert status(trading, order) is OrderStatus.CANCELED


def test_life_when_replaced_after_a_partial_fill_then_the_original_quantity_is_kept(
    exchange: ExchangeProcess, trading: TradingClient, symbol: str
) -> None:
    exchange.fault("^POST /v2/orders", "partial", qty=4)
    order = send(trading, symbol, "buy", "limit", limit_price=110)
    assert trading.get_order_by_id(order.id).filled_qty == "4"
    new = trading.replace_order_by_id(order.id, ReplaceOrderRequest(limit_price=80))
    assert (new.qty, new.filled_qty, status(trading, order)) == ("10", "4", OrderStatus.REPLACED)


def test_life_when_bracket_entry_is_partly_filled_then_legs_are_held_and_die_with_it(
    exchange: ExchangeProcess, driver: LockstepDriver, trading: TradingClient, symbol: str
) -> None:
    exchange.fault("^POST /v2/orders", "partial", qty=4)
    legs = {"take_profit": {"limit_price": 120}, "stop_loss": {"stop_price": 99}}
    driver.to_price(101)
    entry = send(trading, symbol, "buy", "limit", limit_price=110, order_class="bracket", **legs)
    assert entry.legs is not None
    driver.to_price(98)
    assert {status(trading, leg) for leg in entry.legs} == {OrderStatus.HELD}
    open_ids = {order.id for order in trading.get_orders()}
    assert open_ids == {entry.id}
    all_ids = {o.id for o in trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL))}
    assert {leg.id for leg in entry.legs} <= all_ids
    trading.cancel_order_by_id(entry.id)
    wait_until(lambda: status(trading, entry) is OrderStatus.CANCELED)
    assert {status(trading, leg) for leg in entry.legs} == {OrderStatus.CANCELED}
    assert trading.get_open_position(symbol).qty == "4"


def test_life_when_bracket_entry_fills_then_the_stop_sells_and_the_target_goes(
    driver: LockstepDriver, trading: TradingClient, symbol: str
) -> None:
    driver.to_price(101)
    legs = {"take_profit": {"limit_price": 120}, "stop_loss": {"stop_price": 99}}
    entry = send(trading, symbol, "buy", order_class="bracket", **legs)
    nested = trading.get_order_by_id(entry.id, GetOrderByIdRequest(nested=True))
    assert nested.legs is not None
    target, stop = sorted(nested.legs, key=lambda leg: str(leg.type))
    assert (target.status, stop.status) == (OrderStatus.NEW, OrderStatus.HELD)
    driver.until(lambda _: status(trading, stop) is OrderStatus.FILLED, 8)
    assert status(trading, target) is OrderStatus.CANCELED
    assert trading.get_all_positions() == []


def test_life_when_oto_entry_fills_then_its_leg_works(trading: TradingClient, symbol: str) -> None:
    entry = send(trading, symbol, "buy", order_class="oto", stop_loss={"stop_price": 90})
    assert entry.legs is not None
    assert status(trading, entry.legs[0]) is OrderStatus.NEW


def test_life_when_one_leg_of_an_oco_is_cancelled_then_both_are(
    trading: TradingClient, symbol: str
) -> None:
    target, stop = oco(trading, symbol, 120, 90)
    assert trading.get_open_position(symbol).qty_available == "0"
    trading.cancel_order_by_id(stop.id)
    wait_until(lambda: status(trading, target) is OrderStatus.CANCELED)
    assert trading.get_open_position(symbol).qty_available == "10"


def test_life_when_oco_target_is_made_marketable_then_sold_without_a_gap(
    trading: TradingClient, symbol: str
) -> None:
    target, stop = oco(trading, symbol, 120, 90)
    new = trading.replace_order_by_id(target.id, ReplaceOrderRequest(limit_price=91))
    assert (status(trading, new), status(trading, stop)) == (
        OrderStatus.FILLED,
        OrderStatus.CANCELED,
    )
    assert trading.get_all_positions() == []


def test_life_when_a_fill_overtakes_the_cancel_then_filled_and_422(
    exchange: ExchangeProcess, trading: TradingClient, symbol: str
) -> None:
    target, stop = oco(trading, symbol, 120, 90)
    exchange.fault("^DELETE /v2/orders/", "fill")
    answer = exchange.request("DELETE", f"/v2/orders/{stop.id}")
    assert answer.status_code == 422
    assert answer.json()["message"] == 'order is already in "filled" state'
    assert status(trading, target) is OrderStatus.CANCELED
    assert trading.get_all_positions() == []
