"""Strategy B fires on a turn after a sharp fall on bad news, and on nothing else."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from greenlight.adapters.history_bokeh import read_bokeh
from greenlight.domain.market import Bar, Unavailable
from greenlight.domain.news_reversal import NewsReversal, news_reversal_signals
from greenlight.domain.sentiment import Look, Reading
from greenlight.domain.signals import Missed, Signal

T0 = datetime(2000, 3, 1, 5, tzinfo=UTC)
STRATEGY = NewsReversal(period=2, volatility_bars=4, min_sigmas=2.0, turn_bars=3)
# Returns of +1%, -1%, +1%, -1%: their population deviation is ln(1.01) to 1e-4.
CALM = (100.0, 101.0, 100.0, 101.0, 100.0)
SIGMA = float(np.std(np.diff(np.log(CALM))))


def bar(i: int, close: float, high: float | None = None) -> Bar:
    return Bar(
        symbol="AAPL",
        start=T0 + timedelta(days=i),
        end=T0 + timedelta(days=i, hours=16),
        open=close,
        high=close if high is None else high,
        low=close,
        close=close,
        volume=1,
    )


def reading(score: float) -> Look:
    return lambda: Reading(
        symbol="AAPL",
        at=T0,
        score=score,
        uncertainty=0.5,
        headlines=2,
        model="fake",
        is_synthetic=True,
    )


def run(
    closes: list[float], look: Look, strategy: NewsReversal = STRATEGY
) -> list[Signal | Missed | None]:
    state = strategy.new_state()
    return [strategy.step(state, bar(i, close), look) for i, close in enumerate([*CALM, *closes])][
        len(CALM) :
    ]


def fallen(sigmas: float) -> float:
    """A close so many volatilities below 100."""
    return 100.0 * math.exp(-sigmas * SIGMA)


def test_step_when_fall_on_bad_news_turns_then_one_signal_with_its_figures() -> None:
    low = fallen(2.1)
    found = run([low, low, low + 0.5, low + 1.0], reading(-0.6))
    assert [s is not None for s in found] == [False, False, True, False]
    signal = found[2]
    assert isinstance(signal, Signal)
    assert signal.confidence == 1
    features = dict(signal.features)
    assert features["fall_frac"] == pytest.approx(low / 100 - 1, abs=1e-12)
    assert features["fall_sigmas"] == pytest.approx(2.1, abs=1e-9)
    assert (features["sentiment"], features["headlines"]) == (-0.6, 2)
    assert features["is_news_synthetic"] is True


@pytest.mark.parametrize(
    ("sigmas", "confidence"),
    [(1.99, None), (2.01, 1), (2.49, 1), (2.51, 2), (3.01, 3), (3.51, 4), (4.01, 5), (9.0, 5)],
)
def test_step_when_fall_has_a_size_then_confidence_by_quarters_of_the_threshold(
    sigmas: float, confidence: int | None
) -> None:
    low = fallen(sigmas)
    signal = run([low, low + 0.01], reading(-0.6))[-1]
    assert (signal.confidence if isinstance(signal, Signal) else None) == confidence


@pytest.mark.parametrize(("score", "fires"), [(-0.05, True), (-0.049, False), (0.8, False)])
def test_step_when_news_has_a_score_then_only_bad_news_counts(score: float, fires: bool) -> None:
    low = fallen(2.5)
    assert (run([low, low + 0.5], reading(score))[-1] is not None) == fires


def test_step_when_there_is_no_reading_then_says_why_and_stays_out() -> None:
    low = fallen(2.5)
    found = run([low, low + 0.5, low + 1.0], lambda: Unavailable("nobody reads"))
    missed = found[0]
    assert isinstance(missed, Missed)
    assert missed.reason == "sentiment unavailable: nobody reads"
    assert missed.features["fall_sigmas"] == pytest.approx(2.5, abs=1e-9)
    assert found[1:] == [None, None]


def test_step_when_turn_comes_in_the_last_bar_or_later_then_only_the_first_counts() -> None:
    low = fallen(2.5)
    # Three bars may pass: the turn on the third counts, on the fourth not.
    assert run([low, low, low, low + 0.5], reading(-0.6))[-1] is not None
    assert not any(run([low, low, low, low, low + 0.5], reading(-0.6)))


def test_step_when_news_is_not_needed_then_nobody_is_asked() -> None:
    def asked() -> Unavailable:
        raise AssertionError("asked without a fall")

    assert not any(run([101.0, 100.5, 101.5, 100.0], asked))


def test_step_when_close_does_not_pass_the_high_before_then_no_turn() -> None:
    state, low = STRATEGY.new_state(), fallen(2.5)
    for i, close in enumerate(CALM):
        STRATEGY.step(state, bar(i, close), reading(-0.6))
    assert STRATEGY.step(state, bar(5, low, high=low + 1.0), reading(-0.6)) is None
    assert STRATEGY.step(state, bar(6, low + 0.9), reading(-0.6)) is None
    assert STRATEGY.step(state, bar(7, low + 0.95), reading(-0.6)) is not None


@pytest.mark.parametrize("fall_bars", [1, 3])
@pytest.mark.parametrize("symbol", ["AAPL", "IBM", "MSFT"])
def test_signals_when_real_prices_in_bulk_then_bar_by_bar_and_pandas_agree(
    symbol: str, fall_bars: int
) -> None:
    series, strategy = read_bokeh(symbol), NewsReversal(fall_bars=fall_bars)
    rng = np.random.default_rng(7)
    score = rng.choice([-0.6, 0.3, np.nan], size=len(series.close))
    bulk = news_reversal_signals(
        series.high, series.low, series.close, score, 14, 20, fall_bars, 2.0, -0.05, 5, 0.05, 0.05
    )
    state, rows = strategy.new_state(), []
    for i, (high, low, close) in enumerate(zip(series.high, series.low, series.close, strict=True)):
        one = Bar(
            symbol=symbol,
            start=T0 + timedelta(days=i),
            end=T0 + timedelta(days=i, hours=16),
            open=float(close),
            high=float(high),
            low=float(low),
            close=float(close),
            volume=1,
        )
        look = (lambda: Unavailable("none")) if np.isnan(score[i]) else reading(float(score[i]))
        found = strategy.step(state, one, look)
        is_signal = isinstance(found, Signal)
        rows.append((found.confidence, found.atr_usd) if is_signal else (0.0, 0.0))
    assert (bulk[:, 0] > 0).sum() > 5
    np.testing.assert_array_equal(bulk[:, :2], np.array(rows))

    closes = pd.Series(series.close)
    returns = np.log(closes).diff()
    spread = returns.rolling(20).std(ddof=0).shift(1) * np.sqrt(fall_bars)
    falls = (np.log(closes).diff(fall_bars) <= -2.0 * spread).to_numpy()
    turns = (closes > pd.Series(series.high).shift(1)).to_numpy()
    fired, left = [], 0
    for i in range(len(closes)):
        if falls[i]:
            left = 5 if score[i] <= -0.05 else 0
        elif left:
            left -= 1
            if turns[i]:
                fired.append(i)
                left = 0
    assert np.flatnonzero(bulk[:, 0]).tolist() == fired


def test_state_when_saved_and_restored_then_goes_on_the_same() -> None:
    series, strategy = read_bokeh("IBM"), NewsReversal()
    state = strategy.new_state()
    for i in range(500):
        if i % 7 == 0:
            state = np.array(state.tolist())
        strategy.step(state, bar(i, float(series.close[i]), float(series.high[i])), reading(-0.6))
    undisturbed = strategy.new_state()
    for i in range(500):
        strategy.step(
            undisturbed, bar(i, float(series.close[i]), float(series.high[i])), reading(-0.6)
        )
    np.testing.assert_array_equal(state, undisturbed)
