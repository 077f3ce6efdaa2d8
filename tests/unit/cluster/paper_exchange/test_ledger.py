from __future__ import annotations

from decimal import Decimal

import pytest

from cluster.paper_exchange.ledger import Ledger, Market, to_decimal

D = Decimal


def test_book_when_bought_twice_and_sold_then_average_and_cash_by_hand() -> None:
    ledger = Ledger(D(10_000))
    ledger.book("AAA", D(10), D("100"))
    ledger.book("AAA", D(30), D("104"))
    # (10 x 100 + 30 x 104) / 40
    assert ledger.positions["AAA"].average == 103
    ledger.book("AAA", D(-20), D("110"))
    assert (ledger.positions["AAA"].average, ledger.qty("AAA")) == (103, 20)
    assert ledger.cash == 10_000 - 1_000 - 3_120 + 2_200
    ledger.book("AAA", D(-20), D("100"))
    assert ("AAA" in ledger.positions, ledger.cash) == (False, 10_080)


def test_book_when_sale_crosses_zero_then_the_rest_is_a_new_short() -> None:
    ledger = Ledger(D(0))
    ledger.book("AAA", D(5), D(10))
    ledger.book("AAA", D(-8), D(12))
    assert (ledger.qty("AAA"), ledger.positions["AAA"].average) == (-3, 12)


@pytest.mark.parametrize(
    ("multiplier", "qty", "power"),
    [
        (1, 100, 90_000),
        # equity 100000, margin 5000: (100000 - 5000) x 2
        (2, 100, 190_000),
        # short 100 at 100: cash 110000, equity 100000, margin 5000
        (2, -100, 190_000),
    ],
)
def test_buying_power_when_position_held_then_regulation_t(
    multiplier: int, qty: int, power: int
) -> None:
    ledger = Ledger(D(100_000), multiplier=multiplier)
    ledger.book("AAA", D(qty), D(100))
    markets = {"AAA": Market(last=100.0)}
    assert ledger.gross_buying_power(markets) == power
    assert ledger.equity(markets) == 100_000


def test_split_when_short_or_long_then_cost_stays() -> None:
    ledger = Ledger(D(0))
    ledger.book("AAA", D(3), D(70))
    ledger.split("AAA", D(7))
    ledger.split("BBB", D(7))
    assert (ledger.qty("AAA"), ledger.positions["AAA"].average) == (21, 10)


def test_price_when_nothing_printed_then_mid_then_previous_close() -> None:
    assert Market(bid=9.0, ask=11.0, previous_close=5.0).price == 10.0
    assert Market(bid=12.0, ask=11.0, previous_close=5.0).price == 5.0
    assert to_decimal(187.12) == D("187.12")
