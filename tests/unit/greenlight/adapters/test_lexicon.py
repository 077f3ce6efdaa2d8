"""The lexicon reads only what was written by the instant it is asked about."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from greenlight.adapters.lexicon import Lexicon, WaitingLexicon, keep_fresh
from greenlight.adapters.no_sentiment import NoSentiment
from greenlight.domain.market import Unavailable
from greenlight.domain.sentiment import Headline, Reading
from greenlight.ports import BrokerUnavailable

T0 = datetime(2013, 10, 7, 20, tzinfo=UTC)


def headline(text: str, *, hours: float, symbol: str = "AAPL", made_up: bool = False) -> Headline:
    """So many hours before T0."""
    at = T0 - timedelta(hours=hours)
    return Headline(at=at, text=text, symbols=(symbol,), is_synthetic=made_up)


class News:
    """Headlines from a list; `asked` are the windows. Away while `up` is False."""

    def __init__(self, *headlines: Headline) -> None:
        self.headlines = headlines
        self.asked: list[tuple[tuple[str, ...], datetime, datetime]] = []
        self.up = True

    def fetch(self, symbols: Sequence[str], start: datetime, end: datetime) -> list[Headline]:
        self.asked.append((tuple(symbols), start, end))
        if not self.up:
            raise BrokerUnavailable("away")
        return [h for h in self.headlines if start <= h.at <= end]


# Compound scores of VADER 3.3.2 as its authors' README prints them.
GOOD, GOOD_SCORE = "VADER is smart, handsome, and funny.", 0.8316
BAD, BAD_SCORE = "Today SUX!", -0.5461


def lexicon(news: News, *, waits: bool = True) -> Lexicon:
    kind = WaitingLexicon if waits else Lexicon
    return kind(fetch=news.fetch, symbols=("AAPL", "IBM"), window=timedelta(hours=24))


def test_read_when_headlines_are_there_then_mean_of_the_published_scores() -> None:
    news = News(headline(GOOD, hours=1), headline(BAD, hours=2, made_up=True))
    found = lexicon(news).read("AAPL", T0)
    assert isinstance(found, Reading)
    assert found.score == pytest.approx((GOOD_SCORE + BAD_SCORE) / 2, abs=1e-9)
    assert (found.symbol, found.at, found.headlines, found.model) == ("AAPL", T0, 2, "vader")
    assert found.is_synthetic


def test_read_when_headlines_are_of_others_old_or_to_come_then_not_looked_at() -> None:
    news = News(
        headline(BAD, hours=1),
        headline(GOOD, hours=25),
        headline(GOOD, hours=-1),
        headline(GOOD, hours=1, symbol="IBM"),
    )
    for waits in (True, False):
        model = lexicon(news, waits=waits)
        model.refresh(T0 + timedelta(hours=2))
        found = model.read("AAPL", T0)
        assert isinstance(found, Reading)
        assert (found.headlines, found.is_synthetic) == (1, False)
        assert found.score == pytest.approx(BAD_SCORE, abs=1e-9)


def test_read_when_there_is_none_then_unavailable_and_not_neutral() -> None:
    assert lexicon(News()).read("AAPL", T0) == Unavailable("no headlines in the last 24 h")


def test_read_when_the_broker_is_away_then_unavailable() -> None:
    news = News(headline(BAD, hours=1))
    news.up = False
    found = lexicon(news).read("AAPL", T0)
    assert isinstance(found, Unavailable)
    assert "away" in found.reason


def test_read_when_waiting_then_only_the_window_up_to_the_instant_is_asked_for() -> None:
    news = News()
    lexicon(news).read("AAPL", T0)
    assert news.asked == [(("AAPL",), T0 - timedelta(hours=24), T0)]


def test_read_when_nothing_was_fetched_yet_then_unavailable_and_nobody_is_asked() -> None:
    news = News(headline(BAD, hours=1))
    found = lexicon(news, waits=False).read("AAPL", T0)
    assert found == Unavailable("no headlines were fetched yet")
    assert news.asked == []


@pytest.mark.parametrize(("minutes", "is_read"), [(-60, True), (0, True), (3, True), (4, False)])
def test_read_when_headlines_are_so_old_then_read_for_three_minutes(
    minutes: int, is_read: bool
) -> None:
    model = lexicon(News(headline(BAD, hours=2)), waits=False)
    model.refresh(T0)
    found = model.read("AAPL", T0 + timedelta(minutes=minutes))
    assert isinstance(found, Reading) == is_read


def test_read_when_a_refresh_fails_then_what_was_fetched_stays() -> None:
    news = News(headline(BAD, hours=1))
    model = lexicon(news, waits=False)
    model.refresh(T0)
    news.up = False
    model.refresh(T0 + timedelta(minutes=1))
    assert isinstance(model.read("AAPL", T0 + timedelta(minutes=2)), Reading)


def test_read_when_asked_further_back_than_is_kept_then_unavailable() -> None:
    model = lexicon(News(headline(BAD, hours=150)), waits=False)
    model.refresh(T0)
    found = model.read("AAPL", T0 - timedelta(hours=149))
    assert isinstance(found, Unavailable)
    assert "kept since" in found.reason


def test_keep_fresh_when_started_then_refreshed_at_once_and_ended_when_told() -> None:
    news = News()
    model = lexicon(news, waits=False)
    stopping = keep_fresh(model, lambda: T0, 0.005)
    for _ in range(1000):
        if len(news.asked) >= 3:
            break
        stopping.wait(0.005)
    stopping.set()
    assert len(news.asked) >= 3


def test_read_when_nobody_reads_then_unavailable_names_the_setting() -> None:
    assert NoSentiment().read("AAPL", T0) == Unavailable("GREENLIGHT_SENTIMENT is none")
