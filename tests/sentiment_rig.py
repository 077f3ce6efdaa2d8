"""The sentiment actor with its board and strategist, on a model server of the tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from actors.links import SentimentNews, SignalSeen
from actors.sentiment import Sentiment
from actors.sentiment_board import SentimentBoard, keep_following
from actors.strategist import Strategist
from greenlight.adapters.ollama import OllamaModel
from greenlight.domain.market import Bar, Quote
from greenlight.domain.news_reversal import NewsReversal
from greenlight.domain.sentiment import GivenReading, Headline
from greenlight.ports import SentimentModel
from greenlight.testing import FakeNotifier, FakeStore
from greenlight.testing_broker import FakeMarketData
from greenlight.testing_news import FakeNewsStore

OPEN = datetime(2013, 10, 7, 13, 30, tzinfo=UTC)
STRATEGY = NewsReversal(timeframe="1Min", volatility_bars=5, min_sigmas=0.5)


class SkippingClock:
    """The real clock with what a test has skipped, aware UTC from `OPEN` on."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self.skipped_s = 0.0

    def now(self) -> datetime:
        """The present."""
        return OPEN + timedelta(seconds=time.monotonic() - self._began_s + self.skipped_s)


class Gate:
    """Takes signals and does nothing with them."""

    def __init__(self) -> None:
        self.seen: list[SignalSeen] = []

    def judge(self, signals: Sequence[SignalSeen], now: datetime) -> datetime | None:
        """Keep them."""
        self.seen += signals
        return None

    def sweep(self, quotes: Sequence[Quote], now: datetime) -> datetime | None:
        """Nothing rests."""
        return None

    def review(self, quotes: Sequence[Quote], now: datetime) -> list[str]:
        """Nothing is held."""
        return []


class Local:
    """`SentimentLink` within the process."""

    def __init__(self, actor: Sentiment) -> None:
        self._actor = actor

    def news(self, life: str, version: int, given: Sequence[GivenReading]) -> SentimentNews:
        """See the actor."""
        return self._actor.news(life, version, given)


class SentimentRig:
    """Everything from the server's address to the strategist's board, at work on threads."""

    def __init__(self, host: str, *, symbols: Sequence[str], deadline_s: float = 0.5) -> None:
        self.clock = SkippingClock()
        self.news_store = FakeNewsStore()
        self.notifier = FakeNotifier()
        self.symbols = tuple(symbols)
        self.model = OllamaModel(host=host, model="stand-in", deadline_s=deadline_s, wants_gpu=True)
        self.actor = Sentiment(
            model=self.model,
            store=self.news_store,
            fetch=self._nothing,
            notifier=self.notifier,
            now=self.clock.now,
            symbols=self.symbols,
            half_life=timedelta(days=1),
            parallel=4,
            queue_size=500,
            wants_gpu=True,
        )
        self.board = SentimentBoard(
            link=Local(self.actor),
            weight=1.0,
            half_life=timedelta(days=1),
            monotonic=time.monotonic,
        )
        self._following = keep_following(self.board, 0.05)
        self.actor.start()

    def tell(self, count: int, text: str = "Apple falls, story") -> None:
        """So many headlines at once, for each symbol in turn."""
        at = self.clock.now()
        self.actor.offer(
            Headline(
                at=at,
                text=f"{text} {at.timestamp()} {number}",
                symbols=(self.symbols[number % len(self.symbols)],),
                is_synthetic=True,
            )
            for number in range(count)
        )

    def ping(self) -> str:
        """Answer."""
        return "rig"

    def news(self, life: str, version: int, given: Sequence[GivenReading]) -> SentimentNews:
        """See the actor; the rig is what a process serves."""
        return self.actor.news(life, version, given)

    def stop(self) -> None:
        """End the threads."""
        self._following.set()
        self.actor.stop()
        self.model.close()

    @staticmethod
    def _nothing(symbols: Sequence[str], start: datetime, end: datetime) -> list[Headline]:
        return []


def strategist(
    sentiment: SentimentModel, symbols: Sequence[str], store: FakeStore, gate: Gate
) -> Strategist:
    """One that asks for the news on most bars."""
    return Strategist(
        strategies=(STRATEGY,),
        symbols=symbols,
        store=store,
        market_data=FakeMarketData(),
        sentiment=sentiment,
        gate=gate,
        notifier=FakeNotifier(),
        desk="t",
        monotonic=time.monotonic,
        deadline_s=1.0,
    )


def minutes(symbols: Sequence[str], count: int) -> list[list[Bar]]:
    """Bars of a price that falls sharply every third minute, so that the news are asked for."""
    found = []
    for minute in range(count):
        start = OPEN + timedelta(minutes=minute)
        close = 100.0 - 2.0 * (minute % 3 == 2) + 0.2 * (minute % 2)
        found.append(
            [
                Bar(
                    symbol=symbol,
                    start=start,
                    end=start + timedelta(minutes=1),
                    open=close,
                    high=close + 0.1,
                    low=close - 0.1,
                    close=close,
                    volume=1000,
                )
                for symbol in symbols
            ]
        )
    return found


def wait_for(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    """Until it holds, or fail."""
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(0.01)
