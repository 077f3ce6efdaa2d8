"""A replay's history as the desk saw it, read from its source instead of its exchange.

Before it stand the sources; after it the twin of a replay, whose exchange is gone
when it is run. Bars are those that the exchange brings, without its clock: the
twin never asks past its own instant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta

from cluster.paper_exchange.headlines import SOURCE as SYNTHETIC
from cluster.paper_exchange.headlines import Headlines
from cluster.paper_exchange.sources import Source
from cluster.paper_exchange.tapes import TapeLibrary
from greenlight.domain.market import (
    Bar,
    Quote,
    Split,
    SymbolChange,
    eastern_date,
    eastern_midnight,
    session_on,
)
from greenlight.domain.sentiment import Headline

_MINUTE = timedelta(minutes=1)


class SourceHistory:
    """`greenlight.ports.MarketData` over a source; it has no latest quotes."""

    def __init__(self, source: Source) -> None:
        self._library = TapeLibrary(source)

    def bars(
        self, symbols: Sequence[str], timeframe: str, start: datetime, end: datetime
    ) -> dict[str, list[Bar]]:
        """See `MarketData.bars`."""
        rows = self._daily if timeframe == "1Day" else self._minutes
        return {
            symbol: [bar for bar in rows(symbol, start, end) if start <= bar.start < end]
            for symbol in symbols
        }

    def latest_quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """None: a history has no present."""
        return {}

    def splits(self, symbols: Sequence[str], start: date, end: date) -> tuple[Split, ...]:
        """See `MarketData.splits`."""
        found = self._library.splits_between(start - timedelta(days=1), end)
        return tuple(split for split in found if split.symbol in symbols)

    def symbol_changes(
        self, symbols: Sequence[str], start: date, end: date
    ) -> tuple[SymbolChange, ...]:
        """See `MarketData.symbol_changes`."""
        found = self._library.symbol_changes_between(start - timedelta(days=1), end)
        return tuple(change for change in found if change.old in symbols)

    def headlines(self, start: date, end: date, seed: int) -> Headlines:
        """The made-up headlines of a replay from `start` to `end`."""
        return Headlines(self._library, self._library.source.sessions(start, end), seed=seed)

    def _daily(self, symbol: str, start: datetime, end: datetime) -> Iterator[Bar]:
        days, series = self._library.daily(symbol) or ([], None)
        for i, day in enumerate(days):
            session = session_on(day)
            if series is None or session is None:
                continue
            yield Bar(
                symbol=symbol,
                start=eastern_midnight(day),
                end=session.close,
                open=float(series.open[i]),
                high=float(series.high[i]),
                low=float(series.low[i]),
                close=float(series.close[i]),
                volume=int(series.volume[i]),
            )

    def _minutes(self, symbol: str, start: datetime, end: datetime) -> Iterator[Bar]:
        for day in self._library.days(eastern_date(start), eastern_date(end)):
            session = session_on(day)
            tape = self._library.session(day).get(self._library.name_on(symbol, day))
            if session is None or tape is None:
                continue
            for minute, bar in enumerate(tape.bars):
                if bar is not None:
                    began = session.open + minute * _MINUTE
                    yield Bar(
                        symbol=symbol,
                        start=began,
                        end=began + _MINUTE,
                        open=bar[0],
                        high=bar[1],
                        low=bar[2],
                        close=bar[3],
                        volume=bar[4],
                    )


def headlines_between(
    made: Headlines, symbols: Sequence[str], start: datetime, end: datetime
) -> list[Headline]:
    """Made-up headlines of symbols in a window, both ends included, oldest first."""
    found = [
        Headline(
            at=datetime.fromisoformat(article["created_at"]),
            text=article["headline"],
            symbols=tuple(article["symbols"]),
            is_synthetic=article["source"] == SYNTHETIC,
        )
        for article in made.between(eastern_date(start), eastern_date(end))
        if set(symbols) & set(article["symbols"])
    ]
    inside = [headline for headline in found if start <= headline.at <= end]
    return sorted(inside, key=lambda headline: (headline.at, headline.text))
