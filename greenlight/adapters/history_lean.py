"""History in LEAN's folder format: `equity/usa/{daily,hour,minute,tick}`.

Decided here: what LEAN's files mean. Prices are 1/10,000 dollar, times New York
wall clock, prices raw; a ticker's file may hold another company's rows from
before the ticker changed hands, which the map file tells apart. Before this
stand the zip files; after it the replay, which keeps regular hours only.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from greenlight.adapters.history import (
    DailySeries,
    Finding,
    FloatArray,
    IntArray,
    IntradayBars,
    IntradayQuotes,
    QuoteTicks,
    TradeTicks,
    as_dates,
    bar_faults,
    screened,
)
from greenlight.domain.market import Dividend, Split, next_session

RESOLUTIONS: Final = ("minute", "daily", "hour", "tick")
_DOLLAR: Final = 10_000.0
_MS_PER_MINUTE: Final = 60_000
_BAR_ROW: Final = [("at", "U14"), *((name, "f8") for name in ("o", "h", "l", "c", "v"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeanFolder:
    """The readers of one LEAN data folder; `root` is its `equity/usa`."""

    root: Path

    def resolutions(self) -> tuple[str, ...]:
        """The resolutions that the folder has, the default one first."""
        return tuple(r for r in RESOLUTIONS if (self.root / r).is_dir())

    def symbols(self, resolution: str) -> tuple[str, ...]:
        """Tickers at a resolution, upper case, sorted."""
        folder = self.root / resolution
        if resolution in ("daily", "hour"):
            return tuple(sorted(path.stem.upper() for path in folder.glob("*.zip")))
        return tuple(sorted(p.name.upper() for p in folder.iterdir() if any(p.glob("*_trade.zip"))))

    def days(self, resolution: str, symbol: str) -> tuple[date, ...]:
        """Days with a file of trades, at `minute` or `tick`.

        Raises
        ------
        ValueError
            A file's name does not begin with a date.
        """
        folder = self.root / resolution / symbol.lower()
        return tuple(sorted(_file_day(path) for path in folder.glob("*_trade.zip")))

    def daily(self, symbol: str) -> DailySeries:
        """Daily bars of the company that holds the ticker, with its splits and dividends.

        Raises
        ------
        ValueError
            The file is missing or malformed.
        """
        path = self.root / "daily" / f"{symbol.lower()}.zip"
        table = _load(path, _BAR_ROW)
        series = DailySeries(
            symbol=symbol,
            days=_days(path, table["at"]),
            open=table["o"] / _DOLLAR,
            high=table["h"] / _DOLLAR,
            low=table["l"] / _DOLLAR,
            close=table["c"] / _DOLLAR,
            volume=table["v"].astype(np.int64),
            splits=self.splits(symbol),
            source="lean",
            dividends=self.dividends(symbol),
        )
        return screened(self._without_strangers(series))

    def hourly(self, symbol: str) -> dict[date, IntradayBars]:
        """Hour bars by day; the bar of 09:00 begins at the open, 09:30.

        Bars that cannot be true are left out.

        Raises
        ------
        ValueError
            The file is missing or malformed.
        """
        path = self.root / "hour" / f"{symbol.lower()}.zip"
        table = _load(path, _BAR_ROW)
        days = _days(path, table["at"])
        minute = np.array([int(at[9:11]) * 60 + int(at[12:14]) for at in table["at"]], np.int64)
        ohlc = np.column_stack([table[name] for name in "ohlc"]) / _DOLLAR
        volume = table["v"].astype(np.int64)
        dates, first = np.unique(days, return_index=True)
        ends = [*first[1:].tolist(), len(days)]
        owned = _owned(self._tenures(symbol), as_dates(dates))
        return {
            day: _bars(symbol, day, minute[a:b], ohlc[a:b], volume[a:b])
            for day, a, b, ours in zip(as_dates(dates), first.tolist(), ends, owned, strict=True)
            if ours
        }

    def minute_trades(self, symbol: str, day: date) -> IntradayBars:
        """Minute trade bars of a day, extended hours included.

        Bars that cannot be true are left out.

        Raises
        ------
        ValueError
            The file is missing or malformed.
        """
        table = _load(self._path("minute", symbol, day, "trade"), "f8", range(6))
        minute = table[:, 0].astype(np.int64) // _MS_PER_MINUTE
        return _bars(symbol, day, minute, table[:, 1:5] / _DOLLAR, table[:, 5].astype(np.int64))

    def minute_quotes(self, symbol: str, day: date) -> IntradayQuotes | None:
        """Minute quote bars of a day, or None where the folder has none.

        Raises
        ------
        ValueError
            The file is malformed.
        """
        path = self._path("minute", symbol, day, "quote")
        if not path.is_file():
            return None
        table = _load(path, "f8", range(11))
        return IntradayQuotes(
            symbol=symbol,
            day=day,
            minute=table[:, 0].astype(np.int64) // _MS_PER_MINUTE,
            bid=table[:, 1:5] / _DOLLAR,
            ask=table[:, 6:10] / _DOLLAR,
            bid_size=table[:, 5].astype(np.int64),
            ask_size=table[:, 10].astype(np.int64),
        )

    def tick_trades(self, symbol: str, day: date) -> TradeTicks:
        """Trade prints of a day without the suspicious ones.

        Raises
        ------
        ValueError
            The file is missing or malformed.
        """
        table = _load(self._path("tick", symbol, day, "trade"), "f8", (0, 1, 2, 5))
        good = table[(table[:, 3] == 0) & (table[:, 1] > 0) & (table[:, 2] > 0)]
        return TradeTicks(
            symbol=symbol,
            day=day,
            ms=good[:, 0].astype(np.int64),
            price=good[:, 1] / _DOLLAR,
            size=good[:, 2].astype(np.int64),
        )

    def tick_quotes(self, symbol: str, day: date) -> QuoteTicks | None:
        """Quote updates of a day without the suspicious ones, or None.

        Raises
        ------
        ValueError
            The file is malformed.
        """
        path = self._path("tick", symbol, day, "quote")
        if not path.is_file():
            return None
        table = _load(path, "f8", (0, 1, 2, 3, 4, 7))
        good = table[table[:, 5] == 0]
        return QuoteTicks(
            symbol=symbol,
            day=day,
            ms=good[:, 0].astype(np.int64),
            bid=good[:, 1] / _DOLLAR,
            ask=good[:, 3] / _DOLLAR,
            bid_size=good[:, 2].astype(np.int64),
            ask_size=good[:, 4].astype(np.int64),
        )

    def splits(self, symbol: str) -> tuple[Split, ...]:
        """Splits of a ticker from its factor file, oldest first; none without one.

        Raises
        ------
        ValueError
            A line of the file cannot be read.

        Notes
        -----
        A row's date is the last day on which its factors hold, so a split's
        ex-date is the next session, and its ratio the next row's split factor
        over this one's. AAPL: 20140606 → 2014-06-09, 0.25 / 0.0357143 = 7.
        """
        rows = [
            (day, _number(path, line, cells, 2))
            for path, line, day, cells in self._table("factor_files", symbol)
        ]
        splits: list[Split] = []
        for (day, factor), (_, after) in pairwise(rows):
            if factor != after:
                ratio = _snapped(after / factor)
                splits.append(Split(symbol=symbol, ex_date=next_session(day).day, ratio=ratio))
        return tuple(splits)

    def dividends(self, symbol: str) -> tuple[Dividend, ...]:
        """Cash dividends of a ticker from its factor file, oldest first; none without one.

        Raises
        ------
        ValueError
            A line of the file cannot be read.

        Notes
        -----
        A row's date is the last day of its factors and its last column that
        day's raw close C, so D = C (1 - price factor / the next row's), to a
        hundredth of a cent. AAPL: 592.33 (1 - 0.8961764 / 0.9011818) = 3.29.
        """
        rows = [
            (day, _number(path, line, cells, 1), path, line, cells)
            for path, line, day, cells in self._table("factor_files", symbol)
        ]
        found: list[Dividend] = []
        for (day, factor, path, line, cells), (_, after, *_) in pairwise(rows):
            if factor < after:
                usd = round(_number(path, line, cells, 3) * (1 - factor / after), 4)
                ex_date = next_session(day).day
                found.append(Dividend(symbol=symbol, ex_date=ex_date, usd_a_share=usd))
        return tuple(found)

    def _path(self, resolution: str, symbol: str, day: date, kind: str) -> Path:
        return self.root / resolution / symbol.lower() / f"{day:%Y%m%d}_{kind}.zip"

    def _table(self, folder: str, symbol: str) -> list[tuple[Path, int, date, list[str]]]:
        path = self.root / folder / f"{symbol.lower()}.csv"
        if not path.is_file():
            return []
        rows: list[tuple[Path, int, date, list[str]]] = []
        with path.open(newline="") as file:
            for line, cells in enumerate(csv.reader(file), start=1):
                if not cells:
                    continue
                try:
                    day = _compact_date(cells[0])
                except ValueError:
                    raise ValueError(f"{path}, line {line}: {cells[0]!r} is no date") from None
                rows.append((path, line, day, cells))
        return rows

    # (day before the first, last day) of each time in which the company used the
    # ticker. A row's date is the last day of its ticker; the first row is the
    # listing, whose own day counts.
    def _tenures(self, symbol: str) -> list[tuple[date, date]]:
        rows = self._table("map_files", symbol)
        tenures: list[tuple[date, date]] = []
        for i, ((_, _, start, _), (path, line, end, cells)) in enumerate(pairwise(rows)):
            if len(cells) < 2:
                raise ValueError(f"{path}, line {line}: a date and a ticker are needed")
            if cells[1].upper() == symbol:
                tenures.append((start - timedelta(days=1) if i == 0 else start, end))
        return tenures

    def _without_strangers(self, series: DailySeries) -> DailySeries:
        tenures = self._tenures(series.symbol)
        if not tenures:
            return series
        dates = as_dates(series.days)
        ours = np.array(_owned(tenures, dates), dtype=np.bool_)
        if ours.all():
            return series
        strange = [day for day, own in zip(dates, ours.tolist(), strict=True) if not own]
        finding = Finding(
            symbol=series.symbol,
            day=strange[0],
            kind="other_company",
            detail=f"{len(strange)} row(s) to {strange[-1]} belong to another company's shares",
        )
        return replace(
            series,
            days=series.days[ours],
            open=series.open[ours],
            high=series.high[ours],
            low=series.low[ours],
            close=series.close[ours],
            volume=series.volume[ours],
            refused=(*series.refused, finding),
        )


def open_lean(folder: Path) -> LeanFolder:
    """Open a LEAN data folder: the one that holds `equity/usa`, or `equity/usa`.

    Raises
    ------
    ValueError
        The folder has none of LEAN's resolutions.
    """
    for root in (folder / "equity" / "usa", folder):
        lean = LeanFolder(root=root)
        if lean.resolutions():
            return lean
    raise ValueError(f"{folder} is no LEAN folder: no equity/usa with {', '.join(RESOLUTIONS)}")


def _owned(tenures: Sequence[tuple[date, date]], days: Sequence[date]) -> list[bool]:
    if not tenures:
        return [True] * len(days)
    return [any(a < day <= b for a, b in tenures) for day in days]


def _bars(
    symbol: str, day: date, minute: IntArray, ohlc: FloatArray, volume: IntArray
) -> IntradayBars:
    keep = np.ones(len(minute), dtype=np.bool_)
    for i, _, _ in bar_faults(ohlc, volume):
        keep[i] = False
    keep[1:] &= np.diff(minute) > 0
    return IntradayBars(
        symbol=symbol, day=day, minute=minute[keep], ohlc=ohlc[keep], volume=volume[keep]
    )


def _load(path: Path, dtype: Any, columns: Sequence[int] | None = None) -> NDArray[Any]:
    if not path.is_file():
        raise ValueError(f"{path} does not exist")
    try:
        with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as raw:
            return np.loadtxt(
                io.TextIOWrapper(raw, encoding="ascii"),
                delimiter=",",
                dtype=dtype,
                usecols=columns,
                ndmin=1 if columns is None else 2,
            )
    except (ValueError, IndexError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: {error}") from None


def _days(path: Path, stamps: NDArray[Any]) -> NDArray[np.datetime64]:
    try:
        return np.array([f"{s[:4]}-{s[4:6]}-{s[6:8]}" for s in stamps], dtype="datetime64[D]")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _compact_date(text: str) -> date:
    return datetime.strptime(text, "%Y%m%d").date()  # noqa: DTZ007 - a date alone


def _file_day(path: Path) -> date:
    try:
        return _compact_date(path.name[:8])
    except ValueError:
        raise ValueError(f"{path}: the name does not begin with a date (YYYYMMDD)") from None


def _number(path: Path, line: int, cells: Sequence[str], column: int) -> float:
    try:
        value = float(cells[column])
    except (ValueError, IndexError):
        raise ValueError(f"{path}, line {line}: no number in column {column + 1}") from None
    if value <= 0:
        raise ValueError(f"{path}, line {line}: a factor must be positive, not {value:g}")
    return value


# Factors carry about six digits: 1.99999 is 2, 1.0027 stays what it is.
def _snapped(ratio: float) -> float:
    near = Fraction(ratio).limit_denominator(10)
    return float(near) if abs(ratio / float(near) - 1) < 1e-4 else round(ratio, 6)
