"""The data routes, by the unmodified data clients."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.historical.news import NewsClient
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.data.requests import (
    CorporateActionsRequest,
    NewsRequest,
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest, StopOrderRequest

from tests.contract.alpaca.conftest import Endpoint
from tests.exchange_fixture import KEY, SECRET, WAVE, ExchangeProcess, LockstepDriver

OPEN = datetime(2014, 6, 5, 13, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True, scope="module")
def _second_session(driver: LockstepDriver) -> None:
    """The first session is over, the second fifteen minutes old."""
    driver.until(lambda step: step["session"] == "2014-06-06" and step["kind"] == "minute")
    for _ in range(14):
        driver.step()


def test_bars_when_minutes_of_two_symbols_then_paged_and_complete(
    data: StockHistoricalDataClient, exchange: ExchangeProcess
) -> None:
    request = StockBarsRequest(
        symbol_or_symbols=["ALFA", "BETA", "NONE"],
        timeframe=TimeFrame.Minute,
        start=OPEN,
        end=OPEN + 9 * MINUTE,
    )
    bars = data.get_stock_bars(request)
    assert sorted(bars.data) == ["ALFA", "BETA"]
    assert [bar.close for bar in bars["ALFA"]] == [*WAVE, WAVE[0], WAVE[1]]
    assert bars["ALFA"][0].timestamp == OPEN
    pages, token = [], None
    while True:
        answer = exchange.request(
            "GET",
            "/v2/stocks/bars",
            params={
                "symbols": "ALFA,BETA",
                "timeframe": "1Min",
                "start": OPEN.isoformat(),
                "end": (OPEN + 9 * MINUTE).isoformat(),
                "limit": 7,
                "page_token": token,
            },
        ).json()
        pages.append(answer["bars"])
        token = answer["next_page_token"]
        if token is None:
            break
    assert [sum(map(len, page.values())) for page in pages] == [7, 7, 6]
    assert [sorted(page) for page in pages] == [["ALFA"], ["ALFA", "BETA"], ["BETA"]]


def test_bars_when_the_clock_is_within_the_session_then_only_complete_ones(
    data: StockHistoricalDataClient, driver: LockstepDriver
) -> None:
    now = datetime.fromisoformat(driver.current["at"])
    request = StockBarsRequest(
        symbol_or_symbols="ALFA", timeframe=TimeFrame.Minute, start=now - 3 * MINUTE
    )
    assert data.get_stock_bars(request)["ALFA"][-1].timestamp == now - MINUTE
    five = StockBarsRequest(
        symbol_or_symbols="ALFA",
        timeframe=TimeFrame(5, TimeFrameUnit.Minute),
        start=now - 20 * MINUTE,
    )
    bars = data.get_stock_bars(five)["ALFA"]
    # Fifteen minutes old: three bars of five minutes.
    assert [bar.timestamp.minute for bar in bars] == [30, 35, 40]
    assert bars[0].volume == 2000
    assert (bars[0].open, bars[0].high, bars[0].low, bars[0].close) == (100, 102, 100, 100)


def test_bars_when_daily_then_midnight_new_york_and_not_the_present_session(
    data: StockHistoricalDataClient,
) -> None:
    request = StockBarsRequest(
        symbol_or_symbols="ALFA", timeframe=TimeFrame.Day, start=OPEN - timedelta(days=5)
    )
    bars = data.get_stock_bars(request)["ALFA"]
    assert [bar.timestamp for bar in bars] == [datetime(2014, 6, 5, 4, tzinfo=UTC)]
    # The 390th minute is the sixth of its wave: 99.
    assert (bars[0].open, bars[0].high, bars[0].low, bars[0].close) == (100, 102, 98, 99)


def test_bars_when_nothing_is_there_then_an_empty_map(exchange: ExchangeProcess) -> None:
    answer = exchange.request(
        "GET", "/v2/stocks/bars", params={"symbols": "NONE", "timeframe": "1Day"}
    ).json()
    assert answer == {"bars": {}, "next_page_token": None}


def test_bars_when_timeframe_is_unknown_then_400(exchange: ExchangeProcess) -> None:
    answer = exchange.request(
        "GET", "/v2/stocks/bars", params={"symbols": "ALFA", "timeframe": "7Fortnight"}
    )
    assert answer.status_code == 400


def test_latest_when_asked_then_quote_trade_and_bar_of_the_last_minute(
    data: StockHistoricalDataClient, driver: LockstepDriver
) -> None:
    now = datetime.fromisoformat(driver.current["at"])
    quote = data.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="ALFA"))["ALFA"]
    trade = data.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="ALFA"))["ALFA"]
    bar = data.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="ALFA"))["ALFA"]
    price = driver.price
    assert (quote.bid_price, quote.ask_price) == (price - 0.01, price + 0.01)
    assert now - MINUTE < quote.timestamp < now
    assert (trade.price, bar.close, bar.timestamp) == (price, price, now - MINUTE)


def test_snapshot_when_asked_then_keyed_by_symbol_at_the_top(
    data: StockHistoricalDataClient, exchange: ExchangeProcess, driver: LockstepDriver
) -> None:
    raw = exchange.request("GET", "/v2/stocks/snapshots?symbols=ALFA,NONE").json()
    assert list(raw) == ["ALFA"]
    assert set(raw["ALFA"]) == {
        "latestTrade",
        "latestQuote",
        "minuteBar",
        "dailyBar",
        "prevDailyBar",
    }
    found = data.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols="ALFA"))["ALFA"]
    assert found.previous_daily_bar is not None
    assert found.previous_daily_bar.close == 99
    assert found.daily_bar is not None
    assert found.daily_bar.volume == driver.minute * 400


def test_history_when_quotes_and_trades_then_only_up_to_the_clock(
    data: StockHistoricalDataClient, driver: LockstepDriver
) -> None:
    now = datetime.fromisoformat(driver.current["at"])
    quotes = data.get_stock_quotes(
        StockQuotesRequest(symbol_or_symbols="ALFA", start=now - MINUTE, end=now + MINUTE)
    )["ALFA"]
    trades = data.get_stock_trades(
        StockTradesRequest(symbol_or_symbols="ALFA", start=now - MINUTE, end=now + MINUTE)
    )["ALFA"]
    assert len(quotes) == len(trades) == 4
    assert {trade.price for trade in trades} == {float(driver.price)}
    assert all(now - MINUTE <= quote.timestamp <= now for quote in quotes)


def test_bars_when_real_or_local_then_daily_bars_parse(endpoint: Endpoint) -> None:
    name = "ALFA" if endpoint.name == "exchange" else "AAPL"
    request = StockBarsRequest(
        symbol_or_symbols=name,
        timeframe=TimeFrame.Day,
        start=OPEN - timedelta(days=2),
        end=OPEN + timedelta(hours=8),
        feed="iex" if endpoint.name == "exchange" else "sip",
    )
    bars = endpoint.data.get_stock_bars(request)[name]
    assert bars[-1].timestamp == datetime(2014, 6, 5, 4, tzinfo=UTC)


def test_news_when_an_article_was_told_then_found_by_symbol(exchange: ExchangeProcess) -> None:
    for headline, symbols in (("one", ["ALFA"]), ("two", ["BETA"])):
        body = {"headline": headline, "symbols": symbols}
        requests.post(exchange.url + "/control/news", json=body, timeout=5)
    client = NewsClient(KEY, SECRET, url_override=exchange.url)
    found = client.get_news(NewsRequest(symbols="ALFA", start=OPEN))
    assert [article.headline for article in found.data["news"]] == ["one"]


def test_data_when_secret_is_wrong_then_401(exchange: ExchangeProcess) -> None:
    client = StockHistoricalDataClient(KEY, "wrong", url_override=exchange.url)
    with pytest.raises(APIError) as caught:
        client.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="ALFA"))
    assert caught.value.status_code == 401


# -- the split; these come last, for they move the clock --------------------------------


def splits(exchange: ExchangeProcess) -> list[Any]:
    client = CorporateActionsClient(KEY, SECRET, url_override=exchange.url)
    request = CorporateActionsRequest(
        symbols=["SPLT"], start=OPEN.date(), end=OPEN.date() + timedelta(days=30)
    )
    return list(client.get_corporate_actions(request).data.get("forward_splits", []))


def test_split_when_its_day_comes_then_position_is_adjusted_and_orders_are_not(
    exchange: ExchangeProcess,
    driver: LockstepDriver,
    trading: TradingClient,
    data: StockHistoricalDataClient,
) -> None:
    (split,) = splits(exchange)
    assert (split.new_rate / split.old_rate, str(split.ex_date)) == (2.0, "2014-06-09")
    driver.to_price(100)
    trading.submit_order(MarketOrderRequest(symbol="SPLT", qty=10, side="buy", time_in_force="day"))
    stop = trading.submit_order(
        StopOrderRequest(symbol="SPLT", qty=10, side="sell", time_in_force="gtc", stop_price=90)
    )
    driver.until(lambda step: step["session"] == "2014-06-09")
    assert driver.current["kind"] == "pre_open"
    position = trading.get_open_position("SPLT")
    assert (position.qty, float(position.avg_entry_price)) == ("20", 50.005)
    # The last close was 99, before the split.
    assert float(position.lastday_price or 0) == 49.5
    assert trading.get_order_by_id(stop.id).qty == "10"
    bars = data.get_stock_bars(
        StockBarsRequest(
            symbol_or_symbols="SPLT", timeframe=TimeFrame.Day, start=OPEN, adjustment="split"
        )
    )["SPLT"]
    assert [bar.close for bar in bars] == [49.5]
    # Left alone, the old stop fires at the open: the desk has to see to it.
    driver.step()
    driver.step()
    assert trading.get_order_by_id(stop.id).status == "filled"
    assert trading.get_open_position("SPLT").qty == "10"


def test_split_when_two_sessions_away_then_not_yet_known(wave_source: str, tmp_path: Any) -> None:
    with ExchangeProcess(wave_source, tmp_path, "--lockstep") as early:
        assert splits(early) == []
        order = TradingClient(KEY, SECRET, url_override=early.url).submit_order(
            LimitOrderRequest(symbol="SPLT", qty=1, side="buy", time_in_force="gtc", limit_price=10)
        )
        assert order.status == "accepted"
