"""Made-up headlines reach alpaca-py's clients and the desk's own, at their time and not before."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from alpaca.data.historical.news import NewsClient
from alpaca.data.live.news import NewsDataStream
from alpaca.data.requests import NewsRequest

from cluster.paper_exchange.headlines import Headlines
from cluster.paper_exchange.sources import open_source
from cluster.paper_exchange.tapes import TapeLibrary
from greenlight.adapters.alpaca_clock import AlpacaClock
from greenlight.adapters.alpaca_news import AlpacaNews, AlpacaNewsStream
from greenlight.domain.sentiment import Headline
from tests.exchange_fixture import (
    KEY,
    SECRET,
    ExchangeProcess,
    LockstepDriver,
    StreamThread,
    wait_until,
)

START, END = date(2008, 1, 2), date(2008, 1, 3)
OPEN = datetime(2008, 1, 2, 14, 30, tzinfo=UTC)
SYMBOLS = ("AAPL", "GOOG", "IBM", "MSFT")


def expected() -> list[dict[str, Any]]:
    source = open_source("bokeh")
    made = Headlines(TapeLibrary(source), source.sessions(START, END), seed=0)
    return made.between(START, END)


def exchange_on(folder: Path, *options: str) -> ExchangeProcess:
    return ExchangeProcess("bokeh", folder, "--lockstep", *options, start=START, end=END)


def desk_news(exchange: ExchangeProcess) -> AlpacaNews:
    return AlpacaNews(base_url=exchange.url, key_id=KEY, secret_key=SECRET, deadline_s=5)


def reached(driver: LockstepDriver, at: datetime) -> None:
    driver.until(lambda step: datetime.fromisoformat(step["at"]) >= at)


def test_headlines_when_their_minute_comes_then_told_and_found_marked_and_not_before(
    tmp_path: Path,
) -> None:
    first = expected()[0]
    at = datetime.fromisoformat(first["created_at"])
    seen: list[Any] = []

    async def handle(item: Any) -> None:
        seen.append(item)

    with ExitStack() as stack:
        exchange = stack.enter_context(exchange_on(tmp_path, "--headlines", "synthetic"))
        stream = NewsDataStream(KEY, SECRET, url_override=exchange.ws_url + "/v1beta1/news")
        stream.subscribe_news(handle, "*")
        stack.callback(StreamThread(stream).stop)
        wait_until(lambda: exchange.state()["connections"]["news"] == 1)
        driver = LockstepDriver(exchange)
        stack.callback(driver.close)
        news = desk_news(exchange)
        # The end of the window lies ahead of the clock: that must not matter.
        window = (OPEN, at + timedelta(days=3))
        reached(driver, at - timedelta(minutes=1))
        assert news.headlines(SYMBOLS, *window) == []
        assert seen == []
        reached(driver, at)
        wait_until(lambda: bool(seen))
        assert (seen[0].headline, seen[0].source) == (first["headline"], "synthetic")
        assert seen[0].created_at == at

        found = news.headlines(SYMBOLS, *window)
        assert [(h.text, h.at, h.symbols, h.is_synthetic) for h in found] == [
            (first["headline"], at, tuple(first["symbols"]), True)
        ]
        client = NewsClient(KEY, SECRET, url_override=exchange.url)
        articles = client.get_news(NewsRequest(symbols=first["symbols"][0], start=OPEN))
        assert [a.headline for a in articles.data["news"]] == [first["headline"]]

    with exchange_on(tmp_path, "--headlines", "synthetic") as again:
        assert desk_news(again).headlines(SYMBOLS, *window) == found


def test_news_stream_when_their_minute_comes_then_the_desk_hears_it_marked(
    tmp_path: Path,
) -> None:
    first = expected()[0]
    at = datetime.fromisoformat(first["created_at"])
    heard: list[Headline] = []
    with ExitStack() as stack:
        exchange = stack.enter_context(exchange_on(tmp_path, "--headlines", "synthetic"))
        stream = AlpacaNewsStream(
            stream_url=exchange.ws_url + "/v2/iex", key_id=KEY, secret_key=SECRET, symbols=SYMBOLS
        )
        stream.start(heard.append)
        stack.callback(stream.stop)
        wait_until(lambda: exchange.state()["connections"]["news"] == 1)
        driver = LockstepDriver(exchange)
        stack.callback(driver.close)
        clock = AlpacaClock(base_url=exchange.url, key_id=KEY, secret_key=SECRET, deadline_s=5)
        before = clock.now()
        reached(driver, at)
        wait_until(lambda: bool(heard))
        assert before < at <= clock.now()
    assert (heard[0].text, heard[0].at, heard[0].symbols, heard[0].is_synthetic) == (
        first["headline"],
        at,
        tuple(first["symbols"]),
        True,
    )


def test_headlines_when_not_asked_for_then_none(tmp_path: Path) -> None:
    with exchange_on(tmp_path) as exchange:
        driver = LockstepDriver(exchange)
        driver.until(lambda step: step["kind"] == "close")
        driver.close()
        assert desk_news(exchange).headlines(SYMBOLS, OPEN, OPEN + timedelta(days=1)) == []
