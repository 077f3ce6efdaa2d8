"""A backtest from daily history to its row in the ledger, on the default data."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest

from greenlight.adapters.history_bokeh import read_bokeh
from greenlight.domain.backtest import DEFAULT_COSTS, BacktestResult
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.execution import EntryPolicy
from greenlight.domain.market import Bar
from greenlight.domain.mean_reversion import MeanReversion
from greenlight.domain.news_reversal import NewsReversal
from greenlight.domain.sentiment import Look
from greenlight.domain.signals import Missed, Signal
from greenlight.testing import FakeStore
from jobs.backtest import (
    BacktestPlan,
    Shared,
    backtest,
    session_returns,
    strategy_wishes,
    summary_figures,
    trial_of,
)
from jobs.backtest_market import Board, daily_board, minute_board

END = date(2009, 12, 31)
PLAN = BacktestPlan(
    strategies=(MeanReversion(),),
    start=date(2004, 1, 2),
    limits=RiskLimits(),
    costs=DEFAULT_COSTS,
    entry=EntryPolicy(timeout_s=300, reprices=2, reprice_after_s=100),
    start_cash_usd=100_000.0,
    policy=None,
)


class _Stepped:
    """The built-in strategy as somebody else's: it has no bulk function."""

    def __init__(self) -> None:
        self._inner = MeanReversion()

    name = "stepped"
    timeframe = "1Day"
    warmup_bars = 280

    def new_state(self) -> np.ndarray:  # type: ignore[type-arg]
        return self._inner.new_state()

    def step(self, state: np.ndarray, bar: Bar, look: Look) -> Signal | Missed | None:  # type: ignore[type-arg]
        found = self._inner.step(state, bar, look)
        return replace(found, strategy=self.name) if isinstance(found, Signal) else found


@pytest.fixture(scope="module")
def board() -> Board:
    series = [read_bokeh(symbol) for symbol in ("AAPL", "IBM", "MSFT")]
    return daily_board(series, END, {"AAPL": "Technology", "MSFT": "Technology"})


@pytest.fixture(scope="module")
def result(board: Board) -> BacktestResult:
    return backtest(board, PLAN)


def test_board_when_laid_out_then_every_session_is_a_row_and_splits_are_actions(
    board: Board,
) -> None:
    assert board.sessions[0].day == date(2000, 3, 1)
    assert board.sessions[-1].day == END
    split = board.first_bar(date(2005, 2, 28))
    actions = board.market.actions
    found = np.flatnonzero((actions.ratio == 2.0) & (actions.symbol == 0)).tolist()
    assert [int(actions.bar[i]) for i in found] == [board.first_bar(date(2000, 6, 21)), split]
    # AAPL closed at 88.99 and opened at 44.68; in shares of the last day that is no move.
    assert abs(board.market.bars.returns[split, 0]) < 0.05
    assert board.factor[split - 1, 0] == 2.0
    assert board.market.sectors == ("Technology", "unknown", "Technology")


def test_backtest_when_run_then_the_figures_agree_with_one_another(
    board: Board, result: BacktestResult
) -> None:
    assert len(result.trades) > 10
    figures = summary_figures(board, result)
    net = sum(float(trade.net_usd) for trade in result.trades)
    assert result.return_frac * 100_000 == pytest.approx(net + result.dividends_usd, abs=1e-3)
    growth = np.prod([1 + r for r in session_returns(board, result).values])
    assert growth - 1 == pytest.approx(result.return_frac)
    months = np.prod([1 + m.return_frac for m in result.by_month])
    assert months - 1 == pytest.approx(result.return_frac)
    assert sum(group.trades for group in result.by_sector.values()) == len(result.trades)
    assert figures["signals"] == len(result.judged)
    assert all(trade.opened_at.date() >= PLAN.start for trade in result.trades)


def test_backtest_when_a_strategy_has_no_bulk_function_then_its_steps_give_the_same(
    board: Board,
) -> None:
    bulk = strategy_wishes(board, [MeanReversion()]).signals
    stepped = strategy_wishes(board, [_Stepped()]).signals
    for name in ("bar", "symbol", "confidence", "hold"):
        assert getattr(stepped, name).tolist() == getattr(bulk, name).tolist()
    np.testing.assert_array_equal(stepped.atr, bulk.atr)


