"""The trading routes, by the unmodified `TradingClient`."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderStatus, QueryOrderStatus
from alpaca.trading.models import Order
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetCalendarRequest,
    GetOrderByIdRequest,
    GetOrdersRequest,
    GetPortfolioHistoryRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
)

from tests.contract.alpaca.conftest import Endpoint
from tests.exchange_fixture import KEY, SECRET, ExchangeProcess, LockstepDriver, wait_until

ORDER_FIELDS = (  # noqa: SIM905
    "id client_order_id created_at updated_at submitted_at filled_at expired_at expires_at "
    "canceled_at failed_at replaced_at replaced_by replaces asset_id symbol asset_class "
    "notional qty filled_qty filled_avg_price order_class order_type type side "
    "position_intent time_in_force limit_price stop_price status extended_hours legs "
    "trail_percent trail_price hwm"
).split()
ACCOUNT_FIELDS = (  # noqa: SIM905
    "id account_number status currency cash equity last_equity portfolio_value buying_power "
    "regt_buying_power non_marginable_buying_power long_market_value short_market_value "
    "initial_margin maintenance_margin last_maintenance_margin multiplier sma accrued_fees "
    "trading_blocked transfers_blocked account_blocked trade_suspended_by_user"
).split()
POSITION_FIELDS = (  # noqa: SIM905
    "asset_id symbol exchange asset_class asset_marginable avg_entry_price qty qty_available "
    "side market_value cost_basis unrealized_pl unrealized_plpc unrealized_intraday_pl "
    "unrealized_intraday_plpc current_price lastday_price change_today"
).split()


def buy(trading: TradingClient, symbol: str, qty: float = 10, **fields: Any) -> Order:
    request = MarketOrderRequest(symbol=symbol, qty=qty, side="buy", time_in_force="day", **fields)
    order = trading.submit_order(request)
    assert isinstance(order, Order)
    return order


def limit(trading: TradingClient, symbol: str, price: float, **fields: Any) -> Order:
    values = {"qty": 10, "side": "buy", "time_in_force": "gtc", **fields}
    order = trading.submit_order(LimitOrderRequest(symbol=symbol, limit_price=price, **values))
    assert isinstance(order, Order)
    return order


def test_account_when_asked_then_every_field_is_there(endpoint: Endpoint) -> None:
    account = endpoint.trading.get_account()
    raw = endpoint.trading.get("/account")
    assert set(ACCOUNT_FIELDS) <= set(raw)
    assert isinstance(raw["cash"], str)
    assert account.currency == "USD"


def test_clock_when_asked_then_times_are_aware_and_in_order(endpoint: Endpoint) -> None:
    clock = endpoint.trading.get_clock()
    assert clock.timestamp.utcoffset() is not None
    assert clock.timestamp < clock.next_open or clock.is_open
    assert clock.next_close > clock.timestamp


def test_clock_when_session_is_on_then_open_until_the_close(
    driver: LockstepDriver, trading: TradingClient, symbol: str
) -> None:
    clock = trading.get_clock()
    assert clock.is_open
    assert clock.timestamp == datetime.fromisoformat(driver.current["at"])
    assert clock.timestamp.utcoffset() == timedelta(hours=-4)
    assert clock.next_close.strftime("%H:%M") == "16:00"


def test_calendar_when_half_day_then_its_close_is_at_one(endpoint: Endpoint) -> None:
    request = GetCalendarRequest(start=date(2013, 11, 27), end=date(2013, 12, 2))
    days = endpoint.trading.get_calendar(request)
    # Thanksgiving 2013-11-28 was closed, the day after it half a day.
    assert [(d.date.isoformat(), d.close.strftime("%H:%M")) for d in days] == [
        ("2013-11-27", "16:00"),
        ("2013-11-29", "13:00"),
        ("2013-12-02", "16:00"),
    ]
    raw = endpoint.trading.get("/calendar", {"start": "2013-11-29", "end": "2013-11-29"})[0]
    assert raw["open"] == "09:30"
    assert (raw["session_open"], raw["session_close"]) == ("0400", "2000")
    assert {"date", "settlement_date"} <= set(raw)


def test_asset_when_known_then_parsed_and_when_unknown_then_404(trading: TradingClient) -> None:
    asset = trading.get_asset("ALFA")
    assert (asset.symbol, asset.tradable, asset.fractionable) == ("ALFA", True, True)
    assert trading.get_asset(asset.id).symbol == "ALFA"
    assert "ALFA" in [a.symbol for a in trading.get_all_assets()]
    with pytest.raises(APIError) as error:
        trading.get_asset("NONE")
    assert error.value.status_code == 404


def test_order_when_sent_then_every_field_of_the_sheet(
    exchange: ExchangeProcess, trading: TradingClient, symbol: str
) -> None:
    order = limit(trading, symbol, 90, client_order_id=f"fields-{uuid4()}")
    raw = exchange.request("GET", f"/v2/orders/{order.id}").json()
    assert set(ORDER_FIELDS) <= set(raw)
    assert (raw["qty"], raw["limit_price"], raw["order_class"]) == ("10", "90", "")
    assert raw["created_at"].endswith("Z")


def test_orders_when_listed_then_status_symbols_side_limit_and_direction_filter(
    trading: TradingClient, symbol: str
) -> None:
    first, second = limit(trading, symbol, 90), limit(trading, symbol, 91)
    filled = buy(trading, symbol)

    def ids(**fields: Any) -> list[UUID]:
        return [o.id for o in trading.get_orders(GetOrdersRequest(symbols=[symbol], **fields))]

    assert ids() == [second.id, first.id]
    assert ids(direction="asc") == [first.id, second.id]
    assert ids(limit=1) == [second.id]
    assert filled.id in ids(status=QueryOrderStatus.CLOSED)
    assert {first.id, filled.id} <= set(ids(status=QueryOrderStatus.ALL, limit=500))
    assert ids(side="sell") == []
    assert ids(after=second.submitted_at) == []
    assert ids(until=second.submitted_at) == [second.id, first.id]


@pytest.mark.parametrize(
    "path",
    [
        "/v2/orders?limit=many",
        "/v2/orders?status=odd",
        "/v2/account/activities/FILL?page_size=-1",
        "/v2/orders?after=yesterday",
        "/v2/account/portfolio/history?timeframe=2Days",
        "/v2/stocks/bars?symbols=ALFA&timeframe=1Min&limit=x",
        "/v2/stocks/bars?symbols=ALFA&timeframe=1Min&start=soon",
        "/v2/stocks/bars?symbols=ALFA&timeframe=1Min&page_token=zzz",
        "/v1/corporate-actions?start=soon",
    ],
)
def test_request_when_a_parameter_is_garbled_then_a_refusal_and_no_crash(
    exchange: ExchangeProcess, path: str
) -> None:
    answer = exchange.request("GET", path)
    assert answer.status_code in (400, 422)
    assert answer.json()["message"]


def test_request_when_the_path_is_unknown_then_404(exchange: ExchangeProcess) -> None:
    assert exchange.request("GET", "/v2/nothing").status_code == 404


def test_order_when_the_body_is_garbled_then_422(exchange: ExchangeProcess) -> None:
    for body in (b"{", b"[]", b'{"symbol":"ALFA","qty":"x","side":"buy","type":"market"}'):
        answer = exchange.request("POST", "/v2/orders", data=body)
        assert (answer.status_code, answer.json()["code"]) == (422, 40010001)


def test_order_when_looked_up_by_either_id_then_the_same(
    trading: TradingClient, symbol: str
) -> None:
    client_id = f"lookup-{uuid4()}"
    order = limit(trading, symbol, 90, client_order_id=client_id)
    assert trading.get_order_by_client_id(client_id).id == order.id
    assert trading.get_order_by_id(order.id).client_order_id == client_id


def test_bracket_when_nested_then_legs_are_rolled_up(trading: TradingClient, symbol: str) -> None:
    order = buy(
        trading,
        symbol,
        order_class="bracket",
        take_profit={"limit_price": 110},
        stop_loss={"stop_price": 90},
    )
    assert order.legs is not None
    assert [leg.status for leg in order.legs] == [OrderStatus.HELD, OrderStatus.HELD]
    nested = trading.get_order_by_id(order.id, GetOrderByIdRequest(nested=True))
    assert nested.legs is not None
    assert {leg.type for leg in nested.legs} == {"limit", "stop"}


def test_cancel_when_asked_then_204_and_for_all_207(
    exchange: ExchangeProcess, trading: TradingClient, symbol: str
) -> None:
    first, second = limit(trading, symbol, 90), limit(trading, symbol, 91)
    answer = exchange.request("DELETE", f"/v2/orders/{first.id}")
    assert (answer.status_code, answer.content) == (204, b"")
    wait_until(lambda: trading.get_order_by_id(first.id).status is OrderStatus.CANCELED)
    answer = exchange.request("DELETE", "/v2/orders")
    assert answer.status_code == 207
    assert answer.json() == [{"id": str(second.id), "status": 200}]


def test_position_when_held_then_every_field_and_figures_by_hand(
    driver: LockstepDriver, trading: TradingClient, symbol: str
) -> None:
    driver.to_price(100)
    buy(trading, symbol)
    driver.to_price(102)
    raw = trading.get(f"/positions/{symbol}")
    assert set(POSITION_FIELDS) <= set(raw)
    # Bought 10 at the ask, 100.01; now at 102.
    assert (raw["qty"], raw["avg_entry_price"], raw["current_price"]) == ("10", "100.01", "102")
    assert (raw["cost_basis"], raw["market_value"]) == ("1000.1", "1020")
    assert (raw["unrealized_pl"], raw["side"]) == ("19.9", "long")
    position = trading.get_open_position(symbol)
    assert [p.symbol for p in trading.get_all_positions()] == [symbol]
    assert trading.get_open_position(position.asset_id).symbol == symbol


def test_close_position_when_part_and_all_then_orders_come_back(
    exchange: ExchangeProcess, trading: TradingClient, symbol: str
) -> None:
    buy(trading, symbol)
    part = trading.close_position(symbol, ClosePositionRequest(qty="4"))
    assert (part.side, part.qty) == ("sell", "4")
    assert trading.close_position(symbol, ClosePositionRequest(percentage="50")).qty == "3"
    answer = exchange.request("DELETE", "/v2/positions?cancel_orders=True")
    assert answer.status_code == 207
    (row,) = answer.json()
    assert (row["symbol"], row["status"], row["body"]["qty"]) == (symbol, 200, "3")
    assert trading.get_all_positions() == []


def test_close_all_when_a_stop_holds_the_shares_then_the_row_says_403(
    trading: TradingClient, symbol: str
) -> None:
    buy(trading, symbol)
    limit(
        trading,
        symbol,
        110,
        side="sell",
        order_class="oco",
        take_profit={"limit_price": 110},
        stop_loss={"stop_price": 90},
    )
    (answer,) = trading.close_all_positions()
    assert (answer.status, answer.body.code) == (403, 40310000)


def test_replace_when_patched_then_a_new_id(trading: TradingClient, symbol: str) -> None:
    order = limit(trading, symbol, 90)
    client_id = f"second-{uuid4()}"
    new = trading.replace_order_by_id(
        order.id, ReplaceOrderRequest(limit_price=91, client_order_id=client_id)
    )
    assert (new.replaces, new.client_order_id) == (order.id, client_id)
    assert new.id != order.id
    assert trading.get_order_by_id(order.id).replaced_by == new.id


def test_activities_when_paged_then_all_fills_once(trading: TradingClient, symbol: str) -> None:
    order = buy(trading, symbol)
    trading.close_position(symbol)
    seen: list[dict[str, Any]] = []
    token = None
    while rows := trading.get("/account/activities/FILL", {"page_size": 1, "page_token": token}):
        assert len(rows) == 1
        seen += rows
        token = rows[-1]["id"]
    assert len({row["id"] for row in seen}) == len(seen)
    row = next(row for row in seen if row["order_id"] == str(order.id))
    assert (row["qty"], row["cum_qty"], row["leaves_qty"]) == ("10", "10", "0")
    assert (row["activity_type"], row["type"], row["side"]) == ("FILL", "fill", "buy")


def test_portfolio_history_when_asked_then_epoch_seconds_and_numbers(
    driver: LockstepDriver, trading: TradingClient, symbol: str
) -> None:
    driver.step()
    history = trading.get_portfolio_history(GetPortfolioHistoryRequest(timeframe="1Min"))
    at = datetime.fromisoformat(driver.current["at"])
    assert history.timestamp[-1] == int(at.timestamp())
    assert history.equity[-1] == pytest.approx(float(trading.get_account().equity), abs=0.01)
    assert len(history.timestamp) == len(history.equity) == len(history.profit_loss)
    daily = trading.get_portfolio_history(GetPortfolioHistoryRequest(timeframe="1D"))
    assert daily.base_value == 100_000


def test_fractional_when_day_market_order_then_fills(trading: TradingClient, symbol: str) -> None:
    order = buy(trading, symbol, 0.5)
    assert trading.get_order_by_id(order.id).filled_qty == "0.5"
    request = MarketOrderRequest(symbol=symbol, notional=500, side="buy", time_in_force="day")
    by_value = trading.submit_order(request)
    assert (by_value.qty, by_value.notional) == (None, "500")
    assert float(trading.get_order_by_id(by_value.id).filled_qty or 0) == pytest.approx(5, rel=0.03)


def test_request_when_limit_is_used_up_then_429_with_the_headers(
    wave_source: str, tmp_path: Any
) -> None:
    with ExchangeProcess(wave_source, tmp_path, "--lockstep", "--rate-limit", "3") as exchange:
        answers = [exchange.request("GET", "/v2/account") for _ in range(8)]
        assert answers[0].headers["X-RateLimit-Limit"] == "3"
        limited = [a for a in answers if a.status_code == 429]
        # A minute may turn in between, which allows three more.
        assert len(limited) in (2, 5)
        assert limited[-1].json()["code"] == 42910000
        assert limited[-1].headers["X-RateLimit-Remaining"] == "0"
        assert int(limited[-1].headers["X-RateLimit-Reset"]) > 0


def test_client_when_credentials_are_right_then_account_differs_from_another_key(
    exchange: ExchangeProcess,
) -> None:
    mine = TradingClient(KEY, SECRET, url_override=exchange.url).get_account()
    assert mine.account_number.startswith("PA")
    with pytest.raises(APIError) as error:
        TradingClient(KEY, "other", url_override=exchange.url).get_account()
    assert error.value.status_code == 401
