"""A lexicon that reads headlines: the small `SentimentModel` one asks for by name.

Before it stand the headlines; after it the strategies. VADER counts words with
known tone; it knows nothing of markets, and stands in for no other model.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from greenlight.domain.market import Unavailable
from greenlight.domain.sentiment import Headline, Reading, spread
from greenlight.ports import BrokerUnavailable

logger = logging.getLogger(__name__)

FetchHeadlines = Callable[[Sequence[str], datetime, datetime], list[Headline]]
MODEL: Final = "vader"
FRESH_FOR: Final = timedelta(minutes=3)
"""Headlines fetched longer than this before the asked instant are not up to date."""
_KEPT: Final = timedelta(days=5)
"""Readings of earlier instants are answered so far back: a long weekend."""


class Lexicon:
    """The mean of VADER's compound scores of the last headlines.

    Parameters
    ----------
    fetch : FetchHeadlines
        Headlines of symbols in a window; raises `BrokerUnavailable`.
    symbols : Sequence[str]
        What will be asked about.
    window : timedelta
        How far back a reading looks.

    Notes
    -----
    C. Hutto, E. Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment
    Analysis of Social Media Text" (2014). It only answers from what `refresh`
    has fetched; `WaitingLexicon` fetches when asked.
    """

    def __init__(self, *, fetch: FetchHeadlines, symbols: Sequence[str], window: timedelta) -> None:
        self._fetch = fetch
        self._symbols = tuple(symbols)
        self._window = window
        self._analyzer = SentimentIntensityAnalyzer()
        self._fetched: tuple[datetime, datetime, list[Headline]] | None = None

    def refresh(self, now: datetime) -> None:
        """Fetch the headlines up to now; what there was stays where that fails."""
        start = now - self._window - _KEPT
        try:
            self._fetched = (start, now, self._fetch(self._symbols, start, now))
        except BrokerUnavailable as error:
            logger.warning("no headlines: %s", error, extra={"action": "headlines"})

    def read(self, symbol: str, now: datetime) -> Reading | Unavailable:
        """See `SentimentModel.read`."""
        fetched = self._fetched
        if fetched is None:
            return Unavailable("no headlines were fetched yet")
        start, end, headlines = fetched
        if now - self._window < start:
            return Unavailable(f"headlines are kept since {start.isoformat()} only")
        if now - end > FRESH_FOR:
            return Unavailable(f"headlines are of {end.isoformat()}")
        return self._score(symbol, now, headlines)

    def _score(
        self, symbol: str, now: datetime, headlines: Sequence[Headline]
    ) -> Reading | Unavailable:
        mine = [h for h in headlines if symbol in h.symbols and now - self._window < h.at <= now]
        if not mine:
            hours = self._window.total_seconds() / 3600
            return Unavailable(f"no headlines in the last {hours:g} h")
        scores = [self._analyzer.polarity_scores(h.text)["compound"] for h in mine]
        score, uncertainty = spread(scores, [1.0] * len(scores))
        return Reading(
            symbol=symbol,
            at=now,
            score=score,
            uncertainty=uncertainty,
            headlines=len(mine),
            model=MODEL,
            is_synthetic=any(h.is_synthetic for h in mine),
        )


class WaitingLexicon(Lexicon):
    """For replays: it fetches what it is asked about, so that readings do not
    depend on how far a thread has come."""

    def read(self, symbol: str, now: datetime) -> Reading | Unavailable:
        """See `SentimentModel.read`; waits for the exchange, at most its deadline."""
        try:
            return self._score(symbol, now, self._fetch([symbol], now - self._window, now))
        except BrokerUnavailable as error:
            return Unavailable(f"no headlines: {error}")


def keep_fresh(lexicon: Lexicon, now: Callable[[], datetime], period_s: float) -> threading.Event:
    """Refresh in a thread of its own, at once and then every period; set the event to end it."""
    stopping = threading.Event()

    def run() -> None:
        while not stopping.is_set():
            lexicon.refresh(now())
            stopping.wait(period_s)

    threading.Thread(target=run, name="headlines", daemon=True).start()
    return stopping
