"""Dividends and symbol changes as alpaca-py's clients and the desk's adapters see them.

Two companies on daily bars: PAYS trades at 100 and pays 82 cents on 2014-06-09;
OLDX trades at 50 and is called NEWX from that day on. A third, SPLT, splits 2:1
and pays a dollar on the same day.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import requests
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.data.requests import CorporateActionsRequest, StockBarsRequest
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.client import TradingClient
from alpaca.trading.models import NonTradeActivity
from alpaca.trading.requests import MarketOrderRequest, StopOrderRequest

from greenlight.adapters.alpaca_broker import AlpacaBroker
from greenlight.adapters.alpaca_data import AlpacaMarketData
from greenlight.domain.cash import CashMoved
from greenlight.domain.corporate_actions import DividendPaid
from greenlight.domain.market import SymbolChange, sessions_between
from tests.exchange_fixture import KEY, SECRET, ExchangeProcess, LockstepDriver

FIRST, EX_DATE, LAST = date(2014, 6, 5), date(2014, 6, 9), date(2014, 6, 11)
START = datetime(2014, 6, 5, tzinfo=UTC)


def write_source(folder: Path) -> str:
    for symbol, price in (("PAYS", 100), ("OLDX", 50), ("NEWX", 50), ("SPLT", 80)):
        lines = ["date,open,high,low,close,volume"]
        for session in sessions_between(date(2014, 5, 1), LAST):
            is_after = session.day >= EX_DATE
            if (symbol == "OLDX" and is_after) or (symbol == "NEWX" and not is_after):
                continue
            at = price / 2 if symbol == "SPLT" and is_after else price
            lines.append(f"{session.day},{at},{at + 0.5},{at - 0.5},{at},10000")
        (folder / f"{symbol}.csv").write_text("\n".join(lines) + "\n")
    (folder / "splits.csv").write_text(f"symbol,ex_date,ratio\nSPLT,{EX_DATE},2\n")
    (folder / "dividends.csv").write_text(
        f"symbol,ex_date,usd_a_share\nPAYS,{EX_DATE},0.82\nSPLT,{EX_DATE},1\n"
    )
    (folder / "name_changes.csv").write_text(f"date,old,new\n{EX_DATE},OLDX,NEWX\n")
    return f"csv:{folder}"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_source(tmp_path_factory.mktemp("actions"))


@pytest.fixture
def exchange(source: str, tmp_path: Path) -> Iterator[ExchangeProcess]:
    with ExchangeProcess(
        source, tmp_path, "--lockstep", "--partial-fills", "0", start=FIRST, end=LAST
    ) as process:
        yield process


def clients(exchange: ExchangeProcess) -> tuple[TradingClient, AlpacaBroker, AlpacaMarketData]:
    return (
        TradingClient(KEY, SECRET, url_override=exchange.url),
        AlpacaBroker(base_url=exchange.url, key_id=KEY, secret_key=SECRET, deadline_s=5),
        AlpacaMarketData(base_url=exchange.url, key_id=KEY, secret_key=SECRET, deadline_s=5),
    )


def hold_over_the_ex_date(exchange: ExchangeProcess) -> tuple[TradingClient, str, Decimal]:
    """Buy ten of each on the first day, a stop under OLDX, and go to the ex-date's pre-open."""
    trading, broker, _ = clients(exchange)
    driver = LockstepDriver(exchange)
    driver.ensure_open()
    for symbol in ("PAYS", "OLDX", "SPLT"):
        request = MarketOrderRequest(symbol=symbol, qty=10, side="buy", time_in_force="day")
        trading.submit_order(request)
    driver.step()
    stop = trading.submit_order(
        StopOrderRequest(symbol="OLDX", qty=10, side="sell", time_in_force="gtc", stop_price=40)
    )
    driver.until(lambda step: step["kind"] == "close")
    cash = broker.account().cash
    driver.until(lambda step: step["session"] == str(EX_DATE))
    assert driver.current["kind"] == "pre_open"
    driver.close()
    return trading, str(stop.id), cash


def test_dividend_when_held_over_the_ex_date_then_paid_in_cash_with_an_activity(
    exchange: ExchangeProcess,
) -> None:
    trading, _, cash = hold_over_the_ex_date(exchange)
    _, broker, _ = clients(exchange)
    # 10 x 0.82, and for SPLT a dollar on each of the ten shares there were before.
    assert broker.account().cash == cash + Decimal("18.20")
    rows = trading.get("/account/activities/DIV")
    by_symbol = {row["symbol"]: row for row in rows}
    paid = NonTradeActivity(account_id=str(uuid.uuid4()), **by_symbol["PAYS"])
    assert (paid.activity_type, paid.date, paid.status) == ("DIV", EX_DATE, "executed")
    assert (paid.net_amount, paid.qty, paid.per_share_amount) == (8.2, 10.0, 0.82)
    assert by_symbol["SPLT"]["net_amount"] == "10"
    kinds = [row["activity_type"] for row in trading.get("/account/activities")]
    assert sorted(kinds) == ["DIV", "DIV", "FILL", "FILL", "FILL"]
    assert trading.get("/account/activities", {"activity_types": "DIVNRA"}) == []
    found = broker.cash_activities(START)
    assert [(p.symbol, p.usd, p.qty) for p in found if isinstance(p, DividendPaid)] == [
        ("PAYS", Decimal("8.2"), Decimal(10)),
        ("SPLT", Decimal(10), Decimal(10)),
    ]
    assert broker.cash_activities(found[-1].at + timedelta(seconds=1)) == ()