def test_signals_when_sets_only_leave_otherwise_then_shared_and_as_alone(board: Board) -> None:
    sets = [
        MeanReversion(stop_frac=0.03, hold_sessions=1),
        MeanReversion(stop_frac=0.05, target_frac=0.1),
        MeanReversion(oversold=35.0),
        NewsReversal(stop_frac=0.02),
    ]
    shared = Shared()
    for one in sets:
        found = strategy_wishes(board, [one], shared=shared).signals
        alone = strategy_wishes(board, [one]).signals
        for name, own in alone._asdict().items():
            np.testing.assert_array_equal(getattr(found, name), own, err_msg=name)
    assert set(found.stop_frac.tolist()) <= {0.02}
    first = strategy_wishes(board, sets[:1], shared=shared).signals
    assert set(first.stop_frac.tolist()) == {0.03}
    assert set(first.hold.tolist()) == {1}
    assert len(shared.signals) == 9
    assert len(shared.histories) == 3


def test_signal_when_before_a_split_then_priced_in_shares_of_its_own_day(board: Board) -> None:
    signals = strategy_wishes(board, [MeanReversion()]).signals
    raw = board.market.bars.close[signals.bar, signals.symbol]
    assert signals.reference.tolist() == pytest.approx(raw.tolist())


def test_backtest_when_the_history_has_a_hole_then_the_signal_is_refused() -> None:
    series = read_bokeh("AAPL")
    wishes = strategy_wishes(daily_board([series], END, {}), [MeanReversion()])
    bar = next(int(b) for b in wishes.signals.bar if b > 1500)
    board = daily_board([series], END, {})
    day = board.sessions[bar - 30].day
    keep = series.days != np.datetime64(day)
    holed = replace(
        series,
        **{
            name: getattr(series, name)[keep]
            for name in ("days", "open", "high", "low", "close", "volume")
        },
    )
    found = backtest(daily_board([holed], END, {}), replace(PLAN, start=board.sessions[bar].day))
    assert "sound_history" in found.judged[0].refused_by


def test_backtest_when_the_window_has_no_bar_then_raises(board: Board) -> None:
    with pytest.raises(ValueError, match="no bar on or after 2010-01-04"):
        backtest(board, replace(PLAN, start=date(2010, 1, 4)))


def test_backtest_when_a_strategy_wants_minutes_of_a_daily_board_then_raises(board: Board) -> None:
    minutely = MeanReversion(timeframe="1Min")
    with pytest.raises(ValueError, match="mean_reversion decides on minutes"):
        backtest(board, replace(PLAN, strategies=(minutely,)))


def test_minutes_when_a_daily_strategy_runs_on_them_then_judged_after_the_first_minute() -> None:
    series = read_bokeh("AAPL")
    daily = daily_board([series], END, {})
    signals = strategy_wishes(daily, [MeanReversion()]).signals
    session = next(int(bar) for bar in signals.bar if bar > 1500) + 1
    days = [daily.sessions[row] for row in range(session, session + 5)]
    price = float(daily.market.bars.open[session, 0])

    class Tape:
        bar = np.full((390, 4), price)
        bar_volume = np.full(390, 100)

    board = minute_board([series], {day.day: {"AAPL": Tape()} for day in days}, days[-1].day, {})
    found = backtest(board, replace(PLAN, start=days[0].day))
    assert [row.at for row in found.judged][:1] == [days[0].open.replace(minute=31)]
    trade = found.trades[0]
    # Bought at the open of the second minute, left ten minutes before the third session's end.
    assert trade.opened_at == days[0].open.replace(minute=31)
    assert trade.exit_reason == "time"
    assert trade.closed_at == days[3].close.replace(hour=days[3].close.hour - 1, minute=51)


def test_trial_when_only_the_time_differs_then_the_same_row(
    board: Board, result: BacktestResult
) -> None:
    store = FakeStore()

    def row(year: int, **params: object) -> bool:
        trial = trial_of(
            board,
            PLAN,
            result,
            at=datetime(year, 1, 1, tzinfo=UTC),
            end=END,
            source="bokeh",
            code_hash="c0de",
            params=params,
        )
        return store.record_trial(trial)

    assert row(2014, oversold=30)
    assert not row(2015, oversold=30)
    assert row(2015, oversold=25)
    assert [trial.params["oversold"] for trial in store.trials()] == [30, 25]
    assert store.trials()[0].figures["trades"] == len(result.trades)
