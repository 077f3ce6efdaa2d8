"""What the paper exchange replays, by source: sample data, LEAN folders, CSV.

Decided here: which sessions a source can replay and how its data becomes the
tapes of one session. Before this stand the history readers; after it the
exchange, which owns the clock and shows nothing that lies ahead of it.

Prices are raw: a split changes them overnight, and is reported by `splits`.
Daily and hour bars are replayed along an invented minute path through their real
prices (`intraday_path`); such sources and their sessions say `is_synthetic`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import parse_qs

import numpy as np

from cluster.paper_exchange.intraday_path import minute_path, path_seed
from cluster.paper_exchange.source_tapes import (
    SymbolTape,
    open_minute,
    tape_from_bars,
    tape_from_ticks,
)
from greenlight.adapters.history import (
    DailySeries,
    FloatArray,
    IntradayBars,
    IntradayQuotes,
    as_dates,
)
from greenlight.adapters.history_bokeh import BOKEH_SYMBOLS, read_bokeh
from greenlight.adapters.history_csv import read_csv_folder, read_parquet_folder
from greenlight.adapters.history_lean import LeanFolder, open_lean
from greenlight.domain.market import Dividend, Session, Split, SymbolChange, session_on

__all__ = ["SessionTape", "Source", "SymbolTape", "open_source"]

SPECS: Final = (
    "bokeh, lean:/folder[?resolution=minute|tick|daily|hour], csv:/folder or parquet:/folder"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SessionTape:
    """All symbols of one session; a symbol without data that day is absent."""

    session: Session
    symbols: dict[str, SymbolTape]
    is_synthetic: bool


class Source(Protocol):
    """Market history that can be replayed session by session.

    `is_synthetic` says that the path inside each bar is invented.
    """

    @property
    def name(self) -> str: ...
    @property
    def is_synthetic(self) -> bool: ...
    @property
    def symbols(self) -> tuple[str, ...]: ...

    def sessions(self, start: date, end: date) -> list[Session]:
        """Sessions from `start` to `end`, both included, with data of any symbol."""
        ...

    def tape(self, day: date) -> SessionTape:
        """The tapes of a session.

        Raises
        ------
        ValueError
            The day is no session, the source has nothing on it, or its file is
            malformed.
        """
        ...

    def daily(self, symbol: str) -> DailySeries:
        """A symbol's whole daily history, also what lies ahead of the replay.

        Raises
        ------
        ValueError
            The source does not have the symbol.
        """
        ...

    def splits(self) -> tuple[Split, ...]:
        """Every split of the source's symbols, by ex-date and symbol."""
        ...

    def dividends(self) -> tuple[Dividend, ...]:
        """Every cash dividend of the source's symbols, by ex-date and symbol."""
        ...

    def symbol_changes(self) -> tuple[SymbolChange, ...]:
        """Every change from one of the source's symbols to another, by day."""
        ...


class _BaseSource(ABC):
    """What all sources share: names, calendar, and the making of a session."""

    is_synthetic = False

    def __init__(
        self, name: str, symbols: tuple[str, ...], changes: Iterable[SymbolChange] = ()
    ) -> None:
        self.name = name
        self.symbols = symbols
        self._changes = tuple(c for c in changes if {c.old, c.new} <= set(symbols))
        self._days: dict[str, frozenset[date]] = {}

    def sessions(self, start: date, end: date) -> list[Session]:
        days = frozenset[date]().union(*(self._days_of(s) for s in self.symbols))
        found = (session_on(day) for day in sorted(d for d in days if start <= d <= end))
        return [session for session in found if session is not None]

    def tape(self, day: date) -> SessionTape:
        session = session_on(day)
        if session is None:
            raise ValueError(f"{day} is no session of the exchange")
        tapes: dict[str, SymbolTape] = {}
        for symbol in self.symbols:
            if day in self._days_of(symbol):
                tape = self._symbol_tape(symbol, session)
                if tape is not None:
                    tapes[symbol] = tape
        if not tapes:
            raise ValueError(f"{self.name} has no data on {day}")
        return SessionTape(session=session, symbols=tapes, is_synthetic=self.is_synthetic)

    def splits(self) -> tuple[Split, ...]:
        found = (split for symbol in self.symbols for split in self._splits_of(symbol))
        return tuple(sorted(found, key=lambda split: (split.ex_date, split.symbol)))

    def dividends(self) -> tuple[Dividend, ...]:
        found = (paid for symbol in self.symbols for paid in self._dividends_of(symbol))
        return tuple(sorted(found, key=lambda paid: (paid.ex_date, paid.symbol)))

    def symbol_changes(self) -> tuple[SymbolChange, ...]:
        return self._changes

    def _known(self, symbol: str) -> str:
        if symbol not in self.symbols:
            raise ValueError(f"{self.name} has no {symbol}; it has {', '.join(self.symbols)}")
        return symbol

    def _days_of(self, symbol: str) -> frozenset[date]:
        if symbol not in self._days:
            self._days[symbol] = frozenset(self._read_days(symbol))
        return self._days[symbol]

    @abstractmethod
    def _read_days(self, symbol: str) -> Iterable[date]: ...

    @abstractmethod
    def _symbol_tape(self, symbol: str, session: Session) -> SymbolTape | None: ...

    @abstractmethod
    def _splits_of(self, symbol: str) -> tuple[Split, ...]: ...

    @abstractmethod
    def _dividends_of(self, symbol: str) -> tuple[Dividend, ...]: ...