def test_dividend_when_the_exchange_dies_after_it_then_it_is_not_paid_again(
    source: str, tmp_path: Path
) -> None:
    options = ("--lockstep", "--partial-fills", "0")
    with ExchangeProcess(source, tmp_path, *options, start=FIRST, end=LAST) as first:
        hold_over_the_ex_date(first)
        before = clients(first)[1].account().cash
        first.kill()
    with ExchangeProcess(source, tmp_path, *options, start=FIRST, end=LAST) as second:
        driver = LockstepDriver(second)
        for _ in range(3):
            driver.step()
        driver.close()
        _, broker, _ = clients(second)
        assert broker.account().cash == before
        assert len(broker.cash_activities(START)) == 2


def post(exchange: ExchangeProcess, **body: object) -> requests.Response:
    return requests.post(exchange.url + "/control/activity", json=body, timeout=10)


def test_activity_when_posted_then_cash_moves_and_alpaca_py_and_the_desk_read_it(
    exchange: ExchangeProcess,
) -> None:
    trading, broker, _ = clients(exchange)
    before = broker.account()
    posted = [
        post(exchange, type="FEE", usd="-0.01", description="TAF fee").json(),
        post(exchange, type="CSD", usd=25000).json(),
        post(exchange, type="NEVER_SEEN", usd="-1.50", symbol="PAYS").json(),
    ]
    after = broker.account()
    assert after.cash - before.cash == after.equity - before.equity == Decimal("24998.49")
    fee = NonTradeActivity(account_id=str(uuid.uuid4()), **posted[0])
    assert (fee.activity_type, fee.net_amount, fee.status) == ("FEE", -0.01, "executed")
    found = broker.cash_activities(START)
    assert [(m.activity_type, m.usd, m.symbol) for m in found if isinstance(m, CashMoved)] == [
        ("FEE", Decimal("-0.01"), None),
        ("CSD", Decimal(25_000), None),
        ("NEVER_SEEN", Decimal("-1.5"), "PAYS"),
    ]
    assert len({m.activity_id for m in found}) == 3
    assert len(trading.get("/account/activities/FEE")) == 1
    assert trading.get("/account/activities", {"category": "trade_activity"}) == []


@pytest.mark.parametrize(
    "body",
    [{"usd": 1}, {"type": "FEE"}, {"type": "FEE", "usd": "much"}, {"type": "FILL", "usd": 1}],
)
def test_activity_when_it_says_too_little_then_refused(
    exchange: ExchangeProcess, body: dict[str, object]
) -> None:
    assert post(exchange, **body).status_code == 422
    _, broker, _ = clients(exchange)
    assert broker.cash_activities(START) == ()


def test_activity_when_the_exchange_dies_after_it_then_kept(source: str, tmp_path: Path) -> None:
    options = ("--lockstep",)
    with ExchangeProcess(source, tmp_path, *options, start=FIRST, end=LAST) as first:
        LockstepDriver(first).close()
        assert post(first, type="INT", usd="-3.21").status_code == 201
        told = clients(first)[1].cash_activities(START)
        cash = clients(first)[1].account().cash
        first.kill()
    with ExchangeProcess(source, tmp_path, *options, start=FIRST, end=LAST) as second:
        _, broker, _ = clients(second)
        assert broker.account().cash == cash == Decimal("99996.79")
        assert broker.cash_activities(START) == told


def test_corporate_actions_when_listed_then_dividends_and_name_changes_parse(
    exchange: ExchangeProcess,
) -> None:
    hold_over_the_ex_date(exchange)
    client = CorporateActionsClient(KEY, SECRET, url_override=exchange.url)
    found = client.get_corporate_actions(
        CorporateActionsRequest(symbols=["PAYS", "OLDX"], start=FIRST, end=LAST)
    ).data
    (dividend,) = found["cash_dividends"]
    assert (dividend.symbol, dividend.rate, dividend.ex_date) == ("PAYS", 0.82, EX_DATE)
    (change,) = found["name_changes"]
    assert (change.old_symbol, change.new_symbol) == ("OLDX", "NEWX")
    assert "forward_splits" not in found
    _, _, data = clients(exchange)
    expected = SymbolChange(old="OLDX", new="NEWX", day=EX_DATE)
    assert data.symbol_changes(["OLDX", "PAYS"], FIRST, LAST) == (expected,)
    # Asked about the new name alone there is nothing to follow.
    assert data.symbol_changes(["NEWX"], FIRST, LAST) == ()
    assert data.symbol_changes([], FIRST, LAST) == ()
    (split,) = data.splits(["SPLT"], FIRST, LAST)
    assert split.ratio == 2.0


def test_symbol_change_when_its_day_comes_then_the_shares_move_and_orders_are_cancelled(
    exchange: ExchangeProcess,
) -> None:
    trading, stop_id, _ = hold_over_the_ex_date(exchange)
    position = trading.get_open_position("NEWX")
    assert (position.qty, float(position.lastday_price or 0)) == ("10", 50.0)
    assert {p.symbol for p in trading.get_all_positions()} == {"NEWX", "PAYS", "SPLT"}
    assert trading.get_order_by_id(stop_id).status == "canceled"
    # History under the former name comes with the new one.
    bars = StockHistoricalDataClient(KEY, SECRET, url_override=exchange.url).get_stock_bars(
        StockBarsRequest(symbol_or_symbols="NEWX", timeframe=TimeFrame.Day, start=START)
    )["NEWX"]
    assert [bar.timestamp.date() for bar in bars] == [FIRST, date(2014, 6, 6)]
    driver = LockstepDriver(exchange)
    driver.ensure_open()
    trading.close_position("NEWX")
    driver.step()
    driver.close()
    assert {p.symbol for p in trading.get_all_positions()} == {"PAYS", "SPLT"}
