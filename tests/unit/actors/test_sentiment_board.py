"""What strategies get from the board, and how soon."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from actors.links import SentimentNews
from actors.sentiment_board import SILENT_AFTER_S, SentimentBoard, keep_following
from greenlight.domain.market import Unavailable
from greenlight.domain.sentiment import GivenReading, Reading
from tests.actor_cases import T0
from tests.unit.greenlight.domain.test_sentiment import opinion

AT = T0 + timedelta(days=1)


class Link:
    """The actor's end; `up` False is an actor that is away."""

    def __init__(self, *, absence: str | None = None) -> None:
        self.up = True
        self.life = "a"
        self.absence = absence
        self.opinions = tuple(
            replace(opinion(-0.8), read_at=AT, headline=replace(opinion(-0.8).headline, at=AT))
            for _ in range(1)
        )
        self.given: list[GivenReading] = []
        self.asked: list[tuple[str, int]] = []

    def news(self, life: str, version: int, given: Sequence[GivenReading]) -> SentimentNews:
        self.asked.append((life, version))
        if not self.up:
            raise ConnectionError("away")
        self.given += given
        begun = version if life == self.life else 0
        found = self.opinions[begun : begun + 50]
        last = begun + len(found)
        return SentimentNews(
            life=self.life,
            version=last,
            absence=self.absence,
            opinions=found,
            has_more=last < len(self.opinions),
        )


class Seconds:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def board(link: Link, *, weight: float = 1.0, clock: Seconds | None = None) -> SentimentBoard:
    return SentimentBoard(
        link=link, weight=weight, half_life=timedelta(days=1), monotonic=clock or Seconds()
    )


def test_read_when_never_heard_then_unavailable() -> None:
    assert board(Link()).read("AAPL", AT) == Unavailable("the sentiment actor has not answered yet")


def test_read_when_followed_then_the_weighted_reading() -> None:
    link = Link()
    found = board(link, weight=0.5)
    found.follow()
    reading = found.read("AAPL", AT)
    assert isinstance(reading, Reading)
    assert reading.score == pytest.approx(-0.4)
    assert isinstance(found.read("IBM", AT), Unavailable)
    found.follow()
    assert link.asked == [("", 0), ("a", 1)]
    assert isinstance(found.read("AAPL", AT), Reading)


def test_read_when_the_weight_is_zero_then_unavailable_but_the_reading_is_recorded() -> None:
    link = Link()
    found = board(link, weight=0.0)
    found.follow()
    reading = found.read("AAPL", AT)
    assert isinstance(reading, Unavailable)
    assert "weight is 0" in reading.reason
    found.follow()
    found.follow()
    assert [(row.symbol, row.at, row.weight) for row in link.given] == [("AAPL", AT, 0.0)]
    kept = link.given[0].found
    assert isinstance(kept, Reading)
    assert kept.score == pytest.approx(-0.8)


def test_read_when_the_actor_has_nothing_then_its_reason() -> None:
    found = board(Link(absence="breaker open"))
    found.follow()
    assert found.read("AAPL", AT) == Unavailable("breaker open")


def test_read_when_the_actor_falls_silent_then_unavailable_and_given_rows_are_kept() -> None:
    link, clock = Link(), Seconds()
    found = board(link, clock=clock)
    found.follow()
    found.read("AAPL", AT)
    link.up = False
    with pytest.raises(ConnectionError):
        found.follow()
    clock.now += SILENT_AFTER_S + 1
    assert found.read("AAPL", AT) == Unavailable("the sentiment actor has been silent for 11 s")
    link.up = True
    found.follow()
    assert len(link.given) == 2


def test_read_when_there_are_many_opinions_then_still_under_a_millisecond() -> None:
    link = Link()
    # Ten a day for each symbol is much; the window holds four days.
    link.opinions = tuple(
        replace(
            opinion(0.1, text=f"{symbol} {number}"),
            symbol=f"S{symbol}",
            read_at=AT,
        )
        for symbol in range(30)
        for number in range(40)
    )
    found = board(link)
    while found.follow():
        pass
    took = []
    for symbol in range(30):
        begun = time.perf_counter()
        assert isinstance(found.read(f"S{symbol}", AT + timedelta(hours=1)), Reading)
        took.append(time.perf_counter() - begun)
    assert sorted(took)[15] < 0.001


def test_follow_when_another_life_answers_then_what_the_old_one_told_is_forgotten() -> None:
    link = Link()
    found = board(link)
    found.follow()
    link.life, link.opinions = "b", ()
    found.follow()
    assert found.read("AAPL", AT) == Unavailable("no headline was read")


def test_keep_following_when_the_actor_is_away_then_goes_on() -> None:
    link = Link()
    link.up = False
    found = board(link)
    stopping = keep_following(found, 0.005)
    for _ in range(1000):
        if len(link.asked) >= 3:
            break
        stopping.wait(0.005)
    link.up = True
    for _ in range(1000):
        if isinstance(found.read("AAPL", AT), Reading):
            break
        stopping.wait(0.005)
    stopping.set()
    assert isinstance(found.read("AAPL", AT), Reading)
