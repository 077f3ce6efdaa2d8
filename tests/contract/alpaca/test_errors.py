"""Every refusal of the sheet: HTTP status, code, message, extra fields."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import (
    LimitOrderRequest,
    MarketOrderRequest,
    OrderRequest,
    ReplaceOrderRequest,
    StopOrderRequest,
)

from tests.contract.alpaca.conftest import Endpoint
from tests.exchange_fixture import KEY, ExchangeProcess, LockstepDriver


def request(kind: type[OrderRequest], symbol: str, side: str, **fields: Any) -> OrderRequest:
    values = {"symbol": symbol, "side": side, "qty": 10, "time_in_force": "gtc", **fields}
    if kind is MarketOrderRequest:
        values["time_in_force"] = fields.get("time_in_force", "day")
    return kind(**values)


def refused(trading: TradingClient, order: OrderRequest) -> tuple[int, dict[str, Any]]:
    with pytest.raises(APIError) as caught:
        trading.submit_order(order)
    return caught.value.status_code, json.loads(str(caught.value))


def test_error_when_secret_is_wrong_then_401_unauthorized(exchange: ExchangeProcess) -> None:
    with pytest.raises(APIError) as caught:
        TradingClient(KEY, "wrong", url_override=exchange.url).get_account()
    assert caught.value.status_code == 401
    assert json.loads(str(caught.value)) == {"message": "unauthorized."}


def test_error_when_no_key_is_sent_then_401_with_a_page(exchange: ExchangeProcess) -> None:
    answer = exchange.request("GET", "/v2/account", headers={})
    assert answer.status_code == 401
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.text.startswith("<html>")


def test_error_when_too_dear_then_insufficient_buying_power(
    trading: TradingClient, symbol: str
) -> None:
    power = float(trading.get_account().buying_power or 0)
    status, body = refused(
        trading, request(LimitOrderRequest, symbol, "buy", limit_price=90, qty=1e5)
    )
    assert (status, body["code"], body["message"]) == (403, 40310000, "insufficient buying power")
    assert float(body["buying_power"]) == pytest.approx(power)
    assert body["cost_basis"] == "9000000"


def test_error_when_shares_are_held_then_the_holding_order_is_named(
    trading: TradingClient, symbol: str
) -> None:
    trading.submit_order(request(MarketOrderRequest, symbol, "buy"))
    stop = trading.submit_order(request(StopOrderRequest, symbol, "sell", stop_price=90))
    status, body = refused(trading, request(MarketOrderRequest, symbol, "sell", qty=1))
    assert (status, body["code"]) == (403, 40310000)
    assert body["message"] == ("insufficient qty available for order (requested: 1, available: 0)")
    assert (body["available"], body["existing_qty"], body["held_for_orders"]) == ("0", "10", "10")
    assert (body["related_orders"], body["symbol"]) == ([str(stop.id)], symbol)


def test_error_when_own_stop_rests_then_a_buy_is_a_wash_trade(
    trading: TradingClient, symbol: str
) -> None:
    trading.submit_order(request(MarketOrderRequest, symbol, "buy"))
    stop = trading.submit_order(request(StopOrderRequest, symbol, "sell", stop_price=90))
    status, body = refused(trading, request(LimitOrderRequest, symbol, "buy", limit_price=80))
    assert (status, body["code"]) == (403, 40310000)
    assert body["message"] == "potential wash trade detected. use complex orders"
    assert body["existing_order_id"] == str(stop.id)
    assert body["reject_reason"]


def test_error_when_long_buy_is_open_then_no_short_sale(
    trading: TradingClient, symbol: str
) -> None:
    trading.submit_order(request(LimitOrderRequest, symbol, "buy", limit_price=80))
    status, body = refused(trading, request(LimitOrderRequest, symbol, "sell", limit_price=120))
    assert (status, body["code"]) == (403, 40310000)
    assert body["message"] == "cannot open a short sell while a long buy order is open"


def test_error_when_order_is_unknown_then_404(endpoint: Endpoint) -> None:
    order_id = uuid4()
    with pytest.raises(APIError) as caught:
        endpoint.trading.get_order_by_id(order_id)
    assert caught.value.status_code == 404
    assert caught.value.code == 40410000
    assert str(order_id) in caught.value.message


def test_error_when_position_is_unknown_then_404(endpoint: Endpoint) -> None:
    with pytest.raises(APIError) as caught:
        endpoint.trading.get_open_position("ZZZZ")
    assert (caught.value.status_code, caught.value.code) == (404, 40410000)
    assert caught.value.message == "position does not exist"


@pytest.mark.parametrize("code", [40010001, 42210000])
def test_error_when_client_order_id_was_used_then_422_under_either_code(
    exchange: ExchangeProcess, trading: TradingClient, symbol: str, code: int
) -> None:
    order = request(LimitOrderRequest, symbol, "buy", limit_price=80, client_order_id=str(uuid4()))
    first = trading.submit_order(order)
    trading.cancel_order_by_id(first.id)
    exchange.fault("^POST /v2/orders", "duplicate_code", code=code)
    status, body = refused(trading, order)
    assert (status, body) == (422, {"code": code, "message": "client_order_id must be unique"})


def test_error_when_filled_order_is_cancelled_then_422(trading: TradingClient, symbol: str) -> None:
    order = trading.submit_order(request(MarketOrderRequest, symbol, "buy"))
    with pytest.raises(APIError) as caught:
        trading.cancel_order_by_id(order.id)
    assert (caught.value.status_code, caught.value.code) == (422, 42210000)
    assert caught.value.message == 'order is already in "filled" state'


def test_error_when_stop_is_through_the_price_then_422_with_prices(
    driver: LockstepDriver, trading: TradingClient, symbol: str
) -> None:
    driver.to_price(101)
    trading.submit_order(request(MarketOrderRequest, symbol, "buy"))
    status, body = refused(trading, request(StopOrderRequest, symbol, "sell", stop_price=103))
    assert (status, body["code"]) == (422, 42210000)
    assert body["message"] == "stop price must be less than current price"
    assert (body["market_price"], body["stop_price"]) == ("101", "103")


LEGS = {"take_profit": {"limit_price": 120}, "stop_loss": {"stop_price": 80}}


@pytest.mark.parametrize(
    ("kind", "side", "fields", "message"),
    [
        (LimitOrderRequest, "buy", {"limit_price": 90.001}, "sub-penny"),
        (LimitOrderRequest, "buy", {"limit_price": 0.12345}, "sub-penny"),
        (
            LimitOrderRequest,
            "buy",
            {"limit_price": 90, "qty": 1.5},
            "fractional orders must be DAY orders",
        ),
        (
            MarketOrderRequest,
            "buy",
            {"qty": 1.5, "order_class": "bracket", **LEGS},
            "fractional orders must be simple orders",
        ),
        (
            LimitOrderRequest,
            "buy",
            {"limit_price": 120, "order_class": "oco", **LEGS},
            "oco orders must be exit orders",
        ),
        (StopOrderRequest, "buy", {"stop_price": 120, "time_in_force": "ioc"}, "DAY or GTC"),
        (MarketOrderRequest, "buy", {"extended_hours": True}, "extended hours"),
    ],
)
def test_error_when_a_rule_of_form_is_broken_then_422(
    trading: TradingClient,
    symbol: str,
    kind: type[OrderRequest],
    side: str,
    fields: dict[str, Any],
    message: str,
) -> None:
    status, body = refused(trading, request(kind, symbol, side, **fields))
    assert (status, body["code"]) == (422, 42210000)
    assert message in body["message"]


def test_error_when_bracket_would_exit_then_422(trading: TradingClient, symbol: str) -> None:
    trading.submit_order(request(MarketOrderRequest, symbol, "buy"))
    legs = {"take_profit": {"limit_price": 80}, "stop_loss": {"stop_price": 120}}
    order = request(MarketOrderRequest, symbol, "sell", order_class="bracket", **legs)
    status, body = refused(trading, order)
    assert (status, body["code"]) == (422, 42210000)
    assert body["message"] == "bracket orders must be entry orders"


@pytest.mark.parametrize("leg", ["stop_loss", "take_profit"])
def test_error_when_a_leg_is_less_than_a_cent_beyond_the_base_then_422(
    trading: TradingClient, symbol: str, leg: str
) -> None:
    legs = {"take_profit": {"limit_price": 120}, "stop_loss": {"stop_price": 80}}
    legs[leg] = {"stop_price" if leg == "stop_loss" else "limit_price": 90}
    order = request(LimitOrderRequest, symbol, "buy", limit_price=90, order_class="bracket", **legs)
    status, body = refused(trading, order)
    assert (status, body["code"]) == (422, 42210000)
    assert leg in body["message"]
    assert body["base_price"] == "90"


def replace(trading: TradingClient, order_id: Any, **fields: Any) -> str:
    with pytest.raises(APIError) as caught:
        trading.replace_order_by_id(order_id, ReplaceOrderRequest(**fields))
    assert (caught.value.status_code, caught.value.code) == (422, 42210000)
    return str(caught.value.message)


def test_error_when_replacement_is_not_allowed_then_422_says_why(
    exchange: ExchangeProcess, trading: TradingClient, symbol: str
) -> None:
    order = trading.submit_order(request(LimitOrderRequest, symbol, "buy", limit_price=80))
    assert replace(trading, order.id, limit_price=80) == "order parameters are not changed"
    trading.replace_order_by_id(order.id, ReplaceOrderRequest(limit_price=81))
    assert replace(trading, order.id, limit_price=82) == "order already replaced"
    filled = trading.submit_order(request(MarketOrderRequest, symbol, "buy"))
    assert replace(trading, filled.id, qty=3) == "order is not open"
    exchange.fault("^POST /v2/orders", "partial", qty=4)
    partly = trading.submit_order(request(LimitOrderRequest, symbol, "buy", limit_price=110))
    assert replace(trading, partly.id, qty=4) == "qty must be > filled_qty"
    bracket = trading.submit_order(
        request(LimitOrderRequest, symbol, "buy", limit_price=90, order_class="bracket", **LEGS)
    )
    message = replace(trading, bracket.id, qty=4)
    assert message == "qty cannot be changed for advanced orders"


def test_error_when_accepted_order_is_replaced_then_422(
    driver: LockstepDriver, trading: TradingClient, symbol: str
) -> None:
    driver.ensure_closed()
    order = trading.submit_order(request(LimitOrderRequest, symbol, "buy", limit_price=80))
    assert order.status == "accepted"
    message = replace(trading, order.id, limit_price=81)
    assert message == "cannot replace order in accepted status"


def test_error_when_client_order_id_is_too_long_then_422(
    trading: TradingClient, symbol: str
) -> None:
    status, _ = refused(
        trading,
        request(LimitOrderRequest, symbol, "buy", limit_price=80, client_order_id="x" * 129),
    )
    assert status == 422


def test_error_when_recent_sip_data_is_asked_for_then_403(
    exchange: ExchangeProcess, driver: LockstepDriver
) -> None:
    driver.ensure_open()
    now = driver.current["at"]
    answer = exchange.request(
        "GET", "/v2/stocks/bars", params={"symbols": "ALFA", "feed": "sip", "end": now}
    )
    assert answer.status_code == 403
    assert answer.json()["message"] == "subscription does not permit querying recent SIP data"
    old = exchange.request(
        "GET",
        "/v2/stocks/bars",
        params={"symbols": "ALFA", "feed": "sip", "end": "2014-06-04T20:00:00Z"},
    )
    assert old.status_code == 200
