"""Daily history that comes with the `bokeh_sampledata` package.

Decided here: which jumps of its adjusted close are splits, and which are cash
dividends. Its prices and volumes are raw; its `adj_close` moves with both, so a
split is taken only where the ratio is a split ratio and the raw price moved by
it. Before this stands the package's own table; after it `history.screened`.

AAPL, FB, GOOG, IBM and MSFT, 2000-03-01 (or listing) to 2013-03-01.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from greenlight.adapters.history import (
    DailySeries,
    DayArray,
    Finding,
    FloatArray,
    as_dates,
    screened,
)
from greenlight.domain.history_checks import SPLIT_RATIOS
from greenlight.domain.market import Dividend, Split

BOKEH_SYMBOLS: Final = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
# A dividend on the day of a split may move the adjusted ratio by this much.
_RATIO_TOLERANCE: Final = 0.01
# The raw overnight move that must accompany a split may differ from it by this
# much: no stock of the table opened further from its last close on such a day.
_PRICE_TOLERANCE: Final = 0.25
# The table's prices are rounded to the cent, so a day's factor is off by half a cent
# over the adjusted close at most; what lies within that, and these two basis points
# beside it, is no dividend. The smallest of the table, IBM's 12 cents on $115, is 10.
_HALF_CENT: Final = 0.005
_DIVIDEND_TOLERANCE: Final = 2e-4


def read_bokeh(symbol: str) -> DailySeries:
    """Read one symbol of the sample data.

    Raises
    ------
    ValueError
        The package does not have the symbol.
    """
    if symbol not in BOKEH_SYMBOLS:
        raise ValueError(f"bokeh has no {symbol}; it has {', '.join(BOKEH_SYMBOLS)}")
    # Imported here because the module reads its files when it is imported.
    from bokeh_sampledata import stocks

    table: dict[str, list[Any]] = getattr(stocks, symbol)
    days = np.array(table["date"], dtype="datetime64[D]")
    opened = np.array(table["open"], dtype=np.float64)
    close = np.array(table["close"], dtype=np.float64)
    adjusted = np.array(table["adj_close"], dtype=np.float64)
    splits, doubts = splits_from_adjusted(symbol, days, opened, close, adjusted)
    dividends = dividends_from_adjusted(symbol, days, close, adjusted)
    series = DailySeries(
        symbol=symbol,
        days=days,
        open=opened,
        high=np.array(table["high"], dtype=np.float64),
        low=np.array(table["low"], dtype=np.float64),
        close=close,
        volume=np.array(table["volume"], dtype=np.int64),
        splits=splits,
        source="bokeh",
        refused=doubts,
        dividends=dividends,
    )
    return screened(series)


def splits_from_adjusted(
    symbol: str,
    days: DayArray,
    opened: FloatArray,
    close: FloatArray,
    adjusted: FloatArray,
) -> tuple[tuple[Split, ...], tuple[Finding, ...]]:
    """Find the splits in raw prices that stand beside an adjusted close.

    Parameters
    ----------
    symbol : str
        Whose rows they are.
    days : datetime64[D][n]
        In order.
    opened, close, adjusted : float64[n]
        Raw open and close, and the close adjusted for splits and dividends.

    Returns
    -------
    splits : tuple of Split
        One for each confirmed split, dated on the first day at the new price.
    doubts : tuple of Finding
        `unconfirmed_split`: the adjustment says split, the raw price did not move.

    Notes
    -----
    With factor f = close / adj_close, the day's ratio is f[i-1] / f[i]: 2 on a
    2:1 split, 1 + dividend / price on a dividend.
    """
    known, error = _split_errors(close / adjusted)
    splits: list[Split] = []
    doubts: list[Finding] = []
    dates = as_dates(days)
    for i in np.flatnonzero(error.min(axis=1) <= _RATIO_TOLERANCE).tolist():
        exact = float(known[int(error[i].argmin())])
        move = float(close[i] / opened[i + 1])
        if abs(move / exact - 1) <= _PRICE_TOLERANCE:
            splits.append(Split(symbol=symbol, ex_date=dates[i + 1], ratio=exact))
        else:
            detail = f"adjusted for {exact:g}:1, but the raw price moved by {move:.3g}"
            doubts.append(
                Finding(symbol=symbol, day=dates[i + 1], kind="unconfirmed_split", detail=detail)
            )
    return tuple(splits), tuple(doubts)


def _split_errors(factor: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Known split ratios, and how far each day's ratio lies from each (float64[n - 1, k])."""
    ratio = factor[:-1] / factor[1:]
    known = np.array([*SPLIT_RATIOS, *(1 / r for r in SPLIT_RATIOS)])
    return known, np.abs(ratio[:, None] / known[None, :] - 1)


def dividends_from_adjusted(
    symbol: str, days: DayArray, close: FloatArray, adjusted: FloatArray
) -> tuple[Dividend, ...]:
    """Find the cash dividends in raw closes that stand beside an adjusted close.

    Parameters
    ----------
    symbol : str
        Whose rows they are.
    days : datetime64[D][n]
        In order.
    close, adjusted : float64[n]
        Raw close, and the close adjusted for splits and dividends; to the cent.

    Returns
    -------
    tuple of Dividend
        By ex-date, to the cent. A dividend on the day of a split is not told apart
        from it and left out. The days are exact; the amounts err by a cent and
        five basis points of the price at most, how far the table's factors lie off.

    Notes
    -----
    With factor f = close / adj_close, a dividend D after the close C of day i
    makes f[i] / f[i+1] = 1 / (1 - D / C), which is Yahoo's adjustment. Between
    two such days f is constant but for rounding, so its mean over each stretch
    is taken: D = C (1 - mean f after / mean f before).
    """
    factor = close / adjusted
    rise = factor[:-1] / factor[1:] - 1
    noise = _HALF_CENT * (1 / adjusted[:-1] + 1 / adjusted[1:] + 1 / close[:-1] + 1 / close[1:])
    _, error = _split_errors(factor)
    is_split = error.min(axis=1) <= _RATIO_TOLERANCE
    is_dividend = (rise > noise + _DIVIDEND_TOLERANCE) & ~is_split
    jumps = np.flatnonzero(is_dividend | is_split) + 1
    starts = np.concatenate(([0], jumps))
    sizes = np.diff(np.append(starts, len(factor)))
    means = np.add.reduceat(factor, starts) / sizes
    dates = as_dates(days)
    found: list[Dividend] = []
    for stretch, first in enumerate(jumps.tolist()):
        usd = float(close[first - 1] * (1 - means[stretch + 1] / means[stretch]))
        if is_dividend[first - 1] and round(usd, 2) > 0:
            found.append(Dividend(symbol=symbol, ex_date=dates[first], usd_a_share=round(usd, 2)))
    return tuple(found)
