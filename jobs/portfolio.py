"""The portfolio review read from the store: holdings, gains, scores.

Before it stands the store; after it the `greenlight review` command. Plain
functions; nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from greenlight.domain.audit import DecisionKind
from greenlight.domain.corporate_actions import recorded_splits, split_adjusted
from greenlight.domain.market import Bar, Unavailable, eastern_date
from greenlight.domain.portfolio import Holding, Portfolio, review
from greenlight.domain.scoring import Score, score_holdings
from greenlight.ports import Store
from jobs.forecasts import ExpectedVolatility

WINDOW: Final = timedelta(days=45)
"""Thirty sessions of bars: a month of momentum and some to spare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedPortfolio:
    """The portfolio, a score or the reason for none of each holding, and the broker's cash.

    `cash_off_usd` is the ledger's cash less the broker's at the last close that
    the broker told; None before there is one or where money moved after it.
    `dividends_usd` is what was paid, less tax, by symbol, `charges_usd` what was
    charged (below zero) or credited otherwise, such as fees and interest, and
    `transfers_usd` what the owner moved, both by the broker's type; all are in the
    cash, and in no gain of the portfolio.
    """

    portfolio: Portfolio
    scores: tuple[Score, ...]
    unscored: Mapping[str, str]
    cash_off_usd: Decimal | None
    dividends_usd: Mapping[str, Decimal]
    charges_usd: Mapping[str, Decimal]
    transfers_usd: Mapping[str, Decimal]


def review_portfolio(
    store: Store,
    *,
    now: datetime,
    symbols: Sequence[str],
    sectors: Mapping[str, str],
    max_weight_frac: float,
) -> ReviewedPortfolio | Unavailable:
    """Read and score the portfolio at an aware UTC instant.

    Parameters
    ----------
    symbols : Sequence[str]
        The universe that sectors are compared in; what is held and was traded is added.

    Raises
    ------
    StoreUnavailable
        The store does not answer.
    """
    cash = store.cash()
    if cash is None:
        return Unavailable("the desk has not run yet")
    positions, trades = store.open_positions(), store.trades(limit=None)
    universe = {*symbols, *(p.symbol for p in positions), *(t.symbol for t in trades)}
    rows = store.decisions(kind=DecisionKind.ADJUST, start=now - WINDOW, limit=None)
    splits, today = recorded_splits(row.decision for row in rows), eastern_date(now)
    closes = {
        symbol: _daily_closes(
            split_adjusted(store.bars(symbol, "1Min", now - WINDOW, now), splits, today)
        )
        for symbol in sorted(universe)
    }
    dividends: dict[str, Decimal] = {}
    for paid in store.dividends(limit=None):
        dividends[paid.symbol] = dividends.get(paid.symbol, Decimal(0)) + paid.usd
    charges: dict[str, Decimal] = {}
    transfers: dict[str, Decimal] = {}
    for moved in store.cash_movements(limit=None):
        group = transfers if moved.is_transfer else charges
        group[moved.activity_type] = group.get(moved.activity_type, Decimal(0)) + moved.usd
    prices = {symbol: Decimal(repr(days[-1])) for symbol, days in closes.items() if days}
    portfolio = review(
        at=now,
        cash_usd=cash,
        positions=positions,
        trades=trades,
        prices_usd=prices,
        sectors=sectors,
    )
    expected = ExpectedVolatility(store)
    found = {h.symbol: expected(h.symbol, now) for h in portfolio.holdings}
    scores, unscored = score_holdings(
        {h.symbol: _weight(h, portfolio.equity_usd) for h in portfolio.holdings},
        closes=closes,
        sectors=sectors,
        forecasts_vol_ann={s: v for s, v in found.items() if not isinstance(v, Unavailable)},
        max_weight_frac=max_weight_frac,
    )
    return ReviewedPortfolio(
        portfolio=portfolio,
        scores=tuple(scores),
        unscored=unscored,
        cash_off_usd=_cash_off(store, cash, now),
        dividends_usd=dividends,
        charges_usd=charges,
        transfers_usd=transfers,
    )


def _daily_closes(bars: Sequence[Bar]) -> list[float]:
    """The last minute's close of each day, oldest first."""
    return list({eastern_date(bar.start): bar.close for bar in bars}.values())


def _weight(holding: Holding, equity_usd: Decimal | None) -> float | None:
    if holding.marked_usd is None or not equity_usd:
        return None
    return float(holding.marked_usd / equity_usd)


def _cash_off(store: Store, cash: Decimal, now: datetime) -> Decimal | None:
    told = store.equity(now - WINDOW, now + timedelta(microseconds=1), "broker")
    moved = [fill.at for fill in store.fills(limit=1)]
    moved += [paid.at for paid in store.dividends(limit=1)]
    moved += [row.at for row in store.cash_movements(limit=1)]
    if not told or max(moved, default=told[-1].at) > told[-1].at:
        return None
    return cash - told[-1].cash_usd
