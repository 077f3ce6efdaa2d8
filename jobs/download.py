"""History from the broker into CSV files that every command reads.

Before it stands market data, which pages and keeps to its rate; after it the source
``csv:FOLDER``. A file only grows, a year (days) or a month (minutes) at a time, and a
download that was cut off goes on after its last whole line.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeVar

from greenlight.adapters.history_csv import DIVIDENDS_FILE, SPLITS_FILE
from greenlight.domain.market import (
    EASTERN,
    Bar,
    Dividend,
    Split,
    eastern_date,
    eastern_midnight,
    session_on,
)
from greenlight.ports import BrokerUnavailable

_T = TypeVar("_T")
_DAILY: Final = "1Day"
_PRICES: Final = ("open", "high", "low", "close", "volume")
_PATIENCE_S: Final = (2.0, 10.0, 30.0)
"""Waits before a chunk is asked for again; after the last it is given up."""


class Feed(Protocol):
    """The part of market data that a download needs."""

    def bars(
        self, symbols: Sequence[str], timeframe: str, start: datetime, end: datetime
    ) -> dict[str, list[Bar]]: ...
    def splits(self, symbols: Sequence[str], start: date, end: date) -> tuple[Split, ...]: ...
    def dividends(self, symbols: Sequence[str], start: date, end: date) -> tuple[Dividend, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """A chunk that is on disk: up to which day of a symbol, and how many bars it had."""

    symbol: str
    through: date
    bars: int


def chunks(timeframe: str, start: date, end: date) -> list[tuple[date, date]]:
    """The window in calendar years (days) or months (minutes), both ends included."""
    found = []
    first = start
    while first <= end:
        months = 12 * first.year + first.month if timeframe != _DAILY else 12 * (first.year + 1)
        following = date(months // 12, months % 12 + 1, 1)
        found.append((first, min(end, following - timedelta(days=1))))
        first = following
    return found


def download(
    feed: Feed,
    symbols: Sequence[str],
    timeframe: str,
    start: date,
    end: date,
    folder: Path,
    sleep: Callable[[float], None],
) -> Iterator[Downloaded]:
    """Write each symbol's raw bars of a window, chunk by chunk, then what befell them.

    Minutes outside the exchange's session are left out.

    Raises
    ------
    BrokerUnavailable
        A chunk was not to be had after several attempts; what is on disk stays.
    ValueError
        A file on disk begins after the window does, or is of another kind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for symbol in symbols:
        path = folder / f"{symbol}.csv"
        known = _last_day(path, timeframe, start)
        for first, last in chunks(timeframe, start, end):
            if known is not None and last <= known:
                yield Downloaded(symbol=symbol, through=last, bars=0)
                continue
            begin = first if known is None else max(first, known + timedelta(days=1))
            window = eastern_midnight(begin), eastern_midnight(last + timedelta(days=1))
            bars = _patient(partial(feed.bars, [symbol], timeframe, *window), sleep)[symbol]
            kept = [bar for bar in bars if timeframe == _DAILY or _is_inside(bar)]
            _append(path, timeframe, kept)
            yield Downloaded(symbol=symbol, through=last, bars=len(kept))
    splits = _patient(lambda: feed.splits(symbols, start, end), sleep)
    paid = _patient(lambda: feed.dividends(symbols, start, end), sleep)
    _write(
        folder / SPLITS_FILE,
        ("symbol", "ex_date", "ratio"),
        [(s.symbol, str(s.ex_date), repr(s.ratio)) for s in splits],
    )
    _write(
        folder / DIVIDENDS_FILE,
        ("symbol", "ex_date", "usd_a_share"),
        [(d.symbol, str(d.ex_date), repr(d.usd_a_share)) for d in paid],
    )


def _patient(ask: Callable[[], _T], sleep: Callable[[float], None]) -> _T:
    for wait_s in _PATIENCE_S:
        try:
            return ask()
        except BrokerUnavailable:
            sleep(wait_s)
    return ask()


def _is_inside(bar: Bar) -> bool:
    session = session_on(eastern_date(bar.start))
    return session is not None and session.open <= bar.start < session.close


def _last_day(path: Path, timeframe: str, start: date) -> date | None:
    """The last day that a file has whole; a line that was cut off is taken away.

    Of minutes the last day may lack some, and is taken away too.
    """
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    lines = text[: text.rfind("\n") + 1].splitlines()
    if not lines or lines[0] != ",".join(_header(timeframe)):
        raise ValueError(f"{path} has other columns; choose another folder")
    days = [date.fromisoformat(line[:10]) for line in lines[1:]]
    if timeframe != _DAILY and days:
        lines = lines[: 1 + sum(day < days[-1] for day in days)]
        days = days[: len(lines) - 1]
    if days and days[0] > start + timedelta(days=7):
        raise ValueError(
            f"{path} begins on {days[0]}, after {start}; choose another folder or a later start"
        )
    draft = path.with_suffix(".part")
    draft.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    draft.replace(path)
    return days[-1] if days else None


def _header(timeframe: str) -> tuple[str, ...]:
    return ("date" if timeframe == _DAILY else "timestamp", *_PRICES)


def _append(path: Path, timeframe: str, bars: Sequence[Bar]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if not path.is_file():
        writer.writerow(_header(timeframe))
    for bar in bars:
        at = bar.start.astimezone(EASTERN)
        told = str(at.date()) if timeframe == _DAILY else at.isoformat()
        prices = (repr(price) for price in (bar.open, bar.high, bar.low, bar.close))
        writer.writerow((told, *prices, bar.volume))
    with path.open("a", encoding="utf-8") as file:
        file.write(text.getvalue())


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    draft = path.with_suffix(".part")
    with draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    draft.replace(path)
