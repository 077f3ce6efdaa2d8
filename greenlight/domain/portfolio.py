"""The portfolio at one instant: what is held, what it is worth, what was earned.

Before it stand the ledger (positions, trades, cash), last prices and the
scorer; after it reports, the page and the command. Raw money of the ledger, as
the broker counts it: fees that were charged count, the paper haircut does not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from greenlight.domain.market import eastern_date
from greenlight.domain.positions import Position
from greenlight.domain.trades import Trade

UNKNOWN_SECTOR = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One open position; US dollars. None where its price is not known."""

    symbol: str
    strategy: str
    sector: str
    qty: int
    cost_usd: Decimal
    marked_usd: Decimal | None
    unrealized_usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Earned:
    """Gain of one day, symbol, sector or strategy; US dollars.

    `unrealized_usd` is None where a price is missing.
    """

    realized_usd: Decimal
    unrealized_usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio:
    """The review. `equity_usd` is None where a holding's price is not known.

    `realized_by_day` books a gain on the day (New York) its position closed;
    what open positions have already sold is in the other groupings alone.
    """

    at: datetime
    cash_usd: Decimal
    equity_usd: Decimal | None
    holdings: tuple[Holding, ...]
    realized_by_day: Mapping[date, Decimal]
    by_symbol: Mapping[str, Earned]
    by_sector: Mapping[str, Earned]
    by_strategy: Mapping[str, Earned]


def review(
    *,
    at: datetime,
    cash_usd: Decimal,
    positions: Sequence[Position],
    trades: Sequence[Trade],
    prices_usd: Mapping[str, Decimal],
    sectors: Mapping[str, str],
) -> Portfolio:
    """Put the portfolio together.

    Parameters
    ----------
    at : datetime
        Aware UTC.
    cash_usd : Decimal
        The ledger's cash.
    positions : Sequence[Position]
        The open ones.
    trades : Sequence[Trade]
        The closed round trips of the window.
    prices_usd : Mapping[str, Decimal]
        Last price of each symbol; a missing one leaves its sums unknown.
    sectors : Mapping[str, str]
        Sector of each symbol; a missing one is in `UNKNOWN_SECTOR`.
    """
    holdings = tuple(
        _holding(p, prices_usd.get(p.symbol), sectors.get(p.symbol, UNKNOWN_SECTOR))
        for p in sorted(positions, key=lambda p: p.symbol)
    )
    days: defaultdict[date, Decimal] = defaultdict(Decimal)
    for trade in trades:
        days[eastern_date(trade.closed_at)] += _realized(trade)
    marked = [h.marked_usd for h in holdings]
    known = [value for value in marked if value is not None]
    gains = [(t.symbol, t.strategy, _realized(t)) for t in trades]
    gains += [(p.symbol, p.strategy, p.realized_usd) for p in positions]
    return Portfolio(
        at=at,
        cash_usd=cash_usd,
        equity_usd=cash_usd + sum(known, Decimal(0)) if len(known) == len(marked) else None,
        holdings=holdings,
        realized_by_day=dict(sorted(days.items())),
        by_symbol=_grouped(gains, holdings, lambda symbol, _: symbol),
        by_sector=_grouped(gains, holdings, lambda symbol, _: sectors.get(symbol, UNKNOWN_SECTOR)),
        by_strategy=_grouped(gains, holdings, lambda _, strategy: strategy),
    )


def _realized(trade: Trade) -> Decimal:
    return trade.pnl_usd - trade.fees_usd


def _holding(position: Position, price: Decimal | None, sector: str) -> Holding:
    marked = None if price is None else position.qty * price
    return Holding(
        symbol=position.symbol,
        strategy=position.strategy,
        sector=sector,
        qty=position.qty,
        cost_usd=position.cost_usd,
        marked_usd=marked,
        unrealized_usd=None if marked is None else marked - position.cost_usd,
    )


def _grouped(
    gains: Sequence[tuple[str, str, Decimal]],
    holdings: Sequence[Holding],
    group_of: Callable[[str, str], str],
) -> dict[str, Earned]:
    realized: defaultdict[str, Decimal] = defaultdict(Decimal)
    unrealized: dict[str, Decimal | None] = {}
    for symbol, strategy, gain in gains:
        realized[group_of(symbol, strategy)] += gain
    for holding in holdings:
        group = group_of(holding.symbol, holding.strategy)
        so_far = unrealized.get(group, Decimal(0))
        gain_or_none = holding.unrealized_usd
        unrealized[group] = (
            None if so_far is None or gain_or_none is None else so_far + gain_or_none
        )
    return {
        group: Earned(
            realized_usd=realized[group], unrealized_usd=unrealized.get(group, Decimal(0))
        )
        for group in sorted({*realized, *unrealized})
    }
