"""The exchange is killed at arbitrary instants and ends as if it had not been."""

from __future__ import annotations

import threading
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import requests
from websockets.exceptions import ConnectionClosed

from tests.exchange_fixture import ExchangeProcess, LockstepDriver

END = date(2014, 6, 10)
GONE = (requests.exceptions.RequestException, ConnectionClosed, ConnectionError, TimeoutError)


def body(symbol: str, client_id: str, **fields: Any) -> dict[str, Any]:
    values = {"symbol": symbol, "qty": 7, "side": "buy", "type": "market"}
    return {**values, "time_in_force": "day", "client_order_id": client_id, **fields}


def plan(seq: int) -> list[dict[str, Any]]:
    """What the desk sends at a step: an entry every twenty steps, its exit right after."""
    symbol = ("ALFA", "BETA", "GAMA")[seq // 20 % 3]
    if seq % 20 == 5:
        return [body(symbol, f"entry-{seq}")]
    if seq % 20 == 6:
        prices = {"take_profit": {"limit_price": 101.5}, "stop_loss": {"stop_price": 98}}
        exit_ = {"side": "sell", "type": "limit", "order_class": "oco", "time_in_force": "gtc"}
        return [body(symbol, f"exit-{seq}", **exit_, **prices)]
    return []


def work(exchange: ExchangeProcess, seq: int) -> None:
    for order in plan(seq):
        path = "/v2/orders:by_client_order_id?client_order_id=" + order["client_order_id"]
        if exchange.request("GET", path).status_code == 404:
            exchange.request("POST", "/v2/orders", json=order)


def drive(
    exchange: ExchangeProcess, reached: list[int], kill: tuple[int, threading.Timer] | None = None
) -> None:
    driver = LockstepDriver(exchange)
    try:
        while driver.current["kind"] != "end":
            reached.append(driver.current["seq"])
            if kill is not None and len(reached) == kill[0]:
                kill[1].start()
            work(exchange, driver.current["seq"])
            driver.step()
    finally:
        driver.close()


def image(exchange: ExchangeProcess) -> list[Any]:
    paths = (
        "/v2/account",
        "/v2/positions",
        "/v2/orders?status=all&limit=500",
        "/v2/account/activities/FILL",
    )
    return [exchange.request("GET", path).json() for path in paths]


# Each life: how many steps of it, then how many seconds, until it is killed.
LIVES = [
    [(40, 0.0004), (200, 0.0011), (330, 0.0023), (100, 0.0)],
    [(120, 0.0007), (230, 0.0016), (20, 0.0002), (160, 0.0031)],
]


@pytest.mark.parametrize("lives", LIVES)
def test_kill_when_at_any_instant_then_the_end_is_that_of_the_undisturbed_run(
    wave_source: str, tmp_path: Path, lives: list[tuple[int, float]]
) -> None:
    options = ("--lockstep", "--partial-fills", "0.3")
    reached: list[int] = []
    with ExchangeProcess(wave_source, tmp_path / "whole", *options, end=END) as whole:
        drive(whole, reached)
        expected = image(whole)
    for steps, delay_s in lives:
        reached.clear()
        with ExchangeProcess(wave_source, tmp_path / "parts", *options, end=END) as part:
            timer = threading.Timer(delay_s, part.kill)
            with pytest.raises(GONE):
                drive(part, reached, (steps, timer))
            timer.join()
    with ExchangeProcess(wave_source, tmp_path / "parts", *options, end=END) as last:
        drive(last, reached)
        assert image(last) == expected
    assert len(expected[3]) > 20
