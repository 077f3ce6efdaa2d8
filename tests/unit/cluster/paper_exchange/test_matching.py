"""Expected prices and quantities are worked out by hand from the quotes given."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cluster.paper_exchange.orders import Status
from cluster.paper_exchange.refusal import Refused
from tests.unit.cluster.paper_exchange.market_script import START_NS, Market

D = Decimal


def average(order: object) -> Decimal:
    return order.filled_value / order.filled_qty  # type: ignore[attr-defined,no-any-return]


def test_submit_when_market_order_and_open_then_fills_at_the_far_side() -> None:
    market = Market()
    buy = market.send("buy", 10)
    assert (buy.status, average(buy)) == (Status.FILLED, D("100.01"))
    sell = market.send("sell", 4)
    assert average(sell) == D("99.99")
    # 100000 - 10 x 100.01 + 4 x 99.99
    assert market.core.ledger.cash == D("99399.86")
    assert market.core.ledger.qty("AAA") == 6
    assert market.events() == ["pending_new", "new", "fill"] * 2


def test_submit_when_market_closed_then_accepted_until_the_first_quote() -> None:
    market = Market(is_open=False)
    order = market.send("buy", 1)
    assert order.status is Status.ACCEPTED
    market.core.open_session(market.now)
    assert order.status is Status.NEW
    market.tick("AAA", 101.0, 101.5)
    assert average(order) == D("101.5")
    assert market.events() == ["accepted", "new", "fill"]


@pytest.mark.parametrize(
    ("side", "limit", "quote", "price"),
    [
        ("buy", "99", (98.50, 98.90), "98.9"),
        ("buy", "99", (98.90, 99.00), "99"),
        ("sell", "101", (101.20, 101.30), "101.2"),
        ("sell", "101", (101.00, 101.30), "101"),
    ],
)
def test_limit_when_far_side_touches_it_then_fills_at_the_far_side(
    side: str, limit: str, quote: tuple[float, float], price: str
) -> None:
    market = Market()
    if side == "sell":
        market.send("buy", 5)
    order = market.send(side, 5, limit_price=limit)
    assert order.status is Status.NEW
    market.tick("AAA", *quote)
    assert (order.status, average(order)) == (Status.FILLED, D(price))


def test_limit_when_only_a_print_passes_it_then_does_not_fill() -> None:
    market = Market()
    order = market.send("buy", 5, limit_price="99")
    market.tick("AAA", 99.5, 99.6, 98.0)
    assert order.status is Status.NEW


def test_sell_stop_when_print_inside_the_nbbo_then_fills_at_the_bid() -> None:
    market = Market()
    market.send("buy", 5)
    stop = market.send("sell", 5, type="stop", stop_price="95", time_in_force="gtc")
    market.tick("AAA", 94.0, 94.1, 96.0)  # print outside the quote
    assert stop.status is Status.NEW
    market.tick("AAA", 94.0, 94.1)  # no print
    assert stop.status is Status.NEW
    market.tick("AAA", 93.9, 94.1, 94.0)
    assert (stop.status, average(stop)) == (Status.FILLED, D("93.9"))


def test_buy_stop_when_gap_beyond_its_collar_then_rests_as_a_limit() -> None:
    market = Market()
    # At $100 the collar is 2.5%: the limit is 105 x 1.025 = 107.62 (half even).
    stop = market.send("buy", 5, type="stop", stop_price="105")
    market.tick("AAA", 109.0, 109.5, 109.2)
    assert (stop.is_triggered, stop.status) == (True, Status.NEW)
    market.tick("AAA", 107.0, 107.5, 107.2)
    assert average(stop) == D("107.5")


def test_stop_limit_when_triggered_below_its_limit_then_waits_for_it() -> None:
    market = Market()
    market.send("buy", 5)
    order = market.send("sell", 5, type="stop_limit", stop_price="95", limit_price="94.50")
    market.tick("AAA", 94.0, 94.2, 94.1)
    assert (order.is_triggered, order.status) == (True, Status.NEW)
    market.tick("AAA", 94.6, 94.8)
    assert average(order) == D("94.6")


def test_trailing_stop_when_price_rises_then_falls_then_fills_below_the_high() -> None:
    market = Market()
    market.send("buy", 5)
    order = market.send("sell", 5, type="trailing_stop", trail_price="2")
    assert (order.hwm, order.stop_price) == (D("100.0"), D("98.0"))
    market.tick("AAA", 104.9, 105.1, 105.0)
    assert (order.hwm, order.stop_price) == (D("105.0"), D("103.0"))
    market.tick("AAA", 103.4, 103.6, 103.5)
    assert order.status is Status.NEW
    market.tick("AAA", 102.8, 103.0, 102.9)
    assert average(order) == D("102.8")


def test_trailing_stop_when_in_percent_then_the_distance_follows_the_high() -> None:
    market = Market()
    market.send("buy", 5)
    order = market.send("sell", 5, type="trailing_stop", trail_percent="10")
    market.tick("AAA", 119.9, 120.1, 120.0)
    assert order.stop_price == D(108)


@pytest.mark.parametrize("tif", ["ioc", "fok"])
def test_immediate_order_when_not_marketable_then_cancelled_at_once(tif: str) -> None:
    market = Market()
    order = market.send("buy", 5, limit_price="99", time_in_force=tif)
    assert order.status is Status.CANCELED


def test_fok_when_partial_fills_are_certain_then_still_fills_whole() -> None:
    market = Market(partial_fills=0.999)
    order = market.send("buy", 50, time_in_force="fok")
    assert (order.status, order.fill_count) == (Status.FILLED, 1)


def test_ioc_when_partly_filled_then_the_rest_is_cancelled() -> None:
    market = Market(partial_fills=0.999)
    order = market.send("buy", 50, time_in_force="ioc")
    assert order.status is Status.CANCELED
    assert 0 < order.filled_qty < 50


def test_partial_fill_when_drawn_then_the_rest_fills_on_later_quotes() -> None:
    market = Market(partial_fills=0.999)
    order = market.send("buy", 5, client_order_id="fixed")
    assert order.status is Status.PARTIALLY_FILLED
    for _ in range(10):
        market.tick("AAA", 99.99, 100.01)
    assert (order.status, order.filled_qty) == (Status.FILLED, 5)


def test_partial_fill_when_other_orders_came_first_then_the_draw_is_the_same() -> None:
    alone, crowded = Market(partial_fills=0.5), Market(partial_fills=0.5)
    for i in range(7):
        crowded.send("buy", 1, symbol="BBB", client_order_id=f"other-{i}")
    fills = [m.send("buy", 500, client_order_id="mine").filled_qty for m in (alone, crowded)]
    assert fills[0] == fills[1]


def test_partial_fills_when_many_then_about_the_chosen_share() -> None:
    market = Market(partial_fills=0.1, cash=100_000_000)
    partial = 0
    for _ in range(2_000):
        market.tick("AAA", 99.9, 100.1, 100.0)
        order = market.send("buy", 2)
        partial += order.status is Status.PARTIALLY_FILLED
        if order.status is Status.PARTIALLY_FILLED:
            market.cancel(order)
    # Binomial(2000, 0.1): mean 200, standard deviation 13.4; five of them.
    assert 133 <= partial <= 267


def test_partial_fill_when_the_order_has_another_name_then_is_the_same() -> None:
    def quantities(name: str) -> list[Decimal]:
        market = Market(partial_fills=0.5, cash=100_000_000)
        orders = []
        for i in range(50):
            market.tick("AAA", 99.9, 100.1, 100.0)
            orders.append(market.send("buy", 9, client_order_id=f"{name}{i}"))
        return [order.filled_qty for order in orders]

    assert quantities("first") == quantities("second")
    assert len(set(quantities("first"))) > 2


def test_opg_when_session_opens_then_fills_at_the_first_print_within_the_quote() -> None:
    market = Market(is_open=False)
    order = market.send("buy", 5, time_in_force="opg")
    capped = market.send("buy", 5, time_in_force="opg", limit_price="99.99")
    market.core.open_session(market.now)
    market.tick("AAA", 100.4, 100.6, 100.5)
    assert average(order) == D("100.5")
    assert capped.status is Status.CANCELED


def test_cls_when_session_closes_then_fills_at_the_last_print() -> None:
    market = Market()
    order = market.send("buy", 5, time_in_force="cls")
    market.tick("AAA", 101.0, 101.4, 101.2)
    assert order.status is Status.NEW
    market.close()
    assert average(order) == D("101.2")


def test_close_when_orders_rest_then_day_expires_and_gtc_stays() -> None:
    market = Market()
    day = market.send("buy", 5, limit_price="90")
    gtc = market.send("buy", 5, limit_price="91", time_in_force="gtc")
    market.close()
    assert (day.status, gtc.status) == (Status.EXPIRED, Status.NEW)


def test_close_when_gtc_is_ninety_days_old_then_cancelled() -> None:
    market = Market()
    gtc = market.send("buy", 5, limit_price="91", time_in_force="gtc")
    market.now = START_NS + 91 * 86_400 * 10**9
    market.core.end_session(market.now)
    assert gtc.status is Status.CANCELED


def test_bracket_when_entry_partly_filled_then_legs_stay_held() -> None:
    market = Market()
    market.core.hold_next = D(4)
    entry = market.send(
        "buy",
        10,
        limit_price="100.5",
        order_class="bracket",
        take_profit={"limit_price": "110"},
        stop_loss={"stop_price": "95"},
    )
    market.core.hold_next = None
    target, stop = market.core.legs(entry)
    assert (entry.status, target.status, stop.status) == (
        Status.PARTIALLY_FILLED,
        Status.HELD,
        Status.HELD,
    )
    market.tick("AAA", 93.9, 94.1, 94.0)
    assert stop.status is Status.HELD
    market.cancel(entry)
    assert (target.status, stop.status) == (Status.CANCELED, Status.CANCELED)
    assert market.core.ledger.qty("AAA") == 4


def test_bracket_when_entry_filled_then_target_works_and_stop_is_armed() -> None:
    market = Market()
    entry = market.send(
        "buy",
        10,
        order_class="bracket",
        take_profit={"limit_price": "110"},
        stop_loss={"stop_price": "95"},
    )
    target, stop = market.core.legs(entry)
    assert (target.status, stop.status, stop.is_armed) == (Status.NEW, Status.HELD, True)
    assert market.core.qty_available("AAA") == 0
    market.tick("AAA", 94.0, 94.2, 94.1)
    assert (stop.status, target.status) == (Status.FILLED, Status.CANCELED)
    assert market.core.ledger.qty("AAA") == 0


def test_oto_when_entry_filled_then_the_one_leg_works() -> None:
    market = Market()
    entry = market.send("buy", 10, order_class="oto", stop_loss={"stop_price": "95"})
    (stop,) = market.core.legs(entry)
    assert stop.status is Status.NEW
    market.tick("AAA", 94.0, 94.2, 94.1)
    assert stop.status is Status.FILLED


def test_oco_when_target_fills_then_the_stop_is_cancelled() -> None:
    market = Market()
    market.send("buy", 10)
    target, stop = market.oco(10, "105", "95")
    market.tick("AAA", 105.1, 105.3, 105.2)
    assert (target.status, stop.status) == (Status.FILLED, Status.CANCELED)


def test_oco_when_for_a_part_of_the_position_then_it_reserves_once() -> None:
    market = Market()
    market.send("buy", 10)
    market.oco(4, "105", "95")
    assert market.core.qty_available("AAA") == 6
    assert market.send("sell", 6, limit_price="104").status is Status.NEW
    assert market.core.qty_available("AAA") == 0


def test_oco_when_target_partly_fills_then_the_stop_shrinks() -> None:
    market = Market()
    market.send("buy", 10)
    target, stop = market.oco(10, "105", "95")
    market.core.force_fill(target.id, market.now, D(4))
    assert (stop.qty, market.core.qty_available("AAA")) == (6, 0)
    market.tick("AAA", 94.0, 94.2, 94.1)
    assert (stop.filled_qty, market.core.ledger.qty("AAA")) == (6, 0)
    assert target.status is Status.CANCELED


def test_oco_when_one_leg_is_cancelled_then_both_are() -> None:
    market = Market()
    market.send("buy", 10)
    target, stop = market.oco(10, "105", "95")
    market.cancel(stop)
    assert (target.status, stop.status) == (Status.CANCELED, Status.CANCELED)
    assert market.core.qty_available("AAA") == 10


def test_cancel_when_a_leg_of_a_waiting_bracket_then_the_whole_group_goes() -> None:
    market = Market()
    entry = market.send(
        "buy",
        10,
        limit_price="90",
        order_class="bracket",
        take_profit={"limit_price": "110"},
        stop_loss={"stop_price": "85"},
    )
    target, stop = market.core.legs(entry)
    market.cancel(target)
    assert {entry.status, target.status, stop.status} == {Status.CANCELED}


def test_cancel_when_a_fill_overtakes_it_then_filled() -> None:
    market = Market()
    order = market.send("buy", 10, limit_price="99")
    market.core.request_cancel(order.id, market.now)
    assert order.status is Status.PENDING_CANCEL
    market.tick("AAA", 98.0, 98.5)
    market.core.complete_cancels(market.now)
    assert order.status is Status.FILLED


def test_cancel_when_already_cancelled_then_succeeds_and_when_filled_then_refused() -> None:
    market = Market()
    order = market.send("buy", 10, limit_price="99")
    market.cancel(order)
    market.core.request_cancel(order.id, market.now)
    filled = market.send("buy", 1)
    with pytest.raises(Refused) as refusal:
        market.core.request_cancel(filled.id, market.now)
    assert refusal.value.body == {
        "code": 42210000,
        "message": 'order is already in "filled" state',
    }


def test_replace_when_accepted_then_old_is_replaced_and_new_works() -> None:
    market = Market()
    old = market.send("buy", 10, limit_price="99", client_order_id="first")
    answer = market.core.replace(
        old.id, {"limit_price": "98", "client_order_id": "second"}, market.now
    )
    new = market.core.order(answer["id"])
    assert (old.status, old.replaced_by) == (Status.REPLACED, new.id)
    assert (new.status, new.replaces, new.client_order_id) == (Status.NEW, old.id, "second")
    assert new.limit_price == 98
    replaced = next(u for u in market.core.updates if u["event"] == "replaced")
    assert replaced["order"]["id"] == old.id


def test_replace_when_partly_filled_then_quantity_is_that_of_the_whole_order() -> None:
    market = Market()
    market.core.hold_next = D(4)
    old = market.send("buy", 10, limit_price="100.5")
    market.core.hold_next = None
    answer = market.core.replace(old.id, {"limit_price": "99"}, market.now)
    new = market.core.order(answer["id"])
    new.is_frozen = False
    assert (new.qty, new.remaining) == (10, 6)
    market.tick("AAA", 98.0, 98.5)
    assert (new.status, market.core.ledger.qty("AAA")) == (Status.FILLED, 10)


def test_replace_when_target_made_marketable_then_fills_and_stop_goes() -> None:
    market = Market()
    market.send("buy", 10)
    target, stop = market.oco(10, "105", "95")
    answer = market.core.replace(target.id, {"limit_price": "99.50"}, market.now)
    new = market.core.order(answer["id"])
    assert (new.status, stop.status) == (Status.FILLED, Status.CANCELED)
    assert market.core.ledger.qty("AAA") == 0


def test_replace_when_held_stop_then_the_pair_holds_together() -> None:
    market = Market()
    market.send("buy", 10)
    target, stop = market.oco(10, "105", "95")
    answer = market.core.replace(stop.id, {"stop_price": "96"}, market.now)
    new = market.core.order(answer["id"])
    assert (new.status, market.core.legs(target)) == (Status.HELD, [new])
    market.tick("AAA", 95.4, 95.6, 95.5)
    assert (new.status, target.status) == (Status.FILLED, Status.CANCELED)


def test_split_when_long_then_quantity_grows_and_orders_stay() -> None:
    market = Market()
    market.send("buy", 10)
    stop = market.send("sell", 10, type="stop", stop_price="95", time_in_force="gtc")
    market.core.split("AAA", D(7))
    position = market.core.ledger.positions["AAA"]
    assert (position.qty, stop.qty, stop.stop_price) == (70, 10, 95)
    assert round(position.average, 4) == round(D("100.01") / 7, 4)
    assert market.core.markets["AAA"].previous_close == pytest.approx(100 / 7)


def test_fill_when_reverse_split_left_less_than_the_stop_then_never_short() -> None:
    market = Market()
    market.send("buy", 10)
    stop = market.send("sell", 10, type="stop", stop_price="95", time_in_force="gtc")
    market.core.split("AAA", D("0.5"))
    market.tick("AAA", 93.9, 94.1, 94.0)
    assert (stop.status, stop.filled_qty) == (Status.CANCELED, 5)
    assert market.core.ledger.qty("AAA") == 0


def test_short_sale_when_margin_account_then_opens_and_closes() -> None:
    market = Market()
    market.send("sell", 10)
    assert market.core.ledger.qty("AAA") == -10
    market.send("buy", 10)
    # Sold at 99.99 and bought back at 100.01: 20 cents lost.
    assert market.core.ledger.cash == D("99999.80")


def test_close_position_when_part_asked_then_sells_the_part() -> None:
    market = Market()
    market.send("buy", 10)
    market.core.close_position("AAA", market.now, percent=D(30))
    assert market.core.ledger.qty("AAA") == 7
    market.core.close_position("AAA", market.now, qty=D(2))
    assert market.core.ledger.qty("AAA") == 5


def test_touched_when_extremes_miss_every_order_then_false() -> None:
    market = Market()
    market.send("buy", 10)
    market.oco(10, "105", "95")
    assert not market.core.is_touched("AAA", 104.9, 95.3, 95.1, 104.9)
    assert market.core.is_touched("AAA", 105.0, 95.3, 95.1, 104.9)
    assert market.core.is_touched("AAA", 104.9, 95.3, 95.0, 104.9)
    assert not market.core.is_touched("BBB", 999.0, 0.1, 0.1, 999.0)
