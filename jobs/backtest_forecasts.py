"""The desk's volatility forecasts as of past sessions, for backtests and sweeps.

Before it stand daily histories; after it the sizes of entries. A week's fit is made
once and serves every signal of the week, whichever set of parameters gave it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import numpy as np

from greenlight.adapters.history import DailySeries, FloatArray
from greenlight.domain.correlation import SESSIONS
from greenlight.domain.forecasts import VolatilityForecast, expected_vol_ann
from greenlight.domain.market import Bar, Session, Split
from greenlight.domain.sizing import recent_volatility, volatility_scale
from greenlight.domain.volatility import VolatilityPolicy, forecast
from jobs.ingest import daily_bars

_AFTER_CLOSE: Final = timedelta(hours=1)


def symbol_scales(
    series: DailySeries,
    sessions: Sequence[Session],
    returns: FloatArray,
    rows: Sequence[int],
    policy: VolatilityPolicy,
) -> list[float]:
    """What the forecast leaves of an entry's size, as of the open of each session asked for.

    Parameters
    ----------
    returns : float64[sessions]
        The symbol's daily returns, NaN where there is none.
    rows : Sequence[int]
        Of the sessions asked for.

    Returns
    -------
    list[float]
        See `sizing.volatility_scale`; 1 where there is no forecast.
    """
    bars = daily_bars(series)
    fits: dict[int, VolatilityForecast | None] = {}
    found = []
    for row in rows:
        # What has closed before the session opens.
        seen = int(np.searchsorted(series.days, np.datetime64(sessions[row].day, "D")))
        first = seen - 1
        while first > 0 and _is_same_week(bars[first - 1], bars[seen - 1]):
            first -= 1
        if first < 0:
            found.append(1.0)
            continue
        if first not in fits:
            fits[first] = _made(bars[: first + 1], series.splits, None, policy)
        made = fits[first]
        if seen > first + 1:
            made = _made(bars[:seen], series.splits, made, policy) or made
        if made is None:
            found.append(1.0)
            continue
        age = sum(made.through < session.day for session in sessions[max(0, row - 60) : row])
        window = returns[max(0, row - SESSIONS) : row]
        recent = recent_volatility(window[np.isfinite(window)].tolist())
        found.append(volatility_scale(expected_vol_ann(made, age), recent))
    return found


def _is_same_week(one: Bar, other: Bar) -> bool:
    return one.start.isocalendar()[:2] == other.start.isocalendar()[:2]


def _made(
    bars: Sequence[Bar],
    splits: tuple[Split, ...],
    previous: VolatilityForecast | None,
    policy: VolatilityPolicy,
) -> VolatilityForecast | None:
    found = forecast(
        symbol=bars[-1].symbol,
        now=bars[-1].end + _AFTER_CLOSE,
        bars=bars[-(policy.window + 1) :],
        splits=splits,
        previous=previous,
        policy=policy,
    )
    return found if isinstance(found, VolatilityForecast) else None
