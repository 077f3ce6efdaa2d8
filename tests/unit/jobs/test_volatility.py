"""The nightly forecast over fakes: what is kept, scored and stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np
import pytest

from greenlight.domain.forecasts import FailedForecast, Model, VolatilityForecast
from greenlight.domain.market import Bar, Quote, Split, eastern_date
from greenlight.domain.volatility import VolatilityPolicy
from greenlight.ports import StoreUnavailable
from greenlight.testing import FakeStore
from jobs.volatility import (
    current_forecasts,
    forecast_chunk,
    read_histories,
    run_nightly,
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

    def bars(
        self, symbols: Sequence[str], timeframe: str, start: datetime, end: datetime
    ) -> dict[str, list[Bar]]:
        assert timeframe == "1Day"
        found = {s: [b for b in self._bars.get(s, []) if start <= b.start < end] for s in symbols}
        return {symbol: bars for symbol, bars in found.items() if bars}

    def latest_quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        return {}

    def splits(self, symbols: Sequence[str], start: date, end: date) -> tuple[Split, ...]:
        return self._splits


def test_nightly_when_one_symbol_has_no_history_then_the_others_go_on() -> None:
    store = FakeStore()
    tape = Tape({"SPY": BARS, "NEW": BARS[-20:]})
    done = run_nightly(
        store=store,
        market_data=tape,
        symbols=["SPY", "NEW", "NONE"],
        now=CLOSE,
        policy=POLICY,
    )
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
        done = run_nightly(
            store=store, market_data=tape, symbols=["SPY"], now=bar.end, policy=POLICY
        )
    assert [score.method for score in done.scores] == ["garch", "ewma", "window20"]
    realised = (100 * (BARS[-1].close / BARS[-2].close - 1)) ** 2
    assert [score.realised_pct2 for score in done.scores] == pytest.approx([realised] * 3)
    day = eastern_date(BARS[-1].start)
    assert {score.session for score in store.volatility_scores(day, day)} == {day}


def test_nightly_when_a_fit_fails_then_the_last_good_forecast_stays_with_its_age() -> None:
    store = FakeStore()
    first = BARS[-4]
    run_nightly(
        store=store,
        market_data=Tape({"SPY": BARS}),
        symbols=["SPY"],
        now=first.end,
        policy=POLICY,
    )
    broken = [*BARS[:-1], replace(BARS[-1], close=np.nan)]
    done = run_nightly(
        store=store,
        market_data=Tape({"SPY": broken}),
        symbols=["SPY"],
        now=CLOSE,
        policy=POLICY,
    )
    assert [type(row) for row in (*done.made, *done.failed)] == [FailedForecast]
    kept = current_forecasts(store, CLOSE)["SPY"]
    assert kept.forecast.at == first.end
    assert kept.age_sessions == 3
    assert current_forecasts(store, CLOSE + timedelta(days=40)) == {}


def test_nightly_when_the_store_is_away_then_raises_and_nothing_is_made() -> None:
    store = FakeStore()
    store.up = False
    with pytest.raises(StoreUnavailable):
        run_nightly(
            store=store,
            market_data=Tape({"SPY": BARS}),
            symbols=["SPY"],
            now=CLOSE,
            policy=POLICY,
        )


def test_read_histories_when_bars_lie_ahead_then_left_out() -> None:
    store = FakeStore()
    histories = read_histories(store, Tape({"SPY": BARS}), ["SPY"], BARS[-2].end, POLICY)
    assert histories[0].bars[-1] == BARS[-2]


def test_forecast_chunk_when_one_breaks_then_only_that_one_fails() -> None:
    store = FakeStore()
    good = read_histories(store, Tape({"SPY": BARS}), ["SPY"], CLOSE, POLICY)[0]
    broken = replace(good, symbol="ODD", splits=(None,))  # type: ignore[arg-type]
    made = forecast_chunk([broken, good], CLOSE, POLICY)
    assert isinstance(made[0], FailedForecast)
    assert made[0].reason.startswith("broke: ")
    assert isinstance(made[1], VolatilityForecast)


def test_symbols_a_task_when_models_are_dear_then_few() -> None:
    assert symbols_a_task(VolatilityPolicy()) == 5
    assert symbols_a_task(POLICY) == 250
