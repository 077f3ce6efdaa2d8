"""The websockets: handshakes step by step, then the unmodified stream clients."""

from __future__ import annotations

import json
import socket as socket_module
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgpack
import pytest
import requests
from alpaca.data.live.news import NewsDataStream
from alpaca.data.live.stock import StockDataStream
from alpaca.trading.client import TradingClient
from alpaca.trading.models import TradeUpdate
from alpaca.trading.requests import MarketOrderRequest
from alpaca.trading.stream import TradingStream
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.protocol import State
from websockets.sync.client import ClientConnection
from websockets.uri import parse_uri

from tests.exchange_fixture import (
    KEY,
    SECRET,
    ExchangeProcess,
    LockstepDriver,
    StreamThread,
    open_socket,
    wait_until,
)

CHANNELS = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses")


@pytest.fixture
def stack(exchange: ExchangeProcess) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack
    exchange.clear_faults()
    wait_until(lambda: not any_stream(exchange))


def any_stream(exchange: ExchangeProcess) -> bool:
    counts = exchange.state()["connections"]
    return any(counts[name] for name in ("data", "news", "trade_updates"))


def ask(socket: ClientConnection, message: dict[str, Any]) -> Any:
    socket.send(msgpack.packb(message))
    return msgpack.unpackb(socket.recv(timeout=5))


def error(code: int, message: str) -> list[dict[str, Any]]:
    return [{"T": "error", "code": code, "msg": message}]


def data_socket(
    stack: ExitStack, exchange: ExchangeProcess, path: str = "/v2/iex"
) -> ClientConnection:
    socket = open_socket(stack, exchange.ws_url + path)
    assert msgpack.unpackb(socket.recv(timeout=5)) == [{"T": "success", "msg": "connected"}]
    return socket


def authenticated(
    stack: ExitStack, exchange: ExchangeProcess, path: str = "/v2/iex"
) -> ClientConnection:
    socket = data_socket(stack, exchange, path)
    answer = ask(socket, {"action": "auth", "key": KEY, "secret": SECRET})
    assert answer == [{"T": "success", "msg": "authenticated"}]
    return socket


# -- market data: handshake and errors ------------------------------------------


def test_data_when_subscribed_in_fragments_then_the_whole_list_comes_back(
    stack: ExitStack, exchange: ExchangeProcess
) -> None:
    socket = authenticated(stack, exchange)
    packed = msgpack.packb({"action": "subscribe", "trades": ["ALFA"], "bars": ["BETA"]})
    socket.send(iter([packed[:7], packed[7:], b""]))
    expected = {**{name: [] for name in CHANNELS}, "trades": ["ALFA"], "bars": ["BETA"]}
    assert msgpack.unpackb(socket.recv(timeout=5)) == [{"T": "subscription", **expected}]
    more = ask(socket, {"action": "subscribe", "quotes": ["ALFA"]})
    assert more == [{"T": "subscription", **expected, "quotes": ["ALFA"]}]
    less = ask(socket, {"action": "unsubscribe", "trades": ["ALFA"]})
    assert less == [{"T": "subscription", **expected, "quotes": ["ALFA"], "trades": []}]


def test_data_when_garbled_then_400(stack: ExitStack, exchange: ExchangeProcess) -> None:
    socket = authenticated(stack, exchange)
    assert ask(socket, {"action": "dance"}) == error(400, "invalid syntax")
    socket.send(b"\xc1\xff")
    assert msgpack.unpackb(socket.recv(timeout=5)) == error(400, "invalid syntax")


def test_data_when_not_authenticated_then_401(stack: ExitStack, exchange: ExchangeProcess) -> None:
    socket = data_socket(stack, exchange)
    assert ask(socket, {"action": "subscribe", "bars": ["ALFA"]}) == error(401, "not authenticated")


def test_data_when_secret_is_wrong_then_402(stack: ExitStack, exchange: ExchangeProcess) -> None:
    socket = data_socket(stack, exchange)
    answer = ask(socket, {"action": "auth", "key": KEY, "secret": "wrong"})
    assert answer == error(402, "auth failed")


def test_data_when_authenticated_twice_then_403(
    stack: ExitStack, exchange: ExchangeProcess
) -> None:
    socket = authenticated(stack, exchange)
    answer = ask(socket, {"action": "auth", "key": KEY, "secret": SECRET})
    assert answer == error(403, "already authenticated")


def test_data_when_silent_for_ten_seconds_then_404(
    stack: ExitStack, exchange: ExchangeProcess
) -> None:
    socket = data_socket(stack, exchange)
    assert msgpack.unpackb(socket.recv(timeout=12)) == error(404, "auth timeout")


