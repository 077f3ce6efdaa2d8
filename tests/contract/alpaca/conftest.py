"""One exchange for each module of the contract suite, and the clients on it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.trading.client import TradingClient

from tests.exchange_fixture import (
    KEY,
    SECRET,
    SYMBOLS,
    ExchangeProcess,
    LockstepDriver,
    no_proxy_for_loopback,
    wait_until,
    write_wave_source,
)

REAL_URL = os.environ.get("GREENLIGHT_TEST_ALPACA_URL")
_turn = itertools.cycle([symbol for symbol in SYMBOLS if symbol != "SPLT"])


@pytest.fixture(scope="session")
def wave_source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_wave_source(tmp_path_factory.mktemp("wave"))


@pytest.fixture(scope="module")
def exchange(
    wave_source: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ExchangeProcess]:
    folder = tmp_path_factory.mktemp("exchange")
    with ExchangeProcess(
        wave_source, folder, "--lockstep", "--faults", "--partial-fills", "0"
    ) as process:
        yield process


@pytest.fixture(scope="module")
def driver(exchange: ExchangeProcess) -> Iterator[LockstepDriver]:
    driver = LockstepDriver(exchange)
    yield driver
    driver.close()


@pytest.fixture(scope="module")
def trading(exchange: ExchangeProcess) -> TradingClient:
    return TradingClient(KEY, SECRET, url_override=exchange.url)


@pytest.fixture(scope="module")
def data(exchange: ExchangeProcess) -> StockHistoricalDataClient:
    return StockHistoricalDataClient(KEY, SECRET, url_override=exchange.url)


@pytest.fixture
def symbol(
    exchange: ExchangeProcess, driver: LockstepDriver, trading: TradingClient
) -> Iterator[str]:
    """A symbol in an open market, without orders or position before and after."""
    driver.ensure_open()
    yield next(_turn)
    exchange.clear_faults()
    trading.cancel_orders()
    wait_until(lambda: not trading.get_orders())
    driver.ensure_open()
    trading.close_all_positions(cancel_orders=True)
    for _ in range(3):
        if trading.get_all_positions():
            driver.step()
    assert not trading.get_all_positions()


@dataclass(frozen=True)
class Endpoint:
    """Where a read-only contract test is run: here, and on Alpaca's paper where asked."""

    name: str
    trading: TradingClient
    data: StockHistoricalDataClient


@pytest.fixture(params=["exchange", *(["alpaca"] if REAL_URL else [])])
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    if request.param == "exchange":
        request.getfixturevalue("driver")
        return Endpoint(
            "exchange", request.getfixturevalue("trading"), request.getfixturevalue("data")
        )
    no_proxy_for_loopback()
    key, secret = os.environ["APCA_API_KEY_ID"], os.environ["APCA_API_SECRET_KEY"]
    return Endpoint(
        "alpaca",
        TradingClient(key, secret, url_override=REAL_URL),
        StockHistoricalDataClient(
            key, secret, url_override=os.environ.get("GREENLIGHT_TEST_ALPACA_DATA_URL")
        ),
    )
