"""Real minutes and real quotes, by way of the clients."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.data.requests import StockQuotesRequest
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest

from tests.exchange_fixture import KEY, SECRET, ExchangeProcess, LockstepDriver
from tests.shared_data import lean_root

pytestmark = pytest.mark.shared_data


def oco(symbol: str, qty: float, target: float, stop: float) -> LimitOrderRequest:
    return LimitOrderRequest(
        symbol=symbol,
        qty=qty,
        side="sell",
        time_in_force="gtc",
        limit_price=target,
        order_class="oco",
        take_profit={"limit_price": target},
        stop_loss={"stop_price": stop},
    )


def test_split_when_the_stop_is_placed_anew_before_the_open_then_it_does_not_fire(
    tmp_path: Path,
) -> None:
    source = f"lean:{lean_root()}?resolution=minute&symbols=AAPL"
    days = {"start": date(2014, 6, 5), "end": date(2014, 6, 9)}
    with ExchangeProcess(source, tmp_path, "--lockstep", "--partial-fills", "0", **days) as process:
        trading = TradingClient(KEY, SECRET, url_override=process.url)
        driver = LockstepDriver(process)
        driver.until(lambda step: step["session"] == "2014-06-06" and step["kind"] == "minute")
        trading.submit_order(
            MarketOrderRequest(symbol="AAPL", qty=10, side="buy", time_in_force="day")
        )
        old = trading.submit_order(oco("AAPL", 10, 700, 615))
        driver.until(lambda step: step["session"] == "2014-06-09")
        position = trading.get_open_position("AAPL")
        assert position.qty == "70"
        # Bought near 650 before the 7:1 split.
        assert 92 < float(position.avg_entry_price) < 94
        # The last regular bar before it closed at 645.57.
        assert float(position.current_price or 0) == pytest.approx(645.57 / 7, abs=0.05)
        trading.cancel_order_by_id(old.id)
        driver.step()
        assert trading.get_open_position("AAPL").qty_available == "70"
        new = trading.submit_order(oco("AAPL", 70, 100, 88))
        driver.until(lambda step: step["kind"] == "close")
        assert trading.get_open_position("AAPL").qty == "70"
        assert new.legs is not None
        assert trading.get_order_by_id(new.legs[0].id).status == "held"
        driver.close()


def test_fills_when_quotes_are_real_then_none_lies_outside_the_quote_in_force(
    tmp_path: Path,
) -> None:
    source = f"lean:{lean_root()}?resolution=minute&symbols=BAC,IBM,SPY"
    days = {"start": date(2013, 10, 7), "end": date(2013, 10, 9)}
    with ExchangeProcess(source, tmp_path, "--lockstep", **days) as process:
        trading = TradingClient(KEY, SECRET, url_override=process.url)
        data = StockHistoricalDataClient(KEY, SECRET, url_override=process.url)
        driver = LockstepDriver(process)
        for _ in range(24):
            driver.until(lambda step: step["kind"] == "minute" and step["at"][14:16] == "00")
            for symbol in ("BAC", "IBM", "SPY"):
                side = "buy" if not trading.get_all_positions() else "sell"
                held = {p.symbol: p.qty_available for p in trading.get_all_positions()}
                if side == "sell" and float(held.get(symbol) or 0) < 1:
                    side = "buy"
                trading.submit_order(
                    MarketOrderRequest(symbol=symbol, qty=1, side=side, time_in_force="day")
                )
            if driver.current["session"] == "2013-10-09" and driver.current["at"][11:13] >= "18":
                break
        fills = trading.get("/account/activities/FILL", {"direction": "asc"})
        assert len(fills) > 30
        for fill in fills:
            quotes = data.get_stock_quotes(
                StockQuotesRequest(
                    symbol_or_symbols=fill["symbol"],
                    start=fill["transaction_time"][:10] + "T13:30:00Z",
                    end=fill["transaction_time"],
                )
            )[fill["symbol"]]
            assert quotes[-1].bid_price <= float(fill["price"]) <= quotes[-1].ask_price
        driver.close()