class DailySource(_BaseSource):
    """Daily bars, replayed along an invented path."""

    is_synthetic = True

    def __init__(
        self,
        name: str,
        symbols: tuple[str, ...],
        read: Callable[[str], DailySeries],
        changes: Iterable[SymbolChange] = (),
    ) -> None:
        super().__init__(name, symbols, changes)
        self._read = read
        self._series: dict[str, DailySeries] = {}

    def daily(self, symbol: str) -> DailySeries:
        if symbol not in self._series:
            self._series[symbol] = self._read(self._known(symbol))
        return self._series[symbol]

    def _read_days(self, symbol: str) -> Iterable[date]:
        return as_dates(self.daily(symbol).days)

    def _splits_of(self, symbol: str) -> tuple[Split, ...]:
        return self.daily(symbol).splits

    def _dividends_of(self, symbol: str) -> tuple[Dividend, ...]:
        return self.daily(symbol).dividends

    def _symbol_tape(self, symbol: str, session: Session) -> SymbolTape | None:
        series = self.daily(symbol)
        i = series.row(session.day)
        if i is None:
            return None
        path = minute_path(
            seed=path_seed(symbol, session.day),
            minutes=session.minutes,
            ohlc=(
                float(series.open[i]),
                float(series.high[i]),
                float(series.low[i]),
                float(series.close[i]),
            ),
            volume=int(series.volume[i]),
        )
        minute = open_minute(session) + np.arange(session.minutes, dtype=np.int64)
        bars = IntradayBars(
            symbol=symbol, day=session.day, minute=minute, ohlc=path.bar, volume=path.volume
        )
        return tape_from_bars(session, bars, None)


class _IntradaySource(_BaseSource):
    """Sources with bars or ticks inside the day; daily bars from elsewhere or summed."""

    def __init__(
        self, name: str, symbols: tuple[str, ...], changes: Iterable[SymbolChange] = ()
    ) -> None:
        super().__init__(name, symbols, changes)
        self._daily: dict[str, DailySeries] = {}

    def daily(self, symbol: str) -> DailySeries:
        if symbol not in self._daily:
            self._daily[symbol] = self._read_daily(self._known(symbol))
        return self._daily[symbol]

    def _read_daily(self, symbol: str) -> DailySeries:
        return self._summed(symbol)

    # Daily bars of the regular hours, from the tapes.
    def _summed(self, symbol: str) -> DailySeries:
        days: list[date] = []
        rows: list[FloatArray] = []
        volumes: list[int] = []
        for day in sorted(self._days_of(symbol)):
            session = session_on(day)
            tape = self._symbol_tape(symbol, session) if session is not None else None
            if tape is None or not np.any(tape.bar_volume):
                continue
            bar = tape.bar[~np.isnan(tape.bar[:, 0])]
            days.append(day)
            rows.append(np.array([bar[0, 0], bar[:, 1].max(), bar[:, 2].min(), bar[-1, 3]]))
            volumes.append(int(tape.bar_volume.sum()))
        table = np.array(rows, dtype=np.float64).reshape(-1, 4)
        return DailySeries(
            symbol=symbol,
            days=np.array(days, dtype="datetime64[D]"),
            open=table[:, 0],
            high=table[:, 1],
            low=table[:, 2],
            close=table[:, 3],
            volume=np.array(volumes, dtype=np.int64),
            splits=self._splits_of(symbol),
            source=self.name,
            dividends=self._dividends_of(symbol),
        )


