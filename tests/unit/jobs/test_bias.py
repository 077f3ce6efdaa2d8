"""A strategy that peeks is caught, and one that does not is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from greenlight.adapters.history import DailySeries
from greenlight.adapters.history_bokeh import read_bokeh
from greenlight.domain.backtest_signals import History, strategy_signals
from greenlight.domain.indicators import FloatArray
from greenlight.domain.mean_reversion import MeanReversion
from greenlight.domain.news_reversal import NewsReversal
from greenlight.domain.opening_range import OpeningRange
from greenlight.domain.signals import Strategy
from jobs.backtest_market import daily_board
from jobs.bias import history_warnings, lookahead, warm_up, window_holes

END = date(2009, 12, 31)


@pytest.fixture(scope="module")
def history() -> History:
    return daily_board([read_bokeh("AAPL")], END, {}).daily_history(0)[0]


def bulk(strategy: Strategy, history: History) -> FloatArray:
    found = strategy_signals(strategy, history)
    assert found is not None
    return found


def peeking(history: History) -> FloatArray:
    """Buys where the next close will be higher."""
    found = np.zeros((len(history.close), 4))
    rises = np.append(history.close[1:] > history.close[:-1], False)
    found[rises, 0] = 3
    return found


def misaligned(history: History) -> FloatArray:
    """Waits for the turn, but looks at the wrong day for it: a slip of one row."""
    found = bulk(MeanReversion(), history)
    close = np.append(history.close, history.close[-1])
    found[:, 0] = np.where(close[:-1] < close[1:], found[:, 0], 0)
    return found


@pytest.mark.parametrize("strategy", [peeking, misaligned])
def test_lookahead_when_a_strategy_peeks_one_bar_ahead_then_caught(
    history: History, strategy: object
) -> None:
    found = lookahead(strategy, history)  # type: ignore[arg-type]
    assert found.differences
    first = found.differences[0]
    assert first.column == "confidence"
    assert first.whole != first.again


@pytest.mark.parametrize("strategy", [MeanReversion(), NewsReversal(), OpeningRange()])
def test_lookahead_when_a_built_in_strategy_then_nothing(
    history: History, strategy: Strategy
) -> None:
    found = lookahead(lambda h: bulk(strategy, h), history)
    assert found.differences == ()
    assert found.checked >= 20
    if isinstance(strategy, MeanReversion):
        assert found.signals > 5


def test_warm_up_when_the_strategy_s_own_then_the_same_signals(history: History) -> None:
    strategy = MeanReversion()
    found = warm_up(lambda h: bulk(strategy, h), history, strategy.warmup_bars)
    assert found.signals > 5
    assert found.differences == ()


def test_warm_up_when_too_short_then_caught(history: History) -> None:
    found = warm_up(lambda h: bulk(MeanReversion(trend_period=0), h), history, 30)
    assert found.differences


def without(series: DailySeries, day: date) -> DailySeries:
    keep = series.days != np.datetime64(day)
    names = ("days", "open", "high", "low", "close", "volume")
    return replace(series, **{name: getattr(series, name)[keep] for name in names})


def test_holes_when_a_session_is_missing_then_named_and_only_in_the_window() -> None:
    series = without(read_bokeh("AAPL"), date(2008, 3, 5))
    start, end = date(2008, 1, 2), date(2008, 12, 31)
    assert window_holes(series, start, end) == ["AAPL lacks 1 sessions, the first on 2008-03-05"]
    assert window_holes(series, date(2008, 3, 6), end) == []
    # Listed in 2012: before that there is no hole.
    assert window_holes(read_bokeh("FB"), start, date(2013, 1, 1)) == []


def test_warnings_when_all_survived_or_a_split_is_unrecorded_then_told() -> None:
    start, end = date(2004, 1, 2), date(2006, 12, 29)
    both = [read_bokeh("AAPL"), read_bokeh("GOOG")]
    found = history_warnings(both, start, end)
    assert any("survivorship: all 2 symbols" in text for text in found)
    assert any("listed after the window's start: GOOG" in text for text in found)
    assert not any("split" in text for text in found)
    raw = replace(both[0], splits=())
    told = history_warnings([raw], start, end)
    assert [text.split(":")[0] for text in told] == ["unrecorded_split"]
    assert "AAPL 2005-02-28" in told[0]
