"""What every store promises of volatility forecasts and their scores."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

from greenlight.domain.forecasts import (
    Distribution,
    FailedForecast,
    FitFlag,
    Model,
    VolatilityForecast,
    VolatilityScore,
)
from greenlight.ports import Store


def night(day: int) -> datetime:
    return datetime(2013, 10, day, 22, 30, tzinfo=UTC)


FORECAST = VolatilityForecast(
    symbol="AAPL",
    at=night(7),
    through=date(2013, 10, 7),
    model=Model.GJR,
    distribution=Distribution.STUDENT_T,
    sigma_pct=(1.5, 1.51, 1 / 3, 1.53, 1.54),
    vol_frac_ann=0.243,
    is_converged=True,
    flags=(FitFlag.INTEGRATED, FitFlag.NU_AT_MOST),
    bic=3521.75,
    n_obs=1000,
    params=(0.05, 0.02, 0.01, 0.1, 0.9, 500.0),
)
SCORE = VolatilityScore(
    symbol="AAPL",
    session=date(2013, 10, 8),
    method="garch",
    forecast_pct2=2.25,
    realised_pct2=0.0,
    qlike=0.81,
)


def test_forecasts_when_written_then_the_newest_good_one_of_each_symbol(store: Store) -> None:
    failed = FailedForecast(symbol="AAPL", at=night(9), reason="history too short")
    newer = replace(FORECAST, at=night(8), flags=(), is_converged=False)
    other = replace(FORECAST, symbol="AA", model=Model.GARCH)
    store.write_forecasts([FORECAST, failed, newer, other])
    assert store.latest_forecasts(night(1), night(20)) == [other, newer]
    assert store.latest_forecasts(night(1), night(8)) == [other, FORECAST]
    assert store.latest_forecasts(night(8), night(9)) == [newer]
    assert store.latest_forecasts(night(9), night(20)) == []
    assert store.failed_forecasts(night(1), night(20)) == [failed]
    assert store.failed_forecasts(night(1), night(9)) == []


def test_forecasts_when_repeated_then_left_as_they_were(store: Store) -> None:
    store.write_forecasts([FORECAST])
    store.write_forecasts([replace(FORECAST, bic=1.0)])
    store.write_forecasts([FailedForecast(symbol="AAPL", at=FORECAST.at, reason="late")])
    assert store.latest_forecasts(night(1), night(20)) == [FORECAST]
    assert store.failed_forecasts(night(1), night(20)) == []


def test_scores_when_written_then_read_by_session(store: Store) -> None:
    ewma = replace(SCORE, method="ewma", qlike=0.9)
    later = replace(SCORE, session=date(2013, 10, 9))
    store.write_volatility_scores([later, SCORE, ewma])
    store.write_volatility_scores([replace(SCORE, qlike=5.0)])
    assert store.volatility_scores(SCORE.session, later.session) == [ewma, SCORE, later]
    assert store.volatility_scores(SCORE.session, SCORE.session) == [ewma, SCORE]
    assert store.volatility_scores(date(2013, 1, 1), date(2013, 2, 1)) == []


def test_write_when_nothing_is_given_then_nothing_happens(store: Store) -> None:
    store.write_forecasts([])
    store.write_volatility_scores([])
    assert store.latest_forecasts(night(1), night(20)) == []
