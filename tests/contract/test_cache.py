"""What every cache promises: in memory and on Redis."""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis

from cluster.services import RedisService, start_redis
from greenlight.adapters.redis_cache import RedisCache
from greenlight.domain.market import Quote
from greenlight.ports import Cache
from greenlight.testing import FakeCache

T0 = datetime(2013, 10, 7, 14, 30, 0, 123456, tzinfo=UTC)


def quote(symbol: str = "AAPL", bid: float = 99.99) -> Quote:
    return Quote(symbol=symbol, at=T0, bid=bid, ask=100.01, bid_size=100, ask_size=200)


@pytest.fixture(scope="module")
def service() -> Iterator[RedisService]:
    home = Path(tempfile.mkdtemp(prefix="greenlight-test-"))
    found = start_redis(home)
    assert isinstance(found, RedisService), found
    yield found
    found.stop()
    shutil.rmtree(home)


@pytest.fixture(params=["memory", "redis"])
def cache(request: pytest.FixtureRequest) -> Cache:
    if request.param == "memory":
        return FakeCache()
    found: RedisService = request.getfixturevalue("service")
    redis.Redis.from_url(found.url).flushall()
    return RedisCache(found.url)


def test_quotes_when_put_twice_then_the_latest_by_symbol(cache: Cache) -> None:
    cache.put_quotes([quote(bid=1 / 3), quote("IBM"), quote(bid=2 / 3)])
    cache.put_quotes([quote("IBM", bid=50.0)])
    assert cache.quotes(["IBM", "AAPL", "GOOG"]) == {
        "AAPL": quote(bid=2 / 3),
        "IBM": quote("IBM", bid=50.0),
    }


def test_quotes_when_nothing_was_put_then_empty(cache: Cache) -> None:
    cache.put_quotes([])
    assert cache.quotes(["AAPL"]) == {}
    assert cache.quotes([]) == {}


def test_beats_when_beaten_twice_then_the_latest_by_component(cache: Cache) -> None:
    assert cache.beats() == {}
    later = T0.replace(minute=31)
    cache.beat("desk", T0)
    cache.beat("desk", later)
    cache.beat("recorder", T0)
    assert cache.beats() == {"desk": later, "recorder": T0}


def test_is_up_when_it_answers_then_true(cache: Cache) -> None:
    assert cache.is_up()


def test_cache_when_taken_away_in_memory_then_empty_and_down() -> None:
    cache = FakeCache()
    cache.put_quotes([quote()])
    cache.up = False
    cache.beat("desk", T0)
    assert (cache.quotes(["AAPL"]), cache.beats(), cache.is_up()) == ({}, {}, False)


def test_quotes_when_redis_holds_rubbish_then_absent(service: RedisService) -> None:
    client = redis.Redis.from_url(service.url)
    client.flushall()
    client.hset("greenlight:quotes", mapping={"AAPL": "{", "IBM": "[1, 2]", "SPY": "null"})
    client.hset("greenlight:beats", mapping={"desk": "yesterday", "late": "2013-10-07T14:30:00"})
    cache = RedisCache(service.url)
    assert cache.quotes(["AAPL", "IBM", "SPY"]) == {}
    assert cache.beats() == {}
    assert cache.is_up()


def test_cache_when_redis_dies_then_nothing_raises_and_back_after_a_second(tmp_path: Path) -> None:
    now = 0.0
    found = start_redis(tmp_path)
    assert isinstance(found, RedisService)
    cache = RedisCache(found.url, monotonic=lambda: now)
    cache.put_quotes([quote()])
    found.stop()
    assert cache.quotes(["AAPL"]) == {}
    cache.put_quotes([quote()])
    cache.beat("desk", T0)
    assert (cache.beats(), cache.is_up()) == ({}, False)
    again = start_redis(tmp_path)
    assert isinstance(again, RedisService)
    try:
        now = 0.9
        assert not cache.is_up()
        now = 1.1
        assert cache.is_up()
        cache.put_quotes([quote()])
        assert cache.quotes(["AAPL"]) == {"AAPL": quote()}
    finally:
        again.stop()


def test_cache_when_redis_never_answers_then_one_short_wait_a_second() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        cache = RedisCache(f"redis://127.0.0.1:{mute.getsockname()[1]}", timeout_s=0.2)
        begun = time.monotonic()
        for _ in range(1000):
            assert cache.quotes(["AAPL"]) == {}
        assert time.monotonic() - begun < 0.9
