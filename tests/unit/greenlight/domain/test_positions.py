"""Positions against exact fractions, splits, and when to leave."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.domain.market import Quote
from greenlight.domain.orders import Execution, Side
from greenlight.domain.positions import (
    ExitPlan,
    ExitReason,
    OversoldError,
    Position,
    adopted_plan,
    apply_fill,
    apply_split,
    exit_reason,
    watch_band,
)

T0 = datetime(2013, 10, 7, 14, 30, tzinfo=UTC)
PLAN = ExitPlan(
    decision_id="d1",
    strategy="A",
    stop_price=Decimal("95.00"),
    target_price=Decimal("110.00"),
    exit_by=T0 + timedelta(days=3),
)


def fill(side: Side, qty: int, price: str | Decimal, number: int = 1) -> Execution:
    return Execution(
        execution_id=f"x{number}",
        order_id="o1",
        client_order_id=None,
        symbol="AAPL",
        side=side,
        qty=qty,
        price=Decimal(price),
        cum_qty=qty,
        at=T0 + timedelta(seconds=number),
    )


def held(qty: int = 10, price: str = "100.00") -> Position:
    return apply_fill(None, fill(Side.BUY, qty, price), PLAN)


def test_book_buy_when_nothing_is_held_then_position_of_the_plan() -> None:
    position = held()
    assert (position.position_id, position.strategy, position.qty) == ("d1", "A", 10)
    assert position.cost_usd == Decimal("1000.00")
    assert (position.stop_price, position.target_price) == (Decimal("95.00"), Decimal("110.00"))
    assert position.opened_at == T0 + timedelta(seconds=1)
    assert position.is_open


def test_book_buy_when_position_is_open_then_plan_and_start_stay() -> None:
    position = apply_fill(held(), fill(Side.BUY, 5, "103.00", 9), None)
    # (10 * 100 + 5 * 103) / 15 = 101
    assert (position.qty, position.avg_price) == (15, Decimal(101))
    assert position.opened_at == held().opened_at
    assert position.stop_price == Decimal("95.00")


def test_book_sell_when_part_is_sold_then_its_share_of_the_gain() -> None:
    position = apply_fill(held(), fill(Side.SELL, 4, "105.00", 2), None)
    assert (position.qty, position.cost_usd) == (6, Decimal(600))
    assert position.realized_usd == Decimal(20)
    assert position.closed_at is None


def test_book_sell_when_all_is_sold_then_closed() -> None:
    position = apply_fill(held(), fill(Side.SELL, 10, "94.50", 2), None)
    assert (position.qty, position.cost_usd) == (0, Decimal(0))
    assert position.realized_usd == Decimal(-55)
    assert position.closed_at == T0 + timedelta(seconds=2)
    assert not position.is_open


def test_average_price_when_position_is_closed_then_raises() -> None:
    closed = apply_fill(held(), fill(Side.SELL, 10, "94.50", 2), None)
    with pytest.raises(ValueError, match="no average price"):
        _ = closed.avg_price


def test_book_sell_when_more_than_held_then_raises() -> None:
    with pytest.raises(OversoldError, match="sold 11, held 10"):
        apply_fill(held(), fill(Side.SELL, 11, "100"), None)
    with pytest.raises(OversoldError, match="sold 1, held 0"):
        apply_fill(None, fill(Side.SELL, 1, "100"), PLAN)


deals = st.lists(
    st.tuples(st.booleans(), st.integers(1, 500), st.decimals("0.01", "5000", places=2)),
    min_size=1,
    max_size=25,
)


@given(deals)
def test_book_fills_when_any_valid_sequence_then_exact_like_fractions(
    steps: list[tuple[bool, int, Decimal]],
) -> None:
    position = None
    qty, flow = 0, Fraction(0)
    for number, (wants_sell, size, price) in enumerate(steps, start=1):
        is_sell = wants_sell and qty > 0
        size = min(size, qty) if is_sell else size
        side = Side.SELL if is_sell else Side.BUY
        position = apply_fill(position, fill(side, size, price, number), PLAN)
        qty += -size if is_sell else size
        flow += Fraction(price) * size * (1 if is_sell else -1)
        assert position.qty == qty
        # Whatever share of the cost a sale took, nothing is lost or made up.
        assert Fraction(position.realized_usd) - Fraction(position.cost_usd) == flow
        assert position.cost_usd >= 0
        if qty == 0:
            assert position.cost_usd == 0
            assert Fraction(position.realized_usd) == flow
            position, flow = None, Fraction(0)


@given(deals)
def test_book_sells_when_any_valid_sequence_then_cost_is_proportional_to_a_hundredth_cent(
    steps: list[tuple[bool, int, Decimal]],
) -> None:
    position, sales = None, 0
    cost = Fraction(0)
    for number, (wants_sell, size, price) in enumerate(steps, start=1):
        if wants_sell and position is not None and position.qty > 1:
            size = min(size, position.qty - 1)
            cost -= cost * size / position.qty
            sales += 1
            position = apply_fill(position, fill(Side.SELL, size, price, number), None)
        else:
            cost += Fraction(price) * size
            position = apply_fill(position, fill(Side.BUY, size, price, number), PLAN)
        assert abs(Fraction(position.cost_usd) - cost) <= Fraction(sales, 10_000)


def test_adopt_when_order_is_not_ours_then_stop_and_target_by_its_price() -> None:
    position = apply_fill(None, fill(Side.BUY, 3, "101.01"), None)
    assert (position.strategy, position.position_id) == ("adopted", "adopted-o1")
    # 101.01 * 0.95 = 95.9595 and * 1.10 = 111.111, both up to the cent.
    assert (position.stop_price, position.target_price) == (Decimal("95.96"), Decimal("111.12"))


def test_adopt_when_bought_on_a_leap_day_then_ten_years_later_exists() -> None:
    plan = adopted_plan("o", Decimal(10), datetime(2012, 2, 29, 15, tzinfo=UTC))
    assert plan.exit_by == datetime(2022, 2, 28, 15, tzinfo=UTC)


def test_split_when_seven_for_one_then_quantity_times_and_prices_by_seven() -> None:
    # Apple, 2014-06-09: 10 shares at $645.57 became 70.
    before = replace(held(), stop_price=Decimal("613.30"), target_price=Decimal("677.85"))
    after = apply_split(before, Decimal("7.0"))
    assert (after.qty, after.cost_usd) == (70, before.cost_usd)
    # 613.30 / 7 = 87.614…, up; 677.85 / 7 = 96.835…
    assert (after.stop_price, after.target_price) == (Decimal("87.62"), Decimal("96.84"))


def test_split_when_a_fraction_is_left_then_raises() -> None:
    with pytest.raises(ValueError, match="not whole shares"):
        apply_split(held(5), Decimal("0.5"))


def quote(bid: float) -> Quote:
    return Quote(symbol="AAPL", at=T0, bid=bid, ask=bid + 0.02, bid_size=1, ask_size=1)


@pytest.mark.parametrize(
    ("bid", "seconds", "reason"),
    [
        (95.01, 0, None),
        (95.00, 0, ExitReason.STOP),
        (80.00, 0, ExitReason.STOP),
        (109.99, 0, None),
        (110.00, 0, ExitReason.TARGET),
        (100.00, 3 * 86400, ExitReason.TIME),
        (100.00, 3 * 86400 - 1, None),
        (94.00, 3 * 86400, ExitReason.STOP),
    ],
)
def test_leave_when_bid_or_clock_reaches_the_plan_then_first_reason(
    bid: float, seconds: int, reason: ExitReason | None
) -> None:
    assert exit_reason(held(), quote(bid), T0 + timedelta(seconds=seconds)) is reason


def test_leave_when_there_is_no_quote_then_only_time_decides() -> None:
    assert exit_reason(held(), None, T0) is None
    assert exit_reason(held(), None, PLAN.exit_by) is ExitReason.TIME


@given(st.floats(0.01, 500), st.integers(0, 6 * 86400))
def test_watch_band_when_bid_and_clock_stay_inside_then_nothing_is_decided(
    bid: float, seconds: int
) -> None:
    band, now = watch_band(held()), T0 + timedelta(seconds=seconds)
    is_inside = band.low < bid < band.high and now < band.wake_at
    assert (exit_reason(held(), quote(bid), now) is None) == is_inside
