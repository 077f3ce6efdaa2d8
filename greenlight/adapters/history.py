"""Price history as plain arrays, and what is wrong with it.

Decided here: what a row of history must satisfy to be used at all, and which
oddities of a whole series a person should look at. Nothing is repaired: a row
that cannot be true is left out and named in `DailySeries.refused`. Before this
stand the readers of each format (`history_bokeh`, `history_lean`,
`history_csv`); after it come the replay of the paper exchange and the import.

All prices are raw (never adjusted for splits or dividends) float64 US dollars,
volumes whole shares, days calendar dates in New York.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from greenlight.domain.history_checks import SPLIT_RATIOS, SPLIT_TOLERANCE
from greenlight.domain.market import Dividend, Split, session_on, sessions_between

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
DayArray = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong or odd in a history.

    `kind` is one of `not_finite`, `not_positive`, `inconsistent`, `bad_volume`,
    `duplicate`, `out_of_order`, `other_company` (these rows are refused), or
    `not_a_session`, `hole`, `unrecorded_split`, `unconfirmed_split`, `one_price`
    (these are only reported).
    """

    symbol: str
    day: date
    kind: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DailySeries:
    """Daily raw bars of one symbol in date order, with its splits and cash dividends.

    `days` is datetime64[D], the prices float64 dollars and `volume` int64
    shares, all of one length. `refused` names the rows that the reader left out.
    """

    symbol: str
    days: DayArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: IntArray
    splits: tuple[Split, ...]
    source: str
    refused: tuple[Finding, ...] = ()
    dividends: tuple[Dividend, ...] = ()

    def __len__(self) -> int:
        return len(self.days)

    def row(self, day: date) -> int | None:
        """Index of a day's row, or None where the series has none."""
        key = np.datetime64(day, "D")
        index = int(np.searchsorted(self.days, key))
        return index if index < len(self.days) and self.days[index] == key else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IntradayBars:
    """Trade bars of one symbol and day.

    `minute` is the bar's start in minutes since midnight New York, rising;
    `ohlc` is float64[n, 4] dollars and `volume` int64[n] shares.
    """

    symbol: str
    day: date
    minute: IntArray
    ohlc: FloatArray
    volume: IntArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IntradayQuotes:
    """Quote bars of one symbol and day.

    `bid` and `ask` are float64[n, 4] dollars (open, high, low, close; 0 or NaN
    where the source has no quote), the sizes int64[n] shares at the close.
    """

    symbol: str
    day: date
    minute: IntArray
    bid: FloatArray
    ask: FloatArray
    bid_size: IntArray
    ask_size: IntArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TradeTicks:
    """Trade prints of one symbol and day; `ms` since midnight New York, rising."""

    symbol: str
    day: date
    ms: IntArray
    price: FloatArray
    size: IntArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuoteTicks:
    """Quote updates of one symbol and day; a price of 0 leaves that side as it was."""

    symbol: str
    day: date
    ms: IntArray
    bid: FloatArray
    ask: FloatArray
    bid_size: IntArray
    ask_size: IntArray


@dataclass(slots=True, kw_only=True)
class _Screen:
    """Rows that may stay, and a finding for each that may not."""

    keep: NDArray[np.bool_]
    findings: list[Finding] = field(default_factory=list)


def bar_faults(ohlc: FloatArray, volume: IntArray) -> list[tuple[int, str, str]]:
    """Name the bars that cannot be true, whatever their time.

    Parameters
    ----------
    ohlc : float64[n, 4]
        Open, high, low, close in dollars.
    volume : int64[n]
        Shares.

    Returns
    -------
    list of (row, kind, detail)
        In row order, at most one a row; kinds as in `Finding`.
    """
    finite = np.all(np.isfinite(ohlc), axis=1)
    positive = np.all(ohlc > 0, axis=1)
    with np.errstate(invalid="ignore"):
        ordered = (ohlc[:, 1] >= ohlc.max(axis=1)) & (ohlc[:, 2] <= ohlc.min(axis=1))
    faults: list[tuple[int, str, str]] = []
    for i in np.flatnonzero(~(finite & positive & ordered & (volume >= 0))).tolist():
        shown = "open {:g} high {:g} low {:g} close {:g}".format(*ohlc[i].tolist())
        if not finite[i]:
            faults.append((i, "not_finite", shown))
        elif not positive[i]:
            faults.append((i, "not_positive", shown))
        elif not ordered[i]:
            faults.append((i, "inconsistent", shown))
        else:
            faults.append((i, "bad_volume", f"volume {int(volume[i])}"))
    return faults