def test_data_when_thirty_one_symbols_then_405_and_the_list_stays(
    stack: ExitStack, exchange: ExchangeProcess
) -> None:
    socket = authenticated(stack, exchange)
    names = [f"S{i:02d}" for i in range(31)]
    thirty = ask(socket, {"action": "subscribe", "quotes": names[:30], "bars": names[:30]})
    assert len(thirty[0]["quotes"]) == 30
    answer = ask(socket, {"action": "subscribe", "quotes": names[30:]})
    assert answer == error(405, "symbol limit exceeded")
    again = ask(socket, {"action": "subscribe", "quotes": names[:1]})
    assert again[0]["quotes"] == names[:30]


def test_data_when_a_second_connection_then_406_until_the_first_has_gone(
    exchange: ExchangeProcess, stack: ExitStack
) -> None:
    with ExitStack() as first:
        authenticated(first, exchange)
        second = data_socket(stack, exchange)
        answer = ask(second, {"action": "auth", "key": KEY, "secret": SECRET})
        assert answer == error(406, "connection limit exceeded")
    wait_until(lambda: not any_stream(exchange))
    authenticated(stack, exchange)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [({}, 407, "slow client"), ({"code": 500}, 500, "internal error")],
)
def test_data_when_the_server_gives_up_then_the_error_says_so(
    stack: ExitStack,
    exchange: ExchangeProcess,
    driver: LockstepDriver,
    options: dict[str, int],
    code: int,
    message: str,
) -> None:
    driver.ensure_open()
    socket = authenticated(stack, exchange)
    ask(socket, {"action": "subscribe", "quotes": ["ALFA"]})
    exchange.fault("^data:error", "error", **options)
    assert driver.step()["data_messages"] is None
    assert msgpack.unpackb(socket.recv(timeout=5)) == error(code, message)
    with pytest.raises(ConnectionClosed):
        socket.recv(timeout=5)


def test_data_when_a_real_client_does_not_read_then_407_or_a_cut_and_the_clock_goes_on(
    wave_source: str, tmp_path: Path
) -> None:
    with (
        ExchangeProcess(wave_source, tmp_path, "--speed", "20000") as process,
        socket_module.create_connection(("127.0.0.1", process.port)) as raw,
    ):
        raw.setsockopt(socket_module.SOL_SOCKET, socket_module.SO_RCVBUF, 4096)
        protocol = ClientProtocol(parse_uri(process.ws_url + "/v2/iex"))
        protocol.send_request(protocol.connect())
        for message in (
            {"action": "auth", "key": KEY, "secret": SECRET},
            {"action": "subscribe", "quotes": ["*"], "bars": ["*"], "trades": ["*"]},
        ):
            raw.sendall(b"".join(protocol.data_to_send()))
            time.sleep(0.2)
            if protocol.state is not State.OPEN:
                protocol.receive_data(raw.recv(4096))
            protocol.send_binary(msgpack.packb(message))
        raw.sendall(b"".join(protocol.data_to_send()))
        wait_until(lambda: process.state()["connections"]["data"] == 1)
        wait_until(lambda: process.state()["connections"]["data"] == 0, within_s=30)
        seq = process.state()["seq"]
        wait_until(lambda: process.state()["seq"] > seq or process.state()["finished"])


def test_data_when_sip_on_the_free_plan_then_409(
    stack: ExitStack, exchange: ExchangeProcess
) -> None:
    socket = data_socket(stack, exchange, "/v2/sip")
    answer = ask(socket, {"action": "auth", "key": KEY, "secret": SECRET})
    assert answer == error(409, "insufficient subscription")


# -- market data: messages --------------------------------------------------------


def test_data_when_step_is_published_then_one_frame_with_every_field(
    stack: ExitStack, exchange: ExchangeProcess, driver: LockstepDriver
) -> None:
    driver.ensure_open()
    driver.to_price(99)
    socket = authenticated(stack, exchange)
    ask(socket, {"action": "subscribe", "quotes": ["ALFA"], "trades": ["ALFA"], "bars": ["ALFA"]})
    step = driver.step()
    messages = msgpack.unpackb(socket.recv(timeout=5))
    price = float(driver.price)
    assert step["data_messages"] == len(messages)
    kinds = [message["T"] for message in messages]
    assert (kinds[0], kinds[-1], kinds.count("q"), kinds.count("t")) == ("q", "b", 1, 4)
    quote, trade, bar = messages[0], messages[1], messages[-1]
    assert set(quote) == {"T", "S", "bx", "bp", "bs", "ax", "ap", "as", "c", "z", "t"}
    assert (quote["bp"], quote["ap"]) == (price - 0.01, price + 0.01)
    assert set(trade) == {"T", "S", "i", "x", "p", "s", "c", "z", "t"}
    assert set(bar) == {"T", "S", "o", "h", "l", "c", "v", "n", "vw", "t"}
    assert (bar["o"], bar["c"], bar["v"], bar["vw"]) == (price, price, 400, price)
    end = datetime.fromisoformat(step["at"])
    assert isinstance(bar["t"], msgpack.Timestamp)
    assert (end - bar["t"].to_datetime()).total_seconds() == 60
    assert 0 < (end - quote["t"].to_datetime()).total_seconds() < 60


