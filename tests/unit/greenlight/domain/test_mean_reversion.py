"""Strategy A fires where TA-Lib's RSI crosses below the threshold and its filters agree."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import talib

from greenlight.adapters.history_bokeh import read_bokeh
from greenlight.domain.market import Bar
from greenlight.domain.mean_reversion import MeanReversion, mean_reversion_signals
from greenlight.domain.sentiment import unread
from greenlight.domain.signals import Missed, Signal

PLAIN = MeanReversion(trend_period=0, max_atr_frac=0.0)
SHORT = MeanReversion(period=2, trend_period=0, max_atr_frac=0.0)
T0 = datetime(2000, 3, 1, 5, tzinfo=UTC)


def bars(symbol: str) -> list[Bar]:
    series = read_bokeh(symbol)
    rows = zip(series.open, series.high, series.low, series.close, strict=True)
    return [
        Bar(
            symbol=symbol,
            start=T0 + timedelta(days=i),
            end=T0 + timedelta(days=i, hours=16),
            open=float(o),
            high=float(h),
            low=float(lo),
            close=float(c),
            volume=1,
        )
        for i, (o, h, lo, c) in enumerate(rows)
    ]


def run(strategy: MeanReversion, history: list[Bar]) -> list[Signal | None]:
    state = strategy.new_state()
    signals = [strategy.step(state, bar, unread) for bar in history]
    return [signal for signal in signals if not isinstance(signal, Missed)]


@pytest.mark.parametrize("symbol", ["AAPL", "IBM", "MSFT"])
def test_step_when_rsi_crosses_below_the_threshold_then_signal_there_only(symbol: str) -> None:
    history = bars(symbol)
    series = read_bokeh(symbol)
    rsi = talib.RSI(series.close, 14)
    atr = talib.ATR(series.high, series.low, series.close, 14)
    crossed = [i for i in range(1, len(rsi)) if rsi[i - 1] >= 30 and rsi[i] < 30]
    found = {i: s for i, s in enumerate(run(PLAIN, history)) if s is not None}
    assert len(crossed) > 10
    assert list(found) == crossed
    for i, signal in found.items():
        assert signal.features["rsi"] == pytest.approx(rsi[i], abs=1e-9)
        assert signal.atr_usd == pytest.approx(atr[i], abs=1e-9)
        assert signal.at == history[i].end
        assert signal.reference_price == history[i].close
        # Bands of three points below 30: (27, 30) is 1, ..., 18 and less is 5.
        assert signal.confidence == 1 + sum(rsi[i] <= edge for edge in (27, 24, 21, 18))


def series_to_rsi(level: float) -> list[Bar]:
    """Two bars up by 1, then one down so far that RSI(2) becomes `level`."""
    # Changes +1, +1 then -d: gains 0.5, losses d/2, RSI = 100 * 1 / (1 + d).
    closes = [100.0, 101.0, 102.0, 102.0 - (100.0 / level - 1.0)]
    return [
        Bar(
            symbol="AAPL",
            start=T0 + timedelta(days=i),
            end=T0 + timedelta(days=i, hours=16),
            open=c,
            high=c,
            low=c,
            close=c,
            volume=1,
        )
        for i, c in enumerate(closes)
    ]


@pytest.mark.parametrize(
    ("level", "confidence"),
    [(30.01, None), (29.9, 1), (27.1, 1), (26.9, 2), (23.9, 3), (20.9, 4), (17.9, 5), (2.0, 5)],
)
def test_step_when_rsi_falls_to_a_level_then_confidence_by_its_depth(
    level: float, confidence: int | None
) -> None:
    signal = run(SHORT, series_to_rsi(level))[-1]
    assert (None if signal is None else signal.confidence) == confidence


def test_step_when_rsi_stays_below_then_no_second_signal() -> None:
    history = series_to_rsi(25.0)
    last = history[-1]
    lower = last.close - 1
    again = Bar(
        symbol="AAPL",
        start=last.start + timedelta(days=1),
        end=last.end + timedelta(days=1),
        open=lower,
        high=lower,
        low=lower,
        close=lower,
        volume=1,
    )
    signals = run(SHORT, [*history, again])
    assert [s is not None for s in signals] == [False, False, False, True, False]


def test_step_when_state_is_new_then_waits_and_forgets_nothing() -> None:
    strategy = MeanReversion()
    assert np.isnan(strategy.new_state()[7])
    assert not any(run(strategy, bars("AAPL")[:15]))


def test_warmup_when_started_later_by_so_many_bars_then_same_signals() -> None:
    strategy, history = MeanReversion(), bars("IBM")
    whole = run(strategy, history)
    start = 400
    later = run(strategy, history[start:])
    warm = strategy.warmup_bars
    for old, new in zip(whole[start + warm :], later[warm:], strict=True):
        assert (old is None) == (new is None)
        if old is not None and new is not None:
            assert (old.confidence, old.at) == (new.confidence, new.at)
            assert old.features["rsi"] == pytest.approx(new.features["rsi"], abs=1e-6)


@pytest.mark.parametrize("symbol", ["AAPL", "IBM", "MSFT"])
def test_step_when_filters_are_on_then_fires_only_near_the_trend_and_in_calm(symbol: str) -> None:
    series, strategy = read_bokeh(symbol), MeanReversion()
    rsi = talib.RSI(series.close, 14)
    atr = talib.ATR(series.high, series.low, series.close, 14)
    trend = talib.SMA(series.close, 200)
    crossed = [i for i in range(1, len(rsi)) if rsi[i - 1] >= 30 and rsi[i] < 30]
    kept = [
        i for i in crossed if series.close[i] >= trend[i] * 0.9 and atr[i] <= 0.08 * series.close[i]
    ]
    assert 0 < len(kept) < len(crossed)
    found = [i for i, s in enumerate(run(strategy, bars(symbol))) if s is not None]
    assert found == kept


def test_signals_when_computed_in_bulk_then_those_of_bar_by_bar() -> None:
    series, strategy = read_bokeh("MSFT"), MeanReversion()
    bulk = mean_reversion_signals(
        series.high, series.low, series.close, 14, 30.0, 200, 0.10, 0.08, 0.05, 0.05
    )
    one_by_one = run(strategy, bars("MSFT"))
    expected = [
        (0.0, 0.0, 0.0, 0.0) if s is None else (s.confidence, s.atr_usd, s.stop_frac, s.target_frac)
        for s in one_by_one
    ]
    assert any(row[0] for row in expected)
    np.testing.assert_array_equal(bulk, np.array(expected))