class _LeanIntradaySource(_IntradaySource):
    """What LEAN's hour, minute and tick sources share: splits and daily bars."""

    def __init__(self, name: str, symbols: tuple[str, ...], lean: LeanFolder) -> None:
        super().__init__(name, symbols)
        self._lean = lean
        self._splits: dict[str, tuple[Split, ...]] = {}

    def _read_daily(self, symbol: str) -> DailySeries:
        if symbol in self._lean.symbols("daily"):
            return self._lean.daily(symbol)
        return self._summed(symbol)

    def _splits_of(self, symbol: str) -> tuple[Split, ...]:
        if symbol not in self._splits:
            self._splits[symbol] = self._lean.splits(symbol)
        return self._splits[symbol]

    def _dividends_of(self, symbol: str) -> tuple[Dividend, ...]:
        return self._lean.dividends(symbol)


class LeanMinuteSource(_LeanIntradaySource):
    """LEAN minute trade bars with their quote bars."""

    def _read_days(self, symbol: str) -> Iterable[date]:
        return self._lean.days("minute", symbol)

    def _symbol_tape(self, symbol: str, session: Session) -> SymbolTape | None:
        bars = self._lean.minute_trades(symbol, session.day)
        return tape_from_bars(session, bars, self._lean.minute_quotes(symbol, session.day))


class LeanTickSource(_LeanIntradaySource):
    """LEAN trade and quote ticks."""

    def _read_days(self, symbol: str) -> Iterable[date]:
        return self._lean.days("tick", symbol)

    def _symbol_tape(self, symbol: str, session: Session) -> SymbolTape | None:
        trades = self._lean.tick_trades(symbol, session.day)
        return tape_from_ticks(session, trades, self._lean.tick_quotes(symbol, session.day))


