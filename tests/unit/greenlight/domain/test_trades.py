"""Round trips, by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from greenlight.domain.orders import Execution, Side
from greenlight.domain.positions import Position
from greenlight.domain.trades import round_trip

T0 = datetime(2013, 10, 7, 14, 30, tzinfo=UTC)
CLOSED = Position(
    position_id="d1",
    symbol="AAPL",
    strategy="A",
    qty=0,
    cost_usd=Decimal(0),
    realized_usd=Decimal("44.00"),
    stop_price=Decimal("95.00"),
    target_price=Decimal("110.00"),
    opened_at=T0,
    exit_by=T0 + timedelta(days=3),
    closed_at=T0 + timedelta(days=1),
)


def fill(side: Side, qty: int, price: str) -> Execution:
    return Execution(
        execution_id=f"{side}-{price}",
        order_id="o1",
        client_order_id=None,
        symbol="AAPL",
        side=side,
        qty=qty,
        price=Decimal(price),
        cum_qty=qty,
        at=T0,
    )


FILLS = [
    fill(Side.BUY, 6, "100.00"),
    fill(Side.BUY, 4, "101.00"),
    fill(Side.SELL, 10, "104.80"),
]


def test_round_trip_when_closed_then_prices_gain_and_return() -> None:
    trade = round_trip(
        CLOSED, FILLS, exit_reason="target", fees_usd=Decimal("1.50"), haircut_usd=Decimal("0.50")
    )
    # Paid 6 * 100 + 4 * 101 = 1004, received 1048.
    assert (trade.qty, trade.entry_price, trade.exit_price) == (
        10,
        Decimal("100.4"),
        Decimal("104.80"),
    )
    assert (trade.pnl_usd, trade.net_usd) == (Decimal("44.00"), Decimal("42.00"))
    assert trade.return_frac == Decimal("42.00") / Decimal(1004)
    assert (trade.opened_at, trade.closed_at) == (T0, T0 + timedelta(days=1))
    assert (trade.exit_reason, trade.strategy, trade.position_id) == ("target", "A", "d1")


def test_round_trip_when_split_lies_between_then_gain_is_of_the_money() -> None:
    fills = [fill(Side.BUY, 10, "700.00"), fill(Side.SELL, 70, "101.00")]
    trade = round_trip(
        CLOSED, fills, exit_reason="time", fees_usd=Decimal(0), haircut_usd=Decimal(0)
    )
    assert trade.pnl_usd == Decimal(70)
    assert trade.return_frac == Decimal("0.01")


@pytest.mark.parametrize("sides", [FILLS[:2], FILLS[2:], []])
def test_round_trip_when_entry_or_exit_is_missing_then_raises(sides: list[Execution]) -> None:
    with pytest.raises(ValueError, match="without both an entry and an exit"):
        round_trip(CLOSED, sides, exit_reason="stop", fees_usd=Decimal(0), haircut_usd=Decimal(0))


@pytest.mark.parametrize("change", [{"qty": 1}, {"closed_at": None}])
def test_round_trip_when_position_is_open_then_raises(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="open position is no round trip"):
        round_trip(
            replace(CLOSED, **change),  # type: ignore[arg-type]
            FILLS,
            exit_reason="stop",
            fees_usd=Decimal(0),
            haircut_usd=Decimal(0),
        )
