"""A small account for tests of reports, its figures worked out by hand.

Start cash $100,000 on Friday 2008-01-11 (the base). Closes: Mon 14th 100,500, Tue
15th 99,495 (-1%), Wed 16th 100,489.95 (+1%). On the 16th nothing was moved. Two
trades of A won $600 and lost $300, one of B lost $200, all net of costs.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np

from greenlight.domain.metrics import EquitySeries
from greenlight.domain.reports import Period, ReportInputs, span
from greenlight.domain.trades import Trade

BASE, MON, TUE, WED = (date(2008, 1, day) for day in (11, 14, 15, 16))
CLOSES = {BASE: 100_000.0, MON: 100_500.0, TUE: 99_495.0, WED: 100_489.95}
NOW = datetime(2008, 1, 16, 22, 0, tzinfo=UTC)


def at(day: date, hour: int, minute: int = 0) -> datetime:
    """An instant of a day in UTC."""
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)


def trade(
    name: str,
    symbol: str,
    strategy: str,
    closed: datetime,
    net_usd: int,
    *,
    exit_reason: str = "target",
) -> Trade:
    """100 shares bought at $100; a dollar of fees and a dollar of haircut."""
    pnl = Decimal(net_usd) + 2
    return Trade(
        position_id=name,
        symbol=symbol,
        strategy=strategy,
        qty=100,
        entry_price=Decimal("100.00"),
        exit_price=Decimal("100.00") + pnl / 100,
        opened_at=at(MON, 15),
        closed_at=closed,
        pnl_usd=pnl,
        fees_usd=Decimal(1),
        haircut_usd=Decimal(1),
        exit_reason=exit_reason,
    )


TRADES = (
    trade("d1", "AAPL", "A", at(MON, 16), 600),
    trade("d2", "IBM", "A", at(TUE, 16), -300, exit_reason="stop"),
    trade("d3", "MSFT", "B", at(TUE, 17), -200, exit_reason="time"),
)


def marks() -> EquitySeries:
    """The four closes at 21:05 UTC, and a minute of the 15th at 99,000."""
    rows = [(at(day, 21, 5), usd) for day, usd in CLOSES.items()]
    rows.insert(2, (at(TUE, 16), 99_000.0))
    return EquitySeries(
        at_s=np.array([int(when.timestamp()) for when, _ in rows], dtype=np.int64),
        equity_usd=np.array([usd for _, usd in rows]),
    )


def inputs(period: Period, day: date, **changes: object) -> ReportInputs:
    """The account's inputs for a report."""
    values: dict[str, object] = {
        "now": NOW,
        "span": span(period, day),
        "account_kind": "replay",
        "source": "bokeh",
        "is_synthetic": True,
        "sessions": tuple(CLOSES),
        "closes": CLOSES,
        "moved": {},
        "marks": marks(),
        "trades": TRADES,
        "open_positions": 1,
        "market": {},
        **changes,
    }
    return ReportInputs(**values)  # type: ignore[arg-type]