class LeanHourSource(_LeanIntradaySource):
    """LEAN hour bars, each replayed along an invented path."""

    is_synthetic = True

    def __init__(self, name: str, symbols: tuple[str, ...], lean: LeanFolder) -> None:
        super().__init__(name, symbols, lean)
        self._hours: dict[str, dict[date, IntradayBars]] = {}

    def _bars(self, symbol: str) -> dict[date, IntradayBars]:
        if symbol not in self._hours:
            self._hours[symbol] = self._lean.hourly(symbol)
        return self._hours[symbol]

    def _read_days(self, symbol: str) -> Iterable[date]:
        return self._bars(symbol)

    def _symbol_tape(self, symbol: str, session: Session) -> SymbolTape | None:
        hours = self._bars(symbol)[session.day]
        first = open_minute(session)
        last = first + session.minutes
        minutes, ohlc, volumes = [], [], []
        for hour, row, volume in zip(
            hours.minute.tolist(), hours.ohlc.tolist(), hours.volume.tolist(), strict=True
        ):
            begin, end = max(hour, first), min(hour + 60, last)
            if begin >= end:
                continue
            path = minute_path(
                seed=path_seed(symbol, session.day, hour // 60),
                minutes=end - begin,
                ohlc=(row[0], row[1], row[2], row[3]),
                volume=volume,
                first_minute=begin - first,
                session_minutes=session.minutes,
            )
            minutes.append(np.arange(begin, end, dtype=np.int64))
            ohlc.append(path.bar)
            volumes.append(path.volume)
        if not minutes:
            return None
        bars = IntradayBars(
            symbol=symbol,
            day=session.day,
            minute=np.concatenate(minutes),
            ohlc=np.concatenate(ohlc),
            volume=np.concatenate(volumes),
        )
        return tape_from_bars(session, bars, None)


class CsvMinuteSource(_IntradaySource):
    """Minute bars from CSV files."""

    def __init__(
        self,
        name: str,
        symbols: tuple[str, ...],
        bars: Mapping[str, Mapping[date, IntradayBars]],
        quotes: Mapping[str, Mapping[date, IntradayQuotes]],
        splits: tuple[Split, ...],
        dividends: tuple[Dividend, ...] = (),
        changes: tuple[SymbolChange, ...] = (),
    ) -> None:
        super().__init__(name, symbols, changes)
        self._bars, self._quotes = bars, quotes
        self._all_splits, self._all_dividends = splits, dividends

    def _read_days(self, symbol: str) -> Iterable[date]:
        return self._bars[symbol]

    def _splits_of(self, symbol: str) -> tuple[Split, ...]:
        return tuple(split for split in self._all_splits if split.symbol == symbol)

    def _dividends_of(self, symbol: str) -> tuple[Dividend, ...]:
        return tuple(paid for paid in self._all_dividends if paid.symbol == symbol)

    def _symbol_tape(self, symbol: str, session: Session) -> SymbolTape | None:
        quotes = self._quotes[symbol].get(session.day)
        return tape_from_bars(session, self._bars[symbol][session.day], quotes)


def open_source(spec: str) -> Source:
    """Open a source by its name.

    Parameters
    ----------
    spec : str
        `bokeh`, `lean:/folder`, `csv:/folder` or `parquet:/folder`, then optionally
        `?symbols=AAPL,MSFT` and for LEAN `resolution=minute|tick|daily|hour`
        (by default the first of minute, daily, hour and tick that the folder has).

    Returns
    -------
    Source
        LEAN files are read when they are asked for, the others at once.

    Raises
    ------
    ValueError
        One line that says what is wrong with the spec or the folder.
    """
    plain, _, query = spec.partition("?")
    kind, _, folder = plain.partition(":")
    options = _options(spec, query, kind)
    if kind == "bokeh" and not folder:
        return DailySource(spec, _chosen(spec, options, BOKEH_SYMBOLS), read_bokeh)
    if kind not in ("lean", "csv", "parquet") or not folder:
        raise ValueError(f"no source {spec!r}; there are {SPECS}")
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise ValueError(f"source {spec!r}: {path} is no folder")
    if kind == "lean":
        return _lean_source(spec, path, options)
    history = read_csv_folder(path) if kind == "csv" else read_parquet_folder(path)
    held = history.daily if history.is_daily else history.minutes
    symbols = _chosen(spec, options, tuple(held))
    if history.is_daily:
        return DailySource(spec, symbols, history.daily.__getitem__, history.changes)
    return CsvMinuteSource(
        spec,
        symbols,
        history.minutes,
        history.quotes,
        history.splits,
        history.dividends,
        history.changes,
    )


def _lean_source(spec: str, path: Path, options: Mapping[str, str]) -> Source:
    lean = open_lean(path)
    held = lean.resolutions()
    resolution = options.get("resolution", held[0])
    if resolution not in held:
        raise ValueError(f"source {spec!r}: no resolution {resolution}; it has {', '.join(held)}")
    symbols = _chosen(spec, options, lean.symbols(resolution))
    if resolution == "daily":
        return DailySource(spec, symbols, lean.daily)
    if resolution == "hour":
        return LeanHourSource(spec, symbols, lean)
    if resolution == "tick":
        return LeanTickSource(spec, symbols, lean)
    return LeanMinuteSource(spec, symbols, lean)


def _options(spec: str, query: str, kind: str) -> dict[str, str]:
    known = {"symbols", "resolution"} if kind == "lean" else {"symbols"}
    found = parse_qs(query, keep_blank_values=True)
    for name in found:
        if name not in known:
            raise ValueError(f"source {spec!r}: no option {name}; there are {sorted(known)}")
    return {name: values[-1] for name, values in found.items()}


def _chosen(spec: str, options: Mapping[str, str], held: tuple[str, ...]) -> tuple[str, ...]:
    if not held:
        raise ValueError(f"source {spec!r} has no symbol")
    if "symbols" not in options:
        return held
    wanted = tuple(s.strip().upper() for s in options["symbols"].split(",") if s.strip())
    missing = [s for s in wanted if s not in held]
    if missing or not wanted:
        raise ValueError(
            f"source {spec!r}: no symbol {', '.join(missing)}; it has {', '.join(held)}"
        )
    return tuple(dict.fromkeys(wanted))