def test_stock_stream_when_subscribed_then_handlers_get_parsed_models(
    exchange: ExchangeProcess, driver: LockstepDriver, stack: ExitStack
) -> None:
    driver.ensure_open()
    seen: list[Any] = []

    async def handle(item: Any) -> None:
        seen.append(item)

    stream = StockDataStream(KEY, SECRET, url_override=exchange.ws_url + "/v2/iex")
    stream.subscribe_quotes(handle, "ALFA")
    stream.subscribe_bars(handle, "*")
    stream.subscribe_daily_bars(handle, "ALFA")
    thread = StreamThread(stream)
    stack.callback(thread.stop)
    wait_until(lambda: exchange.state()["connections"]["data"] == 1)
    wait_until(lambda: driver.step()["data_messages"] > 0)
    wait_until(lambda: len(seen) >= 7)
    quotes = [item for item in seen if type(item).__name__ == "Quote"]
    bars = [item for item in seen if type(item).__name__ == "Bar"]
    assert quotes[0].symbol == "ALFA"
    assert quotes[0].timestamp.tzinfo is not None
    assert {bar.symbol for bar in bars} >= {"ALFA", "BETA", "SPLT"}
    driver.until(lambda step: step["kind"] == "close")
    wait_until(lambda: seen[-1].volume == 390 * 400)
    daily = seen[-1]
    assert (daily.open, daily.high, daily.low) == (100.0, 102.0, 98.0)
    # Midnight in New York, in summer four hours behind UTC.
    assert daily.timestamp.astimezone(UTC).strftime("%H:%M") == "04:00"


def test_stock_stream_when_cut_then_reconnects_and_subscribes_again(
    exchange: ExchangeProcess, driver: LockstepDriver, stack: ExitStack
) -> None:
    seen: list[Any] = []

    async def handle(item: Any) -> None:
        seen.append(item)

    stream = StockDataStream(KEY, SECRET, url_override=exchange.ws_url + "/v2/iex", raw_data=True)
    stream.subscribe_bars(handle, "ALFA")
    thread = StreamThread(stream)
    stack.callback(thread.stop)
    wait_until(lambda: exchange.state()["connections"]["data"] == 1)
    cut = requests.post(exchange.url + "/control/disconnect?stream=data", timeout=5).json()
    assert cut == {"stream": "data", "was_open": True}
    wait_until(lambda: exchange.state()["connections"]["data"] == 1)
    driver.ensure_open()
    wait_until(lambda: driver.step()["data_messages"] > 0)
    wait_until(lambda: bool(seen))


@pytest.mark.parametrize(
    ("match", "action", "options", "count"),
    [
        ("^data:quotes:ALFA", "mute", {}, 1),
        ("^data:", "mute", {"count": 0}, 0),
        ("^data:quotes", "duplicate", {"times": 3}, 4),
    ],
)
def test_data_when_muted_or_duplicated_then_the_step_counts_what_left(
    stack: ExitStack,
    exchange: ExchangeProcess,
    driver: LockstepDriver,
    match: str,
    action: str,
    options: dict[str, Any],
    count: int,
) -> None:
    driver.ensure_open()
    socket = authenticated(stack, exchange)
    ask(socket, {"action": "subscribe", "quotes": ["ALFA"], "bars": ["ALFA"]})
    exchange.fault(match, action, **options)
    assert driver.step()["data_messages"] == count


def test_data_when_poisoned_then_the_quote_is_wrong_and_the_market_is_not(
    stack: ExitStack, exchange: ExchangeProcess, driver: LockstepDriver
) -> None:
    driver.ensure_open()
    socket = authenticated(stack, exchange)
    ask(socket, {"action": "subscribe", "quotes": ["ALFA"]})
    exchange.fault("^data:quotes:ALFA", "poison", fields={"bp": "nan", "ap": -1})
    driver.step()
    (quote,) = msgpack.unpackb(socket.recv(timeout=5))
    assert quote["bp"] != quote["bp"]
    assert quote["ap"] == -1
    latest = exchange.request("GET", "/v2/stocks/quotes/latest?symbols=ALFA").json()
    assert latest["quotes"]["ALFA"]["bp"] == pytest.approx(driver.price - 0.01)


