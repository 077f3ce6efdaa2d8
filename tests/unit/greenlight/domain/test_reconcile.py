"""Corrections from any two views: fills in order, nothing oversold, nothing said twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from greenlight.domain.orders import BrokerOrder, Execution, OrderStatus, Side
from greenlight.domain.positions import ExitPlan, apply_fill
from greenlight.domain.reconcile import (
    AdoptPosition,
    BookFill,
    CancelOrder,
    Correction,
    Flag,
    Held,
    Ours,
    Protect,
    Theirs,
    correction_id,
    reconcile,
)
from tests.ledger_cases import T0

NOW = T0 + timedelta(hours=1)
PLAN = ExitPlan(
    decision_id="d",
    strategy="A",
    stop_price=Decimal(95),
    target_price=Decimal(110),
    exit_by=T0 + timedelta(days=3),
)


def execution(number: int, side: Side, qty: int, symbol: str = "AAPL") -> Execution:
    return Execution(
        execution_id=f"x{number}",
        order_id=f"o{number}",
        client_order_id=None,
        symbol=symbol,
        side=side,
        qty=qty,
        price=Decimal(100),
        cum_qty=qty,
        at=T0 + timedelta(seconds=number),
    )


def sell(
    number: int, qty: int, *, stop: bool = True, symbol: str = "AAPL", name: str = "web"
) -> BrokerOrder:
    return BrokerOrder(
        order_id=f"s{number}",
        client_order_id=f"{name}-{number}",
        symbol=symbol,
        side=Side.SELL,
        order_class="",
        order_type="stop" if stop else "limit",
        qty=qty,
        filled_qty=0,
        filled_avg_price=None,
        limit_price=None if stop else Decimal(110),
        stop_price=Decimal(95) if stop else None,
        status=OrderStatus.WORKING,
        broker_status="new",
        replaced_by=None,
        updated_at=T0,
    )


def ours(qty: int = 0, cash: str = "0", fills: frozenset[tuple[str, int]] = frozenset()) -> Ours:
    held = [apply_fill(None, execution(0, Side.BUY, qty), PLAN)] if qty else []
    return Ours(orders=(), statuses={}, positions=tuple(held), fills=fills, cash_usd=Decimal(cash))


def theirs(
    qty: int = 0,
    cash: str = "0",
    fills: tuple[Execution, ...] = (),
    orders: tuple[BrokerOrder, ...] = (),
) -> Theirs:
    return Theirs(
        orders=orders,
        reported={},
        named={},
        positions=(Held(symbol="AAPL", qty=qty, price=Decimal(100)),) if qty else (),
        fills=fills,
        cash_usd=Decimal(cash),
        ratios={},
    )


def found(mine: Ours, other: Theirs) -> tuple[Correction, ...]:
    return reconcile(mine, other, desk="t", now=NOW)


def test_reconcile_when_both_agree_then_nothing() -> None:
    assert found(ours(10), theirs(10, orders=(sell(1, 10),))) == ()


def test_reconcile_when_a_sell_was_missed_then_booked_and_cash_agrees() -> None:
    fill = execution(1, Side.SELL, 10)
    assert found(ours(10), theirs(0, "1000", (fill,))) == (BookFill(fill=fill),)


def test_reconcile_when_more_was_sold_than_held_then_flagged_and_not_booked() -> None:
    corrections = found(ours(5), theirs(0, "1000", (execution(1, Side.SELL, 10),)))
    assert [type(c) for c in corrections] == [Flag, Flag]


def test_reconcile_when_short_at_the_broker_then_flagged() -> None:
    (flag,) = found(ours(), theirs(-5))
    assert isinstance(flag, Flag)
    assert (flag.ours, flag.theirs) == ("0", "-5")


def test_reconcile_when_shares_are_unexplained_then_adopted_and_to_be_protected() -> None:
    adopted, protect = found(ours(), theirs(7))
    assert isinstance(adopted, AdoptPosition)
    assert isinstance(protect, Protect)
    assert (adopted.held.qty, protect.qty, protect.covered_qty) == (7, 7, 0)


def test_reconcile_when_a_symbol_may_have_changed_then_flagged_and_not_adopted() -> None:
    other = replace(theirs(), positions=(Held(symbol="META", qty=10, price=Decimal(100)),))
    corrections = found(ours(10), other)
    assert [(type(c), c.symbol) for c in corrections] == [(Flag, "AAPL"), (Flag, "META")]


def test_reconcile_when_more_is_promised_than_held_then_to_be_protected_anew() -> None:
    (protect,) = found(ours(10), theirs(10, orders=(sell(1, 10), sell(2, 5, stop=False))))
    assert isinstance(protect, Protect)
    assert (protect.qty, protect.selling_qty) == (10, 15)


def test_reconcile_when_cash_is_a_cent_off_then_flagged_and_below_not() -> None:
    (flag,) = found(ours(cash="100.00"), theirs(cash="100.01"))
    assert isinstance(flag, Flag)
    assert found(ours(cash="100.00"), theirs(cash="100.009")) == ()


def test_correction_id_when_a_flag_stays_then_one_name_a_day() -> None:
    (flag,) = found(ours(), theirs(-5))
    names = {correction_id("t", flag, NOW + timedelta(minutes=m)) for m in (0, 1, 24 * 60)}
    assert len(names) == 2


sides = st.sampled_from(list(Side))
fills = st.lists(st.tuples(sides, st.integers(1, 9)), max_size=8)
resting = st.lists(st.tuples(st.integers(1, 12), st.booleans()), max_size=4)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 12), st.integers(-5, 20), fills, resting, st.integers(0, 8))
def test_reconcile_when_the_views_are_anything_then_never_below_zero_and_never_beyond_held(
    held: int,
    there: int,
    happened: list[tuple[Side, int]],
    rest: list[tuple[int, bool]],
    known: int,
) -> None:
    executions = tuple(execution(n, side, qty) for n, (side, qty) in enumerate(happened, 1))
    keys = frozenset((f.order_id, f.cum_qty) for f in executions[:known])
    orders = tuple(sell(n, qty, stop=stop) for n, (qty, stop) in enumerate(rest))
    corrections = found(ours(held, fills=keys), theirs(there, "0", executions, orders))
    qty = held
    for correction in corrections:
        if isinstance(correction, BookFill):
            assert (correction.fill.order_id, correction.fill.cum_qty) not in keys
            qty += correction.fill.qty if correction.fill.side is Side.BUY else -correction.fill.qty
            assert qty >= 0
        elif isinstance(correction, AdoptPosition):
            qty += correction.held.qty
        elif isinstance(correction, Protect):
            assert 0 < correction.qty <= min(qty, there)
    is_explained = qty == max(there, 0) and there >= 0
    assert is_explained or any(isinstance(c, Flag) for c in corrections)
    cancelled = [c.order.order_id for c in corrections if isinstance(c, CancelOrder)]
    assert len(set(cancelled)) == len(cancelled)
    if there <= 0:
        assert set(cancelled) == {order.order_id for order in orders}
