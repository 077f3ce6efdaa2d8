"""Lockstep, restart, the fault switches, and the process itself."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest

from tests.exchange_fixture import (
    KEY,
    SECRET,
    ExchangeProcess,
    LockstepDriver,
    open_socket,
    wait_until,
)


def client(exchange: ExchangeProcess) -> TradingClient:
    return TradingClient(KEY, SECRET, url_override=exchange.url)


def market_buy(symbol: str, **fields: Any) -> MarketOrderRequest:
    return MarketOrderRequest(symbol=symbol, qty=10, side="buy", time_in_force="day", **fields)


def limit_buy(client_id: str) -> LimitOrderRequest:
    return LimitOrderRequest(
        symbol="ALFA",
        qty=1,
        side="buy",
        time_in_force="gtc",
        limit_price=80,
        client_order_id=client_id,
    )


# -- lockstep ---------------------------------------------------------------------------


def test_lockstep_when_ack_lacks_updates_then_wait_until_they_are_seen(
    wave_source: str, tmp_path: Path
) -> None:
    with ExchangeProcess(wave_source, tmp_path, "--lockstep") as exchange, ExitStack() as stack:
        driver = LockstepDriver(exchange)
        stack.callback(driver.close)
        driver.ensure_open()
        stream = open_socket(stack, exchange.ws_url + "/stream")
        login = {"action": "authenticate", "data": {"key_id": KEY, "secret_key": SECRET}}
        for message in (login, {"action": "listen", "data": {"streams": ["trade_updates"]}}):
            stream.send(json.dumps(message))
            stream.recv(timeout=5)
        time.sleep(0.05)
        client(exchange).submit_order(market_buy("ALFA"))
        seq = driver.current["seq"]
        driver._send({"type": "ack", "seq": seq, "trade_updates": 0})
        assert driver._receive() == {"type": "wait", "seq": seq, "trade_updates": 3}
        assert exchange.state()["seq"] == seq
        # An answer to another step is passed over.
        driver._send({"type": "ack", "seq": seq + 1, "trade_updates": 3})
        driver._send({"type": "ack", "seq": seq, "trade_updates": 3})
        following = driver._receive()
        assert (following["type"], following["seq"]) == ("step", seq + 1)


def test_lockstep_when_a_second_client_comes_then_it_is_sent_away(
    exchange: ExchangeProcess, driver: LockstepDriver
) -> None:
    with ExitStack() as stack:
        second = open_socket(stack, exchange.ws_url + "/control/lockstep")
        assert json.loads(second.recv(timeout=5))["type"] == "error"


def test_lockstep_when_the_client_has_gone_then_the_replay_stands_still(
    wave_source: str, tmp_path: Path
) -> None:
    with ExchangeProcess(wave_source, tmp_path, "--lockstep") as exchange:
        driver = LockstepDriver(exchange)
        seq = driver.step()["seq"]
        driver.close()
        wait_until(lambda: exchange.state()["connections"]["control"] == 0)
        assert (exchange.state()["seq"], exchange.state()["finished"]) == (seq, False)
        again = LockstepDriver(exchange)
        assert (again.hello["seq"], again.current["seq"]) == (seq, seq)
        again.close()


def test_lockstep_when_the_last_step_is_acknowledged_then_finished_and_rest_serves(
    wave_source: str, tmp_path: Path
) -> None:
    from tests.exchange_fixture import FIRST_DAY

    with ExchangeProcess(wave_source, tmp_path, "--lockstep", end=FIRST_DAY) as exchange:
        driver = LockstepDriver(exchange)
        driver.until(lambda step: step["kind"] == "end")
        # One session: pre_open, 390 minutes, close; then the end.
        assert driver.current["seq"] == 393
        driver._send({"type": "ack", "seq": 393, "trade_updates": 0})
        wait_until(lambda: exchange.state()["finished"])
        assert client(exchange).get_account().cash == "100000"
        driver.close()


# -- restart ------------------------------------------------------------------------------


def account_image(exchange: ExchangeProcess) -> dict[str, Any]:
    paths = (
        "/v2/account",
        "/v2/positions",
        "/v2/orders?status=all&limit=500",
        "/v2/account/activities/FILL",
        "/v2/clock",
        "/v2/stocks/quotes/latest?symbols=ALFA,BETA",
    )
    return {path: exchange.request("GET", path).json() for path in paths}


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_restart_when_process_ended_in_a_session_then_everything_is_as_before(
    wave_source: str, tmp_path: Path, how: str
) -> None:
    with ExchangeProcess(wave_source, tmp_path, "--lockstep", "--partial-fills", "0") as first:
        driver = LockstepDriver(first)
        driver.ensure_open()
        trading = client(first)
        trading.submit_order(market_buy("ALFA", client_order_id="entry"))
        oco = trading.submit_order(
            LimitOrderRequest(
                symbol="ALFA",
                qty=10,
                side="sell",
                time_in_force="gtc",
                limit_price=110,
                order_class="oco",
                take_profit={"limit_price": 110},
                stop_loss={"stop_price": 98.5},
            )
        )
        trading.submit_order(limit_buy("resting").model_copy(update={"symbol": "BETA"}))
        seq = driver.current["seq"]
        before = account_image(first)
        getattr(first, how)()
    with ExchangeProcess(wave_source, tmp_path, "--lockstep", "--partial-fills", "0") as second:
        assert account_image(second) == before
        driver = LockstepDriver(second)
        # The step was published but not acknowledged: it is told again, not matched again.
        assert (driver.hello["seq"], driver.current["seq"]) == (seq, seq)
        assert account_image(second) == before
        trading = client(second)
        assert oco.legs is not None
        stop_id = oco.legs[0].id
        driver.until(lambda _: trading.get_order_by_id(stop_id).status == "filled", 8)
        assert driver.price == 98
        with pytest.raises(APIError, match="must be unique"):
            trading.submit_order(market_buy("ALFA", client_order_id="entry"))
        driver.close()


def test_start_when_folder_belongs_to_another_replay_then_exit_2_with_one_line(
    wave_source: str, tmp_path: Path
) -> None:
    with ExchangeProcess(wave_source, tmp_path, "--lockstep"):
        pass
    with pytest.raises(RuntimeError, match="another replay"):
        ExchangeProcess(wave_source, tmp_path, "--lockstep", "--cash", "5")


def test_start_when_port_is_taken_then_exit_2_with_one_line(
    wave_source: str, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "cluster.paper_exchange", "--source", wave_source]
        command += ["--start", "2014-06-05", "--end", "2014-06-06", "--port", str(port)]
        command += ["--data-dir", str(tmp_path), "--lockstep"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert str(port) in done.stderr


def test_stop_when_websockets_are_open_then_ends_within_two_seconds_with_0(
    wave_source: str, tmp_path: Path
) -> None:
    with ExchangeProcess(wave_source, tmp_path, "--lockstep") as exchange, ExitStack() as stack:
        for path in ("/v2/iex", "/stream", "/control/lockstep"):
            open_socket(stack, exchange.ws_url + path)
        began = time.monotonic()
        assert exchange.stop() == 0
        assert time.monotonic() - began < 2


# -- on the wall clock --------------------------------------------------------------------


def test_speed_when_fast_then_the_clock_runs_and_orders_fill(
    wave_source: str, tmp_path: Path
) -> None:
    with ExchangeProcess(
        wave_source, tmp_path, "--speed", "600", "--partial-fills", "0", "--rate-limit", "0"
    ) as exchange:
        trading = client(exchange)
        wait_until(lambda: bool(trading.get_clock().is_open))
        began, start = time.monotonic(), trading.get_clock().timestamp
        order = trading.submit_order(market_buy("ALFA"))
        wait_until(lambda: trading.get_order_by_id(order.id).status == "filled")
        sale = trading.submit_order(
            LimitOrderRequest(
                symbol="ALFA", qty=10, side="sell", time_in_force="gtc", limit_price=101.9
            )
        )
        wait_until(lambda: trading.get_order_by_id(sale.id).status == "filled")
        simulated = (trading.get_clock().timestamp - start).total_seconds()
        assert simulated / (time.monotonic() - began) == pytest.approx(600, rel=0.5)
        assert requests.get(exchange.url + "/control/lockstep", timeout=5).status_code == 404


# -- fault switches -------------------------------------------------------------------------


@pytest.fixture
def placed(exchange: ExchangeProcess, driver: LockstepDriver, trading: TradingClient) -> Any:
    yield lambda client_id: bool(
        exchange.request("GET", f"/v2/orders:by_client_order_id?client_order_id={client_id}").ok
    )
    exchange.clear_faults()


def test_fault_when_dropped_then_the_order_stands_and_no_answer_came(
    exchange: ExchangeProcess, trading: TradingClient, placed: Any
) -> None:
    exchange.fault("^POST /v2/orders.*dropped", "drop")
    with pytest.raises(requests.exceptions.ConnectionError):
        trading.submit_order(limit_buy("dropped"))
    assert placed("dropped")


def test_fault_when_dropped_before_commit_then_there_is_no_order(
    exchange: ExchangeProcess, trading: TradingClient, placed: Any
) -> None:
    exchange.fault("^POST /v2/orders", "drop", commit=False)
    with pytest.raises(requests.exceptions.ConnectionError):
        trading.submit_order(limit_buy("lost"))
    assert not placed("lost")


def test_fault_when_504_after_commit_then_the_clients_retry_meets_a_duplicate(
    exchange: ExchangeProcess, placed: Any
) -> None:
    trading = client(exchange)
    trading._retry_wait = 0
    exchange.fault("^POST /v2/orders", "status", status=504, commit=True)
    with pytest.raises(APIError, match="must be unique"):
        trading.submit_order(limit_buy("gateway"))
    assert placed("gateway")


def test_fault_when_503_with_a_page_then_the_body_is_html(
    exchange: ExchangeProcess, trading: TradingClient, placed: Any
) -> None:
    exchange.fault(
        "^GET /v2/account", "status", status=503, body="<html>", content_type="text/html"
    )
    with pytest.raises(APIError) as caught:
        trading.get_account()
    assert caught.value.status_code == 503
    with pytest.raises(json.JSONDecodeError):
        _ = caught.value.code
    assert trading.get_account().cash is not None


def test_fault_when_lookup_is_hidden_then_404_so_many_times(
    exchange: ExchangeProcess, trading: TradingClient, placed: Any
) -> None:
    trading.submit_order(limit_buy("hidden"))
    body = '{"code":40410000,"message":"order not found for hidden"}'
    exchange.fault("client_order_id=hidden", "status", status=404, body=body, count=2)
    assert [placed("hidden") for _ in range(3)] == [False, False, True]


def test_fault_when_held_then_no_answer_until_the_client_gives_up(
    exchange: ExchangeProcess, placed: Any
) -> None:
    exchange.fault("^GET /v2/account", "hold")
    headers = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(exchange.url + "/v2/account", headers=headers, timeout=0.3)
    assert exchange.request("GET", "/v2/account").ok


def test_fault_when_delayed_then_the_answer_takes_so_long(
    exchange: ExchangeProcess, placed: Any
) -> None:
    exchange.fault("^GET /v2/clock", "delay", delay_s=0.3)
    began = time.monotonic()
    assert exchange.request("GET", "/v2/clock").ok
    assert time.monotonic() - began >= 0.3


def test_fault_when_listed_and_cleared_then_the_board_says_so(exchange: ExchangeProcess) -> None:
    exchange.fault("^GET /never", "drop", after=2, count=3)
    (rule,) = requests.get(exchange.url + "/control/faults", timeout=5).json()
    assert (rule["match"], rule["after"], rule["count"], rule["hits"]) == ("^GET /never", 2, 3, 0)
    bad = requests.post(exchange.url + "/control/faults", json={"match": "x"}, timeout=5)
    assert bad.status_code == 422
    exchange.clear_faults()
    assert requests.get(exchange.url + "/control/faults", timeout=5).json() == []


def test_fault_when_switched_off_then_the_route_is_not_there(
    wave_source: str, tmp_path: Path
) -> None:
    with ExchangeProcess(wave_source, tmp_path, "--lockstep") as exchange:
        assert requests.get(exchange.url + "/control/faults", timeout=5).status_code == 404
        assert exchange.state()["mode"] == "lockstep"