# -- news ---------------------------------------------------------------------------


def test_news_stream_when_article_appears_then_parsed_with_its_times(
    exchange: ExchangeProcess, stack: ExitStack
) -> None:
    seen: list[Any] = []

    async def handle(item: Any) -> None:
        seen.append(item)

    stream = NewsDataStream(KEY, SECRET, url_override=exchange.ws_url + "/v1beta1/news")
    stream.subscribe_news(handle, "ALFA")
    thread = StreamThread(stream)
    stack.callback(thread.stop)
    wait_until(lambda: exchange.state()["connections"]["news"] == 1)

    def told() -> bool:
        article = {"headline": "Alfa rises", "symbols": ["ALFA"], "summary": "It does."}
        requests.post(exchange.url + "/control/news", json=article, timeout=5)
        return bool(seen)

    wait_until(told)
    assert (seen[0].headline, seen[0].symbols) == ("Alfa rises", ["ALFA"])
    assert seen[0].created_at.tzinfo is not None


# -- trade updates --------------------------------------------------------------------


def say(socket: ClientConnection, message: dict[str, Any]) -> Any:
    socket.send(json.dumps(message))
    answer = socket.recv(timeout=5)
    assert isinstance(answer, bytes)
    return json.loads(answer)


AUTHENTICATE = {"action": "authenticate", "data": {"key_id": KEY, "secret_key": SECRET}}
LISTEN = {"action": "listen", "data": {"streams": ["trade_updates"]}}


def test_trade_stream_when_authorized_then_listens(
    stack: ExitStack, exchange: ExchangeProcess
) -> None:
    socket = open_socket(stack, exchange.ws_url + "/stream")
    assert say(socket, AUTHENTICATE) == {
        "stream": "authorization",
        "data": {"status": "authorized", "action": "authenticate"},
    }
    assert say(socket, LISTEN) == {"stream": "listening", "data": {"streams": ["trade_updates"]}}


def test_trade_stream_when_secret_is_wrong_then_unauthorized(
    stack: ExitStack, exchange: ExchangeProcess
) -> None:
    socket = open_socket(stack, exchange.ws_url + "/stream")
    wrong = {"action": "authenticate", "data": {"key_id": KEY, "secret_key": "wrong"}}
    assert say(socket, wrong)["data"]["status"] == "unauthorized"


def test_trade_stream_when_a_second_connection_then_429_at_the_upgrade(
    stack: ExitStack, exchange: ExchangeProcess
) -> None:
    open_socket(stack, exchange.ws_url + "/stream")
    with pytest.raises(InvalidStatus) as refused:
        open_socket(stack, exchange.ws_url + "/stream")
    assert refused.value.response.status_code == 429


def test_trading_stream_when_market_order_fills_then_every_event_in_order(
    exchange: ExchangeProcess,
    driver: LockstepDriver,
    trading: TradingClient,
    symbol: str,
    stack: ExitStack,
) -> None:
    seen: list[TradeUpdate] = []

    async def handle(update: TradeUpdate) -> None:
        seen.append(update)

    stream = TradingStream(KEY, SECRET, url_override=exchange.ws_url + "/stream")
    stream.subscribe_trade_updates(handle)
    thread = StreamThread(stream)
    stack.callback(thread.stop)
    wait_until(lambda: exchange.state()["connections"]["trade_updates"] == 1)

    def send(**fields: Any) -> None:
        trading.submit_order(
            MarketOrderRequest(symbol=symbol, qty=10, side="buy", time_in_force="day", **fields)
        )

    def told() -> bool:
        send()
        return bool(seen)

    wait_until(told)
    already = exchange.state()["trade_updates"]
    wait_until(lambda: len(seen) == already)
    seen.clear()
    exchange.fault("^POST /v2/orders", "partial", qty=4)
    send()
    wait_until(lambda: len(seen) == 3)
    assert [update.event for update in seen] == ["pending_new", "new", "partial_fill"]
    fill = seen[-1]
    assert (fill.qty, fill.order.filled_qty, fill.order.qty) == (4.0, "4", "10")
    assert fill.execution_id is not None
    assert fill.position_qty == float(trading.get_open_position(symbol).qty)
    seen.clear()
    exchange.fault("^trade_updates:fill", "duplicate", times=3)
    send()
    wait_until(lambda: len(seen) == 5)
    assert [update.event for update in seen] == ["pending_new", "new", "fill", "fill", "fill"]
    assert len({update.execution_id for update in seen[2:]}) == 1
    # The count in the step is that of the frames on this connection.
    assert driver.step()["trade_updates"] >= already + 8
