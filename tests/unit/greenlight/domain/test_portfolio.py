"""The portfolio's sums, by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

from greenlight.domain.portfolio import Earned, Portfolio, review
from greenlight.domain.positions import Position
from greenlight.domain.trades import Trade

AT = datetime(2013, 10, 8, 20, tzinfo=UTC)
IBM = Position(
    position_id="p1",
    symbol="IBM",
    strategy="a",
    qty=10,
    cost_usd=Decimal(1800),
    realized_usd=Decimal(12),
    stop_price=Decimal(170),
    target_price=Decimal(190),
    opened_at=AT,
    exit_by=AT,
)
BAC = replace(IBM, position_id="p2", symbol="BAC", strategy="b", qty=100, cost_usd=Decimal(1400))
WON = Trade(
    position_id="t1",
    symbol="MSFT",
    strategy="a",
    qty=10,
    entry_price=Decimal(30),
    exit_price=Decimal(33),
    # 21:30 in New York on the 7th.
    opened_at=AT,
    closed_at=datetime(2013, 10, 8, 1, 30, tzinfo=UTC),
    pnl_usd=Decimal(30),
    fees_usd=Decimal(1),
    haircut_usd=Decimal(5),
    exit_reason="target",
)
LOST = replace(WON, position_id="t2", symbol="BAC", closed_at=AT, pnl_usd=Decimal(-50))


def reviewed(**prices: str) -> Portfolio:
    return review(
        at=AT,
        cash_usd=Decimal(5000),
        positions=[IBM, BAC],
        trades=[WON, LOST],
        prices_usd={symbol: Decimal(price) for symbol, price in prices.items()},
        sectors={"IBM": "Information Technology", "MSFT": "Information Technology"},
    )


def test_review_when_all_prices_are_known_then_marked_and_summed() -> None:
    found = reviewed(IBM="181.50", BAC="13.90")
    assert [(h.symbol, h.marked_usd, h.unrealized_usd) for h in found.holdings] == [
        ("BAC", Decimal(1390), Decimal(-10)),
        ("IBM", Decimal(1815), Decimal(15)),
    ]
    assert found.equity_usd == 5000 + 1390 + 1815
    assert found.realized_by_day == {date(2013, 10, 7): Decimal(29), date(2013, 10, 8): -51}
    assert found.by_symbol == {
        "BAC": Earned(realized_usd=Decimal(-39), unrealized_usd=Decimal(-10)),
        "IBM": Earned(realized_usd=Decimal(12), unrealized_usd=Decimal(15)),
        "MSFT": Earned(realized_usd=Decimal(29), unrealized_usd=Decimal(0)),
    }
    assert found.by_sector == {
        "Information Technology": Earned(realized_usd=Decimal(41), unrealized_usd=Decimal(15)),
        "unknown": Earned(realized_usd=Decimal(-39), unrealized_usd=Decimal(-10)),
    }
    assert found.by_strategy == {
        "a": Earned(realized_usd=Decimal(-10), unrealized_usd=Decimal(15)),
        "b": Earned(realized_usd=Decimal(12), unrealized_usd=Decimal(-10)),
    }


def test_review_when_a_price_is_missing_then_its_sums_are_unknown_and_no_others() -> None:
    found = reviewed(IBM="181.50")
    assert found.equity_usd is None
    assert found.by_symbol["BAC"].unrealized_usd is None
    assert found.by_sector["unknown"].unrealized_usd is None
    assert found.by_sector["Information Technology"].unrealized_usd == 15
    assert found.by_strategy["b"].realized_usd == 12
