"""Fees by the notices' own figures, slippage by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.domain import costs
from greenlight.domain.costs import FillCost, fill_cost, regulatory_fees
from greenlight.domain.orders import Execution, Side

AT = datetime(2013, 6, 3, 15, tzinfo=UTC)


def fill(side: Side, price: str = "50.10", qty: int = 100) -> Execution:
    return Execution(
        execution_id="e1",
        order_id="o1",
        client_order_id="c1",
        symbol="IBM",
        side=side,
        qty=qty,
        price=Decimal(price),
        cum_qty=qty,
        at=AT,
    )


@pytest.mark.parametrize(
    ("qty", "price", "day", "usd"),
    [
        # 5,000 USD at 22.40 a million: 0.112; 100 shares at 0.000095: 0.0095.
        (100, "50", date(2012, 6, 1), "0.13"),
        # The day before and the day of the notice of 18 March 2014, on 1,000,000 USD;
        # 10,000 shares at 0.000119: 1.19.
        (10_000, "100", date(2014, 3, 17), "18.59"),
        (10_000, "100", date(2014, 3, 18), "23.29"),
        # 14 May 2025: no fee under section 31; 1,000 shares at 0.000166.
        (1_000, "100", date(2025, 5, 14), "0.17"),
        # The cap of a trade: 5.95 from July 2012, 3.75 until June 2011.
        (1_000_000, "1", date(2013, 6, 3), "23.35"),
        (1_000_000, "1", date(2011, 6, 30), "22.95"),
        (1_000_000, "1", date(2011, 7, 1), "23.70"),
        # Before the table its first row holds.
        (1_000, "1000", date(1980, 1, 2), "33.38"),
    ],
)
def test_regulatory_fees_when_sold_then_the_rate_of_the_day(
    qty: int, price: str, day: date, usd: str
) -> None:
    assert regulatory_fees(Side.SELL, qty, Decimal(price), day) == Decimal(usd)
    assert regulatory_fees(Side.BUY, qty, Decimal(price), day) == 0


def test_tables_when_read_then_in_the_order_of_time() -> None:
    for table in (costs._SEC_FROM, costs._TAF_FROM):
        assert table == sorted(set(table))
    assert max(costs._SEC_FROM[-1], costs._TAF_FROM[-1]) == costs.FEES_AS_OF


def test_fill_cost_when_a_quote_was_seen_then_half_the_spread_and_the_shortfall() -> None:
    figures = {"bid": 49.98, "ask": 50.02}
    bought, sold = fill_cost(fill(Side.BUY), figures), fill_cost(fill(Side.SELL), figures)
    assert bought.slippage_usd == sold.slippage_usd == Decimal("2.00")
    assert (bought.shortfall_usd, sold.shortfall_usd) == (Decimal(10), Decimal(-10))
    assert (bought.fees_usd, sold.fees_usd) == (Decimal(0), Decimal("0.11"))


@pytest.mark.parametrize(
    "figures", [None, {}, {"bid": None, "ask": 50.0}, {"bid": 51.0, "ask": 50.0}]
)
def test_fill_cost_when_no_usable_quote_then_assumed_and_no_shortfall(
    figures: dict[str, float | None] | None,
) -> None:
    cost = fill_cost(fill(Side.BUY, "50"), figures)
    assert cost.slippage_usd == Decimal("2.5")
    assert cost.shortfall_usd is None


def test_haircut_when_fees_were_charged_then_they_count_once() -> None:
    cost = FillCost(fees_usd=Decimal(3), slippage_usd=Decimal(2), shortfall_usd=None)
    assert cost.haircut_usd(Decimal(0)) == 5
    assert cost.haircut_usd(Decimal(1)) == 4
    assert cost.haircut_usd(Decimal(9)) == 2


@given(
    qty=st.integers(1, 10**6),
    cents=st.integers(1, 10**6),
    days=st.integers(0, 15_000),
)
def test_regulatory_fees_when_anything_is_sold_then_small_and_never_less_for_more(
    qty: int, cents: int, days: int
) -> None:
    price, day = Decimal(cents) / 100, date(1990, 1, 1) + timedelta(days=days)
    fees = regulatory_fees(Side.SELL, qty, price, day)
    assert 0 < fees <= qty * price / 20_000 + Decimal("9.81")
    assert regulatory_fees(Side.SELL, qty + 1, price, day) >= fees
