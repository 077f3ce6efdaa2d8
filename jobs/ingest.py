"""Bring price history into the store, and say what is wrong with it first.

Decided here: what an import writes, in which order, and what it reports. Before
this stand the sources (sample data, LEAN, CSV), which the caller opens; after it
the store, which the backtests read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from greenlight.adapters.history import DailySeries, Finding, as_dates, check_history
from greenlight.domain.market import Bar, eastern_midnight, session_on


class HistorySource(Protocol):
    """The part of a source that an import needs."""

    @property
    def name(self) -> str: ...
    @property
    def symbols(self) -> tuple[str, ...]: ...

    def daily(self, symbol: str) -> DailySeries: ...


class HistoryStore(Protocol):
    """The part of the store that an import needs."""

    def write_bars(self, bars: Sequence[Bar]) -> None:
        """Write bars; one that is there already is left as it was."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import did for one symbol; dates are ISO, empty where it had no row."""

    symbol: str
    rows: int
    first_day: str
    last_day: str
    splits: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One symbol that a source offers; dates are ISO, empty where it has no row."""

    source: str
    symbol: str
    rows: int
    first_day: str
    last_day: str
    splits: int


def import_history(source: HistorySource, store: HistoryStore) -> Iterator[Imported]:
    """Write a source's daily history into the store, one symbol at a time.

    Parameters
    ----------
    source : HistorySource
        An opened source.
    store : HistoryStore
        Where to; running an import twice leaves the same rows.

    Yields
    ------
    Imported
        After each symbol, so that a caller can show progress.

    Raises
    ------
    ValueError
        A file of the source is malformed.
    """
    for symbol in source.symbols:
        series = source.daily(symbol)
        store.write_bars(daily_bars(series))
        first, last = _ends(series)
        yield Imported(
            symbol=symbol,
            rows=len(series),
            first_day=first,
            last_day=last,
            splits=len(series.splits),
            findings=check_history(series),
        )


def list_source(source: HistorySource) -> tuple[Listed, ...]:
    """What a source offers, by symbol.

    Raises
    ------
    ValueError
        A file of the source is malformed.
    """
    listed = []
    for symbol in source.symbols:
        series = source.daily(symbol)
        first, last = _ends(series)
        listed.append(
            Listed(
                source=source.name,
                symbol=symbol,
                rows=len(series),
                first_day=first,
                last_day=last,
                splits=len(series.splits),
            )
        )
    return tuple(listed)


def check_source(source: HistorySource) -> tuple[Finding, ...]:
    """Everything odd in a source's daily history, by symbol and day.

    Raises
    ------
    ValueError
        A file of the source is malformed.
    """
    return tuple(f for symbol in source.symbols for f in check_history(source.daily(symbol)))


def daily_bars(series: DailySeries) -> list[Bar]:
    """A series as bars from midnight New York to the session's close, in date order."""
    bars = []
    for i, day in enumerate(as_dates(series.days)):
        session = session_on(day)
        start = eastern_midnight(day)
        bars.append(
            Bar(
                symbol=series.symbol,
                start=start,
                end=start + timedelta(days=1) if session is None else session.close,
                open=float(series.open[i]),
                high=float(series.high[i]),
                low=float(series.low[i]),
                close=float(series.close[i]),
                volume=int(series.volume[i]),
            )
        )
    return bars


def _ends(series: DailySeries) -> tuple[str, str]:
    days = as_dates(series.days[[0, -1]]) if len(series) else []
    return (days[0].isoformat(), days[1].isoformat()) if days else ("", "")
