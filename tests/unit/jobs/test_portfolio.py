"""The portfolio review of a desk that traded into a fake store."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

from greenlight.domain.market import Unavailable
from greenlight.testing import FakeStore
from jobs.portfolio import ReviewedPortfolio, review_portfolio
from tests.sample_desk import SampleDesk


def reviewed(store: FakeStore, now: datetime) -> ReviewedPortfolio | Unavailable:
    return review_portfolio(store, now=now, symbols=(), sectors={}, max_weight_frac=0.2)


def test_review_when_the_desk_never_ran_then_unavailable() -> None:
    assert isinstance(reviewed(FakeStore(), datetime(2008, 1, 2, tzinfo=UTC)), Unavailable)


def test_review_when_it_traded_then_the_ledgers_money_and_no_marks_without_bars() -> None:
    store = FakeStore()
    SampleDesk(store, start=date(2008, 1, 2)).trade_until(date(2008, 1, 31))
    found = reviewed(store, datetime(2008, 2, 1, 3, tzinfo=UTC))
    assert isinstance(found, ReviewedPortfolio)
    held = store.open_positions()
    earned = sum((t.pnl_usd - t.fees_usd for t in store.trades(limit=None)), Decimal(0))
    cost = sum((p.cost_usd for p in held), Decimal(0))
    portfolio = found.portfolio
    assert portfolio.cash_usd == 100_000 + earned - cost
    assert (portfolio.equity_usd, found.scores) == (None, ())
    assert sum(portfolio.realized_by_day.values()) == earned
    for groups in (portfolio.by_symbol, portfolio.by_sector, portfolio.by_strategy):
        assert sum(group.realized_usd for group in groups.values()) == earned
    assert sorted(found.unscored) == [p.symbol for p in held] != []
    assert all("21 are needed" in reason for reason in found.unscored.values())
