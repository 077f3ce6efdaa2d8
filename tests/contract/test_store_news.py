"""What every store promises of the news."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from greenlight.adapters.timescale import TimescaleStore
from greenlight.domain.market import Unavailable
from greenlight.domain.sentiment import (
    EventType,
    GivenReading,
    Headline,
    Horizon,
    Opinion,
    Rating,
    Reading,
)
from greenlight.ports import NewsStore, StoreUnavailable
from greenlight.testing_news import FakeNewsStore
from tests.ledger_cases import T0
from tests.store_fixture import SQL_STORES, empty

FIRST = Headline(at=T0, text="Apple “beats”", symbols=("AAPL", "MSFT"), is_synthetic=False)
SECOND = replace(FIRST, at=T0 + timedelta(hours=1), text="Apple falls", is_synthetic=True)
OPINION = Opinion(
    symbol="AAPL",
    headline=FIRST,
    rating=Rating(
        score=0.5, relevance=0.25, event=EventType.EARNINGS, horizon=Horizon.WEEK, reason="sales"
    ),
    model="m:latest",
    digest="d",
    prompt_version="1",
    read_at=T0 + timedelta(seconds=2),
)
LATER = replace(OPINION, headline=SECOND, read_at=T0 + timedelta(hours=2))
READING = GivenReading(
    symbol="AAPL",
    at=T0,
    weight=0.5,
    found=Reading(
        symbol="AAPL",
        at=T0,
        score=-0.125,
        uncertainty=0.25,
        headlines=3,
        model="m:latest",
        is_synthetic=True,
    ),
)
ABSENT = replace(READING, symbol="MSFT", found=Unavailable("cold"))


@pytest.fixture(params=[pytest.param("memory", id="memory"), *SQL_STORES])
def news(request: pytest.FixtureRequest) -> Iterator[FakeNewsStore | TimescaleStore]:
    """An empty store of each kind."""
    if request.param == "memory":
        yield FakeNewsStore()
        return
    url: str = request.getfixturevalue(f"{request.param}_database")
    empty(url)
    found = TimescaleStore(url)
    yield found
    found.close()


def test_headlines_when_written_twice_then_each_once_oldest_first(news: NewsStore) -> None:
    news.write_headlines([SECOND, FIRST])
    news.write_headlines([FIRST])
    assert news.headlines(T0) == [FIRST, SECOND]
    assert news.headlines(T0, limit=1) == [SECOND]
    assert news.headlines(T0 + timedelta(minutes=1)) == [SECOND]


def test_opinions_when_written_then_read_back_with_their_headlines(news: NewsStore) -> None:
    other = replace(OPINION, symbol="MSFT")
    news.write_opinions([LATER, OPINION, other])
    assert news.opinions(T0, limit=None) == [OPINION, other, LATER]
    assert news.opinions(T0, limit=1) == [LATER]
    assert news.opinions(T0 + timedelta(minutes=1)) == [LATER]
    assert news.headlines(T0) == [FIRST, SECOND]


def test_write_opinions_when_repeated_then_the_first_stays_but_another_model_is_new(
    news: NewsStore,
) -> None:
    news.write_opinions([OPINION])
    news.write_opinions([replace(OPINION, read_at=T0 + timedelta(days=1))])
    assert news.opinions(T0) == [OPINION]
    news.write_opinions([replace(OPINION, digest="e", read_at=T0 + timedelta(days=1))])
    assert len(news.opinions(T0)) == 2


def test_readings_when_given_or_absent_then_read_back_as_they_were(news: NewsStore) -> None:
    news.write_readings([ABSENT, READING])
    news.write_readings([replace(READING, weight=1.0)])
    assert news.readings(T0) == [READING, ABSENT]
    assert news.readings(T0, limit=1) == [ABSENT]
    assert news.readings(T0 + timedelta(seconds=1)) == []


def test_sentiment_state_when_saved_again_then_the_last(news: NewsStore) -> None:
    assert news.sentiment_state() is None
    news.save_sentiment_state(T0, {"state": "open", "failures": 3, "last": None})
    news.save_sentiment_state(T0, {"state": "closed", "failures": 0, "last": "x"})
    assert news.sentiment_state() == {"state": "closed", "failures": 0, "last": "x"}


def test_write_when_the_store_is_away_then_says_so() -> None:
    store = FakeNewsStore()
    store.up = False
    with pytest.raises(StoreUnavailable):
        store.write_headlines([FIRST])
