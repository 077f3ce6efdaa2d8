"""In-memory stand-ins for the news: its store, and a model that rates headlines."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from greenlight.domain.market import Unavailable
from greenlight.domain.sentiment import (
    EventType,
    GivenReading,
    Headline,
    Horizon,
    ModelStanding,
    ModelState,
    Opinion,
    Rating,
    headline_id,
)
from greenlight.ports import ModelFailed, StoreUnavailable

T = TypeVar("T")


class FakeNewsStore:
    """`greenlight.ports.NewsStore` in memory. Set `up` to False to take it away."""

    def __init__(self) -> None:
        self.up = True
        self._headlines: dict[str, Headline] = {}
        self._opinions: dict[tuple[str, str, str, str], Opinion] = {}
        self._readings: dict[tuple[datetime, str], GivenReading] = {}
        self._state: dict[str, object] | None = None

    def write_headlines(self, headlines: Sequence[Headline]) -> None:
        """Keep headlines; a repeated one stays."""
        self._require()
        for headline in headlines:
            self._headlines.setdefault(headline_id(headline), headline)

    def headlines(self, start: datetime, limit: int | None = 1000) -> list[Headline]:
        """Headlines from `start` on, oldest first."""
        self._require()
        found = [h for h in self._headlines.values() if h.at >= start]
        return _last(sorted(found, key=lambda h: (h.at, headline_id(h))), limit)

    def write_opinions(self, opinions: Sequence[Opinion]) -> None:
        """Keep opinions with their headlines; a repeated one stays."""
        self.write_headlines([opinion.headline for opinion in opinions])
        for o in opinions:
            key = headline_id(o.headline), o.symbol, o.digest, o.prompt_version
            self._opinions.setdefault(key, o)

    def opinions(self, start: datetime, limit: int | None = 1000) -> list[Opinion]:
        """Opinions of headlines from `start` on, oldest first."""
        self._require()
        found = [o for o in self._opinions.values() if o.headline.at >= start]
        found.sort(key=lambda o: (o.headline.at, headline_id(o.headline), o.symbol, o.read_at))
        return _last(found, limit)

    def write_readings(self, given: Sequence[GivenReading]) -> None:
        """Keep what strategies were given; a repeated symbol and instant stays."""
        self._require()
        for row in given:
            self._readings.setdefault((row.at, row.symbol), row)

    def readings(self, start: datetime, limit: int | None = 1000) -> list[GivenReading]:
        """What strategies were given from `start` on, oldest first."""
        self._require()
        found = [row for key, row in sorted(self._readings.items(), key=lambda item: item[0])]
        return _last([row for row in found if row.at >= start], limit)

    def save_sentiment_state(self, at: datetime, state: Mapping[str, object]) -> None:
        """Replace how the model stands."""
        self._require()
        self._state = dict(state)

    def sentiment_state(self) -> dict[str, object] | None:
        """How the model stood last."""
        self._require()
        return self._state

    def _require(self) -> None:
        if not self.up:
            raise StoreUnavailable("the store was taken away")


def _last(found: list[T], limit: int | None) -> list[T]:
    return found if limit is None else found[max(len(found) - limit, 0) :]


class FakeHeadlineModel:
    """`greenlight.ports.HeadlineModel` that does as it is told.

    Attributes
    ----------
    state : ModelState
        What `standing` says; a warm-up makes it warm.
    failure : str | None
        Set: every request fails for this reason.
    rating_failures : deque[str]
        One failing answer each.
    """

    def __init__(self, *, state: ModelState = ModelState.WARM, score: float = -0.5) -> None:
        self.name = "fake:latest"
        self.prompt_version = "1"
        self.state = state
        self.score = score
        self.failure: str | None = None
        self.rating_failures: deque[str] = deque()
        self.looks = 0
        self.warm_ups = 0
        self.asked: list[tuple[str, Headline]] = []
        self.loading = threading.Event()
        self.loading.set()

    def standing(self) -> ModelStanding:
        """As `state` says."""
        self.looks += 1
        if self.failure is not None:
            raise ModelFailed(self.failure)
        return ModelStanding(state=self.state, digest="fake-digest", size_bytes=8, vram_bytes=8)

    def warm_up(self) -> None:
        """Warm once `loading` is set."""
        self.warm_ups += 1
        self.loading.wait(10)
        if self.failure is not None:
            raise ModelFailed(self.failure)
        self.state = ModelState.WARM

    def rate(self, asks: Sequence[tuple[str, Headline]]) -> list[Rating | Unavailable]:
        """The score for each, or the next failure."""
        self.asked += asks
        return [self._answer() for _ in asks]

    def _answer(self) -> Rating | Unavailable:
        if self.failure is not None:
            return Unavailable(self.failure)
        if self.rating_failures:
            return Unavailable(self.rating_failures.popleft())
        return Rating(
            score=self.score,
            relevance=1.0,
            event=EventType.OTHER,
            horizon=Horizon.DAY,
            reason="told to",
        )
