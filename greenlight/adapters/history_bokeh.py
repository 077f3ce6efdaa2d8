"""Daily history that comes with the `bokeh_sampledata` package.

Decided here: which jumps of its adjusted close are splits. Its prices and
volumes are raw; its `adj_close` moves with dividends too, so a split is taken
only where the ratio is a split ratio and the raw price moved by it. Before this
stands the package's own table; after it `history.screened`.

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
from greenlight.domain.market import Split

BOKEH_SYMBOLS: Final = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
# A dividend on the day of a split may move the adjusted ratio by this much.
_RATIO_TOLERANCE: Final = 0.01
# The raw overnight move that must accompany a split may differ from it by this
# much: no stock of the table opened further from its last close on such a day.
_PRICE_TOLERANCE: Final = 0.25


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
    factor = close / adjusted
    ratio = factor[:-1] / factor[1:]
    known = np.array([*SPLIT_RATIOS, *(1 / r for r in SPLIT_RATIOS)])
    error = np.abs(ratio[:, None] / known[None, :] - 1)
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
