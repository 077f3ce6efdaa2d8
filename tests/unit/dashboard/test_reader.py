from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

from dashboard.reader import Addresses, find_desk
from greenlight.domain.corporate_actions import split_decision
from greenlight.domain.market import Bar, Quote, Split, eastern_date
from tests.sample_house import HERE, House


def test_read_when_the_desk_traded_then_everything_is_there() -> None:
    house = House()
    desk = house.live()
    house.cache.put_quotes(list(desk.quotes().values()))
    reading = house.reader.read()
    assert reading.trouble is None
    assert reading.ray_dashboard_url == "http://ray"
    snapshot = reading.snapshot
    assert snapshot is not None
    assert snapshot.now == desk.now
    # Five closes from 2008-01-02 to 01-08, then two hours of the ninth.
    assert len(snapshot.curve) == 5 + 120
    assert {p.symbol for p in snapshot.positions} == set(snapshot.prices) != set()
    assert list(snapshot.trades) == house.store.trades()


def test_read_when_the_cache_is_away_then_the_last_bar_prices_the_positions() -> None:
    house = House()
    desk = house.live()
    house.cache.up = False
    symbol = house.store.open_positions()[0].symbol
    bar = Bar(
        symbol=symbol,
        start=desk.now - timedelta(minutes=1),
        end=desk.now,
        open=50.0,
        high=51.0,
        low=49.0,
        close=50.5,
        volume=100,
    )
    house.store.write_bars([bar])
    snapshot = house.reader.read().snapshot
    assert snapshot is not None
    assert snapshot.prices[symbol].price == 50.5
    assert set(snapshot.prices) == {symbol}


def test_read_when_a_stock_split_then_yesterdays_price_is_that_of_todays_shares() -> None:
    house = House()
    desk = house.live()
    symbol = house.store.open_positions()[0].symbol
    yesterday = desk.now - timedelta(days=1)
    split = Split(symbol=symbol, ex_date=eastern_date(desk.now), ratio=7.0)
    house.store.record_decision(split_decision("t", split, desk.now - timedelta(hours=3)))
    house.cache.put_quotes(
        [Quote(symbol=symbol, at=yesterday, bid=699.0, ask=701.0, bid_size=1, ask_size=1)]
    )
    snapshot = house.reader.read().snapshot
    assert snapshot is not None
    assert snapshot.prices[symbol].price == 100.0


def test_read_when_the_store_dies_then_the_last_snapshot_stays_with_a_sentence() -> None:
    house = House()
    house.live()
    good = house.reader.read().snapshot
    house.store.up = False
    reading = house.reader.read()
    assert reading.snapshot is good
    assert reading.trouble is not None
    assert "does not answer" in reading.trouble
    house.store.up = True
    assert house.reader.read().trouble is None


def test_read_when_there_was_never_a_desk_then_it_says_how_to_start_one() -> None:
    house = House()
    house.addresses = None
    reading = house.reader.read()
    assert reading.snapshot is None
    assert reading.trouble is not None
    assert "greenlight up" in reading.trouble


def test_read_when_the_desk_moves_then_it_connects_again_and_only_then() -> None:
    house = House()
    house.live()
    house.reader.read()
    house.reader.read()
    moved = Addresses(database_url="elsewhere", cache_url=None, ray_dashboard_url=None)
    house.addresses = moved
    house.reader.read()
    assert house.connected == [HERE, moved]


def test_read_when_a_replay_stands_still_then_its_age_grows_by_the_clock() -> None:
    house = House()
    desk = house.live()
    first = house.reader.read().snapshot
    house.clock.advance(30)
    second = house.reader.read().snapshot
    assert first is not None
    assert second is not None
    assert second.changed_at == first.changed_at
    desk.trade_until(date(2008, 1, 10))
    third = house.reader.read().snapshot
    assert third is not None
    assert third.changed_at == house.clock.now()


def test_find_desk_when_the_file_is_there_then_it_goes_before_the_setting(tmp_path: Path) -> None:
    (tmp_path / "desk.json").write_text(
        json.dumps({"database_url": "a", "redis_url": "b", "ray_dashboard_url": None, "pid": 1})
    )
    found = find_desk(tmp_path, "given")
    assert found == Addresses(database_url="a", cache_url="b", ray_dashboard_url=None)


def test_find_desk_when_the_file_is_broken_or_missing_then_the_setting_counts(
    tmp_path: Path,
) -> None:
    assert find_desk(tmp_path, None) is None
    for text in ("", "[]", "{}", "null"):
        (tmp_path / "desk.json").write_text(text)
        found = find_desk(tmp_path, "given")
        assert found is not None
        assert found.database_url == "given"
