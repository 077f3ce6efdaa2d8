"""History in CSV or Parquet files: daily or minute bars, with quotes where a file has them.

Decided here: what a file must say, the same in both kinds, and where exactly it fails
to. The header is `date` or `timestamp`, then `open,high,low,close,volume`, optionally
`symbol` (else the file's name is the symbol) and, on minutes, `bid,ask`; the columns
may stand in any order. A timestamp is the bar's start in ISO 8601, aware, or New
York time when it has no offset. What happened to the companies is read from
`splits.csv` (`symbol,ex_date,ratio`), `dividends.csv` (`symbol,ex_date,usd_a_share`)
and `name_changes.csv` (`date,old,new`; the date is the first of the new name).
Before this stand the files; after it the replay.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Final

import numpy as np

from greenlight.adapters.history import (
    DailySeries,
    IntradayBars,
    IntradayQuotes,
    bar_faults,
    screened,
)
from greenlight.domain.market import EASTERN, Dividend, Split, SymbolChange

SPLITS_FILE: Final = "splits.csv"
DIVIDENDS_FILE: Final = "dividends.csv"
CHANGES_FILE: Final = "name_changes.csv"
_ACTIONS: Final = frozenset({SPLITS_FILE, DIVIDENDS_FILE, CHANGES_FILE})
_PRICES: Final = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CsvHistory:
    """What a folder of CSV files holds: either daily series or minutes by day.

    `quotes` has an entry for each symbol and day whose file has bid and ask; each
    minute's one quote stands for all four of its points, with size 0 (unknown).
    """

    is_daily: bool
    daily: dict[str, DailySeries]
    minutes: dict[str, dict[date, IntradayBars]]
    quotes: dict[str, dict[date, IntradayQuotes]]
    splits: tuple[Split, ...]
    dividends: tuple[Dividend, ...]
    changes: tuple[SymbolChange, ...]


@dataclass(slots=True, kw_only=True)
class _Rows:
    """Rows of one symbol: (time, prices, volume, bid and ask) and where each stood."""

    times: list[datetime] = field(default_factory=list)
    prices: list[tuple[float, ...]] = field(default_factory=list)
    volumes: list[int] = field(default_factory=list)
    quotes: list[tuple[float, float] | None] = field(default_factory=list)
    places: list[str] = field(default_factory=list)


def read_csv_folder(folder: Path) -> CsvHistory:
    """Read every CSV file of a folder.

    Raises
    ------
    ValueError
        There is no CSV file, daily and minute files are mixed, or a line cannot
        be read; the message names file, line and reason. On minutes a bar that
        cannot be true or repeats a minute is an error as well; on days such rows
        are refused and named in the series.
    """
    return _read_folder(folder, "csv", _csv_lines)


def read_parquet_folder(folder: Path) -> CsvHistory:
    """Read every Parquet file of a folder; the columns are those of a CSV file.

    Corporate actions are read from the CSV files beside them.

    Raises
    ------
    ValueError
        As with `read_csv_folder`, or a file is no Parquet file.
    """
    return _read_folder(folder, "parquet", _parquet_lines)


Lines = Iterator[tuple[str, list[str]]]
"""Rows of a file as text, the header first, each with its place."""


def _csv_lines(path: Path) -> Lines:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        for cells in reader:
            yield f"{path}, line {reader.line_num}", cells


def _parquet_lines(path: Path) -> Lines:
    # Imported here because it takes a third of a second.
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        told = " ".join(str(error).split())
        raise ValueError(f"{path}: no Parquet file: {told}") from error
    yield f"{path}, header", list(table.column_names)
    columns = [column.to_pylist() for column in table.columns]
    for i, values in enumerate(zip(*columns, strict=True)):
        yield f"{path}, row {i + 1}", [_text(value) for value in values]


def _text(value: object) -> str:
    """A cell as a CSV file would have it."""
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, date) else str(value)


def _read_folder(folder: Path, kind: str, lines: Callable[[Path], Lines]) -> CsvHistory:
    paths = sorted(p for p in folder.glob(f"*.{kind}") if p.name not in _ACTIONS)
    if not paths:
        raise ValueError(f"{folder} has no .{kind} file")
    kinds = {path: _time_column(lines(path)) for path in paths}
    if len(set(kinds.values())) > 1:
        raise ValueError(f"{folder} mixes daily files (date) and minute files (timestamp)")
    is_daily = kinds[paths[0]] == "date"
    rows: dict[str, _Rows] = defaultdict(_Rows)
    for path in paths:
        _read_file(path.stem, lines(path), is_daily, rows)
    splits = _read_splits(folder / SPLITS_FILE)
    dividends = _read_dividends(folder / DIVIDENDS_FILE)
    daily: dict[str, DailySeries] = {}
    minutes: dict[str, dict[date, IntradayBars]] = {}
    quotes: dict[str, dict[date, IntradayQuotes]] = {}
    for symbol, found in sorted(rows.items()):
        if is_daily:
            daily[symbol] = _daily(symbol, found, splits, dividends)
        else:
            minutes[symbol], quotes[symbol] = _intraday(symbol, found)
    return CsvHistory(
        is_daily=is_daily,
        daily=daily,
        minutes=minutes,
        quotes=quotes,
        splits=splits,
        dividends=dividends,
        changes=_read_changes(folder / CHANGES_FILE),
    )


def _time_column(lines: Lines) -> str:
    place, cells = next(lines, ("an empty file", []))
    header = [cell.strip().lower() for cell in cells]
    times = [name for name in ("date", "timestamp") if name in header]
    missing = [name for name in (*_PRICES, "volume") if name not in header]
    if len(times) != 1:
        raise ValueError(f"{place}: one column must be called date or timestamp")
    if missing:
        raise ValueError(f"{place}: no column {', '.join(missing)}")
    if ("bid" in header) != ("ask" in header):
        raise ValueError(f"{place}: bid and ask come together")
    return times[0]


def _read_file(stem: str, lines: Lines, is_daily: bool, rows: dict[str, _Rows]) -> None:
    header = [cell.strip().lower() for cell in next(lines)[1]]
    column = {name: i for i, name in enumerate(header)}
    time_at = column["date" if is_daily else "timestamp"]
    for place, cells in lines:
        if not cells:
            continue
        if len(cells) != len(header):
            raise ValueError(f"{place}: {len(cells)} cells, the header has {len(header)}")
        symbol = cells[column["symbol"]] if "symbol" in column else stem
        found = rows[symbol.strip().upper()]
        found.times.append(_time(place, cells[time_at].strip(), is_daily))
        found.prices.append(tuple(_float(place, p, cells[column[p]]) for p in _PRICES))
        volume = _float(place, "volume", cells[column["volume"]])
        if not volume.is_integer():
            raise ValueError(f"{place}: volume {volume:g} is not a whole number of shares")
        found.volumes.append(int(volume))
        found.quotes.append(_quote(place, column, cells))
        found.places.append(place)


def _time(place: str, text: str, is_daily: bool) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{place}: {text!r} is no ISO date or time") from None
    if is_daily:
        return at.replace(tzinfo=None)
    at = at.replace(tzinfo=EASTERN) if at.tzinfo is None else at.astimezone(EASTERN)
    if at.second or at.microsecond:
        raise ValueError(f"{place}: {text} does not begin a minute")
    return at


def _float(place: str, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{place}: {name} {text!r} is no number") from None
    if not np.isfinite(value):
        raise ValueError(f"{place}: {name} {text!r} is not finite")
    return value


def _quote(place: str, column: dict[str, int], cells: list[str]) -> tuple[float, float] | None:
    if "bid" not in column or not (cells[column["bid"]].strip() and cells[column["ask"]].strip()):
        return None
    bid = _float(place, "bid", cells[column["bid"]])
    ask = _float(place, "ask", cells[column["ask"]])
    if not 0 < bid <= ask:
        raise ValueError(f"{place}: bid {bid:g} and ask {ask:g} are no quote")
    return bid, ask


def _read_actions(path: Path, columns: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Rows of a file of corporate actions, each with its place; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        rows: list[tuple[str, list[str]]] = []
        for row in reader:
            place = f"{path}, line {reader.line_num}"
            cells = [row.get(name) for name in columns]
            kept = [cell.strip() for cell in cells if cell]
            if len(kept) < len(columns):
                needed = f"{', '.join(columns[:-1])} and {columns[-1]}"
                raise ValueError(f"{place}: {needed} are needed")
            rows.append((place, kept))
        return rows


def _date(place: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _positive(place: str, name: str, text: str) -> float:
    value = _float(place, name, text)
    if value <= 0:
        raise ValueError(f"{place}: {name} {value:g} must be positive")
    return value


def _read_splits(path: Path) -> tuple[Split, ...]:
    splits = [
        Split(
            symbol=symbol.upper(),
            ex_date=_date(place, day),
            ratio=_positive(place, "ratio", ratio),
        )
        for place, (symbol, day, ratio) in _read_actions(path, ("symbol", "ex_date", "ratio"))
    ]
    return tuple(sorted(splits, key=lambda s: (s.symbol, s.ex_date)))


def _read_dividends(path: Path) -> tuple[Dividend, ...]:
    columns = ("symbol", "ex_date", "usd_a_share")
    dividends = [
        Dividend(
            symbol=symbol.upper(),
            ex_date=_date(place, day),
            usd_a_share=_positive(place, "usd_a_share", usd),
        )
        for place, (symbol, day, usd) in _read_actions(path, columns)
    ]
    return tuple(sorted(dividends, key=lambda d: (d.symbol, d.ex_date)))


def _read_changes(path: Path) -> tuple[SymbolChange, ...]:
    changes = [
        SymbolChange(old=old.upper(), new=new.upper(), day=_date(place, day))
        for place, (day, old, new) in _read_actions(path, ("date", "old", "new"))
    ]
    return tuple(sorted(changes, key=lambda c: (c.day, c.old)))


def _daily(
    symbol: str, rows: _Rows, splits: Iterable[Split], dividends: Iterable[Dividend]
) -> DailySeries:
    prices = np.array(rows.prices, dtype=np.float64)
    series = DailySeries(
        symbol=symbol,
        days=np.array([at.date() for at in rows.times], dtype="datetime64[D]"),
        open=prices[:, 0],
        high=prices[:, 1],
        low=prices[:, 2],
        close=prices[:, 3],
        volume=np.array(rows.volumes, dtype=np.int64),
        splits=tuple(s for s in splits if s.symbol == symbol),
        source="csv",
        dividends=tuple(d for d in dividends if d.symbol == symbol),
    )
    return screened(series)


def _intraday(
    symbol: str, rows: _Rows
) -> tuple[dict[date, IntradayBars], dict[date, IntradayQuotes]]:
    prices = np.array(rows.prices, dtype=np.float64)
    volumes = np.array(rows.volumes, dtype=np.int64)
    for i, kind, detail in bar_faults(prices, volumes):
        raise ValueError(f"{rows.places[i]}: {kind}: {detail}")
    for i in range(1, len(rows.times)):
        if rows.times[i] <= rows.times[i - 1]:
            raise ValueError(
                f"{rows.places[i]}: {rows.times[i].isoformat()} is not later than "
                f"the line before it"
            )
    by_day: dict[date, list[int]] = defaultdict(list)
    for i, at in enumerate(rows.times):
        by_day[at.date()].append(i)
    bars: dict[date, IntradayBars] = {}
    quotes: dict[date, IntradayQuotes] = {}
    for day, index in by_day.items():
        clock = [rows.times[i].hour * 60 + rows.times[i].minute for i in index]
        minute = np.array(clock, dtype=np.int64)
        bars[day] = IntradayBars(
            symbol=symbol, day=day, minute=minute, ohlc=prices[index], volume=volumes[index]
        )
        quoted = [(m, q) for m, q in zip(clock, (rows.quotes[i] for i in index), strict=True) if q]
        if quoted:
            pairs = np.array([q for _, q in quoted], dtype=np.float64)
            none = np.zeros(len(quoted), dtype=np.int64)
            quotes[day] = IntradayQuotes(
                symbol=symbol,
                day=day,
                minute=np.array([m for m, _ in quoted], dtype=np.int64),
                bid=np.repeat(pairs[:, :1], 4, axis=1),
                ask=np.repeat(pairs[:, 1:], 4, axis=1),
                bid_size=none,
                ask_size=none,
            )
    return bars, quotes