def screened(series: DailySeries) -> DailySeries:
    """The series without the rows that cannot be used, each named in `refused`.

    A row is refused when a price is not finite or not positive, the high or low
    contradicts the other prices, the volume is negative, its day was there
    before (the first stays), or its day is earlier than one before it.
    """
    screen = _screen(series)
    if not screen.findings:
        return series
    keep = screen.keep
    return replace(
        series,
        days=series.days[keep],
        open=series.open[keep],
        high=series.high[keep],
        low=series.low[keep],
        close=series.close[keep],
        volume=series.volume[keep],
        refused=(*series.refused, *screen.findings),
    )


def _screen(series: DailySeries) -> _Screen:
    ohlc = np.column_stack((series.open, series.high, series.low, series.close))
    screen = _Screen(keep=np.ones(len(series), dtype=np.bool_))
    for i, kind, detail in bar_faults(ohlc, series.volume):
        screen.keep[i] = False
        screen.findings.append(_finding(series, i, kind, detail))
    latest: np.datetime64 | None = None
    for i in np.flatnonzero(screen.keep).tolist():
        day = series.days[i]
        if latest is not None and day <= latest:
            kind = "duplicate" if bool(np.any(series.days[:i] == day)) else "out_of_order"
            screen.keep[i] = False
            screen.findings.append(_finding(series, i, kind, f"row {i + 1} comes after {latest}"))
        else:
            latest = day
    return screen


def check_history(series: DailySeries) -> tuple[Finding, ...]:
    """Everything that a person should know about a daily series, by day.

    Parameters
    ----------
    series : DailySeries
        As read, or built by hand without any screening.

    Returns
    -------
    tuple of Finding
        The refused rows; then, judged on the rows that stay, days that are no
        session of the exchange, holes (one finding for each run of missing
        sessions), overnight moves within 3% of a split ratio without a recorded
        split, and days on which a single price traded.
    """
    good = screened(series)
    findings = list(good.refused)
    days = [_as_date(day) for day in good.days]
    findings += _calendar_findings(good.symbol, days)
    findings += _split_suspicions(good, days)
    for i in np.flatnonzero(good.high == good.low).tolist():
        findings.append(_finding(good, i, "one_price", f"only {good.close[i]:g} traded"))
    return tuple(sorted(findings, key=lambda f: (f.symbol, f.day, f.kind)))


def _calendar_findings(symbol: str, days: Sequence[date]) -> list[Finding]:
    if not days:
        return []
    findings = [
        Finding(symbol=symbol, day=day, kind="not_a_session", detail="the exchange was closed")
        for day in days
        if session_on(day) is None
    ]
    present = set(days)
    run: list[date] = []
    for session in sessions_between(days[0], days[-1]):
        if session.day not in present:
            run.append(session.day)
        elif run:
            findings.append(_hole(symbol, run))
            run = []
    return findings


def _hole(symbol: str, run: Sequence[date]) -> Finding:
    detail = f"{len(run)} session(s) missing, to {run[-1]}"
    return Finding(symbol=symbol, day=run[0], kind="hole", detail=detail)


def _split_suspicions(series: DailySeries, days: Sequence[date]) -> list[Finding]:
    if len(days) < 2:
        return []
    move = series.close[:-1] / series.open[1:]
    ratios = np.array([*SPLIT_RATIOS, *(1 / r for r in SPLIT_RATIOS)])
    error = np.abs(move[:, None] / ratios[None, :] - 1)
    findings: list[Finding] = []
    for i in np.flatnonzero(error.min(axis=1) <= SPLIT_TOLERANCE).tolist():
        if any(days[i] < split.ex_date <= days[i + 1] for split in series.splits):
            continue
        detail = (
            f"close {series.close[i]:g} then open {series.open[i + 1]:g} looks like a "
            f"{ratios[int(error[i].argmin())]:.4g}:1 split that is not recorded"
        )
        findings.append(_finding(series, i + 1, "unrecorded_split", detail))
    return findings


def _finding(series: DailySeries, row: int, kind: str, detail: str) -> Finding:
    return Finding(symbol=series.symbol, day=_as_date(series.days[row]), kind=kind, detail=detail)


def _as_date(day: np.datetime64) -> date:
    result = day.astype("datetime64[D]").item()
    assert isinstance(result, date)
    return result


def as_dates(days: DayArray) -> list[date]:
    """The days of an array as `datetime.date`."""
    return [_as_date(day) for day in days]
