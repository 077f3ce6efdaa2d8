"""The nightly forecast over fakes: what is kept, scored and stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from greenlight.domain.forecasts import FailedForecast, Model, VolatilityForecast
from greenlight.domain.market import (
    Bar,
    Quote,
    Split,
    Unavailable,
    eastern_date,
    next_session,
)
from greenlight.domain.volatility import VolatilityPolicy
from greenlight.ports import StoreUnavailable
from greenlight.testing import FakeStore
from jobs.forecasts import ExpectedVolatility, current_forecasts
from jobs.volatility import (
    Forecaster,
    NightlyForecasts,
    forecast_chunk,
    read_histories,
    symbols_a_task,
)
from tests.real_returns import daily_bars

POLICY = VolatilityPolicy(window=500, models=(Model.GARCH,))
BARS = daily_bars("sp500", 700)
CLOSE = BARS[-1].end


class Tape:
    """Market data that answers from bars in memory."""

    def __init__(self, bars: dict[str, list[Bar]], splits: Sequence[Split] = ()) -> None:
        self._bars = bars
        self._splits = tuple(splits)
        self.asked: list[datetime] = []

    def bars(
        self, symbols: Sequence[str], timeframe: str, start: datetime, end: datetime
    ) -> dict[str, list[Bar]]:
        assert timeframe == "1Day"
        self.asked.append(start)
        found = {s: [b for b in self._bars.get(s, []) if start <= b.start < end] for s in symbols}
        return {symbol: bars for symbol, bars in found.items() if bars}

    def latest_quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        return {}

    def splits(self, symbols: Sequence[str], start: date, end: date) -> tuple[Split, ...]:
        return self._splits


def night(store: FakeStore, tape: Tape, symbols: Sequence[str], now: datetime) -> NightlyForecasts:
    """One night of a desk that was started for it."""
    return Forecaster(store=store, market_data=tape, symbols=symbols, policy=POLICY)(now)


def test_nightly_when_one_symbol_has_no_history_then_the_others_go_on() -> None:
    store = FakeStore()
    tape = Tape({"SPY": BARS, "NEW": BARS[-20:]})
    done = night(store, tape, ["SPY", "NEW", "NONE"], CLOSE)
    assert [made.symbol for made in done.made] == ["SPY"]
    assert [(f.symbol, f.reason[:17]) for f in done.failed] == [
        ("NEW", "history too short"),
        ("NONE", "history too short"),
    ]
    assert done.scores == ()
    later = CLOSE + timedelta(seconds=1)
    assert store.latest_forecasts(CLOSE, later) == list(done.made)
    assert store.failed_forecasts(CLOSE, later) == list(done.failed)


def test_nightly_when_a_session_later_then_scored_against_what_it_showed() -> None:
    store = FakeStore()
    tape = Tape({"SPY": BARS})
    for bar in BARS[-2:]:
        done = night(store, tape, ["SPY"], bar.end)
    assert [score.method for score in done.scores] == ["garch", "ewma", "window20"]
    realised = (100 * (BARS[-1].close / BARS[-2].close - 1)) ** 2
    assert [score.realised_pct2 for score in done.scores] == pytest.approx([realised] * 3)
    day = eastern_date(BARS[-1].start)
    assert {score.session for score in store.volatility_scores(day, day)} == {day}


def test_nightly_when_a_fit_fails_then_the_last_good_forecast_stays_with_its_age() -> None:
    store = FakeStore()
    first = BARS[-4]
    night(store, Tape({"SPY": BARS}), ["SPY"], first.end)
    broken = [*BARS[:-1], replace(BARS[-1], close=np.nan)]
    done = night(store, Tape({"SPY": broken}), ["SPY"], CLOSE)
    assert [type(row) for row in (*done.made, *done.failed)] == [FailedForecast]
    kept = current_forecasts(store, CLOSE)["SPY"]
    assert kept.forecast.at == first.end
    assert kept.age_sessions == 3
    assert current_forecasts(store, CLOSE + timedelta(days=40)) == {}


def test_nightly_when_the_store_is_away_then_raises_and_nothing_is_made() -> None:
    store = FakeStore()
    store.up = False
    with pytest.raises(StoreUnavailable):
        night(store, Tape({"SPY": BARS}), ["SPY"], CLOSE)


def test_read_histories_when_bars_lie_ahead_then_left_out() -> None:
    store = FakeStore()
    histories = read_histories(store, Tape({"SPY": BARS}), ["SPY"], BARS[-2].end, POLICY, known={})
    assert histories[0].bars[-1] == BARS[-2]


def test_forecast_chunk_when_one_breaks_then_only_that_one_fails() -> None:
    store = FakeStore()
    good = read_histories(store, Tape({"SPY": BARS}), ["SPY"], CLOSE, POLICY, known={})[0]
    broken = replace(good, symbol="ODD", splits=(None,))  # type: ignore[arg-type]
    made = forecast_chunk([broken, good], CLOSE, POLICY)
    assert isinstance(made[0], FailedForecast)
    assert made[0].reason.startswith("broke: ")
    assert isinstance(made[1], VolatilityForecast)


def test_symbols_a_task_when_models_are_dear_then_fewer() -> None:
    assert symbols_a_task(VolatilityPolicy()) == 83
    assert symbols_a_task(POLICY) == 250


def week_before(bars: Sequence[Bar]) -> list[Bar]:
    """The newest bars that lie in one whole ISO week, Monday first."""
    days = [eastern_date(bar.start) for bar in bars]
    mondays = [i for i, day in enumerate(days) if day.weekday() == 0]
    return next(
        list(bars[i : i + 5])
        for i in reversed(mondays)
        if days[i + 4 : i + 5] and days[i + 4].weekday() == 4
    )


def test_forecaster_when_a_week_goes_by_then_fits_once_and_asks_for_new_bars_only() -> None:
    store, tape = FakeStore(), Tape({"SPY": BARS})
    forecaster = Forecaster(store=store, market_data=tape, symbols=["SPY"], policy=POLICY)
    week = week_before(BARS)
    made = [forecaster(bar.end).made[0] for bar in week]
    assert len({row.params for row in made}) == 1
    assert len({row.sigma_pct for row in made}) == 5
    assert [row.through for row in made] == [eastern_date(bar.start) for bar in week]
    assert tape.asked[1:] == [bar.end for bar in week[:-1]]


def test_forecaster_when_symbols_make_more_than_one_task_then_fanned_out() -> None:
    tasks: list[list[str]] = []

    def fan_out(function: Any, chunks: Any) -> Any:
        for chunk in chunks:
            tasks.append([history.symbol for history in chunk[0]])
            yield function(*chunk)

    symbols = [f"S{i}" for i in range(130)]
    policy = VolatilityPolicy(window=250, models=(Model.GJR,))
    made = Forecaster(
        store=FakeStore(),
        market_data=Tape(dict.fromkeys(symbols, BARS)),
        symbols=symbols,
        policy=policy,
        fan_out=fan_out,
    )(CLOSE)
    assert tasks == [symbols[:125], symbols[125:]]
    assert [row.symbol for row in made.made] == symbols


def test_forecaster_when_started_within_the_week_then_as_if_it_had_run_on() -> None:
    week = week_before(BARS)
    alone, tape = FakeStore(), Tape({"SPY": BARS})
    steady = Forecaster(store=alone, market_data=tape, symbols=["SPY"], policy=POLICY)
    expected = [steady(bar.end) for bar in week]
    store = FakeStore()
    assert [night(store, tape, ["SPY"], bar.end) for bar in week] == expected


def test_expected_volatility_when_it_ages_then_of_the_days_left_and_then_none() -> None:
    store = FakeStore()
    made = night(store, Tape({"SPY": BARS}), ["SPY"], CLOSE).made[0]
    expected = ExpectedVolatility(store)
    assert expected("SPY", CLOSE) == pytest.approx(made.vol_frac_ann)
    day = made.through
    for age in range(1, 5):
        session = next_session(day)
        day = session.day
        left = np.array(made.sigma_pct[age:])
        by_hand = np.sqrt(252 * np.mean(left**2)) / 100
        assert expected("SPY", session.close) == pytest.approx(by_hand)
    last = next_session(day)
    assert expected("SPY", last.close) == Unavailable("the newest forecast is 5 sessions old")
    assert expected("OTHER", CLOSE) == Unavailable("no forecast was made in the last 30 days")


def test_expected_volatility_when_asked_twice_a_day_then_reads_once() -> None:
    store = FakeStore()
    night(store, Tape({"SPY": BARS}), ["SPY"], CLOSE)
    expected = ExpectedVolatility(store)
    first = expected("SPY", CLOSE)
    store.up = False
    assert expected("SPY", CLOSE + timedelta(hours=1)) == first
    with pytest.raises(StoreUnavailable):
        expected("SPY", CLOSE + timedelta(days=1))
