"""Real daily series for the tests of volatility: those that the arch package brings."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache

import numpy as np

from greenlight.domain.indicators import FloatArray
from greenlight.domain.market import Bar, eastern_midnight


@lru_cache(maxsize=4)
def prices(name: str) -> tuple[tuple[datetime, ...], FloatArray]:
    """Days (midnight New York, as UTC) and closes of "sp500" or "nasdaq"."""
    from arch.data import nasdaq, sp500

    frame = {"sp500": sp500, "nasdaq": nasdaq}[name].load()
    days = tuple(eastern_midnight(stamp.date()) for stamp in frame.index)
    return days, frame["Adj Close"].to_numpy(dtype=np.float64)


def returns_pct(name: str) -> FloatArray:
    """Simple daily returns in percent, about 5,000 days up to the end of 2018."""
    _, closes = prices(name)
    return np.ascontiguousarray(100.0 * (closes[1:] / closes[:-1] - 1.0))


def daily_bars(name: str, count: int, symbol: str = "SPY") -> list[Bar]:
    """The last so many days as bars."""
    days, closes = prices(name)
    return [
        Bar(
            symbol=symbol,
            start=day,
            end=day + timedelta(hours=16),
            open=close,
            high=close,
            low=close,
            close=float(close),
            volume=1,
        )
        for day, close in zip(days[-count:], closes[-count:], strict=True)
    ]
