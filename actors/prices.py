"""The last good quote of every symbol, and what is refused on the way to it.

Before it stand the stream and the broker's latest quotes; after it the hub,
which wakes monitors and marks equity by them. A refused quote or bar is counted
and recorded, and nothing is decided on it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Final

from actors.refusals import Refusals
from greenlight.domain.audit import Figure, instant_text
from greenlight.domain.market import (
    CONFIRMING_QUOTES,
    Bar,
    Quote,
    bar_refusal,
    eastern_date,
    is_confirmed,
    quote_refusal,
)

logger = logging.getLogger(__name__)

STALE_AFTER: Final = timedelta(seconds=90)
"""A symbol without a quote for this long in a session is flagged stale."""
_STREAM_ORDER: Final = frozenset({"out_of_order", "duplicate"})


class Prices:
    """See the module."""

    def __init__(self, refusals: Refusals) -> None:
        self._refusals = refusals
        self._quotes: dict[str, Quote] = {}
        self._seeded: set[str] = set()
        self._doubtful: dict[str, deque[Quote]] = {}
        self._ex_dates: dict[str, date] = {}

    def last(self, symbol: str) -> Quote | None:
        """The last good quote, however old."""
        return self._quotes.get(symbol)

    def recent(self, symbol: str, now: datetime) -> Quote | None:
        """The last good quote, where it is not stale."""
        quote = self._quotes.get(symbol)
        return quote if quote is not None and now - quote.at <= STALE_AFTER else None

    def all(self) -> list[Quote]:
        """The last good quote of each symbol."""
        return list(self._quotes.values())

    def missing(self, symbols: Iterable[str]) -> list[str]:
        """Those of the symbols that have no quote yet, in order."""
        return sorted(set(symbols) - set(self._quotes))

    def stale(self, now: datetime) -> list[str]:
        """Symbols whose last good quote is older than `STALE_AFTER`."""
        return sorted(s for s, q in self._quotes.items() if now - q.at > STALE_AFTER)

    def take(self, quote: Quote, at: datetime) -> bool:
        """Keep a quote of the stream; False where it was refused, at that instant."""
        symbol, last = quote.symbol, self._quotes.get(quote.symbol)
        reason = quote_refusal(quote, last)
        if symbol in self._seeded and reason in _STREAM_ORDER:
            # The price to begin with came over REST; the stream may tell it once more.
            reason = None
        if reason == "absurd":
            doubtful = self._doubtful.setdefault(symbol, deque(maxlen=CONFIRMING_QUOTES))
            if is_confirmed(quote, tuple(doubtful)):
                logger.warning("price moved", extra={"action": "believe_quote", "symbol": symbol})
                reason = None
            else:
                doubtful.append(quote)
        if reason is not None:
            figures: dict[str, Figure] = {"bid": quote.bid, "ask": quote.ask}
            figures["quote.at"] = instant_text(quote.at)
            if last is not None:
                figures |= {"last.bid": last.bid, "last.ask": last.ask}
            self._refusals.add(eastern_date(at), symbol, reason, at, figures)
            return False
        self._seeded.discard(symbol)
        self._doubtful.pop(symbol, None)
        self._quotes[symbol] = quote
        return True

    def takes_bar(self, bar: Bar, at: datetime) -> bool:
        """Whether a bar may be decided on; a refused one is recorded at that instant."""
        reason = bar_refusal(bar)
        if reason is None:
            return True
        figures: dict[str, Figure] = {
            "bar.start": instant_text(bar.start),
            "open": bar.open,
            "high": bar.high,
            "low": bar.low,
            "close": bar.close,
            "volume": bar.volume,
        }
        self._refusals.add(eastern_date(at), bar.symbol, f"bar_{reason}", at, figures)
        return False

    def seed(self, quotes: Iterable[Quote]) -> None:
        """Begin with prices over REST, until the stream brings newer ones."""
        for quote in quotes:
            if quote_refusal(quote, None) is None and not self._is_before_split(quote):
                self._quotes[quote.symbol] = quote
                self._seeded.add(quote.symbol)

    def rename(self, old: str) -> None:
        """Forget the price of a symbol that is gone."""
        self._quotes.pop(old, None)

    def split(self, ex_dates: dict[str, date]) -> None:
        """Forget prices of shares as they were before these days."""
        self._ex_dates |= ex_dates
        self._quotes = {s: q for s, q in self._quotes.items() if not self._is_before_split(q)}

    def _is_before_split(self, quote: Quote) -> bool:
        """Whether a quote is for shares as they were, and says nothing about the price now."""
        ex_date = self._ex_dates.get(quote.symbol)
        return ex_date is not None and eastern_date(quote.at) < ex_date
