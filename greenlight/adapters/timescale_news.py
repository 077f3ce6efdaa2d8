"""The store's news: headlines, opinions, readings, and how the model stands.

Before it stands the sentiment actor; after it the same actor when it starts again,
the command and the pages. `timescale` takes these tables in with the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from greenlight.adapters import timescale_rows as rows
from greenlight.adapters.timescale_evidence import EvidenceTables
from greenlight.domain.market import Unavailable
from greenlight.domain.sentiment import (
    EventType,
    GivenReading,
    Headline,
    Horizon,
    Opinion,
    Rating,
    Reading,
    headline_id,
)


class NewsTables(EvidenceTables):
    """`greenlight.ports.NewsStore` on PostgreSQL."""

    def write_headlines(self, headlines: Sequence[Headline]) -> None:
        """Store headlines; a repeated one stays."""
        self._write_many("insert_headline", [_headline_values(h) for h in headlines])

    def headlines(self, start: datetime, limit: int | None = 1000) -> list[Headline]:
        """Headlines from `start` on, oldest first (the last `limit` of them)."""
        return [_headline_of(row) for row in self._read("headlines", start=start, limit=limit)]

    def write_opinions(self, opinions: Sequence[Opinion]) -> None:
        """Store opinions with their headlines; a repeated one stays."""
        self.write_headlines([opinion.headline for opinion in opinions])
        self._write_many("insert_opinion", [_opinion_values(o) for o in opinions])

    def opinions(self, start: datetime, limit: int | None = 1000) -> list[Opinion]:
        """Opinions of headlines from `start` on, oldest first (the last `limit` of them)."""
        return [_opinion_of(row) for row in self._read("opinions", start=start, limit=limit)]

    def write_readings(self, given: Sequence[GivenReading]) -> None:
        """Store what strategies were given; a repeated symbol and instant stays."""
        self._write_many("insert_reading", [_reading_values(row) for row in given])

    def readings(self, start: datetime, limit: int | None = 1000) -> list[GivenReading]:
        """What strategies were given from `start` on, oldest first (the last `limit`)."""
        return [_reading_of(row) for row in self._read("readings", start=start, limit=limit)]

    def save_sentiment_state(self, at: datetime, state: Mapping[str, object]) -> None:
        """Replace how the model stands."""
        self._write("upsert_sentiment_state", at=at, state=rows.json_text(dict(state)))

    def sentiment_state(self) -> dict[str, Any] | None:
        """How the model stood last; None before the first."""
        found = self._read("sentiment_state")
        return found[0][0] if found else None


def _headline_of(row: rows.Row) -> Headline:
    return Headline(at=rows.utc(row[0]), text=row[1], symbols=tuple(row[2]), is_synthetic=row[3])


def _headline_values(headline: Headline) -> dict[str, Any]:
    return {
        "headline_id": headline_id(headline),
        "at": headline.at,
        "headline": headline.text,
        "symbols": list(headline.symbols),
        "is_synthetic": headline.is_synthetic,
    }


def _opinion_of(row: rows.Row) -> Opinion:
    return Opinion(
        headline=_headline_of(row),
        symbol=row[4],
        model=row[5],
        digest=row[6],
        prompt_version=row[7],
        read_at=rows.utc(row[8]),
        rating=Rating(
            score=row[9],
            relevance=row[10],
            event=EventType(row[11]),
            horizon=Horizon(row[12]),
            reason=row[13],
        ),
    )


def _opinion_values(opinion: Opinion) -> dict[str, Any]:
    rating = opinion.rating
    return {
        "headline_id": headline_id(opinion.headline),
        "symbol": opinion.symbol,
        "model": opinion.model,
        "digest": opinion.digest,
        "prompt_version": opinion.prompt_version,
        "read_at": opinion.read_at,
        "score": rating.score,
        "relevance": rating.relevance,
        "event_type": rating.event.value,
        "horizon": rating.horizon.value,
        "reason": rating.reason,
    }


def _reading_of(row: rows.Row) -> GivenReading:
    symbol, at = row[0], rows.utc(row[1])
    found: Reading | Unavailable
    if row[8] is not None:
        found = Unavailable(row[8])
    else:
        found = Reading(
            symbol=symbol,
            at=at,
            model=row[3],
            score=row[4],
            uncertainty=row[5],
            headlines=row[6],
            is_synthetic=row[7],
        )
    return GivenReading(symbol=symbol, at=at, weight=row[2], found=found)


def _reading_values(given: GivenReading) -> dict[str, Any]:
    found = given.found
    columns = ("model", "score", "uncertainty", "headlines", "is_synthetic")
    return {
        "symbol": given.symbol,
        "at": given.at,
        "weight": given.weight,
        # Of an absent reading they are null.
        **{name: getattr(found, name, None) for name in columns},
        "reason": found.reason if isinstance(found, Unavailable) else None,
    }
