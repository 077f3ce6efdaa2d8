"""The sentiment actor on virtual time: what it asks, when it stops asking, what it drops."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from actors.sentiment import Sentiment, placement
from greenlight.domain.breaker import BreakerState
from greenlight.domain.market import Unavailable
from greenlight.domain.sentiment import GivenReading, Headline, ModelState
from greenlight.domain.sentiment_status import SentimentStatus, from_json, to_json
from greenlight.ports import BrokerUnavailable
from greenlight.testing import FakeClock, FakeNotifier
from greenlight.testing_news import FakeHeadlineModel, FakeNewsStore
from tests.actor_cases import T0

DAY = timedelta(days=1)


def headline(number: int, *symbols: str, at: datetime = T0) -> Headline:
    return Headline(at=at, text=f"story {number}", symbols=symbols or ("AAPL",), is_synthetic=False)


class House:
    """A sentiment actor with everything around it; `restart` makes the next one."""

    def __init__(self, *, queue_size: int = 100, parallel: int = 4) -> None:
        self.clock = FakeClock(T0)
        self.model = FakeHeadlineModel()
        self.store = FakeNewsStore()
        self.notifier = FakeNotifier()
        self.broker_news: list[Headline] = []
        self.windows: list[tuple[datetime, datetime]] = []
        self.is_broker_up = True
        self.aside: list[Callable[[], None]] = []
        self._queue_size, self._parallel = queue_size, parallel
        self.actor = self.restart()

    def restart(self) -> Sentiment:
        self.actor = Sentiment(
            model=self.model,
            store=self.store,
            fetch=self.fetch,
            notifier=self.notifier,
            now=self.clock.now,
            symbols=("AAPL", "MSFT"),
            half_life=DAY,
            parallel=self._parallel,
            queue_size=self._queue_size,
            wants_gpu=True,
            aside=self.aside.append,
        )
        return self.actor

    def fetch(self, symbols: Sequence[str], start: datetime, end: datetime) -> list[Headline]:
        self.windows.append((start, end))
        if not self.is_broker_up:
            raise BrokerUnavailable("away")
        return [h for h in self.broker_news if start <= h.at <= end]

    def warm(self) -> House:
        """Past the first turn, which loads the model."""
        self.actor.turn()
        self.finish_loading()
        return self

    def finish_loading(self) -> None:
        while self.aside:
            self.aside.pop()()

    def turns(self, count: int, seconds: float = 1.0) -> SentimentStatus:
        for _ in range(count):
            self.actor.turn()
            self.clock.advance(seconds)
        return self.actor.status()


def test_turn_when_cold_then_warmed_up_beside_it_and_nothing_asked_meanwhile() -> None:
    house = House()
    house.model.state = ModelState.COLD
    house.actor.offer([headline(1)])
    assert house.actor.status().absence == "the model server was not asked yet"
    status = house.turns(3)
    assert (house.model.warm_ups, house.model.asked, len(house.aside)) == (0, [], 1)
    assert status.standing is not None
    assert status.standing.state is ModelState.LOADING
    assert status.absence == "fake:latest is loading"
    house.finish_loading()
    assert house.turns(1).absence is None
    assert (house.model.warm_ups, len(house.model.asked)) == (1, 1)


def test_turn_when_nobody_asked_for_long_then_the_model_is_held_anew() -> None:
    house = House().warm()
    house.clock.advance(21 * 60)
    house.actor.turn()
    assert len(house.aside) == 1


def test_turn_when_warm_then_headlines_become_opinions_and_are_stored() -> None:
    house = House().warm()
    house.actor.offer([headline(1, "AAPL", "MSFT", "OTHER")])
    house.turns(1)
    found = house.store.opinions(T0)
    assert [(o.symbol, o.rating.score, o.digest) for o in found] == [
        ("AAPL", -0.5, "fake-digest"),
        ("MSFT", -0.5, "fake-digest"),
    ]
    news = house.actor.news("", 0, [])
    assert news.absence is None
    assert (news.opinions, news.has_more) == (tuple(found), False)
    assert house.actor.news(news.life, news.version, []).opinions == ()


def test_news_when_there_is_much_then_told_in_parts_each_once_and_in_order() -> None:
    house = House(queue_size=1000).warm()
    house.actor.offer([headline(number) for number in range(120)])
    house.turns(40)
    told, version, life = [], 0, ""
    for has_more in (True, True, False):
        news = house.actor.news(life, version, [])
        told += news.opinions
        life, version = news.life, news.version
        assert news.has_more is has_more
    assert [o.headline.text for o in told] == [f"story {number}" for number in range(120)]
    house.actor.offer([headline(500)])
    house.turns(1)
    assert [o.headline.text for o in house.actor.news(life, version, []).opinions] == ["story 500"]
    assert len(house.actor.news("other", version, []).opinions) == 50


def test_turn_when_spilled_then_asked_all_the_same() -> None:
    house = House().warm()
    house.model.state = ModelState.SPILLED
    house.actor.offer([headline(1)])
    assert house.turns(1).rated == 1


def test_turn_when_the_model_is_missing_then_told_how_to_get_it_and_the_breaker_stays() -> None:
    house = House()
    house.model.state = ModelState.MISSING
    status = house.turns(5)
    assert status.absence == "fake:latest is not there; run: greenlight sentiment pull"
    assert status.breaker.state is BreakerState.CLOSED
    assert house.aside == []


@pytest.mark.parametrize("kind", ["server", "answers"])
def test_turn_when_it_fails_three_times_then_open_for_five_minutes_then_one_probe(
    kind: str,
) -> None:
    house = House(parallel=1).warm()
    house.actor.offer([headline(i) for i in range(10)])
    if kind == "server":
        house.model.failure = "HTTP 503: busy"
    else:
        house.model.rating_failures.extend(["not the answer asked for"] * 4)
    looks = house.model.looks
    status = house.turns(3)
    assert (status.breaker.state, status.breaker.openings) == (BreakerState.OPEN, 1)
    opened = house.clock.now() - timedelta(seconds=1)
    assert status.breaker.since == opened
    assert status.absence is not None
    assert status.absence.startswith("breaker open since")
    asked, looks = len(house.model.asked), house.model.looks
    house.turns(298)
    assert (house.model.looks, len(house.model.asked)) == (looks, asked)
    status = house.turns(2)
    assert house.model.looks == looks + 1
    assert len(house.model.asked) == asked + (kind == "answers")
    assert (status.breaker.state, status.breaker.openings) == (BreakerState.OPEN, 1)
    assert len(house.notifier.alerts) == 1
    house.model.failure = None
    house.turns(301)
    assert house.actor.status().breaker.state is BreakerState.CLOSED
    assert house.actor.status().rated > 0
    house.model.failure = "again"
    house.turns(3)
    assert len(house.notifier.alerts) == 2


def test_turn_when_probing_then_one_headline_goes_out() -> None:
    house = House(parallel=4).warm()
    house.model.failure = "hung"
    house.turns(3)
    house.model.failure = None
    house.actor.offer([headline(i) for i in range(10)])
    house.clock.advance(300)
    house.actor.turn()
    assert len(house.model.asked) == 1
    house.actor.turn()
    assert len(house.model.asked) == 5


def test_turn_when_a_warm_up_fails_as_the_probe_then_the_breaker_stays_open() -> None:
    house = House()
    house.model.state = ModelState.COLD
    house.actor.turn()
    house.model.failure = "aborted"
    house.finish_loading()
    assert house.turns(2).breaker.state is BreakerState.OPEN
    house.model.failure = None
    house.clock.advance(300)
    house.actor.turn()
    assert house.actor.status().breaker.state is BreakerState.PROBING
    house.model.failure = "aborted"
    house.finish_loading()
    assert house.actor.status().breaker.state is BreakerState.OPEN


def test_turn_when_one_headline_always_fails_then_given_up_and_the_others_go_on() -> None:
    house = House(parallel=1).warm()
    house.actor.offer([headline(1)])
    house.model.rating_failures.extend(["nonsense"] * 2)
    status = house.turns(4)
    assert (status.failed, status.breaker.state) == (1, BreakerState.CLOSED)
    house.actor.offer([headline(2)])
    assert house.turns(1).rated == 1


def test_offer_when_stories_are_copied_then_asked_once() -> None:
    house = House().warm()
    copy = replace(headline(1), text="STORY — 1!", at=T0 + timedelta(hours=2))
    house.actor.offer([headline(1), copy, headline(1)])
    status = house.turns(1)
    assert (status.rated, status.repeated) == (1, 2)


def test_turn_when_the_same_text_comes_next_week_then_answered_from_the_cache() -> None:
    house = House().warm()
    house.actor.offer([headline(1)])
    house.turns(1)
    house.actor.offer([headline(1, at=T0 + timedelta(hours=30))])
    status = house.turns(1)
    assert (status.rated, status.reused, len(house.model.asked)) == (1, 1, 1)
    assert len(house.store.opinions(T0)) == 2


class ForgetfulStore(FakeNewsStore):
    """A database elsewhere: what it keeps costs no memory here."""

    def write_headlines(self, headlines: Sequence[Headline]) -> None:
        pass


def test_offer_when_ten_thousand_wait_then_memory_is_flat_and_the_oldest_are_dropped() -> None:
    house = House(queue_size=500)
    house.store = ForgetfulStore()
    house.restart()
    house.warm()
    house.model.failure = "hung"
    house.turns(3)
    sizes = []
    tracemalloc.start()
    try:
        for first in range(0, 60_000, 10_000):
            for number in range(first, first + 10_000):
                house.actor.offer([headline(number, at=T0 + timedelta(seconds=number))])
            house.actor.turn()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    status = house.actor.status()
    assert (status.waiting, status.dropped) == (500, 59_500)
    # After two blocks all that is remembered is full.
    assert sizes[-1] < 1.05 * sizes[2]
    house.model.failure = None
    house.clock.advance(300)
    house.actor.turn()
    assert house.model.asked[0][1].text == "story 59500"


def test_restart_when_the_breaker_was_open_then_it_still_is_and_nothing_is_told_again() -> None:
    house = House().warm()
    house.actor.offer([headline(1)])
    house.turns(1)
    house.model.failure = "hung"
    house.turns(3)
    since = house.actor.status().breaker.since
    house.restart()
    status = house.turns(3)
    assert (status.breaker.state, status.breaker.since) == (BreakerState.OPEN, since)
    assert len(house.notifier.alerts) == 1
    assert len(house.actor.news("", 0, []).opinions) == 1
    house.actor.offer([headline(1)])
    assert house.actor.status().repeated == 1


def test_turn_when_the_store_is_away_then_kept_and_written_later() -> None:
    house = House().warm()
    house.store.up = False
    house.actor.offer([headline(1)])
    given = GivenReading(symbol="AAPL", at=T0, weight=0.0, found=Unavailable("cold"))
    house.actor.news("", 0, [given])
    house.turns(2)
    assert house.model.asked
    house.store.up = True
    house.turns(1)
    assert len(house.store.opinions(T0)) == 1
    assert house.store.headlines(T0) == [headline(1)]
    assert house.store.readings(T0) == [given]


def test_fetch_news_when_the_broker_was_away_then_the_window_is_asked_for_again() -> None:
    house = House()
    house.broker_news = [headline(1, at=T0 - DAY)]
    house.is_broker_up = False
    with pytest.raises(BrokerUnavailable):
        house.actor.fetch_news()
    house.is_broker_up = True
    house.actor.fetch_news()
    assert house.windows == [(T0 - 4 * DAY, T0)] * 2
    assert house.actor.status().waiting == 1
    house.clock.advance(60)
    house.actor.fetch_news()
    assert house.windows[-1][0] == T0 - timedelta(minutes=10)
    assert house.actor.status().waiting == 1


def test_status_when_stored_then_read_back_as_it_was() -> None:
    house = House().warm()
    house.model.failure = "hung"
    status = house.turns(4)
    assert from_json(to_json(status)) == status
    fresh = House().actor.status()
    assert from_json(to_json(fresh)) == fresh


def test_placement_when_a_share_of_a_gpu_is_wanted_then_ray_keeps_it_and_else_the_cpu() -> None:
    assert placement(0.5)["num_gpus"] == 0.5
    assert placement(0.5)["resources"] == {"ollama": 1}
    assert "num_gpus" not in placement(0.0)
