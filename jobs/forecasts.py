"""The volatility forecasts that stand, with their age.

Before it stands the store, which `jobs.volatility` fills; after it the risk
gate, the scorer and the pages. It loads none of what fits need.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from greenlight.domain.forecasts import VolatilityForecast, expected_vol_ann
from greenlight.domain.market import Unavailable, eastern_date, sessions_between
from greenlight.ports import Store

FORECAST_KEPT: Final = timedelta(days=30)
"""A forecast older than this is not shown or used any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgedForecast:
    """A forecast and how many sessions have closed since the last one it knows."""

    forecast: VolatilityForecast
    age_sessions: int


def current_forecasts(store: Store, now: datetime) -> dict[str, AgedForecast]:
    """The last good forecast of each symbol with its age, none older than 30 days.

    Raises
    ------
    StoreUnavailable
        The store does not answer.
    """
    today = eastern_date(now)
    return {
        made.symbol: AgedForecast(
            forecast=made,
            age_sessions=sum(
                session.close <= now
                for session in sessions_between(made.through + timedelta(days=1), today)
            ),
        )
        for made in store.latest_forecasts(now - FORECAST_KEPT, now + timedelta(microseconds=1))
    }


class ExpectedVolatility:
    """A symbol's expected volatility, read from the store once a day.

    Tonight's forecasts are made after the close, so a day's answers stand.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._day: date | None = None
        self._known: dict[str, AgedForecast] = {}

    def __call__(self, symbol: str, now: datetime) -> float | Unavailable:
        """Volatility a year as a fraction, at an aware UTC instant.

        Raises
        ------
        StoreUnavailable
            The store does not answer.
        """
        day = eastern_date(now)
        if day != self._day:
            self._known, self._day = current_forecasts(self._store, now), day
        made = self._known.get(symbol)
        if made is None:
            return Unavailable("no forecast was made in the last 30 days")
        return expected_vol_ann(made.forecast, made.age_sessions)
