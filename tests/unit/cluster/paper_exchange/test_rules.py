"""Codes, messages and extra fields are those of Alpaca's documents."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from cluster.paper_exchange.refusal import Refused
from tests.unit.cluster.paper_exchange.market_script import Market


def refusal(market: Market, side: str, qty: int | str, **fields: Any) -> Refused:
    before = (len(market.core.orders), market.core.ledger.cash)
    with pytest.raises(Refused) as caught:
        market.send(side, qty, **fields)
    assert (len(market.core.orders), market.core.ledger.cash) == before
    return caught.value


def test_submit_when_it_costs_too_much_then_403_with_figures() -> None:
    market = Market(multiplier=1, cash=1_000)
    error = refusal(market, "buy", 10)
    assert (error.status, error.body) == (
        403,
        {
            "code": 40310000,
            "message": "insufficient buying power",
            "buying_power": "1000",
            "cost_basis": "1000.1",
        },
    )


def test_submit_when_open_buys_reserve_cash_then_only_the_rest_is_left() -> None:
    market = Market(multiplier=1, cash=1_000)
    first = market.send("buy", 6, limit_price="100")
    assert market.core.buying_power == 400
    refusal(market, "buy", 5, limit_price="99")
    market.cancel(first)
    assert market.core.buying_power == 1_000


def test_buying_power_when_margin_account_then_twice_the_equity_less_the_margin() -> None:
    market = Market()
    market.tick("AAA", 100.0, 100.0, 100.0)
    market.send("buy", 400)
    # Equity 100000, half of 40000 as margin: (100000 - 20000) x 2.
    assert market.core.buying_power == 160_000


def test_submit_when_a_stop_holds_the_shares_then_403_with_the_stop_named() -> None:
    market = Market()
    market.send("buy", 10)
    stop = market.send("sell", 10, type="stop", stop_price="95", time_in_force="gtc")
    error = refusal(market, "sell", 1)
    assert (error.status, error.body) == (
        403,
        {
            "code": 40310000,
            "message": "insufficient qty available for order (requested: 1, available: 0)",
            "available": "0",
            "existing_qty": "10",
            "held_for_orders": "10",
            "related_orders": [stop.id],
            "symbol": "AAA",
        },
    )


def test_submit_when_sell_exceeds_the_position_then_refused() -> None:
    market = Market()
    market.send("buy", 10)
    assert "requested: 11, available: 10" in refusal(market, "sell", 11).message


def test_submit_when_simple_stop_rests_then_every_simple_buy_is_a_wash_trade() -> None:
    market = Market()
    market.send("buy", 10)
    stop = market.send("sell", 10, type="stop", stop_price="95", time_in_force="gtc")
    for fields in ({}, {"limit_price": "90"}):
        error = refusal(market, "buy", 1, **fields)
        assert error.body["code"] == 40310000
        assert error.message == "potential wash trade detected. use complex orders"
        assert error.body["existing_order_id"] == stop.id
        assert error.body["reject_reason"] == "opposite side market/stop order exists"


@pytest.mark.parametrize(("buy", "is_refused"), [("104.99", False), ("105", True)])
def test_submit_when_limits_would_meet_then_wash_trade(buy: str, is_refused: bool) -> None:
    market = Market()
    market.send("buy", 10)
    market.tick("AAA", 104.90, 105.50, 105.0)
    market.send("sell", 10, limit_price="105", time_in_force="gtc")
    if is_refused:
        error = refusal(market, "buy", 1, limit_price=buy)
        assert error.body["reject_reason"] == "opposite side limit order exists"
    else:
        assert market.send("buy", 1, limit_price=buy).id


def test_submit_when_oco_rests_then_a_buy_is_exempt_from_the_wash_rule() -> None:
    market = Market()
    market.send("buy", 10)
    market.oco(10, "105", "95")
    assert market.send("buy", 1).filled_qty == 1


def test_submit_when_a_long_buy_is_open_then_no_short_sale() -> None:
    market = Market()
    market.send("buy", 1, limit_price="90")
    error = refusal(market, "sell", 1, limit_price="120")
    assert error.message == "cannot open a short sell while a long buy order is open"
    assert (error.status, error.body["code"]) == (403, 40310000)


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_submit_when_client_order_id_was_used_then_422(is_cancelled: bool) -> None:
    market = Market()
    order = market.send("buy", 1, limit_price="90", client_order_id="once")
    if is_cancelled:
        market.cancel(order)
    error = refusal(market, "buy", 1, client_order_id="once")
    assert (error.status, error.body) == (
        422,
        {"code": 40010001, "message": "client_order_id must be unique"},
    )


def test_submit_when_stop_is_through_the_price_then_422_with_both_prices() -> None:
    market = Market()
    market.send("buy", 1)
    error = refusal(market, "sell", 1, type="stop", stop_price="100")
    assert (error.status, error.body) == (
        422,
        {
            "code": 42210000,
            "message": "stop price must be less than current price",
            "market_price": "100",
            "stop_price": "100",
        },
    )


def test_submit_when_oco_stop_is_through_the_price_then_422() -> None:
    market = Market()
    market.send("buy", 10)
    with pytest.raises(Refused, match="stop price must be less than current price"):
        market.oco(10, "120", "101")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"limit_price": "99.999"}, "sub-penny increment"),
        ({"limit_price": "0.99999", "symbol": "BBB"}, "sub-penny increment"),
        ({"qty": "1.5", "time_in_force": "gtc"}, "fractional orders must be DAY orders"),
        (
            {
                "qty": "1.5",
                "order_class": "bracket",
                "take_profit": {"limit_price": "110"},
                "stop_loss": {"stop_price": "90"},
            },
            "fractional orders must be simple orders",
        ),
        (
            {
                "order_class": "oco",
                "type": "limit",
                "take_profit": {"limit_price": "110"},
                "stop_loss": {"stop_price": "90"},
            },
            "oco orders must be exit orders",
        ),
        (
            {
                "order_class": "bracket",
                "take_profit": {"limit_price": "110"},
                "stop_loss": {"stop_price": "100.0"},
            },
            "stop_loss.stop_price must be <= base_price - 0.01",
        ),
        ({"type": "stop", "stop_price": "105", "time_in_force": "ioc"}, "DAY or GTC"),
        ({"extended_hours": True}, "extended hours order must be DAY or GTC limit orders"),
        (
            {"type": "trailing_stop", "trail_price": "1", "time_in_force": "fok"},
            "stop orders must be DAY or GTC orders",
        ),
        ({"symbol": "NONE"}, 'asset "NONE" not found'),
    ],
)
def test_submit_when_a_rule_of_form_is_broken_then_422(
    fields: dict[str, Any], message: str
) -> None:
    error = refusal(Market(), "buy", fields.pop("qty", 1), **fields)
    assert (error.status, error.body["code"]) == (422, 42210000)
    assert message in error.message


def test_submit_when_bracket_would_exit_then_422() -> None:
    market = Market()
    market.send("buy", 10)
    error = refusal(
        market,
        "sell",
        10,
        order_class="bracket",
        take_profit={"limit_price": "90"},
        stop_loss={"stop_price": "110"},
    )
    assert error.message == "bracket orders must be entry orders"


def test_submit_when_client_order_id_is_129_long_then_422() -> None:
    market = Market()
    assert market.send("buy", 1, client_order_id="x" * 128).client_order_id == "x" * 128
    assert "128" in refusal(market, "buy", 1, client_order_id="x" * 129).message


@pytest.mark.parametrize(
    ("state", "change", "message"),
    [
        ("open", {}, "order parameters are not changed"),
        ("open", {"limit_price": "90"}, "order parameters are not changed"),
        ("filled", {"limit_price": "91"}, "order is not open"),
        ("replaced", {"limit_price": "91"}, "order already replaced"),
        ("closed", {"limit_price": "91"}, "cannot replace order in accepted status"),
        ("partial", {"qty": "4"}, "qty must be > filled_qty"),
        ("advanced", {"qty": "4"}, "qty cannot be changed for advanced orders"),
    ],
)
def test_replace_when_not_allowed_then_422(
    state: str, change: dict[str, str], message: str
) -> None:
    market = Market(is_open=state != "closed")
    if state == "partial":
        market.core.hold_next = Decimal(4)
    if state == "advanced":
        market.send("buy", 10)
        order, _ = market.oco(10, "105", "95")
    else:
        price = "100.5" if state in ("filled", "partial") else "90"
        order = market.send("buy", 10, limit_price=price)
    if state == "replaced":
        market.core.replace(order.id, {"limit_price": "89"}, market.now)
    with pytest.raises(Refused) as caught:
        market.core.replace(order.id, change, market.now)
    assert (caught.value.status, caught.value.body["code"]) == (422, 42210000)
    assert caught.value.message == message


def test_replace_when_it_costs_more_than_there_is_then_the_old_order_stays() -> None:
    market = Market(multiplier=1, cash=1_000)
    order = market.send("buy", 10, limit_price="90")
    with pytest.raises(Refused, match="insufficient buying power"):
        market.core.replace(order.id, {"qty": "12"}, market.now)
    assert order.status == "new"
    assert market.core.replace(order.id, {"limit_price": "99"}, market.now)["limit_price"] == "99"


def test_close_position_when_a_stop_holds_it_then_403_and_without_position_404() -> None:
    market = Market()
    market.send("buy", 10)
    market.oco(10, "105", "95")
    with pytest.raises(Refused, match="insufficient qty available"):
        market.core.close_position("AAA", market.now)
    with pytest.raises(Refused, match="position does not exist") as caught:
        market.core.close_position("BBB", market.now)
    assert (caught.value.status, caught.value.body["code"]) == (404, 40410000)
