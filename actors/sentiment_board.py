"""The board: the sentiment actor's opinions, kept where the strategist asks.

Before it stands the sentiment actor, followed on a thread of its own; after it the
strategies. It answers from what it has and waits for nobody.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from actors.links import SentimentLink
from greenlight.domain.market import Unavailable
from greenlight.domain.sentiment import GivenReading, Opinion, Reading, reading_of

logger = logging.getLogger(__name__)

FOLLOW_S: Final = 1.0
SILENT_AFTER_S: Final = 10.0
"""An actor that has not answered for so long has nothing to say."""
_GIVEN: Final = 1_000
_A_SYMBOL: Final = 64
"""Opinions of one symbol that a reading rests on; reading more would take too long."""
_PAUSE_S: Final = 0.05


class SentimentBoard:
    """`SentimentModel` over the sentiment actor.

    Parameters
    ----------
    link : SentimentLink
        Asked by `follow` alone.
    weight : float
        What its scores count, 0 to 1; at 0 no strategy gets a reading.
    half_life : timedelta
        See `reading_of`.
    monotonic : Callable[[], float]
        Seconds of a clock that never goes back.
    """

    def __init__(
        self,
        *,
        link: SentimentLink,
        weight: float,
        half_life: timedelta,
        monotonic: Callable[[], float],
    ) -> None:
        self._link = link
        self._weight = weight
        self._half_life = half_life
        self._monotonic = monotonic
        self._life, self._version = "", 0
        self._heard_s: float | None = None
        self._absence: str | None = None
        self._opinions: dict[str, deque[Opinion]] = {}
        self._given: deque[GivenReading] = deque(maxlen=_GIVEN)

    def read(self, symbol: str, now: datetime) -> Reading | Unavailable:
        """See `SentimentModel.read`: the score is the model's times its weight.

        What was given is kept for the record, unweighted: at weight 0 too, so that
        it can be seen what the readings would have been worth.
        """
        found = self._found(symbol, now)
        self._given.append(GivenReading(symbol=symbol, at=now, weight=self._weight, found=found))
        if isinstance(found, Unavailable):
            return found
        if self._weight <= 0.0:
            return Unavailable("the model's weight is 0 until its readings are found to help")
        return replace(found, score=found.score * self._weight)

    def _found(self, symbol: str, now: datetime) -> Reading | Unavailable:
        heard_s = self._heard_s
        if heard_s is None:
            return Unavailable("the sentiment actor has not answered yet")
        silent_s = self._monotonic() - heard_s
        if silent_s > SILENT_AFTER_S:
            return Unavailable(f"the sentiment actor has been silent for {silent_s:.0f} s")
        if self._absence is not None:
            return Unavailable(self._absence)
        mine = self._opinions.get(symbol, ())
        return reading_of(symbol, mine, now, half_life=self._half_life)

    def follow(self) -> bool:
        """Ask the actor once for what is new; whether more waits. Raises what the link does."""
        given = tuple(self._given)
        news = self._link.news(self._life, self._version, given)
        for row in given:
            if self._given and self._given[0] is row:
                self._given.popleft()
        is_other = news.life != self._life
        opinions = {} if is_other else dict(self._opinions)
        for opinion in news.opinions:
            mine = opinions.get(opinion.symbol, ())
            opinions[opinion.symbol] = deque((*mine, opinion), maxlen=_A_SYMBOL)
        # Whoever reads meanwhile sees the old table or the new one.
        self._opinions = opinions
        self._life, self._version = news.life, news.version
        self._absence = news.absence
        self._heard_s = self._monotonic()
        return news.has_more


def keep_following(board: SentimentBoard, period_s: float = FOLLOW_S) -> threading.Event:
    """Follow on a thread of its own, at once and then every period; set the event to end it."""
    stopping = threading.Event()

    def run() -> None:
        while not stopping.is_set():
            has_more = False
            try:
                has_more = board.follow()
            except Exception as error:
                # Whatever the way to the actor raises, there is nothing new.
                logger.warning("not heard: %s", error, extra={"action": "follow_sentiment"})
            stopping.wait(_PAUSE_S if has_more else period_s)

    threading.Thread(target=run, name="sentiment", daemon=True).start()
    return stopping
