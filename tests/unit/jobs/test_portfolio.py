"""The portfolio review of a desk that traded into a fake store."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from greenlight.domain.cash import CashMoved, cash_decision
from greenlight.domain.corporate_actions import (
    DividendPaid,
    dividend_decision,
    split_decision,
)
from greenlight.domain.market import Bar, Session, Split, Unavailable, sessions_between
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


def test_review_when_a_holding_split_and_paid_then_no_fall_and_dividends_apart() -> None:
    store = FakeStore()
    desk = SampleDesk(store, start=date(2008, 1, 2))
    desk.trade_until(date(2008, 1, 31))
    now = datetime(2008, 2, 1, 3, tzinfo=UTC)
    symbol = store.open_positions()[0].symbol
    sessions = sessions_between(date(2007, 12, 20), date(2008, 1, 31))
    split = Split(symbol=symbol, ex_date=sessions[-3].day, ratio=7.0)
    store.write_bars(
        [
            # The same close every fourth session, and so twenty apart.
            _last_minute(held.symbol, session, (100.0 + number % 4) * (7 if is_old else 1))
            for held in store.open_positions()
            for number, session in enumerate(sessions)
            for is_old in [held.symbol == symbol and session.day < split.ex_date]
        ]
    )
    before = reviewed(store, now)
    store.record_decision(split_decision("t", split, sessions[-3].open))
    paid = DividendPaid(
        activity_id="a",
        symbol=symbol,
        at=sessions[-2].open,
        usd=Decimal("12.34"),
        qty=None,
        usd_a_share=None,
    )
    store.book_dividend(paid, dividend_decision("t", paid))
    after = reviewed(store, now)
    assert isinstance(before, ReviewedPortfolio)
    assert isinstance(after, ReviewedPortfolio)
    # A month's momentum: a fall of six sevenths, and none.
    assert _momentum(before, symbol) < 0.0
    assert _momentum(after, symbol) == pytest.approx(0.0)
    assert after.dividends_usd == {symbol: Decimal("12.34")}
    assert after.portfolio.cash_usd - before.portfolio.cash_usd == Decimal("12.34")
    assert after.portfolio.realized_by_day == before.portfolio.realized_by_day


def _momentum(found: ReviewedPortfolio, symbol: str) -> float:
    (scored,) = (s for s in found.scores if s.symbol == symbol)
    return scored.contributions["momentum"]


def _last_minute(symbol: str, session: Session, close: float) -> Bar:
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    start = session.close - timedelta(minutes=1)
    return Bar(symbol=symbol, start=start, end=session.close, volume=1, **prices)


def test_review_when_fees_and_transfers_moved_cash_then_by_type_and_in_no_gain() -> None:
    store = FakeStore()
    desk = SampleDesk(store, start=date(2008, 1, 2))
    desk.trade_until(date(2008, 1, 31))
    now = datetime(2008, 2, 1, 3, tzinfo=UTC)
    before = reviewed(store, now)
    for kind, usd in (("FEE", "-0.01"), ("FEE", "-0.02"), ("INT", "1.50"), ("CSD", "5000")):
        moved = CashMoved(
            activity_id=f"{kind} {usd}",
            activity_type=kind,
            at=now,
            usd=Decimal(usd),
            symbol=None,
            description="",
            booked_at=now,
        )
        store.book_cash(moved, cash_decision("t", moved))
    after = reviewed(store, now)
    assert isinstance(before, ReviewedPortfolio)
    assert isinstance(after, ReviewedPortfolio)
    assert after.charges_usd == {"FEE": Decimal("-0.03"), "INT": Decimal("1.50")}
    assert after.transfers_usd == {"CSD": Decimal(5000)}
    assert after.portfolio.cash_usd - before.portfolio.cash_usd == Decimal("5001.47")
    assert after.portfolio.realized_by_day == before.portfolio.realized_by_day
    # Money moved after the broker last told its cash.
    assert after.cash_off_usd is None
